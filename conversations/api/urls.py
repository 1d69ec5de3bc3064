from django.urls import re_path

from conversations.api import key_tests
from conversations.api.feedback import FeedbackExportView, FeedbackListView, FeedbackSummaryView
from conversations.api.one_shots import (
    ChatView,
    CountTokensView,
    EstimateView,
    GenerateView,
    ProviderCountTokensView,
    ProviderGenerateView,
)
from conversations.api.tag_usage import TagsUsageView, TagUsageView
from conversations.api.views import AgentViewSet, ConversationViewSet, FeedbackView, MessageViewSet
from llm.paths import PROVIDER
from synapscale.common.views import OptionalSlashRouter

router = OptionalSlashRouter()
router.register("agents", AgentViewSet, basename="agent")
router.register("conversations", ConversationViewSet, basename="conversation")
router.register(r"conversations/(?P<conversation_pk>[0-9a-f-]{36})/messages", MessageViewSet, basename="message")
router.register("feedback", FeedbackListView, basename="feedback")
urlpatterns = [
    *router.urls,
    re_path(r"^llm/generate/?$", GenerateView.as_view(), name="llm-generate"),
    re_path(r"^llm/chat/?$", ChatView.as_view(), name="llm-chat"),
    re_path(r"^llm/count-tokens/?$", CountTokensView.as_view(), name="llm-count-tokens"),
    re_path(r"^llm/estimate/?$", EstimateView.as_view(), name="llm-estimate"),
    re_path(rf"^{PROVIDER}/generate/?$", ProviderGenerateView.as_view(), name="llm-provider-generate"),
    re_path(rf"^{PROVIDER}/count-tokens/?$", ProviderCountTokensView.as_view(), name="llm-provider-count-tokens"),
    re_path(
        r"^conversations/(?P<conversation_pk>[0-9a-f-]{36})/messages/(?P<message_pk>[0-9a-f-]{36})/feedback/?$",
        FeedbackView.as_view({"get": "retrieve", "post": "create", "patch": "partial_update", "delete": "destroy"}),
        name="message-feedback",
    ),
    re_path(r"^tags/usage/?$", TagsUsageView.as_view(), name="tags-usage"),
    re_path(r"^tags/(?P<key>.+)/usage/?$", TagUsageView.as_view(), name="tag-usage"),
    re_path(r"^feedback/summary/?$", FeedbackSummaryView.as_view(), name="feedback-summary"),
    re_path(r"^feedback/export/?$", FeedbackExportView.as_view(), name="feedback-export"),
    *key_tests.urlpatterns,
]
