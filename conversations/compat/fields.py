"""What the requests of both protocols have in common: strict models, images, notes, and errors that name the field."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from rest_framework import serializers

from conversations import attachments
from llm.types import Image
from synapscale.common.errors import Refusal

MAX_IMAGES = attachments.MAX_PROMPT_IMAGES
MAX_TURNS = 10_000
MAX_TOKENS_LIMIT = 10_000_000
Text = Annotated[str, StringConstraints(max_length=4_000_000)]
ToolName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
CallId = Annotated[str, StringConstraints(min_length=1, max_length=100)]
TokenLimit = Annotated[int, Field(ge=1, le=MAX_TOKENS_LIMIT)]
Stop = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Notes = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=64)],
        Annotated[str, StringConstraints(max_length=512)],
    ],
    Field(max_length=16),
]
"""``metadata`` as OpenAI has it: up to 16 pairs of text."""


class BadRequest(Refusal):
    """The request is wrong in ``path``, like ``messages[2].content``."""

    code = "invalid"

    def __init__(self, path: str, message: str, *, code: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message, code=code, details={path: [message]})
        self.path = path


class Strict(BaseModel):
    """No field that nobody reads, no value of another type; ``null`` is as good as left out.

    A field that is unknown could change the bill, or what is answered: it is refused by name. ``refused`` names those
    that exist in the protocol and why they are not taken; ``only`` the values that are taken of a field, and why no
    others; ``ignored`` those that change nothing here.
    """

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)
    refused: ClassVar[dict[str, str]] = {}
    only: ClassVar[dict[str, tuple[tuple[Any, ...], str]]] = {}
    ignored: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _left_out(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        kept = {name: value for name, value in data.items() if value is not None and name not in cls.ignored}
        for name, value in kept.items():
            if name in cls.refused and name not in cls.model_fields:
                raise ValueError(f"@{name}@{cls.refused[name]}")
            if name in cls.only and value not in cls.only[name][0]:
                raise ValueError(f"@{name}@{cls.only[name][1]}")
        return kept


class CacheControl(Strict):
    """Anthropic's; other clients send it with text parts as well."""

    type: str = "ephemeral"
    ttl: str = "5m"
    ignored = frozenset({"scope"})  # how widely a cache is shared within the account; Claude Code says it

    @model_validator(mode="after")
    def _known(self) -> CacheControl:
        if self.type != "ephemeral" or self.ttl not in {"5m", "1h"}:
            raise ValueError("type is “ephemeral”, ttl “5m” or “1h”.")
        return self


def cache_of(control: CacheControl | None) -> str:
    return control.ttl if control else ""


def parse(model: type[Strict], body: dict[str, Any]) -> Any:
    """``body`` as ``model``. Raises BadRequest for the first field that is wrong."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
    # Of the alternatives of a union, the one that got furthest is the one that was meant.
    path, message = max((_explained(problem, body) for problem in problems), key=lambda found: len(found[0]))
    raise BadRequest(path, message)


def _explained(problem: Any, body: dict[str, Any]) -> tuple[str, str]:
    message = str(problem["msg"]).removeprefix("Value error, ")
    loc = list(problem["loc"])
    if message.startswith("@"):
        _, name, message = message.split("@", 2)
        loc.append(name)
    if problem["type"] == "extra_forbidden":
        message = "Unknown field. What could change the answer or the bill is refused, not ignored."
    return _path(loc, body, is_missing=problem["type"] == "missing"), message


def _path(loc: list[Any], body: Any, *, is_missing: bool) -> str:
    """``messages[2].content``: pydantic's location, without the names of the alternatives it tried."""
    path = ""
    here: Any = body
    for index, step in enumerate(loc):
        is_last = index == len(loc) - 1
        if isinstance(here, dict) and not is_last and step in (here.get("role"), here.get("type")) and _is_item(path):
            continue  # the name of an alternative, which may also be the name of a field, like “text”
        if isinstance(here, list) and isinstance(step, int) and step < len(here):
            path, here = f"{path}[{step}]", here[step]
        elif isinstance(here, dict) and (step in here or (is_last and is_missing)):
            path, here = f"{path}.{step}" if path else str(step), here.get(step)
    return path


def _is_item(path: str) -> bool:
    """Whether ``path`` ends at a turn or at a part of one: those are told apart by their role or type."""
    name, bracket, _ = path.rpartition(".")[2].partition("[")
    return bool(bracket) and name in {"messages", "content"}


def image(*, media_type: str | None, data: str, cache: str = "", path: str) -> tuple[Image, dict[str, Any]]:
    """An image as the providers take it, and as it is stored. Raises BadRequest."""
    try:
        stored = attachments.parse({"type": "image", "media_type": media_type, "data": data})
    except serializers.ValidationError as error:
        detail: Any = error.detail
        raise BadRequest(path, str(detail[0])) from None
    as_sent = attachments.as_image(stored)
    picture = Image(as_sent.media_type, as_sent.data, as_sent.width, as_sent.height, cache)
    return picture, stored


def conversation_id(metadata: dict[str, str]) -> tuple[uuid.UUID | None, dict[str, str]]:
    """The conversation that ``metadata`` names, and the rest of it."""
    rest = dict(metadata)
    named = rest.pop("conversation_id", None)
    if named is None:
        return None, rest
    try:
        return uuid.UUID(named), rest
    except ValueError:
        raise BadRequest("metadata.conversation_id", "This is not the id of a conversation.") from None
