"""Usage that is unlike that of the same hour of the days before.

Hours are those of UTC, as sums are kept. Two are looked at: the last whole one, and the one under way, which is unusual as
soon as it has come to more than a whole one usually does. So a surge fires within minutes, and does not resolve because
the clock strikes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from django.utils.translation import gettext, gettext_noop

from analytics import query
from analytics.alerting import robust, subjects, words
from analytics.alerting.conditions import Condition, Default, Observation, Setting
from analytics.alerting.explanations import Facts
from analytics.alerting.robust import Usual
from analytics.alerting.subjects import Scope
from analytics.measures import Figures
from analytics.models import AlertRule
from analytics.query import Key
from analytics.spans import DAY, HOUR, floor
from synapscale.common.money import MAX_USD

MAX_ROWS = 1_000_000
"""Of subjects and hours; the series of a thousand workspaces over two weeks has some 45,000."""
_PLACES = Decimal("0.000000000001")
_METRICS: dict[str, Callable[[Figures], Decimal]] = {
    "provider_cost": lambda figures: figures.cost_usd,
    "cost": lambda figures: figures.charged_usd,
    "calls": lambda figures: Decimal(figures.calls),
    "total_tokens": lambda figures: Decimal(figures.total_tokens) / 1_000_000,
}


def _find(rule: AlertRule, now: datetime) -> list[Observation]:
    metric, least = ANOMALY.setting(rule, "metric"), Decimal(ANOMALY.setting(rule, "floor"))
    hour = floor(now, HOUR)
    recent = _series(rule, [hour - HOUR, hour, hour + HOUR], metric)
    # Most of the time nobody has used enough to matter, and the past need not be read.
    candidates = {key: hours for key, hours in recent.items() if max(hours.values()) > least}
    if not candidates:
        return []
    days = ANOMALY.setting(rule, "days")
    edges = [hour - day * DAY + step * HOUR for day in range(days, 0, -1) for step in (-1, 0, 1)]
    past = _series(rule, edges, metric)
    over: dict[Key, tuple[Decimal, Decimal, Facts]] = {}
    for key, hours in candidates.items():
        for back in (0, 1):
            value = hours.get(1 - back, Decimal(0))
            values = _same_hours(past.get(key, {}), days=days, back=back)
            if len(values) < ANOMALY.setting(rule, "min_days"):
                continue
            usual = robust.usual(values)
            bound = usual.bound(rule.threshold, floor=least)
            if value > bound and (key not in over or value - bound > over[key][0] - over[key][1]):
                over[key] = (
                    value,
                    bound,
                    _facts(rule, value, usual, bound, hour=hour - back * HOUR, is_under_way=back == 0),
                )
    named = subjects.named(rule, over)
    return [
        Observation(
            kind=named[key].kind,
            subject_id=named[key].subject_id,
            value=_stored(value),
            threshold=_stored(bound),
            facts={"subject": named[key].names, **facts},
            workspace_id=named[key].workspace_id,
            user_id=named[key].user_id,
        )
        for key, (value, bound, facts) in over.items()
    ]


def _series(rule: AlertRule, edges: list[datetime], metric: str) -> dict[Key, dict[int, Decimal]]:
    """The metric of each subject by the number of the period. One statement, and one for providers."""
    wanted = subjects.wanted(rule)
    found = query.figures(wanted, edges=edges, by=subjects.BY[rule.scope], max_rows=MAX_ROWS).figures
    groups = {(*key, period): figures for (period, key), figures in found.items()}
    series: dict[Key, dict[int, Decimal]] = {}
    for (*key, period), figures in subjects.folded(rule, groups, operator.add).items():
        series.setdefault(tuple(key), {})[period] = _METRICS[metric](figures)
    return series


def _same_hours(past: Mapping[int, Decimal], *, days: int, back: int) -> list[Decimal]:
    """What the same hour came to on each day since the subject's first call: before that, nothing was no choice of its
    own. The periods of a day are the last whole hour, the hour under way, and the rest up to the next day.
    """
    if not past:
        return []
    first = min(past) // 3
    return [past.get(3 * day + 1 - back, Decimal(0)) for day in range(first, days)]


def _facts(
    rule: AlertRule, value: Decimal, usual: Usual, bound: Decimal, *, hour: datetime, is_under_way: bool
) -> Facts:
    amounts = {
        "value": value,
        "median": usual.median,
        "mad": usual.mad,
        "bound": bound,
        "deviation": rule.threshold * robust.CONSISTENCY * usual.mad,
        "floor": Decimal(ANOMALY.setting(rule, "floor")),
    }
    return {
        "condition": rule.condition,
        "metric": ANOMALY.setting(rule, "metric"),
        "hour": hour.isoformat(),
        "is_under_way": is_under_way,
        "days": usual.count,
        "threshold": words.exactly(rule.threshold),
        **{name: words.exactly(_stored(amount)) for name, amount in amounts.items()},
    }


def _stored(value: Decimal) -> Decimal:
    """As the column takes it."""
    return min(value, MAX_USD).quantize(_PLACES, ROUND_HALF_UP)


def _check(rule: AlertRule) -> dict[str, str]:
    if ANOMALY.setting(rule, "min_days") > ANOMALY.setting(rule, "days"):
        return {"settings": "min_days: " + gettext("These are more than the days that are looked at.")}
    return {} if rule.window_seconds == 3600 else {"window_seconds": gettext("Hours are compared: give 3600.")}


ANOMALY = Condition(
    key="anomaly",
    title=gettext_noop("Usage unlike that of the same hour of other days"),
    unit=gettext_noop("standard deviations from the median"),
    scopes=(Scope.FLEET, Scope.WORKSPACE, Scope.LLM, Scope.PROVIDER),
    find=_find,
    settings={
        "metric": Setting(
            gettext_noop("provider_cost, cost, calls or total_tokens (in millions)."), "provider_cost", tuple(_METRICS)
        ),
        "days": Setting(gettext_noop("How many days back is compared with."), 14, between=(3, 60)),
        "min_days": Setting(gettext_noop("With fewer days since the first call nothing is said."), 7, between=(3, 60)),
        "floor": Setting(gettext_noop("Less than this above the median is no anomaly; in the metric's unit."), "1.00"),
    },
    check=_check,
    default=Default(
        name=gettext_noop("Anomalous usage"),
        scope=Scope.WORKSPACE,
        threshold=Decimal(5),
        window_seconds=3600,
        cooldown_seconds=3 * 3600,
    ),
)
CONDITIONS = (ANOMALY,)
