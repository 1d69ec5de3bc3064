"""Back office: alerts, the rules that fire them, where they are sent, and what has been."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from analytics.alerting import conditions, delivering, endpoints, evaluating, rules
from analytics.models import Alert, AlertDelivery, AlertRule, WebhookEndpoint
from synapscale.common import audit
from synapscale.common.admin import OperatorAdmin, OperatorForm, ViewOnlyAdmin
from synapscale.common.errors import Refusal
from workspaces.models import User

SILENCE = timedelta(hours=24)


def _operator(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _done(request: HttpRequest, model_admin: admin.ModelAdmin, rows: list[Any], word: str) -> None:
    """Say what an action did, to the operator and in the history of the rows."""
    for row in rows:
        audit.record(row, what=f"{word}.")
    level = messages.SUCCESS if rows else messages.WARNING
    model_admin.message_user(request, f"{word}: {len(rows)}.", level)


@admin.register(Alert)
class AlertAdmin(ViewOnlyAdmin):
    """What is, or was, over a rule's threshold."""

    list_display = ("fired_at", "workspace", "rule", "subject_label", "state", "severity", "value", "threshold")
    list_filter = ("state", "severity", "subject_kind", "fired_at")
    list_select_related = ("workspace", "rule")
    list_defer = ("explanation",)
    search_ids = ("pk", "workspace_id", "rule_id", "user_id")
    search_fields = ("workspace__slug", "rule__name__istartswith")
    search_help_text = "An id, the id of a rule or a user, a workspace's slug or the beginning of a rule's name."
    actions = ("acknowledge",)  # type: ignore[assignment]

    def has_acknowledge_permission(self, request: HttpRequest) -> bool:
        return _operator(request).has_perm("analytics.change_alert")

    @admin.action(description="Acknowledge the selected alerts", permissions=["acknowledge"])
    def acknowledge(self, request: HttpRequest, queryset: QuerySet[Alert]) -> None:
        firing = list(queryset.filter(state=Alert.State.FIRING))
        done = []
        for alert in firing:
            try:
                done.append(evaluating.acknowledge(alert, by=_operator(request)))
            except Refusal:
                continue  # it has resolved meanwhile
        _done(request, self, done, "Acknowledged")


class AlertRuleForm(OperatorForm):
    """A rule that its condition understands."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if self.errors:
            return cleaned
        fields = {field.name for field in AlertRule._meta.concrete_fields}
        draft = AlertRule(**{name: getattr(self.instance, name) for name in fields})
        for name in fields & set(cleaned):
            setattr(draft, name, cleaned[name])
        try:
            conditions.require_sound(draft)
            rules.require_subject(draft)
        except Refusal as refusal:
            for name, texts in refusal.details.items():
                self.add_error(name if name in self.fields else None, ValidationError(texts))
        return self.cleaned_data


@admin.register(AlertRule)
class AlertRuleAdmin(OperatorAdmin):
    """What is watched. Rules are switched off or silenced, not deleted: their alerts name them."""

    form = AlertRuleForm
    list_display = (
        "name", "workspace", "condition", "scope", "threshold", "severity", "is_active", "silenced_until", "is_builtin",
    )  # fmt: skip
    list_filter = ("is_active", "is_builtin", "severity", "scope")
    list_select_related = ("workspace",)
    search_ids = ("pk", "workspace_id")
    search_fields = ("name__istartswith", "workspace__slug")
    search_help_text = "An id, the beginning of a name or a workspace's slug."
    autocomplete_fields = ("workspace",)
    readonly_fields = ("is_builtin", "created_by", "created_at", "updated_at")
    fixed_fields = ("workspace",)
    add_fields = (
        "workspace", "name", "condition", "scope", "subject_id", "window_seconds", "threshold", "min_calls", "severity",
        "cooldown_seconds", "settings", "is_active", "silenced_until",
    )  # fmt: skip
    fields = (*add_fields, *readonly_fields)
    actions = ("silence", "end_silence")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        names = super().get_readonly_fields(request, obj)
        return [*names, *rules.FIXED] if obj is not None and obj.is_builtin else names

    def save_model(self, request: HttpRequest, obj: AlertRule, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = _operator(request)
        super().save_model(request, obj, form, change)

    @admin.action(description="Silence the selected rules for a day", permissions=["change"])
    def silence(self, request: HttpRequest, queryset: QuerySet[AlertRule]) -> None:
        chosen = list(queryset)
        until = timezone.now() + SILENCE
        AlertRule.objects.filter(pk__in=[rule.pk for rule in chosen]).update(silenced_until=until)
        _done(request, self, chosen, "Silenced")

    @admin.action(description="End the silence of the selected rules", permissions=["change"])
    def end_silence(self, request: HttpRequest, queryset: QuerySet[AlertRule]) -> None:
        chosen = list(queryset)
        AlertRule.objects.filter(pk__in=[rule.pk for rule in chosen]).update(silenced_until=None)
        _done(request, self, chosen, "Silence ended")


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
    search_help_text = "An id, the beginning of a URL or a workspace's slug."
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
    list_select_related = ("workspace", "alert", "endpoint")
    list_defer = ("payload",)
    search_ids = ("pk", "workspace_id", "alert_id", "endpoint_id")
    search_fields = ("workspace__slug", "recipient__istartswith")
    search_help_text = "An id, the id of an alert or a webhook, a workspace's slug or the beginning of an address."
    actions = ("send_again",)  # type: ignore[assignment]

    def has_send_permission(self, request: HttpRequest) -> bool:
        return _operator(request).has_perm("analytics.change_alertdelivery")

    @admin.action(description="Send again what has not been sent", permissions=["send"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[AlertDelivery]) -> None:
        done: list[Model] = [delivery for delivery in queryset if delivering.send_again(delivery)]
        _done(request, self, done, "To be sent again")
