"""The outbox: nothing is sent to where it must not go, and nothing secret along with it."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from analytics.alerting.evaluating import acknowledge
from analytics.models import AlertDelivery, WebhookEndpoint
from synapscale.common.tenancy import fleet_wide
from tests.analytics.alerting import Listener, alerts, deliver, deliveries, make_endpoint
from tests.analytics.outgoing import fire, hooked
from tests.people import Cast
from tests.providers import certificates
from tests.resolver import Resolver, resolver

__all__ = ["hooked", "resolver"]
pytestmark = pytest.mark.django_db(transaction=True)
PUBLIC = "93.184.215.14"


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
