"""POST …/api-keys/{provider}/test: a real call on exactly that key, as small as can be, metered and not charged."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from billing.models import BillingEvent
from conversations.models import Conversation, Message, UsageLog
from llm import own_keys
from llm.models import LLM
from tests.api.asking import Api, balance, charges, error_of, set_wallet, the_log
from tests.catalogue import make_llm
from tests.people import Cast, Person, fund
from tests.providers.standins import Behaviour, StandIn, fault, refusal
from workspaces import variables
from workspaces.models import AccessToken, User, UserVariable, Workspace

OWN, SHARED = "sk-own-0123456789-abcd", "sk-shared-0123456789-wxyz"
KINDS = ["user", "workspace"]


@pytest.fixture
def keys(house_keys: StandIn, audited: None) -> StandIn:
    return house_keys


def address(person: Person, kind: str = "user", provider: str = "openai") -> str:
    root = "user-variables" if kind == "user" else f"workspaces/{person.workspace.pk}"
    return f"{root}/api-keys/{provider}/test"


def bring(owner: User | Workspace, key: str, provider: str = "openai", **fields: Any) -> UserVariable:
    return own_keys.set_key(owner=owner, provider=provider, key=key, **fields)[0]


def bring_both(person: Person) -> None:
    bring(person.user, OWN)
    bring(person.workspace, SHARED)


def fault_of(response: Any, code: str) -> str:
    """The message of a key that does not work."""
    assert response.status_code == 200, response.text
    body = response.json()
    assert set(body) == {"ok", "provider", "error"}
    assert (body["ok"], body["provider"]) == (False, "openai")
    assert set(body["error"]) == {"code", "message"}
    assert body["error"]["code"] == code
    for key in (OWN, SHARED):
        assert key not in response.text
    return str(body["error"]["message"])


# --- A key that works -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "key"), [("user", OWN), ("workspace", SHARED)])
def test_it_is_called_on_exactly_that_key(
    api: Api, alice: Person, llm: LLM, keys: StandIn, kind: str, key: str
) -> None:
    bring_both(alice)
    response = api.post(alice, address(alice, kind), {})
    assert response.status_code == 200, response.text
    log = the_log(alice.workspace)
    body = response.json()
    assert body == {
        "ok": True,
        "provider": "openai",
        "model": "openai/openai-test",
        "latency_ms": log.latency_ms,
        "usage": body["usage"],
    }
    usage = body["usage"]
    assert (usage["id"], usage["model"], usage["total_tokens"]) == (str(log.pk), "openai/openai-test", 15)
    assert (usage["cost_usd"], usage["charged_usd"]) == ("0.00002", "0.00")
    assert (usage["key_source"], usage["user_api_key_used"]) == (kind, kind == "user")

    (sent,) = keys.requests
    assert sent.key == key
    assert (sent.body["model"], sent.body["max_completion_tokens"]) == ("openai-test", 64)
    assert sent.body["messages"] == [{"role": "user", "content": "Reply with the word OK."}]
    assert (log.key_source, log.user_api_key_used, log.cost_usd) == (kind, kind == "user", Decimal("0.00002"))
    assert (log.charged_usd, charges(alice.workspace), balance(alice.workspace)) == (0, [], 0)


def test_it_is_kept_among_the_users_api_calls(api: Api, alice: Person, llm: LLM, keys: StandIn) -> None:
    bring(alice.user, OWN)
    for _ in range(2):
        assert api.post(alice, address(alice), {}).json()["ok"] is True
    conversation = Conversation.objects.get(workspace=alice.workspace)
    assert (conversation.kind, conversation.user, conversation.message_count) == ("api", alice.user, 4)
    question = Message.objects.filter(workspace=alice.workspace, role="user").first()
    assert question is not None
    assert (question.content, question.metadata) == ("Reply with the word OK.", {"key_test": "openai"})
    Workspace.objects.filter(pk=alice.workspace.pk).update(keeps_api_content=False)
    api.post(alice, address(alice), {})
    assert Message.objects.filter(workspace=alice.workspace, role="user").latest("id").content == ""


def test_with_a_platform_fee_that_is_all_it_costs(api: Api, alice: Person, llm: LLM, keys: StandIn) -> None:
    bring(alice.user, OWN)
    fund(alice.workspace, "1")
    set_wallet(alice.workspace, own_key_fee_bps=500, markup_bps=9000)
    assert api.post(alice, address(alice), {}).json()["usage"]["charged_usd"] == "0.000001"
    fee = BillingEvent.objects.get(workspace=alice.workspace, event_type="fee")
    assert fee.amount_usd == Decimal("-0.000001")
    assert balance(alice.workspace) == Decimal("0.999999")


@pytest.mark.parametrize("name", list(own_keys.PROVIDERS))
def test_every_vendor(api: Api, alice: Person, keys: StandIn, name: str) -> None:
    make_llm(name)
    bring(alice.user, OWN, name)
    body = api.post(alice, address(alice, provider=name), {}).json()
    assert (body["ok"], body["provider"], body["model"]) == (True, name, f"{name}/{name}-test")
    assert [sent.key for sent in keys.requests] == [OWN]


def test_who_may_not_pay_may_still_try_a_key(api: Api, alice: Person, llm: LLM, keys: StandIn) -> None:
    bring(alice.user, OWN)
    User.objects.filter(pk=alice.user.pk).update(allows_paid_fallback=False)
    assert api.post(alice, address(alice), {}).json()["ok"] is True


# --- Which model ------------------------------------------------------------------------------------------------------


def rates(inputs: int, outputs: int) -> dict[str, Decimal]:
    return {"input_usd_per_mtok": Decimal(inputs), "output_usd_per_mtok": Decimal(outputs)}


def without_price(name: str) -> None:
    LLM.objects.create(provider="openai", name=name, display_name=name, context_window=1000, max_output_tokens=100)


def model_tried(api: Api, person: Person) -> str:
    body = api.post(person, address(person), {}).json()
    assert body["ok"] is True, body
    return str(body["model"])


def test_the_cheapest_that_may_be_called_is_tried(api: Api, alice: Person, keys: StandIn) -> None:
    bring(alice.user, OWN)
    make_llm("openai", "dear", price=rates(10, 30))
    middling = make_llm("openai", "middling", price=rates(2, 3))
    cheap = make_llm("openai", "cheap", price=rates(1, 3))
    without_price("unpriced")
    make_llm("anthropic", "cheapest", price=rates(0, 0))
    assert model_tried(api, alice) == "openai/cheap"
    Workspace.objects.filter(pk=alice.workspace.pk).update(
        allowed_models=["openai/dear", "openai/middling", "anthropic/cheapest"]
    )
    assert model_tried(api, alice) == "openai/middling"
    AccessToken.objects.filter(user=alice.user).update(allowed_models=["openai/dear", "openai/cheap"])
    assert model_tried(api, alice) == "openai/dear"
    Workspace.objects.filter(pk=alice.workspace.pk).update(allowed_models=[], max_tokens_cap=10)
    AccessToken.objects.filter(user=alice.user).update(allowed_models=[])
    LLM.objects.filter(pk=cheap.pk).update(is_active=False)
    assert model_tried(api, alice) == str(middling)
    assert keys.requests[-1].body["max_completion_tokens"] == 10


@pytest.mark.parametrize("reason", ["none", "retired", "no price", "workspace", "token"])
def test_without_a_model_there_is_nothing_to_try(api: Api, alice: Person, keys: StandIn, reason: str) -> None:
    bring(alice.user, OWN)
    make_llm("anthropic")
    if reason == "no price":
        without_price("openai-test")
    elif reason != "none":
        llm = make_llm()
    if reason == "retired":
        LLM.objects.filter(pk=llm.pk).update(is_active=False)
    elif reason == "workspace":
        Workspace.objects.filter(pk=alice.workspace.pk).update(allowed_models=["anthropic/anthropic-test"])
    elif reason == "token":
        AccessToken.objects.filter(user=alice.user).update(allowed_models=["anthropic/anthropic-test"])
    error = error_of(api.post(alice, address(alice), {}), 422, "no_model_to_test")
    assert error["message"] == (
        "You may call no model of openai that has a price, so there is nothing to try the key with."
    )
    assert keys.requests == []


def test_a_thinking_model_is_told_to_think_as_little_as_it_can(api: Api, alice: Person, keys: StandIn) -> None:
    make_llm("openai", "gpt-6-luna", supports_reasoning=True)
    bring(alice.user, OWN)
    keys.answer("", usage={"input": 10, "reasoning": 64}, finish_reason="length")
    assert api.post(alice, address(alice), {}).json()["ok"] is True
    assert keys.requests[0].body["reasoning_effort"] == "none"


# --- A key that does not ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "whose"), [("user", "your own key (…abcd)"), ("workspace", "the workspace's key (…wxyz)")]
)
@pytest.mark.parametrize(
    ("behaviour", "code", "said"),
    [
        (refusal(401, message="Incorrect API key: {key}"), "provider_authentication_failed", "openai refused {whose}."),
        (
            refusal(403, message="{key} may not"),
            "provider_permission_denied",
            "openai, on {whose}: The provider does not let this key use this model.",
        ),
        (
            refusal(429, code="insufficient_quota", message="{key}"),
            "provider_quota_exhausted",
            "openai, on {whose}: The account at the provider has no credit left.",
        ),
        (
            refusal(500, message="{key}"),
            "provider_unavailable",
            "openai, on {whose}: The provider is not available.",
        ),
        (fault("malformed"), "provider_error", "openai, on {whose}: The provider's answer could not be read."),
    ],
    ids=["401", "403", "quota", "500", "malformed"],
)
def test_what_is_wrong_is_told_and_nothing_is_charged(
    api: Api, alice: Person, llm: LLM, keys: StandIn, behaviour: Behaviour, code: str, said: str, kind: str, whose: str
) -> None:
    bring_both(alice)
    fund(alice.workspace, "1")
    keys.script(behaviour)
    assert fault_of(api.post(alice, address(alice, kind), {}), code) == said.format(whose=whose)
    assert len(keys.requests) == 1, "neither another key nor another model was tried"
    log = the_log(alice.workspace)
    assert (log.status, log.error_code, log.key_source, log.charged_usd) == ("error", code, kind, 0)
    assert charges(alice.workspace) == []
    assert balance(alice.workspace) == 1


def test_no_other_model_answers_for_it(api: Api, alice: Person, llm: LLM, keys: StandIn) -> None:
    bring_both(alice)
    make_llm("openai", "second", price=rates(5, 5))
    make_llm("anthropic")
    bring(alice.user, OWN, "anthropic")
    Workspace.objects.filter(pk=alice.workspace.pk).update(
        fallback_models=["openai/second", "anthropic/anthropic-test"]
    )
    keys.script(refusal(500))
    fault_of(api.post(alice, address(alice), {}), "provider_unavailable")
    assert [sent.body["model"] for sent in keys.requests] == ["openai-test"]
    assert UsageLog.objects.filter(workspace=alice.workspace).count() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_is_not_in_use_is_not_tried(
    api: Api, alice: Person, llm: LLM, keys: StandIn, settings: Any, kind: str
) -> None:
    bring_both(alice)
    whose = "your own key (…abcd)" if kind == "user" else "the workspace's key (…wxyz)"
    row = variables.variables_of(alice.user if kind == "user" else alice.workspace)
    row.update(is_active=False)
    assert fault_of(api.post(alice, address(alice, kind), {}), "key_inactive") == f"openai: {whose} is switched off."
    row.update(is_active=True, expires_at=timezone.now() - timedelta(seconds=1))
    assert fault_of(api.post(alice, address(alice, kind), {}), "key_expired") == f"openai: {whose} has expired."
    row.update(expires_at=None, ciphertext=b"short")
    message = fault_of(api.post(alice, address(alice, kind), {}), "provider_not_configured")
    unread = {"user": "Your", "workspace": "The workspace's"}[kind]
    assert message == f"{unread} openai key can't be read; set it again."
    assert keys.requests == []
    assert not UsageLog.objects.filter(workspace=alice.workspace).exists()


def test_a_short_key_has_no_end_that_could_be_shown(api: Api, alice: Person, llm: LLM, keys: StandIn) -> None:
    bring(alice.user, "sk-short")
    keys.script(refusal(401, message="{key}"))
    response = api.post(alice, address(alice), {})
    assert response.json()["error"]["message"] == "openai refused your own key."
    assert "hort" not in response.text


# --- Who may, and when ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["demo", "private", "nobody"])
def test_a_provider_that_takes_no_keys(api: Api, alice: Person, keys: StandIn, name: str) -> None:
    for kind in KINDS:
        error_of(api.post(alice, address(alice, kind, name), {}), 404, "unknown_provider")


def test_without_a_key_of_that_owner_there_is_nothing_to_try(api: Api, alice: Person, llm: LLM, keys: StandIn) -> None:
    bring(alice.user, OWN)
    error_of(api.post(alice, address(alice, "workspace"), {}), 404, "not_found")
    variables.variables_of(alice.user).delete()
    bring(alice.workspace, SHARED)
    error_of(api.post(alice, address(alice), {}), 404, "not_found")
    assert keys.requests == []


def test_a_workspaces_key_is_tried_by_its_admins(
    api: Api, cast: Cast, dora: Person, victor: Person, llm: LLM, keys: StandIn
) -> None:
    path = address(cast.alice, "workspace")
    bring(cast.alice.workspace, SHARED)
    for person in (cast.bob, victor):
        error_of(api.post(person, path, {}), 403, "permission_denied")
    assert error_of(api.post(cast.charlie, path, {}), 404, "not_found")["message"] == "Not found."
    assert keys.requests == []
    for person in (cast.alice, dora):
        assert api.post(person, path, {}).json()["ok"] is True
    assert [log.user for log in UsageLog.objects.filter(workspace=cast.alice.workspace).order_by("id")] == [
        cast.alice.user,
        dora.user,
    ]


def test_everybody_who_may_write_tries_his_own(api: Api, cast: Cast, victor: Person, llm: LLM, keys: StandIn) -> None:
    for person in (*cast, victor):
        bring(person.user, f"sk-of-{person.user.name.lower()}-0123456789")
    for person in cast:
        assert api.post(person, address(person), {}).json()["ok"] is True
    assert [sent.key for sent in keys.requests] == [f"sk-of-{name}-0123456789" for name in ("alice", "bob", "charlie")]
    error_of(api.post(victor, address(victor), {}), 403, "permission_denied")


@pytest.mark.parametrize(("kind", "sufficient"), [("user", "keys"), ("workspace", "admin")])
def test_the_scope_it_takes(api: Api, alice: Person, llm: LLM, keys: StandIn, kind: str, sufficient: str) -> None:
    bring_both(alice)
    tokens = AccessToken.objects.filter(user=alice.user)
    tokens.update(scopes=[scope for scope in ("chat", "read", "billing", "keys", "admin") if scope != sufficient])
    error = error_of(api.post(alice, address(alice, kind), {}), 403, "scope_missing")
    assert error["details"] == {"scopes": [sufficient]}
    tokens.update(scopes=[sufficient])
    assert api.post(alice, address(alice, kind), {}).json()["ok"] is True


def test_rate_limits_and_suspension_are_those_of_every_call(api: Api, alice: Person, llm: LLM, keys: StandIn) -> None:
    bring(alice.user, OWN)
    AccessToken.objects.filter(user=alice.user).update(requests_per_minute=1)
    response = api.post(alice, address(alice), {})
    assert response.json()["ok"] is True
    assert response.headers["x-ratelimit-remaining-requests"] == "0"
    error_of(api.post(alice, address(alice), {}), 429, "rate_limited")
    Workspace.objects.filter(pk=alice.workspace.pk).update(status="suspended")
    error_of(api.post(alice, address(alice), {}), 403, "workspace_suspended")
    assert len(keys.requests) == 1


def test_only_post(api: Api, alice: Person, keys: StandIn) -> None:
    bring(alice.user, OWN)
    error_of(api.get(alice, address(alice)), 405, "method_not_allowed")
