"""Conditions on figures of a window that ends now: what was spent, how much failed, how long answers took.

The figures are those of the API, from the same functions: an alert and a screen can't disagree.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from django.utils.translation import gettext, gettext_noop

from analytics import latencies, latency, query
from analytics.alerting import subjects, words
from analytics.alerting.conditions import Condition, Default, Observation, Setting
from analytics.alerting.explanations import Facts
from analytics.alerting.subjects import Scope
from analytics.latencies import Counts
from analytics.measures import Figures, ratio
from analytics.models import AlertRule, Severity
from analytics.query import Key
from conversations.models import UsageLog

_ALL = tuple(Scope.values)
_PERCENTS = {"p50": 50, "p95": 95, "p99": 99}
_KEY_SOURCE = Setting(
    gettext_noop("Only calls on such keys: user, workspace or global (the house's)."),
    "",
    ("", *UsageLog.KeySource.values),
)


def _window(rule: AlertRule, now: datetime) -> tuple[datetime, datetime]:
    return now - timedelta(seconds=rule.window_seconds), now


def _figures(condition: Condition, rule: AlertRule, now: datetime) -> dict[Key, Figures]:
    """Of each subject. One statement, and one for providers."""
    wanted = subjects.wanted(rule, key_source=condition.setting(rule, "key_source"))
    found = query.figures(wanted, edges=_window(rule, now), by=subjects.BY[rule.scope])
    groups = {key: figures for (_, key), figures in found.figures.items() if figures.calls}
    return subjects.folded(rule, groups, operator.add)


def _observed(rule: AlertRule, over: Iterable[tuple[Key, Decimal, Facts]]) -> list[Observation]:
    """``over``: a subject's key, its value, and what else the sentence that says so needs."""
    found = {key: (value, facts) for key, value, facts in over}
    named = subjects.named(rule, found)
    return [
        Observation(
            kind=named[key].kind,
            subject_id=named[key].subject_id,
            value=value,
            threshold=rule.threshold,
            facts={
                "condition": rule.condition,
                "subject": named[key].names,
                "value": words.exactly(value),
                "threshold": words.exactly(rule.threshold),
                "seconds": rule.window_seconds,
                **facts,
            },
            workspace_id=named[key].workspace_id,
            user_id=named[key].user_id,
        )
        for key, (value, facts) in found.items()
    ]


# --- Cost -------------------------------------------------------------------------------------------------------------


def _costs(rule: AlertRule, now: datetime) -> list[Observation]:
    which = COST.setting(rule, "of")
    over = []
    for key, figures in _figures(COST, rule, now).items():
        value = figures.charged_usd if which == "cost" else figures.cost_usd
        if value > rule.threshold and figures.calls >= rule.min_calls:
            over.append((key, value, {"of": which, "calls": figures.calls}))
    return _observed(rule, over)


COST = Condition(
    key="cost",
    title=gettext_noop("What calls cost"),
    unit=gettext_noop("USD"),
    scopes=_ALL,
    find=_costs,
    settings={
        "of": Setting(
            gettext_noop("cost: what the wallet paid; provider_cost: what the providers ask."),
            "cost",
            ("cost", "provider_cost"),
        ),
        "key_source": _KEY_SOURCE,
    },
    default=Default(
        name=gettext_noop("A user's cost"),
        scope=Scope.USER,
        threshold=Decimal(10),
        window_seconds=86_400,
        cooldown_seconds=86_400,
    ),
)


# --- Failures ---------------------------------------------------------------------------------------------------------


def _error_rates(rule: AlertRule, now: datetime) -> list[Observation]:
    over = []
    for key, figures in _figures(ERROR_RATE, rule, now).items():
        value = ratio(figures.failed, figures.calls, places=4)
        if value is not None and value > rule.threshold and figures.calls >= rule.min_calls:
            over.append((key, value, {"failed": figures.failed, "calls": figures.calls}))
    return _observed(rule, over)


ERROR_RATE = Condition(
    key="error_rate",
    title=gettext_noop("The share of calls that fail"),
    unit=gettext_noop("share, 0 to 1"),
    scopes=_ALL,
    find=_error_rates,
    settings={"key_source": _KEY_SOURCE},
    check=lambda rule: {} if rule.threshold <= 1 else {"threshold": gettext("A share is from 0 to 1, like “0.05”.")},
    default=Default(
        name=gettext_noop("Error rate"),
        scope=Scope.LLM,
        threshold=Decimal("0.05"),
        window_seconds=900,
        cooldown_seconds=900,
        min_calls=20,
        severity=Severity.CRITICAL,
    ),
)


# --- Latency ----------------------------------------------------------------------------------------------------------


def _latencies(rule: AlertRule, now: datetime) -> list[Observation]:
    statistic = LATENCY.setting(rule, "statistic")
    found = _average(rule, now) if statistic == "average" else _percentile(rule, now, _PERCENTS[statistic])
    over = []
    for key, (milliseconds, calls) in found.items():
        value = milliseconds / 1000
        if value > rule.threshold and calls >= rule.min_calls:
            over.append((key, value, {"statistic": statistic, "calls": calls}))
    return _observed(rule, over)


def _average(rule: AlertRule, now: datetime) -> dict[Key, tuple[Decimal, int]]:
    found = {}
    for key, figures in _figures(LATENCY, rule, now).items():
        mean = ratio(figures.latency_ms, figures.timed_calls, places=1)
        if mean is not None:
            found[key] = mean, figures.timed_calls
    return found


def _percentile(rule: AlertRule, now: datetime, percent: int) -> dict[Key, tuple[Decimal, int]]:
    """Of each model or provider, or of all that the rule looks at. One statement."""
    start, end = _window(rule, now)
    wanted = subjects.wanted(rule, key_source=LATENCY.setting(rule, "key_source"))
    by_llm: dict[Key, Counts] = {
        (llm_id,): counts for llm_id, counts in latencies.counts_by_llm(wanted, start=start, end=end).items()
    }
    if rule.scope in (Scope.LLM, Scope.PROVIDER):
        groups = subjects.folded(rule, by_llm, _added)
    else:
        whole = {
            Scope.FLEET: (),
            Scope.WORKSPACE: (wanted.workspace_id,),
            Scope.USER: (wanted.workspace_id, wanted.user_id),
        }
        groups = {whole[Scope(rule.scope)]: latencies.added({key[0]: counts for key, counts in by_llm.items()})}
    found = {}
    for key, counts in groups.items():
        value = latency.percentiles(counts, (percent,))[percent]
        if value is not None:
            found[key] = Decimal(value), sum(counts.values())
    return found


def _added(one: Counts, other: Counts) -> Counts:
    return {step: one.get(step, 0) + other.get(step, 0) for step in {*one, *other}}


def _check_latency(rule: AlertRule) -> dict[str, str]:
    """Counts per step of latency are kept by model and workspace: percentiles of every one of many come from nowhere."""
    is_one = bool(rule.subject_id or rule.workspace_id) if rule.scope == Scope.WORKSPACE else False
    is_one = is_one or (rule.scope == Scope.USER and bool(rule.subject_id) and rule.workspace_id is not None)
    if LATENCY.setting(rule, "statistic") == "average" or is_one or rule.scope not in (Scope.WORKSPACE, Scope.USER):
        return {}
    return {
        "settings": "statistic: "
        + gettext("of each %(scope)s there is the “average” only; or name one in subject_id.") % {"scope": rule.scope}
    }


LATENCY = Condition(
    key="latency",
    title=gettext_noop("How long answers take"),
    unit=gettext_noop("seconds"),
    scopes=_ALL,
    find=_latencies,
    settings={
        "statistic": Setting(
            gettext_noop("p50, p95, p99 or average of the time to the whole answer."), "p95", (*_PERCENTS, "average")
        ),
        "key_source": _KEY_SOURCE,
    },
    check=_check_latency,
    default=Default(
        name=gettext_noop("Latency"),
        scope=Scope.LLM,
        threshold=Decimal(5),
        window_seconds=900,
        cooldown_seconds=900,
        min_calls=20,
    ),
)

CONDITIONS = (COST, ERROR_RATE, LATENCY)
