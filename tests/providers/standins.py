"""Stand-ins for the model providers: a small HTTP server that speaks their wire formats and misbehaves on demand.

Three families of endpoints, told apart by path: OpenAI's ``/v1/chat/completions`` (also Grok, DeepSeek, Llama),
Anthropic's ``/v1/messages`` and ``/v1/messages/count_tokens``, Gemini's ``/v1beta/models/{model}:generateContent``,
``:streamGenerateContent`` and ``:countTokens``, and each one's list of models. It is written on bare sockets because
half of what it must do (a TCP reset in mid-stream, one byte at a time, a body that lies about its encoding) is what a
web framework keeps its users from doing.

In a test::

    def test_something(provider):                  # the fixture of tests/conftest.py
        provider.answer(text="Hi", usage={"input": 3, "output": 1})          # for every request from now on
        provider.script(refusal(429, headers={"retry-after": "1"}), answer(text="Hi"))   # for the next two
        ... Credentials(provider="openai", api_key="sk-x", base_url=provider.openai_url) ...
        assert provider.requests[0].body["model"] == "gpt-x"

As a process, for tests that start servers of their own: ``python -m tests.providers.standins --port 9900``, then
``POST /__script__`` with ``{"default": {...}, "behaviours": [{...}]}``, ``GET /__requests__``, ``POST /__reset__``.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gzip
import json
import ssl
import threading
from collections import deque
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.providers.sockets import (
    Recorded,
    head,
    read_request,
    reset,
    send,
    send_json,
    trickle,
    until_gone,
    write_chunk,
)
from tests.providers.wire import COUNT, MODELS, RENDER, STREAM, Behaviour, error_body, error_event

HUGE_LINE_BYTES = 50 * 1024 * 1024


@functools.cache
def gzip_bomb() -> bytes:
    """A hundred kilobytes that unpack to a hundred megabytes."""
    return gzip.compress(b" " * (100 * 1024 * 1024))


def answer(text: str = "Hello from the stand-in.", **fields: Any) -> Behaviour:
    """An answer; see ``Behaviour`` for the fields."""
    return Behaviour(text=text, **fields)


def refusal(status: int, *, vendor: str = "openai", code: str = "", message: str = "", **fields: Any) -> Behaviour:
    """An error status with a body in the vendor's shape. ``{key}`` in the message becomes the caller's key."""
    body = error_body(vendor, status, code=code, message=message)
    return Behaviour(status=status, error=body, **fields)


def fault(kind: str, *, after: int = 0, **fields: Any) -> Behaviour:
    """An answer that goes wrong; see ``wire.FAULTS``."""
    if kind == "gzip_bomb":
        gzip_bomb()  # made here and not while a client waits
    return Behaviour(fault=kind, fault_after=after, **fields)


class StandIn:
    """The server. ``start()`` runs it in a thread; all methods may be called from the test's thread."""

    def __init__(self, port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Recorded] = []
        self.default = Behaviour()
        self.answering = 0
        """How many answers are being written right now."""
        self.most_at_once = 0
        """The largest ``answering`` since the last reset."""
        self._queue: deque[Behaviour] = deque()
        self._port = port
        self._tls = tls
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Event | None = None
        self._is_up = threading.Event()

    # what tests use --------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        return self._port

    @property
    def openai_url(self) -> str:
        """The base URL to give to OpenAI, Grok, DeepSeek and Llama clients."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        return self.url

    @property
    def google_url(self) -> str:
        return self.url

    def base_url(self, provider: str) -> str:
        return self.url if provider in ("anthropic", "google") else self.openai_url

    def answer(self, text: str = "Hello from the stand-in.", **fields: Any) -> None:
        """What every request gets from now on, unless something is scripted."""
        self.default = answer(text, **fields)

    def always(self, behaviour: Behaviour) -> None:
        self.default = behaviour

    def script(self, *behaviours: Behaviour) -> None:
        """What the next requests get, one each, in order of arrival."""
        self._queue.extend(behaviours)

    def reset(self) -> None:
        self.requests.clear()
        self._queue.clear()
        self.default = Behaviour()
        self.most_at_once = 0

    # the life of the server ------------------------------------------------------------------------------------------

    def start(self) -> StandIn:
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True, name="stand-in")
        self._thread.start()
        self.wait_until_up()
        return self

    def wait_until_up(self) -> None:
        if not self._is_up.wait(10):
            raise RuntimeError("the stand-in did not start")

    def stop(self) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join(10)

    async def serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._connection(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(
            connected, "127.0.0.1", self._port, backlog=1024, limit=64 * 1024 * 1024, ssl=self._tls
        )
        self._port = server.sockets[0].getsockname()[1]
        self._is_up.set()
        await self._stop.wait()
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await read_request(reader)
                if request is None or not await self._respond(request, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away: its good right
        finally:
            writer.close()

    async def _respond(self, request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection is spent."""
        if request.path.startswith("/__"):
            return await self._control(request, writer)
        vendor, job = _endpoint(request)
        if not vendor:
            return await send_json(writer, 404, {"error": {"message": "no such endpoint"}})
        behaviour = self._queue.popleft() if self._queue else self.default
        request.usage = dict(behaviour.usage) if job in ("answer", "stream") else {}
        self.requests.append(request)
        self.answering += 1
        self.most_at_once = max(self.most_at_once, self.answering)
        answering = asyncio.ensure_future(self._answer(vendor, job, behaviour, request, writer))
        gone = asyncio.ensure_future(until_gone(reader))
        try:
            await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            return answering.done() and answering.result()
        finally:
            self.answering -= 1
            answering.cancel()
            gone.cancel()

    async def _answer(
        self, vendor: str, job: str, behaviour: Behaviour, request: Recorded, writer: asyncio.StreamWriter
    ) -> bool:
        if behaviour.wait:
            await asyncio.sleep(behaviour.wait)
        if behaviour.fault == "hang":
            await asyncio.Event().wait()
        headers = {"x-request-id": "req-1", "request-id": "req-1", **behaviour.headers}
        if behaviour.status != 200:
            body = json.loads(json.dumps(behaviour.error or {}).replace("{key}", request.key))
            return await send_json(writer, behaviour.status, body, headers)
        if job == "stream":
            is_alive = await self._stream(vendor, behaviour, request, writer, headers)
        else:
            is_alive = await self._plain(_document(vendor, job, behaviour, request), behaviour, writer, headers)
        request.is_finished = is_alive
        return is_alive

    async def _plain(
        self, document: bytes, behaviour: Behaviour, writer: asyncio.StreamWriter, headers: dict[str, str]
    ) -> bool:
        match behaviour.fault:
            case "gzip_bomb":
                document, headers = gzip_bomb(), {**headers, "content-encoding": "gzip"}
            case "huge_line":
                document = b'{"a": "' + b"x" * HUGE_LINE_BYTES + b'"}'
            case "malformed":
                document = b'{"choices": [{"mess'
            case "bad_utf8":
                document = document.replace(b"Hello", b"H\xff\xfe\xfao")
            case "cut" | "eof":
                writer.write(head(200, {**headers, "content-type": "application/json"}, len(document)))
                writer.write(document[: len(document) // 2])
                await writer.drain()
                return reset(writer) if behaviour.fault == "cut" else False
            case "loris":
                writer.write(head(200, {**headers, "content-type": "application/json"}, len(document)))
                return await trickle(writer, document, behaviour.delay or 0.05)
        return await send(writer, 200, document, {**headers, "content-type": "application/json"})

    async def _stream(
        self,
        vendor: str,
        behaviour: Behaviour,
        request: Recorded,
        writer: asyncio.StreamWriter,
        headers: dict[str, str],
    ) -> bool:
        headers = {**headers, "content-type": "text/event-stream", "transfer-encoding": "chunked"}
        if behaviour.fault == "gzip_bomb":
            headers["content-encoding"] = "gzip"
        writer.write(head(200, headers))
        await writer.drain()
        events = STREAM[vendor](behaviour, request.body)
        for index, event in enumerate(events):
            if behaviour.fault and index == behaviour.fault_after:
                ended = await self._strike(vendor, behaviour, writer, event)
                if ended is not None:
                    return ended
            if behaviour.delay:
                await asyncio.sleep(behaviour.delay)
            write_chunk(writer, event)
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _strike(
        self, vendor: str, behaviour: Behaviour, writer: asyncio.StreamWriter, event: bytes
    ) -> bool | None:
        """Do the damage. None: go on with the stream; else whether the connection can be used again."""
        match behaviour.fault:
            case "cut":
                # What was sent must be read first, or the reset would wipe it from the client's buffer.
                await asyncio.sleep(0.05)
                return reset(writer)
            case "stall":
                await asyncio.Event().wait()
            case "loris":
                return await trickle(writer, event, behaviour.delay or 0.05, is_chunked=True)
            case "malformed":
                write_chunk(writer, event.split(b"data: ")[0] + b'data: {"choices": [{"del\n\n')
            case "bad_utf8":
                start = event.split(b"data: ")[0]
                write_chunk(writer, start + b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n')
            case "error_event":
                write_chunk(writer, error_event(vendor, behaviour.error))
            case "huge_line":
                piece = b"x" * 65536
                write_chunk(writer, event.split(b"data: ")[0] + b"data: ")
                for _ in range(HUGE_LINE_BYTES // len(piece)):
                    write_chunk(writer, piece)
                    await writer.drain()
                write_chunk(writer, b"\n\n")
            case "gzip_bomb":
                write_chunk(writer, gzip_bomb())
            case "endless":
                while True:
                    write_chunk(writer, event)
                    await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return False

    async def _control(self, request: Recorded, writer: asyncio.StreamWriter) -> bool:
        match request.path:
            case "/__script__":
                if "default" in request.body:
                    self.default = Behaviour(**request.body["default"])
                self.script(*(Behaviour(**fields) for fields in request.body.get("behaviours", [])))
                return await send_json(writer, 200, {"queued": len(self._queue)})
            case "/__requests__":
                return await send_json(writer, 200, {"requests": [vars(r) for r in list(self.requests)]})
            case "/__reset__":
                self.reset()
                return await send_json(writer, 200, {})
        return await send_json(writer, 404, {})


def _endpoint(request: Recorded) -> tuple[str, str]:
    """Whose endpoint it is, and whether it is to ``answer``, ``stream``, ``count`` or list the ``models``."""
    path = request.path.split("?")[0]
    job = "stream" if ":streamGenerateContent" in path or request.body.get("stream") is True else "answer"
    if path.endswith("/chat/completions"):
        return "openai", job
    if path.endswith("/messages"):
        return "anthropic", job
    if path.endswith((":generateContent", ":streamGenerateContent")):
        return "google", job
    if path.endswith("/messages/count_tokens"):
        return "anthropic", "count"
    if path.endswith(":countTokens"):
        return "google", "count"
    if path.endswith("/v1beta/models"):
        return "google", "models"
    if path.endswith("/models"):
        return "anthropic" if "anthropic-version" in request.headers else "openai", "models"
    return "", ""


def _document(vendor: str, job: str, behaviour: Behaviour, request: Recorded) -> bytes:
    if job == "count":
        return json.dumps(COUNT[vendor](behaviour)).encode()
    if job == "models":
        return json.dumps(MODELS[vendor](behaviour, dict(parse_qsl(urlsplit(request.path).query)))).encode()
    return json.dumps(RENDER[vendor](behaviour)).encode()


async def run(port: int) -> None:
    stand_in = StandIn(port)
    serving = asyncio.ensure_future(stand_in.serve())
    await asyncio.to_thread(stand_in.wait_until_up)
    print(stand_in.url, flush=True)
    await serving


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the provider stand-in as a process.")
    parser.add_argument("--port", type=int, default=9900, help="0 takes a free one; the address is printed")
    asyncio.run(run(parser.parse_args().port))


if __name__ == "__main__":
    main()
