"""``?tag=`` on every list of what can be tagged."""

from __future__ import annotations

from typing import Any

from rest_framework.filters import BaseFilterBackend

from tagging import links, registry
from tagging.asked import PARAMETER, patterns_of
from workspaces.authentication import caller


class TagFilterBackend(BaseFilterBackend):
    """Narrows a list to what carries all of the tags: ``?tag=customer:acme&tag=topic:*``."""

    def filter_queryset(self, request: Any, queryset: Any, view: Any) -> Any:
        found = registry.of_list(queryset.model) if getattr(view, "action", "") == "list" else None
        if found is None or PARAMETER not in request.query_params:
            return queryset
        taggable, column = found
        return links.carrying(
            queryset,
            patterns_of(request.query_params),
            target_type=taggable.name,
            column=column,
            workspace_id=caller(request).workspace.pk,
        )

    def query_parameters(self, view: Any) -> set[str]:
        """The parameters that a strict list knows because of it."""
        queryset = getattr(view, "queryset", None)
        is_of_taggables = queryset is not None and registry.of_list(queryset.model) is not None
        return {PARAMETER} if is_of_taggables else set()

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        if not self.query_parameters(view):
            return []
        return [
            {
                "name": PARAMETER,
                "in": "query",
                "required": False,
                "description": "Only what carries this tag, like `customer:acme`; `topic:*` means any that begins like "
                "that. Given several times, all of them.",
                "schema": {"type": "array", "items": {"type": "string"}},
                "style": "form",
                "explode": True,
            }
        ]
