"""Counting tokens and listing models: real HTTP, real SDKs, and hosts that do it badly."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

import pytest

from llm.errors import (
    ProviderAuthenticationError,
    ProviderError,
    ProviderNotConfigured,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
)
from llm.providers import Timeouts, adapter_for
from llm.providers.base import MAX_MODELS
from llm.types import ChatMessage, Credentials, Image, TextPart, Thinking, ToolCall
from tests.providers.calling import FAMILIES, KEY, count_tokens, list_models, request
from tests.providers.standins import StandIn, fault, refusal

COMPATIBLE = ("openai", "grok", "deepseek", "llama")
COUNTING = ("anthropic", "google")
TOOL = {"name": "look", "parameters": {"type": "object", "properties": {}}}
CAT = Image("image/png", b"\xfb\xff cat", 1, 1)
CALL = request(
    system="Be brief.",
    system_parts=(TextPart("Be brief.", cache="5m"),),
    messages=(
        ChatMessage.of_parts("user", [TextPart("Look:"), CAT]),
        ChatMessage("assistant", "", thinking=(Thinking("Hm", "c2ln"),), tool_calls=(ToolCall("c1", "look", "{}"),)),
        ChatMessage("tool", "a cat", tool_call_id="c1"),
    ),
    tools=(TOOL,),
    temperature=0.5,
    stop=("END",),
    max_tokens=100,
)
query_families = pytest.mark.parametrize(
    ("name", "ask"),
    [*((name, list_models) for name in FAMILIES), *((name, count_tokens) for name in COUNTING)],
)


# counting ------------------------------------------------------------------------------------------------------------


def test_anthropic_counts_the_prompt_that_it_would_get(provider: StandIn) -> None:
    provider.answer(prompt_tokens=1234)
    assert count_tokens(provider, "anthropic", CALL) == 1234
    sent = provider.requests[0]
    assert (sent.path, sent.key, sent.usage) == ("/v1/messages/count_tokens", KEY, {})
    image = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(CAT.data).decode()}
    assert sent.body == {
        "model": "model-1",
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "5m"}}],
        "tools": [{"name": "look", "input_schema": {"type": "object", "properties": {}}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Look:"}, {"type": "image", "source": image}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
                    {"type": "tool_use", "id": "c1", "name": "look", "input": {}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "a cat"}]},
        ],
    }


def test_google_counts_the_whole_request(provider: StandIn) -> None:
    """Its count of bare contents would leave out the system prompt and the tools."""
    provider.answer(prompt_tokens=1234)
    assert count_tokens(provider, "google", CALL) == 1234
    sent = provider.requests[0]
    assert (sent.path, sent.key) == ("/v1beta/models/model-1:countTokens", KEY)
    assert sent.body == {
        "contents": [],
        "generateContentRequest": {
            "model": "models/model-1",
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "tools": [
                {
                    "functionDeclarations": [
                        {"name": "look", "parametersJsonSchema": {"type": "object", "properties": {}}}
                    ]
                }
            ],
            "contents": [
                {
                    "role": "user",
                    "parts": [
                        {"text": "Look:"},
                        {
                            "inlineData": {
                                "data": base64.urlsafe_b64encode(CAT.data).decode(),
                                "mimeType": "image/png",
                            }
                        },
                    ],
                },
                {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "look", "args": {}}}]},
                {
                    "role": "user",
                    "parts": [{"functionResponse": {"id": "c1", "name": "look", "response": {"result": "a cat"}}}],
                },
            ],
        },
    }


def test_a_name_in_a_schema_is_not_taken_for_a_field_of_ours(provider: StandIn) -> None:
    """The SDK aligns the names of fields with its own."""
    schema = {"type": "object", "properties": {"system_instruction": {"type": "string"}, "topK": {"type": "string"}}}
    count_tokens(provider, "google", request(tools=({"name": "f", "parameters": schema},)))
    tools = provider.requests[0].body["generateContentRequest"]["tools"]
    assert tools[0]["functionDeclarations"][0]["parametersJsonSchema"] == schema


@pytest.mark.parametrize("name", COMPATIBLE)
def test_the_others_have_no_free_way_to_count(provider: StandIn, name: str) -> None:
    assert count_tokens(provider, name, CALL) is None
    assert provider.requests == []


@pytest.mark.parametrize("name", COUNTING)
@pytest.mark.parametrize("wrong", [-1, 10**12, 1.5, "many", None])
def test_absurd_counts(provider: StandIn, name: str, wrong: Any) -> None:
    provider.answer(prompt_tokens=wrong)
    with pytest.raises(ProviderError) as caught:
        count_tokens(provider, name)
    assert type(caught.value) is ProviderError


# listing -------------------------------------------------------------------------------------------------------------

PATHS = {"openai": "/v1/models", "anthropic": "/v1/models?limit=1000", "google": "/v1beta/models?pageSize=1000"}


@pytest.mark.parametrize("name", [*COMPATIBLE, "anthropic", "google"])
def test_models_are_listed_sorted(provider: StandIn, name: str) -> None:
    provider.answer(models=["zeta", "alpha", "meta/beta", "alpha"])
    assert list_models(provider, name) == ["alpha", "meta/beta", "zeta"]
    sent = provider.requests[0]
    assert (sent.method, sent.key, sent.usage) == ("GET", KEY, {})
    assert sent.path.partition("&")[0] == PATHS.get(name, PATHS["openai"])


@pytest.mark.parametrize("name", ["anthropic", "google"])
def test_every_page_is_read(provider: StandIn, name: str) -> None:
    models = [f"model-{i:02}" for i in range(7)]
    provider.answer(models=models, page_size=3)
    assert list_models(provider, name) == models
    assert len(provider.requests) == 3


def test_hosts_that_send_a_bare_list(provider: StandIn) -> None:
    provider.answer(models=["b", "a"], is_bare_list=True)
    assert list_models(provider, "llama") == ["a", "b"]


@pytest.mark.parametrize("name", FAMILIES)
def test_lists_are_bounded(provider: StandIn, name: str) -> None:
    provider.answer(models=["x" * 301, "", *(f"m{i:05}" for i in range(MAX_MODELS + 50))], page_size=4000)
    models = list_models(provider, name)
    assert len(models) == MAX_MODELS - 2
    assert models[0] == "m00000"


@pytest.mark.parametrize("name", FAMILIES)
def test_no_models(provider: StandIn, name: str) -> None:
    provider.answer(models=[])
    assert list_models(provider, name) == []


# what can go wrong ---------------------------------------------------------------------------------------------------


@query_families
@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (401, "invalid_api_key", ProviderAuthenticationError),
        (429, "rate_limit_exceeded", ProviderRateLimited),
        (503, "", ProviderUnavailable),
    ],
)
def test_refusals(
    provider: StandIn, name: str, ask: Any, status: int, code: str, expected: type[ProviderError]
) -> None:
    provider.always(refusal(status, vendor=name, code=code, message="No, {key}", headers={"retry-after": "3"}))
    with pytest.raises(expected) as caught:
        ask(provider, name)
    assert type(caught.value) is expected
    assert (caught.value.provider, caught.value.status_code, caught.value.retry_after) == (name, status, 3.0)
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert len(provider.requests) == 1


@query_families
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cut", ProviderUnavailable),
        ("malformed", ProviderError),
        ("huge_line", ProviderError),
        ("gzip_bomb", ProviderError),
        ("hang", ProviderTimeout),
    ],
)
def test_faults(provider: StandIn, name: str, ask: Any, kind: str, expected: type[ProviderError]) -> None:
    provider.always(fault(kind))
    started = time.monotonic()
    with pytest.raises(ProviderError) as caught:
        ask(provider, name, timeouts=Timeouts(total=1.5))
    assert type(caught.value) is expected
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("key", "expected"), [("", ProviderNotConfigured), ("sk-\nx", ProviderAuthenticationError)])
def test_keys_that_cannot_be_sent(provider: StandIn, name: str, key: str, expected: type[ProviderError]) -> None:
    with pytest.raises(expected):
        asyncio.run(adapter_for(name).list_models(Credentials(name, key, provider.base_url(name))))
    assert provider.requests == []
