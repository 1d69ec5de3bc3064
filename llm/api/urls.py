from django.urls import re_path

from llm.api import own_keys
from llm.api.views import LLMViewSet, ProviderLLMViewSet, ProvidersView
from llm.paths import PROVIDER
from synapscale.common.views import OptionalSlashRouter

router = OptionalSlashRouter()
router.register("llm/models", LLMViewSet, basename="llm")
urlpatterns = [
    *router.urls,
    re_path(r"^llm/providers/?$", ProvidersView.as_view(), name="llm-providers"),
    *own_keys.urlpatterns,
    re_path(rf"^{PROVIDER}/models/?$", ProviderLLMViewSet.as_view({"get": "list"}), name="llm-provider-models"),
]
