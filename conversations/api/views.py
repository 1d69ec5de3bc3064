from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, viewsets
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from conversations import feedback
from conversations.api.answering import ANSWERS, IDEMPOTENCY_KEY, AnsweringMixin
from conversations.api.filters import ConversationFilter, MessageFilter
from conversations.api.serializers import (
    AgentSerializer,
    AskSerializer,
    ConversationSerializer,
    FeedbackSerializer,
    MessageDetailSerializer,
    MessageWithUsageSerializer,
)
from conversations.api.tagged import ShowsTags
from conversations.models import Agent, Conversation, Message, MessageFeedback, UsageLog
from synapscale.common.errors import Conflict, Forbidden
from synapscale.common.parsing import StrictQuery
from workspaces.authentication import caller
from workspaces.models import Scope, Workspace
from workspaces.permissions import ReadOrAdmin, ReadOrMember

_UUID = "[0-9a-f-]{36}"
_METHODS = ["get", "post", "patch", "delete", "head", "options"]
"""Without PUT: what it leaves out would have to be reset, and no client means that."""


class AgentViewSet(StrictQuery, viewsets.ModelViewSet[Agent]):
    """Agents of the workspace: everybody uses them, admins and owners keep them. Deleting one retires it."""

    serializer_class = AgentSerializer
    permission_classes = [ReadOrAdmin]
    scopes_to_read = {Scope.CHAT, Scope.READ}
    scopes_to_write = {Scope.ADMIN}
    http_method_names = _METHODS
    queryset = Agent.objects.none()
    lookup_value_regex = _UUID

    def get_queryset(self) -> QuerySet[Agent]:
        if self.request.auth is None:
            return self.queryset
        return Agent.objects.filter(workspace=caller(self.request).workspace, is_active=True).select_related("llm")

    @transaction.atomic
    def perform_create(self, serializer: Any) -> None:
        self._make_room(serializer)
        serializer.save(workspace=caller(self.request).workspace, created_by=caller(self.request).user)

    @transaction.atomic
    def perform_update(self, serializer: Any) -> None:
        self._make_room(serializer)
        serializer.save()

    def perform_destroy(self, instance: Agent) -> None:
        # Conversations and their history keep pointing at it.
        instance.is_active = instance.is_default = False
        instance.save(update_fields=["is_active", "is_default", "updated_at"])

    def _make_room(self, serializer: Any) -> None:
        """A new default takes the place of the old one. Two at the same moment come one after the other."""
        if serializer.validated_data.get("is_default"):
            Workspace.objects.select_for_update(no_key=True).get(pk=caller(self.request).workspace.pk)
            Agent.objects.filter(workspace=caller(self.request).workspace, is_default=True).update(is_default=False)


class ConversationViewSet(ShowsTags, StrictQuery, viewsets.ModelViewSet[Conversation]):
    """The caller's conversations, and those shared in the workspace. Only their user changes or deletes them."""

    serializer_class = ConversationSerializer
    permission_classes = [ReadOrMember]
    scopes_to_read = {Scope.CHAT, Scope.READ}
    scopes_to_write = {Scope.CHAT}
    http_method_names = _METHODS
    filterset_class = ConversationFilter
    tag_type = "conversation"
    queryset = Conversation.objects.none()
    lookup_value_regex = _UUID

    def get_queryset(self) -> QuerySet[Conversation]:
        if self.request.auth is None:
            return self.queryset
        who = caller(self.request)
        return Conversation.objects.visible_to(user=who.user, workspace=who.workspace)

    @transaction.atomic
    def perform_create(self, serializer: Any) -> None:
        tags = self.tags_given(serializer.validated_data)
        conversation = serializer.save(workspace=caller(self.request).workspace, user=caller(self.request).user)
        self.set_tags(conversation, tags)

    def perform_update(self, serializer: Any) -> None:
        self._only_own(serializer.instance)
        tags = self.tags_given(serializer.validated_data)
        try:
            with transaction.atomic():
                self.set_tags(serializer.save(), tags)
        except IntegrityError:  # of one's API calls there is one that is active
            raise Conflict("Another conversation of API calls is active already.", code="api_calls_active") from None

    def perform_destroy(self, instance: Conversation) -> None:
        self._only_own(instance)
        # What was charged stays explained: the rows remain, nobody sees them any more.
        instance.status = Conversation.Status.DELETED
        instance.save(update_fields=["status", "updated_at"])

    def _only_own(self, conversation: Conversation) -> None:
        if conversation.user_id != self.request.user.pk:
            raise Forbidden("Only its user may change a conversation.")


class MessageViewSet(  # type: ignore[misc]  # its dispatch is a coroutine
    AnsweringMixin,
    ShowsTags,
    StrictQuery,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    viewsets.GenericViewSet[Message],
):
    """The messages of a conversation, newest first. Posting one gets it answered."""

    serializer_class = MessageWithUsageSerializer
    permission_classes = [ReadOrMember]
    scopes_to_read = {Scope.CHAT, Scope.READ}
    scopes_to_write = {Scope.CHAT}
    filterset_class = MessageFilter
    tag_type = "message"
    queryset = Message.objects.none()
    lookup_value_regex = _UUID

    def get_queryset(self) -> QuerySet[Message]:
        if self.request.auth is None:
            return self.queryset
        who = caller(self.request)
        conversation = get_object_or_404(
            Conversation.objects.visible_to(user=who.user, workspace=who.workspace),
            pk=self.kwargs["conversation_pk"],
        )
        return conversation.messages.prefetch_related(
            Prefetch("usage_logs", UsageLog.objects.filter(workspace=who.workspace).select_related("llm"))
        )

    def get_serializer_class(self) -> Any:
        return MessageDetailSerializer if self.action == "retrieve" else MessageWithUsageSerializer

    @extend_schema(
        request=AskSerializer,
        responses=ANSWERS,
        parameters=[IDEMPOTENCY_KEY],
        description="Answers `{message, usage, cost}`; with `stream` true, server-sent events `message.started`, "
        "`delta`, and at the end `message.completed` or `error`.",
    )
    def create(self, request: Request, conversation_pk: str) -> Any:
        serializer = AskSerializer(data=request.data, context=self.get_serializer_context())
        who = caller(request)
        if not who.membership.may_write:
            raise Forbidden("A viewer can't send messages.")
        self.get_queryset()  # a stranger learns nothing from how the body is wrong
        serializer.is_valid(raise_exception=True)
        return self.answered(serializer.ask(), conversation_id=conversation_pk)


class FeedbackView(StrictQuery, viewsets.GenericViewSet[MessageFeedback]):
    """The caller's feedback on an answer; one per user and message."""

    serializer_class = FeedbackSerializer
    permission_classes = [ReadOrMember]
    scopes_to_read = {Scope.CHAT, Scope.READ}
    scopes_to_write = {Scope.CHAT}
    queryset = MessageFeedback.objects.none()
    filterset_class = None

    def _message(self) -> Message:
        who = caller(self.request)
        conversation = get_object_or_404(
            Conversation.objects.visible_to(user=who.user, workspace=who.workspace),
            pk=self.kwargs["conversation_pk"],
        )
        return get_object_or_404(conversation.messages.all(), pk=self.kwargs["message_pk"])

    def _own(self, message: Message) -> MessageFeedback:
        return get_object_or_404(message.message_feedbacks.all(), user=caller(self.request).user)

    def retrieve(self, request: Request, **kwargs: Any) -> Response:
        return Response(self.get_serializer(self._own(self._message())).data)

    def create(self, request: Request, **kwargs: Any) -> Response:
        message = self._message()
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = feedback.give(message=message, user=caller(request).user, **serializer.validated_data)
        return Response(self.get_serializer(given).data, status=201)

    def partial_update(self, request: Request, **kwargs: Any) -> Response:
        message = self._message()
        serializer = self.get_serializer(self._own(message), data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        changed = feedback.change(message=message, user=caller(request).user, **serializer.validated_data)
        return Response(self.get_serializer(changed).data)

    def destroy(self, request: Request, **kwargs: Any) -> Response:
        feedback.withdraw(message=self._message(), user=caller(request).user)
        return Response(status=204)
