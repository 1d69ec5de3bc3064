from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from conversations import attachments
from conversations.api.fields import AttachmentField, LLMField, OwnAgentField, SettingsField, tags_field
from conversations.asks import Ask
from conversations.call_settings import CallSettingsSerializer, TemperatureField
from conversations.choices import find_llm
from conversations.models import Agent, Conversation, Message, MessageFeedback, UsageLog
from llm.models import LLM
from synapscale.common.money import usd_text
from synapscale.common.parsing import StrictBooleanField, StrictCharField, StrictFields, StrictModelSerializer

MAX_CONTENT = 2_000_000
MAX_TOOL_RESULTS = 128


class AgentSerializer(StrictModelSerializer):
    """A configured assistant: its model, instructions and settings."""

    llm = LLMField()
    fallback_llms = serializers.ListField(child=LLMField(), max_length=Agent.MAX_FALLBACKS, required=False)
    settings = SettingsField(required=False)
    temperature = TemperatureField(required=False, allow_null=True)

    class Meta:
        model = Agent
        fields = [
            "id",
            "name",
            "description",
            "system_prompt",
            "llm",
            "fallback_llms",
            "temperature",
            "max_tokens",
            "settings",
            "is_default",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["id", "created_at", "updated_at"]

    def validate_fallback_llms(self, llms: list[LLM]) -> list[str]:
        names = [str(llm) for llm in llms]
        if len(set(names)) != len(names):
            raise serializers.ValidationError("A model is named twice.")
        return names


class ConversationSerializer(StrictModelSerializer):
    """A chat, with what it has used and cost so far."""

    agent = OwnAgentField(required=False, allow_null=True)
    settings = SettingsField(required=False)
    total_cost = serializers.SerializerMethodField()
    status = serializers.ChoiceField(choices=["active", "archived"], required=False)
    tags = tags_field(required=False, source="tag_labels")

    class Meta:
        model = Conversation
        fields = [
            "id",
            "user",
            "agent",
            "title",
            "status",
            "kind",
            "is_shared",
            "context",
            "settings",
            "tags",
            "message_count",
            "total_tokens",
            "total_cost",
            "last_message_at",
            "created_at",
            "updated_at",
        ]
        read_only_fields = [
            "id",
            "user",
            "kind",
            "message_count",
            "total_tokens",
            "last_message_at",
            "created_at",
            "updated_at",
        ]

    def get_total_cost(self, conversation: Conversation) -> str:
        return usd_text(conversation.total_cost)


class UsageSerializer(serializers.ModelSerializer[UsageLog]):
    """What a call used. ``cost_usd`` is the provider's price of it, ``charged_usd`` what the wallet paid."""

    model = serializers.CharField(source="llm", read_only=True, help_text="Which model answered, or failed to.")
    cost_usd = serializers.SerializerMethodField()
    charged_usd = serializers.SerializerMethodField()

    class Meta:
        model = UsageLog
        fields = [
            "id",
            "model",
            "input_tokens",
            "cached_input_tokens",
            "cache_write_5m_tokens",
            "cache_write_1h_tokens",
            "output_tokens",
            "reasoning_tokens",
            "total_tokens",
            "cost_usd",
            "charged_usd",
            "status",
            "is_estimate",
            "key_source",
            "user_api_key_used",
            "latency_ms",
            "time_to_first_token_ms",
            "api_status_code",
            "attempt",
        ]

    def get_cost_usd(self, log: UsageLog) -> str:
        return usd_text(log.cost_usd)

    def get_charged_usd(self, log: UsageLog) -> str:
        return usd_text(log.charged_usd)


class MessageSerializer(serializers.ModelSerializer[Message]):
    temperature = TemperatureField(read_only=True, allow_null=True)
    attachments = serializers.SerializerMethodField()

    class Meta:
        model = Message
        fields = [
            "id",
            "conversation",
            "user",
            "role",
            "content",
            "attachments",
            "tool_calls",
            "tool_call_id",
            "reply_to",
            "llm",
            "model_used",
            "tokens_used",
            "processing_time_ms",
            "temperature",
            "max_tokens",
            "status",
            "finish_reason",
            "error_code",
            "error_message",
            "metadata",
            "created_at",
            "updated_at",
        ]

    def get_attachments(self, message: Message) -> list[dict[str, Any]]:
        return [attachments.summary(item) for item in message.attachments]


class MessageWithUsageSerializer(MessageSerializer):
    """For reading: each answer with what it used and cost. Asks for ``usage_logs`` to be prefetched, and for tags to be
    loaded.
    """

    tags = serializers.ListField(child=serializers.CharField(), source="tag_labels", read_only=True)
    usage = serializers.SerializerMethodField()
    cost = serializers.SerializerMethodField()

    class Meta(MessageSerializer.Meta):
        fields = [*MessageSerializer.Meta.fields, "tags", "usage", "cost"]

    @extend_schema_field(UsageSerializer(allow_null=True))
    def get_usage(self, message: Message) -> dict[str, Any] | None:
        log = max(message.usage_logs.all(), key=lambda log: log.attempt, default=None)
        return None if log is None else dict(UsageSerializer(log).data)

    def get_cost(self, message: Message) -> str | None:
        logs = message.usage_logs.all()
        return usd_text(sum((log.charged_usd for log in logs), start=logs[0].charged_usd * 0)) if logs else None


class AnsweredMessageSerializer(MessageSerializer):
    """An answer as it is given, with the tags that it carries."""

    tags = serializers.ListField(child=serializers.CharField(), source="tag_labels", read_only=True)

    class Meta(MessageSerializer.Meta):
        fields = [*MessageSerializer.Meta.fields, "tags"]


class AnswerSerializer(serializers.Serializer[Any]):
    """For the schema: what asking is answered with."""

    message = AnsweredMessageSerializer()
    usage = UsageSerializer(allow_null=True)
    cost = serializers.CharField(allow_null=True, help_text="What the wallet paid, in USD: an exact decimal.")


class MessageDetailSerializer(MessageWithUsageSerializer):
    """One message, with the data of its attachments and every attempt at answering it."""

    attempts = serializers.SerializerMethodField(help_text="The usage of each model that was tried, in order.")

    class Meta(MessageWithUsageSerializer.Meta):
        fields = [*MessageWithUsageSerializer.Meta.fields, "attempts"]

    @extend_schema_field(UsageSerializer(many=True))
    def get_attempts(self, message: Message) -> list[dict[str, Any]]:
        logs = sorted(message.usage_logs.all(), key=lambda log: log.attempt)
        return [dict(row) for row in UsageSerializer(logs, many=True).data]

    def get_attachments(self, message: Message) -> list[dict[str, Any]]:
        return attachments.with_data(message)


class ToolResultSerializer(StrictFields, serializers.Serializer[Any]):
    """What a tool returned, or why it failed."""

    tool_call_id = StrictCharField(max_length=100)
    content = StrictCharField(max_length=MAX_CONTENT, trim_whitespace=False, allow_blank=True)
    is_error = StrictBooleanField(default=False)


class AskSerializer(CallSettingsSerializer):
    """A message to be answered."""

    content = StrictCharField(max_length=MAX_CONTENT, trim_whitespace=False, allow_blank=True, required=False)
    role = serializers.ChoiceField(choices=["user", "tool"], default="user")
    stream = StrictBooleanField(default=False)
    llm = StrictCharField(max_length=250, required=False, allow_null=True)
    attachments = serializers.ListField(child=AttachmentField(), max_length=attachments.MAX_ATTACHMENTS, required=False)
    tags = tags_field(required=False)
    tool_call_id = StrictCharField(max_length=100, required=False)
    tool_results = serializers.ListField(
        child=ToolResultSerializer(),
        min_length=1,
        max_length=MAX_TOOL_RESULTS,
        required=False,
        help_text="The results of all tool calls of the last answer, instead of a content.",
    )

    def validate_llm(self, name: str | None) -> str:
        if name and find_llm(name) is None:
            raise serializers.ValidationError(f"There is no model “{name}”.")
        return name or ""

    def validate_tool_results(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if len({result["tool_call_id"] for result in results}) != len(results):
            raise serializers.ValidationError("A tool call has two results.")
        return results

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        data = super().validate(data)
        if results := data.get("tool_results"):
            return {**data, **self._as_question(results)}
        if not data.get("content", "").strip() and not data.get("attachments") and data["role"] == "user":
            raise serializers.ValidationError({"content": "A message needs a text or an attachment."})
        if data["role"] == "tool" and not data.get("tool_call_id"):
            raise serializers.ValidationError({"tool_call_id": "Name the tool call that this answers."})
        if data["role"] == "user" and data.get("tool_call_id"):
            raise serializers.ValidationError({"tool_call_id": "Only a message of role “tool” answers a tool call."})
        return data

    def _as_question(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        given = {"content", "attachments", "tool_call_id"} & set(self.initial_data)
        if given:
            raise serializers.ValidationError({min(given): "“tool_results” says it all."})
        if self.initial_data.get("role", "tool") != "tool":
            raise serializers.ValidationError({"role": "Results of tools come from a tool."})
        last = results[-1]
        return {"role": "tool", "content": last["content"], "tool_call_id": last["tool_call_id"]}

    def ask(self) -> Ask:
        return Ask(**self.validated_data)


class FeedbackSerializer(StrictModelSerializer):
    """What the caller thinks of an answer."""

    class Meta:
        model = MessageFeedback
        fields = [
            "id",
            "message",
            "user",
            "thumb",
            "stars",
            "category",
            "text",
            "suggestion",
            "is_public",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["id", "message", "user", "created_at", "updated_at"]

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        merged = {
            name: data.get(name, getattr(self.instance, name, None))
            for name in ("thumb", "stars", "category", "text", "suggestion")
        }
        if not any(merged.values()):
            raise serializers.ValidationError("Give a thumb, stars, a category, a text or a suggestion.")
        return data
