"""The outbox: sent once, signed, tried again for a day, and never to where it must not go."""

from __future__ import annotations

import asyncio
import json
import logging
import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.db import OperationalError
from django.utils import timezone

from analytics.alerting import delivering, outbox, webhooks
from analytics.alerting.delivering import pause_after
from analytics.alerting.evaluating import acknowledge
from analytics.models import Alert, AlertDelivery, AlertEvent, AlertRule, WebhookEndpoint
from synapscale.common.tenancy import fleet_wide
from tests.analytics.alerting import Listener, alerts, deliver, deliveries, documented_verify, make_endpoint, make_rule
from tests.people import Cast, join
from tests.providers import certificates
from tests.resolver import Resolver, resolver
from tests.together import at_once
from workspaces import system
from workspaces.models import Workspace

__all__ = ["resolver"]
pytestmark = pytest.mark.django_db(transaction=True)
PUBLIC = "93.184.215.14"


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener().running() as one:
        yield one


def fire(workspace: Workspace, rule: AlertRule | None = None, **fields: Any) -> Alert:
    """An alert about nothing in particular, and its rows in the outbox."""
    now = timezone.now()
    rule = rule or make_rule(workspace, name=f"Rule {now.isoformat()}")
    given = {
        "subject_kind": "workspace",
        "subject_id": str(workspace.pk),
        "subject_label": str(workspace),
        "severity": "critical",
        "value": 2,
        "threshold": 1,
        "explanation": "Two is more than one.",
        "fired_at": now,
        "last_seen_at": now,
        **fields,
    }
    alert = Alert.objects.create(workspace=workspace, rule=rule, **given)
    outbox.write(AlertEvent.FIRING, alert, rule, now=now)
    return alert


@pytest.fixture
def hooked(cast: Cast, listener: Listener) -> tuple[AlertDelivery, WebhookEndpoint, str]:
    """A delivery to the listener that is due, and its endpoint with its secret. Nobody gets a mail."""
    endpoint, secret = make_endpoint(cast.alice.workspace, listener.url)
    fire(cast.alice.workspace)
    AlertDelivery.objects.filter(workspace=cast.alice.workspace, channel="email").delete()
    (delivery,) = deliveries()
    return delivery, endpoint, secret


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


# --- Where it must not go ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1/", "https://169.254.169.254/latest", "https://2130706433/",
        "https://0x7f.1/", "https://[::ffff:127.0.0.1]/", "https://localhost/", "http://93.184.215.14/",
        "https://user:pass@hooks.example.com/", "https://hooks.example.com/?a=b", "ftp://hooks.example.com/", "https://",
    ],
)  # fmt: skip
def test_a_url_that_leads_where_it_must_not_is_never_called(cast: Cast, url: str) -> None:
    """Whoever stored it, and however."""
    make_endpoint(cast.alice.workspace, url, allows_private_addresses=False)
    fire(cast.alice.workspace)
    assert deliver().postponed == 1
    (failed,) = [row for row in deliveries() if row.channel == "webhook"]
    assert failed.last_error
    assert "127.0.0.1" not in failed.last_error


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00:ec2::254", "100.64.0.1", "0.0.0.0", "::",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::",
    ],
)  # fmt: skip
def test_a_name_that_leads_where_it_must_not_is_never_called(
    cast: Cast, listener: Listener, resolver: Resolver, address: str
) -> None:
    resolver.answer("hooks.example.com", [PUBLIC, address])
    make_endpoint(
        cast.alice.workspace, f"https://hooks.example.com:{listener.port}/hook", allows_private_addresses=False
    )
    fire(cast.alice.workspace)
    assert deliver().postponed == 1
    (failed,) = [row for row in deliveries() if row.channel == "webhook"]
    assert failed.last_error == "The host's address is not a public one."
    assert listener.received == []


def test_metadata_is_not_called_even_where_private_addresses_are_allowed(cast: Cast, resolver: Resolver) -> None:
    resolver.answer("hooks.example.com", ["169.254.169.254"])
    make_endpoint(cast.alice.workspace, "https://hooks.example.com/hook")
    fire(cast.alice.workspace)
    assert deliver().postponed == 1
    (failed,) = [row for row in deliveries() if row.channel == "webhook"]
    assert "metadata" in failed.last_error


def test_a_name_that_changes_its_meaning_is_looked_up_once_and_connected_to_as_checked(
    cast: Cast, listener: Listener, resolver: Resolver
) -> None:
    """The second answer would be another host, where nobody listens."""
    resolver.answer("hooks.example.com", ["127.0.0.1"], ["127.0.0.2"])
    make_endpoint(cast.alice.workspace, f"http://hooks.example.com:{listener.port}/hook")
    fire(cast.alice.workspace)
    deliver()
    assert resolver.asked == ["hooks.example.com"]
    (got,) = listener.received
    assert got.headers["host"] == f"hooks.example.com:{listener.port}"


def test_no_redirect_is_followed(hooked: Any, listener: Listener) -> None:
    with Listener().running() as elsewhere:
        listener.answers.append((307, {"Location": elsewhere.url}))
        assert deliver().postponed == 1
        assert elsewhere.received == []
    assert deliveries()[0].last_error == "It redirects, which is not followed."


def test_no_proxy_of_the_environment_is_used(hooked: Any, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert deliver().sent == 1
    assert listener.received[0].path == "/hook"


def test_an_answer_without_end_costs_nothing(hooked: Any, listener: Listener) -> None:
    """Its head is all that is read."""
    listener.answers.append((200, {"Content-Encoding": "gzip"}))
    assert deliver().sent == 1


def test_over_tls_the_name_is_the_one_that_was_meant(
    cast: Cast, resolver: Resolver, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver with another's certificate gets nothing."""
    from tests.providers.standins import StandIn

    path = certificates.issue("other.example.com", tmp_path)
    server = StandIn(tls=certificates.server_side(path, [])).start()
    try:
        resolver.answer("hooks.example.com", ["127.0.0.1"])
        make_endpoint(cast.alice.workspace, f"https://hooks.example.com:{server.port}/hook")
        fire(cast.alice.workspace)
        assert deliver().postponed == 1
        assert server.requests == []
    finally:
        server.stop()
    (failed,) = [row for row in deliveries() if row.channel == "webhook"]
    assert failed.last_error == "The connection failed."


def test_nothing_secret_is_sent_stored_or_logged(
    hooked: Any, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    delivery, endpoint, secret = hooked
    listener.answers.append((500, {}))
    with caplog.at_level(logging.DEBUG):
        deliver()
        deliver(timezone.now() + timedelta(minutes=1))
    (alert,) = alerts()
    acknowledge(alert, by=endpoint.workspace.memberships.first().user)
    with fleet_wide():
        rows = [*AlertDelivery.objects.values(), *WebhookEndpoint.objects.values()]
    said = [caplog.text, repr(rows), json.dumps(delivery.payload), *(repr(vars(got)) for got in listener.received)]
    assert len(listener.received) == 2
    assert not [text for text in said if secret in text or secret.removeprefix("whsec_") in text]
    assert f"alert delivery {delivery.pk} failed (attempt 1): It answered with status 500." in caplog.text


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
