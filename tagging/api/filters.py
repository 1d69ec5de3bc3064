"""``?tag=`` on every list of what can be tagged."""

from __future__ import annotations

from typing import Any

from rest_framework.filters import BaseFilterBackend
from rest_framework.serializers import ValidationError

from tagging import links, registry
from tagging.names import NotATag, Pattern, parse_pattern
from workspaces.authentication import caller

PARAMETER = "tag"
MAX_PATTERNS = 10


def patterns_of(request: Any) -> list[Pattern]:
    """What ``?tag=`` asks for, each once. Raises ValidationError."""
    try:
        found = list(dict.fromkeys(parse_pattern(text) for text in request.query_params.getlist(PARAMETER)))
    except NotATag as error:
        raise ValidationError({PARAMETER: [str(error)]}) from None
    if len(found) > MAX_PATTERNS:
        raise ValidationError({PARAMETER: [f"At most {MAX_PATTERNS} tags."]})
    return found


class TagFilterBackend(BaseFilterBackend):
    """Narrows a list to what carries all of the tags: ``?tag=customer:acme&tag=topic:*``."""

    def filter_queryset(self, request: Any, queryset: Any, view: Any) -> Any:
        found = registry.of_list(queryset.model) if getattr(view, "action", "") == "list" else None
        if found is None or PARAMETER not in request.query_params:
            return queryset
        taggable, column = found
        return links.carrying(
            queryset,
            patterns_of(request),
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
