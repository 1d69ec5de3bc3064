"""Back office: where alerts are sent, and what has been."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from analytics.alerting import delivering, endpoints
from analytics.models import AlertDelivery, WebhookEndpoint
from synapscale.common import audit
from synapscale.common.admin import OperatorAdmin, OperatorForm, ViewOnlyAdmin
from synapscale.common.errors import Refusal


class WebhookEndpointForm(OperatorForm):
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        draft = WebhookEndpoint(
            url=self.instance.url,
            allows_private_addresses=cleaned.get("allows_private_addresses", self.instance.allows_private_addresses),
        )
        try:
            endpoints.require_url(draft)
        except Refusal as refusal:
            self.add_error("allows_private_addresses", refusal.message)
        return self.cleaned_data


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(OperatorAdmin):
    """Where alerts are posted to. They are made through the API, which shows the secret once; here it is never shown."""

    form = WebhookEndpointForm
    list_display = (
        "url",
        "workspace",
        "is_active",
        "allows_private_addresses",
        "last_status",
        "last_error",
        "last_attempt_at",
    )
    list_filter = ("is_active", "allows_private_addresses")
    list_select_related = ("workspace",)
    search_ids = ("pk", "workspace_id")
    search_fields = ("url__istartswith", "workspace__slug")
    search_help_text = _("An id, the beginning of a URL or a workspace's slug.")
    readonly_fields = ("last_status", "last_error", "last_attempt_at", "created_by", "created_at", "updated_at")
    fixed_fields = ("workspace", "url")
    fields = ("workspace", "url", "description", "allows_private_addresses", "is_active", *readonly_fields)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(AlertDelivery)
class AlertDeliveryAdmin(ViewOnlyAdmin):
    """The outbox: what has been sent, and what could not be yet."""

    list_display = (
        "created_at", "workspace", "alert", "event", "channel", "endpoint", "recipient", "state", "attempts", "last_error",
    )  # fmt: skip
    list_filter = ("state", "channel", "event", "created_at")
    list_select_related = ("workspace", "alert__rule", "endpoint")
    list_defer = ("payload",)
    search_ids = ("pk", "workspace_id", "alert_id", "endpoint_id")
    search_fields = ("workspace__slug", "recipient__istartswith")
    search_help_text = _("An id, the id of an alert or a webhook, a workspace's slug or the beginning of an address.")
    actions = ("send_again",)  # type: ignore[assignment]

    def has_send_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("analytics.change_alertdelivery")

    @admin.action(description=_("Send again what has not been sent"), permissions=["send"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[AlertDelivery]) -> None:
        done = []
        for delivery in queryset:
            with transaction.atomic():
                if delivering.send_again(delivery):
                    audit.record(delivery, what=_("To be sent again."))
                    done.append(delivery)
        level = messages.SUCCESS if done else messages.WARNING
        self.message_user(request, gettext("To be sent again: %(count)d.") % {"count": len(done)}, level)
