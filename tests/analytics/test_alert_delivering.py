"""The outbox: sent once, signed, and tried again for a day."""

from __future__ import annotations

import asyncio
import html
import smtplib
import socket
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.db import OperationalError
from django.test import Client
from django.utils import timezone, translation

from analytics.alerting import delivering, webhooks
from analytics.alerting.delivering import pause_after
from analytics.models import AlertDelivery, AlertRule, WebhookEndpoint
from tests.analytics.alerting import Listener, deliver, deliveries, documented_verify, make_endpoint, make_rule
from tests.analytics.outgoing import fire, hooked
from tests.people import Cast, join
from tests.resolver import Resolver, resolver
from tests.together import at_once
from workspaces import system
from workspaces.models import User, Workspace

__all__ = ["hooked", "resolver"]
pytestmark = pytest.mark.django_db(transaction=True)


def test_a_delivery_is_signed_and_made_once(hooked: Any, listener: Listener) -> None:
    delivery, endpoint, secret = hooked
    assert str(deliver()) == "1 sent, 0 to be tried again, 0 given up"
    assert str(deliver()) == "0 sent, 0 to be tried again, 0 given up"
    (got,) = listener.received
    assert documented_verify()(secret, got.headers, got.body)
    assert got.headers["webhook-id"] == f"msg_{delivery.pk.hex}"
    assert (got.path, got.headers["content-type"], got.headers["user-agent"]) == (
        "/hook",
        "application/json",
        "SynapScale",
    )
    assert {"authorization", "cookie"} & set(got.headers) == set()
    assert got.document == delivery.payload
    (stored,) = deliveries()
    assert (stored.state, stored.attempts, stored.leased_until, stored.last_error) == ("sent", 1, None, "")
    endpoint.refresh_from_db()
    assert (endpoint.last_status, endpoint.last_error) == (204, "")


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of its specification."""
    secret = "whsec_plJ3nmyCDGBKInavdOK15jsl"
    body = b'{"event_type":"ping","data":{"success":true}}'
    assert webhooks.signature(secret, "msg_loFOjxBNrRLzqYUf", 1731705121, body) == (
        "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="
    )


def test_a_receiver_that_fails_is_tried_again_with_longer_and_longer_pauses(hooked: Any, listener: Listener) -> None:
    listener.answers.extend([(500, {}), (503, {}), (404, {})])
    now = timezone.now()
    pauses = []
    for attempt in range(1, 4):
        assert str(deliver(now)) == "0 sent, 1 to be tried again, 0 given up"
        (stored,) = deliveries()
        pauses.append((stored.next_attempt_at - now).total_seconds())
        assert (stored.state, stored.attempts) == ("pending", attempt)
        assert str(deliver(stored.next_attempt_at - timedelta(seconds=1))) == "0 sent, 0 to be tried again, 0 given up"
        now = stored.next_attempt_at
    assert stored.last_error == "It answered with status 404."
    assert pauses == [10, 20, 40]
    assert str(deliver(now)) == "1 sent, 0 to be tried again, 0 given up"
    assert len({got.headers["webhook-id"] for got in listener.received}) == 1
    assert len({got.body for got in listener.received}) == 1


def test_pauses_end_at_an_hour() -> None:
    assert [int(pause_after(attempts).total_seconds()) for attempts in (1, 2, 8, 9, 10, 11, 1000)] == [
        10, 20, 1280, 2560, 3600, 3600, 3600,
    ]  # fmt: skip


def test_after_a_day_it_is_given_up_until_somebody_sends_it_again(hooked: Any, listener: Listener) -> None:
    delivery, _, _ = hooked
    listener.answers.append((500, {}))
    assert str(deliver(delivery.give_up_at + timedelta(seconds=1))) == "0 sent, 0 to be tried again, 1 given up"
    assert str(deliver(delivery.give_up_at + timedelta(days=9))) == "0 sent, 0 to be tried again, 0 given up"
    assert deliveries()[0].state == "failed"
    assert delivering.send_again(delivery)
    assert deliver().sent == 1
    assert not delivering.send_again(delivery)


def test_of_several_workers_one_sends(cast: Cast, listener: Listener) -> None:
    make_endpoint(cast.alice.workspace, listener.url)
    for _ in range(5):
        fire(cast.alice.workspace)
    reports = at_once(4, lambda number: deliver())
    assert sum(report.sent for report in reports) == 10  # five posts, five mails
    assert len(listener.received) == len({got.headers["webhook-id"] for got in listener.received}) == 5
    assert len(mail.outbox) == 5


def test_a_lease_that_ran_out_is_taken_over_and_its_late_holder_changes_nothing(hooked: Any) -> None:
    delivery, _, _ = hooked
    now = timezone.now()
    mine = delivering._claim(delivery.workspace_id, delivery.pk, now)
    assert mine is not None
    assert delivering._claim(delivery.workspace_id, delivery.pk, now + timedelta(seconds=119)) is None
    assert not delivering.send_again(delivery)
    theirs = delivering._claim(delivery.workspace_id, delivery.pk, now + delivering.LEASE)
    assert theirs is not None
    assert delivering._finish(theirs, webhooks.Answer(204), now) == "sent"
    assert delivering._finish(mine, webhooks.Answer(500, "late"), now) is None
    assert [(row.state, row.attempts, row.last_error) for row in deliveries()] == [("sent", 2, "")]


def test_what_can_not_be_made_is_given_up_after_a_day_too(cast: Cast) -> None:
    """A document of another version, say."""
    fire(cast.alice.workspace)
    fire(cast.alice.workspace)
    broken = deliveries()[0]
    rows = AlertDelivery.objects.filter(workspace=broken.workspace_id, pk=broken.pk)
    rows.update(payload={"type": "alert.unheard-of"})
    assert str(deliver()) == "1 sent, 1 to be tried again, 0 given up"
    assert rows.get().last_error == "It could not be made: KeyError."
    assert str(deliver(broken.give_up_at + timedelta(seconds=1))) == "0 sent, 0 to be tried again, 1 given up"


def test_an_endpoint_that_is_switched_off_gets_nothing(hooked: Any, listener: Listener) -> None:
    _, endpoint, _ = hooked
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(is_active=False)
    assert deliver().postponed == 1
    assert (listener.received, deliveries()[0].last_error) == ([], "The endpoint is switched off.")


@pytest.mark.parametrize(
    ("url", "english", "portuguese"),
    [
        ("https://user:pass@hooks.example/", "The URL carries neither a user", "A URL não leva usuário nem senha"),
        ("https://hooks.example/x", "The host's address is not a public one.", "O endereço do host não é público."),
    ],
)
def test_why_an_address_is_refused_is_stored_in_english_and_read_in_the_language_that_is_spoken(
    hooked: Any, client: Client, resolver: Resolver, url: str, english: str, portuguese: str
) -> None:
    _, endpoint, _ = hooked
    resolver.answer("hooks.example", ["10.0.0.1"])
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(url=url, allows_private_addresses=False)
    with translation.override("pt-br"):
        assert deliver().postponed == 1
    endpoint.refresh_from_db()
    assert endpoint.last_error.startswith(english)
    assert deliveries()[0].last_error == endpoint.last_error
    client.force_login(User.objects.create_superuser("root@example.org"))
    client.cookies["django_language"] = "pt-br"
    page = client.get(f"/admin/analytics/webhookendpoint/{endpoint.pk}/change/")
    assert page.status_code == 200
    assert portuguese in page.text
    assert english not in html.unescape(page.text)


def test_one_slow_receiver_keeps_nobody_else_waiting(
    cast: Cast, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        make_endpoint(cast.alice.workspace, f"http://127.0.0.1:{silent.getsockname()[1]}/")
        for _ in range(8):
            fire(cast.alice.workspace)
        begun = time.monotonic()
        report = deliver()
        assert (report.postponed, report.sent) == (8, 8)
        assert time.monotonic() - begun < 6
    assert {row.last_error for row in deliveries() if row.channel == "webhook"} == {"No answer came within 1 seconds."}


def test_a_workspace_with_many_slow_receivers_keeps_no_other_waiting(
    cast: Cast, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lies in the outbox before."""
    monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", 1.5)
    monkeypatch.setattr(delivering, "RUN_SECONDS", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for _ in range(6):
            make_endpoint(cast.charlie.workspace, f"http://127.0.0.1:{silent.getsockname()[1]}/")
        for _ in range(20):
            fire(cast.charlie.workspace)
        make_endpoint(cast.alice.workspace, listener.url)
        fire(cast.alice.workspace)
        report = deliver()
    assert len(listener.received) == 1
    assert "alice@example.org" in [one.to[0] for one in mail.outbox]
    assert report.postponed <= 20
    assert len([row for row in deliveries() if row.attempts == 0]) > 60  # the next run's


def test_name_servers_that_never_answer_keep_no_call_waiting(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call looks up its vendor on the threads of the event loop, and of these there are few."""
    has_tried, truly = threading.Event(), socket.getaddrinfo

    def hanging(host: Any, *args: Any, **options: Any) -> Any:
        if host == "hooks.example.com":
            has_tried.wait(20)
            raise socket.gaierror
        return truly(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    for _ in range(15):
        make_endpoint(cast.alice.workspace, "https://hooks.example.com/", allows_private_addresses=False)
    fire(cast.alice.workspace)

    async def look_up() -> None:
        sending = asyncio.create_task(delivering.deliver_due())
        await asyncio.sleep(0.5)
        try:
            async with asyncio.timeout(3):
                await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
        finally:
            has_tried.set()
            await sending

    asyncio.run(look_up())


def test_what_one_delivery_meets_is_no_others_trouble(
    cast: Cast, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database refuses to note the first, at once; the others are still being sent then."""
    make_endpoint(cast.alice.workspace, listener.url)
    for _ in range(4):
        fire(cast.alice.workspace)
    finish, met = delivering._finish, list[Any]()

    def finishing(delivery: AlertDelivery, *args: Any) -> str | None:
        if not met:
            met.append(delivery.pk)
            raise OperationalError
        time.sleep(0.2)
        return finish(delivery, *args)

    monkeypatch.setattr(delivering, "_finish", finishing)
    with pytest.raises(OperationalError):
        deliver()
    states = {one.pk: one.state for one in deliveries()}
    assert states.pop(met[0]) == "pending"
    assert set(states.values()) == {"sent"}


# --- Mail -------------------------------------------------------------------------------------------------------------


def test_who_gets_a_mail(cast: Cast, settings: Any) -> None:
    settings.ALERT_EMAILS = ["Ops@example.org"]
    join(cast.alice.workspace, "dora", "admin")
    gone = join(cast.alice.workspace, "gone", "admin").user
    gone.is_active = False
    gone.save()
    team = ["alice@example.org", "dora@example.org"]
    operators = make_rule()

    def told(workspace: Workspace, rule: AlertRule | None = None, **fields: Any) -> list[str]:
        mail.outbox.clear()
        fire(workspace, rule, **fields)
        deliver()
        return sorted(one.to[0] for one in mail.outbox)

    assert told(cast.alice.workspace) == team
    assert told(cast.alice.workspace, operators) == [*team, "ops@example.org"]
    assert told(system.membership().workspace, operators) == ["ops@example.org"]
    bobs = {"user": cast.bob.user, "subject_kind": "key"}
    assert told(cast.alice.workspace, make_rule(cast.alice.workspace, name="Keys"), **bobs) == [
        "alice@example.org",
        "bob@example.org",
        "dora@example.org",
    ]


def test_a_name_with_a_line_break_makes_no_header(cast: Cast) -> None:
    fire(cast.alice.workspace, subject_label="Acme\r\nBcc: mallory@example.org")
    deliver()
    assert mail.outbox[0].subject.endswith("Acme Bcc: mallory@example.org")


def test_a_mail_server_that_is_away_is_tried_again(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    fire(cast.alice.workspace)

    def away(self: Any) -> int:
        raise smtplib.SMTPServerDisconnected("alice@example.org is unknown here")

    with monkeypatch.context() as patched:
        patched.setattr(EmailMessage, "send", away)
        assert str(deliver()) == "0 sent, 1 to be tried again, 0 given up"
    assert deliveries()[0].last_error == "The mail server: SMTPServerDisconnected."
    assert str(deliver(timezone.now() + timedelta(seconds=11))) == "1 sent, 0 to be tried again, 0 given up"
