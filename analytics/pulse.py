"""What goes on now: the last minutes of calls, and what is under way. For dashboards that are always on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Count, QuerySet, Sum
from django.utils import timezone

from analytics import query
from analytics.groups import Names
from analytics.measures import Figures, ratio, shown
from analytics.query import Wanted
from billing.models import Hold
from conversations.models import Message
from synapscale.common.money import ZERO, usd_text

MINUTES = 5
TOP_MODELS = 5


def metrics_of(wanted: Wanted, *, minutes: int = MINUTES) -> dict[str, Any]:
    """The figures of the last ``minutes``, and what is under way now. Four queries."""
    end = timezone.now()
    start = end - timedelta(minutes=minutes)
    groups = {
        key: figures for (_, key), figures in query.figures(wanted, edges=[start, end], by=("llm",)).figures.items()
    }
    total = Figures()
    for figures in groups.values():
        total += figures
    made = shown(total)
    ranked = sorted(groups, key=lambda key: (-groups[key].calls, str(key)))[:TOP_MODELS]
    names = Names(("llm",), ranked, workspace_id=None)
    with query.reading(wanted):
        in_flight = _of(Message.objects.filter(role=Message.Role.ASSISTANT, status__in=_UNDER_WAY), wanted).count()
        held = _of(Hold.objects.filter(state=Hold.State.HELD), wanted).aggregate(
            number=Count("pk"), amount=Sum("amount")
        )
    return {
        "at": end.isoformat(),
        "minutes": minutes,
        "requests_per_minute": str(ratio(total.calls, minutes, places=2)),
        "average_cost_per_request": made["average_cost"],
        "error_rate": made["error_rate"],
        "average_latency_ms": made["average_latency_ms"],
        "calls": total.calls,
        "failed": total.failed,
        "cost": made["cost"],
        "top_models": [
            {**names.as_json(key)["llm"], "calls": groups[key].calls, "cost": shown(groups[key])["cost"]}
            for key in ranked
        ],
        "in_flight_calls": in_flight,
        "open_holds": {"count": held["number"], "amount": usd_text(held["amount"] or ZERO)},
    }


_UNDER_WAY = (Message.Status.PENDING, Message.Status.STREAMING)


def _of(rows: QuerySet[Any], wanted: Wanted) -> QuerySet[Any]:
    if wanted.workspace_id is not None:
        rows = rows.filter(workspace_id=wanted.workspace_id)
    if wanted.user_id is not None:
        rows = rows.filter(user_id=wanted.user_id)
    return rows
