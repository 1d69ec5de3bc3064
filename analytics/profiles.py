"""What there is to say of one user, workspace, conversation or model, made of the same figures as everything else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from analytics import latencies, query
from analytics.asking import Asked, sees_all_of
from analytics.groups import Names, database_dimensions
from analytics.measures import Figures, ratio, shown
from analytics.query import Key, Wanted
from analytics.tables import head
from conversations import feedback_figures
from conversations.feedback_figures import Figures as Opinions
from conversations.models import Conversation, MessageFeedback
from llm.models import LLM, LLMPrice
from synapscale.common.money import usd_text
from tagging.models import Tag, TagLink
from workspaces.models import Membership, User

TOP = 10
Grouped = dict[Key, Figures]


def of_user(asked: Asked, user: User) -> dict[str, Any]:
    """Five queries."""
    models = _grouped(asked, ("llm",))
    total = _total(models)
    ranked = _ranked(models, lambda figures: (figures.calls, figures.charged_usd))
    names = Names(("llm",), models, workspace_id=asked.wanted.workspace_id)
    favorite = None
    if ranked:
        share = ratio(models[ranked[0]].calls, total.calls, places=4)
        favorite = {**names.as_json(ranked[0])["llm"], "calls": models[ranked[0]].calls, "share": str(share)}
    return {
        **head(asked),
        "user": {"id": str(user.pk), "email": user.email, "name": user.name},
        "total_messages": total.messages,
        "total_cost": usd_text(total.charged_usd),
        "favorite_model": favorite,
        "tokens": _tokens(total),
        "latency": _latency(asked, total),
        "own_key_share": shown(total)["own_key_share"],
        "feedback": _opinions(asked).as_json(),
        "totals": shown(total),
        "models": _rows(("llm",), models, names),
    }


def of_workspace(asked: Asked) -> dict[str, Any]:
    """The team, where the money went, tags that people have set, and agents. At most eleven queries."""
    assert asked.workspace is not None
    models, people = _grouped(asked, ("llm",)), _grouped(asked, ("user",))
    agents = _grouped(asked, ("agent",))
    workspace_id = asked.workspace.pk
    total = _total(models)
    user_names = Names(("user",), people, workspace_id=workspace_id)
    model_names = Names(("llm", "provider"), {(key[0],) for key in models}, workspace_id=workspace_id)
    providers: Grouped = {}
    for key, figures in models.items():
        provider = model_names.folded(key)[1:]
        providers.setdefault(provider, Figures())
        providers[provider] += figures
    return {
        **head(asked),
        "name": asked.workspace.name,
        "totals": shown(total),
        "team_usage": {
            "members": Membership.objects.filter(workspace=asked.workspace).count(),
            "active_users": len(people),
            **_some(("user",), people, user_names),
        },
        "cost_breakdown": {
            "providers": _rows(("provider",), providers, Names(("provider",), (), workspace_id=None)),
            "models": _rows(("llm",), models, Names(("llm",), models, workspace_id=None)),
        },
        "top_users": _rows(("user",), people, user_names)[:TOP],
        "tags": _tags(asked),
        "agents": _rows(("agent",), agents, Names(("agent",), agents, workspace_id=workspace_id)),
        "feedback": _opinions(asked).as_json(),
    }


def _tags(asked: Asked) -> list[dict[str, Any]]:
    """The tags that people have put on most things, with what counts for each. Three queries."""
    assert asked.workspace is not None
    links = TagLink.objects.filter(workspace=asked.workspace, origin=TagLink.Origin.PERSON, state=TagLink.State.APPLIED)
    often = links.order_by().values("tag_id").annotate(number=Count("pk")).order_by("-number", "tag_id")[:TOP]
    tags = Tag.objects.filter(workspace=asked.workspace, pk__in=[row["tag_id"] for row in often])
    groups = _grouped(replace(asked, tags=tuple(tags)), ("tag",)) if tags else {}
    return _rows(("tag",), groups, Names(("tag",), groups, workspace_id=asked.workspace.pk))


def of_conversation(asked: Asked, conversation: Conversation) -> dict[str, Any]:
    """Its calls, of everybody in it. Two queries."""
    asked = replace(asked, wanted=replace(asked.wanted, conversation_id=conversation.pk, user_id=None))
    models = _grouped(asked, ("llm",))
    total = _total(models)
    return {
        **head(asked),
        "of": "conversation",
        "conversation": str(conversation.pk),
        "total_messages": total.messages,
        "total_tokens": total.total_tokens,
        "conversation_cost": usd_text(total.charged_usd),
        "models_used": _rows(("llm",), models, Names(("llm",), models, workspace_id=None)),
        "totals": shown(total),
    }


def of_models(asked: Asked, llms: Iterable[LLM] | None = None) -> list[dict[str, Any]]:
    """Models side by side, the most used first: those of ``llms``, or all that were called. Five queries."""
    models = _grouped(asked, ("llm",))
    if llms is not None:
        for llm in llms:
            models.setdefault((llm.pk,), Figures())
    counts = latencies.counts_by_llm(asked.wanted, start=asked.window.start, end=asked.window.end)
    with query.reading(asked.wanted):
        opinions = feedback_figures.figures_by(_feedback(asked), "message__llm_id")
    ids = [key[0] for key in models]
    known = {llm.pk: llm for llm in LLM.objects.filter(pk__in=ids)}
    prices = {price.llm_id: price for price in LLMPrice.objects.valid_at(timezone.now()).filter(llm__in=ids)}
    return [
        _of_model(
            known[key[0]],
            models[key],
            counts.get(key[0], {}),
            opinions.get(key[0], Opinions()),
            prices.get(key[0]),
        )
        for key in _ranked(models, lambda figures: (figures.calls, figures.charged_usd))
    ]


def _of_model(
    llm: LLM, figures: Figures, counts: latencies.Counts, opinions: Opinions, price: LLMPrice | None
) -> dict[str, Any]:
    made = shown(figures)
    return {
        "id": str(llm.pk),
        "model": str(llm),
        "provider": llm.provider,
        "is_active": llm.is_active,
        "usage": made,
        "latency": {**latencies.percentiles_json(counts), "average": made["average_latency_ms"]},
        "tokens_per_second": made["tokens_per_second"],
        "error_rate": made["error_rate"],
        "satisfaction": opinions.as_json()["satisfaction"],
        "feedback": opinions.as_json(),
        "cost_per_positive": cost_per_positive(figures, opinions),
        "price": None
        if price is None
        else {
            "input_usd_per_mtok": usd_text(price.input_usd_per_mtok),
            "output_usd_per_mtok": usd_text(price.output_usd_per_mtok),
        },
    }


def cost_per_positive(figures: Figures, opinions: Opinions) -> str | None:
    """What the providers ask for the calls / answers that were rated positively, in USD to 12 places. By the provider's
    price, which own keys and untracked workspaces pay as well.
    """
    if not opinions.positive:
        return None
    return usd_text((figures.cost_usd / opinions.positive).quantize(Decimal("1E-12"), ROUND_HALF_UP))


def _feedback(asked: Asked) -> QuerySet[MessageFeedback]:
    """On the answers that were given in the window. Members see their own opinions of them, and public ones."""
    start, end = asked.window.start, asked.window.end
    rows = MessageFeedback.objects.filter(
        # Nobody has an opinion of an answer before there is one.
        created_at__gte=start,
        message__created_at__gte=start,
        message__created_at__lt=end,
    )
    wanted: Wanted = asked.wanted
    if not sees_all_of(asked.who, asked.workspace):
        rows = rows.filter(Q(user=asked.who.user) | Q(is_public=True))
    if wanted.workspace_id is not None:
        rows = rows.filter(workspace_id=wanted.workspace_id)
    if wanted.user_id is not None:
        rows = rows.filter(message__user_id=wanted.user_id)
    if wanted.llm_ids is not None:
        rows = rows.filter(message__llm_id__in=wanted.llm_ids)
    return rows


def _opinions(asked: Asked) -> Opinions:
    with query.reading(asked.wanted):
        return feedback_figures.figures(_feedback(asked))


def _grouped(asked: Asked, by: tuple[str, ...]) -> Grouped:
    edges = [asked.window.start, asked.window.end]
    answer = query.figures(asked.wanted, edges=edges, by=database_dimensions(by), tags=asked.tags)
    return {key: figures for (_, key), figures in answer.figures.items()}


def _total(groups: Grouped) -> Figures:
    found = Figures()
    for figures in groups.values():
        found += figures
    return found


def _ranked(groups: Grouped, weight: Any) -> list[Key]:
    return sorted(groups, key=lambda key: (*(-number for number in weight(groups[key])), str(key)))


def _by_cost(groups: Grouped) -> list[Key]:
    return _ranked(groups, lambda figures: (figures.charged_usd, figures.cost_usd, figures.calls))


def _rows(by: tuple[str, ...], groups: Grouped, names: Names) -> list[dict[str, Any]]:
    return [{**names.as_json(key)[by[0]], **shown(groups[key])} for key in _by_cost(groups)]


def _some(by: tuple[str, ...], groups: Grouped, names: Names) -> dict[str, Any]:
    rows = _rows(by, groups, names)
    return {"users": rows[:200], "is_complete": len(rows) <= 200}


def _tokens(total: Figures) -> dict[str, int]:
    return {
        "input": total.input_tokens,
        "cached_input": total.cached_input_tokens,
        "output": total.output_tokens,
        "reasoning": total.reasoning_tokens,
        "total": total.total_tokens,
    }


def _latency(asked: Asked, total: Figures) -> dict[str, Any]:
    counts = latencies.counts_by_llm(asked.wanted, start=asked.window.start, end=asked.window.end)
    made = shown(total)
    return {
        **latencies.percentiles_json(latencies.added(counts)),
        "average": made["average_latency_ms"],
        "average_first_token": made["average_first_token_ms"],
    }
