from django.apps import AppConfig


class LLMConfig(AppConfig):
    name = "llm"
    verbose_name = "LLMs and prices"

    def ready(self) -> None:
        from llm import connections, price_proposals
        from llm.models import LLM, ProviderConnection
        from synapscale.common import periodic
        from workspaces import model_names, sealed

        # Workspaces stand below and know no models; their rules are checked from here.
        model_names.register(LLM.objects.unknown_names)
        sealed.register(ProviderConnection, bound_to=connections.bound_to)
        periodic.register(
            name="price_sync",
            setting="PRICE_SYNC_SECONDS",
            run=price_proposals.propose_due,
            description="compare the catalogue with the vendors' prices, propose what differs",
        )
