"""The back office: alerts are acknowledged, rules edited and silenced, webhooks allowed, deliveries sent again."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from analytics.alerting.rules import ensure_builtin
from analytics.models import Alert, AlertDelivery, AlertRule, WebhookEndpoint
from tests import full
from tests.admin.rows import Office, again, errors
from tests.audited import notes
from tests.people import Cast
from workspaces.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def office(db: None) -> Office:
    client = Client()
    client.force_login(User.objects.create_superuser("root@example.org", "correct horse battery"))
    return Office(client)


@pytest.fixture
def alert(cast: Cast) -> Alert:
    made = full.alert(cast.alice)
    Alert.objects.filter(workspace=made.workspace).update(state="firing", acknowledged_at=None, acknowledged_by=None)
    return made


def test_alerts_are_read_and_acknowledged(office: Office, alert: Alert) -> None:
    page = office.open(alert).text
    assert "Two is more than one." in page
    assert 'name="_save"' not in page
    office.act(Alert, "acknowledge", alert)
    stored = again(alert)
    assert (stored.state, stored.acknowledged_by.email) == ("acknowledged", "root@example.org")
    assert notes(alert) == ["Acknowledged."]
    assert "Acknowledged: 0." in office.act(Alert, "acknowledge", alert).text


def test_rules_are_edited_as_their_conditions_understand_them(office: Office, alert: Alert) -> None:
    rule = AlertRule.objects.get()
    assert office.save(rule, threshold="12.5", settings='{"of": "provider_cost"}').status_code == 302
    stored = again(rule)
    assert (str(stored.threshold), stored.settings) == ("12.500000000000", {"of": "provider_cost"})
    assert set(errors(office.save(rule, settings='{"nothing": 1}'))) == {"settings"}
    assert set(errors(office.save(rule, scope="fleet"))) == {"scope"}
    assert set(errors(office.save(rule, subject_id="x"))) == {"subject_id"}
    assert again(rule).settings == {"of": "provider_cost"}


def test_a_built_in_rule_keeps_its_name_and_condition(office: Office) -> None:
    ensure_builtin()
    rule = AlertRule.objects.get(condition="cost")
    assert office.save(rule, threshold="25", name="Mine", is_active="").status_code == 302
    stored = again(rule)
    assert (stored.name, stored.is_active, stored.threshold) == ("A user's cost", False, 25)


def test_an_operators_rule_is_made(office: Office) -> None:
    given: dict[str, Any] = {
        "name": "All",
        "condition": "cost",
        "scope": "fleet",
        "window_seconds": 3600,
        "threshold": "5",
    }
    assert office.add(AlertRule, **given).status_code == 302
    rule = AlertRule.objects.get()
    assert (rule.workspace, rule.created_by.email) == (None, "root@example.org")


def test_a_webhook_never_shows_its_secret(office: Office, alert: Alert) -> None:
    endpoint = WebhookEndpoint.objects.get()
    for page in (office.open(endpoint), office.list(WebhookEndpoint)):
        assert endpoint.get_secret() not in page.text
        assert bytes(endpoint.ciphertext).hex() not in page.text
    assert office.client.get(office.url(WebhookEndpoint, "add")).status_code == 403
    assert office.save(endpoint, allows_private_addresses="on", is_active="").status_code == 302
    stored = again(endpoint)
    assert (stored.allows_private_addresses, stored.is_active) == (True, False)
    WebhookEndpoint.objects.update(url="http://10.0.0.1/")
    assert set(errors(office.save(again(endpoint), allows_private_addresses=""))) == {"allows_private_addresses"}


def test_deliveries_are_read_and_sent_again(office: Office, alert: Alert) -> None:
    rows = AlertDelivery.objects.filter(workspace=alert.workspace)
    rows.filter(channel="webhook").update(state="failed", attempts=30, last_error="It answered with status 500.")
    rows.filter(channel="email").update(state="sent", sent_at=timezone.now())
    failed, sent = rows.get(channel="webhook"), rows.get(channel="email")
    assert "It answered with status 500." in office.list(AlertDelivery).text
    assert 'name="_save"' not in office.open(failed).text
    assert "To be sent again: 1." in office.act(AlertDelivery, "send_again", failed, sent).text
    assert (again(failed).state, again(failed).attempts, again(sent).state) == ("pending", 0, "sent")
