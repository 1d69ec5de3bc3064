from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class OfficeConfig(AppConfig):
    name = "office"
    verbose_name = _("Back office")

    def ready(self) -> None:
        from billing.models import Hold, Wallet
        from llm import effects, price_proposals
        from office import audited, hold_panel, key_checks, person_panel, statement_page, workspace_panel
        from office.model_effects import reliances
        from office.price_effects import price_effect
        from synapscale.common import panels, periodic
        from workspaces.models import User, UserVariable, Workspace

        panels.add_tool(UserVariable, key_checks.TOOL)
        panels.add_tool(Workspace, statement_page.tool(lambda workspace: workspace.pk))
        panels.add_tool(Wallet, statement_page.tool(lambda wallet: wallet.workspace_id))
        panels.add_panel(Workspace, workspace_panel.PANEL)
        panels.add_panel(User, person_panel.PANEL)
        panels.add_panel(Hold, hold_panel.PANEL)

        audited.track_all()
        # Models stand below those who use them; what a change of theirs does to usage and chats is told from here.
        effects.register(price_effect=price_effect, reliances=reliances)
        # Here, after the jobs of all others: nobody waits for it.
        periodic.register(
            name="price_sync",
            setting="PRICE_SYNC_SECONDS",
            run=price_proposals.propose_due,
            description=_("compare the catalogue with the vendors' prices, propose what differs"),
        )
