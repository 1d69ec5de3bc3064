from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class LLMConfig(AppConfig):
    name = "llm"
    verbose_name = _("LLMs and prices")

    def ready(self) -> None:
        from llm import connections
        from llm.models import LLM, ProviderConnection
        from workspaces import model_names, sealed

        # Workspaces stand below and know no models; their rules are checked from here.
        model_names.register(LLM.objects.unknown_names)
        sealed.register(ProviderConnection, bound_to=connections.bound_to)
