from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ConversationsConfig(AppConfig):
    name = "conversations"
    verbose_name = _("Conversations")

    def ready(self) -> None:
        from conversations import autotagging, feedback_alerts, receivers, sweeper, tag_conditions, taggables, trial  # noqa: F401  registers what it stores
        from synapscale.common import periodic

        receivers.connect()
        taggables.connect()
        tag_conditions.connect()

        # Each process for itself: the spool, and knowing which processes have died, are its machine's.
        periodic.register(
            name="sweep",
            setting="SWEEP_SECONDS",
            run=sweeper.sweep,
            description=_("finish calls of processes that died"),
            is_everywhere=True,
        )
        periodic.register(
            name="autotag",
            setting="AUTOTAG_SECONDS",
            run=autotagging.run_due,
            description=_("let rules look at new answers"),
        )
        periodic.register(
            name="feedback_alerts",
            setting="FEEDBACK_ALERT_SECONDS",
            run=feedback_alerts.send_due,
            description=_("tell workspaces of negative feedback"),
        )
