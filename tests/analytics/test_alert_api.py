"""/analytics/alerts, alert-rules and webhooks: who sees and may do what, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from analytics.api import alert_rules
from analytics.models import AlertRule
from tests.analytics.alerting import deliveries, fire, listed, make_endpoint, make_rule
from tests.api.asking import assert_invalid, error_of
from tests.api.test_scopes import limit
from tests.people import Cast, Person
from workspaces import system

pytestmark = pytest.mark.django_db
RULE = {
    "name": "Failures",
    "condition": "error_rate",
    "scope": "llm",
    "window_seconds": 900,
    "threshold": "0.10",
}


# --- Alerts -----------------------------------------------------------------------------------------------------------


def test_who_sees_which_alerts(cast: Cast, dora: Person, staff: Person) -> None:
    ours, bobs = fire(cast.alice.workspace), fire(cast.alice.workspace, user=cast.bob.user, subject_kind="user")
    theirs, fleets = fire(cast.charlie.workspace), fire(system.membership().workspace, subject_kind="fleet")
    everything = [str(one.pk) for one in (fleets, theirs, bobs, ours)]
    assert listed(cast.alice) == listed(dora) == [str(bobs.pk), str(ours.pk)]
    assert listed(cast.bob) == [str(bobs.pk)]
    assert listed(cast.charlie) == [str(theirs.pk)]
    assert listed(staff) == everything
    assert listed(staff, workspace=str(cast.charlie.workspace.pk)) == [str(theirs.pk)]
    for person, seen in ((cast.alice, {ours, bobs}), (cast.bob, {bobs}), (cast.charlie, {theirs})):
        for alert in (ours, bobs, theirs, fleets):
            expected = 200 if alert in seen else 404
            assert person.get(f"analytics/alerts/{alert.pk}").status_code == expected
    assert staff.get(f"analytics/alerts/{fleets.pk}").json()["workspace"] is None


def test_an_alert_as_it_is_shown(alice: Person) -> None:
    rule = make_rule(alice.workspace)
    alert = fire(alice.workspace, rule)
    assert alice.get(f"analytics/alerts/{alert.pk}").json() == {
        "id": str(alert.pk),
        "rule": {"id": str(rule.pk), "name": "Cost", "condition": "cost", "is_builtin": False},
        "workspace": str(alice.workspace.pk),
        "subject": {"kind": "workspace", "id": "1", "label": "Acme"},
        "state": "firing",
        "severity": "warning",
        "value": "2.00",
        "threshold": "1.00",
        "unit": "USD",
        "explanation": "Two is more than one.",
        "fired_at": alert.fired_at.isoformat(),
        "last_seen_at": alert.fired_at.isoformat(),
        "acknowledged_at": None,
        "acknowledged_by": None,
        "resolved_at": None,
    }


def test_filters(alice: Person) -> None:
    now = timezone.now()
    rule = make_rule(alice.workspace)
    one = fire(alice.workspace, rule, severity="critical")
    two = fire(alice.workspace, state="resolved", resolved_at=now)
    assert listed(alice, state="firing") == listed(alice, severity="critical") == listed(alice, rule=str(rule.pk))
    assert listed(alice, state="resolved") == [str(two.pk)]
    assert listed(alice, limit=1) == [str(two.pk)]
    assert listed(alice, state="firing") == [str(one.pk)]
    for name, value in (("state", "open"), ("severity", "bad"), ("rule", "x"), ("nonsense", "1"), ("cursor", "x")):
        assert_invalid(alice.get("analytics/alerts", **{name: value}), name)


def test_acknowledging(cast: Cast, dora: Person, staff: Person) -> None:
    alert = fire(cast.alice.workspace, user=cast.bob.user)
    path = f"analytics/alerts/{alert.pk}/acknowledge"
    error_of(cast.bob.post(path), 403, "permission_denied")
    error_of(cast.charlie.post(path), 404, "not_found")
    shown = dora.post(path).json()
    assert (shown["state"], shown["acknowledged_by"]) == ("acknowledged", str(dora.user.pk))
    assert cast.alice.post(path).json() == shown
    assert {row.event for row in deliveries()} == {"acknowledged"}
    theirs = fire(cast.charlie.workspace)
    assert staff.post(f"analytics/alerts/{theirs.pk}/acknowledge").json()["state"] == "acknowledged"
    over = fire(cast.alice.workspace, state="resolved", resolved_at=timezone.now())
    error_of(dora.post(f"analytics/alerts/{over.pk}/acknowledge"), 409, "alert_resolved")


def test_alerts_are_not_written(alice: Person) -> None:
    alert = fire(alice.workspace)
    error_of(alice.post("analytics/alerts", {}), 405, "method_not_allowed")
    for method in ("patch", "put", "delete"):
        call = getattr(alice, method)
        error_of(call(f"analytics/alerts/{alert.pk}"), 405, "method_not_allowed")


@pytest.mark.parametrize("path", ["alerts", "alert-rules", "webhooks"])
def test_scopes(alice: Person, path: str) -> None:
    for scope in ("chat", "read", "keys", "admin"):
        error_of(limit(alice, scope).get(f"analytics/{path}"), 403, "scope_missing")
    assert limit(alice, "billing").get(f"analytics/{path}").status_code == 200
    if path != "alerts":
        error_of(alice.post(f"analytics/{path}", {}), 403, "scope_missing")
        error_of(limit(alice, "admin").post(f"analytics/{path}", {}), 400, "invalid")


def test_lists_take_as_many_queries_for_30_rows_as_for_1(
    alice: Person, staff: Person, django_assert_num_queries: Any
) -> None:
    for person in (alice, staff):  # the first use of a token is noted
        person.get("analytics/alert-rules")
    for count in (1, 29):
        for _ in range(count):
            fire(alice.workspace)
            make_endpoint(alice.workspace, "https://hooks.example.com/")
        for person in (alice, staff):
            for path, queries in (("alerts", 3), ("alert-rules", 4), ("webhooks", 3)):
                with django_assert_num_queries(queries):  # token, membership, rows; and which rules are built in
                    person.get(f"analytics/{path}", limit=200)


# --- Rules ------------------------------------------------------------------------------------------------------------


def test_a_rule_of_ones_own(alice: Person, bob: Person) -> None:
    response = alice.post("analytics/alert-rules", RULE)
    assert response.status_code == 201, response.content
    shown = response.json()
    assert shown == {
        **RULE,
        "id": shown["id"],
        "owner": "workspace",
        "subject_id": "",
        "min_calls": 0,
        "severity": "warning",
        "cooldown_seconds": 3600,
        "settings": {},
        "is_active": True,
        "silenced_until": None,
        "is_builtin": False,
        "created_by": str(alice.user.pk),
        "created_at": shown["created_at"],
        "updated_at": shown["updated_at"],
    }
    path = f"analytics/alert-rules/{shown['id']}"
    assert bob.get(path).json() == shown
    until = (timezone.now() + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    changed = alice.patch(path, {"threshold": "0.2", "silenced_until": until}).json()
    assert (changed["threshold"], changed["silenced_until"]) == ("0.20", until)
    assert alice.patch(path, {"silenced_until": None}).json()["silenced_until"] is None
    error_of(bob.patch(path, {"threshold": "1"}), 403, "permission_denied")
    error_of(bob.delete(path), 403, "permission_denied")
    assert alice.delete(path).status_code == 204
    assert alice.get(path).status_code == 404


def test_who_sees_and_keeps_which_rules(cast: Cast, staff: Person) -> None:
    ours, theirs, operators = make_rule(cast.alice.workspace), make_rule(cast.charlie.workspace), make_rule()
    builtin = set(listed(cast.bob, "analytics/alert-rules", is_builtin="true"))
    assert len(builtin) == 5
    assert set(listed(cast.alice, "analytics/alert-rules")) == builtin | {str(ours.pk)}
    assert set(listed(cast.charlie, "analytics/alert-rules")) == builtin | {str(theirs.pk)}
    assert set(listed(staff, "analytics/alert-rules")) == builtin | {str(operators.pk)}
    one = f"analytics/alert-rules/{sorted(builtin)[0]}"
    for call in (lambda: cast.alice.patch(one, {"is_active": False}), lambda: cast.alice.delete(one)):
        error_of(call(), 403, "permission_denied")
    error_of(cast.alice.patch(f"analytics/alert-rules/{operators.pk}", {"is_active": False}), 404, "not_found")
    error_of(cast.charlie.patch(f"analytics/alert-rules/{ours.pk}", {"is_active": False}), 404, "not_found")
    error_of(cast.alice.post("analytics/alert-rules", {**RULE, "owner": "operators"}), 403, "permission_denied")
    error_of(staff.post("analytics/alert-rules", RULE), 403, "permission_denied")  # a member there
    made = staff.post("analytics/alert-rules", {**RULE, "owner": "operators", "scope": "fleet"})
    assert (made.status_code, made.json()["owner"]) == (201, "operators")
    assert staff.patch(one, {"is_active": False}).json()["is_active"] is False
    assert staff.patch(one, {"threshold": "0.5", "min_calls": 7}).status_code == 200
    error_of(staff.patch(one, {"name": "Mine"}), 409, "rule_is_builtin")
    error_of(staff.delete(one), 409, "rule_is_builtin")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"condition": "nothing"}, "condition"),
        ({"scope": "fleet"}, "scope"),
        ({"scope": "nothing"}, "scope"),
        ({"subject_id": "x"}, "subject_id"),
        ({"subject_id": "0199f2c5-d4a1-7b6e-8f01-23456789abcd"}, "subject_id"),
        ({"scope": "provider", "subject_id": "nobody"}, "subject_id"),
        ({"window_seconds": 59}, "window_seconds"),
        ({"window_seconds": 31 * 86_400 + 1}, "window_seconds"),
        ({"window_seconds": True}, "window_seconds"),
        ({"threshold": "0"}, "threshold"),
        ({"threshold": 0.5}, "threshold"),
        ({"threshold": "1.1"}, "threshold"),
        ({"min_calls": -1}, "min_calls"),
        ({"severity": "bad"}, "severity"),
        ({"cooldown_seconds": 0}, "cooldown_seconds"),
        ({"settings": []}, "settings"),
        ({"settings": {"nothing": 1}}, "settings"),
        ({"settings": {"key_source": "nobody"}}, "settings"),
        ({"condition": "latency", "scope": "user"}, "settings"),
        ({"condition": "latency", "settings": {"statistic": "p42"}}, "settings"),
        ({"condition": "anomaly", "scope": "workspace"}, "window_seconds"),
        ({"condition": "anomaly", "scope": "workspace", "window_seconds": 3600, "settings": {"days": 2}}, "settings"),
        ({"condition": "anomaly", "scope": "workspace", "window_seconds": 3600, "settings": {"floor": 1}}, "settings"),
        ({"condition": "anomaly", "scope": "workspace", "window_seconds": 3600, "settings": {"days": 5}}, "settings"),
        ({"is_active": "yes"}, "is_active"),
        ({"silenced_until": "2020-01-01T00:00:00Z"}, "silenced_until"),
        ({"owner": "me"}, "owner"),
        ({"is_builtin": True}, "is_builtin"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_a_wrong_value_is_refused_by_field(alice: Person, changes: dict[str, Any], field: str) -> None:
    assert_invalid(alice.post("analytics/alert-rules", {**RULE, **changes}), field)
    rule = make_rule(alice.workspace, **{**RULE, "name": "There", "settings": {}})
    assert_invalid(alice.patch(f"analytics/alert-rules/{rule.pk}", changes), field)
    assert AlertRule.objects.filter(workspace=alice.workspace).count() == 1


def test_a_subject_is_one_that_the_owner_may_know_of(cast: Cast) -> None:
    for scope, theirs, own in (
        ("user", cast.charlie.user.pk, cast.bob.user.pk),
        ("workspace", cast.charlie.workspace.pk, cast.alice.workspace.pk),
    ):
        body = {**RULE, "name": scope, "scope": scope}
        assert_invalid(cast.alice.post("analytics/alert-rules", {**body, "subject_id": str(theirs)}), "subject_id")
        assert cast.alice.post("analytics/alert-rules", {**body, "subject_id": str(own)}).status_code == 201


def test_names_are_one_of_each(cast: Cast) -> None:
    assert cast.alice.post("analytics/alert-rules", {**RULE, "name": "Latency"}).status_code == 201
    error_of(cast.alice.post("analytics/alert-rules", {**RULE, "name": "Latency"}), 409, "rule_exists")
    assert cast.charlie.post("analytics/alert-rules", {**RULE, "name": "Latency"}).status_code == 201


def test_a_rule_that_has_fired_stays(alice: Person) -> None:
    rule = make_rule(alice.workspace)
    fire(alice.workspace, rule)
    error_of(alice.delete(f"analytics/alert-rules/{rule.pk}"), 409, "rule_in_use")


def test_a_rule_whose_condition_nobody_knows_any_more_can_be_switched_off(alice: Person) -> None:
    rule = make_rule(alice.workspace, condition="gone")
    path = f"analytics/alert-rules/{rule.pk}"
    assert alice.patch(path, {"is_active": False}).json()["is_active"] is False
    assert_invalid(alice.patch(path, {"threshold": "2"}), "condition")


def test_there_is_an_end_to_rules(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_rules, "MAX_PER_WORKSPACE", 1)
    make_rule(alice.workspace)
    error_of(alice.post("analytics/alert-rules", RULE), 409, "too_many_rules")


def test_conditions_say_what_they_can_be_told(bob: Person) -> None:
    rows = {row["key"]: row for row in bob.get("analytics/alert-rules/conditions").json()["results"]}
    assert list(rows) == ["anomaly", "cost", "error_rate", "key_expiry", "latency"]
    assert (rows["latency"]["unit"], rows["latency"]["settings"][0]["default"]) == ("seconds", "p95")
