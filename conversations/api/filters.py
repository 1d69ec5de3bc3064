import django_filters

from conversations.models import Conversation, Message
from synapscale.common.filters import StrictFilterSet


class ConversationFilter(StrictFilterSet):
    status = django_filters.ChoiceFilter(choices=[("active", "active"), ("archived", "archived")])
    search = django_filters.CharFilter(field_name="title", lookup_expr="icontains")
    agent = django_filters.UUIDFilter(field_name="agent_id")

    class Meta:
        model = Conversation
        fields = ["status", "kind", "is_shared"]


class MessageFilter(StrictFilterSet):
    class Meta:
        model = Message
        fields = ["role", "status"]
