"""For the templates of every page: what the links at the side call things, the headings call them too."""

from __future__ import annotations

from typing import Any

from django import template

from office import navigation

register = template.Library()


@register.simple_tag
def crumbs(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts of unfold's heading (an app, a list, a row). A list that is linked at the side stands under its group there,
    by its name there: ``People``, which Django knows as the users of the app of workspaces.
    """
    if len(parts) < 2 or not (found := navigation.place_of(str(parts[1].get("link", "")))):
        return parts
    group, link = found
    return [{"title": group.title}, {**parts[1], "title": link.title}, *parts[2:]]
