"""Whatever a model writes, in whatever order: a well-formed stream that the SDKs put together to the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import anthropic
import httpx2
import openai
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.compat import anthropic_reply, openai_reply
from conversations.compat.asking import Request
from conversations.compat.served import Bill, Served
from conversations.models import Message
from conversations.tries import Piece
from llm.types import TextDelta, ThinkingDelta, ToolCallDelta, Usage
from tests.compat.clients import HELLO

AT = datetime(2026, 1, 1, tzinfo=UTC)
BILL = Bill(Usage(input=3, output=2), Decimal("0.000007"), Decimal("0.000007"), "global", False, 1)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def cut(draw: Any, text: str) -> list[str]:
    """``text`` in pieces, empty ones among them."""
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


@st.composite
def answers(draw: Any) -> list[Piece]:
    """Text, thinking and calls, each in pieces and in its own order, and all of them mixed."""
    tracks: list[list[Piece]] = [
        [TextDelta(piece) for piece in draw(st.lists(TEXT, max_size=4))],
        [ThinkingDelta(piece) for piece in draw(st.lists(TEXT, max_size=2))],
    ]
    if draw(st.booleans()):
        tracks[1].append(ThinkingDelta("", signature="c2ln"))
    if draw(st.booleans()):
        tracks[1].append(ThinkingDelta("", redacted="Y2lwaGVy"))
    for number in range(draw(st.integers(0, 3))):
        arguments = json.dumps(draw(st.dictionaries(TEXT, VALUES, max_size=2)), ensure_ascii=draw(st.booleans()))
        first, *rest = draw(cut(arguments))
        start = ToolCallDelta(number, first, f"call_{number}", f"tool_{number}", draw(st.sampled_from(["", "c2ln"])))
        tracks.append([start, *(ToolCallDelta(number, piece) for piece in rest)])
    order = draw(st.permutations([number for number, track in enumerate(tracks) for _ in track]))
    mixed = [tracks[number].pop(0) for number in order]
    return list(renumbered(mixed))


def renumbered(pieces: list[Piece]) -> Iterator[Piece]:
    """Calls are counted in the order in which they begin."""
    numbers: dict[int, int] = {}
    for piece in pieces:
        if isinstance(piece, ToolCallDelta):
            piece = replace(piece, index=numbers.setdefault(piece.index, len(numbers)))
        yield piece


def arguments_of(pieces: list[Piece]) -> list[tuple[str, str, Any]]:
    starts = [piece for piece in pieces if isinstance(piece, ToolCallDelta) and piece.id]
    return [
        (
            start.id,
            start.name,
            json.loads("".join(p.arguments for p in pieces if isinstance(p, ToolCallDelta) and p.index == start.index)),
        )
        for start in sorted(starts, key=lambda piece: piece.index)
    ]


def said(pieces: Iterable[Piece], kind: type[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, kind))  # type: ignore[union-attr]


def spoken(protocol: Any, pieces: list[Piece], gathered: list[int]) -> bytes:
    """The bytes of the stream, ``pieces`` coming in lists as large as ``gathered`` says."""
    answer = Message(model_used="anthropic/claude-test", created_at=AT, call={"terms": {"prompt_tokens": 3}})
    request = Request(ask=None, conversation_id=None, model="x", shows_thinking=True, includes_usage=True)  # type: ignore[arg-type]
    stream = protocol.Stream(answer, request)
    written = [*stream.begin()]
    rest = list(pieces)
    for size in gathered:
        written += stream.pieces(rest[:size])
        rest = rest[size:]
    written += stream.pieces(rest)
    served = Served(
        id=str(answer.pk),
        conversation=str(answer.pk),
        created_at=AT,
        model=answer.model_used,
        text=said(pieces, TextDelta),
        tool_calls=(),
        thinking=(),
        finish_reason="tool_calls" if any(isinstance(piece, ToolCallDelta) for piece in pieces) else "stop",
        stop_sequence="",
        bill=BILL,
    )
    return b"".join([*written, *stream.end(served)])


def playing(body: bytes) -> httpx2.Client:
    def respond(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=body, headers={"content-type": "text/event-stream"})

    return httpx2.Client(transport=httpx2.MockTransport(respond))


def assert_well_formed(body: bytes) -> None:
    """Blocks are numbered from 0, and one is ended before the next begins."""
    index, is_open = -1, False
    events = [json.loads(part.split("\ndata: ")[1]) for part in body.decode().split("\n\n") if part]
    assert [events[0]["type"], events[1]["type"]] == ["message_start", "ping"]
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    for event in events[2:-2]:
        match event["type"]:
            case "content_block_start":
                index += 1
                assert (is_open, event["index"]) == (False, index)
                is_open = True
                if event["content_block"]["type"] == "tool_use":
                    assert event["content_block"]["id"]
            case "content_block_delta":
                assert (is_open, event["index"]) == (True, index)
            case "content_block_stop":
                assert (is_open, event["index"]) == (True, index)
                is_open = False
            case other:
                raise AssertionError(other)
    assert not is_open


@settings(deadline=None, max_examples=150)
@given(answers(), st.lists(st.integers(0, 5), max_size=5))
def test_anthropics_sdk_puts_it_together(pieces: list[Piece], gathered: list[int]) -> None:
    body = spoken(anthropic_reply, pieces, gathered)
    assert_well_formed(body)
    client = anthropic.Anthropic(api_key="x", http_client=playing(body), max_retries=0)
    with client.messages.stream(model="x", max_tokens=9, messages=HELLO) as stream:
        message = stream.get_final_message()
    blocks = message.content
    assert "".join(block.text for block in blocks if block.type == "text") == said(pieces, TextDelta)
    assert "".join(block.thinking for block in blocks if block.type == "thinking") == said(pieces, ThinkingDelta)
    calls = sorted((block for block in blocks if block.type == "tool_use"), key=lambda block: block.id)
    assert [(call.id, call.name, call.input) for call in calls] == sorted(arguments_of(pieces), key=lambda c: c[0])
    for field, kind in (("signature", "thinking"), ("data", "redacted_thinking")):
        given_ = [getattr(block, field) for block in blocks if block.type == kind and getattr(block, field)]
        name = "signature" if field == "signature" else "redacted"
        assert given_ == [
            value for piece in pieces if isinstance(piece, ThinkingDelta) and (value := getattr(piece, name))
        ]
    assert message.stop_reason == ("tool_use" if calls else "end_turn")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (3, 2)


@settings(deadline=None, max_examples=150)
@given(answers(), st.lists(st.integers(0, 5), max_size=5))
def test_openais_sdk_puts_it_together(pieces: list[Piece], gathered: list[int]) -> None:
    body = spoken(openai_reply, pieces, gathered)
    assert body.endswith(b"data: [DONE]\n\n")
    client = openai.OpenAI(api_key="x", base_url="http://x/v1", http_client=playing(body), max_retries=0)
    with client.chat.completions.stream(model="x", messages=HELLO, stream_options={"include_usage": True}) as stream:
        completion = stream.get_final_completion()
    message = completion.choices[0].message
    assert (message.content or "") == said(pieces, TextDelta)
    assert getattr(message, "reasoning_content", "") == said(pieces, ThinkingDelta)
    calls = message.tool_calls or []
    assert [(call.id, call.function.name, json.loads(call.function.arguments)) for call in calls] == arguments_of(
        pieces
    )
    details = getattr(message, "reasoning_details", [])
    assert "".join(detail.get("text", "") for detail in details) == said(pieces, ThinkingDelta)
    assert all(detail["format"] == "anthropic-claude-v1" for detail in details)
    assert completion.choices[0].finish_reason == ("tool_calls" if calls else "stop")
    assert completion.usage.cost == "0.000007"


def test_a_call_that_was_cut_off_while_others_waited() -> None:
    """No whole JSON ever comes of the first; what waited for it is told at the end."""
    pieces: list[Piece] = [
        ToolCallDelta(0, '{"a', "call_0", "tool_0"),
        ToolCallDelta(1, '{"b":', "call_1", "tool_1"),
        TextDelta("Hm."),
        ToolCallDelta(1, "1}"),
    ]
    body = spoken(anthropic_reply, pieces, [])
    assert_well_formed(body)
    starts = [json.loads(line[6:]) for line in body.decode().split("\n") if line.startswith("data: ")]
    begun = [event["content_block"] for event in starts if event["type"] == "content_block_start"]
    assert [(block["type"], block.get("id")) for block in begun] == [
        ("tool_use", "call_0"),
        ("tool_use", "call_1"),
        ("text", None),
    ]
