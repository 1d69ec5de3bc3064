from django.apps import AppConfig


class OfficeConfig(AppConfig):
    name = "office"
    verbose_name = "Back office"

    def ready(self) -> None:
        from llm import price_proposals
        from office import audited
        from synapscale.common import periodic

        audited.track_all()
        # Here, after the jobs of all others: nobody waits for it.
        periodic.register(
            name="price_sync",
            setting="PRICE_SYNC_SECONDS",
            run=price_proposals.propose_due,
            description="compare the catalogue with the vendors' prices, propose what differs",
        )
