"""Back office: users, workspaces, members, access tokens and encrypted variables. No secret is ever shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import admin as auth
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminPasswordWidget

from synapscale.common import audit
from synapscale.common.admin import OperatorAdmin, OperatorForm, PresentingInline, ViewOnlyAdmin
from synapscale.common.history import Audited
from workspaces import issuing
from workspaces.models import (
    HAS_ONE_MEMBER,
    KEEPS_AN_OWNER,
    AccessToken,
    Membership,
    RateBucket,
    User,
    UserVariable,
    Workspace,
)

PRIVILEGES = ("is_staff", "is_superuser", "groups", "user_permissions")
INLINE_MEMBERS = 100
"""A workspace with more members shows none of them on its own page: the list of memberships has pages and a search."""


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
class UserAdmin(OperatorAdmin, auth.UserAdmin):  # type: ignore[misc]  # unfold has no types
    """People. They are deactivated, never deleted: money and messages name them."""

    form = UserForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    add_form_template = "admin/change_form.html"  # the one of auth explains user names
    list_display = ("email", "name", "is_active", "is_staff", "is_superuser", "created_at")
    list_filter = ("is_active", "is_staff", "is_superuser", "created_at")
    search_fields = ("email__istartswith", "name__istartswith")
    search_help_text = "An id, or the beginning of an e-mail address or a name."
    ordering = ("-id",)
    readonly_fields = ("last_login", "created_at")
    fieldsets = (
        (None, {"fields": ("email", "name", "password", "allows_paid_fallback")}),
        ("Permissions", {"fields": ("is_active", *PRIVILEGES)}),
        ("Dates", {"fields": ("last_login", "created_at")}),
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


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(Audited, auth.GroupAdmin, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Permissions that are given together."""


class MembersFormSet(forms.BaseInlineFormSet):
    """The members there are, looked at together: each alone would find another owner."""

    def clean(self) -> None:
        super().clean()
        kept = [form for form in self.initial_forms if form not in self.deleted_forms]
        had_owner = any(form.initial.get("role") == Membership.Role.OWNER for form in self.initial_forms)
        if had_owner and not any(form.instance.role == Membership.Role.OWNER for form in kept):
            raise ValidationError(KEEPS_AN_OWNER)


class MembershipInline(PresentingInline):
    """The members there are. The person is text: a chooser for each would be a query for each."""

    model = Membership
    formset = MembersFormSet
    fields = ("user", "role", "created_at")
    readonly_fields = ("user", "created_at")
    verbose_name_plural = "members"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("user", "workspace")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class NewMembershipForm(forms.ModelForm):
    def clean(self) -> dict[str, Any]:
        super().clean()
        # Django leaves the parent out when it looks at the constraints of a row on its parent's page.
        user = self.cleaned_data.get("user")
        if user and Membership.objects.filter(workspace_id=self.instance.workspace_id, user=user).exists():
            self.add_error("user", "This person is a member already.")
        return self.cleaned_data


class NewMembersFormSet(forms.BaseInlineFormSet):
    """The members to be added, counted together."""

    def clean(self) -> None:
        super().clean()
        added = [form for form in self.extra_forms if form.has_changed() and form not in self.deleted_forms]
        there = 0 if self.instance._state.adding else self.instance.memberships.count()
        if added and self.instance.kind == Workspace.Kind.INDIVIDUAL and there + len(added) > 1:
            raise ValidationError(HAS_ONE_MEMBER)


class NewMembershipInline(PresentingInline):
    """The members to be added."""

    model = Membership
    form = NewMembershipForm
    formset = NewMembersFormSet
    fields = ("user", "role")
    autocomplete_fields = ("user",)
    verbose_name = "new member"
    verbose_name_plural = "new members"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).none()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_add_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Workspace)
class WorkspaceAdmin(OperatorAdmin):
    """Tenants. They are suspended, never deleted."""

    list_display = ("name", "slug", "kind", "status", "default_model", "created_at")
    list_filter = ("kind", "status", "created_at")
    search_fields = ("slug__istartswith", "name__istartswith")
    search_help_text = "An id, or the beginning of a slug or a name."
    readonly_fields = ("created_at",)
    prepopulated_fields = {"slug": ("name",)}
    add_fields = ("name", "slug", "kind")
    fields = (
        "name", "slug", "kind", "status", "allowed_models", "default_model", "fallback_models", "max_tokens_cap",
        "requests_per_minute", "tokens_per_minute", "keeps_api_content", "exports_feedback_content",
        "feedback_alert_email", "tags_automatically", "autotag_threshold", "created_at",
    )  # fmt: skip

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        if obj is not None and obj.memberships.order_by()[: INLINE_MEMBERS + 1].count() > INLINE_MEMBERS:
            return [NewMembershipInline]
        return [MembershipInline, NewMembershipInline]


@admin.register(Membership)
class MembershipAdmin(OperatorAdmin):
    list_display = ("user", "workspace", "role", "created_at")
    list_filter = ("role", "created_at")
    list_select_related = ("user", "workspace")
    search_ids = ("pk", "user_id", "workspace_id")
    search_fields = ("user__email", "workspace__slug")
    search_help_text = "An id, a user's e-mail address or a workspace's slug."
    autocomplete_fields = ("user", "workspace")
    readonly_fields = ("created_at",)
    fixed_fields = ("user", "workspace")
    add_fields = ("user", "workspace", "role")
    fields = ("user", "workspace", "role", "created_at")
    is_deletable = True

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What would leave a workspace without an owner is shown as what stands in the way."""
        *found, protected = super().get_deleted_objects(objs, request)
        owners = [membership for membership in objs if membership.role == Membership.Role.OWNER]
        others = Membership.objects.filter(role=Membership.Role.OWNER).exclude(pk__in=[owner.pk for owner in owners])
        spaces = others.filter(workspace__in=[owner.workspace_id for owner in owners])
        safe = set(spaces.values_list("workspace_id", flat=True))
        last = [f"{owner}. {KEEPS_AN_OWNER}" for owner in owners if owner.workspace_id not in safe]
        return *found, [*protected, *last]


class AccessTokenForm(OperatorForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "spend_period" in self.fields:
            self.fields["spend_period"].required = False  # never to begin anew is written as an empty text

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        user, workspace = cleaned.get("user"), cleaned.get("workspace")
        if user and workspace and not Membership.objects.filter(user=user, workspace=workspace).exists():
            self.add_error("user", "This person is not a member of the workspace: the token would not work.")
        expires_at = cleaned.get("expires_at")
        if expires_at and expires_at <= timezone.now():
            self.add_error("expires_at", "This has passed.")
        return self.cleaned_data


@admin.register(AccessToken)
class AccessTokenAdmin(OperatorAdmin):
    """Tokens are issued and revoked, never edited. The raw text is shown once, when the token is issued."""

    form = AccessTokenForm
    list_display = (
        "name", "prefix", "user", "workspace", "scopes", "is_valid", "expires_at", "revoked_at", "last_used_at",
    )  # fmt: skip
    list_filter = ("revoked_at", "expires_at", "created_at")
    list_select_related = ("user", "workspace")
    list_defer = ("digest",)
    search_ids = ("pk", "user_id", "workspace_id")
    search_fields = ("prefix", "name__istartswith", "user__email", "workspace__slug")
    search_help_text = "An id, the eight characters after “sk-syn-”, a user's e-mail address or a workspace's slug."
    autocomplete_fields = ("user", "workspace")
    add_fields = ("user", "workspace", "name", *issuing.RULES)
    fields = (
        "name", "prefix", "user", "workspace", *issuing.RULES, "revoked_at", "last_used_at", "created_at",
    )  # fmt: skip
    actions = ("revoke",)

    @admin.display(boolean=True, description="valid")
    def is_valid(self, token: AccessToken) -> bool:
        return token.is_valid

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return super().has_change_permission(request)

    def save_model(self, request: HttpRequest, obj: AccessToken, form: Any, change: bool) -> None:
        token, raw = AccessToken.issue(user=obj.user, workspace=obj.workspace, name=obj.name, **issuing.rules_of(obj))
        obj.pk, obj.prefix = token.pk, token.prefix  # what the log entry and the next page refer to
        messages.success(request, f"Copy the token now, it can't be shown again: {raw}")

    @admin.action(description="Revoke selected tokens", permissions=["revoke"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[AccessToken]) -> None:
        valid = tokens.filter(revoked_at=None)
        now, revoked = timezone.now(), list(valid)
        AccessToken.objects.filter(pk__in=[token.pk for token in revoked]).update(revoked_at=now)
        for token in revoked:
            audit.record(token, what="Revoked.", changes={"revoked_at": (None, now)})
        messages.success(request, f"Revoked: {len(revoked)}.")


class UserVariableForm(OperatorForm):
    value = forms.CharField(
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}),
        help_text="Stored encrypted and never shown again.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding and "value" in self.fields:
            self.fields["value"].required = False
            self.fields["value"].help_text = "Leave empty to keep the present value. It is never shown."

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if self.instance._state.adding and bool(cleaned.get("user")) == bool(cleaned.get("workspace")):
            self.add_error(None, "A variable belongs to a user or to a workspace: choose one of them.")
        return self.cleaned_data


@admin.register(UserVariable)
class UserVariableAdmin(OperatorAdmin):
    """Values are written here, never read. What a value is bound to (owner, category, name) is fixed with the row."""

    form = UserVariableForm
    list_display = ("name", "category", "user", "workspace", "masked", "is_active", "expires_at", "updated_at")
    list_filter = ("category", "is_active", "expires_at", "created_at")
    list_select_related = ("user", "workspace")
    list_defer = ("ciphertext",)
    search_ids = ("pk", "user_id", "workspace_id")
    search_fields = ("name__istartswith", "user__email", "workspace__slug")
    search_help_text = "An id, the beginning of a name, a user's e-mail address or a workspace's slug."
    autocomplete_fields = ("user", "workspace")
    readonly_fields = ("masked", "created_at", "updated_at")
    fixed_fields = ("user", "workspace", "category", "name")
    add_fields = ("user", "workspace", "category", "name", "value", "is_active", "expires_at")
    fields = (
        "user", "workspace", "category", "name", "masked", "value", "is_active", "expires_at", "created_at",
        "updated_at",
    )  # fmt: skip
    is_deletable = True

    @admin.display(description="value")
    def masked(self, variable: UserVariable) -> str:
        return f"••••{variable.hint}"

    @method_decorator(sensitive_post_parameters("value"))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().changeform_view(request, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: UserVariable, form: Any, change: bool) -> None:
        # Only now are owner, category and name known, to which the ciphertext is bound.
        if secret := form.cleaned_data.get("value"):
            obj.set_value(secret)
        super().save_model(request, obj, form, change)

    def changed_columns(self, form: Any) -> list[str]:
        changed = super().changed_columns(form)
        if form.cleaned_data.get("value"):
            changed = [*{*changed, "key_id", "ciphertext", "hint", "updated_at"}]
        return changed


@admin.register(RateBucket)
class RateBucketAdmin(ViewOnlyAdmin):
    list_display = ("filled_at", "workspace", "access_token", "requests_left", "tokens_left")
    list_filter = ("created_at",)
    list_select_related = ("workspace", "access_token")
    search_fields = ("workspace__slug",)
    search_help_text = "An id or a workspace's slug."
