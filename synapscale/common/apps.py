from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CommonConfig(AppConfig):
    name = "synapscale.common"
    label = "common"
    verbose_name = _("Common")

    def ready(self) -> None:
        from synapscale import checks  # noqa: F401  registers the system checks
        from synapscale.common import (
            job_admin,  # noqa: F401  registers the page
            permission_names,
        )

        permission_names.name_roles()
