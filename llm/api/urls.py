from django.urls import re_path

from llm.api import own_keys
from llm.api.views import LLMViewSet, ProvidersView
from synapscale.common.views import OptionalSlashRouter

router = OptionalSlashRouter()
router.register("llm/models", LLMViewSet, basename="llm")
urlpatterns = [
    *router.urls,
    re_path(r"^llm/providers/?$", ProvidersView.as_view(), name="llm-providers"),
    *own_keys.urlpatterns,
]
