"""Back office: people, and the permissions that are given together."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth import admin as auth
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from synapscale.common.admin import OperatorAdmin
from synapscale.common.history import Audited
from synapscale.common.listing import CountedLists
from synapscale.common.permission_names import NamesPermissions
from workspaces.models import User

PRIVILEGES = ("is_staff", "is_superuser", "groups", "user_permissions")


class NewUserForm(UserCreationForm):
    class Meta:
        model = User
        fields = ("email", "name")


class UserForm(UserChangeForm):
    class Meta:
        model = User
        fields = "__all__"
        field_classes: dict[str, Any] = {}


@admin.register(User)
class UserAdmin(NamesPermissions, OperatorAdmin, auth.UserAdmin):  # type: ignore[misc]  # unfold has no types
    """People. They are deactivated, never deleted: money and messages name them."""

    form = UserForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    add_form_template = "admin/change_form.html"  # the one of auth explains user names
    list_display = ("email", "name", "is_active", "is_staff", "is_superuser", "created_at")
    list_filter = ("is_active", "is_staff", "is_superuser", "created_at")
    search_fields = ("email__istartswith", "name__istartswith")
    search_help_text = _("An id, or the beginning of an e-mail address or a name.")
    ordering = ("-id",)
    readonly_fields = ("last_login", "created_at")
    fieldsets = (
        (None, {"fields": ("email", "name", "password", "allows_paid_fallback")}),
        (
            _("Permissions"),
            {
                "fields": ("is_active", *PRIVILEGES),
                "description": _(
                    "To let a colleague into the back office: give them a password, switch on “is staff”, and choose their role "
                    "among the groups."
                ),
            },
        ),
        (_("Dates"), {"fields": ("last_login", "created_at")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "usable_password", "password1", "password2")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        names = super().get_readonly_fields(request, obj)
        # Who may edit users must not thereby be able to make himself a superuser.
        return names if request.user.is_superuser else [*names, *PRIVILEGES]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Or whoever may edit people could set the password of a colleague who may do more.
        if obj is not None and (obj.is_staff or obj.is_superuser) and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        if request.user.is_superuser and self.get_object(request, unquote(id)) == request.user:
            # One's own is changed with the present one: an open session must not be enough.
            return HttpResponseRedirect(reverse("admin:password_change"))
        response: HttpResponse = super().user_change_password(request, id, form_url)
        return response


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(NamesPermissions, Audited, CountedLists, auth.GroupAdmin, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Permissions that are given together."""
