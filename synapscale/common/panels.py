"""The back office: what apps above add to the page of a row of an app below, where no import could reach up.

A panel stands above the form, a tool among the buttons of the page. Each says for whom it is there; what is not for
somebody is not asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from django.http import HttpRequest
from unfold.enums import ActionVariant


@dataclass(frozen=True)
class Panel:
    template: str
    context: Callable[[HttpRequest, Any], dict[str, Any] | None]
    """What the template shows of a row; None: nothing, to this person."""


@dataclass(frozen=True)
class Tool:
    title: Any
    icon: str
    url: Callable[[Any], str]
    may_use: Callable[[HttpRequest, Any], bool]


_panels: dict[type[Model], list[Panel]] = {}
_tools: dict[type[Model], list[Tool]] = {}


def add_panel(model: type[Model], panel: Panel) -> None:
    _panels.setdefault(model, []).append(panel)


def add_tool(model: type[Model], tool: Tool) -> None:
    _tools.setdefault(model, []).append(tool)


def panels_of(request: HttpRequest, row: Model) -> list[dict[str, Any]]:
    """The panels of ``row`` with what they show."""
    found = []
    for panel in _panels.get(type(row), ()):
        context = panel.context(request, row)
        if context is not None:
            found.append({"template": panel.template, "panel": context})
    return found


def tools_of(request: HttpRequest, row: Model) -> list[dict[str, Any]]:
    """The buttons, as unfold shows those of its own."""
    return [
        {
            "title": tool.title,
            "icon": tool.icon,
            "variant": ActionVariant.DEFAULT,
            "attrs": {},
            "dialog": None,
            "path": tool.url(row),
        }
        for tool in _tools.get(type(row), ())
        if tool.may_use(request, row)
    ]
