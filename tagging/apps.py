from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class TaggingConfig(AppConfig):
    name = "tagging"
    verbose_name = _("Tags")

    def ready(self) -> None:
        from tagging import taggables

        taggables.connect()
