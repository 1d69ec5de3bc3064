"""Calls that bring their whole prompt, as they come in: one prompt or the turns of a chat."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from conversations import attachments
from conversations.api.fields import AttachmentField, tags_field
from conversations.api.serializers import MAX_CONTENT
from conversations.asks import Ask
from conversations.call_settings import MAX_TOKENS_LIMIT, CallSettingsSerializer
from conversations.choices import find_llm, find_llm_of, find_llms
from conversations.compat.asking import Prompt, as_ask
from conversations.compat.fields import MAX_TURNS
from conversations.models import Message, UsageLog
from llm.models import LLM
from llm.providers.reasoning import SCALE
from llm.types import ChatMessage, TextPart, ToolCall
from synapscale.common.money import usd_text
from synapscale.common.parsing import NotesField, StrictBooleanField, StrictCharField, StrictFields, StrictIntegerField

MAX_MODELS = 100


def text_field(**options: Any) -> StrictCharField:
    return StrictCharField(max_length=MAX_CONTENT, trim_whitespace=False, **options)


def llm_field(**options: Any) -> StrictCharField:
    name = "“provider/name” or an id; at a provider's own address its name alone will do."
    return StrictCharField(max_length=250, help_text=name, **options)


def images_field() -> serializers.ListField:
    return serializers.ListField(child=AttachmentField(), max_length=attachments.MAX_ATTACHMENTS, required=False)


def list_of(serializer: type[serializers.Serializer[Any]], **options: Any) -> Any:
    return serializer(many=True, **options)


@extend_schema_field({"type": "number", "minimum": 0, "maximum": 1})
class ShareField(serializers.FloatField):
    """A JSON number from 0 to 1."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=1, **kwargs)

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        return super().to_internal_value(data)


class ToolCallSerializer(StrictFields, serializers.Serializer[Any]):
    """A call of a tool, as an answer's ``tool_calls`` have it."""

    id = StrictCharField(max_length=100)
    name = StrictCharField(max_length=128)
    arguments = text_field(allow_blank=True, help_text="JSON, as the model wrote it.")
    signature = text_field(allow_blank=True, default="", help_text="Given back as it came.")


class TurnSerializer(StrictFields, serializers.Serializer[Any]):
    """A turn of a chat. What the roles ``system`` say, all together, are the instructions."""

    role = serializers.ChoiceField(choices=Message.Role.choices)
    content = text_field(allow_blank=True, allow_null=True, default="")
    attachments = images_field()
    tool_calls = list_of(ToolCallSerializer, max_length=128, required=False)
    tool_call_id = StrictCharField(max_length=100, required=False)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        role = data["role"]
        for name, only in (("attachments", "user"), ("tool_calls", "assistant"), ("tool_call_id", "tool")):
            if data.get(name) and role != only:
                raise serializers.ValidationError({name: f"Only a turn of role “{only}” has this."})
        if role == "user" and not (data["content"] or "").strip() and not data.get("attachments"):
            raise serializers.ValidationError({"content": "A message needs a text or an attachment."})
        if role == "assistant" and not data["content"] and not data.get("tool_calls"):
            raise serializers.ValidationError({"content": "An answer has a text or calls of tools."})
        if role == "tool" and not data.get("tool_call_id"):
            raise serializers.ValidationError({"tool_call_id": "Name the tool call that this answers."})
        return data


class WholePromptSerializer(CallSettingsSerializer):
    """What all calls have in common that bring their whole prompt."""

    system = text_field(allow_blank=True, default="", help_text="Instructions.")
    llm = llm_field(required=False, allow_null=True)

    @property
    def provider(self) -> str:
        """The provider in the address, if there is one."""
        return str(self.context.get("provider", ""))

    def validate_llm(self, name: str | None) -> str:
        if not name:
            return ""
        llm = find_llm_of(self.provider, name) if self.provider else find_llm(name)
        if llm is None:
            raise serializers.ValidationError(f"There is no model “{name}”.")
        return str(llm)

    def ask(self) -> Ask:
        """Raises BadRequest for turns that no model could answer."""
        data = self.validated_data
        temperature = data.get("temperature")
        ask = as_ask(
            _prompt(data),
            llm=data.get("llm", ""),
            stream=data.get("stream", False),
            max_tokens=data.get("max_tokens"),
            temperature=None if temperature is None else float(temperature),
            stop=data.get("stop") or (),
            tools=data.get("tools") or (),
            tool_choice=data.get("tool_choice") or "",
            response_schema=data.get("response_schema"),
            metadata=data.get("metadata", {}),
            options={name: data.get(name) for name in ("seed", "top_p", "reasoning_effort")},
        )
        return replace(ask, provider=self.provider, tags=data.get("tags", []))


class OneShotSerializer(WholePromptSerializer):
    """A call to be made."""

    stream = StrictBooleanField(default=False)
    seed = StrictIntegerField(min_value=-(2**31), required=False, allow_null=True)
    top_p = ShareField(required=False, allow_null=True)
    reasoning_effort = serializers.ChoiceField(choices=SCALE, required=False, allow_null=True)
    metadata = NotesField(required=False)
    tags = tags_field(required=False)


class GenerateSerializer(OneShotSerializer):
    """One prompt to be answered."""

    prompt = text_field(allow_blank=True, default="")
    attachments = images_field()

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        _check_prompt(data)
        return super().validate(data)


class ChatSerializer(OneShotSerializer):
    """The turns of a chat, the last of them to be answered."""

    messages = list_of(TurnSerializer, allow_empty=False, max_length=MAX_TURNS)


class UnsentSerializer(WholePromptSerializer):
    """A prompt, or turns, to be looked at and not sent."""

    temperature = tool_choice = response_schema = stop = None  # type: ignore[assignment]
    prompt = text_field(allow_blank=True, required=False)
    messages = list_of(TurnSerializer, allow_empty=False, max_length=MAX_TURNS, required=False)
    attachments = images_field()

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        if "messages" not in data:
            _check_prompt(data)
        elif "prompt" in data:
            raise serializers.ValidationError({"prompt": "Give a prompt or messages, not both."})
        elif "attachments" in data:
            raise serializers.ValidationError({"attachments": "Beside messages, they belong to one of these."})
        return super().validate(data)


class CountTokensSerializer(UnsentSerializer):
    """What is to be counted, as ``llm`` would read it."""

    max_tokens = None  # type: ignore[assignment]
    llm = llm_field()


class TokenCountSerializer(serializers.Serializer[Any]):
    model = serializers.CharField()
    input_tokens = serializers.IntegerField()
    is_estimate = serializers.BooleanField(help_text="False: the provider's own count.")


class AskEstimateSerializer(UnsentSerializer):
    """A call whose cost is asked for beforehand."""

    llm = None  # type: ignore[assignment]
    output_tokens = StrictIntegerField(
        min_value=0,
        max_value=MAX_TOKENS_LIMIT,
        required=False,
        allow_null=True,
        help_text="How long the answer is expected to be; otherwise as long as it may get.",
    )
    models = serializers.ListField(
        child=StrictCharField(max_length=250),
        allow_empty=False,
        max_length=MAX_MODELS,
        required=False,
        help_text="“provider/name” or ids; otherwise all that the caller may call.",
    )

    def validate_models(self, names: list[str]) -> list[LLM]:
        llms = find_llms(names)
        if unknown := [name for name, llm in llms.items() if llm is None]:
            raise serializers.ValidationError([f"There is no model “{name}”." for name in unknown])
        return list({llm.pk: llm for llm in llms.values() if llm is not None}.values())


class EstimateSerializer(serializers.Serializer[Any]):
    """What a call of one model would come to now; null where it can't be told, because the call would be refused."""

    model = serializers.CharField()
    input_tokens = serializers.IntegerField(allow_null=True, help_text="An estimate.")
    output_tokens = serializers.IntegerField(allow_null=True, help_text="As asked, or as many as it may get.")
    expected_cost = serializers.SerializerMethodField(help_text="What the wallet would pay for these tokens, in USD.")
    worst_case = serializers.SerializerMethodField(help_text="What would be reserved, in USD.")
    fits = serializers.BooleanField(help_text="Whether the prompt leaves room in the context window.")
    is_affordable = serializers.BooleanField(help_text="Whether the money there covers the call.")
    is_available = serializers.BooleanField(help_text="Whether the model may and can be called: a price, a key.")
    key_source = serializers.ChoiceField(choices=UsageLog.KeySource.choices, allow_null=True)
    reason = serializers.CharField(allow_null=True, help_text="The code of the error that a call would meet.")

    def get_expected_cost(self, row: Any) -> str | None:
        return None if row.expected_cost is None else usd_text(row.expected_cost)

    def get_worst_case(self, row: Any) -> str | None:
        return None if row.worst_case is None else usd_text(row.worst_case)


class EstimateListSerializer(serializers.Serializer[Any]):
    results = EstimateSerializer(many=True)


def _check_prompt(data: dict[str, Any]) -> None:
    if not data.get("prompt", "").strip() and not data.get("attachments"):
        raise serializers.ValidationError({"prompt": "A prompt needs a text or an attachment."})


def _prompt(data: dict[str, Any]) -> Prompt:
    """The instructions and turns of a validated body."""
    only = {"role": "user", "content": data.get("prompt", ""), "attachments": data.get("attachments", [])}
    prompt = Prompt()
    for turn in ({"role": "system", "content": data["system"]}, *data.get("messages", (only,))):
        text, stored = turn["content"] or "", turn.get("attachments", [])
        if turn["role"] == "system":
            prompt.system += [TextPart(text)] if text else []
            continue
        message = ChatMessage(
            role=turn["role"],
            content=text,
            images=tuple(attachments.as_image(item) for item in stored),
            tool_calls=tuple(ToolCall(**call) for call in turn.get("tool_calls", ())),
            tool_call_id=turn.get("tool_call_id", ""),
        )
        prompt.add(message, stored)
    return prompt
