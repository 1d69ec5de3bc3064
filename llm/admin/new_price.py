"""Back office: a new price for a model: what it will be and from when on, then what that would change, then storing it.

Nothing is stored before the second page is confirmed. The key of the row is made with the form and travels along, so a
double click, a reload or a form that is sent again finds the price stored.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from functools import partial
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.forms import AdminForm
from unfold.widgets import (
    UnfoldAdminTextareaWidget,
    UnfoldBooleanSwitchWidget,
)

from llm import effects
from llm.admin.beginning import MONDAY, NOW, BeginForm, price_at
from llm.admin.showing import KINDS, moment, moved_between
from llm.models import LLM, RATE_FIELDS, LLMPrice, PriceConflict
from synapscale.common.admin import OperatorAdmin, as_uuid
from synapscale.common.models import new_id
from synapscale.common.presenting import JSONInput, MoneyInput, is_confirmed

COLUMNS = {**RATE_FIELDS, "request_fee": "request_fee_usd"}
CARRIED = (*COLUMNS.values(), "tiers", "windows")
"""What a new price takes over from the present one."""


def _amount(kind: str) -> Any:
    field: Any = LLMPrice._meta.get_field(COLUMNS[kind])
    return field.formfield(
        form_class=MoneyInput,
        min_value=0,
        label=KINDS[kind],
        required=kind in ("input", "output"),
        help_text=_HELP.get(kind, ""),
    )


_HELP = {
    "input": gettext_lazy("USD per million tokens, like all rates here."),
    "cached_input": gettext_lazy("Empty: billed as input."),
    "cache_write_5m": gettext_lazy("Empty: billed as input."),
    "cache_write_1h": gettext_lazy("Empty: billed as a 5-minute write."),
    "output": gettext_lazy("Reasoning included."),
    "request_fee": gettext_lazy("USD per call, on top of the tokens. Empty: none."),
}
_json = partial(
    JSONInput, empty=list, required=False, widget=UnfoldAdminTextareaWidget({"rows": 4, "spellcheck": "false"})
)


class NewPriceForm(BeginForm):
    reference = forms.UUIDField(widget=forms.HiddenInput)
    ends_at_next = forms.BooleanField(
        required=False,
        label=gettext_lazy("End when the planned price begins"),
        widget=UnfoldBooleanSwitchWidget,
    )
    input_usd_per_mtok = _amount("input")
    cached_input_usd_per_mtok = _amount("cached_input")
    cache_write_5m_usd_per_mtok = _amount("cache_write_5m")
    cache_write_1h_usd_per_mtok = _amount("cache_write_1h")
    output_usd_per_mtok = _amount("output")
    request_fee_usd = _amount("request_fee")
    tiers = _json(
        label=gettext_lazy("Rates for long prompts"),
        help_text=gettext_lazy(
            'As JSON: [{"above_input_tokens": 200000, "input": "4", "output": "18"}]. The highest that is exceeded '
            "replaces all rates, for every token; it prices the same kinds of token as above."
        ),
    )
    windows = _json(
        label=gettext_lazy("Rates for times of day"),
        help_text=gettext_lazy(
            'As JSON, in UTC: [{"start": "01:00", "end": "04:00", "input": "1.32", "output": "3.96"}]. The end is '
            "exclusive and may lie after midnight; the last that applies wins. Not together with rates for long prompts."
        ),
    )
    source = forms.CharField(
        required=False,
        max_length=2000,
        label=gettext_lazy("Source"),
        help_text=gettext_lazy("Where the figures come from, for whoever asks later."),
        widget=UnfoldAdminTextareaWidget({"rows": 2}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.planned = self.llm.prices.filter(effective_from__gt=self._now).order_by("effective_from").first()
        if self.planned is None:
            del self.fields["ends_at_next"]
        else:
            self.fields["ends_at_next"].help_text = _("A price is planned: %(when)s.") % {
                "when": moment(self.planned.effective_from)
            }

    @property
    def end(self) -> datetime | None:
        """When the new price ends already."""
        return self.planned.effective_from if self.cleaned_data.get("ends_at_next") and self.planned else None

    @property
    def price(self) -> LLMPrice:
        """The price that is asked for, not stored."""
        return LLMPrice(llm=self.llm, effective_from=self.begin, effective_to=self.end, **self.columns)

    @property
    def columns(self) -> dict[str, Any]:
        given = {name: self.cleaned_data[name] for name in (*CARRIED, "source")}
        return {**given, "request_fee_usd": given["request_fee_usd"] or 0}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if self.errors:
            return cleaned
        self._check_planned()
        try:
            price = self.price
            price.clean_fields(exclude=["llm"])
            price.clean()
        except ValidationError as error:
            for name, fault in error.update_error_dict({}).items():
                self.add_error(
                    name if name in self.fields else "effective_from" if name == "effective_to" else None, fault
                )
        return cleaned

    def _check_planned(self) -> None:
        """What ``LLMPrice.supersede`` would refuse, said before anything is shown, and at the field."""
        if self.planned is None or (self.planned.effective_from > self.begin and self.end is not None):
            return
        at = {"when": moment(self.planned.effective_from)}
        if self.planned.effective_from > self.begin:
            text = _(
                "Another price is planned from %(when)s on. Begin later than that, or let this one end there: “End when the "
                "planned price begins”."
            )
        elif self.llm.prices.filter(effective_from=self.begin).exists():
            at = {"when": moment(self.begin)}
            text = _("Another price begins at that very moment: %(when)s. Give another one.")
        elif self.llm.prices.filter(effective_from__gt=self.begin).exists():
            text = _("Other prices are planned, some of them for later than this. Begin later than all of them.")
        elif self.end is not None:
            text = _("It would end before it begins: the planned price begins %(when)s.")
        else:
            return
        self.add_error("effective_from", text % at)


class _Choice(forms.Form):
    llm = forms.ModelChoiceField(LLM.objects.all(), label=gettext_lazy("Model"))

    def __init__(self, *args: Any, model_admin: OperatorAdmin, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["llm"]
        field.widget = AutocompleteSelect(LLMPrice._meta.get_field("llm"), model_admin.admin_site)
        field.widget.choices = field.choices


def url_of(llm: LLM) -> str:
    return reverse("admin:llm_llm_new_price", args=[llm.pk])


def choice_page(model_admin: OperatorAdmin, request: HttpRequest) -> HttpResponseBase:
    """Of which model; its own page asks for the rest."""
    given = request.POST if request.method == "POST" else request.GET
    form = _Choice(given if "llm" in given or request.method == "POST" else None, model_admin=model_admin)
    if form.is_bound and form.is_valid():
        return HttpResponseRedirect(url_of(form.cleaned_data["llm"]))
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": _("New price"),
        "form": form,
        "adminform": AdminForm(form, [(None, {"fields": ["llm"]})], {}),
        "media": form.media,
    }
    return TemplateResponse(request, "admin/llm/price_of.html", context)


def new_price_page(model_admin: OperatorAdmin, request: HttpRequest, llm: LLM) -> HttpResponseBase:
    """The form, and with ``confirmed`` or not what it would change. The caller has asked for the permission."""
    now = timezone.now()
    current = price_at(llm, now)
    initial: dict[str, Any] = {"reference": new_id(), "begins": MONDAY if current else NOW}
    if current is not None:
        initial |= {name: getattr(current, name) for name in CARRIED}
    if "confirmed" in request.POST and _stored(llm, as_uuid(request.POST.get("reference", ""))):
        return _done(request, llm, None)
    form = NewPriceForm(request.POST if request.method == "POST" else None, llm=llm, initial=initial)
    if not form.is_bound or "back" in request.POST or not form.is_valid():
        return _page(model_admin, request, llm, form=form, current=current)
    if is_confirmed(request):
        try:
            price, is_new = store(form)
        except PriceConflict:
            said = _("Another price was planned meanwhile: look at the page of the model, and give another time.")
            form.add_error("effective_from", said)
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            return _done(request, llm, price if is_new else None)
        return _page(model_admin, request, llm, form=form, current=current)
    return _page(model_admin, request, llm, form=form, current=current, **_effect(form, request, current))


def store(form: NewPriceForm) -> tuple[LLMPrice, bool]:
    """The price that the form asks for, and whether it is new. Raises PriceConflict or ValidationError."""
    reference: uuid.UUID = form.cleaned_data["reference"]
    with transaction.atomic():
        LLM.objects.select_for_update(no_key=True).get(pk=form.llm.pk)
        if known := _stored(form.llm, reference):
            return known, False
        begin = form.cleaned_data["begin"] or timezone.now()
        price = LLMPrice.supersede(
            llm=form.llm, effective_from=begin, effective_to=form.end, id=reference, **form.columns
        )
    return price, True


def _stored(llm: LLM, reference: uuid.UUID | None) -> LLMPrice | None:
    return LLMPrice.objects.filter(pk=reference, llm=llm).first() if reference else None


def _done(request: HttpRequest, llm: LLM, price: LLMPrice | None) -> HttpResponseBase:
    """``price`` was stored, or none, because it was before."""
    if price is None:
        messages.warning(request, _("This price is stored already; nothing was done twice."))
    else:
        said = _("Stored: the new price holds from %(when)s on.") % {"when": moment(price.effective_from)}
        messages.success(request, said)
    return HttpResponseRedirect(reverse("admin:llm_llm_change", args=[llm.pk]))


def _effect(form: NewPriceForm, request: HttpRequest, current: LLMPrice | None) -> dict[str, Any]:
    price = form.price
    before = price_at(form.llm, form.begin)
    table = price.table
    kept = {
        **form.kept(),
        **{name: form[name].value() for name in form.fields if name not in ("begins", "effective_from")},
    }
    moved = moved_between(before.table if before else None, table)
    return {
        "is_confirming": True,
        "kept": [(name, value) for name, value in kept.items() if value not in (None, False)],
        "moved": moved,
        "before": before,
        "begins": form.begin_text,
        "is_at_once": form.cleaned_data["begin"] is None,
        "ends": moment(form.end) if form.end else "",
        "tiers_stay": bool(moved and before and price.tiers and price.tiers == before.tiers),
        "windows_stay": bool(moved and before and price.windows and price.windows == before.windows),
        "source": form.cleaned_data["source"],
        "effect": effects.of_price(
            form.llm, table=table, present=current.table if current else None, user=request.user
        ),
    }


def _page(
    model_admin: OperatorAdmin, request: HttpRequest, llm: LLM, *, form: NewPriceForm, **more: Any
) -> TemplateResponse:
    columns = [*COLUMNS.values()]
    rates = [(columns[0], columns[4], columns[1]), (columns[2], columns[3], columns[5])]
    when = ["begins", "effective_from", *(["ends_at_next"] if "ends_at_next" in form.fields else [])]
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": LLM._meta,
        "title": _("New price"),
        "llm": llm,
        "llm_url": reverse("admin:llm_llm_change", args=[llm.pk]),
        "form": form,
        "adminform": AdminForm(
            form,
            [
                (_("From when on"), {"fields": when}),
                (_("Rates"), {"fields": rates}),
                (_("Long prompts, times of day, source"), {"fields": ["tiers", "windows", "source"]}),
            ],
            {},
        ),
        "media": form.media,
        **more,
    }
    return TemplateResponse(request, "admin/llm/new_price.html", context)
