"""Calls on own keys: whose key arrives at the provider, what they cost, and that no other key ever takes their place."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pytest
from django.utils import timezone

from billing.models import BillingEvent
from conversations.models import Conversation, UsageLog
from llm import own_keys
from llm.models import LLM
from tests.api.asking import Api, balance, charges, error_of, make_conversation, set_wallet
from tests.catalogue import make_llm
from tests.conftest import Server
from tests.hosting import HOST_KEY, make_connection
from tests.people import Cast, Person, fund
from tests.providers.standins import StandIn, answer, refusal
from workspaces import variables
from workspaces.models import User, Workspace

OWN, SHARED = "sk-own-0123456789-abcd", "sk-shared-0123456789-wxyz"
MICRO = Decimal("0.000001")
VENDORS = list(own_keys.PROVIDERS)


def house(name: str = "openai") -> str:
    return f"sk-house-{name}-0123456789abcdef"


def bring(owner: User | Workspace, key: str, provider: str = "openai", **fields: Any) -> None:
    own_keys.set_key(owner=owner, provider=provider, key=key, **fields)


def forbid_paid_fallback(person: Person) -> None:
    User.objects.filter(pk=person.user.pk).update(allows_paid_fallback=False)


def fall_back_to(person: Person, *models: LLM) -> None:
    Workspace.objects.filter(pk=person.workspace.pk).update(fallback_models=[str(llm) for llm in models])


def keys_at(provider: StandIn) -> list[str]:
    return [request.key for request in provider.requests]


def attempts(person: Person) -> list[tuple[str, str, str, Decimal]]:
    logs = UsageLog.objects.filter(workspace=person.workspace).order_by("attempt").select_related("llm")
    return [(str(log.llm), log.status, log.key_source, log.charged_usd) for log in logs]


# --- The order --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", VENDORS)
def test_the_users_key_before_the_workspaces_before_the_houses(
    api: Api, alice: Person, chat: Conversation, paid: StandIn, name: str, stream: bool
) -> None:
    llm = make_llm(name)
    expected = [(house(name), "global"), (SHARED, "workspace"), (OWN, "user")]
    for owner, key in ((None, ""), (alice.workspace, SHARED), (alice.user, OWN)):
        if owner is not None:
            bring(owner, key, name)
        if stream:
            assert api.listen(alice, chat, llm=str(llm))[-1].name == "message.completed"
        else:
            assert api.ask(alice, chat, llm=str(llm)).status_code == 201
    assert keys_at(paid) == [key for key, _ in expected]
    logs = list(UsageLog.objects.filter(workspace=alice.workspace).order_by("id"))
    assert [log.key_source for log in logs] == [source for _, source in expected]
    assert [log.user_api_key_used for log in logs] == [False, False, True]
    assert [log.cost_usd for log in logs] == [20 * MICRO] * 3
    assert charges(alice.workspace) == [-20 * MICRO]
    assert balance(alice.workspace) == 1 - 20 * MICRO


def test_a_key_is_of_its_owner_alone(api: Api, cast: Cast, llm: LLM, paid: StandIn) -> None:
    """Alice's own is for her calls, the workspace's for Bob's too, and Charlie has neither."""
    bring(cast.alice.user, OWN)
    bring(cast.alice.workspace, SHARED)
    fund(cast.charlie.workspace, "1")
    for person in cast:
        assert api.ask(person, make_conversation(person), llm=str(llm)).status_code == 201
    assert keys_at(paid) == [OWN, SHARED, house()]


@pytest.mark.parametrize("change", [{"is_active": False}, {"expires_at": timedelta(seconds=-1)}])
def test_a_key_that_is_not_in_use_leaves_its_place_to_the_next(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, change: dict[str, Any]
) -> None:
    change = {name: timezone.now() + value if name == "expires_at" else value for name, value in change.items()}
    bring(alice.user, OWN)
    bring(alice.workspace, SHARED)
    for owner in (alice.user, alice.workspace):
        variables.variables_of(owner).update(**change)
        assert api.ask(alice, chat, llm=str(llm)).status_code == 201
    assert keys_at(paid) == [SHARED, house()]


def test_a_key_set_or_deleted_counts_from_the_next_call_on(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    one = "user-variables/api-keys/openai"
    for change in (
        lambda: alice.put(one, {"key": OWN}),
        lambda: alice.put(one, {"key": SHARED}),
        lambda: alice.patch(one, {"is_active": False}),
        lambda: alice.delete(one),
    ):
        assert change().status_code < 300
        assert api.ask(alice, chat, llm=str(llm)).status_code == 201
    assert keys_at(paid) == [OWN, SHARED, house(), house()]


# --- What it costs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["user", "workspace"])
def test_a_platform_fee_is_part_of_the_price_rounded_down(
    api: Api, alice: Person, chat: Conversation, paid: StandIn, kind: str
) -> None:
    """Seven tokens at a pico-dollar, a quarter of it: 1.75 pico-dollars, of which 1 is charged. No markup on it."""
    llm = make_llm(price={"input_usd_per_mtok": MICRO, "output_usd_per_mtok": MICRO})
    bring(getattr(alice, kind), OWN)
    set_wallet(alice.workspace, own_key_fee_bps=2500, markup_bps=5000)
    paid.answer(usage={"input": 6, "output": 1})
    body = api.ask(alice, chat, llm=str(llm)).json()
    assert (body["cost"], body["usage"]["cost_usd"]) == ("0.000000000001", "0.000000000007")
    assert (body["usage"]["key_source"], body["usage"]["user_api_key_used"]) == (kind, kind == "user")
    event = BillingEvent.objects.get(workspace=alice.workspace, event_type="fee")
    assert (event.amount_usd, event.user) == (Decimal("-0.000000000001"), alice.user)
    assert event.description == f"openai/openai-test, 7 tokens, platform fee on the {kind}'s own key"
    assert charges(alice.workspace) == []
    assert balance(alice.workspace) == Decimal("0.999999999999")


def test_a_fee_of_less_than_the_least_amount_is_none(
    api: Api, alice: Person, chat: Conversation, paid: StandIn
) -> None:
    llm = make_llm(price={"input_usd_per_mtok": MICRO, "output_usd_per_mtok": MICRO})
    bring(alice.user, OWN)
    set_wallet(alice.workspace, own_key_fee_bps=1000)
    paid.answer(usage={"input": 8, "output": 1})
    assert api.ask(alice, chat, llm=str(llm)).json()["cost"] == "0.00"
    assert BillingEvent.objects.filter(workspace=alice.workspace).exclude(event_type="credit").count() == 0
    assert balance(alice.workspace) == 1


def test_without_a_fee_no_money_is_needed(
    api: Api, alice: Person, chat: Conversation, llm: LLM, house_keys: StandIn, audited: None
) -> None:
    bring(alice.user, OWN)
    assert api.ask(alice, chat, llm=str(llm)).status_code == 201
    set_wallet(alice.workspace, own_key_fee_bps=1)
    error_of(api.ask(alice, chat, llm=str(llm)), 402, "insufficient_balance")
    assert keys_at(house_keys) == [OWN]


# --- A wrong key ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [True, False], ids=["paid fallback allowed", "forbidden"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("kind", "said"),
    [("user", "openai refused your own key (…abcd)."), ("workspace", "openai refused the workspace's key (…abcd).")],
)
def test_a_wrong_own_key_is_an_error_and_no_other_takes_its_place(
    api: Api,
    alice: Person,
    chat: Conversation,
    llm: LLM,
    paid: StandIn,
    kind: str,
    said: str,
    stream: bool,
    allowed: bool,
) -> None:
    bring(getattr(alice, kind), OWN)
    bring(alice.workspace, SHARED if kind == "user" else OWN)
    if not allowed:
        forbid_paid_fallback(alice)
    fall_back_to(alice, make_llm("anthropic"), make_llm("openai", "second"))
    paid.always(refusal(401, message="Incorrect API key provided: {key}."))
    if stream:
        (_, event) = api.listen(alice, chat, llm=str(llm))
        assert (event.name, event.data["error"]["code"]) == ("error", "provider_authentication_failed")
        message, told = event.data["error"]["message"], str(event.data)
    else:
        response = api.ask(alice, chat, llm=str(llm))
        message = error_of(response, 422, "provider_authentication_failed")["message"]
        told = response.text
    assert message == said
    assert OWN not in told
    assert keys_at(paid) == [OWN], "neither another key nor another model was tried"
    assert attempts(alice) == [("openai/openai-test", "error", kind, Decimal(0))]
    assert charges(alice.workspace) == []
    assert balance(alice.workspace) == 1


def test_a_wrong_own_key_is_an_authentication_error_to_the_sdks(
    server: Server, alice: Person, llm: LLM, paid: StandIn
) -> None:
    bring(alice.user, OWN)
    paid.always(refusal(401, message="Incorrect API key provided: {key}."))
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key=alice.token, max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match=r"openai refused your own key \(…abcd\)\.") as refused,
    ):
        client.chat.completions.create(model=str(llm), messages=[{"role": "user", "content": "Hello"}])
    assert OWN not in refused.value.response.text
    with (
        anthropic.Anthropic(base_url=server.url, api_key=alice.token, max_retries=0) as claude,
        pytest.raises(anthropic.AuthenticationError, match=r"openai refused your own key \(…abcd\)\."),
    ):
        claude.messages.create(model=str(llm), max_tokens=10, messages=[{"role": "user", "content": "Hello"}])
    assert keys_at(paid) == [OWN, OWN]
    assert balance(alice.workspace) == 1


def test_a_key_that_can_not_be_read_is_an_error_and_no_other_takes_its_place(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    bring(alice.workspace, SHARED)
    variables.variables_of(alice.workspace).update(ciphertext=b"short")
    error = error_of(api.ask(alice, chat, llm=str(llm)), 503, "provider_not_configured")
    assert error["message"] == "The workspace's openai key can't be read; set it again."
    assert paid.requests == []


# --- Never on paid credit ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", [*VENDORS, "demo"])
def test_who_forbade_it_never_pays(
    api: Api, alice: Person, chat: Conversation, paid: StandIn, name: str, stream: bool
) -> None:
    llm = make_llm(name)
    forbid_paid_fallback(alice)
    error = error_of(api.ask(alice, chat, llm=str(llm), stream=stream), 403, "paid_fallback_forbidden")
    assert error["message"] == f"There is no own key for {name}, and you let no call fall back to paid credit."
    assert paid.requests == []
    assert not UsageLog.objects.filter(workspace=alice.workspace).exists()
    assert balance(alice.workspace) == 1


def test_nor_does_he_when_his_key_has_run_out(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    forbid_paid_fallback(alice)
    bring(alice.user, OWN)
    assert api.ask(alice, chat, llm=str(llm)).status_code == 201
    variables.variables_of(alice.user).update(expires_at=timezone.now() - timedelta(seconds=1))
    error_of(api.ask(alice, chat, llm=str(llm)), 403, "paid_fallback_forbidden")
    bring(alice.workspace, SHARED)
    assert api.ask(alice, chat, llm=str(llm)).status_code == 201
    assert keys_at(paid) == [OWN, SHARED]
    assert charges(alice.workspace) == []


def test_models_without_an_own_key_are_passed_over(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    fall_back_to(alice, make_llm("anthropic"), make_llm("demo"), make_llm("grok"), make_llm("google"))
    bring(alice.user, OWN)
    bring(alice.workspace, SHARED, "grok")
    forbid_paid_fallback(alice)
    paid.script(refusal(500), answer("From Grok."))
    body = api.ask(alice, chat, llm=str(llm)).json()
    assert (body["message"]["content"], body["message"]["model_used"]) == ("From Grok.", "grok/grok-test")
    assert keys_at(paid) == [OWN, SHARED]
    assert attempts(alice) == [
        ("openai/openai-test", "error", "user", Decimal(0)),
        ("grok/grok-test", "success", "workspace", Decimal(0)),
    ]
    paid.requests.clear()
    paid.always(refusal(500))
    error_of(api.ask(alice, chat, llm=str(llm)), 503, "provider_unavailable")
    assert keys_at(paid) == [OWN, SHARED]
    assert balance(alice.workspace) == 1


def test_who_allowed_it_pays_for_the_model_that_answers(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    fall_back_to(alice, make_llm("anthropic"))
    bring(alice.user, OWN)
    paid.script(refusal(500), answer())
    assert api.ask(alice, chat, llm=str(llm)).json()["cost"] == "0.00002"
    assert keys_at(paid) == [OWN, house("anthropic")]
    assert attempts(alice) == [
        ("openai/openai-test", "error", "user", Decimal(0)),
        ("anthropic/anthropic-test", "success", "global", 20 * MICRO),
    ]
    assert balance(alice.workspace) == 1 - 20 * MICRO


# --- Where a key goes -------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere() -> Iterator[StandIn]:
    """Another host."""
    server = StandIn().start()
    yield server
    server.stop()


def test_a_key_goes_to_the_host_of_its_provider_alone(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, elsewhere: StandIn, settings: Any
) -> None:
    settings.PROVIDERS["grok"]["base_url"] = elsewhere.openai_url
    grok = make_llm("grok")
    bring(alice.user, OWN)
    bring(alice.workspace, SHARED, "grok")
    for model in (llm, grok, llm, grok):
        assert api.ask(alice, chat, llm=str(model)).status_code == 201
    assert keys_at(paid) == [OWN, OWN]
    assert keys_at(elsewhere) == [SHARED, SHARED]


def test_a_key_follows_the_operators_base_url_and_nobody_elses(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, elsewhere: StandIn, settings: Any
) -> None:
    """Not even one that its owner left in a variable, or in the request."""
    bring(alice.user, OWN)
    for name in ("OPENAI_BASE_URL", "openai_base_url", "base_url"):
        variables.create(owner=alice.user, category="general", name=name, value=elsewhere.openai_url)
    assert api.ask(alice, chat, llm=str(llm)).status_code == 201
    error_of(api.ask(alice, chat, llm=str(llm), base_url=elsewhere.openai_url), 400, "invalid")
    assert (keys_at(paid), keys_at(elsewhere)) == ([OWN], [])
    settings.PROVIDERS["openai"]["base_url"] = elsewhere.openai_url
    assert api.ask(alice, chat, llm=str(llm)).status_code == 201
    assert (keys_at(paid), keys_at(elsewhere)) == ([OWN], [OWN])


def test_a_private_host_gets_its_own_key_whatever_keys_there_are(
    api: Api, alice: Person, chat: Conversation, paid: StandIn, elsewhere: StandIn
) -> None:
    """Rows of these names can't be made by the API; were they there, they would not be used."""
    for owner in (alice.user, alice.workspace):
        for name in (*VENDORS, "private", "demo", "lab"):
            variables.create(owner=owner, category="api_key", name=name, value=OWN)
    make_llm("private", "lab/llama", connection=make_connection(elsewhere))
    make_llm("demo")
    assert api.ask(alice, chat, llm="private/lab/llama").json()["usage"]["key_source"] == "global"
    assert api.ask(alice, chat, llm="demo/demo-test").json()["usage"]["key_source"] == "global"
    assert (keys_at(elsewhere), keys_at(paid)) == ([HOST_KEY], [])
    forbid_paid_fallback(alice)
    for name in ("private/lab/llama", "demo/demo-test"):
        error_of(api.ask(alice, chat, llm=name), 403, "paid_fallback_forbidden")
    assert UsageLog.objects.filter(workspace=alice.workspace).count() == 2
