"""Feedback is given, changed and withdrawn by its author; what is negative waits for a review.

A review opens when feedback becomes negative, and closes by itself when it is not any more. One that is done stays done,
whatever text is added, until its author judges anew and the judgement (thumb, stars, category) is negative again. Each
opening is alerted of once: see ``feedback_alerts``.
"""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from conversations import autotagging
from conversations.models import Message, MessageFeedback
from conversations.models.feedback import NEGATIVE
from synapscale.common.errors import Conflict, NotFound, Refusal
from workspaces.models import User

_REVIEW = ("review_status", "reviewed_by", "reviewed_at", "alerted_at")
Review = MessageFeedback.Review


def give(*, message: Message, user: User, **said: Any) -> MessageFeedback:
    """What ``user`` thinks of an answer. Raises Refusal where there is none to judge, and Conflict the second time."""
    if message.role != Message.Role.ASSISTANT or not message.is_final:
        raise Refusal("Feedback is for finished answers.", code="not_an_answer", status=422)
    feedback = MessageFeedback(workspace_id=message.workspace_id, message=message, user=user, **said)
    if feedback.is_negative:
        _open(feedback)
    try:
        with transaction.atomic():
            feedback.save(force_insert=True)
            _judged(message)
    except IntegrityError:
        raise Conflict("You gave feedback on this message already; change it.", code="feedback_exists") from None
    return feedback


def change(*, message: Message, user: User, **said: Any) -> MessageFeedback:
    """``user`` thinks otherwise. Only what was said is saved. Raises NotFound, or Conflict where nothing would be left of
    it because two changes came at once.
    """
    try:
        with transaction.atomic():
            # Locked: an operator may be closing the review at this moment.
            rows = MessageFeedback.objects.select_for_update(no_key=True)
            feedback = rows.filter(workspace_id=message.workspace_id, message=message, user=user).first()
            if feedback is None:
                raise NotFound("Not found.")
            before = feedback.judgement
            for name, value in said.items():
                setattr(feedback, name, value)
            _review_anew(feedback, is_new=feedback.judgement != before)
            feedback.save(update_fields=[*said, *_REVIEW, "updated_at"])
            _judged(message)
    except IntegrityError:
        raise Conflict("It was changed at this moment: look at it, and try again.", code="feedback_changed") from None
    return feedback


def withdraw(*, message: Message, user: User) -> None:
    """``user`` takes it back; its review goes with it. Raises NotFound."""
    with transaction.atomic():
        rows = MessageFeedback.objects.filter(workspace_id=message.workspace_id, message=message, user=user)
        if not rows.delete()[0]:
            raise NotFound("Not found.")
        _judged(message)


def close_reviews(rows: QuerySet[MessageFeedback], *, by: User) -> int:
    """Mark those of ``rows`` that wait for a review as reviewed; how many there were. Of any workspaces."""
    return rows.filter(review_status=Review.OPEN).update(
        review_status=Review.DONE, reviewed_by=by, reviewed_at=timezone.now()
    )


def reopen_reviews(rows: QuerySet[MessageFeedback]) -> int:
    """Put what was reviewed into the queue again, if it is negative still. Nobody is alerted a second time."""
    return rows.filter(NEGATIVE, review_status=Review.DONE).update(
        review_status=Review.OPEN, reviewed_by=None, reviewed_at=None, alerted_at=Coalesce("alerted_at", Now())
    )


def _review_anew(feedback: MessageFeedback, *, is_new: bool) -> None:
    if not feedback.is_negative:
        if feedback.review_status == Review.OPEN:
            feedback.review_status, feedback.alerted_at = "", None
    elif feedback.review_status == "" or (feedback.review_status == Review.DONE and is_new):
        _open(feedback)


def _open(feedback: MessageFeedback) -> None:
    feedback.review_status = Review.OPEN
    feedback.reviewed_by = feedback.reviewed_at = feedback.alerted_at = None


def _judged(message: Message) -> None:
    """What people think of ``message`` has changed, in this transaction: rules look at it again."""
    autotagging.mark(message, event="feedback")
