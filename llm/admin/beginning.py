"""Back office: from when on a price holds: one of a few moments that operators usually mean, or any other to come."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminRadioSelectWidget, UnfoldAdminSplitDateTimeWidget

from llm.admin.showing import moment
from llm.models import LLM, LLMPrice

NOW, MONDAY, MONTH, LISTED, OTHER = "now", "monday", "month", "listed", "other"


def next_monday(now: datetime) -> datetime:
    """The midnight that begins the next Monday, never today's."""
    local = timezone.localtime(now)
    return _midnight(local + timedelta(days=7 - local.weekday()))


def next_month(now: datetime) -> datetime:
    local = timezone.localtime(now)
    return _midnight((local.replace(day=1) + timedelta(days=32)).replace(day=1))


def _midnight(day: datetime) -> datetime:
    return timezone.make_aware(datetime.combine(day.date(), time()))


class BeginForm(forms.Form):
    """``begin`` of the cleaned data is the moment, None for that of the confirmation."""

    begins = forms.ChoiceField(label=gettext_lazy("Begins"), widget=UnfoldAdminRadioSelectWidget)
    effective_from = forms.SplitDateTimeField(
        required=False,
        label=gettext_lazy("Other time, UTC"),
        help_text=gettext_lazy("Only for “At another time”."),
        widget=UnfoldAdminSplitDateTimeWidget,
    )

    def __init__(self, *args: Any, llm: LLM, listed: datetime | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.llm, self._now = llm, timezone.now()
        self._moments = {MONDAY: next_monday(self._now), MONTH: next_month(self._now)}
        if listed is not None and listed > self._now:
            self._moments = {LISTED: listed, **self._moments}
        self.fields["begins"].choices = [  # type: ignore[attr-defined]
            *((key, self._words(key) % {"when": moment(at)}) for key, at in self._moments.items()),
            (NOW, _("At once, when it is confirmed")),
            (OTHER, _("At another time")),
        ]

    @staticmethod
    def _words(key: str) -> str:
        return {
            LISTED: _("When the vendor's price begins: %(when)s"),
            MONDAY: _("Next Monday: %(when)s"),
            MONTH: _("Next month: %(when)s"),
        }[key]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        chosen, typed = cleaned.get("begins"), cleaned.get("effective_from")
        if self.errors:
            return cleaned
        if chosen != OTHER:
            if typed is not None:
                self.add_error("effective_from", _("Choose “At another time” to use this, or empty it."))
            cleaned["begin"] = None if chosen == NOW else self._moments[str(chosen)]
        elif typed is None:
            self.add_error("effective_from", _("Give a day and a time."))
        elif typed <= self._now:
            self.add_error(
                "effective_from",
                _("This has passed, and what was used was charged already: give a time to come."),
            )
        else:
            cleaned["begin"] = typed
        return cleaned

    def kept(self) -> dict[str, Any]:
        """What a second page sends back, so that the moment stays what it was whenever it is confirmed."""
        begin = self.cleaned_data["begin"]
        if begin is None:
            return {"begins": NOW}
        local = timezone.localtime(begin)
        return {
            "begins": OTHER,
            "effective_from_0": f"{local:%Y-%m-%d}",
            "effective_from_1": f"{local:%H:%M:%S.%f}" if local.microsecond else f"{local:%H:%M:%S}",
        }

    @property
    def begin(self) -> datetime:
        """The moment that is chosen, as things are now."""
        found: datetime | None = self.cleaned_data["begin"]
        return found or self._now

    @property
    def begin_text(self) -> str:
        return _("At once, when it is confirmed") if self.cleaned_data["begin"] is None else moment(self.begin)


def price_at(llm: LLM, at: datetime) -> LLMPrice | None:
    found: LLMPrice | None = llm.prices.valid_at(at).first()
    return found
