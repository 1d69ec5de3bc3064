"""Pages of a list."""

from __future__ import annotations

from typing import Any

from rest_framework import pagination


class CursorPagination(pagination.CursorPagination):
    """Newest first. A cursor stays valid while rows are added, and costs the same on page 1 and page 10,000."""

    ordering = ("-created_at", "-id")
    page_size = 50
    max_page_size = 200
    page_size_query_param = "limit"

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        page = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "properties": {"next": page, "previous": page, "results": schema},
            "required": ["next", "previous", "results"],
        }
