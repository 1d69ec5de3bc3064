"""Every field of Anthropic's request: taken, taken and of no effect, or refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic import BadRequestError

from conversations.models import Message
from llm.models import LLM
from tests.api.asking import balance
from tests.compat.clients import HELLO, WEATHER, Clients
from tests.people import Person
from tests.providers.standins import StandIn

TOOL = {"name": "weather", "input_schema": WEATHER}
UNKNOWN = "Unknown field. What could change the answer or the bill is refused, not ignored."
OWN_TOOL = "Tools of the provider's own are billed apart or not described: give an “input_schema”."
URL_IMAGE = {"type": "image", "source": {"type": "url", "url": "https://x.org/a.png"}}


@pytest.fixture
def body(models: dict[str, LLM]) -> dict[str, Any]:
    return {"model": str(models["anthropic"]), "messages": HELLO, "max_tokens": 100}


def refused(clients: Clients, person: Person, body: dict[str, Any]) -> BadRequestError:
    required = {"model", "messages", "max_tokens"}
    fields = {name: value for name, value in body.items() if name not in required}
    with pytest.raises(BadRequestError) as caught:
        clients.anthropic(person).messages.create(**{name: body[name] for name in required}, extra_body=fields)
    return caught.value


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("compaction", {"type": "auto"}, "Summaries are billed apart and not supported."),
        ("container", "c1", "Code execution is billed apart and not supported."),
        ("fallbacks", ["x"], "Fallbacks are the workspace's."),
        (
            "mcp_servers",
            [{"type": "url", "url": "x", "name": "x"}],
            "Tools that run at the provider are not supported.",
        ),
        ("speed", "fast", "Other speeds are billed apart and not supported."),
        ("service_tier", "priority", "Other tiers are billed apart and not supported."),
        ("inference_geo", "us", "Other places are billed apart and not supported."),
        ("n", 2, UNKNOWN),
        ("billing_policy", {}, UNKNOWN),
        ("anything", 1, UNKNOWN),
    ],
)
def test_what_could_change_the_bill_is_refused_by_name(
    clients: Clients, alice: Person, body: dict[str, Any], paid: StandIn, field: str, value: Any, why: str
) -> None:
    error = refused(clients, alice, {**body, field: value})
    assert (error.type, error.error_code, error.api_message) == ("invalid_request_error", "invalid", f"{field}: {why}")
    assert not Message.objects.filter(workspace=alice.workspace).exists()
    assert paid.requests == []
    assert balance(alice.workspace) == 1


@pytest.mark.parametrize(
    ("change", "path", "why"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 5}]}, "tools[0].type", OWN_TOOL),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type", OWN_TOOL),
        ({"tools": [{**TOOL, "defer_loading": True}]}, "tools[0].defer_loading", "Every tool is part of the prompt."),
        ({"tools": [{"name": "x"}]}, "tools[0].input_schema", "Field required"),
        ({"tools": [TOOL, TOOL]}, "tools", "Two tools have the same name."),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name", "Field required"),
        ({"max_tokens": 0}, "max_tokens", ""),
        ({"temperature": 1.5}, "temperature", ""),
        ({"top_k": 0}, "top_k", ""),
        ({"stop_sequences": [""]}, "stop_sequences[0]", ""),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens", "Field required"),
        ({"thinking": {"type": "enabled", "budget_tokens": 10}}, "thinking.budget_tokens", ""),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "thinking.budget_tokens", ""),
        ({"output_config": {"effort": "enormous"}}, "output_config.effort", ""),
        ({"output_config": {"task_budget": {"total": 1}}}, "output_config.task_budget", UNKNOWN),
        ({"cache_control": {"type": "ephemeral", "ttl": "1y"}}, "cache_control", ""),
        ({"messages": []}, "messages", ""),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0]", ""),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages[0].content[0]", ""),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text", ""),
        ({"messages": [{"role": "user", "content": [URL_IMAGE]}]}, "messages[0].content[0].source", ""),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1"}]}]},
            "messages",
            "No tool call before it has the id “t1”.",
        ),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages", "There is no message to answer."),
    ],
)
def test_what_is_wrong_is_named(
    clients: Clients, alice: Person, body: dict[str, Any], paid: StandIn, change: dict[str, Any], path: str, why: str
) -> None:
    error = refused(clients, alice, {**body, **change})
    assert error.error_code == "invalid"
    assert error.api_message.startswith(f"{path}: {why}")
    assert list(error.body["error"]["details"]) == ["error_code", path]
    assert paid.requests == []


@pytest.mark.parametrize(
    "change",
    [
        {"service_tier": "auto", "inference_geo": "global", "speed": "standard"},
        {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}},
        {"diagnostics": {"previous_message_id": None}},
        {"temperature": 1, "top_p": None, "stop_sequences": []},
        {"system": "Be brief."},
        {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "scope": "global"}}]},
        {"tools": [{**TOOL, "type": "custom", "eager_input_streaming": True, "input_examples": [], "strict": True}]},
        {"tools": [{**TOOL, "allowed_callers": ["direct"], "defer_loading": False}], "tool_choice": {"type": "auto"}},
        {"output_format": {"type": "json_schema", "schema": {"type": "object"}}},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "citations": None}]}]},
        {
            "messages": [
                *HELLO,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": "I look.", "citations": []},
                        {"type": "tool_use", "id": "t1", "name": "x", "input": {}, "caller": {"type": "direct"}},
                    ],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1"}]},
            ]
        },
    ],
)
def test_what_clients_send_by_default_is_taken(
    clients: Clients, alice: Person, body: dict[str, Any], paid: StandIn, change: dict[str, Any]
) -> None:
    response = clients.post(alice, "messages?beta=true", {**body, **change}, **{"anthropic-version": "2023-06-01"})
    assert response.status_code == 200, response.text
    sent = paid.requests[0].body
    for name in ("context_management", "diagnostics", "service_tier", "inference_geo", "speed", "metadata"):
        assert name not in sent


def test_a_request_as_claude_code_makes_it(
    clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn
) -> None:
    """With its key as a bearer token, blocks marked for the cache, and fields of several betas."""
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h", "scope": "global"}}
    body = {
        "model": str(models["anthropic"]),
        "max_tokens": 32000,
        "stream": True,
        "temperature": 1,
        "system": [
            {"type": "text", "text": "You are an agent."},
            {"type": "text", "text": "These are your rules.", **mark},
        ],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "<system-reminder>…</system-reminder>"},
                    {"type": "text", "text": "List the files.", "cache_control": {"type": "ephemeral"}},
                ],
            }
        ],
        "tools": [{**TOOL, "eager_input_streaming": True}],
        "metadata": {"user_id": '{"device_id":"' + "d" * 64 + '","account_uuid":"","session_id":"s"}'},
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
    }
    headers = {
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,prompt-caching-scope-2026-01-05",
        "anthropic-dangerous-direct-browser-access": "true",
        "x-app": "cli",
        "X-Stainless-Lang": "js",
    }
    response = clients.post(alice, "messages?beta=true", body, **headers)
    assert response.status_code == 200, response.text
    assert response.text.rstrip().endswith('data: {"type":"message_stop"}')
    assert paid.requests[0].body["system"][1] == {
        "type": "text",
        "text": "These are your rules.",
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
    }
    assert "anthropic-beta" not in paid.requests[0].headers
    question = Message.objects.get(workspace=alice.workspace, role="user")
    assert question.metadata == body["metadata"]


def test_counting_takes_the_same_prompts(
    clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn
) -> None:
    body: dict[str, Any] = {"model": str(models["anthropic"]), "messages": HELLO, "max_tokens": 5}
    response = clients.post(alice, "messages/count_tokens", body)
    assert response.status_code == 400
    assert response.json()["error"]["message"] == f"max_tokens: {UNKNOWN}"
