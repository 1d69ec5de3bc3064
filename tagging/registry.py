"""What can be tagged. An app registers its models here, each with the rows of it that a caller may reach.

There is no other way to a target: an id that the registered query does not find can't be tagged, looked at or counted,
whoever asks. That is what keeps tags within their workspace, whatever tables come later.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import models

from workspaces.models import Membership, User, Workspace


@dataclass(frozen=True, slots=True)
class Taggable:
    """A kind of thing that tags are put on."""

    name: str
    """What ``target_type`` calls it."""
    model: type[models.Model]
    reachable: Callable[[User, Workspace], models.QuerySet[Any]]
    """The rows that a user may see in a workspace."""
    may_tag: Callable[[Membership], bool]
    """Who may put tags on what they reach, and take them off."""
    lists: Mapping[type[models.Model], str] = field(default_factory=dict)
    """Other models whose lists can be narrowed by its tags, and their column with its id."""

    def reach(self, *, user: User, workspace: Workspace, ids: Iterable[uuid.UUID]) -> set[uuid.UUID]:
        """Those of ``ids`` that ``user`` may see in ``workspace``. One query."""
        rows = self.reachable(user, workspace).filter(pk__in=list(ids))
        return set(rows.values_list("pk", flat=True))


_taggables: dict[str, Taggable] = {}
_lists: dict[type[models.Model], tuple[Taggable, str]] = {}


def register(taggable: Taggable) -> None:
    """Make a kind of thing taggable, and the lists of it narrowed by tags."""
    _taggables[taggable.name] = taggable
    for model, column in {taggable.model: "pk", **taggable.lists}.items():
        _lists[model] = (taggable, column)


def get(name: str) -> Taggable | None:
    return _taggables.get(name)


def all_taggables() -> list[Taggable]:
    return sorted(_taggables.values(), key=lambda one: one.name)


def of_list(model: type[models.Model]) -> tuple[Taggable, str] | None:
    """What the tags of the rows of a list hang on, and the column of the list with its id."""
    return _lists.get(model)
