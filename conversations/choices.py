"""Which model answers, and how: message before conversation before agent before workspace, as the workspace allows."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db.models import Q

from conversations.asks import Ask
from conversations.models import Agent, Conversation
from llm.models import LLM, ProviderName
from synapscale.common.errors import Forbidden, Unprocessable
from workspaces.models import AccessToken, Workspace

SETTING_NAMES = frozenset({"temperature", "max_tokens", "tools", "tool_choice", "response_schema", "stop"})
"""What an agent's and a conversation's ``settings`` may name."""
GENERAL_TOOL_CHOICES = frozenset({"", "auto", "none", "required"})
"""The choices of a tool that name none."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a call will be made."""

    llm: LLM
    system: str
    wanted_tokens: int
    """The length asked for, within the workspace's cap; the model may allow less."""
    temperature: Decimal | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)
    tool_choice: str = ""
    response_schema: dict[str, Any] | None = None
    stop: list[str] = field(default_factory=list)
    fallbacks: tuple[str, ...] = ()
    """Models to try next, in order, as “provider/name”."""
    agent_id: uuid.UUID | None = None
    """The agent whose settings these are; a call without a conversation has none."""

    @property
    def max_tokens(self) -> int:
        return min(self.wanted_tokens, self.llm.max_output_tokens)

    @property
    def temperature_sent(self) -> Decimal | None:
        """None where the model takes none: OpenAI's and Anthropic's reasoning models refuse it."""
        is_refused = self.llm.supports_reasoning and self.llm.provider in {ProviderName.OPENAI, ProviderName.ANTHROPIC}
        return None if is_refused else self.temperature

    def as_settings(self, *, max_tokens: int, names_tools: bool = True) -> dict[str, Any]:
        """What the usage log keeps of it: no content, and of the tools their names at most."""
        is_general = self.tool_choice in GENERAL_TOOL_CHOICES
        chosen = {
            "temperature": None if self.temperature_sent is None else str(self.temperature_sent),
            "max_tokens": max_tokens,
            "tools": [tool["name"] for tool in self.tools] if names_tools else len(self.tools),
            "tool_choice": self.tool_choice if names_tools or is_general else "named",
            "structured_output": self.response_schema is not None or None,
        }
        return {name: value for name, value in chosen.items() if value}


def choose(
    *, ask: Ask, conversation: Conversation, workspace: Workspace, access_token: AccessToken | None = None
) -> Plan:
    """The plan for a message. Raises Unprocessable or Forbidden. Its model may be a retired one where it has fallbacks:
    then it is for one of these.
    """
    agent = conversation.agent or _default_agent(workspace)
    if agent is not None and not agent.is_active and not ask.is_one_shot:
        raise Unprocessable("The agent of this conversation is no longer active.", code="agent_inactive")
    llm = _llm(ask, agent, workspace, access_token)
    layers = _layers(ask, conversation, agent)

    def setting(name: str, default: Any = None) -> Any:
        return next((layer[name] for layer in layers if layer.get(name) is not None), default)

    temperature = setting("temperature")
    instructions = (agent.system_prompt if agent else "", conversation.context)
    names = (agent.fallback_llms if agent and agent.is_active else []) or workspace.fallback_models
    plan = Plan(
        llm=llm,
        system=ask.system if ask.is_one_shot else "\n\n".join(part for part in instructions if part),
        wanted_tokens=capped(setting("max_tokens"), workspace=workspace),
        temperature=None if temperature is None else Decimal(str(temperature)),
        tools=setting("tools", []),
        tool_choice=setting("tool_choice", ""),
        response_schema=setting("response_schema"),
        stop=setting("stop", []),
        # Who insists on a key wants to know about that one.
        fallbacks=() if ask.key_source else tuple(dict.fromkeys(name for name in names if name != str(llm))),
        agent_id=agent.pk if agent and not ask.is_one_shot else None,
    )
    _check_tool_choice(plan)
    if is_retired(plan.llm) and plan.fallbacks:
        return plan
    check_allowed(plan.llm, ask=ask, workspace=workspace, access_token=access_token)
    check_capabilities(plan, ask)
    return plan


def capped(max_tokens: int | None, *, workspace: Workspace) -> int:
    """The length of an answer that is asked for, within the workspace's cap."""
    wanted = settings.DEFAULT_MAX_TOKENS if max_tokens is None else max_tokens
    return min(wanted, workspace.max_tokens_cap or wanted)


def switched(plan: Plan, *, name: str, ask: Ask, workspace: Workspace, access_token: AccessToken | None = None) -> Plan:
    """``plan`` for the fallback ``name``; what comes before it in the list is done with. Raises like ``choose``."""
    llm = find_llm(name)
    if llm is None:
        raise Unprocessable(f"There is no model “{name}”.", code="unknown_model")
    check_allowed(llm, ask=ask, workspace=workspace, access_token=access_token)
    rest = plan.fallbacks[plan.fallbacks.index(name) + 1 :]
    other = replace(plan, llm=llm, fallbacks=rest)
    check_capabilities(other, ask)
    return other


def find_llm(name: str) -> LLM | None:
    """The LLM of an id, or of “provider/name”. Exact: a near miss would be billed as another model."""
    llms = LLM.objects.select_related("connection")
    try:
        return llms.filter(pk=uuid.UUID(name)).first()
    except ValueError:
        provider, _, model = name.partition("/")
        return llms.filter(provider=provider, name=model).first()


def find_llm_of(provider: str, name: str) -> LLM | None:
    """``find_llm`` where the provider is known already: the model's name alone will do."""
    llm = find_llm(name)
    if llm is None or llm.provider != provider:
        return find_llm(f"{provider}/{name}") or llm
    return llm


def find_llms(names: Iterable[str]) -> dict[str, LLM | None]:
    """``find_llm`` of each of ``names``. One query."""
    wanted, keys = Q(pk__in=[]), {}
    for name in names:
        try:
            key = uuid.UUID(name)
            wanted |= Q(pk=key)
            keys[name] = str(key)
        except ValueError:
            provider, _, model = name.partition("/")
            wanted |= Q(provider=provider, name=model)
            keys[name] = name
    llms = list(LLM.objects.select_related("connection").filter(wanted))
    found = {key: llm for llm in llms for key in (str(llm.pk), str(llm))}
    return {name: found.get(key) for name, key in keys.items()}


def _default_agent(workspace: Workspace) -> Agent | None:
    return (
        Agent.objects.select_related("llm__connection")
        .filter(workspace=workspace, is_default=True, is_active=True)
        .first()
    )


def _llm(ask: Ask, agent: Agent | None, workspace: Workspace, access_token: AccessToken | None) -> LLM:
    if ask.llm:
        llm = find_llm(ask.llm)
    elif ask.provider:
        return _llm_of(ask.provider, agent, workspace, access_token)
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
    return llm


def _llm_of(provider: str, agent: Agent | None, workspace: Workspace, access_token: AccessToken | None) -> LLM:
    """The default, of the agents or else of the workspace, that is one of ``provider``; without one the cheapest of it
    that may be called here.
    """
    if agent is not None and agent.llm.provider == provider:
        return agent.llm
    if workspace.default_model and (default := find_llm(workspace.default_model)) and default.provider == provider:
        return default
    allowed = LLM.objects.callable_in(workspace, access_token=access_token).select_related("connection")
    llm = allowed.cheapest(provider=provider)
    if llm is None:
        raise Unprocessable(
            f"No model of {provider} that may be called here has a price.",
            code="no_model",
            details={"llm": ["Name a model."]},
        )
    return llm


def is_retired(llm: LLM) -> bool:
    """Whether nobody may call it any more: it, or its host, is switched off."""
    return not llm.is_active or (llm.connection is not None and not llm.connection.is_active)


def retired(llm: LLM) -> Unprocessable:
    """What who asks for a retired model is told, where no fallback answers in its place."""
    return Unprocessable(
        f"{llm} is retired. Name another model in “llm”, or have its agent or workspace given another one.",
        code="model_retired",
        details={"llm": ["This model is retired."]},
    )


def check_allowed(llm: LLM, *, ask: Ask, workspace: Workspace, access_token: AccessToken | None) -> None:
    """Whether ``llm`` may be called here and now, whatever for. Raises Unprocessable or Forbidden."""
    if is_retired(llm):
        raise retired(llm)
    if ask.provider and llm.provider != ask.provider:
        raise Unprocessable(
            f"{llm} is not a model of {ask.provider}.",
            code="other_provider",
            details={"llm": [f"Not a model of {ask.provider}."]},
        )
    if not workspace.allows(str(llm)):
        raise Forbidden(f"The workspace does not allow {llm}.", code="model_not_allowed")
    if access_token is not None and not access_token.allows(str(llm)):
        raise Forbidden(f"This access token does not allow {llm}.", code="model_not_allowed")


def _layers(ask: Ask, conversation: Conversation, agent: Agent | None) -> list[dict[str, Any]]:
    """Settings from the most to the least specific."""
    layers = [{name: getattr(ask, name) for name in SETTING_NAMES}]
    if ask.is_one_shot:
        return layers
    layers.append(conversation.settings)
    if agent is not None:
        layers += [{"temperature": agent.temperature, "max_tokens": agent.max_tokens}, agent.settings]
    return layers


def check_capabilities(plan: Plan, ask: Ask) -> None:
    """Whether the model can do what is asked of it. Raises Unprocessable."""
    turns = ask.turns or ()
    has_images = bool(ask.attachments) or any(turn.images for turn in turns)
    has_tools = bool(plan.tools) or ask.role == "tool" or any(turn.tool_calls for turn in turns)
    is_structured = plan.response_schema is not None
    wanted = (
        ("attachments", has_images, plan.llm.takes_images, "images"),
        ("tools", has_tools, plan.llm.supports_function_calling, "tools"),
        ("response_schema", is_structured, plan.llm.supports_structured_output, "structured output"),
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
    choices = GENERAL_TOOL_CHOICES - {"required"}
    if plan.tools:
        choices |= {"required", *(tool["name"] for tool in plan.tools)}
    if plan.tool_choice not in choices:
        raise Unprocessable(
            f"“{plan.tool_choice}” is none of the tools of this message."
            if plan.tools
            else f"“{plan.tool_choice}” chooses a tool, and this message has none.",
            code="unknown_tool",
            details={"tool_choice": ["None of the tools has this name."]},
        )
