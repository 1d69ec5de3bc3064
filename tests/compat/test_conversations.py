"""Where a call is kept: the caller's own API calls, or a conversation that it names."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from conversations.models import Conversation, Message
from tests.api.asking import balance, make_conversation
from tests.api.test_tenancy import everything
from tests.compat.clients import HELLO, Clients, code_of, text_of
from tests.people import Cast, Person, fund
from tests.providers.standins import StandIn
from workspaces.models import Workspace


@pytest.fixture
def vendor() -> str:
    """One is enough: nothing here depends on whose model it is."""
    return "anthropic"


def test_calls_are_kept_in_a_conversation_of_their_own(
    clients: Clients, cast: Cast, model: str, sdk: str, paid: StandIn
) -> None:
    """One for each user, whatever protocol is spoken."""
    for person in (cast.alice, cast.alice, cast.bob):
        clients.ask(sdk, person, model)
    kept = Conversation.objects.filter(workspace=cast.alice.workspace).order_by("created_at")
    assert [(chat.user_id, chat.kind, chat.title, chat.message_count) for chat in kept] == [
        (cast.alice.user.pk, "api", "API calls", 4),
        (cast.bob.user.pk, "api", "API calls", 2),
    ]


def test_a_conversation_that_is_named(
    clients: Clients, alice: Person, chat: Conversation, model: str, sdk: str, paid: StandIn
) -> None:
    """What was asked and answered is appended; what is sent to the model is what the client sent, and no more."""
    for number in range(2):
        clients.ask(sdk, alice, model, metadata={"conversation_id": str(chat.pk), "trace": f"t-{number}"})
    rows = Message.objects.filter(workspace=alice.workspace, conversation=chat).order_by("id")
    assert [(row.role, row.content) for row in rows] == [
        ("user", "Hello"),
        ("assistant", "Hello from the stand-in."),
    ] * 2
    assert [row.metadata for row in rows] == [{"trace": "t-0"}, {}, {"trace": "t-1"}, {}]
    first, second = (request.body["messages"] for request in paid.requests)
    assert first == second == [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    chat.refresh_from_db()
    assert chat.message_count == 4


def test_a_whole_conversation_is_sent_and_its_last_turn_kept(
    clients: Clients, alice: Person, model: str, sdk: str, paid: StandIn
) -> None:
    turns: list[Any] = [*HELLO, {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "Bye."}]
    clients.ask(sdk, alice, model, messages=turns)
    (question,) = Message.objects.filter(workspace=alice.workspace, role="user")
    assert question.content == "Bye."
    assert all(text in str(paid.requests[0].body) for text in ("Hello", "Hi.", "Bye."))


@pytest.mark.parametrize("streams", [False, True])
def test_a_strangers_conversation(
    clients: Clients, cast: Cast, model: str, sdk: str, paid: StandIn, streams: bool
) -> None:
    """Charlie's workspace has money; still nothing happens, and he can't tell Alice's conversation from none."""
    fund(cast.charlie.workspace, "1")
    theirs = make_conversation(cast.alice, is_shared=True)
    before = everything()
    for named in (str(theirs.pk), str(uuid.uuid4())):
        error = clients.refused(
            "NotFoundError", sdk, cast.charlie, model, stream=streams, metadata={"conversation_id": named}
        )
        assert code_of(error) == "not_found"
        assert "There is no such conversation." in error.response.text
    assert everything() == before
    assert paid.requests == []


def test_a_colleagues_conversation(clients: Clients, cast: Cast, model: str, sdk: str, paid: StandIn) -> None:
    private, shared = make_conversation(cast.alice), make_conversation(cast.alice, is_shared=True)
    clients.refused("NotFoundError", sdk, cast.bob, model, metadata={"conversation_id": str(private.pk)})
    clients.ask(sdk, cast.bob, model, metadata={"conversation_id": str(shared.pk)})
    question = Message.objects.get(workspace=cast.alice.workspace, role="user")
    assert (question.conversation_id, question.user_id) == (shared.pk, cast.bob.user.pk)


def test_what_is_no_conversations_id(clients: Clients, alice: Person, model: str, sdk: str, paid: StandIn) -> None:
    error = clients.refused("BadRequestError", sdk, alice, model, metadata={"conversation_id": "42"})
    assert "metadata.conversation_id: This is not the id of a conversation." in error.response.text


def test_a_strangers_calls_are_his_own(clients: Clients, cast: Cast, model: str, sdk: str, paid: StandIn) -> None:
    fund(cast.charlie.workspace, "1")
    clients.ask(sdk, cast.charlie, model)
    assert balance(cast.alice.workspace) == 1
    assert str(balance(cast.charlie.workspace)) == "0.999980000000"
    assert not Conversation.objects.filter(workspace=cast.alice.workspace).exists()


def test_a_workspace_that_keeps_no_content(
    clients: Clients, alice: Person, model: str, sdk: str, paid: StandIn
) -> None:
    """The answer is given and charged; neither it nor the question is stored, and so it can't be given again."""
    Workspace.objects.filter(pk=alice.workspace.pk).update(keeps_api_content=False)
    paid.answer("A secret answer.", reasoning_text="A secret thought.")
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "A secret question."}], "key": "k"}
    assert text_of(clients.ask(sdk, alice, model, **asked)) == "A secret answer."
    assert "secret" not in str(everything())
    error = clients.refused("ConflictError", sdk, alice, model, retries=3, **asked)
    assert code_of(error) == "answer_not_kept"
    assert error.response.headers["x-should-retry"] == "false"
    assert len(paid.requests) == 1
    assert str(balance(alice.workspace)) == "0.999980000000"


def test_a_stream_that_is_not_kept(clients: Clients, alice: Person, model: str, sdk: str, paid: StandIn) -> None:
    Workspace.objects.filter(pk=alice.workspace.pk).update(keeps_api_content=False)
    paid.answer("A secret answer.")
    events = list(clients.ask(sdk, alice, model, stream=True))
    assert "answer" in str(events)
    assert "secret" not in str(everything())
