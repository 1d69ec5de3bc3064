"""The catalogue against a list of prices: what is proposed, stored, remembered, and added."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from llm import price_proposals, price_sync
from llm.models import LLM, LLMPrice, PriceConflict, PriceProposal
from llm.price_source import Source, installed
from tests.catalogue import SINCE, make_llm
from tests.llm.listing import NEXT_YEAR, listed, listing, source, source_of
from tests.together import at_once
from workspaces.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def llm(db: None) -> LLM:
    return make_llm()


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root@example.org")


def states(llm: LLM) -> list[str]:
    return [*llm.price_proposals.order_by("id").values_list("state", flat=True)]


def sync(found: Source, within: int | None = None, **options: Any) -> price_proposals.Report:
    return price_proposals.synchronise(found, applies_within=within, **options)


# --- Comparing --------------------------------------------------------------------------------------------------------


def test_the_seeded_catalogue_agrees_with_the_installed_package() -> None:
    from llm.catalogue import seed
    from tests.llm.test_catalogue_exactness import FIXTURE

    seed(FIXTURE)
    found = price_sync.compare(installed(at=timezone.now()), at=timezone.now())
    assert len(found.agreeing) == 12
    assert (found.differences, found.unknown, found.inexpressible) == ([], [], [])


def test_an_id_is_matched_exactly_and_only_at_its_vendor() -> None:
    llm = make_llm("openai", "gpt-6")
    found = price_sync.compare(
        source(listing("openai/gpt-6-mini", listed("9")), listing("azure/gpt-6", listed("9"))), at=timezone.now()
    )
    assert found.unknown == [llm]
    assert price_sync.compare(source(listing("openai/gpt-6", listed())), at=timezone.now()).agreeing == [llm]


def test_a_model_may_say_where_it_is_listed(llm: LLM) -> None:
    llm.metadata = {"genai_prices": "together/meta/llama"}
    llm.save()
    found = price_sync.compare(source(listing("together/meta/llama", listed("3"))), at=timezone.now())
    assert [change.kind for change in found.differences[0].changes] == ["input"]


def test_models_without_a_vendor_are_not_looked_for() -> None:
    make_llm("demo")
    found = price_sync.compare(source(), at=timezone.now())
    assert (found.unknown, found.agreeing) == ([], [])


@pytest.mark.parametrize(
    "there",
    [
        listing("openai/openai-test", problem="prices of kinds that are not known here: input_audio_mtok"),
        listing("openai/openai-test", listed("0.0000001")),
    ],
)
def test_a_price_that_ours_can_not_be_is_told_not_guessed(llm: LLM, there: Any) -> None:
    found = price_sync.compare(source(there), at=timezone.now())
    assert [one for one, _ in found.inexpressible] == [llm]
    sync(source(there), 100)
    assert states(llm) == []


def test_a_price_of_a_later_day_is_a_difference_from_then_on(llm: LLM) -> None:
    there = source_of(llm, listed(), listed("1.1", at=NEXT_YEAR))
    (difference,) = price_sync.compare(there, at=timezone.now()).differences
    assert (difference.begins, [change.new for change in difference.changes]) == (NEXT_YEAR, [1_100_000])


# --- Proposing --------------------------------------------------------------------------------------------------------


def test_a_difference_is_proposed_once_and_changes_no_price(llm: LLM) -> None:
    there = source_of(llm, listed("1.1"))
    first, second = sync(there), sync(there)

    assert (len(first.proposed), len(first.waiting)) == (1, 1)
    assert (len(second.proposed), len(second.waiting)) == (0, 1)
    proposal = llm.price_proposals.get()
    assert (proposal.state, proposal.source) == ("open", "prices 1: openai/openai-test")
    assert proposal.largest_change_percent == Decimal("10.0")
    assert proposal.differences == [
        {"kind": "input", "above_tokens": 0, "hours": "", "old": "1.00", "new": "1.10", "percent": "10.0"}
    ]
    assert llm.prices.count() == 1


def test_a_newer_price_there_takes_the_place_of_the_one_that_waits(llm: LLM) -> None:
    sync(source_of(llm, listed("1.1")))
    sync(source_of(llm, listed("1.2")))
    assert states(llm) == ["superseded", "open"]


def test_a_proposal_closes_when_the_prices_agree_again(llm: LLM) -> None:
    sync(source_of(llm, listed("1.1")))
    sync(source_of(llm, listed()))
    assert states(llm) == ["superseded"]


def test_the_database_knows_one_open_proposal_of_a_model(llm: LLM) -> None:
    sync(source_of(llm, listed("1.1")))
    with pytest.raises(IntegrityError), transaction.atomic():
        PriceProposal.objects.create(llm=llm, rates={"input": "9", "output": "9"}, source="x")


# --- Applying ---------------------------------------------------------------------------------------------------------


def test_small_changes_are_stored_and_large_ones_wait(llm: LLM) -> None:
    dear = make_llm("openai", "dear")
    there = source(listing("openai/openai-test", listed("1.2")), listing("openai/dear", listed("1", "2.5")))
    before = timezone.now()
    report = sync(there, 20)

    assert [proposal.llm for proposal in report.applied] == [llm]
    assert [proposal.llm for proposal in report.waiting] == [dear]
    old, new = llm.prices.order_by("effective_from")
    assert (new.input_usd_per_mtok, new.output_usd_per_mtok, new.effective_to) == (Decimal("1.2"), 2, None)
    assert before <= new.effective_from == old.effective_to <= timezone.now()
    assert dear.prices.count() == 1
    decided = llm.price_proposals.get()
    assert (decided.state, decided.price, decided.decided_by) == ("approved", new, None)

    again = sync(there, 20)
    assert (again.applied, len(again.waiting)) == ([], 1)
    assert (llm.prices.count(), dear.price_proposals.count()) == (2, 1)


def test_one_large_change_among_small_ones_makes_all_of_them_wait(llm: LLM) -> None:
    report = sync(source_of(llm, listed("1.01", "3")), 20)
    assert (len(report.applied), len(report.waiting)) == (0, 1)


def test_a_price_begins_when_it_is_told_to_and_is_not_stored_again(llm: LLM) -> None:
    there = source_of(llm, listed("1.1"))
    for _ in range(2):
        sync(there, 20, effective_from=NEXT_YEAR)
    sync(there, 20)
    assert [*llm.prices.order_by("effective_from").values_list("effective_from", flat=True)] == [SINCE, NEXT_YEAR]


def test_a_whole_timeline_is_stored(llm: LLM) -> None:
    report = sync(source_of(llm, listed("1.1"), listed("1.2", at=NEXT_YEAR)), 20)
    assert len(report.applied) == 2
    assert [*llm.prices.order_by("effective_from").values_list("input_usd_per_mtok", flat=True)] == [
        1,
        Decimal("1.1"),
        Decimal("1.2"),
    ]


def test_a_price_that_is_planned_stays(llm: LLM) -> None:
    LLMPrice.supersede(llm=llm, effective_from=NEXT_YEAR, input_usd_per_mtok=5, output_usd_per_mtok=5)
    sync(source_of(llm, listed("1.1")), 20)
    assert [*llm.prices.order_by("effective_from").values_list("effective_to", flat=True)][1:] == [NEXT_YEAR, None]


def test_the_fee_per_call_and_tiers(llm: LLM) -> None:
    tier = {"above_input_tokens": 1000, "input": "1.1", "output": "2"}
    LLMPrice.supersede(
        llm=llm,
        effective_from=timezone.now() - timedelta(days=1),
        input_usd_per_mtok=1,
        output_usd_per_mtok=2,
        request_fee_usd="0.001",
    )
    sync(source_of(llm, listed(tiers=[tier])), 20)
    price = llm.price_at(timezone.now())
    assert (price.tiers, price.request_fee_usd) == ([tier], Decimal("0.001"))


def test_a_model_that_has_no_price_waits_for_a_person() -> None:
    llm = LLM.objects.create(provider="openai", name="x", display_name="X", context_window=10, max_output_tokens=10)
    report = sync(source_of(llm, listed()), 1_000_000)
    assert (report.applied, len(report.waiting)) == ([], 1)


# --- Deciding ---------------------------------------------------------------------------------------------------------


def test_somebody_approves(llm: LLM, root: User) -> None:
    sync(source_of(llm, listed("9")))
    proposal = llm.price_proposals.get()
    price = price_proposals.approve(proposal, by=root, reason="The vendor's page says so.")

    assert llm.price_at(timezone.now()) == price
    assert price.source == "prices 1: openai/openai-test"
    stored = llm.price_proposals.get()
    assert (stored.state, stored.decided_by, stored.reason) == ("approved", root, "The vendor's page says so.")
    with pytest.raises(price_proposals.AlreadyDecided):
        price_proposals.approve(proposal, by=root)
    with pytest.raises(price_proposals.AlreadyDecided):
        price_proposals.reject(proposal, by=root, reason="no")
    assert llm.prices.count() == 2


def test_a_date_that_has_passed_is_now(llm: LLM, root: User) -> None:
    """Calls of the days between were charged at the price that held then; none of them may be priced again."""
    sync(source_of(llm, listed("9")))
    proposal = llm.price_proposals.get()
    llm.price_proposals.update(effective_from=timezone.now() - timedelta(days=4))
    before = timezone.now()
    price = price_proposals.approve(proposal, by=root)
    assert before <= price.effective_from <= timezone.now()


def test_the_limit_is_of_the_price_that_there_is_when_it_is_stored(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator sets a price of their own after the comparison, and before what it found is stored."""
    now = timezone.now()
    LLMPrice.supersede(llm=llm, effective_from=now, input_usd_per_mtok="1", output_usd_per_mtok="2")
    draft = price_proposals._proposal_of

    def set_meanwhile(*args: Any) -> Any:
        found = draft(*args)
        LLMPrice.supersede(llm=llm, effective_from=timezone.now(), input_usd_per_mtok="100", output_usd_per_mtok="2")
        return found

    monkeypatch.setattr(price_proposals, "_proposal_of", set_meanwhile)
    report = sync(source_of(llm, listed("1.1")), 20)
    assert (report.applied, len(report.waiting), len(report.failed)) == ([], 1, 1)
    assert llm.price_at(timezone.now()).input_usd_per_mtok == 100
    assert states(llm) == ["open"]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_of_those_who_decide_at_once_one_does(llm: LLM, root: User) -> None:
    sync(source_of(llm, listed("9")))
    key = llm.price_proposals.get().pk

    def decide(number: int) -> str:
        proposal = PriceProposal.objects.select_related("llm").get(pk=key)
        try:
            if number % 2:
                price_proposals.approve(proposal, by=root)
            else:
                price_proposals.reject(proposal, by=root, reason="no")
        except price_proposals.AlreadyDecided:
            return "late"
        return "decided"

    assert sorted(at_once(4, decide)) == ["decided", "late", "late", "late"]
    assert llm.prices.count() == (2 if states(llm) == ["approved"] else 1)


def test_what_was_rejected_does_not_come_back_until_it_says_something_else(llm: LLM, root: User) -> None:
    there = source_of(llm, listed("9"))
    sync(there)
    price_proposals.reject(llm.price_proposals.get(), by=root, reason="An error there.")

    again = sync(there, 1_000_000)
    assert (again.waiting, again.applied, len(again.rejected)) == ([], [], 1)
    sync(source_of(llm, listed("8")))
    sync(there)
    assert states(llm) == ["rejected", "superseded", "open"]
    assert llm.prices.count() == 1


def test_a_price_that_can_not_begin_then_leaves_the_proposal_open(llm: LLM, root: User) -> None:
    LLMPrice.supersede(llm=llm, effective_from=NEXT_YEAR, input_usd_per_mtok=5, output_usd_per_mtok=5)
    sync(source_of(llm, listed(), listed("1.1", at=NEXT_YEAR)))
    with pytest.raises(PriceConflict):
        price_proposals.approve(llm.price_proposals.get(), by=root)
    assert states(llm) == ["open"]


# --- Adding -----------------------------------------------------------------------------------------------------------


def test_what_is_new_there_and_can_be_added() -> None:
    make_llm("openai", "known")
    there = source(
        listing("openai/known", listed()),
        listing("openai/new", listed()),
        listing("openai/old", listed(), is_deprecated=True),
        listing("openai/dark", listed(), context_window=None),
        listing("openai/audio", problem="prices of kinds that are not known here"),
        listing("openai/soon", listed(at=NEXT_YEAR)),
        listing("google/claude-9", listed()),
        listing("together/llama", listed()),
        listing("x-ai/grok-9", listed()),
    )
    found = price_sync.newcomers(there, at=timezone.now())
    assert [(str(provider), one.key) for provider, one in found] == [("openai", "openai/new"), ("grok", "x-ai/grok-9")]


def test_a_model_is_added_retired_with_its_price(llm: LLM) -> None:
    there = source(listing("x-ai/grok-9", listed("1"), listed("2", at=NEXT_YEAR), name="Grok 9"))
    ((provider, found),) = price_sync.newcomers(there, at=timezone.now())
    added = price_proposals.add(found, provider=provider, source=there)

    assert (str(added), added.display_name, added.is_active) == ("grok/grok-9", "Grok 9", False)
    assert (added.context_window, added.max_output_tokens) == (100_000, 4096)
    assert [*added.prices.order_by("effective_from").values_list("input_usd_per_mtok", flat=True)] == [1, 2]
    assert added.price_at(timezone.now()).source == "prices 1: x-ai/grok-9"
    assert price_sync.newcomers(there, at=timezone.now()) == []
    assert price_sync.compare(there, at=timezone.now()).agreeing == [added]
    with pytest.raises(ValidationError):
        price_proposals.add(found, provider=provider, source=there)


def test_the_job_proposes_where_it_is_switched_on(llm: LLM, settings: Any) -> None:
    assert price_proposals.propose_due() == "off"
    settings.PRICE_SYNC_SECONDS = 3600
    assert price_proposals.propose_due() == "0 applied, 0 proposed, 0 waiting"
