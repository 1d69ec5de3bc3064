"""Negative feedback waits for a review: when one opens, when it closes, and when it opens again."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from conversations import feedback
from conversations.models import Message, MessageFeedback
from synapscale.common.errors import Conflict, NotFound
from tests.api.asking import make_answer, make_conversation
from tests.people import Person


@pytest.fixture
def answer(alice: Person) -> Message:
    return make_answer(make_conversation(alice))


def stored(alice: Person) -> MessageFeedback:
    return MessageFeedback.objects.get(workspace=alice.workspace)


def change(alice: Person, answer: Message, **said: Any) -> MessageFeedback:
    feedback.change(message=answer, user=alice.user, **said)
    return stored(alice)


def alerted(alice: Person) -> None:
    MessageFeedback.objects.filter(workspace=alice.workspace).update(alerted_at=timezone.now())


def reviewed(alice: Person) -> None:
    rows = MessageFeedback.objects.filter(workspace=alice.workspace)
    assert feedback.close_reviews(rows, by=alice.user) == 1


@pytest.mark.parametrize("said", [{"thumb": "down"}, {"stars": 2}, {"category": "unsafe"}, {"category": "wrong"}])
def test_negative_feedback_opens_a_review(alice: Person, answer: Message, said: dict[str, Any]) -> None:
    feedback.give(message=answer, user=alice.user, **said)
    assert (stored(alice).review_status, stored(alice).alerted_at) == ("open", None)


@pytest.mark.parametrize("said", [{"thumb": "up"}, {"stars": 3}, {"category": "other"}, {"text": "No good."}])
def test_other_feedback_does_not(alice: Person, answer: Message, said: dict[str, Any]) -> None:
    feedback.give(message=answer, user=alice.user, **said)
    assert stored(alice).review_status == ""


def test_it_opens_and_closes_as_the_author_changes_their_mind(alice: Person, answer: Message) -> None:
    feedback.give(message=answer, user=alice.user, stars=5)
    assert change(alice, answer, stars=1).review_status == "open"
    alerted(alice)
    assert change(alice, answer, text="Really.").alerted_at is not None  # the same complaint
    closed = change(alice, answer, stars=4)
    assert (closed.review_status, closed.alerted_at) == ("", None)
    again = change(alice, answer, category="wrong")
    assert (again.review_status, again.alerted_at) == ("open", None)


def test_what_is_done_stays_done_until_it_is_judged_anew(alice: Person, answer: Message) -> None:
    feedback.give(message=answer, user=alice.user, stars=1)
    alerted(alice)
    reviewed(alice)
    done = change(alice, answer, text="Still.", stars=1)
    assert (done.review_status, done.reviewed_by) == ("done", alice.user)
    assert change(alice, answer, stars=5).review_status == "done"
    anew = change(alice, answer, stars=2)
    assert (anew.review_status, anew.reviewed_by, anew.reviewed_at, anew.alerted_at) == ("open", None, None, None)


def test_an_operator_opens_it_again_without_another_alert(alice: Person, answer: Message) -> None:
    feedback.give(message=answer, user=alice.user, stars=1)
    reviewed(alice)
    rows = MessageFeedback.objects.filter(workspace=alice.workspace)
    assert feedback.close_reviews(rows, by=alice.user) == 0
    assert feedback.reopen_reviews(rows) == 1
    assert (stored(alice).review_status, stored(alice).reviewed_by) == ("open", None)
    assert stored(alice).alerted_at is not None
    reviewed(alice)
    change(alice, answer, stars=5)
    assert feedback.reopen_reviews(rows) == 0  # there is nothing to complain about any more


def test_withdrawing_it_ends_its_review(alice: Person, answer: Message) -> None:
    feedback.give(message=answer, user=alice.user, stars=1)
    reviewed(alice)
    feedback.withdraw(message=answer, user=alice.user)
    for act in (feedback.withdraw, feedback.change):
        with pytest.raises(NotFound):
            act(message=answer, user=alice.user)
    feedback.give(message=answer, user=alice.user, stars=1)
    assert stored(alice).review_status == "open"


def test_two_changes_that_leave_nothing_are_refused(alice: Person, answer: Message) -> None:
    """Each of them left something, as it was when they looked."""
    feedback.give(message=answer, user=alice.user, stars=1, text="No.")
    feedback.change(message=answer, user=alice.user, stars=None)
    with pytest.raises(Conflict):
        feedback.change(message=answer, user=alice.user, text="")
    assert stored(alice).text == "No."
