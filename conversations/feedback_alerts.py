"""Workspaces that ask for it are told by e-mail of negative feedback that waits for a review: that there is some, on which
models and of what kind, never what anybody asked, answered or wrote.

Driven by state (an open review that nobody was told of), in the background: no request waits for a mail server. What is to
be told is claimed first, in a short transaction, so that of several servers one sends; a mail that fails gives its claim
back, and is tried again on the next run. A process that is killed while it sends may leave a claim without a mail; the
feedback is in the review queue all the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.db.models import F, QuerySet, TextChoices
from django.utils import timezone
from django.utils.translation import gettext as _

from conversations.models import MessageFeedback
from synapscale.common import mailing
from synapscale.common.db import in_db, retry_transaction
from synapscale.common.tenancy import fleet_wide
from workspaces.models import Workspace

logger = logging.getLogger(__name__)
BATCH = 500
"""Feedback that one mail tells of; more of it waits for the next run."""
MAX_IDS = 20


@dataclass(slots=True)
class Report:
    """What one run did."""

    mails: int = 0
    told: int = 0
    """Pieces of feedback that the mails tell of."""
    failed: int = 0
    """Mails that could not be sent, and will be tried again."""

    def __str__(self) -> str:
        return f"{self.mails} sent about {self.told} pieces of feedback, {self.failed} failed"


@dataclass(frozen=True, slots=True)
class _Claim:
    """Feedback that nobody else tells ``workspace`` of."""

    workspace: Workspace
    rows: list[Any]
    claimed_at: datetime


async def send_due() -> Report:
    """Send a mail to each workspace that has something to be told."""
    report = Report()
    for workspace in await in_db(_waiting):
        claim = await in_db(retry_transaction, _claim, workspace)
        if claim is None:
            continue  # another process was faster
        try:
            await asyncio.to_thread(_send, claim)
        except Exception as error:
            await in_db(_give_back, claim)
            report.failed += 1
            if not isinstance(error, mailing.FAILURES):
                logger.exception("the feedback alert of workspace %s failed, will try again", workspace.pk)
                continue
            # Its name alone: what mail servers say may repeat addresses.
            logger.warning(
                "the feedback alert of workspace %s was not sent, will try again: %s",
                workspace.pk,
                type(error).__name__,
            )
            if not isinstance(error, mailing.REFUSED):
                break  # the mail server itself is in trouble, and would be for the next one
        else:
            report.mails += 1
            report.told += len(claim.rows)
    return report


def _waiting() -> list[Workspace]:
    with fleet_wide():
        due = MessageFeedback.objects.filter(review_status="open", alerted_at=None).order_by()
        told = Workspace.objects.exclude(feedback_alert_email="").filter(pk__in=due.values("workspace_id").distinct())
        return list(told.order_by("pk"))


def _due(workspace: Workspace) -> QuerySet[MessageFeedback]:
    return MessageFeedback.objects.filter(workspace=workspace, review_status="open", alerted_at=None)


def _claim(workspace: Workspace) -> _Claim | None:
    now = timezone.now()
    with transaction.atomic():
        # Whoever waits for the lock finds them alerted of.
        ids = list(_due(workspace).select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True)[:BATCH])
        _due(workspace).filter(pk__in=ids).update(alerted_at=now)
        said = MessageFeedback.objects.filter(workspace=workspace, pk__in=ids).order_by("pk")
        rows = list(said.values("pk", "thumb", "stars", "category", model=F("message__model_used")))
    return _Claim(workspace, rows, now) if rows else None


def _give_back(claim: _Claim) -> None:
    ids = [row["pk"] for row in claim.rows]
    told = MessageFeedback.objects.filter(workspace=claim.workspace, pk__in=ids, alerted_at=claim.claimed_at)
    told.update(alerted_at=None)


def _send(claim: _Claim) -> None:
    with mailing.language():
        subject, body = _subject(claim), _body(claim)
    message = EmailMessage(
        subject=f"[SynapScale] {subject}",
        body=body,
        to=[claim.workspace.feedback_alert_email],
        connection=get_connection(),
    )
    message.send()


def _subject(claim: _Claim) -> str:
    return _("Negative feedback in %(slug)s: %(count)d") % {"slug": claim.workspace.slug, "count": len(claim.rows)}


def _body(claim: _Claim) -> str:
    rows = claim.rows
    shown = [f"  {row['pk']}" for row in rows[:MAX_IDS]]
    more = ["  " + _("and %(count)d more") % {"count": len(rows) - MAX_IDS}] if len(rows) > MAX_IDS else []
    lines = [
        _("Negative feedback that waits for a review in the workspace %(slug)s: %(count)d.")
        % {"slug": claim.workspace.slug, "count": len(rows)},
        *_counts(_("Models"), (row["model"] or _("unknown") for row in rows)),
        *_counts(_("Stars"), (str(row["stars"]) for row in rows if row["stars"])),
        *_counts(_("Categories"), _labels(MessageFeedback.Category, (row["category"] for row in rows))),
        *_counts(_("Thumbs"), _labels(MessageFeedback.Thumb, (row["thumb"] for row in rows))),
        "",
        _("Feedback:"),
        *shown,
        *more,
        "",
        _("What was said is not in this mail: %(request)s shows what you may read of it.")
        % {"request": "GET /api/v1/feedback?negative=true"},
    ]
    return "\n".join(lines) + "\n"


def _labels(choices: type[TextChoices], values: Iterable[str]) -> list[str]:
    """Of those that are given. What was a choice once, and is none any more, is called as it is stored."""
    labels = dict(choices.choices)
    return [str(labels.get(value, value)) for value in values if value]


def _counts(title: str, values: Iterable[str]) -> list[str]:
    counted = Counter(values).most_common(20)
    return ["", f"{title}:", *(f"  {value}: {count}" for value, count in counted)] if counted else []
