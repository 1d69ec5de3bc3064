"""Back office: private hosts. A key is written here, never read, and never sent to another host than it was typed for."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters
from unfold.decorators import action
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from llm import connections, hosts
from llm.admin.discovery import may_import, models_page
from llm.admin.host_checks import HostTest
from llm.models import ProviderConnection
from synapscale.common import audit
from synapscale.common.admin import OperatorAdmin, OperatorForm, row_key
from synapscale.common.confirming import confirm_page


class ProviderConnectionForm(OperatorForm):
    base_url = forms.CharField(
        max_length=hosts.MAX_URL_CHARACTERS,
        label=_("Base URL"),
        help_text=ProviderConnection._meta.get_field("base_url").help_text,
        widget=UnfoldAdminTextInputWidget,
    )
    key = forms.CharField(
        required=False,
        max_length=1000,
        label=_("Key"),
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}),
        help_text=_("Stored encrypted and never shown again. Leave it empty for a host that asks for none."),
    )
    forgets_key = forms.BooleanField(required=False, label=_("Remove the key"), widget=UnfoldBooleanSwitchWidget)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self._has_key and "key" in self.fields:
            self.fields["key"].help_text = _(
                "Leave it empty to keep the present key, which is never shown. If the base URL changes, the key must be "
                "typed again, or removed."
            )

    @property
    def _has_key(self) -> bool:
        return self.instance.ciphertext is not None

    def _get_validation_exclusions(self) -> set[str]:
        # The model's own check of URLs knows no names without a domain, as hosts in a private network have them.
        return {*super()._get_validation_exclusions(), "base_url"}

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if slug == "llama":
            raise ValidationError(_("“llama” stands for the host at LLAMA_BASE_URL."))
        return slug

    def clean_key(self) -> str:
        key: str = self.cleaned_data["key"]
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ValidationError(_("The key has characters that no key has."))
        return key

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        url, key = cleaned.get("base_url"), cleaned.get("key")
        if url:
            try:
                hosts.check_url(url, allows_private=cleaned.get("allows_private_addresses", False))
            except hosts.HostForbidden as fault:
                self.add_error("base_url", fault.said)
        if key and cleaned.get("forgets_key"):
            self.add_error("forgets_key", _("Type a new key or remove the present one, not both."))
        elif self._has_key and "base_url" in self.changed_data and not key and not cleaned.get("forgets_key"):
            # Or whoever may edit this page could have the key sent to a host of his own.
            self.add_error("key", _("The base URL has changed: type the key again, or remove it."))
        return self.cleaned_data


@admin.register(ProviderConnection)
class ProviderConnectionAdmin(OperatorAdmin):
    """Hosts that speak OpenAI's protocol. What is entered here is what the server may connect to, besides the vendors."""

    form = ProviderConnectionForm
    list_display = ("slug", "name", "base_url", "allows_private_addresses", "masked", "is_active", "updated_at")
    list_filter = ("is_active", "allows_private_addresses", "created_at")
    search_fields = ("slug__istartswith", "name__istartswith")
    search_help_text = _("An id, or the beginning of a slug or a name.")
    readonly_fields = ("masked", "created_at", "updated_at")
    fixed_fields = ("slug",)
    add_fields = ("slug", "name", "base_url", "allows_private_addresses", "key", "is_active")
    fields = (
        "slug", "name", "base_url", "allows_private_addresses", "masked", "key", "forgets_key", "is_active",
        "created_at", "updated_at",
    )  # fmt: skip

    @admin.display(description=_("present key"))
    def masked(self, connection: ProviderConnection) -> str:
        return gettext("none") if connection.ciphertext is None else f"••••{connection.hint}"

    # Testing

    actions_detail = ("test_key",)

    @action(description=_("Test the key"), url_path="test", icon="network_check", permissions=["change"])
    def test_key(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        connection = get_object_or_404(ProviderConnection, pk=row_key(object_id))
        back = reverse("admin:llm_providerconnection_change", args=[connection.pk])
        return confirm_page(self, request, HostTest(connection), back=back)

    # Views

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.models_view)
        name = "llm_providerconnection_models"
        return [path("<path:object_id>/models/", page, name=name), *super().get_urls()]

    def models_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """What the host offers."""
        connection = self.get_object(request, unquote(object_id))
        if connection is None:
            raise Http404
        return models_page(self, request, connection, title=_("Models of %(host)s") % {"host": connection.name})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        url = reverse("admin:llm_providerconnection_models", args=[object_id]) if may_import(request) else ""
        return super().change_view(request, object_id, form_url, {"models_url": url, **(extra_context or {})})

    @method_decorator(sensitive_post_parameters("key"))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().changeform_view(request, *args, **kwargs)

    # Writing

    def save_model(self, request: HttpRequest, obj: ProviderConnection, form: Any, change: bool) -> None:
        key, had_one, before = form.cleaned_data.get("key"), obj.ciphertext is not None, obj.hint
        if key:
            connections.set_key(obj, key)
        elif form.cleaned_data.get("forgets_key"):
            connections.drop_key(obj)
        super().save_model(request, obj, form, change)
        if change and (key or (had_one and obj.ciphertext is None)):
            audit.record_new_secret(obj, before=before)

    def changed_columns(self, form: Any) -> list[str]:
        changed = {*super().changed_columns(form)}
        if {"base_url", "key", "forgets_key"} & {*form.changed_data}:
            # Together, so that of two operators at once the later one's host never gets the other one's key.
            changed |= {"base_url", *connections.SECRET_COLUMNS, "updated_at"}
        return sorted(changed)
