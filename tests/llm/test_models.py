"""LLMs and prices in the database: what can be asked, what can't be stored, and what can't be undone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.serializers import deserialize, serialize
from django.db import IntegrityError, connection, transaction
from django.db.models import ProtectedError
from django.utils import timezone, translation

from llm.models import LLM, RATE_FIELDS, LLMPrice, PriceConflict, ProviderName
from llm.pricing import NoPrice
from llm.types import Usage

pytestmark = pytest.mark.django_db

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
SUMMER = datetime(2026, 7, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NumQueries = Callable[[int], AbstractContextManager[Any]]


def make_llm(name: str = "gpt-x", provider: str = ProviderName.OPENAI, **fields: Any) -> LLM:
    defaults = {"display_name": name, "context_window": 100_000, "max_output_tokens": 10_000}
    llm: LLM = LLM.objects.create(provider=provider, name=name, **{**defaults, **fields})
    return llm


def make_price(llm: LLM, *, input: str = "2", output: str = "10", **fields: Any) -> LLMPrice:
    rates: dict[str, Any] = {"input_usd_per_mtok": Decimal(input), "output_usd_per_mtok": Decimal(output)}
    price = LLMPrice(llm=llm, **{"effective_from": NEW_YEAR, **rates, **fields})
    price.save()
    return price


# --- Asking ---------------------------------------------------------------------------------------------------------


def test_a_cost_is_that_of_the_price_valid_then(django_assert_num_queries: NumQueries) -> None:
    llm = make_llm()
    make_price(llm, input="2", effective_to=SUMMER)
    make_price(llm, input="3", effective_from=SUMMER)
    usage = Usage(input=1_000_000)
    assert llm.cost_of(usage, at=NEW_YEAR) == 2
    assert llm.cost_of(usage, at=SUMMER - timedelta(microseconds=1)) == 2
    assert llm.cost_of(usage, at=SUMMER) == 3
    with django_assert_num_queries(1):
        assert llm.cost_of(usage) == 3


def test_without_a_price_the_cost_is_not_guessed() -> None:
    llm = make_llm()
    with pytest.raises(NoPrice, match="openai/gpt-x has no price"):
        llm.cost_of(Usage())
    make_price(llm, effective_to=SUMMER)
    for at in (NEW_YEAR - DAY, SUMMER):
        with pytest.raises(NoPrice):
            llm.price_at(at)


def test_where_two_prices_cover_a_moment_the_later_one_counts() -> None:
    llm = make_llm()
    make_price(llm, input="2")
    make_price(llm, input="1", effective_from=SUMMER, effective_to=SUMMER + DAY)
    found = [llm.price_at(SUMMER + delta).input_usd_per_mtok for delta in (-DAY, timedelta(0), DAY)]
    assert found == [2, 1, 2]


def test_a_price_in_the_database_makes_the_table_that_it_says() -> None:
    llm = make_llm()
    fields: dict[str, Any] = {
        "cached_input_usd_per_mtok": Decimal("0.000001"),
        "request_fee_usd": Decimal("0.005"),
        "tiers": [{"above_input_tokens": 10, "input": "4", "cached_input": "1", "output": "20"}],
    }
    table = LLMPrice.objects.get(pk=make_price(llm, **fields).pk).table
    assert (table.rates.input, table.rates.cached_input, table.rates.output) == (2_000_000, 1, 10_000_000)
    assert table.request_fee == 5_000_000_000
    assert table.tiers[0].rates.cached_input == 1_000_000


def test_natural_keys_round_trip() -> None:
    price = make_price(make_llm(), tiers=[{"above_input_tokens": 10, "input": "4", "output": "20"}])
    text = serialize("json", [price.llm, price], use_natural_foreign_keys=True, use_natural_primary_keys=True)
    assert LLM.objects.get_by_natural_key("openai", "gpt-x") == price.llm
    assert LLMPrice.objects.get_by_natural_key(*price.natural_key()) == price
    found = [row.object for row in deserialize("json", text)]
    assert [row.pk for row in found] == [price.llm.pk, price.pk]
    assert str(price) == "openai/gpt-x from 2026-01-01 00:00 UTC"


def test_active_leaves_out_what_operators_switched_off() -> None:
    kept = make_llm("kept")
    make_llm("gone", is_active=False)
    assert list(LLM.objects.active()) == [kept]


def test_cheapest_is_one_query_over_the_prices_of_now(django_assert_num_queries: NumQueries) -> None:
    now = timezone.now()
    assert LLM.objects.cheapest() is None
    make_price(make_llm("dear"), input="10", output="50")
    make_price(make_llm("demo-1", ProviderName.DEMO), input="0", output="0")
    make_price(make_llm("off", is_active=False), input="0", output="0")
    make_llm("unpriced")
    was_cheap = make_llm("was-cheap")
    make_price(was_cheap, input="0", output="0", effective_to=now - DAY)
    make_price(was_cheap, input="20", output="0", effective_from=now - DAY)
    will_be_cheap = make_llm("will-be-cheap")
    make_price(will_be_cheap, input="20", output="0", effective_to=now + DAY)
    make_price(will_be_cheap, input="0", output="0", effective_from=now + DAY)
    make_price(make_llm("tie-b"), input="1", output="2")
    tie_a = make_llm("tie-a", ProviderName.LLAMA)
    make_price(tie_a, input="1.5", output="1.5")
    with django_assert_num_queries(1):
        assert LLM.objects.cheapest() == tie_a
    assert LLM.objects.filter(provider=ProviderName.OPENAI).cheapest().name == "tie-b"
    assert LLM.objects.cheapest(provider=ProviderName.OPENAI).name == "tie-b"
    assert LLM.objects.cheapest(provider=ProviderName.DEMO).name == "demo-1"
    assert LLM.objects.cheapest(provider=ProviderName.GOOGLE) is None


def test_the_prices_of_a_moment_are_one_query(django_assert_num_queries: NumQueries) -> None:
    now = timezone.now()
    changed, unpriced = make_llm("changed"), make_llm("unpriced")
    before = make_price(changed, effective_to=now)
    after = make_price(changed, effective_from=now)
    other = make_price(make_llm("other"))
    with django_assert_num_queries(1):
        prices = LLMPrice.objects.all().by_llm(now)
    assert prices == {changed.pk: after, other.llm_id: other}
    assert LLMPrice.objects.filter(llm__in=[changed, unpriced]).by_llm(now - DAY) == {changed.pk: before}


# --- Rules ----------------------------------------------------------------------------------------------------------


def refused(act: Callable[[], Any], match: str | None = None) -> None:
    """``act`` violates a rule that the database itself holds."""
    with pytest.raises(IntegrityError, match=match), transaction.atomic():
        act()


def test_the_database_holds_the_rules_of_an_llm() -> None:
    make_llm()
    refused(make_llm)
    refused(lambda: make_llm("other", max_output_tokens=0))
    refused(lambda: make_llm("other", max_output_tokens=100_001))
    make_llm(provider=ProviderName.GROK)


def test_the_database_holds_the_rules_of_a_price() -> None:
    llm = make_llm()

    def insert(**fields: Any) -> None:
        rates = {"input_usd_per_mtok": Decimal(1), "output_usd_per_mtok": Decimal(1)}
        # Past the model's own checks, as a script would.
        LLMPrice.objects.bulk_create([LLMPrice(llm=llm, **{"effective_from": SUMMER, **rates, **fields})])

    for field in (*RATE_FIELDS.values(), "request_fee_usd"):
        refused(partial(insert, **{field: Decimal("-0.000001")}), "llm_prices_not_negative")
    refused(lambda: insert(effective_to=SUMMER), "llm_prices_period")
    make_price(llm)
    refused(lambda: insert(effective_from=NEW_YEAR, effective_to=SUMMER))
    refused(insert)  # a second open price
    insert(effective_to=SUMMER + DAY)


@pytest.mark.fleet  # Django looks for rows of any workspace before it deletes
def test_an_llm_with_prices_can_not_be_deleted() -> None:
    llm = make_price(make_llm()).llm
    with pytest.raises(ProtectedError):
        llm.delete()


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"tiers": {}}, "tiers", "tiers: must be a list"),
        (
            {"tiers": [{"above_input_tokens": 5, "input": 4, "output": "1"}]},
            "tiers",
            r"tiers\[0\].input: must be a dec",
        ),
        ({"tiers": [{"above_input_tokens": "5", "input": "4", "output": "1"}]}, "tiers", "above_input_tokens must be"),
        ({"windows": [{"start": "25:00", "end": "04:00", "input": "1", "output": "1"}]}, "windows", r"\[0\].start"),
        (
            {
                "tiers": [{"above_input_tokens": 5, "input": "4", "output": "1"}],
                "windows": [{"start": "01:00", "end": "04:00", "input": "1", "output": "1"}],
            },
            "windows",
            "tiers or windows",
        ),
        ({"cached_input_usd_per_mtok": Decimal(-1)}, "cached_input_usd_per_mtok", "not negative"),
        ({"request_fee_usd": Decimal(-1)}, "request_fee_usd", "whole number of pico-dollars"),
        ({"effective_to": NEW_YEAR}, "effective_to", "end after it begins"),
    ],
)
def test_a_malformed_price_is_refused_by_field(fields: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        make_price(make_llm(), **fields)
    assert set(caught.value.message_dict) == {field}
    assert not LLMPrice.objects.exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tiers": {}}, "tiers: deve ser uma lista"),
        (
            {"tiers": [{"above_input_tokens": 5, "input": 4, "output": "1"}]},
            "tiers[0].input: deve ser um decimal entre aspas, e não 4",
        ),
        (
            {"tiers": [{"above_input_tokens": 5, "input": "0.0000001", "output": "1"}]},
            "tiers[0].input: tem mais de 6 casas decimais: '0.0000001'",
        ),
        (
            {"windows": [{"start": "01:00", "end": "01:00", "input": "1", "output": "1"}]},
            "windows[0].end: deve ser diferente de start",
        ),
    ],
)
def test_a_malformed_price_is_refused_in_the_language_that_is_spoken(fields: dict[str, Any], message: str) -> None:
    with translation.override("pt-br"), pytest.raises(ValidationError) as caught:
        make_price(make_llm(), **fields)
    assert caught.value.messages == [message]


def test_a_price_is_named_by_its_day_as_the_language_writes_it() -> None:
    price = make_price(make_llm())
    with translation.override("pt-br"):
        assert str(price) == "openai/gpt-x a partir de 01/01/2026 00:00 UTC"


def test_a_form_gets_the_errors_of_both_kinds() -> None:
    price = LLMPrice(llm=make_llm(), effective_from=NEW_YEAR, input_usd_per_mtok="x")
    with pytest.raises(ValidationError) as caught:
        price.full_clean()
    assert set(caught.value.message_dict) == {"input_usd_per_mtok", "output_usd_per_mtok"}


# --- Written once ---------------------------------------------------------------------------------------------------


def test_a_price_is_only_ever_closed() -> None:
    price = make_price(make_llm())
    price.save()
    for name, value in [
        ("input_usd_per_mtok", Decimal(1)),
        ("tiers", [{"above_input_tokens": 5, "input": "4", "output": "1"}]),
        ("source", "me"),
        ("effective_from", SUMMER),
    ]:
        fresh = LLMPrice.objects.get(pk=price.pk)
        setattr(fresh, name, value)
        with pytest.raises(PriceConflict, match=name):
            fresh.save()
    with pytest.raises(PriceConflict, match="never deleted"):
        price.delete()
    price.effective_to = SUMMER
    price.save()
    for end in (None, SUMMER + DAY):
        price.effective_to = end
        with pytest.raises(PriceConflict, match="effective_to"):
            price.save()
    assert LLMPrice.objects.get().effective_to == SUMMER


CHANGES = {
    "id": "0190a0a0-0000-7000-8000-000000000000",
    "created_at": SUMMER,
    "effective_from": NEW_YEAR - DAY,
    "input_usd_per_mtok": Decimal(1),
    "cached_input_usd_per_mtok": Decimal(1),
    "cache_write_5m_usd_per_mtok": Decimal(1),
    "cache_write_1h_usd_per_mtok": Decimal(1),
    "output_usd_per_mtok": Decimal(1),
    "request_fee_usd": Decimal(1),
    "tiers": [1],
    "windows": [1],
    "source": "me",
}


def test_every_column_is_guarded() -> None:
    assert {*CHANGES, "llm", "effective_to"} == {field.name for field in LLMPrice._meta.concrete_fields}


@pytest.mark.parametrize("column", CHANGES)
def test_the_database_refuses_to_change_a_price(column: str) -> None:
    make_price(make_llm())
    change = {column: CHANGES[column]}
    refused(lambda: LLMPrice.objects.update(**change), "written once")
    # Nor together with closing it.
    refused(lambda: LLMPrice.objects.update(effective_to=SUMMER, **change), "written once")


@pytest.mark.fleet  # Django looks for rows of any workspace before it deletes
def test_the_database_refuses_to_move_reopen_or_delete_a_price() -> None:
    price, other = make_price(make_llm()), make_llm("other")
    refused(lambda: LLMPrice.objects.update(llm=other), "written once")
    refused(lambda: LLMPrice.objects.all().delete(), "written once")
    assert LLMPrice.objects.filter(pk=price.pk).update(effective_to=SUMMER) == 1
    refused(lambda: LLMPrice.objects.update(effective_to=None), "written once")
    refused(lambda: LLMPrice.objects.update(effective_to=SUMMER + DAY), "written once")
    refused(lambda: LLMPrice.objects.all().delete(), "written once")


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="only PostgreSQL has TRUNCATE")
def test_the_database_refuses_to_truncate_prices() -> None:
    def truncate() -> None:
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE llm_prices CASCADE")

    refused(truncate, "written once")


# --- Superseding ----------------------------------------------------------------------------------------------------

RATES: dict[str, Any] = {"input_usd_per_mtok": Decimal(3), "output_usd_per_mtok": Decimal(15)}


def test_superseding_closes_the_open_price_and_opens_the_new_one() -> None:
    old = make_price(make_llm())
    new = LLMPrice.supersede(llm=old.llm, effective_from=SUMMER, source="list", **RATES)
    old.refresh_from_db()
    assert old.effective_to == new.effective_from == SUMMER
    assert new.effective_to is None
    assert old.llm.price_at(SUMMER) == new
    assert old.llm.price_at(SUMMER - DAY) == old


@pytest.mark.parametrize("at", [SUMMER, SUMMER - DAY])
def test_superseding_does_not_reach_behind_the_open_price(at: datetime) -> None:
    price = make_price(make_llm(), effective_from=SUMMER)
    for end in (None, SUMMER + DAY):
        with pytest.raises(PriceConflict, match="from 2026-07-01T00:00:00"):
            LLMPrice.supersede(llm=price.llm, effective_from=at, effective_to=end, **RATES)
    assert list(LLMPrice.objects.all()) == [price]


def test_a_price_can_be_put_before_a_planned_one() -> None:
    llm = make_llm()
    make_price(llm, effective_to=SUMMER)
    planned = make_price(llm, effective_from=SUMMER)
    corrected = LLMPrice.supersede(llm=llm, effective_from=NEW_YEAR + DAY, effective_to=SUMMER, **RATES)
    assert llm.price_at(SUMMER - DAY) == corrected
    assert llm.price_at(SUMMER) == planned


def test_superseding_leaves_no_moment_without_a_price() -> None:
    price = make_price(make_llm())
    with pytest.raises(PriceConflict, match=r"no price from 2026-07-02T00:00:00.* Leave the end open"):
        LLMPrice.supersede(llm=price.llm, effective_from=SUMMER, effective_to=SUMMER + DAY, **RATES)
    LLMPrice.supersede(llm=price.llm, effective_from=SUMMER, **RATES)
    with pytest.raises(PriceConflict, match="or end there"):
        LLMPrice.supersede(llm=price.llm, effective_from=NEW_YEAR + DAY, effective_to=SUMMER - DAY, **RATES)


def test_a_price_that_can_not_be_stored_leaves_the_old_one_open() -> None:
    price = make_price(make_llm())
    with pytest.raises(ValidationError):
        LLMPrice.supersede(llm=price.llm, effective_from=SUMMER, **{**RATES, "tiers": "x"})
    price.refresh_from_db()
    assert price.effective_to is None
