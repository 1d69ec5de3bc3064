from django.urls import re_path

from conversations.api import key_tests
from conversations.api.views import AgentViewSet, ConversationViewSet, FeedbackView, MessageViewSet
from synapscale.common.views import OptionalSlashRouter

router = OptionalSlashRouter()
router.register("agents", AgentViewSet, basename="agent")
router.register("conversations", ConversationViewSet, basename="conversation")
router.register(r"conversations/(?P<conversation_pk>[0-9a-f-]{36})/messages", MessageViewSet, basename="message")
urlpatterns = [
    *router.urls,
    re_path(
        r"^conversations/(?P<conversation_pk>[0-9a-f-]{36})/messages/(?P<message_pk>[0-9a-f-]{36})/feedback/?$",
        FeedbackView.as_view({"get": "retrieve", "post": "create", "patch": "partial_update", "delete": "destroy"}),
        name="message-feedback",
    ),
    *key_tests.urlpatterns,
]
