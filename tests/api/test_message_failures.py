"""A provider that fails: a clear error, a stored message, no charge, and no word of the provider's own."""

from __future__ import annotations

from typing import Any

import pytest

from conversations.models import Conversation, Message
from llm.models import LLM
from tests.api.asking import Api, balance, charges, error_of, messages_of, the_log
from tests.people import Person
from tests.providers.standins import Behaviour, StandIn, answer, fault, refusal

KEY = "sk-house-openai-0123456789abcdef"


@pytest.mark.parametrize(
    ("behaviour", "status", "code", "provider_status"),
    [
        (refusal(401, message="Incorrect API key: {key}"), 502, "provider_authentication_failed", 401),
        (refusal(403, message="{key} may not"), 502, "provider_permission_denied", 403),
        (refusal(404, message="{key}: no such model"), 502, "provider_model_not_found", 404),
        (refusal(400, message="bad {key}"), 422, "provider_request_refused", 400),
        (refusal(400, code="context_length_exceeded", message="{key}"), 422, "context_length_exceeded", 400),
        (refusal(429, message="slow down {key}"), 503, "provider_rate_limited", 429),
        (refusal(429, code="insufficient_quota", message="{key}"), 503, "provider_quota_exhausted", 429),
        (refusal(500, message="{key}"), 503, "provider_unavailable", 500),
        (refusal(503, message="{key}"), 503, "provider_unavailable", 503),
        (fault("cut"), 503, "provider_unavailable", None),
        (fault("malformed"), 502, "provider_error", None),
    ],
    ids=lambda value: getattr(value, "fault", None) or str(value)[:40],
)
def test_every_failure_has_its_status(
    api: Api,
    alice: Person,
    chat: Conversation,
    llm: LLM,
    paid: StandIn,
    behaviour: Behaviour,
    status: int,
    code: str,
    provider_status: int | None,
) -> None:
    paid.script(behaviour)
    response = api.ask(alice, chat, llm=str(llm))
    error = error_of(response, status, code)
    question, answer_ = Message.objects.filter(workspace=alice.workspace).order_by("id")
    assert error["details"] == {"message_id": str(answer_.pk), "reply_to": str(question.pk)}
    assert (answer_.status, answer_.error_code, answer_.error_message) == ("error", code, error["message"])
    log = the_log(alice.workspace)
    assert (log.status, log.cost_usd, log.charged_usd, log.total_tokens) == ("error", 0, 0, 0)
    assert (log.error_code, log.api_status_code) == (code, provider_status)
    assert charges(alice.workspace) == []
    assert balance(alice.workspace) == 1
    everything = response.text + api.get(alice, messages_of(chat)).text
    assert KEY not in everything
    assert "sk-house" not in everything
    assert "sk-house" not in str(Message.objects.filter(workspace=alice.workspace).values())


def test_a_provider_that_never_answers(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, settings: Any
) -> None:
    settings.LLM_TOTAL_TIMEOUT = 1
    paid.script(fault("hang"))
    error_of(api.ask(alice, chat, llm=str(llm)), 504, "provider_timeout")
    assert balance(alice.workspace) == 1
    assert the_log(alice.workspace).status == "error"


@pytest.mark.parametrize(("asked", "told"), [("7", "7"), ("0.5", "1"), ("6.2", "7")])
def test_how_long_a_provider_wants_to_be_left_alone_is_passed_on(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, asked: str, told: str
) -> None:
    paid.script(refusal(429, headers={"retry-after": asked}))
    response = api.ask(alice, chat, llm=str(llm))
    error_of(response, 503, "provider_rate_limited")
    assert response.headers["Retry-After"] == told


def test_a_failure_that_passes_is_tried_again(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, settings: Any
) -> None:
    settings.LLM_MAX_ATTEMPTS = 2
    paid.script(refusal(500), answer("There."))
    response = api.ask(alice, chat, llm=str(llm))
    assert (response.status_code, response.json()["message"]["content"]) == (201, "There.")
    assert len(paid.requests) == 2
    assert len(charges(alice.workspace)) == 1


def test_a_question_that_failed_is_not_told_again(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    paid.script(refusal(500))
    api.ask(alice, chat, "First try", llm=str(llm))
    assert api.ask(alice, chat, "Second try", llm=str(llm)).status_code == 201
    assert [turn["content"] for turn in paid.requests[1].body["messages"]] == ["Second try"]


def test_a_failed_message_is_shown_as_such(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn
) -> None:
    paid.script(refusal(401))
    api.ask(alice, chat, llm=str(llm))
    shown = api.get(alice, messages_of(chat), status="error").json()["results"]
    assert [(row["role"], row["error_code"], row["cost"]) for row in shown] == [
        ("assistant", "provider_authentication_failed", "0.00")
    ]
    assert shown[0]["usage"]["status"] == "error"
    conversation = api.get(alice, f"conversations/{chat.pk}").json()
    assert (conversation["message_count"], conversation["total_cost"]) == (2, "0.00")
