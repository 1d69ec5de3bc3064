"""``POST /v1/messages/count_tokens``."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from conversations import token_counts
from conversations.compat import anthropic_request
from conversations.compat.dialects import ANTHROPIC
from conversations.compat.views import CompatView
from conversations.offers import Asker
from synapscale.common.views import AsyncActionsMixin
from workspaces.authentication import caller
from workspaces.models import Scope


class CountTokensView(AsyncActionsMixin, CompatView):  # type: ignore[misc]  # its dispatch is a coroutine
    """How long a prompt is: by the vendor's own count where it gives one for free, else by an estimate."""

    dialect = ANTHROPIC
    scopes_to_read = scopes_to_write = frozenset({Scope.CHAT})

    def post(self, request: Request) -> Any:
        who = caller(request)
        asked = anthropic_request.read_for_counting(dict(request.data))
        prepared = token_counts.prepare(asker=Asker(who.user, who.workspace, who.token), ask=asked.ask)
        return self._counted(prepared)

    async def _counted(self, prepared: token_counts.Countable) -> Response:
        count = await token_counts.count(prepared)
        return Response({"input_tokens": count.tokens, "is_estimate": count.is_estimate})
