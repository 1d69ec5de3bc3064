"""Back office: what the calls of the last days would have cost at another price. ``llm.effects`` asks for it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.urls import reverse
from django.utils import timezone

from analytics.repricing import Costs, reprice
from llm.effects import Amount, Cost, PriceEffect
from llm.models import LLM
from llm.pricing import PriceTable
from office import shown
from office.dashboard import SEES_FIGURES
from synapscale.common.amounts import dollars
from workspaces.models import User, Workspace

DAYS = 30
TOP = 10
PLACES = 1
"""Of a percentage: a price may move by less than a percent."""


def price_effect(llm: LLM, *, table: PriceTable, present: PriceTable | None, user: User | Any) -> PriceEffect | None:
    """Two queries."""
    if not user.has_perms(SEES_FIGURES):
        return None
    now = timezone.now()
    tables = [table] if present is None else [table, present]
    found = reprice(llm, tables=tables, span=(now - timedelta(days=DAYS), now))
    ranked = sorted(
        found.by_workspace.items(), key=lambda one: (-abs(one[1].at[0] - one[1].paid), -one[1].paid, str(one[0]))
    )
    names = dict(Workspace.objects.filter(pk__in=[key for key, _ in ranked[:TOP]]).values_list("pk", "name"))
    sees_workspaces = user.has_perm("workspaces.view_workspace")
    at_present = found.total.at[1] if present is not None else found.total.paid
    differs = at_present != found.total.paid
    return PriceEffect(
        days=DAYS,
        total=_cost(found.total),
        at_present=amount(at_present) if differs else None,
        percent_of_present=shown.change(found.total.at[0], at_present, places=PLACES) if differs else "",
        workspaces=[
            _cost(
                costs,
                name=names.get(key, str(key)),
                url=reverse("admin:workspaces_workspace_change", args=[key]) if sees_workspaces else "",
            )
            for key, costs in ranked[:TOP]
        ],
        others=max(0, len(ranked) - TOP),
        has_calls=found.total.calls > 0,
    )


def amount(usd: Decimal, *, is_signed: bool = False) -> Amount:
    sign = "+" if is_signed and usd > 0 else ""
    return Amount(f"{sign}{shown.usd(usd)}", f"{sign}{dollars(usd)}")


def _cost(costs: Costs, *, name: str = "", url: str = "") -> Cost:
    paid, new = costs.paid, costs.at[0]
    return Cost(
        name=name,
        url=url,
        calls=shown.count(costs.calls),
        paid=amount(paid),
        new=amount(new),
        difference=amount(new - paid, is_signed=True),
        percent=shown.change(new, paid, places=PLACES),
    )
