"""What stands behind the question mark of an address: known by name and right in value, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import get_resolver

from llm.models import LLM
from synapscale.common.parsing import StrictQuery
from tests.api.asking import assert_invalid, make_agent, make_answer, make_conversation
from tests.people import Person, fund
from tests.tagging.tagged import make_tag

LISTS = [
    "workspaces",
    "workspaces/{workspace}/members",
    "llm/models",
    "billing-events",
    "agents",
    "conversations",
    "conversations/{conversation}/messages",
    "tag-links",
    "tag-rules",
    "feedback",
]
OTHERS = [
    "workspaces/{workspace}",
    "workspaces/{workspace}/members/{member}",
    "llm/models/{llm}",
    "llm/providers",
    "wallet",
    "billing-events/{event}",
    "agents/{agent}",
    "conversations/{conversation}",
    "conversations/{conversation}/messages/{message}",
    "conversations/{conversation}/messages/{message}/feedback",
    "tags/{tag}",
    "tags/autocomplete",
    "tag-rules/conditions",
    "feedback/summary",
    "feedback/export",
]


def views(patterns: Any, prefix: str = "") -> Iterator[Any]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from views(pattern.url_patterns, path)
        elif path.startswith("api/v1/"):
            yield pattern.callback.cls


def test_every_view_is_strict() -> None:
    """One that is added later must be as well."""
    found = [*views(get_resolver().url_patterns)]
    assert len(found) >= len(LISTS + OTHERS)
    assert [view.__name__ for view in found if not issubclass(view, StrictQuery)] == []


@pytest.fixture
def ids(transactional_db: None, alice: Person, llm: LLM) -> dict[str, Any]:
    """What belongs to Alice, for filling in addresses."""
    fund(alice.workspace, "1")
    chat = make_conversation(alice)
    return {
        "workspace": alice.workspace.pk,
        "member": alice.membership.pk,
        "llm": llm.pk,
        "event": alice.workspace.billing_events.get().pk,
        "agent": make_agent(alice, llm).pk,
        "conversation": chat.pk,
        "tag": make_tag(alice).pk,
        "message": make_answer(chat).pk,
    }


@pytest.mark.parametrize("path", LISTS + OTHERS)
def test_unknown_parameters_are_refused_by_name(alice: Person, ids: dict[str, Any], path: str) -> None:
    response = alice.get(path.format(**ids), nonsense=1, Limit=1)
    assert_invalid(response, "nonsense", "Limit")
    assert response.json()["error"]["details"]["nonsense"] == ["Unknown parameter."]


@pytest.mark.parametrize("path", OTHERS)
def test_what_is_no_list_has_no_pages_and_no_filters(alice: Person, ids: dict[str, Any], path: str) -> None:
    refused = {"limit", "status"} - ({"limit"} if path == "tags/autocomplete" else set())
    assert_invalid(alice.get(path.format(**ids), limit=1, status="active"), *refused)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "conversations", {}),
        ("patch", "conversations/{conversation}", {"title": "x"}),
        ("delete", "conversations/{conversation}", None),
        ("post", "conversations/{conversation}/messages", {"content": "Hello", "llm": "openai/openai-test"}),
        ("post", "agents", {"name": "x", "llm": "openai/openai-test"}),
    ],
)
def test_what_writes_has_none_either(
    alice: Person, ids: dict[str, Any], method: str, path: str, body: dict[str, Any] | None
) -> None:
    """Somebody believes to have said something there."""
    address = path.format(**ids) + "?stream=true"
    response = alice.delete(address) if body is None else getattr(alice, method)(address, body)
    assert_invalid(response, "stream")


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("limit", ["abc", "-1", "0", "", "1.5", "٣", "1e2", "9" * 5000])
def test_a_limit_is_a_whole_number_from_1_on(alice: Person, ids: dict[str, Any], path: str, limit: str) -> None:
    response = alice.get(path.format(**ids), limit=limit)
    assert_invalid(response, "limit")
    assert response.json()["error"]["message"] == "limit: Give a whole number from 1 to 200."


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("cursor", ["nonsense", "%00", "cD1ub25zZW5zZQ==", "bz0tMQ==", "é"])
def test_a_cursor_is_one_that_was_given_out(alice: Person, ids: dict[str, Any], path: str, cursor: str) -> None:
    response = alice.get(path.format(**ids), cursor=cursor)
    assert_invalid(response, "cursor")


@pytest.mark.parametrize("value", ["zz", "1", "yes", "null", "truee", "\x00"])
@pytest.mark.parametrize(("path", "name"), [("llm/models", "supports_vision"), ("conversations", "is_shared")])
def test_a_truth_is_true_or_false(alice: Person, ids: dict[str, Any], path: str, name: str, value: str) -> None:
    response = alice.get(path, **{name: value})
    assert_invalid(response, name)
    assert response.json()["error"]["details"][name] == ["Give “true” or “false”."]


@pytest.mark.parametrize(("value", "count"), [("true", 1), ("True", 1), ("false", 0), ("", 1)])
def test_true_and_false_are_understood(alice: Person, ids: dict[str, Any], value: str, count: int) -> None:
    assert len(alice.get("llm/models", supports_vision=value).json()["results"]) == count
