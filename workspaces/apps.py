from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class WorkspacesConfig(AppConfig):
    name = "workspaces"
    verbose_name = _("Workspaces and people")

    def ready(self) -> None:
        from workspaces import receivers, sealed
        from workspaces.models import UserVariable

        sealed.register(UserVariable, bound_to=lambda variable: variable.bound_to)
        receivers.connect()
