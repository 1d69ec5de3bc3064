"""What each condition finds, beyond what the default rules show: keys of others, usage without a past, and settings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from analytics.alerting import conditions
from analytics.models import AlertRule
from llm import own_keys
from llm.models import LLM
from tests.analytics.alerting import make_rule
from tests.analytics.usage import Call, write
from tests.catalogue import make_llm
from tests.people import Cast, join, make_workspace
from workspaces.models import UserVariable

pytestmark = pytest.mark.django_db
HOUR = datetime(2026, 6, 15, 14, tzinfo=UTC)


def find(rule: AlertRule, now: datetime) -> list[Any]:
    condition = conditions.get(rule.condition)
    assert condition is not None
    conditions.require_sound(rule)
    return sorted(condition.find(rule, now), key=lambda one: one.label)


# --- Keys -------------------------------------------------------------------------------------------------------------


def keyed(owner: Any, provider: str = "openai", **delta: float) -> None:
    own_keys.set_key(
        owner=owner, provider=provider, key="sk-own-0123456789", expires_at=timezone.now() + timedelta(**delta)
    )


def expiring(workspace: Any = None, **fields: Any) -> list[str]:
    given = {"condition": "key_expiry", "scope": "provider", "threshold": 7, "window_seconds": 604_800, "settings": {}}
    rule = make_rule(workspace, **{**given, "name": f"Keys {AlertRule.objects.count()}", **fields})
    return [one.label for one in find(rule, timezone.now())]


def test_keys_of_users_and_of_workspaces(cast: Cast) -> None:
    keyed(cast.bob.user, days=3)
    keyed(cast.alice.workspace, "google", days=6.9)
    keyed(cast.charlie.user, days=-1)
    keyed(cast.alice.user, days=7.1)
    keyed(cast.alice.user, "anthropic", days=-7.1)
    assert expiring() == [
        "Google key of Acme", "OpenAI key of bob@example.org", "OpenAI key of charlie@example.org",
    ]  # fmt: skip
    assert expiring(scope="workspace") == ["Google key of Acme"]
    assert expiring(scope="user") == ["OpenAI key of bob@example.org", "OpenAI key of charlie@example.org"]
    assert expiring(subject_id="google") == ["Google key of Acme"]
    assert expiring(scope="user", subject_id=str(cast.bob.user.pk)) == ["OpenAI key of bob@example.org"]
    assert expiring(cast.alice.workspace) == ["Google key of Acme", "OpenAI key of bob@example.org"]
    assert expiring(cast.charlie.workspace) == ["OpenAI key of charlie@example.org"]
    assert expiring(threshold=4) == ["OpenAI key of bob@example.org", "OpenAI key of charlie@example.org"]
    assert expiring(window_seconds=3600) == ["Google key of Acme", "OpenAI key of bob@example.org"]


def test_keys_that_nobody_uses_do_not_matter(cast: Cast) -> None:
    keyed(cast.bob.user, days=3)
    UserVariable.objects.update(is_active=False)
    assert expiring() == []
    UserVariable.objects.update(is_active=True)
    cast.bob.user.is_active = False
    cast.bob.user.save()
    assert expiring() == []


def test_of_a_user_in_several_workspaces_one_hears_of_it(cast: Cast) -> None:
    join(make_workspace("second"), "bob", "owner")
    keyed(cast.bob.user, days=3)
    rule = make_rule(condition="key_expiry", scope="provider", threshold=7, window_seconds=604_800, settings={})
    (one,) = find(rule, timezone.now())
    assert (one.workspace_id, one.user_id) == (cast.alice.workspace.pk, cast.bob.user.pk)


# --- Unusual usage ----------------------------------------------------------------------------------------------------


def unusual(scope: str = "workspace", **settings: Any) -> AlertRule:
    return make_rule(condition="anomaly", scope=scope, threshold=5, settings=settings)


def used(cast: Cast, llm: LLM, *costs: int, hour: datetime = HOUR) -> None:
    """So many millionths of a dollar in this hour, and on each of the days before."""
    write(
        Call(hour - timedelta(days=day, minutes=-5), cast.alice, llm, cost=cost)
        for day, cost in enumerate(costs)
        if cost
    )


def test_usage_with_a_short_past_says_nothing(cast: Cast, llm: LLM) -> None:
    used(cast, llm, 9_000_000, *[100_000] * 6)
    assert find(unusual(), HOUR + timedelta(minutes=30)) == []
    used(cast, llm, 0, *[0] * 6, 100_000)
    assert len(find(AlertRule.objects.get(), HOUR + timedelta(minutes=30))) == 1


def test_days_without_usage_count_since_the_first_call(cast: Cast, llm: LLM) -> None:
    """Usage out of nowhere is unusual, for whoever has been there for a week."""
    used(cast, llm, 3_000_000, *[0] * 9, 100_000)
    (one,) = find(unusual(), HOUR + timedelta(minutes=30))
    assert (one.value, one.threshold) == (Decimal(3), Decimal(1))
    assert "On the 10 days before" in one.explanation


def test_both_hours_are_compared_with_the_same_of_other_days(cast: Cast, llm: LLM) -> None:
    """What is usual at 14:00 is not at 13:00."""
    used(cast, llm, 5_000_000, *[5_000_000] * 10)
    rule = unusual()
    assert find(rule, HOUR + timedelta(minutes=59)) == []
    used(cast, llm, 5_000_000, hour=HOUR - timedelta(hours=1))
    (one,) = find(rule, HOUR + timedelta(minutes=59))
    assert "in the hour from 2026-06-15 13:00 UTC on the providers ask $5.00" in one.explanation
    assert find(rule, HOUR + timedelta(hours=1, minutes=1)) == []


@pytest.mark.parametrize(
    ("scope", "named"), [("fleet", "All workspaces"), ("llm", "openai/openai-test"), ("provider", "openai")]
)
def test_what_operators_can_watch_besides(cast: Cast, llm: LLM, scope: str, named: str) -> None:
    other = make_llm("openai", "other")
    for model in (llm, other):
        used(cast, model, 1_500_000, *[100_000] * 8)
    found = find(unusual(scope), HOUR + timedelta(minutes=30))
    assert named in [one.label for one in found]
    assert [one.value for one in found] == ([Decimal("1.5")] * 2 if scope == "llm" else [Decimal(3)])


@pytest.mark.parametrize(
    ("metric", "floor", "value", "said"),
    [("calls", "1", 3, "it had 3 calls"), ("total_tokens", "0.00001", "0.00009", "0.00009 million tokens")],
)
def test_other_metrics(cast: Cast, llm: LLM, metric: str, floor: str, value: Any, said: str) -> None:
    used(cast, llm, *[1] * 9)
    used(cast, llm, 1)
    used(cast, llm, 1)
    (one,) = find(unusual(metric=metric, floor=floor), HOUR + timedelta(minutes=30))
    assert one.value == Decimal(value)
    assert said in one.explanation


def test_little_is_never_unusual_and_costs_one_query(cast: Cast, llm: LLM, django_assert_num_queries: Any) -> None:
    used(cast, llm, 900_000, *[1] * 10)
    rule = unusual()
    with django_assert_num_queries(1):
        assert find(rule, HOUR + timedelta(minutes=30)) == []
