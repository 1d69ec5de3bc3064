from django.apps import AppConfig


class LLMConfig(AppConfig):
    name = "llm"
    verbose_name = "LLMs and prices"

    def ready(self) -> None:
        from llm.models import LLM
        from workspaces import model_names

        # Workspaces stand below and know no models; their rules are checked from here.
        model_names.register(LLM.objects.unknown_names)
