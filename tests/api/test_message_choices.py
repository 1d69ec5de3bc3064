"""Which model answers a message, and by which rules."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from conversations.models import Conversation, Message
from llm.models import LLM, LLMPrice
from tests.api.asking import Api, assert_invalid, change, error_of, make_agent, make_conversation
from tests.catalogue import make_llm
from tests.people import Person
from tests.providers.standins import StandIn
from workspaces.models import Workspace


@pytest.fixture
def rules(alice: Person) -> Any:
    def set_rules(**fields: Any) -> None:
        Workspace.objects.filter(pk=alice.workspace.pk).update(**fields)

    return set_rules


def asked(api: Api, provider: StandIn, person: Person, chat: Conversation, **body: Any) -> dict[str, Any]:
    """What the provider was sent for a message."""
    response = api.ask(person, chat, **body)
    assert response.status_code == 201, response.text
    return provider.requests[-1].body


def test_message_before_agent_before_workspace(api: Api, alice: Person, paid: StandIn, rules: Any) -> None:
    for name in ("of-message", "of-agent", "of-default-agent", "of-workspace"):
        make_llm("openai", name)
    chat = make_conversation(alice)
    error_of(api.ask(alice, chat), 422, "no_model")
    rules(default_model="openai/of-workspace")
    assert asked(api, paid, alice, chat)["model"] == "of-workspace"
    make_agent(alice, LLM.objects.get(name="of-default-agent"), is_default=True)
    assert asked(api, paid, alice, chat)["model"] == "of-default-agent"
    change(chat, agent=make_agent(alice, LLM.objects.get(name="of-agent")))
    assert asked(api, paid, alice, chat)["model"] == "of-agent"
    assert asked(api, paid, alice, chat, llm="openai/of-message")["model"] == "of-message"
    assert asked(api, paid, alice, chat, llm=None)["model"] == "of-agent"


def test_a_model_may_be_named_by_its_id(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn) -> None:
    assert asked(api, paid, alice, chat, llm=str(llm.pk))["model"] == "openai-test"


@pytest.mark.parametrize(
    "name", ["openai/nothing", "openai-test", "OpenAI/openai-test", "openai/openai-test/x", "", "x" * 251, 1, ["x"]]
)
def test_a_near_miss_is_no_match(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, name: Any
) -> None:
    assert_invalid(api.ask(alice, chat, llm=name), "llm")
    assert paid.requests == []


def test_how_an_answer_is_made_message_before_conversation_before_agent(
    api: Api, alice: Person, llm: LLM, paid: StandIn
) -> None:
    agent = make_agent(
        alice,
        llm,
        temperature=0.1,
        max_tokens=10,
        system_prompt="You count.",
        settings={"stop": ["A"], "max_tokens": 11},
    )
    chat = make_conversation(alice, agent=agent, context="In Latin.")
    sent = asked(api, paid, alice, chat)
    assert (sent["temperature"], sent["max_completion_tokens"], sent["stop"]) == (0.1, 10, ["A"])
    assert sent["messages"][0] == {"role": "system", "content": "You count.\n\nIn Latin."}
    change(chat, settings={"temperature": 0.2, "max_tokens": 20, "stop": None})
    sent = asked(api, paid, alice, chat)
    assert (sent["temperature"], sent["max_completion_tokens"], sent["stop"]) == (0.2, 20, ["A"])
    sent = asked(api, paid, alice, chat, temperature=0, max_tokens=30, stop=["B", "C"])
    assert (sent["temperature"], sent["max_completion_tokens"], sent["stop"]) == (0, 30, ["B", "C"])


def test_max_tokens_is_always_sent_and_never_more_than_all_limits(
    api: Api, alice: Person, chat: Conversation, paid: StandIn, settings: Any, rules: Any
) -> None:
    small = str(make_llm("openai", "small", max_output_tokens=300))
    large = str(make_llm("openai", "large"))
    assert asked(api, paid, alice, chat, llm=large)["max_completion_tokens"] == 4096
    settings.DEFAULT_MAX_TOKENS = 200
    assert asked(api, paid, alice, chat, llm=large)["max_completion_tokens"] == 200
    assert asked(api, paid, alice, chat, llm=large, max_tokens=10_000_000)["max_completion_tokens"] == 8192
    assert asked(api, paid, alice, chat, llm=small, max_tokens=1000)["max_completion_tokens"] == 300
    rules(max_tokens_cap=100)
    assert asked(api, paid, alice, chat, llm=small, max_tokens=1000)["max_completion_tokens"] == 100
    assert asked(api, paid, alice, chat, llm=small)["max_completion_tokens"] == 100
    assert asked(api, paid, alice, chat, llm=small, max_tokens=1)["max_completion_tokens"] == 1


def test_an_answer_fits_into_what_the_prompt_leaves_of_the_context(
    api: Api, alice: Person, chat: Conversation, paid: StandIn
) -> None:
    llm = str(make_llm("openai", "narrow", context_window=100, max_output_tokens=100))
    # “Hello”: two tokens and eight around the turn.
    assert asked(api, paid, alice, chat, llm=llm)["max_completion_tokens"] == 90
    error_of(api.ask(alice, chat, "x" * 4 * 92, llm=llm), 422, "context_length_exceeded")
    assert len(paid.requests) == 1


def test_a_model_that_is_not_allowed(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, rules: Any
) -> None:
    rules(allowed_models=["openai/other"])
    error_of(api.ask(alice, chat, llm=str(llm)), 403, "model_not_allowed")
    change(chat, agent=make_agent(alice, llm))
    error_of(api.ask(alice, chat), 403, "model_not_allowed")
    rules(allowed_models=["openai/openai-test"])
    assert asked(api, paid, alice, chat)["model"] == "openai-test"
    assert len(paid.requests) == 1


def test_a_retired_model(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn) -> None:
    LLM.objects.filter(pk=llm.pk).update(is_active=False)
    error = error_of(api.ask(alice, chat, llm=str(llm)), 422, "model_retired")
    assert set(error["details"]) == {"llm"}
    assert paid.requests == []


def test_a_default_model_that_is_gone_is_named(api: Api, alice: Person, paid: StandIn, rules: Any) -> None:
    rules(default_model="openai/gone")
    error = error_of(api.ask(alice, make_conversation(alice)), 422, "unknown_model")
    assert "openai/gone" in error["message"]


def test_a_retired_agent(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    chat = make_conversation(alice, agent=make_agent(alice, llm, is_active=False))
    error_of(api.ask(alice, chat), 422, "agent_inactive")
    assert paid.requests == []


def test_a_model_without_a_price_is_not_called(api: Api, alice: Person, chat: Conversation, paid: StandIn) -> None:
    LLM.objects.create(provider="openai", name="free", display_name="Free", context_window=1000, max_output_tokens=1000)
    error_of(api.ask(alice, chat, llm="openai/free"), 422, "no_price")
    assert paid.requests == []


def test_a_price_of_the_future_is_none_yet(api: Api, alice: Person, chat: Conversation, paid: StandIn) -> None:
    llm = LLM.objects.create(
        provider="openai", name="soon", display_name="Soon", context_window=1000, max_output_tokens=1000
    )
    LLMPrice.objects.create(
        llm=llm, effective_from=datetime(2200, 1, 1, tzinfo=UTC), input_usd_per_mtok=1, output_usd_per_mtok=1
    )
    error_of(api.ask(alice, chat, llm="openai/soon"), 422, "no_price")


def test_a_provider_without_a_key(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, settings: Any
) -> None:
    settings.PROVIDERS = {**settings.PROVIDERS, "openai": {"api_key": "", "base_url": ""}}
    error_of(api.ask(alice, chat, llm=str(llm)), 503, "provider_not_configured")
    assert paid.requests == []


def test_a_refusal_leaves_no_trace(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, rules: Any
) -> None:
    rules(allowed_models=["openai/other"])
    error_of(api.ask(alice, chat, llm=str(llm), key="k"), 403, "model_not_allowed")
    assert Message.objects.filter(workspace=alice.workspace).count() == 0
    assert alice.workspace.holds.count() == 0
    assert alice.workspace.idempotency_keys.count() == 0
