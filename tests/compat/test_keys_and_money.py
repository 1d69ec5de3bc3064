"""Whose key a call ran on and what it cost, as the client is told: exact, and the same as in the books."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anthropic
import httpx2
import pytest

from conversations.models import Message, UsageLog
from llm.models import LLM
from tests.api.asking import balance, set_wallet, the_log
from tests.compat.clients import HELLO, OWN_KEY, Clients, code_of, set_own_key
from tests.people import Person
from tests.providers.standins import StandIn, refusal
from workspaces.models import AccessToken, User


def told(answer: Any) -> tuple[str, bool, str, bool]:
    usage = answer.usage
    return usage.cost, usage.is_byok, usage.cost_details["upstream_inference_cost"], usage.is_estimate


def test_a_markup(clients: Clients, alice: Person, model: str, sdk: str, paid: StandIn) -> None:
    """2.5 % of 33 tokens in and 7 out, rounded once, down, at the twelfth place."""
    set_wallet(alice.workspace, markup_bps=250)
    paid.answer(usage={"input": 33, "output": 7})
    assert told(clients.ask(sdk, alice, model)) == ("0.000048175", False, "0.000047", False)
    assert balance(alice.workspace) == 1 - Decimal("0.000048175")


def test_an_untracked_wallet(clients: Clients, alice: Person, model: str, sdk: str, paid: StandIn) -> None:
    set_wallet(alice.workspace, mode="untracked")
    assert told(clients.ask(sdk, alice, model)) == ("0.00", False, "0.00002", False)


def test_an_own_key(clients: Clients, alice: Person, model: str, vendor: str, sdk: str, paid: StandIn) -> None:
    set_own_key(alice, vendor)
    assert told(clients.ask(sdk, alice, model)) == ("0.00", True, "0.00002", False)
    assert paid.requests[0].key == OWN_KEY
    assert balance(alice.workspace) == 1
    log = the_log(alice.workspace)
    assert (log.user_api_key_used, log.key_source, log.charged_usd, log.cost_usd) == (
        True,
        "user",
        0,
        Decimal("0.00002"),
    )


def test_an_own_key_with_a_platform_fee(
    clients: Clients, alice: Person, model: str, vendor: str, sdk: str, paid: StandIn
) -> None:
    set_wallet(alice.workspace, own_key_fee_bps=500)
    set_own_key(alice.workspace, vendor)
    assert told(clients.ask(sdk, alice, model)) == ("0.000001", True, "0.00002", False)
    assert balance(alice.workspace) == Decimal("0.999999")
    assert the_log(alice.workspace).key_source == "workspace"


@pytest.mark.parametrize("streams", [False, True])
def test_a_wrong_own_key(
    clients: Clients, alice: Person, model: str, vendor: str, sdk: str, paid: StandIn, streams: bool
) -> None:
    """Whose key at which provider, by its last four characters; no second try on paid credit, and no charge."""
    set_own_key(alice, vendor)
    paid.always(refusal(401, vendor=vendor, message="Incorrect API key provided: {key}"))
    error = clients.refused("AuthenticationError", sdk, alice, model, stream=streams, retries=2)
    assert code_of(error) == "provider_authentication_failed"
    assert f"{vendor} refused your own key (…wxyz)." in error.response.text
    assert OWN_KEY not in error.response.text
    assert [request.key for request in paid.requests] == [OWN_KEY]
    assert balance(alice.workspace) == 1
    message = Message.objects.get(workspace=alice.workspace, role="assistant")
    assert (message.status, message.error_code) == ("error", "provider_authentication_failed")


def test_a_wrong_key_of_the_workspace(
    clients: Clients, bob: Person, model: str, vendor: str, sdk: str, paid: StandIn
) -> None:
    set_own_key(bob.workspace, vendor)
    paid.always(refusal(401, vendor=vendor))
    error = clients.refused("AuthenticationError", sdk, bob, model)
    assert f"{vendor} refused the workspace's key (…wxyz)." in error.response.text


def test_an_own_keys_limit(clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn) -> None:
    set_own_key(alice, "openai")
    paid.always(refusal(429, headers={"retry-after": "30"}))
    error = clients.refused("RateLimitError", sdk, alice, str(models["openai"]))
    assert (code_of(error), error.response.headers["Retry-After"]) == ("provider_rate_limited", "30")
    assert error.type == "rate_limit_error"


def test_who_forbids_paid_credit(
    clients: Clients, alice: Person, model: str, vendor: str, sdk: str, paid: StandIn
) -> None:
    User.objects.filter(pk=alice.user.pk).update(allows_paid_fallback=False)
    error = clients.refused("PermissionDeniedError", sdk, alice, model)
    assert code_of(error) == "paid_fallback_forbidden"
    assert vendor in error.response.text
    assert paid.requests == []
    set_own_key(alice, vendor)
    assert told(clients.ask(sdk, alice, model))[1] is True


def test_the_sum_of_what_was_told(clients: Clients, alice: Person, model: str, vendor: str, paid: StandIn) -> None:
    """Plain and streamed, by both SDKs."""
    paid.answer(usage={"input": 17, "cached_input": 3, "output": 11})
    client = clients.openai(alice)
    costs = [client.chat.completions.create(model=model, messages=HELLO).usage.cost]
    stream = client.chat.completions.create(
        model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    costs += [chunk.usage.cost for chunk in stream if chunk.usage]
    other = clients.anthropic(alice)
    costs.append(other.messages.create(model=model, messages=HELLO, max_tokens=9).usage.cost)
    events = other.messages.create(model=model, messages=HELLO, max_tokens=9, stream=True)
    costs += [event.usage.cost for event in events if event.type == "message_delta"]
    logs = UsageLog.objects.filter(workspace=alice.workspace)
    assert len(costs) == 4
    assert 1 - sum(map(Decimal, costs)) == balance(alice.workspace)
    assert sum(map(Decimal, costs)) == sum(log.charged_usd for log in logs)


# keys of ours --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["Authorization", "x-api-key", "x-goog-api-key"])
@pytest.mark.parametrize("path", ["chat/completions", "messages"])
def test_a_key_in_either_header(
    clients: Clients, alice: Person, model: str, paid: StandIn, header: str, path: str
) -> None:
    value = f"Bearer {alice.token}" if header == "Authorization" else alice.token
    body = {"model": model, "messages": HELLO, "max_tokens": 9}
    response = httpx2.post(f"{clients.url}/v1/{path}", json=body, headers={header: value}, timeout=30)
    assert response.status_code == 200


def test_a_token_of_anthropics_sdk(clients: Clients, alice: Person, model: str, paid: StandIn) -> None:
    """As Claude Code sends it, and others that know ANTHROPIC_AUTH_TOKEN."""
    client = anthropic.Anthropic(base_url=clients.url, auth_token=alice.token, max_retries=0)
    assert client.messages.create(model=model, messages=HELLO, max_tokens=9).usage.cost == "0.00002"


def test_a_key_in_the_address(clients: Clients, alice: Person, model: str, paid: StandIn) -> None:
    response = httpx2.post(
        f"{clients.url}/v1/chat/completions?key={alice.token}", json={"model": model, "messages": HELLO}, timeout=30
    )
    assert (response.status_code, response.json()["error"]["code"]) == (400, "token_in_address")
    assert alice.token not in response.text
    assert paid.requests == []


def test_a_key_without_the_scope(
    clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn
) -> None:
    """A key that may only read sees the models and itself, and calls none."""
    AccessToken.objects.filter(workspace=alice.workspace, user=alice.user).update(scopes=["read"])
    error = clients.refused("PermissionDeniedError", sdk, alice, str(models["openai"]))
    assert code_of(error) == "scope_missing"
    if sdk == "openai":
        assert (error.param, error.body["metadata"]) == (None, {"scopes": ["chat"]})
    with pytest.raises(anthropic.PermissionDeniedError):
        clients.anthropic(alice).messages.count_tokens(model=str(models["openai"]), messages=HELLO)
    assert clients.get(alice, "models").status_code == clients.get(alice, "key").status_code == 200
    assert clients.get(alice, "dashboard/billing/usage").status_code == 403
    assert paid.requests == []


def test_a_keys_rate(clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn) -> None:
    """What is left is in every answer; beyond it, the SDK is told when to come again."""
    AccessToken.objects.filter(workspace=alice.workspace, user=alice.user).update(requests_per_minute=1)
    create = clients.openai(alice).chat.completions if sdk == "openai" else clients.anthropic(alice).messages
    raw = create.with_raw_response.create(model=str(models["openai"]), messages=HELLO, max_tokens=9)
    assert (raw.headers["x-ratelimit-limit-requests"], raw.headers["x-ratelimit-remaining-requests"]) == ("1", "0")
    error = clients.refused("RateLimitError", sdk, alice, str(models["openai"]))
    assert (code_of(error), error.type) == ("rate_limited", "rate_limit_error")
    assert 0 < int(error.response.headers["Retry-After"]) <= 60
    assert "x-should-retry" not in error.response.headers
    assert error.response.headers["x-ratelimit-limit-requests"] == "1"
    assert len(paid.requests) == 1
