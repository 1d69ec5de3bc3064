"""Rules look at answers after they are settled: in the background, driven by state, never in the way of a message.

A message that rules are to look at says so itself (``autotag_due_at``), set in the statement that makes it final; so
nothing is lost in a crash, and looking twice does no harm. What fails is tried again, an hour later at the most.
"""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from conversations import topic_opinions
from conversations.models import Message, MessageFeedback, UsageLog
from conversations.tag_conditions import Facts
from synapscale.common.db import in_db, retry_transaction
from synapscale.common.money import ZERO
from synapscale.common.tenancy import fleet_wide
from tagging import rules
from tagging.links import Target
from tagging.models import TagRule
from workspaces.models import Workspace

logger = logging.getLogger(__name__)
BATCH = 20
"""Messages at a time, and workspaces take turns: one that has many does not keep the others waiting."""
_SOONEST, _LATEST = timedelta(minutes=1), timedelta(hours=1)
"""How long what failed waits for its next turn."""
_LEASE = timedelta(minutes=5)
"""How long a message is another process's while a model is asked about it."""


@dataclass(slots=True)
class Report:
    looked_at: int = 0
    failed: int = 0

    def __str__(self) -> str:
        return f"{self.looked_at} looked at, {self.failed} failed"


@dataclass(slots=True)
class _Work:
    """A message, what is known of it, and when it was due as it was read: whoever finds that unchanged may write."""

    message: Message
    facts: Facts
    due_at: datetime


def mark(message: Message, *, event: str) -> None:
    """Let rules look at ``message`` again, in the caller's transaction. A look that is due anyway sees it as well."""
    due = Message.objects.filter(workspace_id=message.workspace_id, pk=message.pk)
    if not due.filter(autotag_for="answer").update(autotag_due_at=timezone.now()):
        due.update(autotag_due_at=timezone.now(), autotag_for=event)


async def run_due(*, limit: int = 1000) -> Report:
    """Let the rules of each workspace look at what is due there, at most ``limit`` messages in all."""
    report = Report()
    waiting = await in_db(_workspaces)
    while waiting and report.looked_at + report.failed < limit:
        for workspace in list(waiting):
            if not await _one_batch(workspace, report):
                waiting.remove(workspace)
    return report


async def _one_batch(workspace: Workspace, report: Report) -> bool:
    """Whether there may be more."""
    active, batch = await in_db(_load, workspace)
    asks = any(rule.condition == topic_opinions.CONDITION for rule in active)
    for work in batch:
        try:
            is_new = work.message.autotag_for == "answer"
            if asks and is_new and work.facts.asked:
                if not await in_db(_claim, work):
                    continue
                work.facts.opinion = await topic_opinions.ask(work.facts.asked)
            await in_db(retry_transaction, _finish, workspace, active, work)
            report.looked_at += 1
        except Exception:  # one bad message must not keep the others from being looked at
            logger.exception("rules could not look at message %s, will try again", work.message.pk)
            report.failed += 1
            await in_db(_put_off, work)
    return len(batch) == BATCH


def _workspaces() -> list[Workspace]:
    with fleet_wide():
        due = Message.objects.filter(autotag_due_at__lte=timezone.now()).order_by()
        return list(Workspace.objects.filter(pk__in=due.values("workspace_id").distinct()).order_by("pk"))


def _load(workspace: Workspace) -> tuple[list[TagRule], list[_Work]]:
    """The rules that are switched on, and the messages that have waited longest. A fixed number of queries."""
    due = _due(workspace.pk).filter(autotag_due_at__lte=timezone.now())
    if not workspace.tags_automatically:
        due.update(autotag_due_at=None, autotag_for="")
        return [], []
    active = rules.active(workspace.pk)
    if not active:
        due.update(autotag_due_at=None, autotag_for="")
        return [], []
    found = due.select_related("reply_to", "conversation__agent").order_by("autotag_due_at")
    messages = list(found[:BATCH])
    return active, [
        _Work(message, facts, message.autotag_due_at)
        for message, facts in zip(messages, _facts(messages, workspace.pk), strict=True)
        if message.autotag_due_at is not None
    ]


def _due(workspace_id: uuid.UUID) -> QuerySet[Message]:
    return Message.objects.filter(workspace_id=workspace_id, autotag_due_at__isnull=False)


def _facts(messages: Iterable[Message], workspace_id: uuid.UUID) -> Iterable[Facts]:
    messages = list(messages)
    logs: dict[uuid.UUID, list[UsageLog]] = defaultdict(list)
    for log in UsageLog.objects.filter(workspace_id=workspace_id, message__in=messages).order_by("attempt"):
        logs[log.message_id].append(log)
    opinions = MessageFeedback.objects.filter(workspace_id=workspace_id, message__in=messages)
    disliked = {feedback.message_id for feedback in opinions if feedback.is_negative}
    for message in messages:
        question, agent = message.reply_to, message.conversation.agent
        used = logs[message.pk]
        yield Facts(
            question=question.content if question else "",
            answer=message.content,
            status=message.status,
            model=message.model_used,
            agent=agent.name if agent else "",
            agent_id=str(agent.pk) if agent else "",
            output_tokens=used[-1].output_tokens if used else 0,
            cost=sum((log.charged_usd for log in used), start=ZERO),
            has_image=bool(question and question.attachments),
            is_disliked=message.pk in disliked,
        )


def _claim(work: _Work) -> bool:
    """Keep other processes from asking a model about the same message: it costs something."""
    until = timezone.now() + _LEASE
    rows = _due(work.message.workspace_id).filter(pk=work.message.pk, autotag_due_at=work.due_at)
    is_ours = bool(rows.update(autotag_due_at=until))
    work.due_at = until
    return is_ours


@transaction.atomic
def _finish(workspace: Workspace, active: list[TagRule], work: _Work) -> None:
    message = work.message
    rows = _due(workspace.pk).filter(pk=message.pk, autotag_due_at=work.due_at)
    if not rows.update(autotag_due_at=None, autotag_for=""):
        return  # another process was faster, or there is something new to look at
    findings = rules.evaluate(active, work.facts, with_slow=message.autotag_for == "answer")
    rules.apply(
        findings,
        target=Target("message", message.pk),
        workspace_id=workspace.pk,
        threshold=workspace.autotag_threshold,
    )


def _put_off(work: _Work) -> None:
    """Try again later: the older the message, the later, within an hour. Never given up: an old message may have got
    feedback just now, or waited for a server that was down for days.
    """
    message, now = work.message, timezone.now()
    wait = min(max(now - message.updated_at, _SOONEST), _LATEST)
    _due(message.workspace_id).filter(pk=message.pk, autotag_due_at=work.due_at).update(autotag_due_at=now + wait)
