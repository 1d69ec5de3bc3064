"""Workspaces are told of negative feedback: once, without its contents, and again when the mail server was away."""

from __future__ import annotations

import asyncio
import io
import logging
import smtplib
import socketserver
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command

from conversations import feedback, feedback_alerts
from conversations.models import MessageFeedback
from synapscale.common.tenancy import fleet_wide
from tests.api.asking import make_answer, make_conversation
from tests.people import Cast, Person, make_cast

pytestmark = pytest.mark.django_db(transaction=True)
WORDS = "words that nobody may read in a mail"


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast()


def complain(person: Person, *, to: str | None = "quality@example.org", **said: Any) -> MessageFeedback:
    """Negative feedback of ``person``, whose workspace wants to be told of it."""
    if to is not None:
        person.workspace.feedback_alert_email = to
        person.workspace.save(update_fields=["feedback_alert_email"])
    answer = make_answer(make_conversation(person, title=WORDS), WORDS, model_used="openai/openai-test")
    return feedback.give(message=answer, user=person.user, text=WORDS, **(said or {"stars": 1, "category": "wrong"}))


def send() -> str:
    return str(asyncio.run(feedback_alerts.send_due()))


def alerted() -> set[bool]:
    with fleet_wide():
        return {at is not None for at in MessageFeedback.objects.values_list("alerted_at", flat=True)}


def test_a_workspace_is_told_once_and_not_in_words(alice: Person) -> None:
    first, second = complain(alice), complain(alice, thumb="down")
    assert send() == "1 sent about 2 pieces of feedback, 0 failed"
    (sent,) = mail.outbox
    assert (sent.to, sent.subject) == (["quality@example.org"], "[SynapScale] Negative feedback in acme: 2")
    body = str(sent.body)
    for part in ("openai/openai-test: 2", "Wrong: 1", "Thumbs down: 1", str(first.pk), str(second.pk)):
        assert part in body
    assert "nobody may read" not in body + sent.subject
    assert send() == "0 sent about 0 pieces of feedback, 0 failed"
    assert len(mail.outbox) == 1


def test_what_is_no_choice_any_more_is_told_as_it_is_stored(alice: Person) -> None:
    """Feedback outlives the choices that it was given from."""
    said = complain(alice, stars=1)
    rows = MessageFeedback.objects.filter(workspace=said.workspace_id, pk=said.pk)
    rows.update(category="bygone", thumb="side")
    assert send() == "1 sent about 1 pieces of feedback, 0 failed"
    (sent,) = mail.outbox
    assert "  bygone: 1" in str(sent.body).splitlines()
    assert "  side: 1" in str(sent.body).splitlines()


def test_each_workspace_is_told_of_its_own(cast: Cast) -> None:
    complain(cast.alice), complain(cast.charlie, to="charlie@example.org")
    send()
    assert sorted(message.to[0] for message in mail.outbox) == ["charlie@example.org", "quality@example.org"]
    assert all(": 1" in message.subject for message in mail.outbox)


def test_who_did_not_ask_is_not_told_nor_of_what_is_no_complaint(cast: Cast) -> None:
    complain(cast.alice, to="")
    complain(cast.charlie, stars=5)
    assert send() == "0 sent about 0 pieces of feedback, 0 failed"
    reviewed = complain(cast.charlie)
    feedback.close_reviews(MessageFeedback.objects.filter(workspace=cast.charlie.workspace), by=cast.charlie.user)
    send()
    assert mail.outbox == []
    assert MessageFeedback.objects.get(workspace=reviewed.workspace_id, pk=reviewed.pk).alerted_at is None


def test_what_one_process_has_claimed_is_not_sent_by_another(alice: Person) -> None:
    complain(alice)
    assert feedback_alerts._claim(alice.workspace) is not None
    assert feedback_alerts._claim(alice.workspace) is None


def test_of_several_servers_one_sends(alice: Person) -> None:
    for _ in range(5):
        complain(alice)
    with ThreadPoolExecutor(4) as servers:
        said = list(servers.map(lambda _: send(), range(4)))
    assert len(mail.outbox) == 1
    assert sorted(said)[-1] == "1 sent about 5 pieces of feedback, 0 failed"


def test_a_mail_tells_of_so_much_and_the_next_one_of_the_rest(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback_alerts, "BATCH", 2)
    monkeypatch.setattr(feedback_alerts, "MAX_IDS", 1)
    for _ in range(3):
        complain(alice)
    send(), send(), send()
    assert [message.subject[-1] for message in mail.outbox] == ["2", "1"]
    assert "and 1 more" in str(mail.outbox[0].body)


@pytest.mark.parametrize(
    ("error", "failed"),
    [(ConnectionRefusedError(), 1), (smtplib.SMTPRecipientsRefused({}), 2), (ValueError("surprise"), 2)],
)
def test_a_mail_that_fails_is_tried_again(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, failed: int
) -> None:
    """A server that is away is away for the next workspace too; an address that is refused is one workspace's matter."""
    complain(cast.alice), complain(cast.charlie)

    def fail(claim: Any) -> None:
        raise error

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(feedback_alerts, "_send", fail)
        assert send() == f"0 sent about 0 pieces of feedback, {failed} failed"
        with pytest.raises(SystemExit):
            call_command("send_feedback_alerts", stdout=io.StringIO())
    assert "will try again" in caplog.text
    assert alerted() == {False}
    out = io.StringIO()
    call_command("send_feedback_alerts", stdout=out)
    assert out.getvalue() == "send_feedback_alerts: 2 sent about 2 pieces of feedback, 0 failed\n"
    assert alerted() == {True}


class _Dialogue(socketserver.StreamRequestHandler):
    """As much of SMTP as a client needs to leave a mail."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            word = line.split()[0].upper() if line.split() else b""
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                text = b""
                while (line := self.rfile.readline()) != b".\r\n":
                    text += line
                self.server.received.append(text.decode())  # type: ignore[attr-defined]
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 fine\r\n")


@pytest.fixture
def mail_server() -> Iterator[Any]:
    server: Any = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Dialogue)
    server.received, server.daemon_threads = [], True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_over_the_wire(alice: Person, mail_server: Any, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1  # nobody is there
    complain(alice)
    assert send() == "0 sent about 0 pieces of feedback, 1 failed"
    settings.EMAIL_PORT = mail_server.server_address[1]
    assert send() == "1 sent about 1 pieces of feedback, 0 failed"
    (received,) = mail_server.received
    for header in ("Subject: [SynapScale] Negative feedback in acme: 1", "To: quality@example.org"):
        assert header in received
    assert "nobody may read" not in received
