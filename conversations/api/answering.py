"""Asking for an answer and giving it: whole, as server-sent events, or again under the same Idempotency-Key."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from conversations import chat
from conversations.admission import Admitted
from conversations.api.replies import (
    ensure_kept,
    failure,
    has_failed,
    not_settled,
    reply,
    stream_call,
    stream_known,
)
from conversations.api.serializers import AnswerSerializer
from conversations.asks import Ask
from conversations.calls import Unsettled
from conversations.models import Message
from synapscale.common.api_errors import error_body
from synapscale.common.db import in_db
from synapscale.common.errors import Refusal
from synapscale.common.sse import sse_response
from synapscale.common.views import AsyncActionsMixin, require_asgi
from workspaces import ratelimits
from workspaces.authentication import caller

ANSWERS: Any = {(201, "application/json"): AnswerSerializer, (200, "text/event-stream"): OpenApiTypes.STR}
"""For the schema: what a view that answers responds with."""
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    location="header",
    description="1 to 255 characters. The same key again gives the stored answer and no second charge.",
)


class AnsweringMixin(AsyncActionsMixin):
    """For views whose action ends in an answer of a model. A client that goes away stops neither it nor its charge."""

    request: Request

    def answered(self, ask: Ask, *, conversation_id: Any = None) -> Any:
        """The response to ``ask``, or the coroutine that makes it. Raises the Refusal that stands in the way."""
        who, key = caller(self.request), idempotency_key(self.request)
        require_asgi(self.request)
        admitted = chat.admit(
            user=who.user,
            workspace=who.workspace,
            membership=who.membership,
            conversation_id=conversation_id,
            ask=ask,
            idempotency_key=key,
            access_token=who.token,
        )
        if isinstance(admitted, Admitted):
            return self._call(admitted, streams=ask.stream)
        answer = admitted.answer
        if not has_failed(answer):
            ensure_kept(answer)
        response: Any = sse_response(stream_known(answer, self.request)) if ask.stream else self._finished(answer)
        response["Idempotent-Replayed"] = "true"
        return response

    async def _call(self, admitted: Admitted, *, streams: bool) -> Response | StreamingHttpResponse:
        call = chat.start(admitted, streams=streams)
        response: Response | StreamingHttpResponse
        if streams:
            response = sse_response(stream_call(call, self.request))
        else:
            try:
                message, _ = await call.outcome()
            except Unsettled as error:
                response = Response(error_body(*not_settled(error), request=self.request), status=503)
            else:
                response = await in_db(self._finished, message)
        for name, value in ratelimits.headers(admitted.rates).items():
            response[name] = value
        return response

    def _finished(self, message: Message) -> Response:
        if not has_failed(message):
            return Response(reply(message), status=201)
        body, status, retry_after = failure(message, self.request)
        response = Response(body, status=status)
        if retry_after is not None:
            response["Retry-After"] = str(retry_after)
        return response


def idempotency_key(request: Request) -> str:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return ""
    key = key.strip()
    if not 1 <= len(key) <= 255:
        # An empty one is a mistake of the client's, who counts on not being charged twice.
        raise Refusal("An Idempotency-Key has 1 to 255 characters.", code="invalid_idempotency_key")
    return key
