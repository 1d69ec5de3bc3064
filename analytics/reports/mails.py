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
from django.utils.translation import gettext as _

from analytics.models import ReportMail, ReportRun
from synapscale.common import mailing, stored_words
from synapscale.common.moments import moment
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
    # A name has no line breaks; should one get past that, it must not become a header.
    name = " ".join(mail.run.report.name.split())
    write = _of_failed if mail.run.state == ReportRun.State.FAILED else _of_done
    with mailing.language():
        subject, paragraphs = write(mail, name)
    return EmailMessage(
        subject=f"[SynapScale] {subject}",
        body="\n\n".join(paragraphs) + "\n",
        to=[mail.user.email],
        connection=get_connection(),
    )


def _of_done(mail: ReportMail, name: str) -> tuple[str, list[str]]:
    """Subject and paragraphs."""
    return _("Report: %(name)s") % {"name": name}, [
        _("The report “%(name)s” of the workspace %(slug)s has run.") % {"name": name, "slug": mail.workspace.slug},
        _("From:   %(start)s\nUntil:  %(end)s") % {"start": moment(mail.run.start_at), "end": moment(mail.run.end_at)},
        link_to(mail),
        _("It opens with an access token of yours, and shows what you may see."),
    ]


def _of_failed(mail: ReportMail, name: str) -> tuple[str, list[str]]:
    """Subject and paragraphs."""
    failed = (
        _("The report “%(name)s” of the workspace %(slug)s, due at %(due)s, has failed:")
        % {"name": name, "slug": mail.workspace.slug, "due": moment(mail.run.due_at)}
        if mail.run.due_at
        else _("The report “%(name)s” of the workspace %(slug)s has failed:")
        % {"name": name, "slug": mail.workspace.slug}
    )
    return _("Report failed: %(name)s") % {"name": name}, [
        failed,
        f"  {' '.join(stored_words.said(mail.run, 'error').split())}",
        _(
            "It stays on its schedule. Whoever made it can change what it asks for (PATCH), or take it off its schedule; "
            "they,\nadmins and owners can delete it (DELETE). If they have left, make one of your own:"
        ),
        f"{settings.PUBLIC_URL}/api/v1/analytics/reports/{mail.report_id}",
        _("You are told once, and again only when it fails after it was changed, or had run."),
    ]
