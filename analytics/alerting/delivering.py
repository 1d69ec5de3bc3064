"""Sends what lies in the outbox, and tries again what could not be sent: after 10 seconds, then after twice as long each
time up to an hour, for a day.

A row is claimed by one conditional UPDATE with a lease before it is sent, so of several servers one sends it; a server
that dies meanwhile lets the lease run out. No transaction and no connection is held while anybody is waited for. A row may
be sent twice where a server dies between sending and saying so: receivers tell by ``webhook-id``.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.mail import EmailMessage, get_connection
from django.db.models import F, Q, Window
from django.db.models.functions import RowNumber
from django.utils import timezone
from django.utils.translation import gettext_noop

from analytics.alerting import payloads, webhooks
from analytics.alerting.outbox import GIVE_UP_AFTER
from analytics.alerting.webhooks import Answer
from analytics.models import AlertDelivery, WebhookEndpoint
from llm import hosts
from synapscale.common import mailing, stored_words
from synapscale.common.db import in_db
from synapscale.common.tenancy import fleet_wide

logger = logging.getLogger(__name__)

BATCH = 500
AT_ONCE = 10
RUN_SECONDS = 30.0
"""After so long no more attempts are begun: the next run looks anew at whose turn it is."""
LEASE = timedelta(minutes=2)
"""Longer than any attempt takes."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(hours=1)
NOTED_EVERY = timedelta(minutes=1)
NOT_MADE = gettext_noop("It could not be made: %(kind)s.")
MAIL_SERVER = gettext_noop("The mail server: %(kind)s.")
for _column in ("AlertDelivery", "WebhookEndpoint"):
    stored_words.register(
        f"analytics.{_column}.last_error",
        *(NOT_MADE, MAIL_SERVER, webhooks.NO_ANSWER, webhooks.STATUS, hosts.TOO_LONG),
    )
_mailing = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="mailing")
"""Of their own: a mail server that hangs would hold the threads on which calls look up their vendors."""


@dataclass(slots=True)
class Report:
    """What one run did."""

    sent: int = 0
    postponed: int = 0
    """Attempts that failed and will be made again. That is the receivers' trouble, not a failure of the run."""
    given_up: int = 0

    def __str__(self) -> str:
        return f"{self.sent} sent, {self.postponed} to be tried again, {self.given_up} given up"


def pause_after(attempts: int) -> timedelta:
    """How long to wait after the so many-th attempt has failed."""
    return min(FIRST_PAUSE * 2 ** min(attempts - 1, 20), LONGEST_PAUSE)


async def deliver_due(*, now: datetime | None = None) -> Report:
    """Send what is due, a few at once, and to each address one before to any a second: who is slow, or has much to be
    told, keeps nobody else waiting. ``now`` is for tests.
    """
    report, turns = Report(), asyncio.Semaphore(AT_ONCE)

    async def deliver(workspace_id: uuid.UUID, pk: uuid.UUID) -> None:
        async with turns:
            if time.monotonic() - begun > RUN_SECONDS:
                return  # the next run's
            delivery = await in_db(_claim, workspace_id, pk, now or timezone.now())
            if delivery is None:
                return  # another process was faster
            answer = await _send(delivery)
            state = await in_db(_finish, delivery, answer, now or timezone.now())
        report.sent += state == AlertDelivery.State.SENT
        report.postponed += state == AlertDelivery.State.PENDING
        report.given_up += state == AlertDelivery.State.FAILED

    due = await in_db(_due, now or timezone.now())
    begun = time.monotonic()
    outcomes = await asyncio.gather(*(deliver(*one) for one in due), return_exceptions=True)
    for outcome in outcomes:  # all have been waited for: what one met is no other's trouble
        if isinstance(outcome, BaseException):
            raise outcome
    return report


def _is_due(now: datetime) -> Q:
    is_free = Q(leased_until=None) | Q(leased_until__lte=now)
    return Q(is_free, state=AlertDelivery.State.PENDING, next_attempt_at__lte=now)


def _due(now: datetime) -> list[tuple[uuid.UUID, uuid.UUID]]:
    with fleet_wide():
        turn = Window(
            RowNumber(), partition_by=["workspace", "endpoint", "recipient"], order_by=["next_attempt_at", "pk"]
        )
        rows = AlertDelivery.objects.filter(_is_due(now)).annotate(turn=turn).order_by("turn", "next_attempt_at", "pk")
        return list(rows.values_list("workspace_id", "pk")[:BATCH])


def _claim(workspace_id: uuid.UUID, pk: uuid.UUID, now: datetime) -> AlertDelivery | None:
    """The delivery, which nobody else sends until its lease runs out; None where somebody else has it, or has sent it."""
    row = AlertDelivery.objects.filter(workspace_id=workspace_id, pk=pk)
    if not row.filter(_is_due(now)).update(leased_until=now + LEASE, attempts=F("attempts") + 1):
        return None
    return row.select_related("endpoint", "workspace").first()  # none where its endpoint has just been deleted


async def _send(delivery: AlertDelivery) -> Answer:
    """What nobody foresaw is a failed attempt like any other: it would be tried for ever, were it not noted."""
    try:
        if delivery.endpoint is None:
            return await asyncio.get_running_loop().run_in_executor(_mailing, _mail, delivery)
        if not delivery.endpoint.is_active:
            return Answer(error=gettext_noop("The endpoint is switched off."))
        return await webhooks.post(delivery.endpoint, delivery.payload, message_id=message_id(delivery))
    except Exception as error:
        logger.exception("alert delivery %s broke off", delivery.pk)
        return Answer(error=NOT_MADE % {"kind": type(error).__name__})


def message_id(delivery: AlertDelivery) -> str:
    """The same for each attempt, so that receivers can tell what they have had."""
    return f"msg_{delivery.pk.hex}"


def _mail(delivery: AlertDelivery) -> Answer:
    subject, text = payloads.mail(delivery.payload, delivery.workspace)
    try:
        EmailMessage(subject=subject, body=text, to=[delivery.recipient], connection=get_connection()).send()
    except mailing.FAILURES as error:
        # Its name alone: what mail servers say may repeat addresses.
        return Answer(error=MAIL_SERVER % {"kind": type(error).__name__})
    return Answer()


def _finish(delivery: AlertDelivery, answer: Answer, now: datetime) -> str | None:
    """Write down what became of an attempt: the state of the delivery, None where the lease has run out meanwhile."""
    state = AlertDelivery.State.SENT
    if answer.error:
        is_last = now >= delivery.give_up_at
        state = AlertDelivery.State.FAILED if is_last else AlertDelivery.State.PENDING
        logger.log(
            logging.ERROR if is_last else logging.WARNING,
            "alert delivery %s failed (attempt %d): %s",
            delivery.pk,
            delivery.attempts,
            answer.error,
        )
    mine = AlertDelivery.objects.filter(
        workspace_id=delivery.workspace_id, pk=delivery.pk, leased_until=delivery.leased_until
    )
    is_written = mine.filter(state=AlertDelivery.State.PENDING).update(
        state=state,
        leased_until=None,
        last_error=answer.error,
        sent_at=now if state == AlertDelivery.State.SENT else None,
        next_attempt_at=now + pause_after(delivery.attempts),
    )
    if delivery.endpoint is not None:
        note(delivery.endpoint, answer, now)
    return state if is_written else None


def note(endpoint: WebhookEndpoint, answer: Answer, now: datetime) -> None:
    """Keep how an endpoint does; at most once a minute where nothing changes, for its table takes no hot writes."""
    is_news = (endpoint.last_status, endpoint.last_error) != (answer.status, answer.error)
    is_old = endpoint.last_attempt_at is None or now - endpoint.last_attempt_at >= NOTED_EVERY
    if is_news or is_old:
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(
            last_status=answer.status, last_error=answer.error, last_attempt_at=now
        )


def send_again(delivery: AlertDelivery) -> bool:
    """Put one that was given up, or waits for its next attempt, at the head of the queue, for another day. Whether that
    was possible: what has been sent, or is being sent, is left alone.
    """
    now = timezone.now()
    rows = AlertDelivery.objects.filter(workspace_id=delivery.workspace_id, pk=delivery.pk)
    waiting = rows.exclude(state=AlertDelivery.State.SENT).filter(Q(leased_until=None) | Q(leased_until__lte=now))
    changed = waiting.update(
        state=AlertDelivery.State.PENDING, attempts=0, next_attempt_at=now, give_up_at=now + GIVE_UP_AFTER
    )
    return bool(changed)
