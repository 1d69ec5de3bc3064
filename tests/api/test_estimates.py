"""/llm/estimate: what a prompt would cost on each model. Every figure is what a call that follows reserves and costs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from billing.models import Hold, Wallet
from llm.models import LLM
from synapscale.common.tenancy import fleet_wide
from tests.api.asking import Api, assert_invalid, balance, change_workspace, error_of, set_wallet
from tests.api.estimating import ADD, ESTIMATE, HELLO, IMAGE, estimated, own_key, the_row
from tests.catalogue import make_llm
from tests.hosting import make_connection
from tests.people import Cast, Person, fund
from tests.providers.standins import StandIn
from workspaces.models import AccessToken, UserVariable

TURNS = [
    {"role": "system", "content": "In Latin."},
    {"role": "user", "content": "One and one?", "attachments": [IMAGE]},
    {"role": "assistant", "content": "", "tool_calls": [{"id": "call_1", "name": "add", "arguments": '{"a": 1}'}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "2"},
]
DAY_AND_NIGHT = [
    {"start": "00:00", "end": "12:00", "input": "3", "output": "7"},
    {"start": "12:00", "end": "00:00", "input": "3", "output": "7"},
]


# --- The figures ------------------------------------------------------------------------------------------------------


def test_a_row(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    """“Hello” has 2 tokens and 8 around it; 19 are reserved for it. $1 per million of them, $2 of the answer's."""
    assert the_row(api, alice, max_tokens=1000, output_tokens=5) == {
        "model": "openai/openai-test",
        "input_tokens": 10,
        "output_tokens": 5,
        "expected_cost": "0.00002",
        "worst_case": "0.002019",
        "fits": True,
        "is_affordable": True,
        "is_available": True,
        "key_source": "global",
        "reason": None,
    }
    assert paid.requests == []


def test_without_a_length_it_is_the_longest_answer(
    api: Api, alice: Person, llm: LLM, paid: StandIn, settings: Any
) -> None:
    assert the_row(api, alice)["output_tokens"] == 4096
    settings.DEFAULT_MAX_TOKENS = 200
    row = the_row(api, alice, output_tokens=None)
    assert (row["output_tokens"], row["expected_cost"], row["worst_case"]) == (200, "0.00041", "0.000419")
    assert the_row(api, alice, max_tokens=100_000)["output_tokens"] == 8192
    change_workspace(alice, max_tokens_cap=50)
    assert the_row(api, alice, max_tokens=100)["output_tokens"] == 50
    # Longer than it can get it does not get.
    assert the_row(api, alice, max_tokens=10, output_tokens=100)["output_tokens"] == 10
    assert the_row(api, alice, output_tokens=0)["expected_cost"] == "0.00001"
    narrow = make_llm("openai", "narrow", context_window=30, max_output_tokens=30)
    assert the_row(api, alice, models=[str(narrow)])["output_tokens"] == 20


PRICES: dict[str, dict[str, Any]] = {
    "plain": {},
    "tier": {
        "input_usd_per_mtok": Decimal(1),
        "output_usd_per_mtok": Decimal(2),
        "tiers": [{"above_input_tokens": 9, "input": "4", "output": "18"}],
    },
    "cheaper tier": {"tiers": [{"above_input_tokens": 9, "input": "0.5", "output": "1"}]},
    "window": {"windows": DAY_AND_NIGHT},
    "fee and caches": {
        "input_usd_per_mtok": Decimal(3),
        "cached_input_usd_per_mtok": Decimal("0.3"),
        "cache_write_5m_usd_per_mtok": Decimal("3.75"),
        "cache_write_1h_usd_per_mtok": Decimal(6),
        "output_usd_per_mtok": Decimal(15),
        "request_fee_usd": Decimal("0.000000000001"),
    },
}
BODIES: dict[str, dict[str, Any]] = {
    "prompt": {"prompt": "Hello", "max_tokens": 100},
    "unbounded": {"prompt": "Hello 😀", "system": "Be brief."},
    "image": {"prompt": "What is it?", "attachments": [IMAGE], "tools": [ADD], "max_tokens": 1000},
    "chat": {"messages": TURNS, "system": "Be brief.", "tools": [ADD], "max_tokens": 77},
}


def assert_true(api: Api, provider: StandIn, person: Person, llm: LLM, body: dict[str, Any], **figures: Any) -> Any:
    """What was estimated of ``body`` is what a call with it reserves and costs, given that the tokens are as told."""
    row = the_row(api, person, models=[str(llm)], **body, **figures)
    provider.answer(usage={"input": row["input_tokens"], "output": row["output_tokens"]})
    path = "llm/chat" if "messages" in body else "llm/generate"
    response = api.post(person, path, {**body, "llm": str(llm)})
    assert response.status_code == 201, response.text
    hold = Hold.objects.filter(workspace=person.workspace).latest("created_at")
    assert (Decimal(row["worst_case"]), Decimal(row["expected_cost"])) == (hold.amount, hold.charged)
    assert row["expected_cost"] == response.json()["cost"]
    assert row["key_source"] == response.json()["usage"]["key_source"]
    if not figures:
        assert row["output_tokens"] == response.json()["message"]["max_tokens"]
    assert (row["is_affordable"], row["is_available"], row["fits"], row["reason"]) == (True, True, True, None)
    return row


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize("body", BODIES)
def test_a_call_reserves_and_costs_what_was_estimated(
    api: Api, alice: Person, paid: StandIn, price: str, body: str
) -> None:
    llm = make_llm("anthropic", price=PRICES[price])
    set_wallet(alice.workspace, markup_bps=1234)
    assert_true(api, paid, alice, llm, BODIES[body])
    assert_true(api, paid, alice, llm, BODIES[body], output_tokens=13)


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "google", "grok", "llama"])
def test_at_every_vendor(api: Api, alice: Person, paid: StandIn, vendor: str) -> None:
    """Each has a formula of its own for images."""
    assert_true(api, paid, alice, make_llm(vendor), BODIES["image"])


def test_at_a_private_host(api: Api, alice: Person, paid: StandIn) -> None:
    llm = make_llm("private", "lab/small", connection=make_connection(paid))
    assert assert_true(api, paid, alice, llm, BODIES["image"])["key_source"] == "global"


def test_the_tier_and_the_window_of_now(api: Api, alice: Person, paid: StandIn) -> None:
    for name, price in PRICES.items():
        make_llm("openai", name.replace(" ", "-"), price=price)
    rows = {row["model"]: row for row in estimated(api, alice, output_tokens=5, max_tokens=10)}
    assert {name: row["expected_cost"] for name, row in rows.items()} == {
        "openai/plain": "0.00002",
        "openai/tier": "0.00013",
        "openai/cheaper-tier": "0.00001",
        "openai/window": "0.000065",
        "openai/fee-and-caches": "0.000105000001",
    }
    assert rows["openai/tier"]["worst_case"] == "0.000256"
    # Nine tokens at the dearer price below the tier cost more than nineteen above it.
    assert rows["openai/cheaper-tier"]["worst_case"] == "0.000029"


@pytest.mark.parametrize("owner", ["user", "workspace"])
@pytest.mark.parametrize("fee", [0, 250])
def test_on_ones_own_key(api: Api, alice: Person, llm: LLM, paid: StandIn, owner: str, fee: int) -> None:
    own_key(**{owner: getattr(alice, owner)})
    set_wallet(alice.workspace, markup_bps=1000, own_key_fee_bps=fee)
    row = assert_true(api, paid, alice, llm, {"prompt": "Hello", "max_tokens": 1000}, output_tokens=5)
    assert row["key_source"] == owner
    assert row["expected_cost"] == ("0.0000005" if fee else "0.00")
    assert row["worst_case"] == ("0.000050475" if fee else "0.00")


def test_the_users_own_key_comes_first(api: Api, cast: Cast, llm: LLM, paid: StandIn) -> None:
    own_key(user=cast.alice.user)
    own_key(workspace=cast.alice.workspace)
    assert the_row(api, cast.alice)["key_source"] == "user"
    assert the_row(api, cast.bob)["key_source"] == "workspace"
    assert the_row(api, cast.charlie)["key_source"] == "global"
    UserVariable.objects.update(is_active=False)
    assert the_row(api, cast.alice)["key_source"] == "global"


def test_an_untracked_wallet_pays_nothing(api: Api, alice: Person, llm: LLM, house_keys: StandIn) -> None:
    set_wallet(alice.workspace, mode="untracked", markup_bps=1000)
    row = assert_true(api, house_keys, alice, llm, HELLO, output_tokens=5)
    assert (row["expected_cost"], row["worst_case"]) == ("0.00", "0.00")


# --- The money --------------------------------------------------------------------------------------------------------


def test_the_balance_shortens_the_answer(api: Api, alice: Person, llm: LLM, house_keys: StandIn, audited: None) -> None:
    fund(alice.workspace, "0.001019")
    row = assert_true(api, house_keys, alice, llm, {"prompt": "Hello", "max_tokens": 1000})
    assert (row["output_tokens"], row["worst_case"], row["expected_cost"]) == (500, "0.001019", "0.00101")
    assert balance(alice.workspace) == Decimal("0.000009")


def test_what_the_balance_does_not_cover(api: Api, alice: Person, llm: LLM, house_keys: StandIn) -> None:
    fund(alice.workspace, "0.0001")
    row = the_row(api, alice, max_tokens=1000, output_tokens=5)
    assert row == {
        **row,
        "output_tokens": 5,
        "expected_cost": "0.00002",
        "worst_case": "0.002019",
        "is_affordable": False,
        "is_available": True,
        "reason": "insufficient_balance",
    }
    response = api.post(alice, "llm/generate", {**HELLO, "llm": str(llm), "max_tokens": 1000})
    assert error_of(response, 402, row["reason"])["details"]["needed"] == row["worst_case"]
    assert the_row(api, alice, max_tokens=40)["is_affordable"] is True


def test_a_wallet_that_is_not_there_yet_is_not_opened(api: Api, alice: Person, llm: LLM, house_keys: StandIn) -> None:
    with fleet_wide():  # what would be deleted with it is looked up by its id alone
        Wallet.objects.filter(workspace=alice.workspace).delete()
    row = the_row(api, alice, max_tokens=1000)
    assert (row["worst_case"], row["reason"]) == ("0.002019", "insufficient_balance")


def test_what_the_token_may_not_spend(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    AccessToken.objects.filter(user=alice.user).update(spend_limit_usd=Decimal("0.001019"))
    assert_true(api, paid, alice, llm, {"prompt": "Hello", "max_tokens": 1000})
    row = the_row(api, alice, max_tokens=1000)
    assert (row["is_affordable"], row["reason"], row["worst_case"]) == (False, "spend_limit_exceeded", "0.002019")
    response = api.post(alice, "llm/generate", {**HELLO, "llm": str(llm), "max_tokens": 1000})
    assert error_of(response, 402, row["reason"])["details"]["needed"] == row["worst_case"]


def test_one_model_may_be_affordable_and_another_not(api: Api, alice: Person, llm: LLM, house_keys: StandIn) -> None:
    make_llm("openai", "dear", price={"output_usd_per_mtok": Decimal(100)})
    fund(alice.workspace, "0.001")
    rows = estimated(api, alice, max_tokens=100)
    assert [(row["model"], row["is_affordable"]) for row in rows] == [(str(llm), True), ("openai/dear", False)]


# --- Which models, and in which order ---------------------------------------------------------------------------------


def test_the_cheapest_first_then_by_name_and_last_what_can_not_be_called(
    api: Api, alice: Person, paid: StandIn
) -> None:
    for name, rate in (("b", 2), ("dear", 9), ("a", 2), ("cheap", 1)):
        make_llm("openai", name, price={"input_usd_per_mtok": Decimal(rate)})
    for name in ("y", "x"):
        LLM.objects.create(provider="openai", name=name, display_name=name, context_window=1000, max_output_tokens=9)
    make_llm("openai", "narrow", context_window=10, max_output_tokens=10)
    names = [row["model"] for row in estimated(api, alice)]
    assert names == [f"openai/{name}" for name in ("cheap", "a", "b", "dear", "narrow", "x", "y")]


def test_only_what_the_caller_may_call(api: Api, cast: Cast, llm: LLM, paid: StandIn) -> None:
    make_llm("anthropic")
    LLM.objects.filter(pk=make_llm("openai", "retired").pk).update(is_active=False)
    change_workspace(cast.alice, allowed_models=[str(llm), "openai/retired"])
    assert [row["model"] for row in estimated(api, cast.alice)] == [str(llm)]
    assert len(estimated(api, cast.charlie)) == 2
    AccessToken.objects.filter(user=cast.charlie.user).update(allowed_models=["anthropic/anthropic-test"])
    assert [row["model"] for row in estimated(api, cast.charlie)] == ["anthropic/anthropic-test"]


def test_models_by_name_and_by_id(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    other = make_llm("anthropic", "with/slash")
    make_llm("google")
    rows = estimated(api, alice, models=[str(llm.pk), "anthropic/with/slash", str(other.pk).upper(), str(llm)])
    assert [row["model"] for row in rows] == ["anthropic/with/slash", "openai/openai-test"]


@pytest.mark.parametrize("names", [["openai/nothing"], ["openai-test"], [""], [], "x", ["x"] * 101, [None]])
def test_models_that_there_are_not(api: Api, alice: Person, llm: LLM, names: Any) -> None:
    assert_invalid(api.post(alice, ESTIMATE, {**HELLO, "models": names}), "models")


def test_as_many_queries_however_many_models(
    alice: Person, house_keys: StandIn, django_assert_num_queries: Any
) -> None:
    fund(alice.workspace, "1")
    alice.post(ESTIMATE, HELLO)
    names = []
    for count in (1, 20):
        for n in range(count):
            names.append(str(make_llm("openai", f"model-{count}-{n}")))
            make_llm("anthropic", f"model-{count}-{n}")
        with django_assert_num_queries(6):  # token, membership, models, prices, keys, wallet
            assert len(alice.post(ESTIMATE, HELLO).json()["results"]) == 2 * len(names)
        with django_assert_num_queries(6):
            assert len(alice.post(ESTIMATE, {**HELLO, "models": names}).json()["results"]) == len(names)
    AccessToken.objects.filter(user=alice.user).update(spend_limit_usd=1)
    with django_assert_num_queries(7):  # and what the token has spent
        alice.post(ESTIMATE, HELLO)


# --- Who --------------------------------------------------------------------------------------------------------------


def test_who_may(api: Api, cast: Cast, victor: Person, llm: LLM, paid: StandIn) -> None:
    """Everybody by the rules and the money of the own workspace."""
    set_wallet(cast.alice.workspace, markup_bps=5000)
    for person in (cast.alice, cast.bob):
        row = the_row(api, person, output_tokens=5)
        assert (row["expected_cost"], row["is_affordable"]) == ("0.00003", True)
    row = the_row(api, cast.charlie, output_tokens=5)
    assert (row["expected_cost"], row["is_affordable"]) == ("0.00002", False)
    error_of(api.post(victor, ESTIMATE, HELLO), 403, "permission_denied")
    assert paid.requests == []
