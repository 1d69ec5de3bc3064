"""Under WSGI (Django's test client is as good as one) no model is called: the call would die with its request."""

from __future__ import annotations

from typing import Any

import pytest

from conversations.models import Conversation, Message
from llm.models import LLM
from tests.api.asking import error_of, make_conversation, messages_of
from tests.people import Person
from tests.providers.standins import StandIn
from workspaces.models import UserVariable

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def chat(alice: Person) -> Conversation:
    return make_conversation(alice)


@pytest.mark.parametrize("stream", [False, True])
def test_a_message_is_refused_before_anything_is_reserved(
    alice: Person, bob: Person, charlie: Person, chat: Conversation, llm: LLM, house_keys: StandIn, stream: bool
) -> None:
    body: dict[str, Any] = {"content": "Hello", "llm": str(llm), "stream": stream}
    error = error_of(alice.post(messages_of(chat), body), 503, "needs_asgi")
    assert error["message"] == "Models are called by the ASGI server alone: serve synapscale.asgi."
    for stranger in (bob, charlie):
        error_of(stranger.post(messages_of(chat), body), 404, "not_found")
    assert house_keys.requests == []
    assert not Message.objects.filter(workspace=alice.workspace).exists()


def test_so_are_one_shots_and_the_trying_of_a_key(alice: Person, llm: LLM, house_keys: StandIn) -> None:
    error_of(alice.post("llm/generate", {"prompt": "Hello", "llm": str(llm)}), 503, "needs_asgi")
    key = UserVariable(user=alice.user, category="api_key", name="openai")
    key.set_value("sk-openai-0123456789")
    key.save()
    error_of(alice.post("user-variables/api-keys/openai/test"), 503, "needs_asgi")
    assert house_keys.requests == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": "Hello"}]}),
        ("messages", {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9}),
    ],
)
def test_so_are_the_protocols_of_the_vendors(
    alice: Person, llm: LLM, house_keys: StandIn, client: Any, path: str, body: dict[str, Any]
) -> None:
    response = client.post(
        f"/v1/{path}", {"model": str(llm), **body}, content_type="application/json", headers=alice.headers
    )
    assert response.status_code == 503
    assert "serve synapscale.asgi" in response.json()["error"]["message"]
    assert house_keys.requests == []


def test_reading_needs_no_asgi(alice: Person, chat: Conversation) -> None:
    assert alice.get(messages_of(chat)).json()["results"] == []
