from django.apps import AppConfig


class CommonConfig(AppConfig):
    name = "synapscale.common"
    label = "common"

    def ready(self) -> None:
        from synapscale import checks  # noqa: F401  registers the system checks
        from synapscale.common import job_admin  # noqa: F401  registers the page
