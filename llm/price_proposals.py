"""From a difference to a price: proposed, approved or rejected, once. ``price_sync`` finds what differs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_noop

from llm import price_source, price_sync
from llm.models import LLM, LLMPrice, PriceConflict, PriceProposal
from llm.models_proposals import State
from llm.price_changes import changes, largest
from llm.price_source import Listing, Source
from llm.price_sync import Difference
from synapscale.common import stored_words
from workspaces.models import User

LITTLE = gettext_noop("No rate moves by more than %(percent)s %%.")
NEWER = gettext_noop("A newer comparison found another price.")
AGREED = gettext_noop("The prices agree.")
stored_words.register("llm.PriceProposal.reason", LITTLE, NEWER, AGREED, is_shared=True)
UNCONFIRMED_OUTPUT_TOKENS = 4096
"""The longest answer of a model that is added from a list of prices, which doesn't say: any vendor's model gives so much."""


class AlreadyDecided(Exception):
    """Somebody has decided about this proposal, or a newer one has taken its place."""


@dataclass
class Report:
    """What a synchronisation did, in lines, and what waits for a decision."""

    proposed: list[PriceProposal] = field(default_factory=list)
    waiting: list[PriceProposal] = field(default_factory=list)
    """All that wait, those just proposed among them."""
    rejected: list[PriceProposal] = field(default_factory=list)
    """What was rejected before and is not proposed again."""
    applied: list[PriceProposal] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{len(self.applied)} applied, {len(self.proposed)} proposed, {len(self.waiting)} waiting"


def propose_due() -> str:
    """The periodic job. It changes no price."""
    if not settings.PRICE_SYNC_SECONDS:
        return "off"
    return str(synchronise(price_source.installed(at=timezone.now())))


def synchronise(source: Source, *, applies_within: int | None = None, effective_from: datetime | None = None) -> Report:
    """Propose what differs from ``source``. With ``applies_within`` a price whose largest change is at most so many
    percent is stored at once, from ``effective_from`` (now, when left out) on; all others wait.

    May be run any number of times: what is proposed, rejected, planned or stored already is left alone.
    """
    report = Report()
    found = price_sync.compare(source, at=effective_from or timezone.now())
    _close_answered(found.agreeing)
    for difference in found.differences:
        following: Difference | None = difference
        while following is not None:
            following = _synchronise(source, following, report, applies_within, effective_from)
    return report


def _synchronise(
    source: Source,
    difference: Difference,
    report: Report,
    applies_within: int | None,
    effective_from: datetime | None,
) -> Difference | None:
    """The next difference of the same model, once this one is out of the way."""
    proposal, is_new = _proposal_of(source, difference)
    if proposal.state == State.REJECTED:
        report.rejected.append(proposal)
        return None
    if is_new:
        report.proposed.append(proposal)
    if applies_within is None or not difference.is_within(applies_within):
        report.waiting.append(proposal)
        return None
    try:
        approve(
            proposal,
            by=None,
            reason=LITTLE % {"percent": applies_within},
            effective_from=difference.begins or effective_from,
            within=applies_within,
        )
    except (PriceConflict, AlreadyDecided) as fault:
        report.failed.append(f"{difference.llm}: {fault}")
        report.waiting.append(proposal)
        return None
    report.applied.append(proposal)
    again = price_sync.compare(source, at=effective_from or timezone.now(), llms=[difference.llm])
    return next(iter(again.differences), None)


def _proposal_of(source: Source, difference: Difference) -> tuple[PriceProposal, bool]:
    """The proposal of ``difference``, and whether it is new. An open one that says something else is superseded."""
    with transaction.atomic():
        _lock(difference.llm)
        latest = PriceProposal.objects.filter(llm=difference.llm).select_related("llm").first()
        proposal = _draft(source, difference)
        if latest is not None and latest.state in (State.OPEN, State.REJECTED) and _same(latest, proposal):
            return latest, False
        if latest is not None and latest.is_open:
            _close(latest, State.SUPERSEDED, by=None, reason=NEWER)
        proposal.save(force_insert=True)
        return proposal, True


def rejected_before(source: Source, differences: Iterable[Difference]) -> list[PriceProposal]:
    """The proposals of those of ``differences`` that were rejected and would not be made again. Reads."""
    latest = {}
    llms = [difference.llm.pk for difference in differences]
    for proposal in PriceProposal.objects.filter(llm__in=llms).order_by("id"):
        latest[proposal.llm_id] = proposal
    drafts = {difference.llm.pk: _draft(source, difference) for difference in differences}
    return [
        proposal
        for llm, proposal in latest.items()
        if proposal.state == State.REJECTED and _same(proposal, drafts[llm])
    ]


def _draft(source: Source, difference: Difference) -> PriceProposal:
    listed = difference.listed
    return PriceProposal(
        llm=difference.llm,
        effective_from=difference.begins,
        rates=dict(listed.rates),
        tiers=listed.tiers,
        windows=listed.windows,
        differences=[change.as_json() for change in difference.changes],
        largest_change_percent=largest(difference.changes),
        source=source.source_of(difference.key),
    )


def _same(one: PriceProposal, other: PriceProposal) -> bool:
    return one.effective_from == other.effective_from and one.table(None) == other.table(None)


def _close_answered(agreeing: Iterable[LLM]) -> None:
    """Open proposals of models that cost the same there by now have nothing left to say."""
    for proposal in PriceProposal.objects.filter(state=State.OPEN, llm__in=[llm.pk for llm in agreeing]):
        with transaction.atomic():
            _lock(proposal.llm)
            proposal.refresh_from_db()
            if proposal.is_open:
                _close(proposal, State.SUPERSEDED, by=None, reason=AGREED)


def approve(
    proposal: PriceProposal,
    *,
    by: User | None,
    reason: str = "",
    effective_from: datetime | None = None,
    within: int | None = None,
) -> LLMPrice:
    """Store the proposed price from ``effective_from`` on: the moment that the proposal names, or else now. Where that
    moment has passed it is now as well: what was charged meanwhile was charged at the price that held.

    A price that is planned for later stays, and this one ends there. Raises AlreadyDecided, and PriceConflict where a
    price begins at that very moment, or a rate moves by more than ``within`` percent from the price there is by then.
    """
    with transaction.atomic():
        _lock(proposal.llm)
        proposal.refresh_from_db()
        if not proposal.is_open:
            raise AlreadyDecided(f"The proposal is {proposal.get_state_display().lower()} already.")
        now = timezone.now()
        begins = max(effective_from or proposal.effective_from or now, now)
        current = current_price(proposal.llm, begins)
        if within is not None and not _is_within(within, current, proposal):
            raise PriceConflict(f"a rate moves by more than {within} % from the price that there is by now")
        price = LLMPrice.supersede_until_next(llm=proposal.llm, effective_from=begins, **proposal.fields(current))
        proposal.price = price
        _close(proposal, State.APPROVED, by=by, reason=reason)
    return price


def reject(proposal: PriceProposal, *, by: User, reason: str) -> None:
    """Leave the price as it is; the same one is not proposed again. Raises AlreadyDecided."""
    with transaction.atomic():
        _lock(proposal.llm)
        proposal.refresh_from_db()
        if not proposal.is_open:
            raise AlreadyDecided(f"The proposal is {proposal.get_state_display().lower()} already.")
        _close(proposal, State.REJECTED, by=by, reason=reason)


def current_price(llm: LLM, at: datetime) -> LLMPrice | None:
    found: LLMPrice | None = llm.prices.valid_at(at).first()
    return found


def add(listing: Listing, *, provider: str, source: Source) -> LLM:
    """A model that the catalogue lacks, retired, with the price that is listed. Whoever activates it looks at it first:
    what it can do and how long its answers get is not listed. Raises ValidationError, and writes nothing then.
    """
    name = listing.key.partition("/")[2]
    assert listing.context_window is not None
    llm = LLM(
        provider=provider,
        name=name,
        display_name=listing.name or name,
        context_window=listing.context_window,
        max_output_tokens=min(UNCONFIRMED_OUTPUT_TOKENS, listing.context_window),
        is_active=False,
        metadata={"genai_prices": listing.key, "unconfirmed": ["max_output_tokens", "capabilities"]},
    )
    llm.full_clean()
    now = timezone.now()
    begins = [price.effective_from or now for price in listing.prices]
    with transaction.atomic():
        llm.save(force_insert=True)
        for price, start in zip(listing.prices, begins, strict=True):
            fields: dict[str, Any] = price_sync.columns_of(price.rates)
            LLMPrice.supersede(
                llm=llm,
                effective_from=min(start, now) if price is listing.prices[0] else start,
                tiers=price.tiers,
                windows=price.windows,
                source=source.source_of(listing.key),
                **fields,
            )
    return llm


def _is_within(percent: int, current: LLMPrice | None, proposal: PriceProposal) -> bool:
    found = changes(current.table if current else None, proposal.table(current))
    return all(change.is_within(percent) for change in found)


def _lock(llm: LLM) -> None:
    """One decision about a model at a time; the lock that ``LLMPrice.supersede`` takes as well."""
    LLM.objects.select_for_update(no_key=True).get(pk=llm.pk)


def _close(proposal: PriceProposal, state: State, *, by: User | None, reason: str) -> None:
    proposal.state = state
    proposal.decided_by = by
    proposal.decided_at = timezone.now()
    proposal.reason = reason
    proposal.save(update_fields=["state", "decided_by", "decided_at", "reason", "price"])
