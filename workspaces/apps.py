from django.apps import AppConfig


class WorkspacesConfig(AppConfig):
    name = "workspaces"

    def ready(self) -> None:
        from workspaces import receivers, sealed
        from workspaces.models import UserVariable

        sealed.register(UserVariable, bound_to=lambda variable: variable.bound_to)
        receivers.connect()
