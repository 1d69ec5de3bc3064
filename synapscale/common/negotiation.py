"""Which format an answer has."""

from __future__ import annotations

from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation


class JSONForAll(DefaultContentNegotiation):
    """An endpoint with one format gives that one, whatever the client says it accepts.

    Clients of event streams send ``Accept: text/event-stream`` with every request, and refusals are JSON all the same.
    """

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        if len(renderers) == 1:
            return renderers[0], renderers[0].media_type
        return super().select_renderer(request, renderers, format_suffix)
