"""Back office: bringing models back and retiring them, one or several, after a page that says who relies on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.forms import AdminForm

from llm import effects
from llm.admin.new_price import url_of
from llm.admin.showing import status_of, with_validity
from llm.models import LLM
from synapscale.common import audit
from synapscale.common.admin import OperatorAdmin
from synapscale.common.confirming import ReasonForm

MAX_MODELS = 50
"""At once: more than anybody reads before confirming."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the page says of one model."""

    llm: LLM
    url: str
    lines: Sequence[str]
    warnings: Sequence[str]
    names: Sequence[tuple[str, Sequence[effects.Named]]]
    new_price_url: str


def switch_page(
    model_admin: OperatorAdmin, request: HttpRequest, llms: Sequence[LLM], *, to: bool, action: str = ""
) -> HttpResponseBase:
    """Ask, and do it when it is confirmed. ``action`` is that of the list, which the form is sent back to."""
    back = reverse("admin:llm_llm_changelist") if action else reverse("admin:llm_llm_change", args=[llms[0].pk])
    if len(llms) > MAX_MODELS:
        messages.error(request, _("At most %(count)s models at once.") % {"count": MAX_MODELS})
        return HttpResponseRedirect(back)
    form = ReasonForm(request.POST if "confirmed" in request.POST else None)
    if form.is_bound and form.is_valid():
        _switch(request, llms, to=to, reason=form.cleaned_data["reason"])
        return HttpResponseRedirect(back)
    moving = list(
        with_validity(LLM.objects.select_related("connection"))
        .filter(pk__in=[llm.pk for llm in llms], is_active=not to)
        .order_by("provider", "name")
    )
    if not moving:
        messages.warning(request, _nothing(to))
        return HttpResponseRedirect(back)
    told = [_told(one, request, to=to) for one in effects.reliances_on(moving, user=request.user)]
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": LLM._meta,
        "title": _title(moving, to=to),
        "button": _("Activate") if to else _("Retire"),
        "to": to,
        "told": told,
        "back": back,
        "action": action,
        "selected": [str(llm.pk) for llm in llms] if action else [],
        "form": form,
        "adminform": AdminForm(form, [(None, {"fields": ["reason"]})], {}),
    }
    return TemplateResponse(request, "admin/llm/switch.html", context)


def _switch(request: HttpRequest, llms: Sequence[LLM], *, to: bool, reason: str) -> None:
    keys = [llm.pk for llm in llms]
    with transaction.atomic():
        rows = list(LLM.objects.select_for_update(no_key=True).filter(pk__in=keys, is_active=not to).order_by("pk"))
        LLM.objects.filter(pk__in=[llm.pk for llm in rows]).update(is_active=to)
        what = gettext_lazy("Activated.") if to else gettext_lazy("Retired.")
        for llm in rows:
            audit.record(llm, what=what, changes={"is_active": (not to, to)}, actor=request.user, reason=reason)
    if not rows:
        messages.warning(request, _nothing(to))
        return
    names = ", ".join(str(llm) for llm in rows[:10])
    more = len(rows) - 10
    if more > 0:
        names = _("%(names)s and %(more)s more") % {"names": names, "more": more}
    done = _("Activated: %(names)s.") if to else _("Retired: %(names)s.")
    messages.success(request, done % {"names": names})


def _nothing(to: bool) -> str:
    return _("Active already; nothing was done twice.") if to else _("Retired already; nothing was done twice.")


def _title(llms: Sequence[LLM], *, to: bool) -> str:
    count = len(llms)
    if count == 1:
        return (_("Activate %(model)s") if to else _("Retire %(model)s")) % {"model": llms[0]}
    if to:
        text = ngettext("Activate %(count)s model", "Activate %(count)s models", count)
    else:
        text = ngettext("Retire %(count)s model", "Retire %(count)s models", count)
    return text % {"count": count}


def _told(one: effects.Reliance, request: HttpRequest, *, to: bool) -> Told:
    llm: Any = one.llm
    may_price = request.user.has_perm("llm.add_llmprice")
    lines, warnings = (_if_activated(one), _unready(llm)) if to else (_if_retired(one), [])
    return Told(
        llm=llm,
        url=reverse("admin:llm_llm_change", args=[llm.pk]),
        lines=lines,
        warnings=warnings,
        names=one.names,
        new_price_url=url_of(llm) if to and may_price and not llm.has_price else "",
    )


def _unready(llm: Any) -> list[str]:
    """What stands in the way of an answer of a model that is activated, or was never looked at."""
    found = []
    if not llm.has_price:
        found.append(
            _("It has no valid price. Calls are refused (422, “no_price”) until it has one; a price is never guessed.")
        )
    if status_of(LLM(is_active=True, connection=llm.connection), has_price=True).key == "refused":
        found.append(_("Its host is switched off. Calls are refused until the host is switched on as well."))
    if isinstance(llm.metadata, dict) and llm.metadata.get("unconfirmed"):
        found.append(
            _(
                "It was added from a list of prices, which doesn't say how long its answers may get and what it can do. Look at "
                "“max output tokens” and the capabilities on its page first."
            )
        )
    return found


def _if_activated(one: effects.Reliance) -> list[str]:
    found = [_("Workspaces without a list of allowed models, and those that name it, may call it at once.")]
    if one.agents:
        found.append(
            ngettext(
                "%(count)s agent has it as its main model, and answers with it again.",
                "%(count)s agents have it as their main model, and answer with it again.",
                one.agents,
            )
            % {"count": one.agents}
        )
    return found


def _if_retired(one: effects.Reliance) -> list[str]:
    rescued = one.agents - one.agents_without_fallback
    rescued_spaces = one.default_of - one.default_without_fallback
    said = [
        (
            one.conversations,
            ngettext(
                "%(count)s conversation had an answer of it in the last 30 days.",
                "%(count)s conversations had an answer of it in the last 30 days.",
                one.conversations,
            ),
        ),
        (
            rescued,
            ngettext(
                "%(count)s agent answers with its fallback from now on, as long as that can be called.",
                "%(count)s agents answer with their fallback from now on, as long as that can be called.",
                rescued,
            ),
        ),
        (
            one.agents_without_fallback,
            ngettext(
                "%(count)s agent has no fallback: its questions are refused (422, “model_retired”) until it has another model.",
                "%(count)s agents have no fallback: their questions are refused (422, “model_retired”) until they have "
                "another model.",
                one.agents_without_fallback,
            ),
        ),
        (
            rescued_spaces,
            ngettext(
                "%(count)s workspace has it as its default and answers with its fallback from now on.",
                "%(count)s workspaces have it as their default and answer with their fallback from now on.",
                rescued_spaces,
            ),
        ),
        (
            one.default_without_fallback,
            ngettext(
                "%(count)s workspace has it as its default and no fallback: what names no model is refused (422, “model_retired”).",
                "%(count)s workspaces have it as their default and no fallback: what names no model is refused (422, "
                "“model_retired”).",
                one.default_without_fallback,
            ),
        ),
        (
            one.agents_as_fallback,
            ngettext(
                "%(count)s agent falls back to it, and passes it over from now on.",
                "%(count)s agents fall back to it, and pass it over from now on.",
                one.agents_as_fallback,
            ),
        ),
        (
            one.fallback_of,
            ngettext(
                "%(count)s workspace falls back to it, and passes it over from now on.",
                "%(count)s workspaces fall back to it, and pass it over from now on.",
                one.fallback_of,
            ),
        ),
        (
            one.allowed_in,
            ngettext(
                "%(count)s workspace names it among the models that it allows.",
                "%(count)s workspaces name it among the models that they allow.",
                one.allowed_in,
            ),
        ),
    ]
    found = [text % {"count": count} for count, text in said if count]
    relied = one.agents or one.agents_as_fallback or one.default_of or one.fallback_of or one.allowed_in
    if not relied:
        found.append(_("No active agent and no active workspace names it."))
    found.append(_("Calls that name it themselves and have no fallback are refused (422, “model_retired”)."))
    return [*found, _("Calls under way are finished and charged. It can be activated again at any time.")]
