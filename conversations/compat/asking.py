"""From turns in either protocol to one Ask: the prompt that is sent, and what is kept of it as the question."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from conversations.asks import Ask
from conversations.compat.fields import MAX_IMAGES, BadRequest, conversation_id
from llm.models import LLM
from llm.types import ChatMessage, TextPart
from synapscale.common.errors import NotFound


@dataclass(slots=True)
class Prompt:
    """Turns as they are read from a request, with the stored form of each turn's images beside it."""

    turns: list[ChatMessage] = field(default_factory=list)
    stored_images: list[list[dict[str, Any]]] = field(default_factory=list)
    system: list[TextPart] = field(default_factory=list)

    def add(self, turn: ChatMessage, stored: Sequence[dict[str, Any]] = ()) -> None:
        self.turns.append(turn)
        self.stored_images.append(list(stored))

    def check(self) -> None:
        """What every provider would refuse, in words of one kind. Raises BadRequest."""
        if sum(len(turn.images) for turn in self.turns) > MAX_IMAGES:
            raise BadRequest("messages", f"A request has at most {MAX_IMAGES} images.")
        if not any(turn.role == "tool" or (turn.role == "user" and turn.ordered) for turn in self.turns):
            raise BadRequest("messages", "There is no message to answer.")
        self._check_tool_results()

    def _check_tool_results(self) -> None:
        """Right after the calls that a turn makes come their results, all of them."""
        missing: set[str] = set()
        known: set[str] = set()
        for turn in self.turns:
            if turn.role == "tool":
                if turn.tool_call_id not in known:
                    raise BadRequest("messages", f"No tool call before it has the id “{turn.tool_call_id}”.")
                missing.discard(turn.tool_call_id)
                continue
            self._refuse_missing(missing)
            missing = {call.id for call in turn.tool_calls}
            known |= missing
        self._refuse_missing(missing)

    def _refuse_missing(self, missing: set[str]) -> None:
        if missing:
            ids = ", ".join(f"“{call_id}”" for call_id in sorted(missing))
            raise BadRequest("messages", f"The result of every tool call must follow it; missing: {ids}.")


@dataclass(frozen=True, slots=True)
class Request:
    """A request of either protocol, ready for the road."""

    ask: Ask
    conversation_id: uuid.UUID | None
    model: str
    """The model as the client named it."""
    shows_thinking: bool = True
    includes_usage: bool = True
    """Whether a stream ends with the usage."""


def as_ask(
    prompt: Prompt,
    *,
    llm: str,
    stream: bool,
    max_tokens: int | None,
    temperature: float | None,
    stop: Sequence[str],
    tools: Sequence[dict[str, Any]],
    tool_choice: str,
    response_schema: dict[str, Any] | None,
    metadata: dict[str, Any],
    options: Mapping[str, Any],
) -> Ask:
    """The Ask of a one-shot call. The question that is kept is the last turn that is not the model's own."""
    prompt.check()
    last = max(index for index, turn in enumerate(prompt.turns) if turn.role != "assistant")
    question = prompt.turns[last]
    given = {name: value for name, value in options.items() if value is not None and value != ""}
    if len(prompt.system) > 1 or any(part.cache for part in prompt.system):
        given["system_parts"] = tuple(prompt.system)
    return Ask(
        content=question.content,
        role=question.role,
        stream=stream,
        llm=llm,
        temperature=None if temperature is None else Decimal(repr(temperature)),
        max_tokens=max_tokens,
        attachments=prompt.stored_images[last],
        tools=list(tools) or None,
        tool_choice=tool_choice or None,
        response_schema=response_schema,
        stop=list(stop) or None,
        tool_call_id=question.tool_call_id,
        metadata=metadata,
        turns=tuple(prompt.turns),
        system="\n\n".join(part.text for part in prompt.system),
        options=given,
    )


def resolved(name: str) -> str:
    """“provider/name” of the model that a client calls ``name``: its full name, or a name that only one model has.

    Exact: a near miss would be billed as another model. Raises NotFound.
    """
    provider, _, model = name.partition("/")
    found = LLM.objects.filter(provider=provider, name=model).first()
    if found is None:
        same = list(LLM.objects.active().filter(name=name)[:2])
        if len(same) > 1:
            raise BadRequest("model", f"Several providers have a model “{name}”: name it as “provider/{name}”.")
        found = same[0] if same else None
    if found is None:
        raise NotFound(f"The model “{name}” does not exist.", code="model_not_found", details={"model": ["Unknown."]})
    return str(found)


def notes(metadata: dict[str, str] | None) -> tuple[uuid.UUID | None, dict[str, Any]]:
    return conversation_id(metadata or {})
