"""Seeding the catalogue: again and again, with prices superseded and never edited, or not at all."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from llm.catalogue import CatalogueError, SeedReport, seed
from llm.images import image_tokens
from llm.models import LLM, LLMPrice, ProviderName

pytestmark = pytest.mark.django_db

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
LATER = datetime(2027, 1, 1, tzinfo=UTC)
ENTRY: dict[str, Any] = {
    "provider": "openai",
    "name": "gpt-x",
    "display_name": "GPT X",
    "version": "1",
    "context_window": 1000,
    "max_output_tokens": 100,
    "supports": ["streaming", "vision"],
    "metadata": {},
    "prices": [
        {
            "effective_from": "2026-01-01T00:00:00Z",
            "effective_to": None,
            "input": "2",
            "cached_input": "0.2",
            "output": "10",
            "tiers": [{"above_input_tokens": 500, "input": "4", "cached_input": "0.4", "output": "15"}],
            "source": "list",
        }
    ],
}

Seed = Callable[..., SeedReport]


@pytest.fixture
def seed_entry(tmp_path: Path) -> Seed:
    """Seeds a file with one LLM: ``ENTRY`` with some of its fields, and of its only price's, replaced."""

    def seed_it(
        *, price: dict[str, Any] | None = None, plan: dict[str, Any] | None = None, at: datetime = NOW, **fields: Any
    ) -> SeedReport:
        entry = {**copy.deepcopy(ENTRY), **fields}
        entry["prices"][0].update(price or {})
        if plan:
            entry["prices"][0]["effective_to"] = plan["effective_from"]
            entry["prices"].append({**copy.deepcopy(ENTRY["prices"][0]), **plan})
        path = tmp_path / "llms.json"
        path.write_text(json.dumps({"llms": [entry]}))
        with mock.patch.object(timezone, "now", return_value=at):
            return seed(path)

    return seed_it


def timeline() -> list[Any]:
    rows = LLMPrice.objects.order_by("effective_from")
    return [(row.effective_from, row.effective_to, row.input_usd_per_mtok) for row in rows]


def test_a_new_llm_gets_everything_the_file_says(seed_entry: Seed) -> None:
    report = seed_entry(plan={"effective_from": "2027-01-01T00:00:00Z", "input": "3"})
    assert (report.created, report.updated, report.superseded, report.unchanged) == (1, 0, 0, 0)
    llm = LLM.objects.get()
    assert (llm.natural_key(), llm.display_name, llm.context_window) == (("openai", "gpt-x"), "GPT X", 1000)
    assert (llm.supports_vision, llm.supports_streaming, llm.supports_reasoning) == (True, True, False)
    assert timeline() == [(NEW_YEAR, LATER, 2), (LATER, None, 3)]
    assert llm.price_at(NOW).tiers == ENTRY["prices"][0]["tiers"]
    assert llm.price_at(NOW).source == "catalogue: list"


def test_seeding_again_changes_nothing(seed_entry: Seed) -> None:
    plan = {"effective_from": "2027-01-01T00:00:00Z", "input": "3"}
    seed_entry(plan=plan)
    before = list(LLMPrice.objects.values())
    for at in (NOW, NOW + timedelta(days=10), LATER, LATER + timedelta(days=10)):
        report = seed_entry(plan=plan, at=at)
        assert report == SeedReport(unchanged=1)
    assert list(LLMPrice.objects.values()) == before


def test_rates_are_compared_as_numbers(seed_entry: Seed) -> None:
    seed_entry()
    tiers = [{"above_input_tokens": 500, "input": "4.00", "cached_input": "0.40", "output": "15"}]
    assert seed_entry(price={"input": "2.000", "tiers": tiers}).unchanged == 1


def test_descriptions_follow_the_file_but_not_whether_a_model_is_offered(seed_entry: Seed) -> None:
    seed_entry()
    LLM.objects.update(is_active=False)
    report = seed_entry(display_name="GPT X (new)", supports=["reasoning"], is_active=True)
    assert (report.updated, report.unchanged) == (1, 0)
    assert report.changes == (
        "updated openai/gpt-x: display_name, supports_streaming, supports_vision, supports_reasoning",
    )
    llm = LLM.objects.get()
    assert (llm.display_name, llm.supports_reasoning, llm.supports_vision) == ("GPT X (new)", True, False)
    assert not llm.is_active


def test_a_changed_price_counts_from_now_on_however_often_it_changes(seed_entry: Seed) -> None:
    seed_entry()
    assert seed_entry(price={"input": "3"}).superseded == 1
    assert timeline() == [(NEW_YEAR, NOW, 2), (NOW, None, 3)]
    tomorrow = NOW + timedelta(days=1)
    assert seed_entry(price={"input": "3"}, at=tomorrow).unchanged == 1
    assert seed_entry(price={"input": "1"}, at=tomorrow).superseded == 1
    assert timeline() == [(NEW_YEAR, NOW, 2), (NOW, tomorrow, 3), (tomorrow, None, 1)]


def test_a_changed_price_with_a_past_date_of_its_own_counts_from_now_on(seed_entry: Seed) -> None:
    seed_entry()
    seed_entry(price={"input": "3", "effective_from": "2026-11-01T00:00:00Z"})
    assert timeline() == [(NEW_YEAR, NOW, 2), (NOW, None, 3)]


def test_a_price_planned_for_later_is_stored_ahead(seed_entry: Seed) -> None:
    seed_entry()
    report = seed_entry(plan={"effective_from": "2027-01-01T00:00:00Z", "input": "3"})
    assert report.changes == ("superseded the price of openai/gpt-x from 2027-01-01T00:00:00+00:00",)
    assert timeline() == [(NEW_YEAR, LATER, 2), (LATER, None, 3)]


def test_a_price_of_today_is_changed_in_front_of_a_planned_one(seed_entry: Seed) -> None:
    plan = {"effective_from": "2027-01-01T00:00:00Z", "input": "3"}
    seed_entry(plan=plan)
    assert seed_entry(price={"input": "1"}, plan=plan).superseded == 1
    assert timeline() == [(NEW_YEAR, LATER, 2), (NOW, LATER, 1), (LATER, None, 3)]
    llm = LLM.objects.get()
    assert [llm.price_at(at).input_usd_per_mtok for at in (NEW_YEAR, NOW, LATER)] == [2, 1, 3]
    assert seed_entry(price={"input": "1"}, plan=plan).unchanged == 1


def test_a_planned_price_that_is_stored_can_not_be_taken_back(seed_entry: Seed) -> None:
    seed_entry(plan={"effective_from": "2027-01-01T00:00:00Z", "input": "3"})
    before = timeline()
    with pytest.raises(
        CatalogueError, match=r"prices\[1\].effective_from: a price from 2027-01-01.* is stored already"
    ):
        seed_entry(plan={"effective_from": "2027-01-01T00:00:00Z", "input": "4"}, display_name="Other")
    assert timeline() == before
    assert LLM.objects.get().display_name == "GPT X"


def test_an_operators_newer_price_is_left_alone(seed_entry: Seed) -> None:
    seed_entry()
    rates: dict[str, Any] = {"input_usd_per_mtok": Decimal("1.5"), "output_usd_per_mtok": Decimal(9)}
    negotiated = datetime(2026, 6, 1, tzinfo=UTC)
    LLMPrice.supersede(llm=LLM.objects.get(), effective_from=negotiated, source="contract", **rates)
    before = timeline()
    assert seed_entry().unchanged == 1
    assert seed_entry(price={"input": "7"}).unchanged == 1
    assert timeline() == before
    # What the file says of a later day is newer than the operator's word.
    assert seed_entry(price={"input": "7", "effective_from": "2026-11-01T00:00:00Z"}).superseded == 1
    assert timeline()[-1] == (NOW, None, 7)


def test_an_operators_planned_price_ends_the_files(seed_entry: Seed) -> None:
    seed_entry()
    rates: dict[str, Any] = {"input_usd_per_mtok": Decimal("1.5"), "output_usd_per_mtok": Decimal(9)}
    LLMPrice.supersede(llm=LLM.objects.get(), effective_from=LATER, source="contract", **rates)
    assert seed_entry().unchanged == 1
    seed_entry(price={"input": "7"})
    assert timeline() == [(NEW_YEAR, LATER, 2), (NOW, LATER, 7), (LATER, None, Decimal("1.5"))]


def test_an_llm_without_a_price_gets_one_from_now_on(seed_entry: Seed) -> None:
    LLM.objects.create(provider="openai", name="gpt-x", display_name="x", context_window=2, max_output_tokens=1)
    report = seed_entry()
    assert (report.created, report.updated, report.superseded) == (0, 1, 1)
    assert timeline() == [(NOW, None, 2)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.pop("version"), r"llms\[1\]: version: is missing"),
        (lambda e: e.update(colour="red"), r"llms\[1\]: colour: is not a field"),
        (lambda e: e.update(provider="acme"), r"llms\[1\] \(acme/other\): provider: .*acme.* not a valid choice"),
        (lambda e: e.update(context_window="big"), r"\(openai/other\): context_window: .*must be an integer"),
        (lambda e: e.update(max_output_tokens=1001), r"max_output_tokens: is larger than context_window"),
        (lambda e: e.update(supports=["thought"]), r"supports: must be a list of: function_calling"),
        (lambda e: e.update(prices=[]), r"prices: must be a list with at least one price"),
        (lambda e: e.update(name="gpt-x"), r"llms\[1\] \(openai/gpt-x\): is in the file twice"),
        (lambda e: e["prices"][0].pop("input"), r"\(openai/other\): prices\[0\]: input: is missing"),
        (lambda e: e["prices"][0].update(input=2.5), r"prices\[0\].input: must be a decimal in quotes, not 2.5"),
        (lambda e: e["prices"][0].update(input="two"), r"prices\[0\].input: .two. is not a decimal"),
        (lambda e: e["prices"][0].update(input="-2"), r"prices\[0\].input: must be a sensible amount"),
        (lambda e: e["prices"][0].update(output="0.0000001"), r"prices\[0\].output: .* at most 6 decimal places"),
        (lambda e: e["prices"][0].update(audio="1"), r"prices\[0\]: audio: is not a field"),
        (lambda e: e["prices"][0].update(effective_from="2026-01-01"), r"prices\[0\].effective_from: must be a time"),
        (lambda e: e["prices"][0].update(effective_to="2026-02-01T00:00:00Z"), r"effective_to: must be null"),
        (lambda e: e["prices"][0]["tiers"][0].update(input=4), r"prices\[0\].tiers\[0\].input: must be a decimal in"),
        (lambda e: e["prices"][0]["tiers"][0].pop("cached_input"), r"prices\[0\].tiers\[0\].cached_input: must be"),
        (lambda e: e["prices"].append(e["prices"][0]), r"prices\[0\].effective_to: must be 2026-01-01"),
    ],
)
def test_a_bad_file_is_named_by_entry_and_field_and_nothing_is_stored(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    bad = {**copy.deepcopy(ENTRY), "name": "other"}
    change(bad)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({"llms": [ENTRY, bad]}))
    with pytest.raises(CatalogueError, match=message):
        seed(path)
    assert not LLM.objects.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", r'must be {"llms"'),
        ('{"llms": {}}', "must be"),
        ('{"llms": [7]}', r"llms\[0\]: must"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(CatalogueError, match=message):
        seed(path)
    with pytest.raises(CatalogueError, match="No such file"):
        seed(tmp_path / "missing.json")


def run_command(*arguments: str) -> str:
    out = StringIO()
    call_command("seed_llms", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_reports_every_change() -> None:
    first = run_command()
    assert "created google/gemini-3.8-flash with 2 price(s)" in first
    assert first.endswith("12 created, 0 updated, 0 prices superseded, 0 unchanged.\n")
    assert run_command() == "0 created, 0 updated, 0 prices superseded, 12 unchanged.\n"
    assert "created demo/demo-1" in run_command("--file", str(FIXTURES / "demo_llm.json"))


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Nothing was stored"):
        run_command("--file", str(tmp_path / "missing.json"))


def test_every_seeded_llm_is_fit_for_use() -> None:
    run_command()
    run_command("--file", str(FIXTURES / "demo_llm.json"))
    llms = list(LLM.objects.active())
    providers = [llm.provider for llm in llms]
    expected = {"openai": 4, "anthropic": 3, "google": 2, "grok": 1, "deepseek": 1, "llama": 1, "private": 0, "demo": 1}
    assert {provider: providers.count(provider) for provider in ProviderName.values} == expected
    for llm in llms:
        assert llm.supports_streaming, llm
        assert 0 < llm.max_output_tokens <= llm.context_window, llm
        assert llm.version and llm.display_name, llm
        assert llm.prices.filter(effective_to=None).count() == 1, llm
        for at in (timezone.now(), datetime(2027, 6, 1, tzinfo=UTC)):
            price = llm.price_at(at)
            assert price.table.rates.input > 0 and price.table.rates.output > 0, price
            assert llm.supports_prompt_caching == (price.cached_input_usd_per_mtok is not None), price
            assert all(tier.above_input_tokens < llm.context_window for tier in price.table.tiers), price
            assert price.source, price
        if llm.supports_vision:
            assert image_tokens(llm.provider, 1000, 1000) > 0, llm
    demo = LLM.objects.get(provider="demo")
    assert not (demo.supports_vision or demo.supports_function_calling or demo.supports_structured_output)
    cheapest = LLM.objects.cheapest()
    assert cheapest is not None and cheapest.provider != "demo"
