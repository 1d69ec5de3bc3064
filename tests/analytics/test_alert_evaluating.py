"""Rules are looked at: once or many times at once, in one statement each, and whatever one of them does."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from analytics.alerting import conditions, evaluating
from analytics.alerting.evaluating import acknowledge, evaluate_due
from analytics.models import Alert, AlertRule
from llm.models import LLM
from synapscale.common.errors import Conflict
from tests.analytics.alerting import alerts, deliveries, make_endpoint, make_rule
from tests.analytics.usage import Call, write
from tests.people import Cast, Person, join
from tests.together import at_once
from workspaces import system

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def now(cast: Cast, llm: LLM) -> datetime:
    """Bob has just called a model for $3."""
    moment = timezone.now()
    spend(cast.bob, llm, moment)
    return moment + timedelta(seconds=1)


def spend(person: Person, llm: LLM, at: datetime, **fields: Any) -> None:
    write([Call(at, person, llm, **{"cost": 3_000_000, **fields})])


def states() -> list[str]:
    return [alert.state for alert in alerts()]


def test_it_fires_once_and_resolves_once_whoever_looks_at_the_same_moment(cast: Cast, now: datetime) -> None:
    make_rule(cast.alice.workspace)
    make_endpoint(cast.alice.workspace, "https://hooks.example.com/a")
    for _ in range(5):
        reports = at_once(4, lambda number: evaluate_due(now=now + timedelta(milliseconds=number)))
        assert [report.failed for report in reports] == [[]] * 4
    assert states() == ["firing"]
    assert sorted(row.channel for row in deliveries()) == ["email", "webhook"]
    reports = at_once(4, lambda number: evaluate_due(now=now + timedelta(hours=2)))
    assert sum(len(report.resolved) for report in reports) == 1
    assert states() == ["resolved"]
    assert [row.event for row in deliveries()].count("resolved") == 2


def test_the_database_has_the_last_word(cast: Cast, now: datetime) -> None:
    make_rule(cast.alice.workspace)
    evaluate_due(now=now)
    (alert,) = alerts()
    alert.pk = alert._meta.get_field("id").get_default()
    with pytest.raises(IntegrityError), transaction.atomic():
        alert.save(force_insert=True)


def test_it_does_not_fire_again_before_it_has_cooled_down(cast: Cast, llm: LLM, now: datetime) -> None:
    make_rule(cast.alice.workspace, cooldown_seconds=7200)
    assert len(evaluate_due(now=now).fired) == 1
    over = now + timedelta(hours=2)
    assert len(evaluate_due(now=over).resolved) == 1
    spend(cast.bob, llm, over)
    assert evaluate_due(now=over + timedelta(minutes=1)).fired == []
    spend(cast.bob, llm, over + timedelta(minutes=119))
    assert len(evaluate_due(now=over + timedelta(minutes=121)).fired) == 1
    assert states() == ["resolved", "firing"]


def test_what_another_process_has_seen_since_is_not_resolved(cast: Cast, llm: LLM, now: datetime) -> None:
    """Its figures are older than the alert."""
    rule = make_rule(cast.alice.workspace)
    evaluate_due(now=now + timedelta(minutes=1))
    AlertRule.objects.filter(pk=rule.pk).update(threshold=Decimal(1000))
    assert evaluate_due(now=now).resolved == []
    assert len(evaluate_due(now=now + timedelta(minutes=2)).resolved) == 1


def test_an_open_alert_keeps_up_with_its_figure(cast: Cast, llm: LLM, now: datetime) -> None:
    make_rule(cast.alice.workspace)
    evaluate_due(now=now)
    (alert,) = alerts()
    acknowledge(alert, by=cast.alice.user)
    spend(cast.bob, llm, now)
    assert str(evaluate_due(now=now + timedelta(minutes=1))) == "0 fired, 0 resolved, 0 rules failed"
    (after,) = alerts()
    assert (after.state, after.value, after.last_seen_at) == ("acknowledged", Decimal(6), now + timedelta(minutes=1))
    assert "$6.00 for 2 calls" in after.explanation
    assert [row.event for row in deliveries()] == ["firing", "acknowledged"]


def test_acknowledging(cast: Cast, now: datetime) -> None:
    make_rule(cast.alice.workspace)
    evaluate_due(now=now)
    (alert,) = alerts()
    assert acknowledge(alert, by=cast.alice.user)
    assert not acknowledge(alert, by=cast.bob.user)
    assert alert.acknowledged_by == cast.alice.user
    evaluate_due(now=now + timedelta(hours=2))
    with pytest.raises(Conflict):
        acknowledge(alert, by=cast.bob.user)
    assert states() == ["resolved"]
    assert [row.event for row in deliveries()] == ["firing", "acknowledged", "resolved"]


@pytest.mark.parametrize(
    "quiet", [{"is_active": False}, {"silenced_until": datetime.max.replace(tzinfo=timezone.get_default_timezone())}]
)
def test_a_rule_that_is_silenced_or_switched_off_tells_no_person(
    cast: Cast, now: datetime, quiet: dict[str, Any]
) -> None:
    """But programs hear the end of what they have heard the beginning of."""
    rule = make_rule(cast.alice.workspace)
    make_endpoint(cast.alice.workspace, "https://hooks.example.com/")
    evaluate_due(now=now)
    AlertRule.objects.filter(pk=rule.pk).update(**quiet)
    evaluate_due(now=now + timedelta(hours=2))
    assert states() == ["resolved"]
    told = sorted((row.channel, row.event) for row in deliveries())
    assert told == [("email", "firing"), ("webhook", "firing"), ("webhook", "resolved")]
    other = make_rule(cast.alice.workspace, name="Other", **quiet)
    evaluate_due(now=now)
    assert other.pk not in {alert.rule_id for alert in alerts()}


def test_a_rule_that_fails_keeps_no_other_from_being_looked_at(
    cast: Cast, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = make_rule(cast.alice.workspace, name="Broken", condition="error_rate", settings={"nonsense": 1})
    evaluate_due(now=now)
    make_rule(cast.alice.workspace)
    report = evaluate_due(now=now)
    assert ([rule.pk for rule in report.failed], len(report.fired)) == ([broken.pk], 1)


def test_a_condition_that_nobody_knows_any_more_finds_nothing(cast: Cast, now: datetime) -> None:
    make_rule(cast.alice.workspace, condition="gone")
    assert str(evaluate_due(now=now)) == "0 fired, 0 resolved, 0 rules failed"


def test_too_few_calls_say_nothing(cast: Cast, llm: LLM, now: datetime) -> None:
    make_rule(cast.alice.workspace, min_calls=2)
    assert evaluate_due(now=now).fired == []
    spend(cast.bob, llm, now - timedelta(seconds=1))
    assert len(evaluate_due(now=now).fired) == 1


@pytest.mark.parametrize(
    ("scope", "named"),
    [
        ("fleet", "All workspaces"),
        ("workspace", "Acme"),
        ("user", "bob@example.org in Acme"),
        ("llm", "openai/openai-test"),
        ("provider", "openai"),
    ],
)
@pytest.mark.parametrize("condition", ["cost", "error_rate", "latency"])
def test_operators_watch_each_subject_on_its_own(
    cast: Cast, llm: LLM, now: datetime, scope: str, named: str, condition: str
) -> None:
    AlertRule.objects.filter(is_builtin=True).delete()
    settings = {"cost": {"of": "provider_cost"}, "latency": {"statistic": "average"}}.get(condition, {})
    rule = make_rule(
        condition=condition, scope=scope, settings=settings, threshold="0.0001", subject_id="", name="Every one"
    )
    spend(cast.charlie, llm, now - timedelta(seconds=1))
    for person in (cast.bob, cast.charlie):
        spend(person, llm, now - timedelta(seconds=1), status="error")
    fired = {alert.subject_label: alert for alert in evaluate_due(now=now).fired if alert.rule_id == rule.pk}
    assert named in fired
    assert len(fired) == (2 if scope in ("workspace", "user") else 1)
    home = cast.alice.workspace.pk if scope in ("workspace", "user") else system.WORKSPACE_ID
    assert fired[named].workspace_id == home
    assert fired[named].user_id == (cast.bob.user.pk if scope == "user" else None)


@pytest.mark.parametrize("scope", ["workspace", "user", "llm", "provider"])
@pytest.mark.parametrize("condition", ["cost", "error_rate", "latency"])
def test_a_workspaces_rule_sees_the_workspace_alone(
    cast: Cast, llm: LLM, now: datetime, scope: str, condition: str
) -> None:
    settings = {"cost": {"of": "provider_cost"}, "latency": {"statistic": "average"}}.get(condition, {})
    make_rule(cast.charlie.workspace, condition=condition, scope=scope, settings=settings, threshold="0.0001")
    spend(cast.bob, llm, now - timedelta(seconds=1), status="error")
    assert evaluate_due(now=now).fired == []
    spend(cast.charlie, llm, now - timedelta(seconds=1))
    spend(cast.charlie, llm, now - timedelta(seconds=1), status="error")
    (alert,) = evaluate_due(now=now).fired
    assert alert.workspace_id == cast.charlie.workspace.pk


@pytest.mark.parametrize("scope", ["workspace", "user", "llm", "provider"])
@pytest.mark.parametrize("statistic", ["average", "p95"])
def test_one_subject_alone_can_be_watched(cast: Cast, llm: LLM, now: datetime, scope: str, statistic: str) -> None:
    spend(cast.alice, llm, now - timedelta(seconds=1))
    ids = {
        "workspace": cast.alice.workspace.pk, "user": cast.bob.user.pk, "llm": llm.pk, "provider": "openai",
    }  # fmt: skip
    make_rule(
        cast.alice.workspace, condition="latency", scope=scope, subject_id=str(ids[scope]), threshold="0.0001",
        settings={"statistic": statistic},
    )  # fmt: skip
    (alert,) = evaluate_due(now=now).fired
    assert (alert.subject_kind, alert.subject_id) == (scope, str(ids[scope]))


def test_a_run_makes_as_many_queries_for_30_subjects_as_for_2(cast: Cast, llm: LLM, now: datetime) -> None:
    make_rule(cast.alice.workspace)
    people = [join(cast.alice.workspace, f"user-{number}", "member") for number in range(30)]

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            evaluate_due(now=now)
        return len([query for query in queries.captured_queries if re.search("alert|usage|user_var", query["sql"])])

    spend(people[0], llm, now - timedelta(seconds=1))
    evaluate_due(now=now)
    AlertRule.objects.filter(is_builtin=False).update(threshold=1000)  # nothing changes any more
    evaluate_due(now=now + timedelta(seconds=1))
    few = count()
    for person in people[1:]:
        spend(person, llm, now - timedelta(seconds=1))
    assert count() == few
    # Which rules are built in, and all rules; of each of the six its figures and its alerts; and of unusual usage, where
    # somebody has used enough to matter, the days before.
    assert few == 2 + 6 * 2 + 1


def test_every_default_is_sound() -> None:
    for condition in conditions.all_conditions():
        assert condition.default is not None
        assert condition.default.scope in condition.scopes
    evaluating.rules.ensure_builtin()
    for rule in AlertRule.objects.all():
        assert conditions.complaints(rule) == {}
    assert Alert.OPEN == ("firing", "acknowledged")
