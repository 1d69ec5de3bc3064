"""Chats: agents, conversations and their messages."""

from __future__ import annotations

from typing import Any, Self

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext, gettext_noop, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from billing.models import BillingEvent, Hold
from conversations import call_settings
from llm.models import LLM, LLMPrice
from synapscale.common.models import TenantFK, TenantModel
from synapscale.common.money import UsdField
from workspaces.models import User, Workspace

TEMPERATURE = [MinValueValidator(0), MaxValueValidator(2)]


def temperature_field() -> models.DecimalField:
    return models.DecimalField(max_digits=3, decimal_places=2, null=True, blank=True, validators=TEMPERATURE)


class Agent(TenantModel):
    """A configured assistant: which model answers, with which instructions. It decides the model of its conversations."""

    MAX_FALLBACKS = 10

    name = models.CharField(max_length=150)
    description = models.CharField(max_length=500, blank=True)
    system_prompt = models.TextField(blank=True)
    llm = models.ForeignKey(LLM, on_delete=models.PROTECT, related_name="agents", db_index=False)
    fallback_llms = models.JSONField(
        default=list, blank=True, help_text=_("Models to try next, in order, as “provider/name”.")
    )
    temperature = temperature_field()
    max_tokens = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    settings = models.JSONField(
        default=dict, blank=True, help_text=_("tools, tool_choice, response_schema, stop: sent with every call.")
    )
    is_default = models.BooleanField(default=False, help_text=_("Answers conversations that name no agent."))
    is_active = models.BooleanField(default=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="agents", db_index=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "agents"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(
                fields=["workspace"], condition=Q(is_default=True), name="agents_one_default_per_workspace"
            ),
        ]
        indexes = [models.Index(fields=["workspace", "-created_at", "-id"], name="agents_by_time")]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Names what is wrong with the settings and the fallbacks: both are JSON to the database."""
        super().clean()
        errors: dict[str, Any] = {}
        try:
            self.settings = call_settings.check(self.settings)
        except ValidationError as error:
            errors["settings"] = error
        if messages := _wrong_fallbacks(self.fallback_llms):
            errors["fallback_llms"] = messages
        if errors:
            raise ValidationError(errors)


def _wrong_fallbacks(names: Any) -> list[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return [gettext("Give a list of “provider/name”.")]
    if len(names) > Agent.MAX_FALLBACKS:
        return [gettext("At most %(number)s models.") % {"number": Agent.MAX_FALLBACKS}]
    if len(set(names)) != len(names):
        return [gettext("A model is named twice.")]
    return [gettext("There is no model “%(name)s”.") % {"name": name} for name in LLM.objects.unknown_names(names)]


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def visible_to(self, *, user: User, workspace: Workspace) -> Self:
        """What ``user`` may read in ``workspace``: their own, and what is shared there. Deleted ones are gone."""
        return self.filter(Q(user=user) | Q(is_shared=True), workspace=workspace).exclude(
            status=Conversation.Status.DELETED
        )


class Conversation(TenantModel):
    """A user's chat. Private to its user unless shared with the workspace."""

    class Status(models.TextChoices):
        ACTIVE = "active", pgettext_lazy("conversation", "Active")
        ARCHIVED = "archived", _("Archived")
        DELETED = "deleted", _("Deleted")

    class Kind(models.TextChoices):
        CHAT = "chat", _("Chat")
        API = "api", _("API calls")

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="conversations", db_index=False)
    agent = TenantFK(Agent, null=True, blank=True, related_name="conversations")
    title = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.ACTIVE)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.CHAT)
    is_shared = models.BooleanField(default=False, help_text=_("Whether all members of the workspace see it."))
    context = models.TextField(blank=True, help_text=_("Added to the agent's system prompt."))
    settings = models.JSONField(default=dict, blank=True, help_text=_("Overrides of the agent's settings."))
    message_count = models.PositiveIntegerField(default=0, editable=False)
    total_tokens = models.PositiveBigIntegerField(default=0, editable=False)
    total_cost = UsdField(default=0, editable=False, help_text=_("What the wallet paid, in USD."))
    last_message_at = models.DateTimeField(null=True, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        db_table = "conversations"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(
                fields=["workspace", "user"],
                condition=Q(kind="api", status="active"),
                name="conversations_one_for_api_calls",
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "user", "-created_at", "-id"], name="conversations_by_user"),
            models.Index(fields=["workspace", "agent"], name="conversations_by_agent"),
        ]

    def __str__(self) -> str:
        # Not by its title, which is content: this stands in links, headings and logs.
        return _("Conversation %(id)s") % {"id": self.pk}

    def clean(self) -> None:
        super().clean()
        try:
            self.settings = call_settings.check(self.settings)
        except ValidationError as error:
            raise ValidationError({"settings": error}) from None


class Message(TenantModel):
    """One turn. An assistant's turn is created pending, with its hold and its frozen price, and becomes final once."""

    class Role(models.TextChoices):
        SYSTEM = "system", _("System")
        USER = "user", _("User")
        ASSISTANT = "assistant", _("Assistant")
        TOOL = "tool", _("Tool")

    class Status(models.TextChoices):
        PENDING = "pending", _("Pending")
        STREAMING = "streaming", _("Streaming")
        SENT = "sent", _("Sent")
        ERROR = "error", _("Error")
        INTERRUPTED = "interrupted", _("Interrupted")

    FINAL = frozenset({Status.SENT, Status.ERROR, Status.INTERRUPTED})

    conversation = TenantFK(Conversation, related_name="messages")
    user = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        related_name="messages",
        db_index=False,
        help_text=_("Who wrote it, or asked for it."),
    )
    role = models.CharField(max_length=10, choices=Role)
    content = models.TextField(blank=True)
    attachments = models.JSONField(default=list, blank=True)
    tool_calls = models.JSONField(default=list, blank=True)
    tool_call_id = models.CharField(max_length=100, blank=True)
    reply_to = TenantFK("self", null=True, blank=True, related_name="replies")
    llm = models.ForeignKey(
        LLM, null=True, blank=True, on_delete=models.PROTECT, related_name="messages", db_index=False
    )
    price = models.ForeignKey(
        LLMPrice, null=True, blank=True, on_delete=models.PROTECT, related_name="messages", db_index=False
    )
    priced_at = models.DateTimeField(null=True, blank=True, help_text=_("The moment whose price applies."))
    hold = TenantFK(Hold, null=True, blank=True, related_name="messages")
    model_used = models.CharField(max_length=250, blank=True)
    tokens_used = models.PositiveBigIntegerField(default=0)
    processing_time_ms = models.PositiveIntegerField(null=True, blank=True)
    temperature = temperature_field()
    max_tokens = models.PositiveIntegerField(null=True, blank=True)
    status = models.CharField(max_length=12, choices=Status, default=Status.SENT)
    finish_reason = models.CharField(max_length=20, blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    error_message = models.CharField(max_length=500, blank=True)
    attempt = models.PositiveSmallIntegerField(default=1)
    metadata = models.JSONField(default=dict, blank=True, help_text=_("What the client noted with the question."))
    autotag_due_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text=_("From when on rules are to look at it, again or at all.")
    )
    autotag_for = models.CharField(
        max_length=10, blank=True, editable=False, help_text=_("What has happened to it: “answer” or “feedback”.")
    )
    call = models.JSONField(
        default=dict, blank=True, editable=False, help_text=_("What metering needs to know of the provider call.")
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "messages"
        permissions = [("read_content", gettext_noop("Can read what customers wrote"))]
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace", "hold"], name="messages_one_per_hold"),
        ]
        indexes = [
            models.Index(fields=["workspace", "conversation", "-created_at", "-id"], name="messages_by_conversation"),
            models.Index(fields=["workspace", "reply_to"], name="messages_by_question"),
            models.Index(
                fields=["workspace", "id"],
                condition=Q(role="assistant", status__in=["pending", "streaming"]),
                name="messages_open",
            ),
            models.Index(
                fields=["workspace", "autotag_due_at"],
                condition=Q(autotag_due_at__isnull=False),
                name="messages_autotag_due",
            ),
            # For operators, who look at all workspaces at once; costs a call that went well nothing.
            models.Index(fields=["id"], condition=Q(status__in=["error", "interrupted"]), name="messages_failed"),
        ]

    def __str__(self) -> str:
        return _("%(role)s: message %(id)s") % {"role": self.get_role_display(), "id": self.pk}

    @property
    def is_final(self) -> bool:
        return self.status in self.FINAL

    @property
    def billing_events(self) -> models.QuerySet[BillingEvent]:
        """The charge of this message, and its refunds and adjustments."""
        events = BillingEvent.objects.filter(workspace_id=self.workspace_id)
        from conversations.models.usage import UsageLog  # which points at messages

        charged = UsageLog.objects.filter(
            workspace_id=self.workspace_id, message=self, billing_event__isnull=False
        ).values("billing_event_id")
        return events.filter(Q(pk__in=charged) | Q(original_id__in=charged))
