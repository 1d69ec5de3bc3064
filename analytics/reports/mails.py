"""Links to runs, by e-mail: what a report is called and where it is, never what is in it. Of one that failed: why.

Driven by state: a mail that is due is claimed by moving its next try on, in a short transaction, so that of several
processes one sends; then it is sent, outside of any transaction, and noted as sent. One that fails is tried again, less and
less often. A process that dies while it sends may send one twice.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db.models import QuerySet
from django.utils import timezone

from analytics.models import ReportMail, ReportRun
from synapscale.common import mailing
from synapscale.common.tenancy import fleet_wide
from workspaces.models import Membership

logger = logging.getLogger(__name__)
MAX_TRIES = 10


@dataclass(slots=True)
class Sent:
    sent: int = 0
    failed: int = 0


def pause_after(tries: int) -> timedelta:
    """2, 4, 8 … minutes, at most six hours: ten tries take about a day."""
    return min(timedelta(minutes=2**tries), timedelta(hours=6))


def send_due(*, now: datetime | None, limit: int) -> Sent:
    """``now`` is for tests. Otherwise each mail is claimed from the moment when its turn comes: those before it may take
    longer than a claim lasts.
    """
    with fleet_wide():
        rows = ReportMail.objects.filter(next_try_at__lte=now or timezone.now())
        due = list(rows.select_related("run__report", "user", "workspace").order_by("next_try_at", "pk")[:limit])
    found = Sent()
    for mail in due:
        if not _claim(mail, now or timezone.now()):
            continue  # another process was faster
        if not _may_have(mail):
            _rows(mail).update(next_try_at=None)
            continue
        try:
            message_of(mail).send()
        except Exception as error:
            found.failed += 1
            if not isinstance(error, mailing.FAILURES):
                logger.exception("the link to run %s was not sent", mail.run_id)
                continue
            # Its name alone: what mail servers say may repeat addresses.
            logger.warning("the link to run %s was not sent: %s", mail.run_id, type(error).__name__)
            if not isinstance(error, mailing.REFUSED):
                break  # the mail server itself is in trouble, and would be for the next one
        else:
            found.sent += 1
            _rows(mail).update(mailed_at=timezone.now(), next_try_at=None)
    return found


def _rows(mail: ReportMail) -> QuerySet[ReportMail]:
    return ReportMail.objects.filter(workspace_id=mail.workspace_id, pk=mail.pk)


def _claim(mail: ReportMail, now: datetime) -> bool:
    tries = mail.tries + 1
    next_try_at = now + pause_after(tries) if tries < MAX_TRIES else None
    seen = _rows(mail).filter(next_try_at=mail.next_try_at)
    return bool(seen.update(tries=tries, next_try_at=next_try_at))


def _may_have(mail: ReportMail) -> bool:
    """Whether they are a member still."""
    return mail.user.is_active and Membership.objects.filter(workspace_id=mail.workspace_id, user=mail.user).exists()


def link_to(mail: ReportMail) -> str:
    path = f"/api/v1/analytics/reports/{mail.report_id}/runs/{mail.run_id}/download"
    return f"{settings.PUBLIC_URL}{path}?format={mail.run.format}"


def message_of(mail: ReportMail) -> EmailMessage:
    run, report = mail.run, mail.run.report
    # A name has no line breaks; should one get past that, it must not become a header.
    name = " ".join(report.name.split())
    if run.state == ReportRun.State.FAILED:
        subject, body = f"[SynapScale] Report failed: {name}", _of_failed(mail, name)
        return EmailMessage(subject=subject, body=body, to=[mail.user.email], connection=get_connection())
    body = (
        f"The report “{name}” of the workspace {mail.workspace.slug} has run.\n\n"
        f"From:   {run.start_at:%Y-%m-%d %H:%M} UTC\n"
        f"Until:  {run.end_at:%Y-%m-%d %H:%M} UTC\n\n"
        f"{link_to(mail)}\n\n"
        "It opens with an access token of yours, and shows what you may see.\n"
    )
    subject = f"[SynapScale] Report: {name}"
    return EmailMessage(subject=subject, body=body, to=[mail.user.email], connection=get_connection())


def _of_failed(mail: ReportMail, name: str) -> str:
    due = f", due at {mail.run.due_at:%Y-%m-%d %H:%M} UTC," if mail.run.due_at else ""
    return (
        f"The report “{name}” of the workspace {mail.workspace.slug}{due} has failed:\n\n"
        f"  {' '.join(mail.run.error.split())}\n\n"
        "It stays on its schedule. Whoever made it can change what it asks for (PATCH), or take it off its schedule; they,\n"
        "admins and owners can delete it (DELETE). If they have left, make one of your own:\n\n"
        f"{settings.PUBLIC_URL}/api/v1/analytics/reports/{mail.report_id}\n\n"
        "You are told once, and again only when it fails after it was changed, or had run.\n"
    )
