"""How hard a model is to think, in each vendor's words: the one place where they are translated.

A client says it as OpenAI does (``reasoning_effort``) or as Anthropic does (``thinking``, a budget, an effort), and any
model may answer. Every model knows other words, and refuses those that it does not know, so each vendor has a table of
exceptions here, the newest models being the rule. What a model does not know becomes the nearest that it does. Nothing
here is for models that do not think.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llm.types import CallRequest

SCALE = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 32768}
"""Tokens to think, per effort. Up to ``high``: https://ai.google.dev/gemini-api/docs/openai#thinking; above, the most
that a model with budgets takes."""


def wanted_effort(request: CallRequest) -> str:
    """The effort that the client asks for, in whichever words; ``""`` leaves it to the vendor. A budget stands for the
    highest effort that it pays for."""
    if request.thinking == "disabled":
        return "none"
    if request.reasoning_effort or request.thinking_budget is None:
        return request.reasoning_effort
    return [effort for effort in ("low", "medium", "high") if BUDGETS[effort] <= max(request.thinking_budget, 1024)][-1]


def nearest(effort: str, known: Sequence[str]) -> str:
    """``effort``, or the nearest one that is ``known``: of two as near the lower, but rather a little thinking than
    none."""
    place = SCALE.index(effort)
    return min(known, key=lambda other: (abs(SCALE.index(other) - place), other == "none", SCALE.index(other)))


# OpenAI, and those who speak its protocol ------------------------------------------------------------------------------

OPENAI_EFFORTS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("o1", "o3", "o4"), ("low", "medium", "high")),
    (("gpt-5.1",), ("none", "low", "medium", "high")),
    (("gpt-5.",), ("none", "low", "medium", "high", "xhigh")),
    (("gpt-5",), ("minimal", "low", "medium", "high")),
    (("gpt-6-astra", "gpt-6.1-sol"), ("low", "medium", "high", "xhigh", "max")),
    (("gpt-6",), ("none", "low", "medium", "high", "xhigh", "max")),
)
"""What a model knows, by the first beginning of its name that fits: developers.openai.com/api/docs/guides/reasoning and
/deployment-checklist. Of other models everything is asked as it is."""

OPENAI_TOOLS_BAR_THINKING = ("gpt-5.4", "gpt-5.5", "gpt-5.6", "gpt-6")
"""Chat completions refuse these models their tools unless the effort is ``none`` (said outright, for the default counts
too): developers.openai.com/api/docs/guides/deployment-checklist. Those that know no ``none`` have no tools there."""

GROK_WITHOUT_EFFORT = ("grok-3", "grok-4-", "grok-4.1", "grok-4.20", "grok-code")
"""They think as they please and refuse the parameter: docs.x.ai/developers/model-capabilities/text/reasoning."""
GROK_EFFORTS = ("low", "medium", "high")


def for_openai(provider: str, request: CallRequest) -> dict[str, Any]:
    """Arguments of ``chat.completions.create``."""
    if not request.is_reasoning:
        return {}
    effort = wanted_effort(request)
    if provider == "openai":
        return _openai(request, effort)
    if provider == "grok":
        if not effort or request.model == "grok-4" or request.model.startswith(GROK_WITHOUT_EFFORT):
            return {}
        return {"reasoning_effort": nearest(effort, GROK_EFFORTS)}
    if provider == "deepseek":
        # It takes every effort but ``none``: api-docs.deepseek.com/guides/thinking_mode
        if effort == "none":
            return {"extra_body": {"thinking": {"type": "disabled"}}}
        switch = {"extra_body": {"thinking": {"type": "enabled"}}} if request.thinking else {}
        return {**switch, **({"reasoning_effort": effort} if effort else {})}
    return {"reasoning_effort": effort} if effort else {}


def _openai(request: CallRequest, effort: str) -> dict[str, Any]:
    known = next((known for names, known in OPENAI_EFFORTS if request.model.startswith(names)), SCALE)
    if request.tools and request.model.startswith(OPENAI_TOOLS_BAR_THINKING) and "none" in known:
        effort = "none"
    arguments: dict[str, Any] = {"reasoning_effort": nearest(effort, known)} if effort else {}
    if request.verbosity:
        arguments["verbosity"] = request.verbosity
    return arguments


# Anthropic -----------------------------------------------------------------------------------------------------------

ANTHROPIC_MIN_BUDGET = 1024
ANTHROPIC_BUDGET_ONLY = (
    *("claude-3", "claude-opus-4-0", "claude-opus-4-1", "claude-opus-4-2", "claude-opus-4-5"),
    *("claude-sonnet-4-0", "claude-sonnet-4-2", "claude-sonnet-4-5", "claude-haiku-4-5"),
)
"""They think on a budget, and know neither ``adaptive`` nor, but for Opus 4.5, an effort. (``-4-2`` begins the dates.)"""
ANTHROPIC_BUDGET_TOO = ("claude-opus-4-6", "claude-sonnet-4-6")
"""They still take a budget, and know no ``xhigh``. All newer ones refuse a budget."""
ANTHROPIC_SILENT = (*ANTHROPIC_BUDGET_ONLY, *ANTHROPIC_BUDGET_TOO, "claude-opus-4-7", "claude-opus-4-8")
"""They think only when told to; newer ones think unless told not to."""
ANTHROPIC_ALWAYS_ON = ("claude-opus-5-5", "claude-fable-5", "claude-mythos")
"""They can't be told not to think."""
ANTHROPIC_BETWEEN_TOOLS = ("claude-sonnet-5-5",)
"""They take ``between_tools`` for ``disabled``."""
ANTHROPIC_NO_FORCED_TOOL = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5-", "claude-mythos-5-")
"""They refuse a ``tool_choice`` that forces a call; others refuse it together with thinking."""
# All of it: platform.claude.com/docs/en/build-with-claude/thinking, /effort, and the models' migration guides.


def for_anthropic(request: CallRequest) -> tuple[dict[str, Any] | None, str]:
    """The ``thinking`` of a message and the ``effort`` of its ``output_config``; None and ``""`` where nothing is said.

    A budget stays below ``max_tokens``, which includes it; one that the client did not name itself leaves at least half
    of them to the answer.
    """
    if not request.is_reasoning:
        return None, ""
    model, effort = request.model, wanted_effort(request)
    is_forced = request.tool_choice not in ("", "auto", "none")
    if effort == "none":
        return _anthropic_without(request)
    if model.startswith(ANTHROPIC_BUDGET_ONLY):
        if is_forced or not (effort or request.thinking):
            return None, ""
        budget = request.thinking_budget or min(BUDGETS[effort or "medium"], request.max_tokens // 2)
        return _budget(budget, request), ""
    efforts = ("low", "medium", "high", "max") if model.startswith(ANTHROPIC_BUDGET_TOO) else SCALE[2:]
    if request.thinking_budget is not None and model.startswith(ANTHROPIC_BUDGET_TOO):
        said = nearest(request.reasoning_effort, efforts) if request.reasoning_effort else ""
        return (None if is_forced else _budget(request.thinking_budget, request)), said
    known_effort = nearest(effort, efforts) if effort else ""
    is_shown = request.shows_thinking and not model.startswith(ANTHROPIC_SILENT)
    if is_forced or not (effort or request.thinking or is_shown):
        return None, known_effort
    # Newer models show their thinking on request only.
    shown = {"display": "summarized"} if request.shows_thinking else {}
    return {"type": "adaptive", **shown}, known_effort


def _anthropic_without(request: CallRequest) -> tuple[dict[str, Any] | None, str]:
    """As little thinking as the model can do with. Without thinking no effort above ``high`` is taken."""
    asked = request.reasoning_effort if request.reasoning_effort not in ("", "none") else ""
    if request.model.startswith(ANTHROPIC_BUDGET_ONLY):
        return {"type": "disabled"}, ""
    if request.model.startswith(ANTHROPIC_ALWAYS_ON):
        return None, "low"
    kind = "between_tools" if request.model.startswith(ANTHROPIC_BETWEEN_TOOLS) else "disabled"
    return {"type": kind}, nearest(asked, ("low", "medium", "high")) if asked else ""


def _budget(budget: int, request: CallRequest) -> dict[str, Any] | None:
    budget = min(budget, request.max_tokens - 1)
    return {"type": "enabled", "budget_tokens": budget} if budget >= ANTHROPIC_MIN_BUDGET else None


# Google --------------------------------------------------------------------------------------------------------------

GOOGLE_LEVELS = ("low", "medium", "high")
"""What models from Gemini 3 on have in common: some know less than ``low``, none can do without."""
GOOGLE_BUDGETED = ("gemini-2",)
"""They take a budget and no level; newer ones a level, and no budget beside it."""
GOOGLE_BUDGET_RANGES = (("pro", 128, 32768), ("lite", 512, 24576), ("", 0, 24576))
"""What a budget may be, by a word in the model's name. 0 is no thinking, which the pro models can't do without."""
# All of it: ai.google.dev/gemini-api/docs/thinking


def for_google(request: CallRequest) -> dict[str, Any]:
    """The fields of a ``ThinkingConfig``. Thoughts count towards ``max_output_tokens``, whatever is said here."""
    if not request.is_reasoning:
        return {}
    config: dict[str, Any] = {"include_thoughts": True} if request.shows_thinking else {}
    effort = wanted_effort(request)
    if not request.model.startswith(GOOGLE_BUDGETED):
        return {**config, "thinking_level": nearest(effort, GOOGLE_LEVELS)} if effort else config
    word, least, most = next(row for row in GOOGLE_BUDGET_RANGES if row[0] in request.model)
    if effort == "none":
        budget = least if word == "pro" else 0
    elif effort:
        budget = request.thinking_budget or min(BUDGETS[effort], request.max_tokens // 2)
    elif request.thinking:
        return {**config, "thinking_budget": -1}  # as much as it takes
    else:
        return config
    budget = min(budget, most, request.max_tokens - 1)
    return {**config, "thinking_budget": budget} if budget >= least or budget == 0 else config
