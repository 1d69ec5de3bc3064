"""The stand-in as a process of its own, scripted from outside, as the fault tests use it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm.types import Thinking, ToolCall, Usage
from tests.providers.calling import KEY, complete, count_tokens, list_models, stream
from tests.providers.standins import StandIn, answer, refusal


class Remote(StandIn):
    """Only the addresses are used: the server runs elsewhere."""

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data=data), timeout=10) as response:
            return json.load(response)


@pytest.fixture
def remote() -> Iterator[Remote]:
    command = [sys.executable, "-m", "tests.providers.standins", "--port", "0"]
    with subprocess.Popen(
        command, cwd=Path(__file__).resolve().parents[2], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rsplit(":", 1)[1])
        yield Remote(port)
        process.kill()


def test_it_is_scripted_and_asked_over_http(remote: Remote) -> None:
    remote.call(
        "/__script__",
        {
            "default": answer("Always.", usage={"input": 2, "output": 1}).as_json(),
            "behaviours": [answer("Once.").as_json(), {"text": "Twice."}],
        },
    )
    assert [complete(remote, "openai").text, stream(remote, "anthropic").result.text] == ["Once.", "Twice."]
    assert complete(remote, "google").usage == Usage(input=2, output=1)
    requests = remote.call("/__requests__")["requests"]
    assert [(r["path"], r["key"], r["usage"], r["is_finished"]) for r in requests] == [
        ("/v1/chat/completions", KEY, {"input": 10, "output": 5}, True),
        ("/v1/messages", KEY, {"input": 10, "output": 5}, True),
        ("/v1beta/models/model-1:generateContent", KEY, {"input": 2, "output": 1}, True),
    ]
    remote.call("/__reset__", {})
    assert remote.call("/__requests__") == {"requests": []}


def test_all_that_it_can_do_crosses_to_another_process(remote: Remote) -> None:
    scripted = answer(
        "So.",
        reasoning_chunks=["Hm", "."],
        redacted="cipher",
        signature="s",
        stop_sequence="END",
        finish_reason="stop_sequence",
        tool_calls=[{"id": "c", "name": "f", "arguments": "{}", "pieces": ["{", "}"]}],
        prompt_tokens=9,
        models=["m"],
    )
    remote.call("/__script__", {"default": scripted.as_json()})
    result = stream(remote, "anthropic").result
    assert result.thinking == (Thinking("Hm.", "s"), Thinking("", redacted="cipher"))
    assert (result.tool_calls, result.stop_sequence) == ((ToolCall("c", "f", "{}"),), "END")
    assert (count_tokens(remote, "anthropic"), list_models(remote, "google")) == (9, ["m"])
    requests = remote.call("/__requests__")["requests"]
    assert [(r["method"], r["path"].partition("?")[0], r["usage"]) for r in requests] == [
        ("POST", "/v1/messages", {"input": 10, "output": 5}),
        ("POST", "/v1/messages/count_tokens", {}),
        ("GET", "/v1beta/models", {}),
    ]


def test_refusals_come_in_the_vendors_shape() -> None:
    assert refusal(400, vendor="anthropic", code="x", message="y").error == {
        "type": "error",
        "error": {"type": "x", "message": "y"},
        "request_id": "req_err",
    }
