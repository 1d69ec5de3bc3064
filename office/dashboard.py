"""Back office: the front page. Its figures are those of ``analytics``; here is only what is asked for and how it is shown."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.translation import gettext as _

from analytics import health, latencies, pulse, query
from analytics.measures import Figures, ratio
from analytics.models import Alert
from analytics.query import Wanted
from billing.models import Wallet
from llm.circuits import CIRCUITS
from llm.models import LLM
from office import navigation, shown
from office.lasting import RATE_DAYS, days_left
from office.timeline import Timeline
from synapscale.common.amounts import dollars
from synapscale.common.money import usd_text
from synapscale.common.tenancy import fleet_wide

SEES_FIGURES = ("conversations.view_usagelog",)
TOP = 5
SPENDERS = 200
"""Wallets are looked at of so many workspaces, those that spend most."""
RUNS_LOW_DAYS = 7
"""A wallet runs low when what it has would not last so long."""

Row = dict[str, Any]


def context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What ``templates/admin/index.html`` shows, on top of what every page knows."""
    found: dict[str, Any] = {**context, "groups": navigation.groups(request), "sees_figures": False}
    if not request.user.has_perms(SEES_FIGURES):
        return found
    now = timezone.now()
    with fleet_wide():
        line = Timeline(now)
        llms = {llm.pk: llm for llm in LLM.objects.all()}
        spenders = _spenders(line)
        wallets = _wallets(spenders)
        found |= {
            "sees_figures": True,
            "live": _live(),
            "live_url": reverse("office_live"),
            "spend": _spend(line),
            "charts": [_spend_chart(line), _tokens_chart(line, llms), _failures_chart(line, llms)],
            "models": _models(line, llms),
            "providers": _providers(line, llms),
            "workspaces": _workspaces(spenders, wallets),
        }
        if request.user.has_perm("billing.view_wallet"):
            found["low"] = _running_low(spenders, wallets)
        if request.user.has_perm("analytics.view_alert"):
            found["alerts"] = _alerts()
    return found


def live(request: HttpRequest) -> HttpResponse:
    """What goes on now, as the front page asks for it again and again."""
    if not request.user.has_perms(SEES_FIGURES):
        raise PermissionDenied
    with fleet_wide():
        return JsonResponse({tile["key"]: tile["value"] for tile in _live()})


def rows_url(label: str, **filters: Any) -> str:
    """The list of a model (``app_model``), filtered."""
    return f"{reverse(f'admin:{label}_changelist')}?{urlencode(filters)}"


def _live() -> list[Row]:
    """Five queries."""
    now = timezone.now()
    metrics = pulse.metrics_of(Wanted(None))
    hour = latencies.added(latencies.counts_by_llm(Wanted(None), start=now - timedelta(hours=1), end=now))
    lately = (now - timedelta(minutes=pulse.MINUTES)).isoformat()
    usage = rows_url("conversations_usagelog", created_at__gte=lately)
    holds = metrics["open_holds"]
    return [
        {
            "key": "requests_per_minute",
            "title": _("Requests per minute"),
            "value": formats.number_format(Decimal(metrics["requests_per_minute"]), decimal_pos=1, force_grouping=True),
            "note": _("in the last 5 minutes"),
            "url": usage,
        },
        {
            "key": "error_rate",
            "title": _("Error rate"),
            "value": shown.percent(metrics["error_rate"]),
            "note": _("in the last 5 minutes"),
            "url": f"{usage}&{urlencode({'status__exact': 'error'})}",
        },
        {
            "key": "p95",
            "title": _("Latency, p95"),
            "value": shown.milliseconds(latencies.percentiles_json(hour)["p95"]),
            "note": _("in the last hour"),
            "url": rows_url("conversations_usagelog", created_at__gte=(now - timedelta(hours=1)).isoformat()),
        },
        {
            "key": "in_flight",
            "title": _("Calls under way"),
            "value": shown.count(metrics["in_flight_calls"]),
            "note": _("now"),
            "url": rows_url("conversations_message", status__exact="streaming"),
        },
        {
            "key": "open_holds",
            "title": _("Open holds"),
            "value": f"{shown.count(holds['count'])} · {shown.usd(Decimal(holds['amount']))}",
            "note": _("reserved now"),
            "url": rows_url("billing_hold", state__exact="held"),
        },
    ]


def _spend(line: Timeline) -> list[Row]:
    yesterday = line.midnight - timedelta(days=1)
    windows = [
        (_("Spend today"), line.midnight, line.now, yesterday, line.before(1), _("yesterday until this time")),
        (_("Spend in 7 days"), line.before(7), line.now, line.before(14), line.before(7), _("the 7 days before")),
        (_("Spend in 30 days"), line.before(30), line.now, line.before(60), line.before(30), _("the 30 days before")),
    ]
    found = []
    for title, start, end, since, until, compared in windows:
        now, before = line.of(start, end).charged_usd, line.of(since, until).charged_usd
        found.append(
            {
                "title": title,
                "value": shown.usd(now),
                "exact": dollars(now),
                "change": shown.change(now, before),
                "before": shown.usd(before),
                "compared": compared,
                "url": rows_url("conversations_usagelog", created_at__gte=start.isoformat()),
            }
        )
    return found


def _chart(key: str, title: str, labels: list[str], series: list[Row], text: Callable[[Any], str], empty: str) -> Row:
    """A stacked chart, and its table. ``series`` are ``{"name", "values"}``; money is a decimal text."""
    columns = list(zip(*(one["values"] for one in series), strict=True))
    return {
        "key": key,
        "script": f"chart-{key}",
        "title": title,
        "data": {"labels": labels, "series": series},
        "heads": [one["name"] for one in series],
        "rows": [
            {"label": label, "cells": [text(value) for value in values]}
            for label, values in zip(labels, columns, strict=False)
        ],
        "empty": empty,
    }


def _spend_chart(line: Timeline) -> Row:
    values = [usd_text(line.of(start, end).charged_usd) for start, end in line.days]
    series = [{"name": _("Spend"), "values": values}] if any(Decimal(value) for value in values) else []
    return _chart(
        "spend",
        _("Spend by day"),
        _day_names(line),
        series,
        lambda text: shown.usd(Decimal(text)),
        _("Nothing was spent in the last 30 days."),
    )


def _tokens_chart(line: Timeline, llms: dict[uuid.UUID, LLM]) -> Row:
    by_day = [line.by_llm(start, end) for start, end in line.days]
    return _chart(
        "tokens",
        _("Tokens by model"),
        _day_names(line),
        _by_model(by_day, llms, lambda figures: figures.total_tokens),
        shown.count,
        _("No tokens in the last 30 days."),
    )


def _failures_chart(line: Timeline, llms: dict[uuid.UUID, LLM]) -> Row:
    by_hour = [line.by_llm(start, end) for start, end in line.hours]
    tz = timezone.get_current_timezone()
    return _chart(
        "failures",
        _("Failed calls by model, last 24 hours"),
        [formats.time_format(start.astimezone(tz).time(), "H:i") for start, _end in line.hours],
        _by_model(by_hour, llms, lambda figures: figures.failed),
        shown.count,
        _("No call has failed in the last 24 hours."),
    )


def _day_names(line: Timeline) -> list[str]:
    tz = timezone.get_current_timezone()
    return [formats.date_format(start.astimezone(tz), "SHORT_DATE_FORMAT") for start, _end in line.days]


def _by_model(
    periods: list[dict[uuid.UUID, Figures]], llms: dict[uuid.UUID, LLM], of: Callable[[Figures], int]
) -> list[Row]:
    """One series for each of the models that have most of it, and one for all others together."""
    totals = _added(periods)
    ranked = sorted((key for key in totals if of(totals[key])), key=lambda key: (-of(totals[key]), str(key)))
    series = [
        {"name": str(llms[key]), "values": [of(period.get(key, Figures())) for period in periods]}
        for key in ranked[:TOP]
    ]
    if rest := ranked[TOP:]:
        others = [sum(of(period.get(key, Figures())) for key in rest) for period in periods]
        series.append({"name": _("Others"), "values": others})
    return series


def _added(periods: Iterable[dict[uuid.UUID, Figures]]) -> dict[uuid.UUID, Figures]:
    found: dict[uuid.UUID, Figures] = {}
    for period in periods:
        for key, figures in period.items():
            found[key] = found[key] + figures if key in found else figures
    return found


def _models(line: Timeline, llms: dict[uuid.UUID, LLM]) -> list[Row]:
    """Those that cost most in 30 days, and how they did in the last 24 hours."""
    month, day = line.by_llm(line.before(30), line.now), line.by_llm(line.hours[0][0], line.now)
    ranked = sorted(month, key=lambda key: (-month[key].charged_usd, -month[key].calls, str(key)))
    since = line.hours[0][0].isoformat()
    found = []
    for key in ranked[: TOP * 2]:
        lately = day.get(key, Figures())
        filters = {"llm__id__exact": key, "created_at__gte": since}
        found.append(
            {
                "name": str(llms[key]),
                "url": reverse("admin:llm_llm_change", args=[key]),
                "cost": shown.usd(month[key].charged_usd),
                "tokens": shown.count(month[key].total_tokens),
                "calls": shown.count(month[key].calls),
                "lately": shown.count(lately.calls),
                "failed": shown.count(lately.failed),
                "error_rate": shown.percent(ratio(lately.failed, lately.calls, places=4)),
                "failed_url": rows_url("conversations_usagelog", **filters, status__exact="error"),
            }
        )
    return found


def _providers(line: Timeline, llms: dict[uuid.UUID, LLM]) -> list[Row]:
    """How each that has an active model did in the last hour or so."""
    hours: dict[str, list[Figures]] = {llm.provider: [] for llm in llms.values() if llm.is_active}
    for key, figures in line.by_llm(line.hours[-2][0], line.now).items():
        hours.setdefault(llms[key].provider, []).append(figures)
    found = []
    for name in sorted(hours):
        figures = Figures.total(hours[name])
        if CIRCUITS.state(name) == "open":
            state, words = "down", _("paused: it failed again and again")
        elif health.is_failing(figures):
            state, words = "down", _("most calls fail")
        elif not figures.calls:
            state, words = "quiet", _("not asked lately")
        else:
            state, words = "ok", _("answers")
        found.append(
            {
                "name": name,
                "state": state,
                "words": words,
                "calls": shown.count(figures.calls),
                "failed": shown.count(figures.failed),
                "url": rows_url("llm_llm", provider__exact=name),
            }
        )
    return found


def _spenders(line: Timeline) -> list[tuple[uuid.UUID, Figures]]:
    """The workspaces that spent most in 7 days. One query."""
    answer = query.figures(Wanted(None), edges=[line.before(RATE_DAYS), line.now], by=("workspace",))
    spent = [(key[0], figures) for (_, key), figures in answer.figures.items()]
    spent.sort(key=lambda one: (-one[1].charged_usd, -one[1].calls, str(one[0])))
    return spent[:SPENDERS]


def _wallets(spenders: list[tuple[uuid.UUID, Figures]]) -> dict[uuid.UUID, Wallet]:
    wallets = Wallet.objects.filter(workspace__in=[key for key, _ in spenders]).select_related("workspace")
    return {wallet.workspace_id: wallet for wallet in wallets}


def _workspaces(spenders: list[tuple[uuid.UUID, Figures]], wallets: dict[uuid.UUID, Wallet]) -> list[Row]:
    return [
        {
            "name": wallets[key].workspace.name,
            "url": reverse("admin:workspaces_workspace_change", args=[key]),
            "cost": shown.usd(figures.charged_usd),
            "calls": shown.count(figures.calls),
        }
        for key, figures in spenders[: TOP * 2]
        if key in wallets
    ]


def _running_low(spenders: list[tuple[uuid.UUID, Figures]], wallets: dict[uuid.UUID, Wallet]) -> list[Row]:
    """Wallets that would be empty within a week, if it goes on as it went."""
    low = []
    for key, figures in spenders:
        wallet = wallets.get(key)
        days = None if wallet is None else days_left(wallet, figures.charged_usd)
        if wallet is not None and days is not None and days < RUNS_LOW_DAYS:
            low.append((days, wallet))
    low.sort(key=lambda one: (one[0], str(one[1].pk)))
    return [
        {
            "name": wallet.workspace.name,
            "url": reverse("admin:billing_wallet_change", args=[wallet.pk]),
            "available": shown.usd(wallet.available),
            "lasts": formats.number_format(days, decimal_pos=1),
        }
        for days, wallet in low[: TOP * 2]
    ]


def _alerts() -> list[Row]:
    """The newest that are open."""
    open_ = Alert.objects.filter(state__in=Alert.OPEN).select_related("rule").order_by("-fired_at", "-id")
    return [alert_row(alert) for alert in open_[: TOP * 2]]


def alert_row(alert: Alert) -> Row:
    return {
        "name": alert.rule.shown_name,
        "subject": alert.subject_name,
        "severity": alert.get_severity_display(),
        "level": alert.severity,
        "state": alert.get_state_display(),
        "since": alert.fired_at,
        "url": reverse("admin:analytics_alert_change", args=[alert.pk]),
    }
