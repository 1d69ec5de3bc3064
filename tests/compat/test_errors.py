"""Every error as the exception of the SDK that it stands for, in the SDK's own shape, and what is tried again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import patch

import anthropic
import httpx2
import openai
import pytest
from django.db import OperationalError

from conversations import chat
from conversations.models import Message
from llm.models import LLM
from synapscale.common.money import usd_text
from tests.api.asking import make_conversation
from tests.compat.clients import HELLO, SDKS, Clients, code_of
from tests.conftest import wait_for
from tests.people import Person, fund
from tests.providers.standins import StandIn, fault, refusal
from workspaces.models import Workspace

ANTHROPIC = {"anthropic-version": "2023-06-01"}


@pytest.fixture
def vendor() -> str:
    """One is enough: nothing here depends on whose model it is."""
    return "anthropic"


def test_the_shape_at_openai(clients: Clients, alice: Person, paid: StandIn) -> None:
    error = clients.refused("NotFoundError", "openai", alice, "openai/gpt-none")
    assert error.response.json() == {
        "error": {
            "message": "The model “openai/gpt-none” does not exist.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
            "metadata": {},
            "request_id": error.request_id,
        }
    }


def test_the_shape_at_anthropic(clients: Clients, alice: Person, paid: StandIn) -> None:
    error = clients.refused("NotFoundError", "anthropic", alice, "claude-none")
    assert error.response.json() == {
        "type": "error",
        "error": {
            "type": "not_found_error",
            "message": "The model “claude-none” does not exist.",
            "code": "model_not_found",
            "details": {"error_code": "model_not_found", "model": ["Unknown."]},
        },
        "request_id": error.request_id,
    }
    assert error.response.headers["request-id"] == error.request_id


def test_a_wrong_key(clients: Clients, alice: Person, model: str, sdk: str, paid: StandIn) -> None:
    wrong = Person(alice.user, alice.workspace, alice.membership, "sk-syn-nobody")
    error = clients.refused("AuthenticationError", sdk, wrong, model)
    assert code_of(error) == "not_authenticated"
    assert error.response.headers["WWW-Authenticate"] == 'Bearer realm="api"'
    assert error.type == "authentication_error"


def test_a_viewer(clients: Clients, victor: Person, model: str, sdk: str, paid: StandIn) -> None:
    error = clients.refused("PermissionDeniedError", sdk, victor, model)
    assert error.type == "permission_error"


def test_a_model_that_is_not_allowed(
    clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn
) -> None:
    Workspace.objects.filter(pk=alice.workspace.pk).update(allowed_models=[str(models["openai"])])
    error = clients.refused("PermissionDeniedError", sdk, alice, str(models["google"]))
    assert code_of(error) == "model_not_allowed"


def test_a_model_that_is_retired(
    clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn
) -> None:
    LLM.objects.filter(pk=models["openai"].pk).update(is_active=False)
    error = clients.refused("BadRequestError", sdk, alice, str(models["openai"]))
    assert code_of(error) == "model_retired"


@pytest.mark.parametrize("streams", [False, True])
def test_no_money(
    clients: Clients, charlie: Person, model: str, sdk: str, house_keys: StandIn, audited: None, streams: bool
) -> None:
    """With how long an answer would be affordable; and never tried again, however often the client would."""
    fund(charlie.workspace, "0.00005")
    kind = "APIStatusError" if sdk == "openai" else "PaymentRequiredError"
    with patch("conversations.chat.admit", wraps=chat.admit) as admit:
        error = clients.refused(kind, sdk, charlie, model, retries=5, stream=streams)
    assert admit.call_count == 1
    assert (error.status_code, code_of(error)) == (402, "insufficient_balance")
    details = error.body["metadata"] if sdk == "openai" else error.body["error"]["details"]
    # 19 tokens of prompt are reserved; what is left pays for 15 of the answer.
    assert (details["reason"], details["available"], details["affordable_max_tokens"]) == ("balance", "0.00005", 15)
    assert error.type == {"openai": "insufficient_quota", "anthropic": "billing_error"}[sdk]
    assert error.response.headers["x-should-retry"] == "false"
    assert "Retry-After" not in error.response.headers
    assert house_keys.requests == []


def test_money_that_is_only_reserved(
    clients: Clients, charlie: Person, model: str, sdk: str, house_keys: StandIn, audited: None
) -> None:
    """It will be there soon, and the client is told when; but no SDK waits for money by itself."""
    fund(charlie.workspace, "0.0003")
    house_keys.answer(wait=2.0)
    kind = "APIStatusError" if sdk == "openai" else "PaymentRequiredError"
    with ThreadPoolExecutor() as pool:
        first = pool.submit(clients.ask, sdk, charlie, model)
        wait_for(lambda: len(house_keys.requests) == 1, "the first call")
        error = clients.refused(kind, sdk, charlie, model, retries=3)
        assert first.result().usage.cost == "0.00002"
    assert "in_flight_holds" in error.response.text
    assert error.response.headers["Retry-After"] == "2"
    assert error.response.headers["x-should-retry"] == "false"
    assert len(house_keys.requests) == 1


# what the provider did -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("status", "kind", "code", "is_tried_again"),
    [
        (500, {"openai": "InternalServerError", "anthropic": "OverloadedError"}, "provider_unavailable", True),
        (529, {"openai": "InternalServerError", "anthropic": "OverloadedError"}, "provider_unavailable", True),
        (429, {"openai": "InternalServerError", "anthropic": "OverloadedError"}, "provider_rate_limited", True),
        (
            401,
            {"openai": "InternalServerError", "anthropic": "InternalServerError"},
            "provider_authentication_failed",
            False,
        ),
        (
            403,
            {"openai": "InternalServerError", "anthropic": "InternalServerError"},
            "provider_permission_denied",
            False,
        ),
        (404, {"openai": "InternalServerError", "anthropic": "InternalServerError"}, "provider_model_not_found", False),
        (
            402,
            {"openai": "InternalServerError", "anthropic": "ServiceUnavailableError"},
            "provider_quota_exhausted",
            False,
        ),
        (400, {"openai": "BadRequestError", "anthropic": "BadRequestError"}, "provider_request_refused", False),
    ],
)
def test_a_provider_that_fails_at_once(
    clients: Clients,
    alice: Person,
    models: dict[str, LLM],
    sdk: str,
    paid: StandIn,
    status: int,
    kind: dict[str, str],
    code: str,
    is_tried_again: bool,
    streams: bool,
) -> None:
    """Plain or streamed, the call itself raises; nothing of the provider's words is told, and nothing is charged."""
    paid.always(refusal(status, message="boom {key}", code="x"))
    error = clients.refused(kind[sdk], sdk, alice, str(models["openai"]), stream=streams)
    assert code_of(error) == code
    assert "boom" not in error.response.text
    assert "sk-house" not in error.response.text
    assert (error.response.headers.get("x-should-retry") != "false") == is_tried_again
    message = Message.objects.get(workspace=alice.workspace, role="assistant")
    assert (message.status, message.error_code) == ("error", code)
    assert error.response.headers["x-synapscale-message-id"] == str(message.pk)
    if sdk == "openai":
        assert error.param is None  # no field is wrong
        assert error.body["metadata"]["message_id"] == str(message.pk)


def test_a_provider_that_asks_for_a_pause(
    clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn
) -> None:
    paid.script(refusal(429, headers={"retry-after": "1"}))
    response = clients.ask(sdk, alice, str(models["openai"]), retries=1)
    assert response.usage.cost == "0.00002"
    assert len(paid.requests) == 2


def test_what_can_not_help_is_not_tried_again(
    clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn
) -> None:
    paid.always(refusal(401))
    clients.refused("InternalServerError", sdk, alice, str(models["openai"]), retries=3)
    assert len(paid.requests) == 1


def test_an_answer_that_breaks_off_in_mid_stream(
    clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, paid: StandIn
) -> None:
    """The pieces come, then iterating raises; what came is charged as an estimate."""
    paid.always(fault("cut", after=3, chunks=["Hello", " world", " and", " more"]))
    stream = clients.ask(sdk, alice, str(models["openai"]), stream=True)
    events = []
    with pytest.raises(SDKS[sdk].APIError) as caught:
        events.extend(stream)
        pytest.fail("it did not break off")
    message = Message.objects.get(workspace=alice.workspace, role="assistant")
    assert (message.status, message.content) == ("interrupted", "Hello world")
    if sdk == "openai":
        assert caught.value.code == "provider_stream_interrupted"
        assert caught.value.body["metadata"]["message_id"] == str(message.pk)
    else:
        assert caught.value.error_code == "provider_stream_interrupted"
        assert caught.value.type == "api_error"
    log = message.usage_logs.get(workspace=alice.workspace)
    assert (log.status, log.is_estimate) == ("interrupted", True)
    told = caught.value.body["metadata"] if sdk == "openai" else caught.value.body["error"]["details"]
    # The prompt by its estimate, and 3 tokens for eleven bytes.
    assert told["cost"] == usd_text(log.charged_usd) == "0.000016"
    assert told["is_estimate"] is True


# what the client did, and what we did ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["chat/completions", "messages", "messages/count_tokens"])
@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        ("not json", "application/json", 400, "bad_request"),
        ("[1]", "application/json", 400, "bad_request"),
        ('{"a": NaN}', "application/json", 400, "bad_request"),
        ("{}", "application/json", 400, "invalid"),
        ("model=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        ("{}", "text/plain", 415, "unsupported_media_type"),
    ],
)
def test_a_body_that_is_none(
    clients: Clients, alice: Person, path: str, content: str, content_type: str, status: int, code: str
) -> None:
    headers = {**alice.headers, "Content-Type": content_type}
    response = httpx2.post(f"{clients.url}/v1/{path}", content=content, headers=headers, timeout=30)
    assert response.status_code == status
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    assert response.headers["x-should-retry"] == "false"
    assert response.headers["request-id"] == response.headers["x-request-id"]


def test_a_body_that_is_too_large(
    clients: Clients, alice: Person, model: str, sdk: str, paid: StandIn, settings: Any
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    kind = "APIStatusError" if sdk == "openai" else "ContentTooLargeError"
    error = clients.refused(kind, sdk, alice, model, metadata={"a": "x" * 500, "b": "x" * 500})
    assert (error.status_code, code_of(error)) == (413, "request_too_large")


@pytest.mark.parametrize(
    "path", ["chat/completions", "messages", "messages/count_tokens", "models", "key", "dashboard/billing/usage"]
)
@pytest.mark.parametrize("headers", [{}, ANTHROPIC])
def test_a_wrong_method(clients: Clients, alice: Person, path: str, headers: dict[str, str]) -> None:
    method = "GET" if path.startswith(("chat", "messages")) else "DELETE"
    response = httpx2.request(method, f"{clients.url}/v1/{path}", headers={**alice.headers, **headers}, timeout=30)
    assert response.status_code == 405
    body = response.json()
    assert (body["error"]["type"], body["error"]["code"]) == ("invalid_request_error", "method_not_allowed")
    assert ("type" in body) == (path.startswith("messages") or (bool(headers) and path != "chat/completions"))


@pytest.mark.parametrize(
    "path", ["responses", "embeddings", "completions", "files", "messages/batches", "", "v1/models"]
)
def test_an_address_that_is_none(clients: Clients, alice: Person, path: str) -> None:
    for headers in ({}, ANTHROPIC):
        response = clients.post(alice, path, {}, **headers)
        assert response.status_code == 404
        body = response.json()
        assert body["error"]["code"] == "not_found"
        assert ("type" in body) == bool(headers)
    with pytest.raises(openai.NotFoundError, match="/v1/chat/completions and /v1/messages"):
        clients.openai(alice).embeddings.create(model="x", input="x")


def test_a_base_url_that_says_v1_twice(clients: Clients, alice: Person, model: str) -> None:
    client = anthropic.Anthropic(base_url=f"{clients.url}/v1", api_key=alice.token, max_retries=0)
    with pytest.raises(anthropic.NotFoundError, match="“/v1” twice"):
        client.messages.create(model=model, messages=HELLO, max_tokens=1)


def test_a_database_that_is_away(clients: Clients, alice: Person, model: str, sdk: str, paid: StandIn) -> None:
    with patch("workspaces.authentication.caller_of", side_effect=OperationalError("secret host is down")):
        kind = "InternalServerError" if sdk == "openai" else "ServiceUnavailableError"
        error = clients.refused(kind, sdk, alice, model)
    assert (error.status_code, code_of(error)) == (503, "database_unavailable")
    assert error.response.headers["Retry-After"] == "5"
    assert "x-should-retry" not in error.response.headers
    assert "secret" not in error.response.text


@pytest.mark.parametrize("where", ["conversations.chat.admit", "conversations.compat.views.served"])
def test_a_mistake_of_ours(clients: Clients, alice: Person, model: str, sdk: str, paid: StandIn, where: str) -> None:
    """It says nothing about itself, and is not tried again: what was done may be charged already."""
    with patch(where, side_effect=ZeroDivisionError("secret")) as mistake:
        error = clients.refused("InternalServerError", sdk, alice, model, retries=2)
    assert (error.status_code, code_of(error)) == (500, "internal_error")
    assert mistake.call_count == 1
    assert "secret" not in error.response.text
    assert "ZeroDivision" not in error.response.text


@pytest.mark.parametrize(
    ("error", "code"),
    [(ZeroDivisionError("secret"), "internal_error"), (OperationalError("secret"), "answer_not_stored_yet")],
)
def test_a_mistake_at_the_end_of_a_stream(
    clients: Clients, alice: Person, model: str, sdk: str, paid: StandIn, error: Exception, code: str
) -> None:
    with (
        patch("conversations.compat.views.served", side_effect=error),
        pytest.raises(SDKS[sdk].APIError) as caught,
    ):
        list(clients.ask(sdk, alice, model, stream=True))
    assert code_of(caught.value) == code
    assert "secret" not in str(caught.value)


def test_a_database_that_goes_away_before_the_answer_is_told(
    clients: Clients, alice: Person, model: str, sdk: str, paid: StandIn
) -> None:
    """The answer is charged: to ask again would be charged again."""
    with (
        patch("conversations.compat.views.served", side_effect=OperationalError("away")),
        pytest.raises(SDKS[sdk].APIStatusError) as caught,
    ):
        clients.ask(sdk, alice, model, retries=3)
    assert caught.value.status_code == 503
    assert code_of(caught.value) == "answer_not_stored_yet"
    assert len(paid.requests) == 1


def test_the_demo_needs_no_provider(
    clients: Clients, alice: Person, models: dict[str, LLM], sdk: str, settings: Any, paid: StandIn
) -> None:
    settings.PROVIDERS = {name: {"api_key": "", "base_url": ""} for name in settings.PROVIDERS}
    assert clients.ask(sdk, alice, str(models["demo"])).usage.cost
    kind = {"openai": "InternalServerError", "anthropic": "ServiceUnavailableError"}[sdk]
    error = clients.refused(kind, sdk, alice, str(models["openai"]), retries=2)
    assert code_of(error) == "provider_not_configured"
    assert error.response.headers["x-should-retry"] == "false"


def test_an_archived_conversation(clients: Clients, alice: Person, model: str, sdk: str, paid: StandIn) -> None:
    archived = make_conversation(alice, status="archived")
    named = {"metadata": {"conversation_id": str(archived.pk)}}
    error = clients.refused("ConflictError", sdk, alice, model, retries=2, **named)
    assert code_of(error) == "conversation_archived"
    assert error.response.headers["x-should-retry"] == "false"
