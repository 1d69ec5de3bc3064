"""Back office: proposed prices, approved or rejected, one after its preview or several at once; each of them once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.forms import AdminForm

from llm import effects, price_proposals
from llm.admin.beginning import LISTED, NOW, BeginForm, price_at
from llm.admin.showing import Moved, moment, moved_between, moved_in
from llm.models import LLMPrice, PriceConflict, PriceProposal
from llm.price_proposals import AlreadyDecided
from synapscale.common.admin import OperatorAdmin
from synapscale.common.confirming import reason_field

MAX_PROPOSALS = 50
_TAKEN_MOMENT = gettext_lazy("Another price of this model begins at that very moment.")


class RejectForm(forms.Form):
    reason = reason_field(
        gettext_lazy("Kept with the proposal; the same price is not proposed again."), max_length=1000
    )


class SeveralForm(forms.Form):
    reason = reason_field(gettext_lazy("Kept with each of the proposals."), required=False, max_length=1000)


class ApproveForm(BeginForm, SeveralForm):
    field_order = ("begins", "effective_from", "reason")


@dataclass(frozen=True, slots=True)
class Shown:
    """What a proposal would change, against the price that there is by now, or was when it was decided."""

    moved: Sequence[Moved]
    effect: effects.PriceEffect | None
    begins: str
    ends: str
    """When a price that is planned for later takes over."""
    is_open: bool
    price: LLMPrice | None


def show(proposal: PriceProposal, *, user: Any) -> Shown:
    """Of one that is decided there are its differences alone: what it would have cost lately means nothing any more."""
    if not proposal.is_open:
        return Shown(moved_in(proposal.differences), None, "", "", False, proposal.price)
    now = timezone.now()
    begin = max(proposal.effective_from or now, now)
    current = price_at(proposal.llm, begin)
    planned = proposal.llm.prices.filter(effective_from__gt=begin).order_by("effective_from").first()
    table = proposal.table(current)
    old = current.table if current else None
    return Shown(
        moved=moved_between(old, table),
        effect=effects.of_price(proposal.llm, table=table, present=old, user=user),
        begins=_("With its approval") if begin == now else moment(begin),
        ends=moment(planned.effective_from) if planned else "",
        is_open=True,
        price=None,
    )


def url_of(proposal: PriceProposal) -> str:
    return reverse("admin:llm_priceproposal_change", args=[proposal.pk])


def decide_page(
    model_admin: OperatorAdmin, request: HttpRequest, proposal: PriceProposal, *, approves: bool
) -> HttpResponseBase:
    """Approve or reject one. The caller has asked for the permission."""
    if not proposal.is_open and request.method != "POST":
        messages.warning(request, _taken(proposal))
        return HttpResponseRedirect(url_of(proposal))
    data = request.POST if request.method == "POST" else None
    form: forms.Form
    if approves:
        listed = proposal.effective_from
        initial = {"begins": LISTED if listed and listed > timezone.now() else NOW}
        form = ApproveForm(data, llm=proposal.llm, listed=listed, initial=initial)
    else:
        form = RejectForm(data)
    if form.is_bound and form.is_valid():
        try:
            _decide(request, proposal, form, approves=approves)
        except AlreadyDecided:
            messages.warning(request, _taken(proposal))
        except PriceConflict:
            form.add_error("effective_from", _TAKEN_MOMENT)
        if form.is_valid():
            return HttpResponseRedirect(url_of(proposal))
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": PriceProposal._meta,
        "title": _("Approve the price") if approves else _("Reject the price"),
        "approves": approves,
        "proposal": proposal,
        "back": url_of(proposal),
        "shown": show(proposal, user=request.user),
        "form": form,
        "adminform": AdminForm(form, [(None, {"fields": list(form.fields)})], {}),
        "media": form.media,
    }
    return TemplateResponse(request, "admin/llm/decide.html", context)


def _decide(request: HttpRequest, proposal: PriceProposal, form: forms.Form, *, approves: bool) -> None:
    user: Any = request.user
    if approves:
        begin = form.cleaned_data["begin"] or timezone.now()
        price = price_proposals.approve(proposal, by=user, reason=form.cleaned_data["reason"], effective_from=begin)
        said = _("Approved: the price holds from %(when)s on.") % {"when": moment(price.effective_from)}
    else:
        price_proposals.reject(proposal, by=user, reason=form.cleaned_data["reason"])
        said = _("Rejected: the price stays as it is.")
    messages.success(request, said)


def _taken(proposal: PriceProposal) -> str:
    """Who has decided already, and how."""
    proposal.refresh_from_db()
    facts = {
        "state": proposal.get_state_display(),
        "who": str(proposal.decided_by) if proposal.decided_by else _("a comparison"),
        "when": moment(proposal.decided_at) if proposal.decided_at else "",
    }
    return _("This is decided: %(state)s, by %(who)s, %(when)s. Nothing was done twice.") % facts


def several_page(
    model_admin: OperatorAdmin, request: HttpRequest, proposals: Sequence[PriceProposal], *, approves: bool, action: str
) -> HttpResponseBase:
    """Approve or reject several, each on its own: one that can't be stored keeps no other from it."""
    back = HttpResponseRedirect(reverse("admin:llm_priceproposal_changelist"))
    if len(proposals) > MAX_PROPOSALS:
        messages.error(request, _("At most %(count)s proposals at once.") % {"count": MAX_PROPOSALS})
        return back
    data = request.POST if "confirmed" in request.POST else None
    form = SeveralForm(data) if approves else RejectForm(data)
    if form.is_bound and form.is_valid():
        _decide_each(request, proposals, form.cleaned_data["reason"], approves=approves)
        return back
    waiting = [proposal for proposal in proposals if proposal.is_open]
    if not waiting:
        messages.warning(request, _("All of them are decided already."))
        return back
    count = len(waiting)
    if approves:
        title = ngettext("Approve %(count)s price", "Approve %(count)s prices", count)
    else:
        title = ngettext("Reject %(count)s price", "Reject %(count)s prices", count)
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": PriceProposal._meta,
        "title": title % {"count": count},
        "approves": approves,
        "action": action,
        "selected": [str(proposal.pk) for proposal in proposals],
        "rows": [
            {
                "proposal": proposal,
                "url": url_of(proposal),
                "moved": moved_in(proposal.differences),
                "begins": moment(proposal.effective_from) if proposal.effective_from else "",
            }
            for proposal in waiting
        ],
        "decided": len(proposals) - count,
        "back": reverse("admin:llm_priceproposal_changelist"),
        "form": form,
        "adminform": AdminForm(form, [(None, {"fields": ["reason"]})], {}),
    }
    return TemplateResponse(request, "admin/llm/decide_several.html", context)


def _decide_each(request: HttpRequest, proposals: Sequence[PriceProposal], reason: str, *, approves: bool) -> None:
    user: Any = request.user
    done, late = 0, 0
    for proposal in proposals:
        try:
            if approves:
                price_proposals.approve(proposal, by=user, reason=reason)
            else:
                price_proposals.reject(proposal, by=user, reason=reason)
            done += 1
        except AlreadyDecided:
            late += 1
        except PriceConflict:
            said = _("%(model)s was left waiting: %(reason)s")
            messages.error(request, said % {"model": proposal.llm, "reason": _TAKEN_MOMENT})
    if done:
        if approves:
            text = ngettext("%(count)s price approved.", "%(count)s prices approved.", done)
        else:
            text = ngettext("%(count)s price rejected.", "%(count)s prices rejected.", done)
        messages.success(request, text % {"count": done})
    if late:
        text = ngettext(
            "%(count)s was decided already; nothing was done twice.",
            "%(count)s were decided already; nothing was done twice.",
            late,
        )
        messages.warning(request, text % {"count": late})
