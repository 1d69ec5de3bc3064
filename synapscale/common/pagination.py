"""Pages of a list."""

from __future__ import annotations

import re
from typing import Any

from django.core.exceptions import ValidationError as ModelValidationError
from rest_framework import exceptions, pagination

_LENGTH = re.compile(r"[0-9]{1,9}")


class CursorPagination(pagination.CursorPagination):
    """Newest first. A cursor stays valid while rows are added, and costs the same on page 1 and page 10,000."""

    ordering = ("-created_at", "-id")
    page_size = 50
    max_page_size = 200
    page_size_query_param = "limit"

    def get_page_size(self, request: Any) -> int:
        """As many rows as were asked for, up to the longest page there is."""
        given = request.query_params.get(self.page_size_query_param)
        if given is None:
            return self.page_size
        if not _LENGTH.fullmatch(given) or int(given) == 0:
            said = f"Give a whole number from 1 to {self.max_page_size}."
            raise exceptions.ValidationError({self.page_size_query_param: [said]})
        return min(int(given), self.max_page_size)

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> Any:
        try:
            return super().paginate_queryset(queryset, request, view)
        except (exceptions.NotFound, ModelValidationError):  # not decoded, or not a time that rows could be compared to
            said = "Give a cursor from “next” or “previous” of a page."
            raise exceptions.ValidationError({self.cursor_query_param: [said]}) from None

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        page = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "properties": {"next": page, "previous": page, "results": schema},
            "required": ["next", "previous", "results"],
        }
