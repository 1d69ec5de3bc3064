"""Webhooks through the API: whose they are, what they may be, and that their secrets are shown once."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from analytics.alerting import endpoints
from analytics.api import alert_rules
from analytics.models import AlertDelivery, AlertRule, WebhookEndpoint
from synapscale.common.tenancy import fleet_wide
from tests.analytics.alerting import Listener, documented_verify, fire, listed, make_endpoint, make_rule
from tests.api.asking import assert_invalid, error_of
from tests.people import Cast, Person, join
from tests.together import at_once

pytestmark = pytest.mark.django_db


def test_a_webhook_and_its_secret(alice: Person, dora: Person) -> None:
    body = {"url": "https://hooks.example.com/alerts", "description": "Pager"}
    response = alice.post("analytics/webhooks", body)
    assert response.status_code == 201, response.content
    shown = response.json()
    secret = shown.pop("secret")
    assert secret.startswith("whsec_")
    assert shown == {
        **body,
        "id": shown["id"],
        "owner": "workspace",
        "allows_private_addresses": False,
        "is_active": True,
        "last_status": None,
        "last_error": "",
        "last_attempt_at": None,
        "created_by": str(alice.user.pk),
        "created_at": shown["created_at"],
        "updated_at": shown["updated_at"],
    }
    path = f"analytics/webhooks/{shown['id']}"
    for response in (dora.get(path), dora.get("analytics/webhooks"), dora.patch(path, {"description": ""})):
        assert secret not in response.content.decode()
    stored = WebhookEndpoint.objects.get()
    assert secret.encode() not in bytes(stored.ciphertext)
    assert stored.get_secret() == secret
    rotated = dora.post(f"{path}/rotate").json()["secret"]
    assert rotated != secret
    assert WebhookEndpoint.objects.get().get_secret() == rotated
    assert dora.delete(path).status_code == 204


def test_who_sees_and_keeps_which_webhooks(cast: Cast, staff: Person) -> None:
    url = "https://hooks.example.com/"
    (ours, _), (theirs, _) = make_endpoint(cast.alice.workspace, url), make_endpoint(cast.charlie.workspace, url)
    operators, _ = make_endpoint(None, url)
    assert listed(cast.alice, "analytics/webhooks") == [str(ours.pk)]
    assert listed(cast.charlie, "analytics/webhooks") == [str(theirs.pk)]
    assert listed(staff, "analytics/webhooks") == [str(operators.pk)]
    error_of(cast.bob.get("analytics/webhooks"), 403, "permission_denied")
    error_of(cast.bob.get(f"analytics/webhooks/{ours.pk}"), 403, "permission_denied")
    for path in (f"analytics/webhooks/{ours.pk}", f"analytics/webhooks/{operators.pk}"):
        for verb in ("", "/rotate"):
            response = cast.charlie.post(path + verb) if verb else cast.charlie.delete(path)
            error_of(response, 404, "not_found")
    error_of(cast.alice.post("analytics/webhooks", {"url": url, "owner": "operators"}), 403, "permission_denied")
    made = staff.post("analytics/webhooks", {"url": url, "owner": "operators"})
    assert (made.status_code, made.json()["owner"]) == (201, "operators")


@pytest.mark.django_db(transaction=True)  # trying one out looks from a thread of its own
def test_an_operator_changes_what_is_a_workspaces_only_as_its_admin(cast: Cast, staff: Person) -> None:
    """A member of it sees it, and gets no secret."""
    olga = join(cast.alice.workspace, "olga", "member")
    endpoint, secret = make_endpoint(cast.alice.workspace, "https://hooks.example.com/")
    path, rule = f"analytics/webhooks/{endpoint.pk}", f"analytics/alert-rules/{make_rule(cast.alice.workspace).pk}"
    assert olga.get(path).status_code == 200
    for response in (
        olga.post(f"{path}/rotate"),
        olga.post(f"{path}/test"),
        olga.patch(path, {"url": "https://elsewhere.example.com/"}),
        olga.delete(path),
        olga.patch(rule, {"is_active": False}),
        olga.delete(rule),
    ):
        error_of(response, 403, "permission_denied")
    assert WebhookEndpoint.objects.get().get_secret() == secret
    olga.membership.role = "admin"
    olga.membership.save()
    assert olga.delete(path).status_code == 204


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"url": "http://hooks.example.com/"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "https://169.254.169.254/"}, "url"),
        ({"url": "https://hooks.example.com/?token=x"}, "url"),
        ({"url": "https://localhost/"}, "url"),
        ({"url": "x" * 301}, "url"),
        ({"url": ""}, "url"),
        ({"url": 5}, "url"),
        ({"description": "x" * 201}, "description"),
        ({"allows_private_addresses": True}, "allows_private_addresses"),
        ({"secret": "whsec_x"}, "secret"),
        ({"is_active": 1}, "is_active"),
        ({"owner": "me"}, "owner"),
    ],
)
def test_a_wrong_webhook_is_refused_by_field(alice: Person, changes: dict[str, Any], field: str) -> None:
    assert_invalid(alice.post("analytics/webhooks", {"url": "https://hooks.example.com/", **changes}), field)
    endpoint, _ = make_endpoint(alice.workspace, "https://hooks.example.com/", allows_private_addresses=False)
    assert_invalid(alice.patch(f"analytics/webhooks/{endpoint.pk}", changes), field)


def test_what_operators_allowed_holds_for_the_address_they_looked_at(alice: Person) -> None:
    endpoint, _ = make_endpoint(alice.workspace, "http://10.0.0.1/hook")
    path = f"analytics/webhooks/{endpoint.pk}"
    assert alice.patch(path, {"description": "In our network"}).json()["allows_private_addresses"] is True
    assert_invalid(alice.patch(path, {"url": "http://10.0.0.2/hook"}), "url")
    changed = alice.patch(path, {"url": "https://hooks.example.com/"}).json()
    assert changed["allows_private_addresses"] is False


def test_deleting_a_webhook_takes_its_deliveries_along(alice: Person) -> None:
    from analytics.alerting import outbox
    from analytics.models import AlertEvent

    endpoint, _ = make_endpoint(alice.workspace, "https://hooks.example.com/")
    rule = make_rule(alice.workspace)
    outbox.write(AlertEvent.FIRING, fire(alice.workspace, rule), rule, now=timezone.now())
    assert alice.delete(f"analytics/webhooks/{endpoint.pk}").status_code == 204
    with fleet_wide():
        assert set(AlertDelivery.objects.values_list("channel", flat=True)) == {"email"}


def test_there_is_an_end_to_webhooks(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MAX_PER_OWNER", 1)
    make_endpoint(alice.workspace, "https://hooks.example.com/")
    error_of(alice.post("analytics/webhooks", {"url": "https://hooks.example.com/2"}), 409, "too_many_webhooks")


@pytest.mark.django_db(transaction=True)
def test_trying_a_webhook_out(cast: Cast, listener: Listener) -> None:
    endpoint, secret = make_endpoint(cast.alice.workspace, listener.url)
    path = f"analytics/webhooks/{endpoint.pk}"
    error_of(cast.bob.post(f"{path}/test"), 403, "permission_denied")
    error_of(cast.charlie.post(f"{path}/test"), 404, "not_found")
    said = cast.alice.post(f"{path}/test").json()
    assert said == {"delivered": True, "status": 204, "error": "", "milliseconds": said["milliseconds"]}
    (got,) = listener.received
    assert (got.document["type"], got.document["data"]) == ("ping", {})
    assert documented_verify()(secret, got.headers, got.body)
    listener.answers.append((500, {}))
    assert cast.alice.post(f"{path}/test").json()["error"] == "It answered with status 500."
    assert cast.alice.get(path).json()["last_status"] == 500
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(allows_private_addresses=False)
    refused = cast.alice.post(f"{path}/test").json()
    assert (refused["delivered"], refused["status"]) == (False, None)
    assert len(listener.received) == 2


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("of", ["webhooks", "alert-rules"])
def test_two_at_once_do_not_pass_the_limit(alice: Person, monkeypatch: pytest.MonkeyPatch, of: str) -> None:
    monkeypatch.setattr(endpoints, "MAX_PER_OWNER", 2)
    monkeypatch.setattr(alert_rules, "MAX_PER_WORKSPACE", 2)
    model: Any = {"webhooks": WebhookEndpoint, "alert-rules": AlertRule}[of]
    save = model.save

    def saving_slowly(row: Any, *args: Any, **kwargs: Any) -> None:
        time.sleep(0.2)
        save(row, *args, **kwargs)

    monkeypatch.setattr(model, "save", saving_slowly)
    bodies = {
        "webhooks": lambda number: {"url": f"https://hooks.example.com/{number}"},
        "alert-rules": lambda number: {
            "name": f"R{number}",
            "condition": "error_rate",
            "scope": "llm",
            "window_seconds": 900,
            "threshold": "0.10",
        },
    }
    statuses = at_once(6, lambda number: alice.post(f"analytics/{of}", bodies[of](number)).status_code)
    assert sorted(statuses) == [201, 201, 409, 409, 409, 409]
    assert model.objects.filter(workspace=alice.workspace).count() == 2
