"""Back office: encrypted variables, provider keys among them. No secret is ever shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters
from unfold.widgets import UnfoldAdminPasswordWidget

from synapscale.common.admin import OperatorAdmin, OperatorForm
from workspaces.models import UserVariable


class UserVariableForm(OperatorForm):
    value = forms.CharField(
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}),
        help_text=_("Stored encrypted and never shown again."),
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
    search_help_text = _("An id, the beginning of a name, a user's e-mail address or a workspace's slug.")
    autocomplete_fields = ("user", "workspace")
    readonly_fields = ("masked", "created_at", "updated_at")
    fixed_fields = ("user", "workspace", "category", "name")
    add_fields = ("user", "workspace", "category", "name", "value", "is_active", "expires_at")
    fields = (
        "user", "workspace", "category", "name", "masked", "value", "is_active", "expires_at", "created_at",
        "updated_at",
    )  # fmt: skip
    is_deletable = True

    @admin.display(description=_("value"))
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
