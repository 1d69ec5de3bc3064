"""Back office: looking at the vendors' prices, and adding models that the catalogue lacks, inactive.

Both read the data of the installed package ``genai-prices``; nothing leaves the machine.
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponseBase, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from llm import price_proposals, price_source, price_sync
from llm.admin.showing import rates_of
from llm.models import LLM, PriceProposal
from llm.price_source import Listing, Source
from synapscale.common.admin import OperatorAdmin
from synapscale.common.amounts import whole

LOOKS = "llm.approve_price"
ADDS = ("llm.add_llm", "llm.add_llmprice")


def look(request: HttpRequest) -> HttpResponseBase:
    """Compare now, and let what differs wait. It changes no price."""
    if not request.user.has_perm(LOOKS):
        raise PermissionDenied
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    source = price_source.installed(at=timezone.now())
    report = price_proposals.synchronise(source)
    new, waiting = len(report.proposed), len(report.waiting)
    parts = [_("Compared with %(source)s.") % {"source": source.name}]
    if new:
        text = ngettext("%(count)s price is newly proposed.", "%(count)s prices are newly proposed.", new)
        parts.append(text % {"count": new})
    if waiting:
        text = ngettext("%(count)s waits for a decision.", "%(count)s wait for a decision.", waiting)
        parts.append(text % {"count": waiting})
    else:
        parts.append(_("Nothing waits for a decision."))
    messages.success(request, " ".join(parts))
    return HttpResponseRedirect(reverse("admin:llm_priceproposal_changelist"))


def newcomers_page(model_admin: OperatorAdmin, request: HttpRequest) -> HttpResponseBase:
    """Models of our vendors that the catalogue lacks. Those that are chosen are added, inactive, with their price."""
    if not request.user.has_perms(ADDS):
        raise PermissionDenied
    now = timezone.now()
    source = price_source.installed(at=now)
    found = price_sync.newcomers(source, at=now)
    if request.method == "POST":
        _add(request, source, {listing.key: (provider, listing) for provider, listing in found})
        return HttpResponseRedirect(request.path)
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": PriceProposal._meta,
        "title": _("New models"),
        "source": source.name,
        "back": reverse("admin:llm_priceproposal_changelist"),
        "rows": [
            {
                "key": listing.key,
                "provider": provider.label,
                "name": listing.key.partition("/")[2],
                "title": listing.name,
                "context_window": whole(listing.context_window or 0),
                "rates": rates_of(price_sync.table_of(listing.prices[0])),
            }
            for provider, listing in found
        ],
    }
    return TemplateResponse(request, "admin/llm/newcomers.html", context)


def _add(request: HttpRequest, source: Source, found: dict[str, tuple[Any, Listing]]) -> None:
    added: list[LLM] = []
    for key in dict.fromkeys(request.POST.getlist("key")):
        if key not in found:
            said = _("%(model)s is in the catalogue by now, or not listed any more.") % {"model": key}
            messages.warning(request, said)
            continue
        provider, listing = found[key]
        try:
            added.append(price_proposals.add(listing, provider=provider, source=source))
        except ValidationError as fault:
            said = _("%(model)s was not added: %(reason)s") % {"model": key, "reason": " ".join(fault.messages)}
            messages.error(request, said)
    if added:
        text = ngettext(
            "%(names)s was added, inactive. Look at what it can do and how long its answers get before you activate it.",
            "%(names)s were added, inactive. Look at what they can do and how long their answers get before you activate them.",
            len(added),
        )
        messages.success(request, text % {"names": ", ".join(map(str, added))})
    elif not request.POST.getlist("key"):
        messages.warning(request, _("Choose the models to add."))
