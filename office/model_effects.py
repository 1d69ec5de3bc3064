"""Back office: who relies on a model. ``llm.effects`` asks for it before one is retired or brought back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db.models import Count, Model, Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from conversations.models import Agent, ConversationLLM
from llm.effects import Named, Reliance
from llm.models import LLM
from synapscale.common.tenancy import fleet_wide
from workspaces.models import User, Workspace

DAYS = 30
NAMED = 10
"""So many of each kind are named where it is about one model."""

_HAS_OTHERS = ~Q(fallback_llms=[]) | ~Q(workspace__fallback_models=[])
"""An agent that another model can answer for: its own fallbacks, or where it names none the workspace's."""


def reliances(llms: Sequence[LLM], *, user: User | Any) -> list[Reliance]:
    """Four queries, and as many again for the names where it is about one model."""
    since = timezone.now() - timedelta(days=DAYS)
    with fleet_wide():
        main: dict[Any, tuple[int, int]] = {
            row["llm"]: (row["all"], row["alone"])
            for row in _agents()
            .filter(llm__in=llms)
            .values("llm")
            .annotate(all=Count("pk"), alone=Count("pk", filter=~_HAS_OTHERS))
            .order_by()
        }
        chats = dict(
            ConversationLLM.objects.filter(llm__in=llms, last_used_at__gte=since)
            .values_list("llm")
            .annotate(count=Count("pk"))
            .order_by()
        )
        fallback = _agents().aggregate(
            **{f"n{number}": Count("pk", filter=_names("fallback_text", llm)) for number, llm in enumerate(llms)}
        )
        spaces = _workspaces().aggregate(
            **{
                f"{name}{number}": Count("pk", filter=condition)
                for number, llm in enumerate(llms)
                for name, condition in (
                    ("default", Q(default_model=str(llm))),
                    ("alone", Q(default_model=str(llm), fallback_models=[])),
                    ("fallback", _names("fallback_text", llm)),
                    ("allowed", _names("allowed_text", llm)),
                )
            }
        )
        return [
            Reliance(
                llm=llm,
                agents=main.get(llm.pk, (0, 0))[0],
                agents_without_fallback=main.get(llm.pk, (0, 0))[1],
                agents_as_fallback=fallback[f"n{number}"],
                conversations=chats.get(llm.pk, 0),
                default_of=spaces[f"default{number}"],
                default_without_fallback=spaces[f"alone{number}"],
                fallback_of=spaces[f"fallback{number}"],
                allowed_in=spaces[f"allowed{number}"],
                names=_some_names(llm, user) if len(llms) == 1 else [],
            )
            for number, llm in enumerate(llms)
        ]


def _agents() -> QuerySet[Agent]:
    # As text, because SQLite can't look into JSON for a value.
    active = Agent.objects.filter(is_active=True, workspace__status=Workspace.Status.ACTIVE)
    return active.annotate(fallback_text=Cast("fallback_llms", TextField()))


def _workspaces() -> QuerySet[Workspace]:
    return Workspace.objects.filter(status=Workspace.Status.ACTIVE).annotate(
        fallback_text=Cast("fallback_models", TextField()), allowed_text=Cast("allowed_models", TextField())
    )


def _names(column: str, llm: LLM) -> Q:
    """Whether the list of “provider/name” in ``column`` has the model. SQLite keeps letters beyond ASCII as escapes."""
    found = Q()
    for text in {json.dumps(str(llm)), json.dumps(str(llm), ensure_ascii=False)}:
        found |= Q(**{f"{column}__contains": text})
    return found


def _some_names(llm: LLM, user: User | Any) -> list[tuple[str, list[Named]]]:
    found: list[tuple[str, list[Named]]] = []
    if user.has_perm("conversations.view_agent"):
        agents = _agents().select_related("workspace").order_by("-id")
        found += [
            (_("Agents that it answers for"), _named(agents.filter(llm=llm))),
            (_("Agents that fall back to it"), _named(agents.filter(_names("fallback_text", llm)))),
        ]
    if user.has_perm("workspaces.view_workspace"):
        spaces = _workspaces().order_by("name", "id")
        relying = Q(default_model=str(llm)) | _names("fallback_text", llm) | _names("allowed_text", llm)
        found.append((_("Workspaces that name it in their rules"), _named(spaces.filter(relying))))
    return [(title, names) for title, names in found if names]


def _named(rows: QuerySet[Any]) -> list[Named]:
    return [
        Named(
            f"{row.name} · {row.workspace.name}" if isinstance(row, Agent) else row.name,
            reverse(f"admin:{_label(row)}_change", args=[row.pk]),
        )
        for row in rows[:NAMED]
    ]


def _label(row: Model) -> str:
    return f"{row._meta.app_label}_{row._meta.model_name}"
