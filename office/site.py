"""Back office: the site, which is unfold's without the work that it does for each page and ours show nothing of."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import sites
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject
from unfold.apps import BasicAppConfig
from unfold.sites import UnfoldAdminSite

from office import navigation


class OfficeSite(UnfoldAdminSite):
    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> Any:
        """Made where something is shown of it: it asks for each permission to each model, and every page is given it."""
        return SimpleLazyObject(lambda: super(OfficeSite, self).get_app_list(request, app_label))

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        """Ours are ready as they are: nothing in them is a name of a function, or counts anything."""
        return navigation.groups(request)


class LookConfig(BasicAppConfig):
    """unfold, with our site in the place of its own."""

    def ready(self) -> None:
        admin.site = sites.site = OfficeSite()
