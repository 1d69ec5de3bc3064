"""Which model answers, and how: message before conversation before agent before workspace, as the workspace allows."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.conf import settings

from conversations.asks import Ask
from conversations.models import Agent, Conversation
from llm.models import LLM
from synapscale.common.errors import Forbidden, Unprocessable
from workspaces.models import Workspace

SETTING_NAMES = frozenset({"temperature", "max_tokens", "tools", "tool_choice", "response_schema", "stop"})
"""What an agent's and a conversation's ``settings`` may name."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a call will be made."""

    llm: LLM
    system: str
    max_tokens: int
    temperature: Decimal | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)
    tool_choice: str = ""
    response_schema: dict[str, Any] | None = None
    stop: list[str] = field(default_factory=list)

    def as_settings(self, *, max_tokens: int) -> dict[str, Any]:
        """What the usage log keeps of it: no content."""
        chosen = {
            "temperature": None if self.temperature is None else str(self.temperature),
            "max_tokens": max_tokens,
            "tools": [tool["name"] for tool in self.tools],
            "tool_choice": self.tool_choice,
            "structured_output": self.response_schema is not None or None,
        }
        return {name: value for name, value in chosen.items() if value}


def choose(*, ask: Ask, conversation: Conversation, workspace: Workspace) -> Plan:
    """The plan for a message. Raises Unprocessable or Forbidden."""
    agent = conversation.agent or _default_agent(workspace)
    if agent is not None and not agent.is_active:
        raise Unprocessable("The agent of this conversation is no longer active.", code="agent_inactive")
    llm = _llm(ask, agent, workspace)
    layers = _layers(ask, conversation, agent)

    def setting(name: str, default: Any = None) -> Any:
        return next((layer[name] for layer in layers if layer.get(name) is not None), default)

    temperature = setting("temperature")
    limits = [setting("max_tokens", settings.DEFAULT_MAX_TOKENS), llm.max_output_tokens]
    if workspace.max_tokens_cap:
        limits.append(workspace.max_tokens_cap)
    plan = Plan(
        llm=llm,
        system="\n\n".join(part for part in (agent.system_prompt if agent else "", conversation.context) if part),
        max_tokens=min(limits),
        temperature=None if temperature is None else Decimal(str(temperature)),
        tools=setting("tools", []),
        tool_choice=setting("tool_choice", ""),
        response_schema=setting("response_schema"),
        stop=setting("stop", []),
    )
    _check_capabilities(plan, ask)
    _check_tool_choice(plan)
    return plan


def find_llm(name: str) -> LLM | None:
    """The LLM of an id, or of “provider/name”. Exact: a near miss would be billed as another model."""
    try:
        return LLM.objects.filter(pk=uuid.UUID(name)).first()
    except ValueError:
        provider, _, model = name.partition("/")
        return LLM.objects.filter(provider=provider, name=model).first()


def _default_agent(workspace: Workspace) -> Agent | None:
    return Agent.objects.select_related("llm").filter(workspace=workspace, is_default=True, is_active=True).first()


def _llm(ask: Ask, agent: Agent | None, workspace: Workspace) -> LLM:
    if ask.llm:
        llm = find_llm(ask.llm)
    elif agent is not None:
        llm = agent.llm
    elif workspace.default_model:
        llm = find_llm(workspace.default_model)
    else:
        raise Unprocessable(
            "No model is named: give “llm”, an agent, or a default model of the workspace.",
            code="no_model",
            details={"llm": ["Name a model."]},
        )
    if llm is None:
        name = ask.llm or workspace.default_model
        raise Unprocessable(f"There is no model “{name}”.", code="unknown_model", details={"llm": ["Unknown model."]})
    if not llm.is_active:
        raise Unprocessable(f"{llm} is retired.", code="model_retired", details={"llm": ["This model is retired."]})
    if not workspace.allows(str(llm)):
        raise Forbidden(f"The workspace does not allow {llm}.", code="model_not_allowed")
    return llm


def _layers(ask: Ask, conversation: Conversation, agent: Agent | None) -> list[dict[str, Any]]:
    """Settings from the most to the least specific."""
    asked = {name: getattr(ask, name) for name in SETTING_NAMES}
    layers = [asked, conversation.settings]
    if agent is not None:
        layers += [{"temperature": agent.temperature, "max_tokens": agent.max_tokens}, agent.settings]
    return layers


def _check_capabilities(plan: Plan, ask: Ask) -> None:
    wanted = (
        ("attachments", bool(ask.attachments), plan.llm.supports_vision, "images"),
        ("tools", bool(plan.tools) or ask.role == "tool", plan.llm.supports_function_calling, "tools"),
        ("response_schema", plan.response_schema is not None, plan.llm.supports_structured_output, "structured output"),
        ("stream", ask.stream, plan.llm.supports_streaming, "streaming"),
    )
    for name, is_wanted, is_supported, what in wanted:
        if is_wanted and not is_supported:
            raise Unprocessable(
                f"{plan.llm} does not support {what}.",
                code="not_supported_by_model",
                details={name: [f"This model does not support {what}."]},
            )


def _check_tool_choice(plan: Plan) -> None:
    """Providers would refuse it, or ignore it and answer without the tool."""
    choices = {"", "auto", "none"}
    if plan.tools:
        choices |= {"required", *(tool["name"] for tool in plan.tools)}
    if plan.tool_choice not in choices:
        raise Unprocessable(
            f"“{plan.tool_choice}” is none of the tools of this message.",
            code="unknown_tool",
            details={"tool_choice": ["None of the tools has this name."]},
        )
