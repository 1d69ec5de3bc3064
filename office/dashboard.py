"""Back office: the front page."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from office import navigation


def context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What ``templates/admin/index.html`` shows, on top of what every page knows."""
    return {**context, "groups": navigation.groups(request)}
