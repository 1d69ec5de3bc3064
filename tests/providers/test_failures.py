"""Reading a refusal: how long to wait, and what went wrong."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.errors import ProviderQuotaExhausted, ProviderRateLimited
from llm.providers.failures import Refusal, classify, is_caused_by, retry_after_seconds, text_at

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Sun, 01 Mar 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Sun, 01 Mar 2026 12:00:30 -0000"}, 30.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_seconds(headers, now=NOW) == expected


@given(st.text())
def test_retry_after_never_fails(value: str) -> None:
    seconds = retry_after_seconds({"retry-after": value}, now=NOW)
    assert seconds is None or seconds >= 0


def test_quota_is_told_from_a_rate_limit() -> None:
    limited = classify(Refusal(429, code="rate_limit_exceeded", headers={"retry-after": "3"}), "openai")
    assert (type(limited), limited.retry_after, limited.is_retryable) == (ProviderRateLimited, 3.0, True)
    exhausted = classify(Refusal(429, code="insufficient_quota"), "openai")
    assert (type(exhausted), exhausted.is_retryable) == (ProviderQuotaExhausted, False)


def test_refusals_hide_what_the_provider_wrote() -> None:
    assert repr(Refusal(400, code="secret", message="secret", headers={"x": "secret"})) == (
        "Refusal(status=400, request_id='', retry_after=None)"
    )


def test_causes_are_found_through_wrappers_and_circles() -> None:
    inner = KeyError()
    outer = ValueError()
    outer.__cause__ = inner
    inner.__context__ = outer
    assert is_caused_by(outer, KeyError)
    assert not is_caused_by(outer, OSError)
    assert not is_caused_by(None, OSError)


def test_text_in_bodies_of_any_shape() -> None:
    assert text_at({"error": {"type": "x"}}, "error", "type") == "x"
    bodies: list[object] = [None, "text", [], {"error": "x"}, {"error": {"type": 5}}]
    for body in bodies:
        assert text_at(body, "error", "type") == ""
