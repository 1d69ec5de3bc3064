"""/agents: everybody reads them, admins and owners keep them."""

from __future__ import annotations

from typing import Any

import pytest

from conversations.models import Agent
from llm.models import LLM
from tests.api.asking import assert_invalid, error_of, make_agent, make_conversation
from tests.catalogue import make_llm
from tests.people import Cast, Person


def test_create(alice: Person, llm: LLM) -> None:
    other = make_llm("anthropic")
    body = {
        "name": "Accountant",
        "description": "Knows the law.",
        "system_prompt": "You are exact.",
        "llm": "openai/openai-test",
        "fallback_llms": [str(other.pk)],
        "temperature": 0.5,
        "max_tokens": 500,
        "settings": {"stop": ["END"]},
        "is_default": True,
    }
    response = alice.post("agents", body)
    assert response.status_code == 201, response.content
    stored = Agent.objects.get(workspace=alice.workspace)
    assert response.json() == {
        **body,
        "id": str(stored.pk),
        "fallback_llms": ["anthropic/anthropic-test"],
        "created_at": stored.created_at.isoformat().replace("+00:00", "Z"),
        "updated_at": stored.updated_at.isoformat().replace("+00:00", "Z"),
    }
    assert stored.created_by == alice.user
    assert alice.get(f"agents/{stored.pk}").json() == response.json()


def test_the_llm_may_be_named_by_its_id(alice: Person, llm: LLM) -> None:
    assert alice.post("agents", {"name": "A", "llm": str(llm.pk)}).json()["llm"] == "openai/openai-test"


def test_members_and_viewers_read_and_do_not_write(alice: Person, bob: Person, victor: Person, llm: LLM) -> None:
    agent = make_agent(alice, llm)
    for person in (bob, victor):
        assert [row["name"] for row in person.get("agents").json()["results"]] == ["Helper"]
        assert person.get(f"agents/{agent.pk}").status_code == 200
        error_of(person.post("agents", {"name": "B", "llm": str(llm)}), 403, "permission_denied")
        error_of(person.patch(f"agents/{agent.pk}", {"name": "B"}), 403, "permission_denied")
        error_of(person.delete(f"agents/{agent.pk}"), 403, "permission_denied")


def test_an_admin_writes(dora: Person, llm: LLM) -> None:
    pk = dora.post("agents", {"name": "A", "llm": str(llm)}).json()["id"]
    assert dora.patch(f"agents/{pk}", {"name": "B"}).json()["name"] == "B"
    assert dora.delete(f"agents/{pk}").status_code == 204


def test_a_new_default_takes_the_place_of_the_old_one(cast: Cast, llm: LLM) -> None:
    alice = cast.alice
    first = alice.post("agents", {"name": "First", "llm": str(llm), "is_default": True}).json()["id"]
    second = alice.post("agents", {"name": "Second", "llm": str(llm), "is_default": True}).json()["id"]
    make_agent(cast.charlie, llm, is_default=True)

    def defaults() -> list[str]:
        return [row["id"] for row in alice.get("agents").json()["results"] if row["is_default"]]

    assert defaults() == [second]
    assert alice.patch(f"agents/{first}", {"is_default": True}).json()["is_default"] is True
    assert defaults() == [first]
    assert alice.patch(f"agents/{first}", {"is_default": True, "name": "Still"}).status_code == 200
    assert defaults() == [first]
    assert alice.patch(f"agents/{first}", {"is_default": False}).status_code == 200
    assert defaults() == []
    assert Agent.objects.filter(workspace=cast.charlie.workspace, is_default=True).count() == 1


def test_delete_retires(alice: Person, llm: LLM) -> None:
    agent = make_agent(alice, llm, is_default=True)
    chat = make_conversation(alice, agent=agent)
    assert alice.delete(f"agents/{agent.pk}").status_code == 204
    assert alice.get("agents").json()["results"] == []
    error_of(alice.get(f"agents/{agent.pk}"), 404, "not_found")
    agent.refresh_from_db()
    assert (agent.is_active, agent.is_default) == (False, False)
    assert alice.get(f"conversations/{chat.pk}").json()["agent"] == str(agent.pk)
    assert alice.post("agents", {"name": "New", "llm": str(llm), "is_default": True}).status_code == 201


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "  "),
        ("name", None),
        ("name", 5),
        ("system_prompt", 5),
        ("is_default", 1),
        ("name", "x" * 151),
        ("description", "x" * 501),
        ("llm", "openai/nothing"),
        ("llm", "openai-test"),
        ("llm", "OPENAI/openai-test"),
        ("llm", "01890000-0000-7000-8000-000000000000"),
        ("llm", ""),
        ("llm", None),
        ("llm", 1),
        ("llm", ["openai/openai-test"]),
        ("fallback_llms", "openai/openai-test"),
        ("fallback_llms", ["openai/nothing"]),
        ("fallback_llms", [1]),
        ("fallback_llms", [None]),
        ("fallback_llms", ["openai/openai-test", "openai/openai-test"]),
        ("fallback_llms", ["openai/openai-test"] * 11),
        ("temperature", 2.5),
        ("temperature", -1),
        ("temperature", "1"),
        ("max_tokens", 0),
        ("max_tokens", -1),
        ("max_tokens", 1.0),
        ("max_tokens", "10"),
        ("max_tokens", True),
        ("max_tokens", 2**31),
        ("settings", {"nothing": 1}),
        ("settings", {"max_tokens": 0}),
        ("is_default", "maybe"),
        ("is_active", False),
        ("created_by", "x"),
        ("id", "x"),
    ],
)
def test_a_wrong_value_is_refused_by_field(alice: Person, llm: LLM, field: str, value: Any) -> None:
    agent = make_agent(alice, llm)
    assert_invalid(alice.post("agents", {"name": "A", "llm": str(llm), field: value}), field)
    assert_invalid(alice.patch(f"agents/{agent.pk}", {field: value}), field)
    assert Agent.objects.filter(workspace=alice.workspace).count() == 1


def test_what_an_agent_needs(alice: Person) -> None:
    assert_invalid(alice.post("agents", {}), "name", "llm")


def test_an_unknown_model_is_named(alice: Person) -> None:
    response = alice.post("agents", {"name": "A", "llm": "openai/{name}"})
    assert response.json()["error"]["details"]["llm"] == ["There is no model “openai/{name}”."]


def test_an_agent_is_changed_in_parts_and_not_replaced(alice: Person, llm: LLM) -> None:
    agent = make_agent(alice, llm)
    error_of(alice.put(f"agents/{agent.pk}", {"name": "B", "llm": str(llm)}), 405, "method_not_allowed")


def test_the_list_takes_three_queries_however_long(alice: Person, llm: LLM, django_assert_num_queries: Any) -> None:
    alice.get("agents")
    for count in (1, 30):
        for _ in range(count):
            make_agent(alice, llm, fallback_llms=["openai/openai-test"])
        with django_assert_num_queries(3):  # token, membership, agents with their models
            alice.get("agents")
