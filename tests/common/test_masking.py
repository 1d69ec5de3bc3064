"""Keys that were sent where none belongs: neither errors nor log lines repeat them."""

from __future__ import annotations

import logging
import sys

import pytest

from synapscale.common.api_errors import error_body
from synapscale.common.logs import LineFormatter
from synapscale.common.masking import masked, masked_all
from tests.people import Person


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("sk-proj-0123456789abcdef", "sk-…"),
        ("sk-ant-api03-0123456789_abc-DEF", "sk-…"),
        ("xai-0123456789abcdefgh", "xai-…"),
        ("gsk_0123456789abcdef", "gsk_…"),
        ("hf_0123456789abcdef", "hf_…"),
        ("tgp_v1_0123456789abcdef", "tgp_…"),
        ("AIzaSy0123456789_abc-DEF", "AIza…"),
        ("sk-syn-yJLKAFdg-rGJNae4aoAvkYqELXzEiBWaVx33sFQM4TWsvgRHwmv1-6b1d00a7", "sk-…"),
    ],
)
def test_a_key_is_cut_after_its_beginning(key: str, shown: str) -> None:
    for before, after in (
        ("", ""),
        ("“", "” is no model"),
        ("Bearer ", "\r\n"),
        ("{'key': '", "'}"),
        ("?key=", "&a=b"),
    ):
        assert masked(f"{before}{key}{after}") == f"{before}{shown}{after}"
    assert masked(f"{key} and {key}") == f"{shown} and {shown}"


@pytest.mark.parametrize(
    "text",
    [
        "openai/gpt-6-luna", "anthropic/claude-sonnet-5-5", "ask-me-anything-you-like", "sk-short", "sk-…wxyz", "sk-syn-AbCdEfGh…",
        "01a211c9-3a44-7128-b7f3-271e75a0a006", "task-0123456789abcdef", "a risk-0123456789abcdef", "",
    ],
)  # fmt: skip
def test_what_is_no_key_stays(text: str) -> None:
    assert masked(text) == text


def test_everything_in_an_error_is_masked() -> None:
    key = "sk-proj-0123456789abcdef"
    details = {key: ["Unknown field."], "a": {"b": [f"“{key}”", 1, None, True]}}
    assert error_body("invalid", f"There is no {key}.", details=details)["error"] == {
        "code": "invalid",
        "message": "There is no sk-….",
        "details": {"sk-…": ["Unknown field."], "a": {"b": ["“sk-…”", 1, None, True]}},
        "request_id": "",
    }
    assert masked_all(("a", key)) == ["a", "sk-…"]


def test_a_log_line_and_its_traceback_are_masked() -> None:
    try:
        raise ValueError("Illegal header value b'Bearer sk-proj-0123456789abcdef'")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "", 1, "with %s", ("xai-0123456789abcdefgh",), sys.exc_info())
    line = LineFormatter().format(record)
    assert "with xai-…" in line
    assert line.endswith("ValueError: Illegal header value b'Bearer sk-…'")


@pytest.mark.django_db
def test_a_client_is_told_what_is_wrong_without_it(alice: Person) -> None:
    error = alice.post("agents", {"name": "A", "llm": "sk-proj-0123456789abcdef"}).json()["error"]
    assert error["message"] == "llm: There is no model “sk-…”."
    assert error["details"] == {"llm": ["There is no model “sk-…”."]}
