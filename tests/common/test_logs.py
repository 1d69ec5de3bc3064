"""Log lines: one per record, whatever a client or a provider wrote."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from llm.models import LLM
from synapscale.common.logs import JSONFormatter, LineFormatter
from tests.api.asking import make_conversation, messages_of
from tests.conftest import Server
from tests.faults.conftest import ROOT, ServerProcess
from tests.people import Person, fund
from tests.providers.standins import StandIn, refusal

FAKE = "2026-01-31T12:00:00+0000 INFO billing.ledger [-] credited"
BREAKS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1e", "\x85", "\u2028", "\u2029"]


def line(message: str, *args: Any, error: Exception | None = None, stack: str | None = None) -> str:
    info: Any = None
    if error is not None:
        try:
            raise error
        except Exception:
            info = sys.exc_info()
    record = logging.LogRecord("a.b", logging.ERROR, "", 1, message, args, info, sinfo=stack)
    return LineFormatter().format(record)


def records(text: str) -> list[str]:
    """What a reader takes for the beginnings of records."""
    return [part for part in text.splitlines() if part and not part.startswith("  ")]


@pytest.mark.parametrize("end", BREAKS, ids=repr)
def test_a_line_break_in_a_message_is_escaped(end: str) -> None:
    text = line("said %s", f"this{end}{FAKE}")
    (record,) = records(text)
    assert record.endswith(f"said this{end.encode('unicode_escape').decode()}{FAKE}")


@pytest.mark.parametrize("end", BREAKS, ids=repr)
def test_an_exception_can_not_fake_a_record(end: str) -> None:
    text = line("it failed", error=ValueError(f"bad value{end}{FAKE}"))
    (record,) = records(text)
    assert record.endswith("ERROR a.b [-] it failed")
    assert FAKE in text


def test_neither_can_a_message_that_comes_with_an_exception() -> None:
    assert len(records(line(f"it failed\n{FAKE}", error=ValueError("x")))) == 1


def test_a_traceback_stays_readable() -> None:
    head, *rest = line("it failed", error=ValueError("two\nlines")).split("\n")
    assert head.endswith("it failed")
    assert rest[0] == "  Traceback (most recent call last):"
    assert rest[1].startswith('    File "')
    assert rest[-2:] == ["  ValueError: two", "  lines"]


def test_a_stack_is_indented_too() -> None:
    text = line("here", stack=f"Stack (most recent call last):\n{FAKE}")
    assert len(records(text)) == 1
    assert text.split("\n")[1:] == ["  Stack (most recent call last):", f"  {FAKE}"]


# --- As JSON ----------------------------------------------------------------------------------------------------------


def entry(message: str, *args: Any, error: Exception | None = None) -> dict[str, Any]:
    info: Any = None
    if error is not None:
        try:
            try:
                raise KeyError("MySecretCause")
            except KeyError as cause:
                raise error from cause
        except Exception:
            info = sys.exc_info()
    text = JSONFormatter().format(logging.LogRecord("a.b", logging.ERROR, "", 1, message, args, info))
    assert len(text.splitlines()) == 1
    assert text.isascii()
    found: dict[str, Any] = json.loads(text)
    return found


def test_an_object_per_record() -> None:
    found = entry("said %s", "“this”\n")
    assert datetime.fromisoformat(found.pop("timestamp")).tzinfo is not None
    assert found == {"level": "ERROR", "logger": "a.b", "message": "said “this”\n", "request_id": "-"}


@pytest.mark.django_db
def test_what_is_logged_after_a_request_is_not_of_it(alice: Person) -> None:
    assert alice.get("me").status_code == 200
    assert "workspace_id" not in entry("said later")


@pytest.mark.parametrize("end", BREAKS, ids=repr)
def test_a_line_break_ends_no_object(end: str) -> None:
    assert entry(f"this{end}{FAKE}")["message"] == f"this{end}{FAKE}"


def test_an_exception_is_in_the_object_without_what_it_said() -> None:
    found = entry("it failed", error=ValueError("MySecretInput"))
    outer, cause = found["exception"]
    assert (outer["type"], cause["type"]) == ("builtins.ValueError", "builtins.KeyError")
    assert "test_logs.py:" in outer["frames"][0]
    assert "MySecret" not in json.dumps(found)


def test_keys_are_masked() -> None:
    assert entry("with sk-proj-0123456789abcdefghij")["message"] == "with sk-…"
    assert entry("with\nsk-proj-0123456789abcdefghij")["message"] == "with\nsk-…"


def test_what_a_request_is_known_by(
    server: Server, alice: Person, llm: LLM, house_keys: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in what the call's own task and the database threads log after it has begun."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.setFormatter(JSONFormatter())
    monkeypatch.setattr(handler, "emit", lambda record: lines.append(handler.format(record)))
    fund(alice.workspace, "1")
    house_keys.always(refusal(503, message="MySecretReason"))
    asked = {"content": "MySecretQuestion", "llm": str(llm)}
    address = f"{server.url}/api/v1/{messages_of(make_conversation(alice))}"
    logging.getLogger().addHandler(handler)
    try:
        httpx2.post(address, json=asked, headers={**alice.headers, "X-Request-ID": "find-me"}, timeout=30)
        httpx2.get(f"{server.url}/api/v1/nothing", headers={"X-Request-ID": "stranger"}, timeout=30)
    finally:
        logging.getLogger().removeHandler(handler)
    records = [json.loads(line) for line in lines]
    (failed,) = [record for record in records if record["logger"] == "conversations.tries"]
    assert (failed["request_id"], failed["workspace_id"]) == ("find-me", str(alice.workspace.pk))
    strangers = [record for record in records if record["request_id"] == "stranger"]
    assert strangers
    assert not any("workspace_id" in record for record in strangers)
    assert not any(secret in line for line in lines for secret in ("MySecret", alice.token, "sk-house"))


def test_a_server_writes_nothing_but_objects(transactional_db: None, tmp_path: Path, provider: StandIn) -> None:
    one = ServerProcess(tmp_path, provider, LOG_FORMAT="json")
    httpx2.get(f"{one.url}/api/v1/nothing", timeout=30)
    one.stop()
    lines = [json.loads(line) for line in one.log.read_text().splitlines()]
    assert {"uvicorn.error", "django.request"} <= {line["logger"] for line in lines}


def test_another_format_is_an_error_at_boot() -> None:
    environment = {**os.environ, "LOG_FORMAT": "xml"}
    boot = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert boot.returncode != 0
    assert "LOG_FORMAT is “line” or “json”." in boot.stderr
