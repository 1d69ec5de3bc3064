"""Every field of OpenAI's request: taken, taken and of no effect, or refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from openai import BadRequestError

from conversations.models import Message
from llm.models import LLM
from tests.api.asking import balance
from tests.compat.clients import HELLO, Clients
from tests.people import Person
from tests.providers.standins import StandIn

TOOL = {"type": "function", "function": {"name": "look"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
UNKNOWN = "Unknown field. What could change the answer or the bill is refused, not ignored."


@pytest.fixture
def body(models: dict[str, LLM]) -> dict[str, Any]:
    return {"model": str(models["openai"]), "messages": HELLO}


def refused(clients: Clients, person: Person, body: dict[str, Any]) -> BadRequestError:
    fields = {name: value for name, value in body.items() if name not in ("model", "messages")}
    with pytest.raises(BadRequestError) as caught:
        clients.openai(person).chat.completions.create(
            model=body["model"], messages=body["messages"], extra_body=fields
        )
    return caught.value


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("n", 2, "A call has one answer: ask again for another."),
        ("audio", {"voice": "alloy", "format": "wav"}, "Audio is not supported."),
        ("functions", [{"name": "look"}], "Use “tools”."),
        ("function_call", "auto", "Use “tool_choice”."),
        ("moderation", {"model": "omni"}, "Moderation with the call is not supported."),
        (
            "prediction",
            {"type": "content", "content": "x"},
            "Predicted outputs are billed apart and not supported.",
        ),
        ("prompt_cache_options", {"mode": "explicit"}, "Mark what is to be cached with “cache_control”."),
        ("prompt_cache_retention", "24h", "A longer cache is billed apart and not supported."),
        ("web_search_options", {}, "Web search is billed apart and not supported."),
        ("logprobs", True, "Probabilities are not supported."),
        ("logit_bias", {"1": 1}, "A bias is not supported."),
        ("modalities", ["text", "audio"], "Answers are text."),
        ("service_tier", "priority", "Other tiers are billed apart and not supported."),
        ("service_tier", "flex", "Other tiers are billed apart and not supported."),
        ("best_of", 3, UNKNOWN),
        ("tags", ["a"], UNKNOWN),
        ("provider", {"order": ["x"]}, UNKNOWN),
        ("fallbacks", ["openai/x"], UNKNOWN),
    ],
)
def test_what_could_change_the_bill_is_refused_by_name(
    clients: Clients, alice: Person, body: dict[str, Any], paid: StandIn, field: str, value: Any, why: str
) -> None:
    error = refused(clients, alice, {**body, field: value})
    assert (error.param, error.code, error.type) == (field, "invalid", "invalid_request_error")
    assert error.body["message"] == f"{field}: {why}"
    assert not Message.objects.filter(workspace=alice.workspace).exists()
    assert paid.requests == []
    assert balance(alice.workspace) == 1


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"seed": 2**63}, "seed"),
        ({"stop": [""]}, "stop[0]"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"reasoning_effort": "enormous"}, "reasoning_effort"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {str(i): "x" for i in range(17)}}, "metadata"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [TOOL, TOOL]}, "tools"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": "x", "mood": "good"}]}, "messages[0].mood"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "prompt_cache_breakpoint": {}}]}]},
            "messages[0].content[0].prompt_cache_breakpoint",
        ),
        ({"messages": [{"role": "tool", "tool_call_id": "c1", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}]}
                ]
            },
            "messages[0].content[0].image_url.url",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,xx"}}],
                    }
                ]
            },
            "messages[0].content[0].image_url.url",
        ),
    ],
)
def test_what_is_wrong_is_named(
    clients: Clients, alice: Person, body: dict[str, Any], paid: StandIn, change: dict[str, Any], path: str
) -> None:
    error = refused(clients, alice, {**body, **change})
    assert (error.param, error.code) == (path, "invalid")
    assert error.body["message"].startswith(f"{path}: ")
    assert paid.requests == []


@pytest.mark.parametrize(
    "change",
    [
        {"store": True},
        {"prompt_cache_key": "x", "safety_identifier": "y"},
        {"n": 1, "logprobs": False, "top_logprobs": 0, "logit_bias": {}, "modalities": ["text"]},
        {"service_tier": "auto"},
        {"service_tier": "default"},
        {"stream_options": {"include_usage": True, "include_obfuscation": False}},
        {"usage": {"include": True}},
        {"reasoning": {"effort": "low", "exclude": True}},
        {"temperature": None, "stop": None, "tools": None, "user": None, "function_call": None, "audio": None},
        {"stop": []},
        {"verbosity": "low", "parallel_tool_calls": True},
        {"presence_penalty": 0, "frequency_penalty": 0, "top_k": 40},
        {"metadata": {}},
        {"messages": [{"role": "user", "content": "x", "name": "ada"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "id": "lc_1", "index": 0}]}]},
        {
            "messages": [
                *HELLO,
                {
                    "role": "assistant",
                    "content": None,
                    "refusal": None,
                    "annotations": [],
                    "audio": None,
                    "function_call": None,
                    "reasoning_content": "Hm.",
                    "provider_specific_fields": {"a": 1},
                    "thinking_blocks": [],
                    "tool_calls": [{**CALL, "index": 0}],
                },
                {"role": "tool", "tool_call_id": "c1", "name": "look", "content": None},
            ]
        },
        {
            "messages": [
                *HELLO,
                {"role": "assistant", "content": "", "refusal": "No."},
                {"role": "user", "content": "Please."},
            ]
        },
    ],
)
def test_what_clients_send_by_default_is_taken(
    clients: Clients, alice: Person, body: dict[str, Any], paid: StandIn, change: dict[str, Any]
) -> None:
    response = clients.post(alice, "chat/completions", {**body, **change})
    assert response.status_code == 200, response.text
    assert len(paid.requests) == 1
    sent = paid.requests[0].body
    for name in ("store", "service_tier", "logprobs", "n", "metadata", "user", "safety_identifier", "usage"):
        assert name not in sent


def test_text_that_no_database_takes_is_cleaned(
    clients: Clients, alice: Person, body: dict[str, Any], paid: StandIn
) -> None:
    """A tool that printed a NUL must not make every further request of an agent fail."""
    raw = '{"model": "%s", "messages": [{"role": "user", "content": "a\\u0000b\\ud800c"}]}' % body["model"]  # noqa: UP031
    import httpx2

    headers = {**alice.headers, "Content-Type": "application/json"}
    response = httpx2.post(f"{clients.url}/v1/chat/completions", content=raw, headers=headers, timeout=30)
    assert response.status_code == 200, response.text
    assert paid.requests[0].body["messages"][0]["content"] == "ab?c"
    assert Message.objects.get(workspace=alice.workspace, role="user").content == "ab?c"


def test_notes_are_kept_on_the_question(clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn) -> None:
    clients.openai(alice).chat.completions.create(
        model=str(models["openai"]), messages=HELLO, metadata={"trace": "t-1", "feature": "search"}, user="ada"
    )
    question = Message.objects.get(workspace=alice.workspace, role="user")
    assert question.metadata == {"trace": "t-1", "feature": "search", "user": "ada"}


@pytest.mark.parametrize(
    ("lacks", "change", "param"),
    [
        (
            "supports_vision",
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "data:image/gif;base64,PIXEL"}}],
                    }
                ]
            },
            "messages",
        ),
        ("supports_function_calling", {"tools": [TOOL]}, "tools"),
        (
            "supports_structured_output",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}},
            "response_format",
        ),
        ("supports_streaming", {"stream": True}, "stream"),
    ],
)
def test_what_the_model_can_not_do(
    clients: Clients,
    alice: Person,
    models: dict[str, LLM],
    body: dict[str, Any],
    paid: StandIn,
    lacks: str,
    change: dict[str, Any],
    param: str,
) -> None:
    import json

    from tests.api.asking import picture

    LLM.objects.filter(pk=models["openai"].pk).update(**{lacks: False})
    change = json.loads(json.dumps(change).replace("PIXEL", picture(kind="GIF")))
    error = refused(clients, alice, {**body, **change})
    assert (error.param, error.code) == (param, "not_supported_by_model")
