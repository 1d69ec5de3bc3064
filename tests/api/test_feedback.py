"""/conversations/{id}/messages/{id}/feedback: one per user and answer."""

from __future__ import annotations

from typing import Any

import pytest

from conversations.models import Conversation, Message, MessageFeedback
from tests.api.asking import assert_invalid, error_of, make_answer, make_conversation
from tests.people import Cast, Person


@pytest.fixture
def answer(chat: Conversation) -> Message:
    return make_answer(chat)


def feedback(message: Message) -> str:
    return f"conversations/{message.conversation_id}/messages/{message.pk}/feedback"


def test_give(alice: Person, answer: Message) -> None:
    body = {
        "thumb": "up",
        "stars": 5,
        "category": "accurate",
        "text": "Right.",
        "suggestion": "Shorter.",
        "is_public": True,
    }
    response = alice.post(feedback(answer), body)
    assert response.status_code == 201, response.content
    stored = MessageFeedback.objects.get(workspace=alice.workspace)
    assert response.json() == {
        **body,
        "id": str(stored.pk),
        "message": str(answer.pk),
        "user": str(alice.user.pk),
        "created_at": stored.created_at.isoformat().replace("+00:00", "Z"),
        "updated_at": stored.updated_at.isoformat().replace("+00:00", "Z"),
    }
    assert alice.get(feedback(answer)).json() == response.json()


@pytest.mark.parametrize(
    "body", [{"thumb": "down"}, {"stars": 1}, {"category": "wrong"}, {"text": "No."}, {"suggestion": "Five."}]
)
def test_any_part_will_do(alice: Person, answer: Message, body: dict[str, Any]) -> None:
    response = alice.post(feedback(answer), body)
    assert response.status_code == 201
    assert body.items() <= response.json().items()


@pytest.mark.parametrize(
    "body", [{}, {"text": ""}, {"text": "  \n"}, {"is_public": True}, {"stars": None}, {"thumb": "", "category": ""}]
)
def test_empty_feedback_is_refused(alice: Person, answer: Message, body: dict[str, Any]) -> None:
    assert_invalid(alice.post(feedback(answer), body), "non_field_errors")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stars", 0),
        ("stars", 6),
        ("stars", -1),
        ("stars", 4.5),
        ("stars", 5.0),
        ("stars", "5"),
        ("stars", True),
        ("stars", 2**40),
        ("thumb", "sideways"),
        ("thumb", None),
        ("category", "funny"),
        ("text", "x" * 5001),
        ("text", None),
        ("suggestion", "x" * 5001),
        ("is_public", "maybe"),
        ("user", "x"),
        ("message", "x"),
        ("nothing", 1),
    ],
)
def test_a_wrong_value_is_refused_by_field(alice: Person, answer: Message, field: str, value: Any) -> None:
    assert_invalid(alice.post(feedback(answer), {"text": "Good.", field: value}), field)
    assert not MessageFeedback.objects.filter(workspace=alice.workspace).exists()


def test_one_per_user_and_message(alice: Person, answer: Message) -> None:
    assert alice.post(feedback(answer), {"stars": 5}).status_code == 201
    error_of(alice.post(feedback(answer), {"stars": 1}), 409, "feedback_exists")
    assert alice.get(feedback(answer)).json()["stars"] == 5
    assert alice.post(feedback(make_answer(answer.conversation)), {"stars": 1}).status_code == 201


def test_change(alice: Person, answer: Message) -> None:
    error_of(alice.patch(feedback(answer), {"stars": 2}), 404, "not_found")
    alice.post(feedback(answer), {"stars": 5, "text": "Good."})
    changed = alice.patch(feedback(answer), {"stars": 2})
    assert (changed.status_code, changed.json()["stars"], changed.json()["text"]) == (200, 2, "Good.")
    assert alice.patch(feedback(answer), {"stars": None}).json()["stars"] is None
    assert_invalid(alice.patch(feedback(answer), {"text": ""}), "non_field_errors")
    assert alice.get(feedback(answer)).json()["text"] == "Good."
    error_of(alice.put(feedback(answer), {"stars": 2}), 405, "method_not_allowed")


def test_take_back(alice: Person, answer: Message) -> None:
    error_of(alice.delete(feedback(answer)), 404, "not_found")
    alice.post(feedback(answer), {"stars": 5})
    assert alice.delete(feedback(answer)).status_code == 204
    error_of(alice.get(feedback(answer)), 404, "not_found")
    assert alice.post(feedback(answer), {"stars": 1}).status_code == 201


def test_each_has_their_own_on_a_shared_conversation(cast: Cast, victor: Person) -> None:
    answer = make_answer(make_conversation(cast.alice, is_shared=True))
    assert cast.alice.post(feedback(answer), {"stars": 5}).status_code == 201
    error_of(cast.bob.get(feedback(answer)), 404, "not_found")
    assert cast.bob.post(feedback(answer), {"stars": 1}).json()["user"] == str(cast.bob.user.pk)
    assert cast.bob.patch(feedback(answer), {"stars": 2}).json()["stars"] == 2
    assert cast.alice.get(feedback(answer)).json()["stars"] == 5
    assert cast.bob.delete(feedback(answer)).status_code == 204
    assert cast.alice.get(feedback(answer)).json()["stars"] == 5
    error_of(victor.post(feedback(answer), {"stars": 1}), 403, "permission_denied")
    error_of(cast.charlie.post(feedback(answer), {"stars": 1}), 404, "not_found")


def test_a_colleague_does_not_find_a_private_answer(cast: Cast, dora: Person, answer: Message) -> None:
    for person in (cast.bob, dora):
        for response in (person.get(feedback(answer)), person.post(feedback(answer), {"stars": 1})):
            error_of(response, 404, "not_found")


@pytest.mark.parametrize("fields", [{"role": "user"}, {"status": "pending"}, {"status": "streaming"}, {"role": "tool"}])
def test_only_finished_answers_are_judged(alice: Person, chat: Conversation, fields: dict[str, str]) -> None:
    error_of(alice.post(feedback(make_answer(chat, **fields)), {"stars": 1}), 422, "not_an_answer")


@pytest.mark.parametrize("status", ["error", "interrupted"])
def test_failed_answers_are_judged_too(alice: Person, chat: Conversation, status: str) -> None:
    assert alice.post(feedback(make_answer(chat, status=status)), {"thumb": "down"}).status_code == 201


def test_a_message_of_another_conversation_is_not_found(alice: Person, answer: Message) -> None:
    other = make_conversation(alice)
    error_of(alice.post(f"conversations/{other.pk}/messages/{answer.pk}/feedback", {"stars": 1}), 404, "not_found")
