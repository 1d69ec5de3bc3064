"""/feedback: one's own, and what is public; admins see that there is more, but not what it says."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from conversations import feedback
from conversations.models import Conversation, MessageFeedback
from llm.models import LLM
from tests.api.asking import assert_invalid, change, make_agent, make_answer, make_conversation
from tests.people import Cast, Person

MODEL = "openai/openai-test"


def give(person: Person, chat: Conversation, **said: Any) -> str:
    """The id of new feedback of ``person`` on a new answer."""
    answer = make_answer(chat, model_used=said.pop("model", MODEL))
    return str(feedback.give(message=answer, user=person.user, **{"text": "Hm.", **said}).pk)


def found(person: Person, **query: Any) -> set[str]:
    response = person.get("feedback", **query)
    assert response.status_code == 200, response.content
    return {row["id"] for row in response.json()["results"]}


def row_of(person: Person, key: str) -> dict[str, Any]:
    (row,) = [row for row in person.get("feedback").json()["results"] if row["id"] == key]
    return row


def test_a_row(alice: Person, llm: LLM) -> None:
    chat = make_conversation(alice, agent=make_agent(alice, llm))
    key = give(alice, chat, thumb="down", stars=2, category="wrong", suggestion="Five.", is_public=True)
    stored = MessageFeedback.objects.get(workspace=alice.workspace)
    assert row_of(alice, key) == {
        "id": key,
        "message": str(stored.message_id),
        "conversation": str(chat.pk),
        "model": MODEL,
        "agent": str(chat.agent_id),
        "user": str(alice.user.pk),
        "thumb": "down",
        "stars": 2,
        "category": "wrong",
        "text": "Hm.",
        "suggestion": "Five.",
        "is_public": True,
        "is_negative": True,
        "review_status": "open",
        "created_at": stored.created_at.isoformat().replace("+00:00", "Z"),
        "updated_at": stored.updated_at.isoformat().replace("+00:00", "Z"),
    }


def test_who_sees_what(cast: Cast, dora: Person, victor: Person) -> None:
    alice, bob, charlie = cast
    shared, private = make_conversation(alice, is_shared=True), make_conversation(alice)
    public = give(alice, shared, is_public=True)
    hidden = give(alice, shared)
    public_on_private = give(alice, private, is_public=True)
    bobs = give(bob, shared)
    bobs_private = give(bob, make_conversation(bob))
    assert found(bob) == {public, bobs, bobs_private}
    assert found(victor) == {public}
    assert found(alice) == found(dora) == {public, hidden, public_on_private, bobs, bobs_private}
    assert found(charlie) == set()
    change(shared, status="deleted")
    assert found(bob) == {bobs, bobs_private}  # one's own stays one's own
    assert found(victor) == set()


def test_to_run_a_workspace_is_not_to_read_what_is_private(cast: Cast, dora: Person) -> None:
    alice, bob, _ = cast
    private = give(bob, make_conversation(bob), stars=1, text="Between us.", suggestion="Quietly.")
    public = give(bob, make_conversation(bob), is_public=True)
    shared = give(bob, make_conversation(alice, is_shared=True), text="You may read the answer, too.")
    for admin in (alice, dora):
        row = row_of(admin, private)
        assert (row["stars"], row["text"], row["suggestion"], row["review_status"]) == (1, None, None, "open")
        assert row_of(admin, public)["text"] == "Hm."
        assert row_of(admin, shared)["text"] == "You may read the answer, too."
    row = row_of(bob, private)
    assert (row["text"], row["suggestion"], row["review_status"]) == ("Between us.", "Quietly.", None)


def test_filters(cast: Cast, llm: LLM) -> None:
    alice, bob, _ = cast
    chat = make_conversation(alice, agent=make_agent(alice, llm), is_shared=True)
    up = give(alice, chat, thumb="up", stars=5, category="helpful", is_public=True)
    down = give(alice, make_conversation(alice), thumb="down", stars=1, category="unsafe", model="demo/demo")
    mute = give(bob, chat)
    for query, expected in (
        ({"thumb": "up"}, {up}),
        ({"stars": "1"}, {down}),
        ({"category": "unsafe"}, {down}),
        ({"is_public": "true"}, {up}),
        ({"negative": "true"}, {down}),
        ({"negative": "false"}, {up, mute}),
        ({"user": bob.user.pk}, {mute}),
        ({"model": "demo/demo"}, {down}),
        ({"agent": chat.agent_id}, {up, mute}),
        ({"thumb": "up", "negative": "true"}, set()),
        ({"start": "2020-01-01", "end": "2120-01-01T00:00:00+02:00"}, {up, down, mute}),
        ({"end": "2020-01-01"}, set()),
    ):
        assert found(alice, **query) == expected, query


def test_start_is_within_and_end_is_not(alice: Person) -> None:
    key = give(alice, make_conversation(alice))
    at = MessageFeedback.objects.get(workspace=alice.workspace).created_at.isoformat()
    assert found(alice, start=at) == {key}
    assert found(alice, end=at) == set()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("thumb", "sideways"), ("stars", "6"), ("stars", "4.5"), ("category", "funny"), ("is_public", "1"),
        ("negative", "yes"), ("user", "x"), ("agent", "x"), ("start", "yesterday"), ("end", "2026-13-01"),
        ("review_status", "open"), ("text", "x"),
    ],
)  # fmt: skip
def test_a_filter_that_is_not_understood_is_refused(alice: Person, name: str, value: str) -> None:
    for path in ("feedback", "feedback/export"):
        assert_invalid(alice.get(path, **{name: value}), name)


def test_pages_and_a_fixed_number_of_queries(alice: Person, llm: LLM) -> None:
    chat = make_conversation(alice, agent=make_agent(alice, llm))

    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert len(found(alice)) == len(given)
        assert not any('"messages"."content"' in query["sql"] for query in captured.captured_queries)
        return len(captured)

    given = [give(alice, chat)]
    count()  # which notes the use of the token
    few = count()
    given += [give(alice, chat) for _ in range(4)]
    assert count() == few == 3  # the token, the role, the rows
    page = alice.get("feedback", limit=3).json()
    assert [row["id"] for row in page["results"]] == given[:1:-1]
    assert page["next"]
