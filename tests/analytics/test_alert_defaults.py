"""The rules that come with every installation fire on real traffic, are told to people and programs, and resolve."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from analytics.alerting.evaluating import Report, evaluate_due
from analytics.models import Alert, AlertRule
from llm.models import LLM
from tests.analytics.alerting import Listener, alerts, deliver, documented_verify, make_endpoint
from tests.analytics.usage import Call, write
from tests.api.asking import Api
from tests.catalogue import make_llm
from tests.people import Cast, Person, fund
from tests.providers.standins import StandIn, answer, refusal
from workspaces import system

pytestmark = pytest.mark.django_db(transaction=True)
DEAR = {"output_usd_per_mtok": Decimal(1000)}


@pytest.fixture
def cast(server: Any, cast: Cast, house_keys: StandIn) -> Cast:
    """Who can call models that cost something."""
    fund(cast.alice.workspace, "1000")
    return cast


@pytest.fixture
def dear(cast: Cast) -> LLM:
    """A model at $1 per thousand tokens out."""
    return make_llm("openai", "dear", price=DEAR)


def generate(api: Api, person: Person, llm: LLM) -> int:
    return api.post(person, "llm/generate", {"prompt": "Hello", "llm": str(llm), "max_tokens": 4000}).status_code


def in_an_hour(hours: float = 1) -> datetime:
    return timezone.now() + timedelta(hours=hours)


def fires(condition: str, now: datetime | None = None) -> Alert:
    report = evaluate_due(now=now)
    assert report.failed == []
    (alert,) = [one for one in report.fired if one.rule.condition == condition]
    assert alert.rule.is_builtin
    assert evaluate_due(now=now).fired == []  # once
    return alert


def resolves(alert: Alert, now: datetime | None = None) -> None:
    report: Report = evaluate_due(now=now)
    assert report.failed == []
    assert alert.pk in {one.pk for one in report.resolved}
    assert evaluate_due(now=now).resolved == []
    (stored,) = [one for one in alerts() if one.pk == alert.pk]
    assert (stored.state, stored.resolved_at is not None) == ("resolved", True)


@dataclass
class Operators:
    """Who is told by a webhook of theirs of what the operators' rules find."""

    listener: Listener
    secret: str

    def are_told(self, event: str, alert: Alert, now: datetime | None = None) -> None:
        """Of this and of nothing else, over a real port, signed as docs/alerts.md says."""
        self.listener.received.clear()
        deliver(now)
        (got,) = self.listener.received
        assert documented_verify()(self.secret, got.headers, got.body)
        assert (got.document["type"], got.alert["id"]) == (event, str(alert.pk))


@pytest.fixture
def operators(cast: Cast, listener: Listener) -> Operators:
    return Operators(listener, make_endpoint(None, listener.url)[1])


def test_a_users_cost(api: Api, cast: Cast, dear: LLM, provider: StandIn, listener: Listener, settings: Any) -> None:
    settings.ALERT_EMAILS = ["ops@example.org"]
    _, secret = make_endpoint(cast.alice.workspace, listener.url)
    _, operators_secret = make_endpoint(None, listener.url)
    make_endpoint(cast.charlie.workspace, listener.url)
    provider.answer(usage={"input": 10, "output": 3000})
    for _ in range(3):
        assert generate(api, cast.bob, dear) == 201
    assert evaluate_due().fired == []  # $9 and a bit
    assert generate(api, cast.bob, dear) == 201
    alert = fires("cost")
    assert (alert.workspace_id, alert.subject_kind, alert.subject_id, alert.user_id, alert.severity) == (
        cast.alice.workspace.pk, "user", str(cast.bob.user.pk), cast.bob.user.pk, "warning",
    )  # fmt: skip
    assert alert.explanation == (
        "bob@example.org in Acme: the wallet paid $12.00004 for 4 calls of the last 24 hours; more than $10.00 is too much."
    )
    assert str(deliver()) == "4 sent, 0 to be tried again, 0 given up"
    verify = documented_verify()
    verified = [[verify(one, got.headers, got.body) for one in (secret, operators_secret)] for got in listener.received]
    assert sorted(verified) == [[False, True], [True, False]]
    for got in listener.received:
        assert got.document["type"] == "alert.firing"
        shown = cast.alice.get(f"analytics/alerts/{alert.pk}").json()
        assert {**got.alert, "last_seen_at": ""} == {**shown, "last_seen_at": ""}
        assert not verify(secret, got.headers, got.body + b" ")
        assert not verify(secret, {**got.headers, "webhook-timestamp": "1764081660"}, got.body)
    assert sorted(one.to[0] for one in mail.outbox) == ["alice@example.org", "ops@example.org"]
    assert mail.outbox[0].subject == "[SynapScale] Warning: A user's cost: bob@example.org in Acme"
    assert alert.explanation in str(mail.outbox[0].body)
    resolves(alert, in_an_hour(25))
    deliver(in_an_hour(26))
    assert listener.events == ["alert.firing"] * 2 + ["alert.resolved"] * 2
    assert {got.alert["state"] for got in listener.received[2:]} == {"resolved"}
    verified = [
        [verify(one, got.headers, got.body) for one in (secret, operators_secret)] for got in listener.received[2:]
    ]
    assert sorted(verified) == [[False, True], [True, False]]


def test_error_rate(api: Api, cast: Cast, llm: LLM, provider: StandIn, operators: Operators) -> None:
    provider.script(*[answer()] * 9, refusal(500), *[answer()] * 9)
    assert [generate(api, cast.alice, llm) for _ in range(19)].count(201) == 18
    assert evaluate_due().fired == []  # 19 calls say nothing
    generate(api, cast.alice, llm)
    assert evaluate_due().fired == []  # 5 % is not more than 5 %
    provider.script(refusal(500))
    generate(api, cast.alice, llm)
    alert = fires("error_rate")
    assert (alert.workspace_id, alert.subject_kind, alert.subject_id, alert.severity) == (
        system.WORKSPACE_ID, "llm", str(llm.pk), "critical",
    )  # fmt: skip
    assert alert.value == Decimal("0.0952")
    assert alert.explanation == (
        "openai/openai-test: 2 of 21 calls of the last 15 minutes failed, which is 9.52 %; more than 5 % is too much."
    )
    operators.are_told("alert.firing", alert)
    for _ in range(20):
        generate(api, cast.alice, llm)
    resolves(alert)
    operators.are_told("alert.resolved", alert)


def test_latency(api: Api, cast: Cast, llm: LLM, provider: StandIn, operators: Operators) -> None:
    provider.always(answer(wait=5.5))
    with ThreadPoolExecutor(20) as callers:
        assert set(callers.map(lambda _: generate(api, cast.alice, llm), range(20))) == {201}
    alert = fires("latency")
    assert (alert.subject_kind, alert.subject_label) == ("llm", "openai/openai-test")
    assert Decimal("5.3") < alert.value < Decimal(9)
    assert "the p95 of the time to the whole answer was" in alert.explanation
    shown = cast.alice.get("analytics/llms/openai/openai-test").json()["latency"]
    assert Decimal(shown["p95"]) / 1000 == alert.value  # the API says the same
    operators.are_told("alert.firing", alert)
    resolves(alert, in_an_hour())
    operators.are_told("alert.resolved", alert, in_an_hour())


def test_provider_keys_that_expire(api: Api, cast: Cast, operators: Operators) -> None:
    soon = (timezone.now() + timedelta(days=3, minutes=5)).isoformat()
    later = (timezone.now() + timedelta(days=8)).isoformat()
    body = {"key": "sk-own-0123456789"}
    assert cast.bob.put("user-variables/api-keys/openai", {**body, "expires_at": soon}).status_code == 201
    assert cast.bob.put("user-variables/api-keys/google", {**body, "expires_at": later}).status_code == 201
    alert = fires("key_expiry")
    assert (alert.subject_kind, alert.subject_label, alert.workspace_id, alert.user_id) == (
        "key", "OpenAI key of bob@example.org", cast.alice.workspace.pk, cast.bob.user.pk,
    )  # fmt: skip
    assert "it expires in 3 days" in alert.explanation
    assert "sk-own" not in alert.explanation
    operators.are_told("alert.firing", alert)
    assert sorted(one.to[0] for one in mail.outbox) == ["alice@example.org", "bob@example.org"]
    assert cast.bob.patch("user-variables/api-keys/openai", {"expires_at": later}).status_code == 200
    resolves(alert)
    operators.are_told("alert.resolved", alert)


def test_anomalous_usage(api: Api, cast: Cast, dear: LLM, provider: StandIn, operators: Operators) -> None:
    hour = timezone.now().astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    # On each of ten days $0.10 to $0.30 in this hour, and once, wildly, $50.
    costs = [100_000, 300_000, 200_000, 100_000, 50_000_000, 200_000, 300_000, 200_000, 100_000, 200_000]
    write(
        Call(hour - timedelta(days=day, minutes=-5), cast.alice, dear, cost=cost)
        for day, cost in enumerate(costs, start=1)
    )
    provider.answer(usage={"input": 0, "output": 1000})
    assert generate(api, cast.alice, dear) == 201
    assert evaluate_due(now=hour + timedelta(minutes=59)).fired == []  # $1 is not yet $1.20
    assert generate(api, cast.alice, dear) == 201
    alert = fires("anomaly", hour + timedelta(minutes=59))
    assert (alert.workspace_id, alert.subject_kind, alert.value, alert.threshold) == (
        cast.alice.workspace.pk, "workspace", Decimal(2), Decimal("1.2"),
    )  # fmt: skip
    for said in (
        "$2.00",
        "the 10 days before",
        "$0.20 in the median",
        "$0.10 away",
        "5 × 1.4826 × MAD ($0.7413)",
        "($1.00)",
    ):
        assert said in alert.explanation
    operators.are_told("alert.firing", alert, hour + timedelta(minutes=59))
    assert evaluate_due(now=hour + timedelta(minutes=61)).resolved == []  # the clock alone ends nothing
    resolves(alert, hour + timedelta(hours=2, minutes=1))
    operators.are_told("alert.resolved", alert, hour + timedelta(hours=2, minutes=1))


def test_the_rules_are_made_once(cast: Cast) -> None:
    evaluate_due()
    evaluate_due()
    builtin = AlertRule.objects.filter(is_builtin=True)
    assert sorted(builtin.values_list("condition", "workspace")) == [
        (condition, None) for condition in ("anomaly", "cost", "error_rate", "key_expiry", "latency")
    ]
