"""What a message costs, to the last digit, and what happens when there is not enough."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from billing.models import BillingEvent, Hold, HoldIncident
from conversations.models import Conversation, Message
from llm.models import LLM
from tests.api.asking import HELLO_BYTES_WORST, Api, balance, charges, error_of, set_wallet, the_log
from tests.catalogue import make_llm
from tests.conftest import wait_for
from tests.people import Person, fund
from tests.providers.standins import StandIn
from workspaces.models import UserVariable

MICRO = Decimal("0.000001")
PROMPT = HELLO_BYTES_WORST * MICRO
"""What a hold reserves for the prompt “Hello” at $1 per million tokens; an answer's token is reserved at $2."""


@pytest.fixture
def keys(house_keys: StandIn, audited: None) -> StandIn:
    return house_keys


def hold_of(person: Person) -> Hold:
    return Hold.objects.get(workspace=person.workspace)


def test_the_hold_is_the_worst_case_and_the_charge_what_was_used(
    api: Api, alice: Person, chat: Conversation, llm: LLM, keys: StandIn
) -> None:
    fund(alice.workspace, "1")
    assert api.ask(alice, chat, llm=str(llm), max_tokens=1000).json()["cost"] == "0.00002"
    hold = hold_of(alice)
    assert hold.amount == PROMPT + 2000 * MICRO == Decimal("0.002019")
    assert (hold.state, hold.charged) == ("settled", Decimal("0.00002"))
    event = BillingEvent.objects.get(workspace=alice.workspace, event_type="usage")
    assert (event.amount_usd, event.balance_after, event.seq) == (Decimal("-0.00002"), Decimal("0.99998"), 2)
    assert event.user == alice.user
    assert balance(alice.workspace) == Decimal("0.99998")


def test_the_balance_decides_how_long_an_answer_may_get(
    api: Api, alice: Person, chat: Conversation, llm: LLM, keys: StandIn
) -> None:
    fund(alice.workspace, str(PROMPT + 1000 * MICRO))
    response = api.ask(alice, chat, llm=str(llm), max_tokens=1000)
    assert response.status_code == 201, response.text
    assert keys.requests[0].body["max_completion_tokens"] == 500
    assert response.json()["message"]["max_tokens"] == 500
    assert hold_of(alice).amount == Decimal("0.001019")
    assert balance(alice.workspace) == Decimal("0.000999")


@pytest.mark.parametrize(
    ("spare", "tokens"), [("0.000000000000", 500), ("-0.000000000001", 499), ("0.000001999999", 500)]
)
def test_the_last_token_is_paid_for_in_full(
    api: Api, alice: Person, chat: Conversation, llm: LLM, keys: StandIn, spare: str, tokens: int
) -> None:
    fund(alice.workspace, str(PROMPT + 1000 * MICRO + Decimal(spare)))
    assert api.ask(alice, chat, llm=str(llm)).status_code == 201
    assert keys.requests[0].body["max_completion_tokens"] == tokens


def test_exactly_enough_is_enough(api: Api, alice: Person, chat: Conversation, llm: LLM, keys: StandIn) -> None:
    fund(alice.workspace, str(PROMPT + 2 * MICRO * 10))
    assert api.ask(alice, chat, llm=str(llm), max_tokens=10).status_code == 201
    assert keys.requests[0].body["max_completion_tokens"] == 10


def test_not_enough(api: Api, alice: Person, chat: Conversation, llm: LLM, keys: StandIn) -> None:
    fund(alice.workspace, "0.0001")
    response = api.ask(alice, chat, llm=str(llm), max_tokens=1000)
    error = error_of(response, 402, "insufficient_balance")
    assert error["details"] == {
        "needed": "0.002019",
        "available": "0.0001",
        "held": "0.00",
        "affordable_max_tokens": 40,
        "reason": "balance",
    }
    assert "Retry-After" not in response.headers
    assert keys.requests == []
    assert Message.objects.filter(workspace=alice.workspace).count() == 0
    # What it affords can be asked for.
    assert api.ask(alice, chat, llm=str(llm), max_tokens=40).status_code == 201
    assert balance(alice.workspace) == Decimal("0.00008")


def test_nothing_at_all(api: Api, alice: Person, chat: Conversation, llm: LLM, keys: StandIn) -> None:
    error = error_of(api.ask(alice, chat, llm=str(llm), stream=True), 402, "insufficient_balance")
    assert error["details"]["affordable_max_tokens"] == 0
    assert keys.requests == []


def test_the_floor_below_which_no_answer_is_cut(
    api: Api, alice: Person, chat: Conversation, llm: LLM, keys: StandIn, settings: Any
) -> None:
    fund(alice.workspace, str(PROMPT + 2 * MICRO * 63))
    error = error_of(api.ask(alice, chat, llm=str(llm)), 402, "insufficient_balance")
    assert error["details"]["affordable_max_tokens"] == 63
    settings.MIN_OUTPUT_TOKENS = 63
    assert api.ask(alice, chat, llm=str(llm)).status_code == 201
    assert keys.requests[0].body["max_completion_tokens"] == 63


def test_when_only_a_call_under_way_is_in_the_way_it_is_worth_trying_again(
    api: Api, alice: Person, chat: Conversation, llm: LLM, keys: StandIn
) -> None:
    fund(alice.workspace, "0.000219")
    keys.answer(wait=1.0)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(api.ask, alice, chat, llm=str(llm), max_tokens=100)
        wait_for(lambda: len(keys.requests) == 1, "the first call")
        shown = api.get(alice, "wallet").json()
        second = api.ask(alice, chat, llm=str(llm), max_tokens=100)
        assert first.result().status_code == 201
    assert (shown["balance"], shown["held"], shown["available"]) == ("0.000219", "0.000219", "0.00")
    error = error_of(second, 402, "insufficient_balance")
    assert second.headers["Retry-After"] == "2"
    assert error["details"] == {
        "needed": "0.000219",
        "available": "0.00",
        "held": "0.000219",
        "affordable_max_tokens": 0,
        "reason": "in_flight_holds",
    }
    assert len(keys.requests) == 1
    assert balance(alice.workspace) == Decimal("0.000199")


def test_a_call_that_would_never_be_covered_is_not_worth_it(
    api: Api, alice: Person, chat: Conversation, llm: LLM, keys: StandIn
) -> None:
    """Even with the reserved money back there would not be enough for a longer prompt."""
    fund(alice.workspace, "0.000219")
    keys.answer(wait=0.5)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(api.ask, alice, chat, llm=str(llm), max_tokens=100)
        wait_for(lambda: len(keys.requests) == 1, "the first call")
        second = api.ask(alice, chat, "x" * 1000, llm=str(llm), max_tokens=100)
        assert first.result().status_code == 201
    assert error_of(second, 402, "insufficient_balance")["details"]["reason"] == "balance"
    assert "Retry-After" not in second.headers


# --- Kinds of wallet ------------------------------------------------------------------------------------------------


def test_postpaid_goes_down_to_the_credit_limit(
    api: Api, alice: Person, chat: Conversation, llm: LLM, keys: StandIn
) -> None:
    set_wallet(alice.workspace, mode="postpaid", credit_limit=Decimal("0.000219"))
    assert api.ask(alice, chat, llm=str(llm), max_tokens=100).status_code == 201
    assert balance(alice.workspace) == Decimal("-0.00002")
    assert api.ask(alice, chat, llm=str(llm), max_tokens=100).status_code == 201
    # $0.000199 are left. The prompt has three turns by now: 3 + 17 + 3 tokens, and 8 for each and for the system's.
    assert keys.requests[1].body["max_completion_tokens"] == 72
    assert balance(alice.workspace) == Decimal("-0.00004")
    set_wallet(alice.workspace, credit_limit=Decimal("0.0001"))
    error_of(api.ask(alice, chat, llm=str(llm), max_tokens=100), 402, "insufficient_balance")


def test_untracked_is_metered_and_not_charged(
    api: Api, alice: Person, chat: Conversation, llm: LLM, keys: StandIn
) -> None:
    set_wallet(alice.workspace, mode="untracked", markup_bps=1000)
    body = api.ask(alice, chat, llm=str(llm)).json()
    assert (body["cost"], body["usage"]["cost_usd"], body["usage"]["charged_usd"]) == ("0.00", "0.00002", "0.00")
    assert charges(alice.workspace) == []
    assert balance(alice.workspace) == 0
    assert hold_of(alice).amount == 0


@pytest.mark.parametrize(("owner", "source"), [("user", "user"), ("workspace", "workspace")])
def test_calls_on_ones_own_key_are_metered_and_not_charged(
    api: Api, alice: Person, chat: Conversation, llm: LLM, keys: StandIn, owner: str, source: str
) -> None:
    variable = UserVariable(category="api_key", name="openai", **{owner: getattr(alice, owner)})
    variable.set_value("sk-own-0123456789")
    variable.save()
    body = api.ask(alice, chat, llm=str(llm)).json()
    assert (body["cost"], body["usage"]["cost_usd"]) == ("0.00", "0.00002")
    assert (body["usage"]["key_source"], body["usage"]["user_api_key_used"]) == (source, source == "user")
    assert keys.requests[0].key == "sk-own-0123456789"
    assert charges(alice.workspace) == []


@pytest.mark.parametrize("mode", ["prepaid", "untracked"])
def test_a_suspended_wallet(api: Api, alice: Person, chat: Conversation, llm: LLM, keys: StandIn, mode: str) -> None:
    fund(alice.workspace, "1")
    set_wallet(alice.workspace, mode=mode, status="suspended")
    response = api.ask(alice, chat, llm=str(llm))
    error_of(response, 403, "wallet_suspended")
    assert "Retry-After" not in response.headers
    assert keys.requests == []


# --- The price ------------------------------------------------------------------------------------------------------


def test_a_markup_is_rounded_once_and_down(api: Api, alice: Person, chat: Conversation, keys: StandIn) -> None:
    """Seven tokens at a pico-dollar, and a quarter on top: 8.75 pico-dollars, of which 8 are charged."""
    llm = make_llm(price={"input_usd_per_mtok": MICRO, "output_usd_per_mtok": MICRO})
    fund(alice.workspace, "1")
    set_wallet(alice.workspace, markup_bps=2500)
    keys.answer(usage={"input": 6, "output": 1})
    body = api.ask(alice, chat, llm=str(llm)).json()
    assert (body["cost"], body["usage"]["cost_usd"]) == ("0.000000000008", "0.000000000007")
    assert balance(alice.workspace) == Decimal("0.999999999992")
    assert the_log(alice.workspace).markup_bps == 2500


def test_a_markup_shortens_what_the_balance_affords(
    api: Api, alice: Person, chat: Conversation, llm: LLM, keys: StandIn
) -> None:
    fund(alice.workspace, "0.0015285")  # one and a half times what 500 tokens may cost
    set_wallet(alice.workspace, markup_bps=5000)
    assert api.ask(alice, chat, llm=str(llm), max_tokens=1000).json()["cost"] == "0.00003"
    assert keys.requests[0].body["max_completion_tokens"] == 500
    assert balance(alice.workspace) == Decimal("0.0014985")


def test_every_kind_of_token_has_its_price(api: Api, alice: Person, chat: Conversation, keys: StandIn) -> None:
    price = {
        "input_usd_per_mtok": Decimal("3"),
        "cached_input_usd_per_mtok": Decimal("0.3"),
        "cache_write_5m_usd_per_mtok": Decimal("3.75"),
        "cache_write_1h_usd_per_mtok": Decimal("6"),
        "output_usd_per_mtok": Decimal("15"),
        "request_fee_usd": Decimal("0.000000000001"),
    }
    llm = make_llm("anthropic", price=price)
    fund(alice.workspace, "1")
    usage = {"input": 7, "cached_input": 11, "cache_write_5m": 5, "cache_write_1h": 3, "output": 13, "reasoning": 2}
    keys.answer(usage=usage)
    body = api.ask(alice, chat, llm=str(llm)).json()
    # 7 x 3 + 11 x 0.3 + 5 x 3.75 + 3 x 6 + 15 x 15 = 286.05 micro-dollars, and the fee
    assert body["cost"] == "0.000286050001"
    assert {name: body["usage"][f"{name}_tokens"] for name in usage} == usage
    assert balance(alice.workspace) == Decimal("0.999713949999")


def test_who_was_promised_a_price_never_pays_more(
    api: Api, alice: Person, chat: Conversation, llm: LLM, keys: StandIn
) -> None:
    fund(alice.workspace, "1")
    keys.answer(usage={"input": 10, "output": 10_000})
    body = api.ask(alice, chat, llm=str(llm), max_tokens=100).json()
    assert (body["cost"], body["usage"]["cost_usd"]) == ("0.000219", "0.02001")
    assert balance(alice.workspace) == Decimal("0.999781")
    incident = HoldIncident.objects.get(workspace=alice.workspace)
    assert (incident.kind, incident.amount) == ("overrun", Decimal("0.019791"))


def test_usage_that_a_provider_did_not_report_is_an_estimate(
    api: Api, alice: Person, chat: Conversation, llm: LLM, keys: StandIn
) -> None:
    fund(alice.workspace, "1")
    keys.answer("Twelve bytes", usage_times=0)
    body = api.ask(alice, chat, llm=str(llm)).json()
    assert body["usage"]["is_estimate"] is True
    assert (body["usage"]["input_tokens"], body["usage"]["output_tokens"]) == (10, 3)
    assert body["cost"] == "0.000016"
