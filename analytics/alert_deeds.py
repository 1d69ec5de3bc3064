"""What operators do with alerts and their rules, each confirmed before it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextareaWidget

from analytics.alerting import evaluating
from analytics.models import Alert, AlertRule
from synapscale.common import audit
from synapscale.common.confirming import Deed, Facts, NothingToType, ReasonForm, Said

UNTIL = "until"
SPANS = {
    "1": (gettext_lazy("1 hour"), timedelta(hours=1)),
    "8": (gettext_lazy("8 hours"), timedelta(hours=8)),
    "24": (gettext_lazy("24 hours"), timedelta(hours=24)),
}


SAME = timedelta(minutes=1)
"""A silence that ends so close to the present one is the same, asked for by a second click."""


def when(moment: datetime) -> str:
    return date_format(timezone.localtime(moment), "SHORT_DATETIME_FORMAT")


# --- Acknowledging ----------------------------------------------------------------------------------------------------


class NoteForm(forms.Form):
    note = forms.CharField(
        required=False,
        max_length=300,
        label=gettext_lazy("Note"),
        help_text=gettext_lazy("What you found, or what you do about it. Kept in the audit log and shown on the page."),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )


@dataclass(frozen=True)
class Acknowledge(Deed):
    alert: Alert

    title = gettext_lazy("Acknowledge")
    button = gettext_lazy("Acknowledge")
    permission = "analytics.change_alert"
    form = NoteForm

    @property
    def subject(self) -> str:
        return str(self.alert)

    def facts(self) -> Facts:
        return [(_("What happened"), self.alert.told)]

    def effect(self, given: Mapping[str, Any]) -> Facts:
        said: Facts = [
            (_("The alert"), _("counts as looked after, by you, until it is over")),
            (_("Whoever was told that it began"), _("is told that somebody looks after it")),
        ]
        return said + ([(_("Note"), given["note"])] if given["note"] else [])

    def do(self, given: Mapping[str, Any], *, actor: Any) -> Said | None:
        is_first = evaluating.acknowledge(self.alert, by=actor, note=given["note"])
        return Said(_("Acknowledged.")) if is_first else None


# --- Silencing --------------------------------------------------------------------------------------------------------


class SilenceForm(ReasonForm):
    span = forms.ChoiceField(
        label=gettext_lazy("For how long"),
        choices=[*((key, words) for key, (words, _span) in SPANS.items()), (UNTIL, gettext_lazy("Until a moment"))],
        widget=UnfoldAdminSelectWidget(),
    )
    until = forms.SplitDateTimeField(
        required=False,
        label=gettext_lazy("Until"),
        help_text=gettext_lazy("Date and time, UTC; only with “until a moment”."),
        widget=UnfoldAdminSplitDateTimeWidget(),
    )
    field_order = ("span", "until", "reason")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        until, now = cleaned.get("until"), timezone.now()
        if cleaned.get("span") == UNTIL and "until" not in self.errors:
            if until is None:
                self.add_error("until", ValidationError(_("Say until when.")))
            elif until <= now:
                self.add_error("until", ValidationError(_("This has passed.")))
        return cleaned


def end_of(given: Mapping[str, Any]) -> datetime:
    """When a silence that is asked for ends."""
    if given["span"] == UNTIL:
        until: datetime = given["until"]
        return until
    return timezone.now().replace(microsecond=0) + SPANS[given["span"]][1]


@dataclass(frozen=True)
class _OfRules(Deed):
    rules: Sequence[AlertRule]

    permission = "analytics.change_alertrule"

    @property
    def subject(self) -> str:
        if len(self.rules) == 1:
            return self.rules[0].shown_name
        return ngettext("%(count)d rule", "%(count)d rules", len(self.rules)) % {"count": len(self.rules)}

    def facts(self) -> Facts:
        return [(rule.shown_name, _silence_of(rule)) for rule in self.rules]


def _silence_of(rule: AlertRule) -> str:
    if rule.silenced_until is not None and rule.silenced_until > timezone.now():
        return _("silenced until %(when)s") % {"when": when(rule.silenced_until)}
    return _("not silenced") if rule.is_active else _("switched off")


class Silence(_OfRules):
    title = gettext_lazy("Silence")
    button = gettext_lazy("Silence")
    form = SilenceForm

    def effect(self, given: Mapping[str, Any]) -> Facts:
        return [
            (_("Until"), when(end_of(given))),
            (_("Until then"), _("nothing new fires")),
            (_("What is open"), _("stays open, and resolves without a mail when it is over; webhooks are told")),
        ]

    def do(self, given: Mapping[str, Any], *, actor: Any) -> Said | None:
        until, done = end_of(given), 0
        with transaction.atomic():
            for rule in self.rules:
                before = _set_silence(rule, until)
                if before is not None and abs(before - until) < SAME:
                    continue
                changes = {"silenced_until": (before, until)}
                audit.record(rule, what=gettext_lazy("Silenced."), changes=changes, actor=actor, reason=given["reason"])
                done += 1
        if not done:
            return None
        return Said(_("Silenced until %(when)s: %(count)d.") % {"when": when(until), "count": done})


class EndSilence(_OfRules):
    title = gettext_lazy("End the silence")
    button = gettext_lazy("End the silence")
    form = NothingToType

    def effect(self, given: Mapping[str, Any]) -> Facts:
        return [*self.facts(), (_("From now on"), _("what is over its threshold fires"))]

    def do(self, given: Mapping[str, Any], *, actor: Any) -> Said | None:
        done = 0
        with transaction.atomic():
            for rule in self.rules:
                before = _set_silence(rule, None)
                if before is not None:
                    changes = {"silenced_until": (before, None)}
                    audit.record(rule, what=gettext_lazy("Silence ended."), changes=changes, actor=actor)
                    done += 1
        return Said(_("Silence ended: %(count)d.") % {"count": done}) if done else None


def _set_silence(rule: AlertRule, until: datetime | None) -> datetime | None:
    """Until when it was silenced before."""
    row = AlertRule.objects.select_for_update(no_key=True).get(pk=rule.pk)
    if until is not None and row.silenced_until is not None and abs(row.silenced_until - until) < SAME:
        return row.silenced_until
    AlertRule.objects.filter(pk=rule.pk).update(silenced_until=until)
    return row.silenced_until
