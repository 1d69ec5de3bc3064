"""/conversations: a user's chats, and those that colleagues share."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import F
from django.db.models.signals import pre_save

from conversations.models import Conversation
from llm.models import LLM
from tests.api.asking import assert_invalid, error_of, make_agent, make_answer, make_conversation
from tests.people import Cast, Person


def titles(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [row["title"] for row in response.json()["results"]]


def test_create(alice: Person, llm: LLM) -> None:
    agent = make_agent(alice, llm)
    response = alice.post("conversations", {"title": "Sums", "agent": str(agent.pk), "context": "Be brief."})
    assert response.status_code == 201
    stored = Conversation.objects.get(workspace=alice.workspace)
    assert response.json() == {
        "id": str(stored.pk),
        "user": str(alice.user.pk),
        "agent": str(agent.pk),
        "title": "Sums",
        "status": "active",
        "kind": "chat",
        "is_shared": False,
        "context": "Be brief.",
        "settings": {},
        "tags": [],
        "message_count": 0,
        "total_tokens": 0,
        "total_cost": "0.00",
        "last_message_at": None,
        "created_at": stored.created_at.isoformat().replace("+00:00", "Z"),
        "updated_at": stored.updated_at.isoformat().replace("+00:00", "Z"),
    }
    assert alice.get(f"conversations/{stored.pk}").json() == response.json()


def test_a_conversation_needs_nothing(alice: Person) -> None:
    assert alice.post("conversations").status_code == 201


def test_a_viewer_reads_and_does_not_write(alice: Person, victor: Person) -> None:
    shared = make_conversation(alice, is_shared=True)
    assert victor.get(f"conversations/{shared.pk}").status_code == 200
    error_of(victor.post("conversations", {}), 403, "permission_denied")
    error_of(victor.patch(f"conversations/{shared.pk}", {"title": "x"}), 403, "permission_denied")
    error_of(victor.delete(f"conversations/{shared.pk}"), 403, "permission_denied")


def test_a_private_conversation_is_its_users_alone(cast: Cast, dora: Person, victor: Person) -> None:
    """Not even an owner of the workspace reads it."""
    private = make_conversation(cast.bob, title="Diary")
    assert titles(cast.bob.get("conversations")) == ["Diary"]
    for person in (cast.alice, dora, victor, cast.charlie):
        assert titles(person.get("conversations")) == []
        error_of(person.get(f"conversations/{private.pk}"), 404, "not_found")


def test_a_shared_conversation_is_read_by_all_and_changed_by_its_user(cast: Cast, dora: Person, victor: Person) -> None:
    shared = make_conversation(cast.bob, title="Plans", is_shared=True)
    for person in (cast.alice, cast.bob, dora, victor):
        assert titles(person.get("conversations")) == ["Plans"]
    for person in (cast.alice, dora):
        error_of(person.patch(f"conversations/{shared.pk}", {"title": "x"}), 403, "permission_denied")
        error_of(person.delete(f"conversations/{shared.pk}"), 403, "permission_denied")
    error_of(cast.charlie.get(f"conversations/{shared.pk}"), 404, "not_found")
    assert cast.bob.patch(f"conversations/{shared.pk}", {"is_shared": False}).json()["is_shared"] is False
    error_of(cast.alice.get(f"conversations/{shared.pk}"), 404, "not_found")


def test_change(alice: Person, chat: Conversation) -> None:
    response = alice.patch(f"conversations/{chat.pk}", {"title": "Products", "status": "archived"})
    assert response.status_code == 200
    assert (response.json()["title"], response.json()["status"]) == ("Products", "archived")
    stored = Conversation.objects.get(workspace=alice.workspace)
    assert (stored.title, stored.status) == ("Products", "archived")
    assert stored.updated_at > chat.updated_at
    assert alice.patch(f"conversations/{chat.pk}", {"status": "active"}).json()["status"] == "active"


def test_a_conversation_is_changed_in_parts_and_not_replaced(alice: Person, chat: Conversation) -> None:
    error_of(alice.put(f"conversations/{chat.pk}", {"title": "x"}), 405, "method_not_allowed")


def test_a_change_leaves_alone_what_a_call_counts_at_the_same_moment(alice: Person, chat: Conversation) -> None:
    """A call that is settled between reading the row and saving it."""

    def settle(sender: Any, instance: Conversation, **kwargs: Any) -> None:
        pre_save.disconnect(settle, sender=Conversation)
        Conversation.objects.filter(workspace=alice.workspace, pk=instance.pk).update(
            message_count=F("message_count") + 2, total_tokens=15
        )

    pre_save.connect(settle, sender=Conversation, weak=False)
    assert alice.patch(f"conversations/{chat.pk}", {"title": "Products"}).status_code == 200
    stored = Conversation.objects.get(workspace=alice.workspace)
    assert (stored.title, stored.message_count, stored.total_tokens) == ("Products", 2, 15)


def test_delete_hides_a_conversation_and_all_of_it(transactional_db: None, alice: Person, chat: Conversation) -> None:
    answer = make_answer(chat)
    assert alice.delete(f"conversations/{chat.pk}").status_code == 204
    assert titles(alice.get("conversations")) == []
    messages = f"conversations/{chat.pk}/messages"
    for path in (f"conversations/{chat.pk}", messages, f"{messages}/{answer.pk}", f"{messages}/{answer.pk}/feedback"):
        error_of(alice.get(path), 404, "not_found")
    error_of(alice.patch(f"conversations/{chat.pk}", {"status": "active"}), 404, "not_found")
    error_of(alice.post(messages, {"content": "Hello"}), 404, "not_found")
    error_of(alice.delete(f"conversations/{chat.pk}"), 404, "not_found")
    assert Conversation.objects.get(workspace=alice.workspace).status == "deleted"  # charges stay explained


def test_an_agent_of_another_workspace_does_not_exist(cast: Cast, llm: LLM, chat: Conversation) -> None:
    foreign = make_agent(cast.charlie, llm)
    assert_invalid(cast.alice.post("conversations", {"agent": str(foreign.pk)}), "agent")
    assert_invalid(cast.alice.patch(f"conversations/{chat.pk}", {"agent": str(foreign.pk)}), "agent")


def test_a_retired_agent_can_not_be_chosen(alice: Person, llm: LLM) -> None:
    agent = make_agent(alice, llm, is_active=False)
    assert_invalid(alice.post("conversations", {"agent": str(agent.pk)}), "agent")


def test_the_agent_can_be_taken_away(alice: Person, llm: LLM) -> None:
    chat = make_conversation(alice, agent=make_agent(alice, llm))
    assert alice.patch(f"conversations/{chat.pk}", {"agent": None}).json()["agent"] is None


def test_pages_stay_stable_while_conversations_are_added(alice: Person) -> None:
    for n in range(5):
        make_conversation(alice, title=str(n))
    first = alice.get("conversations", limit=2)
    assert titles(first) == ["4", "3"]
    assert first.json()["previous"] is None
    make_conversation(alice, title="new")
    seen = titles(first)
    page = first.json()
    while page["next"]:
        path, _, query = page["next"].partition("?")
        assert path == "http://testserver/api/v1/conversations"
        response = alice.get("conversations?" + query)
        seen += titles(response)
        page = response.json()
    assert seen == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize(("limit", "count"), [("1", 1), ("200", 200), ("1000", 200), (None, 50)])
def test_the_length_of_a_page(alice: Person, limit: str | None, count: int) -> None:
    chats = [Conversation(workspace=alice.workspace, user=alice.user) for _ in range(210)]
    Conversation.objects.bulk_create(chats)
    query = {} if limit is None else {"limit": limit}
    assert len(titles(alice.get("conversations", **query))) == count


def test_filters(cast: Cast, llm: LLM) -> None:
    alice = cast.alice
    agent = make_agent(alice, llm)
    make_conversation(alice, title="Tax return", status="archived")
    make_conversation(alice, title="Holiday", agent=agent, is_shared=True)
    make_conversation(alice, title="Calls", kind="api")
    assert titles(alice.get("conversations", status="archived")) == ["Tax return"]
    assert titles(alice.get("conversations", status="active")) == ["Calls", "Holiday"]
    assert titles(alice.get("conversations", kind="api")) == ["Calls"]
    assert titles(alice.get("conversations", is_shared="true")) == ["Holiday"]
    assert titles(alice.get("conversations", search="TAX")) == ["Tax return"]
    assert titles(alice.get("conversations", search="%")) == []
    assert titles(alice.get("conversations", agent=str(agent.pk))) == ["Holiday"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("status", "deleted"), ("status", "x"), ("kind", "x"), ("agent", "x"), ("search", "\x00")],
)
def test_a_filter_with_a_wrong_value_is_refused(alice: Person, name: str, value: str) -> None:
    assert_invalid(alice.get("conversations", **{name: value}), name)


def test_filters_can_not_reach_other_fields(alice: Person, chat: Conversation) -> None:
    """What is no filter is refused, and never expanded into the query."""
    query = {"_connector": "OR 1=1 OR", "user__email__startswith": "b", "workspace": "x", "status__in": "deleted"}
    assert_invalid(alice.get("conversations", **query), *query)


def test_the_list_takes_four_queries_however_long(alice: Person, llm: LLM, django_assert_num_queries: Any) -> None:
    agent = make_agent(alice, llm)
    alice.get("conversations")  # notes the token's use
    for count in (1, 30):
        for _ in range(count):
            make_conversation(alice, agent=agent)
        with django_assert_num_queries(4):  # token, membership, conversations, tags
            alice.get("conversations")
