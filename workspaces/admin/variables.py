"""Back office: encrypted variables, provider keys among them. No secret is ever shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters
from unfold.decorators import action
from unfold.widgets import UnfoldAdminPasswordWidget

from synapscale.common import audit
from synapscale.common.admin import OperatorAdmin, OperatorForm, row_key
from synapscale.common.badges import badge, expiry
from synapscale.common.confirming import confirm_page
from workspaces import variables
from workspaces.admin.expiring import ExpiryFilter
from workspaces.admin.variable_deeds import SwitchOff, SwitchOn
from workspaces.models import UserVariable


class UserVariableForm(OperatorForm):
    value = forms.CharField(
        label=_("Value"),
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}),
        help_text=_("Stored encrypted and never shown again."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding and "value" in self.fields:
            self.fields["value"].required = False
            self.fields["value"].help_text = gettext("Leave empty to keep the present value. It is never shown.")
        if "expires_at" in self.fields:
            self.fields["expires_at"].help_text = gettext("From then on nothing runs on it. Empty: never.")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if self.instance._state.adding and bool(cleaned.get("user")) == bool(cleaned.get("workspace")):
            said = gettext("A variable belongs to a user or to a workspace: choose one of them.")
            self.add_error(None, ValidationError(said))
        ends = cleaned.get("expires_at")
        if ends is not None and ends <= timezone.now() and "expires_at" in self.changed_data:
            self.add_error("expires_at", ValidationError(gettext("This has passed. To end it now, switch it off.")))
        return self.cleaned_data


class VariableExpiryFilter(ExpiryFilter):
    in_use = Q(is_active=True)


@admin.register(UserVariable)
class UserVariableAdmin(OperatorAdmin):
    """Values are written here, never read. What a value is bound to (owner, category, name) is fixed with the row."""

    form = UserVariableForm
    list_display = ("name", "category", "user", "workspace", "masked", "state", "updated_at")
    list_filter = ("category", "is_active", VariableExpiryFilter, "created_at")
    list_select_related = ("user", "workspace")
    list_defer = ("ciphertext",)
    search_ids = ("pk", "user_id", "workspace_id")
    search_fields = ("name__istartswith", "user__email", "workspace__slug")
    search_help_text = _("An id, the beginning of a name, a user's e-mail address or a workspace's slug.")
    autocomplete_fields = ("user", "workspace")
    readonly_fields = ("masked", "state", "created_at", "updated_at")
    fixed_fields = ("user", "workspace", "category", "name")
    add_fields = ("user", "workspace", "category", "name", "value", "is_active", "expires_at")
    fields = (
        "user", "workspace", "category", "name", "masked", "state", "value", "expires_at", "created_at", "updated_at",
    )  # fmt: skip
    is_deletable = True
    actions_detail = ("switch_off", "switch_on")

    @admin.display(description=_("present value"))
    def masked(self, variable: UserVariable) -> str:
        return variables.masked(variable)

    @admin.display(description=_("state"), ordering="expires_at")
    def state(self, variable: UserVariable) -> SafeString:
        return expiry(variable.expires_at) if variable.is_active else badge(gettext("switched off"), "danger")

    @method_decorator(sensitive_post_parameters("value"))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().changeform_view(request, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: UserVariable, form: Any, change: bool) -> None:
        # Only now are owner, category and name known, to which the ciphertext is bound.
        secret, before = form.cleaned_data.get("value"), obj.hint
        if secret:
            obj.set_value(secret)
        super().save_model(request, obj, form, change)
        if secret and change:
            audit.record_new_secret(obj, before=before)

    def changed_columns(self, form: Any) -> list[str]:
        changed = super().changed_columns(form)
        if form.cleaned_data.get("value"):
            changed = [*{*changed, "key_id", "ciphertext", "hint", "updated_at"}]
        return changed

    # Switching

    def offers(self, row: Any, action: str) -> bool:
        return bool(row.is_active == (action == "switch-off"))

    def _variable(self, object_id: str) -> UserVariable:
        rows = UserVariable.objects.select_related("user", "workspace").defer("ciphertext")
        return get_object_or_404(rows, pk=row_key(object_id))

    @action(description=_("Switch off"), url_path="switch-off", icon="block", permissions=["change"])
    def switch_off(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        variable = self._variable(object_id)
        return confirm_page(self, request, SwitchOff(variable), back=_page(variable))

    @action(description=_("Switch on"), url_path="switch-on", icon="check_circle", permissions=["change"])
    def switch_on(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        variable = self._variable(object_id)
        return confirm_page(self, request, SwitchOn(variable), back=_page(variable))


def _page(variable: UserVariable) -> str:
    return reverse("admin:workspaces_uservariable_change", args=[variable.pk])
