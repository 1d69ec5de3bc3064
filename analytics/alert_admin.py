"""Back office: alerts, and the rules that fire them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Case, Count, IntegerField, Q, QuerySet, Value, When
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action
from unfold.widgets import UnfoldAdminSelectWidget

from analytics import alert_page
from analytics.alert_deeds import Acknowledge, EndSilence, Silence, when
from analytics.alerting import conditions, rules
from analytics.models import Alert, AlertRule
from synapscale.common import panels
from synapscale.common.admin import OperatorAdmin, OperatorForm, ViewOnlyAdmin, row_key
from synapscale.common.badges import badge
from synapscale.common.confirming import confirm_page
from synapscale.common.errors import Refusal
from workspaces.models import User

FIRING_FIRST = Case(
    When(state=Alert.State.FIRING, then=Value(0)),
    When(state=Alert.State.ACKNOWLEDGED, then=Value(1)),
    default=Value(2),
    output_field=IntegerField(),
)
MAX_RULES = 200
DAYS = 7

panels.add_panel(Alert, alert_page.PANEL)


def _operator(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


@admin.register(Alert)
class AlertAdmin(ViewOnlyAdmin):
    """What is, or was, over a rule's threshold: what fires comes first, what is looked after next."""

    list_display = ("fired_at", "status", "rule", "subject", "figures", "level", "workspace", "resolved_at")
    list_filter = ("state", "severity", "subject_kind", "fired_at")
    list_select_related = ("workspace", "rule")
    list_defer = ("explanation",)
    readonly_fields = ("subject",)
    search_ids = ("pk", "workspace_id", "rule_id", "user_id")
    search_fields = ("workspace__slug", "rule__name__istartswith")
    search_help_text = _("An id, the id of a rule or a user, a workspace's slug or the beginning of a rule's name.")
    actions = ("acknowledge",)  # type: ignore[assignment]
    actions_detail = ("acknowledge_this", "silence_rule")
    fields = (
        "workspace", "rule", "subject_kind", "subject_id", "subject", "user", "severity", "fired_at", "last_seen_at",
        "acknowledged_at", "acknowledged_by", "resolved_at", "id",
    )  # fmt: skip

    def get_ordering(self, request: HttpRequest) -> Any:
        return (FIRING_FIRST, "-pk")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Alert]:
        return super().get_queryset(request).select_related("rule", "workspace", "user", "acknowledged_by")

    @admin.display(description=_("state"), ordering="state")
    def status(self, alert: Alert) -> SafeString:
        kinds: dict[str, Any] = {Alert.State.FIRING: "danger", Alert.State.ACKNOWLEDGED: "warning"}
        return badge(alert.get_state_display(), kinds.get(alert.state, "plain"))

    @admin.display(description=_("severity"), ordering="severity")
    def level(self, alert: Alert) -> SafeString:
        kinds: dict[str, Any] = {"critical": "danger", "warning": "warning"}
        return badge(alert.get_severity_display(), kinds.get(alert.severity, "info"))

    @admin.display(description=_("value and threshold"))
    def figures(self, alert: Alert) -> str:
        value, threshold = (alert_page.amount(alert.rule.condition, one) for one in (alert.value, alert.threshold))
        return gettext("%(value)s (threshold %(threshold)s)") % {"value": value, "threshold": threshold}

    @admin.display(description=_("subject label"), ordering="subject_label")
    def subject(self, alert: Alert) -> str:
        return alert.subject_name

    # Doing

    def has_acknowledge_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("analytics.change_alert")

    def has_silence_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("analytics.change_alertrule")

    def offers(self, row: Any, action: str) -> bool:
        return action != "acknowledge" or row.state == Alert.State.FIRING

    @admin.action(description=_("Acknowledge the selected alerts"), permissions=["acknowledge"])
    def acknowledge(self, request: HttpRequest, queryset: QuerySet[Alert]) -> None:
        """At once: it frightens nobody, and there may be many."""
        done = []
        for alert in queryset.filter(state=Alert.State.FIRING):
            try:
                if Acknowledge(alert).do({"note": ""}, actor=_operator(request)) is not None:
                    done.append(alert)
            except Refusal:
                continue  # it has resolved meanwhile
        level = messages.SUCCESS if done else messages.WARNING
        self.message_user(request, gettext("Acknowledged: %(count)d.") % {"count": len(done)}, level)

    def _alert(self, object_id: str) -> Alert:
        return get_object_or_404(Alert.objects.select_related("rule"), pk=row_key(object_id))

    @action(description=_("Acknowledge"), url_path="acknowledge", icon="check", permissions=["acknowledge"])
    def acknowledge_this(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        alert = self._alert(object_id)
        return confirm_page(self, request, Acknowledge(alert), back=_page(alert))

    @action(description=_("Silence its rule"), url_path="silence", icon="notifications_off", permissions=["silence"])
    def silence_rule(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        alert = self._alert(object_id)
        return confirm_page(self, request, Silence([alert.rule]), back=_page(alert))


def _page(row: Alert | AlertRule) -> str:
    return reverse(f"admin:analytics_{type(row)._meta.model_name}_change", args=[row.pk])


# --- Rules ------------------------------------------------------------------------------------------------------------


def _settings_of(condition: conditions.Condition) -> str:
    said = [
        gettext("“%(name)s” (so: %(default)s): %(help)s")
        % {"name": name, "default": setting.default or "—", "help": gettext(setting.help)}
        for name, setting in condition.settings.items()
    ]
    if not said:
        said = [gettext("nothing.")]
    return f"{condition.key}: {' '.join(said)}"


class AlertRuleForm(OperatorForm):
    """A rule that its condition understands."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = {one.key: one for one in conditions.all_conditions()}
        of_this = known.get(self.instance.condition) if not self.instance._state.adding else None
        if "condition" in self.fields:
            choices = [(key, f"{gettext(one.title)} ({key})") for key, one in known.items()]
            if self.instance.condition and self.instance.condition not in known:
                choices.append((self.instance.condition, self.instance.condition))
            self.fields["condition"] = forms.ChoiceField(
                label=_("Condition"),
                choices=[("", "—"), *choices],
                widget=UnfoldAdminSelectWidget(),
                help_text=gettext("What is looked at. It says the unit of the threshold, and what can be set."),
            )
        shown = [of_this] if of_this else list(known.values())
        units = gettext(of_this.unit) if of_this else "; ".join(f"{one.key}: {gettext(one.unit)}" for one in shown)
        helps = {
            "threshold": gettext("More than this fires; of days before an expiry, less. Unit: %(units)s.")
            % {"units": units},
            "window_seconds": gettext("How far back is looked, in seconds: 900 is a quarter of an hour, 86400 a day."),
            "cooldown_seconds": gettext("Once over, the same fires no more for so long, in seconds."),
            "min_calls": gettext("With fewer calls in the window nothing is said."),
            "subject_id": gettext("The one that is watched: an id, or a provider's name. Empty: each."),
            "settings": gettext("A JSON object; empty is the usual. %(settings)s")
            % {"settings": " ".join(map(_settings_of, shown))},
        }
        for name, text in helps.items():
            if name in self.fields:
                self.fields[name].help_text = text

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


SHOWN_AS = {"name": "called", "condition": "watched"}
"""How the page of a built-in rule shows what stays of it."""


@admin.register(AlertRule)
class AlertRuleAdmin(OperatorAdmin):
    """What is watched. Rules are switched off or silenced, not deleted: their alerts name them."""

    form = AlertRuleForm
    list_display = ("called", "workspace", "watched", "scope", "fires_above", "severity", "status", "is_builtin")
    list_filter = ("is_active", "is_builtin", "severity", "scope")
    list_select_related = ("workspace",)
    search_ids = ("pk", "workspace_id")
    search_fields = ("name__istartswith", "workspace__slug")
    search_help_text = _("An id, the beginning of a name or a workspace's slug.")
    autocomplete_fields = ("workspace",)
    readonly_fields = ("silenced_until", "is_builtin", "created_by", "created_at", "updated_at")
    fixed_fields = ("workspace",)
    add_fields = (
        "workspace", "name", "condition", "scope", "subject_id", "window_seconds", "threshold", "min_calls", "severity",
        "cooldown_seconds", "settings", "is_active",
    )  # fmt: skip
    fields = (*add_fields, *readonly_fields)
    actions = ("silence", "end_silence")
    actions_detail = ("silence_this", "end_silence_this", "try_it")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        names = super().get_readonly_fields(request, obj)
        return [*names, *SHOWN_AS.values(), *rules.FIXED] if obj is not None and obj.is_builtin else names

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names = super().get_fields(request, obj)
        return [SHOWN_AS.get(name, name) for name in names] if obj is not None and obj.is_builtin else names

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Built-in rules are found by what they are called here, too."""
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        term = search_term.strip().lower()
        ours = AlertRule.objects.filter(is_builtin=True) if term else ()
        keys = [rule.pk for rule in ours if rule.shown_name.lower().startswith(term)]
        return found | queryset.filter(pk__in=keys) if keys else found, may_repeat

    @admin.display(description=_("name"), ordering="name")
    def called(self, rule: AlertRule) -> str:
        return rule.shown_name

    @admin.display(description=_("condition"), ordering="condition")
    def watched(self, rule: AlertRule) -> str:
        condition = conditions.get(rule.condition)
        return gettext(condition.title) if condition else rule.condition

    @admin.display(description=_("fires above"), ordering="threshold")
    def fires_above(self, rule: AlertRule) -> str:
        return alert_page.amount(rule.condition, rule.threshold)

    @admin.display(description=_("state"), ordering="silenced_until")
    def status(self, rule: AlertRule) -> SafeString:
        if not rule.is_active:
            return badge(gettext("switched off"), "danger")
        if _is_silenced(rule):
            return badge(gettext("silenced until %(when)s") % {"when": when(rule.silenced_until)}, "warning")  # type: ignore[arg-type]
        return badge(gettext("watches"), "success")

    def save_model(self, request: HttpRequest, obj: AlertRule, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = _operator(request)
        super().save_model(request, obj, form, change)

    # Silence

    def offers(self, row: Any, action: str) -> bool:
        return action != "end-silence" or _is_silenced(row)

    @admin.action(description=_("Silence the selected rules"), permissions=["change"])
    def silence(self, request: HttpRequest, queryset: QuerySet[AlertRule]) -> HttpResponseBase:
        chosen = list(queryset.order_by("-pk")[:MAX_RULES])
        return confirm_page(self, request, Silence(chosen), back=_list(), hidden=_chosen("silence", chosen))

    @admin.action(description=_("End the silence of the selected rules"), permissions=["change"])
    def end_silence(self, request: HttpRequest, queryset: QuerySet[AlertRule]) -> HttpResponseBase:
        chosen = list(queryset.order_by("-pk")[:MAX_RULES])
        return confirm_page(self, request, EndSilence(chosen), back=_list(), hidden=_chosen("end_silence", chosen))

    def _rule(self, object_id: str) -> AlertRule:
        return get_object_or_404(AlertRule, pk=row_key(object_id))

    @action(description=_("Silence"), url_path="silence", icon="notifications_off", permissions=["change"])
    def silence_this(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        rule = self._rule(object_id)
        return confirm_page(self, request, Silence([rule]), back=_page(rule))

    @action(description=_("End the silence"), url_path="end-silence", icon="notifications", permissions=["change"])
    def end_silence_this(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        rule = self._rule(object_id)
        return confirm_page(self, request, EndSilence([rule]), back=_page(rule))

    # Trying

    @action(description=_("Try"), url_path="try", icon="play_arrow", permissions=["view"])
    def try_it(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """What it would fire on now, and what it did fire on lately. Changes nothing."""
        rule = self._rule(object_id)
        if not self.has_view_permission(request, rule):
            raise PermissionDenied
        condition, now = conditions.get(rule.condition), timezone.now()
        fault = "; ".join(conditions.complaints(rule).values())
        observed = condition.find(rule, now) if condition is not None and not fault else ()
        since = now - timedelta(days=DAYS)
        lately = Alert.objects.filter(rule=rule, fired_at__gte=since).aggregate(
            fired=Count("pk"), is_open=Count("pk", filter=Q(state__in=Alert.OPEN))
        )
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("Try the rule"),
            "rule": rule,
            "back": _page(rule),
            "fault": fault,
            "threshold": alert_page.amount(rule.condition, rule.threshold),
            "observed": [
                {"label": one.label, "value": alert_page.amount(rule.condition, one.value), "says": one.explanation}
                for one in observed[: alert_page.SHOWN * 2]
            ],
            "count": len(observed),
            "fired": lately["fired"],
            "is_open": lately["is_open"],
        }
        return TemplateResponse(request, "admin/analytics/alertrule/try.html", context)


def _is_silenced(rule: AlertRule) -> bool:
    return rule.silenced_until is not None and rule.silenced_until > timezone.now()


def _list() -> str:
    return reverse("admin:analytics_alertrule_changelist")


def _chosen(name: str, chosen: Sequence[AlertRule]) -> list[tuple[str, str]]:
    return [("action", name), *((ACTION_CHECKBOX_NAME, str(rule.pk)) for rule in chosen)]
