"""``/v1/``: endpoints that the vendors' own SDKs call. They take the same road as every message."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

from django.db import InterfaceError, OperationalError
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from conversations import chat
from conversations.admission import Admitted
from conversations.api.answering import idempotency_key
from conversations.api.replies import failure, has_failed, not_settled
from conversations.calls import Call, Unsettled
from conversations.compat import asking, tags
from conversations.compat.dialects import ANTHROPIC, OPENAI, Dialect, dialect_of, is_worth_another_try
from conversations.compat.listening import Listening
from conversations.compat.served import Served, bill_of, served
from conversations.models import Message
from conversations.tries import Piece
from llm.types import TextDelta, ThinkingDelta, ToolCallDelta
from synapscale.common.api_errors import error_body, exception_handler
from synapscale.common.db import in_db
from synapscale.common.errors import NotFound
from synapscale.common.parsing import CleaningJSONParser
from synapscale.common.sse import sse_response
from synapscale.common.views import AsyncActionsMixin, require_asgi
from workspaces import ratelimits
from workspaces.authentication import caller
from workspaces.models import Scope
from workspaces.permissions import ANY_SCOPE, ReadOrMember

logger = logging.getLogger(__name__)
START_SECONDS = 10.0
"""How long a stream waits for its first piece before it begins: what fails until then fails with a status of its own."""
_INTERNAL = ("internal_error", "Something went wrong on our side.")
_AWAY = (Unsettled, OperationalError, InterfaceError)
"""There is an answer, and it is charged or will be; the database is not there to store or tell it."""


@extend_schema(exclude=True)
class CompatView(APIView):
    """Errors in the SDK's own shape, whatever they are."""

    permission_classes = [ReadOrMember]
    parser_classes = [CleaningJSONParser]
    dialect: Dialect | None = None

    @property
    def spoken(self) -> Dialect:
        return self.dialect or dialect_of(self.request)

    def handle_exception(self, exc: Exception) -> Response:
        context = {"request": self.request, "view": self}
        response = exception_handler(exc, context)
        if response is None:
            logger.exception("unexpected error", exc_info=exc)
            response = Response(error_body(*_INTERNAL, request=self.request), status=500)
        if response.status_code == 401:
            response["WWW-Authenticate"] = 'Bearer realm="api"'
        return self._in_dialect(response)

    def _in_dialect(self, response: Response, *, key_source: str = "") -> Response:
        if not is_worth_another_try(response.data["error"]["code"]):
            response["x-should-retry"] = "false"
        response.data, response.status_code = self.spoken.error(
            response.data, response.status_code, key_source=key_source
        )
        response.exception = True
        return response

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["request-id"] = getattr(self.request, "request_id", "")
        return response


class AnswerView(AsyncActionsMixin, CompatView):  # type: ignore[misc]  # its dispatch is a coroutine
    """A call of a model, in one of the protocols."""

    scopes_to_read = scopes_to_write = frozenset({Scope.CHAT})
    _call: Call | None = None
    _is_client_gone = False

    def post(self, request: Request) -> Any:
        who = caller(request)
        body, given = tags.taken_out(dict(request.data))
        asked = tags.tagged(self.spoken.read(body), given, header=request.headers.get(tags.HEADER))
        require_asgi(request)
        admitted = chat.admit(
            user=who.user,
            workspace=who.workspace,
            membership=who.membership,
            conversation_id=asked.conversation_id,
            ask=asked.ask,
            idempotency_key=idempotency_key(request),
            access_token=who.token,
        )
        if isinstance(admitted, Admitted):
            return self._answered(admitted, asked)
        return self._replayed(admitted.answer, asked)

    def client_gone(self) -> None:
        """A streamed call is stopped: nobody reads on. A plain one is finished, for its usage to be exact."""
        self._is_client_gone = True
        if self._call is not None:
            self._call.stop()

    async def _answered(self, admitted: Admitted, asked: asking.Request) -> Any:
        call = chat.start(admitted, streams=asked.ask.stream)
        if asked.ask.stream:
            self._call = call
            if self._is_client_gone:
                call.stop()
            await call.first_piece(seconds=START_SECONDS)
        try:
            response = await self._begun(call, asked)
        except _AWAY as error:
            response = self._in_dialect(Response(error_body(*not_settled(error), request=self.request), status=503))
        for name, value in ratelimits.headers(admitted.rates).items():
            response[name] = value
        return response

    async def _begun(self, call: Call, asked: asking.Request) -> Any:
        """The response: whole, or the beginning of a stream."""
        if asked.ask.stream and not call.has_ended:
            return self._streaming(Listening(self._events(call, asked), call), call.answer)
        message, outcome = await call.outcome()
        if has_failed(message) and not call.has_pieces:
            return self._failed(message)
        if asked.ask.stream:
            return self._streaming(self._events(call, asked), call.answer)
        if has_failed(message):
            return self._failed(message)
        return self._whole(await in_db(served, message, outcome), asked)

    async def _events(self, call: Call, asked: asking.Request) -> AsyncIterator[bytes]:
        stream = self.spoken.reply.Stream(call.answer, asked)
        try:
            yield b"".join(stream.begin())
            async for pieces in call.pieces():
                if events := b"".join(stream.pieces(pieces)) if pieces else stream.heartbeat():
                    yield events
            message, outcome = await call.outcome()
            if has_failed(message):
                body, status, _ = failure(message, self.request)
                body["error"]["details"] |= (await in_db(bill_of, message)).extension  # what had come is charged
                yield b"".join(stream.broken_off(self._error(body, status, message)))
                return
            yield b"".join(stream.end(await in_db(served, message, outcome)))
        except _AWAY as error:
            yield b"".join(stream.broken_off(self._error(error_body(*not_settled(error), request=self.request), 503)))
        except Exception:
            logger.exception("a stream ended unexpectedly")
            yield b"".join(stream.broken_off(self._error(error_body(*_INTERNAL, request=self.request), 500)))

    def _replayed(self, message: Message, asked: asking.Request) -> Any:
        if has_failed(message):
            response = self._failed(message)
            response["x-should-retry"] = "false"  # the same key gets the same answer
            response["Idempotent-Replayed"] = "true"
            return response
        answer = served(message)
        if asked.ask.stream:
            response = self._streaming(_told_again(self.spoken.reply.Stream(message, asked), answer), message)
        else:
            response = self._whole(answer, asked)
        response["Idempotent-Replayed"] = "true"
        return response

    def _whole(self, answer: Served, asked: asking.Request) -> Response:
        response = Response(self.spoken.answer(answer, asked))
        for name, value in answer.headers.items():
            response[name] = value
        return response

    def _streaming(self, events: AsyncIterator[bytes], answer: Message) -> Any:
        response = sse_response(events)
        response["x-synapscale-message-id"] = str(answer.pk)
        response["x-synapscale-conversation-id"] = str(answer.conversation_id)
        response["x-synapscale-model"] = answer.model_used
        response["x-synapscale-attempts"] = str(answer.attempt)
        return response

    def _failed(self, message: Message) -> Response:
        body, status, retry_after = failure(message, self.request)
        response = self._in_dialect(Response(body, status=status), key_source=_key_source(message))
        response["x-synapscale-message-id"] = str(message.pk)
        if retry_after is not None:
            response["Retry-After"] = str(retry_after)
        return response

    def _error(self, body: dict[str, Any], status: int, message: Message | None = None) -> dict[str, Any]:
        return self.spoken.error(body, status, key_source=_key_source(message) if message else "")[0]


class ChatCompletionsView(AnswerView):
    dialect = OPENAI


class MessagesView(AnswerView):
    dialect = ANTHROPIC


class NowhereView(CompatView):
    """Any other address under ``/v1/``: what can't be metered is not passed on."""

    scopes_to_read = scopes_to_write = ANY_SCOPE

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.path.startswith("/v1/v1/"):
            raise NotFound("The address has “/v1” twice: the base URL of Anthropic's SDKs ends before it.")
        raise NotFound(
            "There is nothing at this address: what can't be metered is not passed on. Models are called at "
            "/v1/chat/completions and /v1/messages."
        )


async def _told_again(stream: Any, answer: Served) -> AsyncIterator[bytes]:
    """A stored answer as a stream."""
    pieces: list[Piece] = [ThinkingDelta(block.text, block.signature, block.redacted) for block in answer.thinking]
    if answer.text:
        pieces.append(TextDelta(answer.text))
    pieces += [
        ToolCallDelta(index, call.arguments, call.id, call.name, call.signature)
        for index, call in enumerate(answer.tool_calls)
    ]
    yield b"".join([*stream.begin(), *stream.pieces(pieces), *stream.end(answer)])


def _key_source(message: Message) -> str:
    return str(message.call.get("terms", {}).get("key_source", ""))
