from django.urls import re_path

from conversations.compat import account, counting, views

urlpatterns = [
    re_path(r"^chat/completions/?$", views.ChatCompletionsView.as_view(), name="v1-chat-completions"),
    re_path(r"^messages/?$", views.MessagesView.as_view(), name="v1-messages"),
    re_path(r"^messages/count_tokens/?$", counting.CountTokensView.as_view(), name="v1-count-tokens"),
    re_path(r"^models/?$", account.ModelsView.as_view(), name="v1-models"),
    re_path(r"^models/(?P<model>.+?)/?$", account.ModelView.as_view(), name="v1-model"),
    re_path(r"^key/?$", account.KeyView.as_view(), name="v1-key"),
    re_path(r"^dashboard/billing/subscription/?$", account.SubscriptionView.as_view(), name="v1-subscription"),
    re_path(r"^dashboard/billing/usage/?$", account.UsageView.as_view(), name="v1-usage"),
    re_path(r"^.*$", views.NowhereView.as_view(), name="v1-nowhere"),
]
