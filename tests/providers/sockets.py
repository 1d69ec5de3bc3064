"""HTTP/1.1 by hand, as far as the stand-ins need it: read a request, write an answer whole, in chunks, or badly."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Recorded:
    """One request as it came, and how far its answer got."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: dict[str, Any]
    key: str
    """The API key, from whichever header carried it."""
    usage: dict[str, int] = field(default_factory=dict)
    """The usage of the scripted answer: what this provider would bill. Counts and lists cost nothing."""
    is_finished: bool = False
    """Whether the answer was sent to its end."""


async def until_gone(reader: asyncio.StreamReader) -> None:
    """Returns when the client has closed the connection."""
    while not reader.at_eof():  # noqa: ASYNC110 (the reader has no event for it)
        await asyncio.sleep(0.02)


async def read_request(reader: asyncio.StreamReader) -> Recorded | None:
    try:
        lines_read = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = lines_read.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    raw = await reader.readexactly(int(headers.get("content-length", 0)))
    key = headers.get("x-api-key") or headers.get("x-goog-api-key") or headers.get("authorization", "")
    body = json.loads(raw) if raw else {}
    return Recorded(method, path, headers, body, key.removeprefix("Bearer "))


def head(status: int, headers: dict[str, str], length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
    if length is not None:
        lines.append(f"content-length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def write_chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


async def send(writer: asyncio.StreamWriter, status: int, body: bytes, headers: dict[str, str]) -> bool:
    writer.write(head(status, headers, len(body)) + body)
    await writer.drain()
    return True


async def send_json(
    writer: asyncio.StreamWriter, status: int, body: Any, headers: dict[str, str] | None = None
) -> bool:
    fields = {"content-type": "application/json", **(headers or {})}
    return await send(writer, status, json.dumps(body).encode(), fields)


async def trickle(writer: asyncio.StreamWriter, data: bytes, pause: float, *, is_chunked: bool = False) -> bool:
    """One byte at a time, and never the last one."""
    for offset in range(len(data) - 2):
        byte = data[offset : offset + 1]
        if is_chunked:
            write_chunk(writer, byte)
        else:
            writer.write(byte)
        await writer.drain()
        await asyncio.sleep(pause)
    await asyncio.Event().wait()
    return False


def reset(writer: asyncio.StreamWriter) -> bool:
    """Close with a TCP reset instead of an orderly end."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False
