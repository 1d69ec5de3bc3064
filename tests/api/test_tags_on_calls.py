"""Tags that come with a message, a one-shot call or a conversation."""

from __future__ import annotations

from typing import Any

import pytest

from conversations.models import Conversation, Message
from llm.models import LLM
from tagging.models import Tag, TagLink
from tests.api.asking import Api, assert_invalid, change, error_of, messages_of
from tests.api.test_tenancy import everything
from tests.people import Person
from tests.providers.standins import StandIn


def make_tag(person: Person, name: str, value: str = "", **fields: Any) -> Tag:
    return Tag.objects.create(workspace=person.workspace, name=name, value=value, **fields)


@pytest.fixture
def acme(alice: Person) -> Tag:
    return make_tag(alice, "customer", "acme")


def carried(row: Message | Conversation) -> list[str]:
    links = TagLink.objects.filter(workspace_id=row.workspace_id, target_id=row.pk)
    return sorted(links.values_list("tag__label", flat=True))


def test_a_message_brings_tags_for_itself_and_its_answer(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, acme: Tag
) -> None:
    make_tag(alice, "urgent")
    response = api.ask(alice, chat, llm=str(llm), tags=["customer=ACME", " Urgent ", "customer:acme"])
    assert response.status_code == 201
    assert response.json()["message"]["tags"] == ["customer:acme", "urgent"]
    question, answer = Message.objects.filter(workspace=alice.workspace).order_by("id")
    assert carried(question) == carried(answer) == ["customer:acme", "urgent"]
    (link, *_) = TagLink.objects.filter(workspace=alice.workspace, target_id=answer.pk)
    assert (link.origin, link.created_by_id) == ("person", alice.user.pk)

    shown = alice.get(messages_of(chat)).json()["results"]
    assert [row["tags"] for row in shown] == [["customer:acme", "urgent"]] * 2
    assert alice.get(f"{messages_of(chat)}/{answer.pk}").json()["tags"] == ["customer:acme", "urgent"]
    assert len(alice.get(messages_of(chat), tag="customer:*").json()["results"]) == 2
    assert alice.get(messages_of(chat), tag="urgent:*").json()["results"] == []


def test_a_streamed_message_too(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, acme: Tag
) -> None:
    last = api.listen(alice, chat, llm=str(llm), tags=["customer:acme"])[-1]
    assert last.data["message"]["tags"] == ["customer:acme"]


@pytest.mark.parametrize("path", ["llm/generate", "llm/chat"])
def test_a_one_shot_call_too(api: Api, alice: Person, llm: LLM, paid: StandIn, acme: Tag, path: str) -> None:
    asked: Any = {"prompt": "Hi"} if path == "llm/generate" else {"messages": [{"role": "user", "content": "Hi"}]}
    response = api.post(alice, path, {**asked, "llm": str(llm), "tags": ["customer:acme"]})
    assert response.json()["message"]["tags"] == ["customer:acme"]


@pytest.mark.parametrize(
    ("tags", "status", "code", "says"),
    [
        (["customer:acme", "customer:nobody", "vip"], 400, "unknown_tag", ["customer:nobody", "vip"]),
        (["model:gpt"], 403, "system_tag", ["model:gpt"]),
        (["a,b"], 400, "invalid", ["“,”"]),
        ([""], 400, "invalid", []),
        (["topic:*"], 400, "invalid", ["“*”"]),
        (["rivals:own"], 400, "unknown_tag", ["rivals:own"]),
    ],
)
def test_tags_that_are_not_there_to_be_set_are_refused_by_name(
    api: Api,
    alice: Person,
    charlie: Person,
    chat: Conversation,
    llm: LLM,
    paid: StandIn,
    acme: Tag,
    tags: list[str],
    status: int,
    code: str,
    says: list[str],
) -> None:
    make_tag(alice, "model", "gpt", is_system=True)
    make_tag(charlie, "rivals", "own")
    before = everything()
    for response in (
        api.ask(alice, chat, llm=str(llm), tags=tags),
        api.post(alice, "llm/generate", {"prompt": "Hi", "llm": str(llm), "tags": tags}),
        alice.post("conversations", {"title": "New", "tags": tags}),
        alice.patch(f"conversations/{chat.pk}", {"title": "New", "tags": tags}),
    ):
        error = error_of(response, status, code)
        assert list(error["details"]) == ["tags"]
        assert all(name in str(error["details"]["tags"]) for name in says)
    assert everything() == before
    assert paid.requests == []


@pytest.mark.parametrize("tags", ["customer:acme", [1], {"a": "b"}, [["a"]], [None]])
def test_tags_are_a_list_of_texts(alice: Person, chat: Conversation, tags: Any) -> None:
    assert_invalid(alice.post("conversations", {"tags": tags}), "tags")


def test_there_are_not_more_than_fifty(alice: Person) -> None:
    assert_invalid(alice.post("conversations", {"tags": [f"t{n}" for n in range(51)]}), "tags")


def test_a_conversation_with_tags(alice: Person, acme: Tag) -> None:
    make_tag(alice, "urgent")
    made = alice.post("conversations", {"title": "Talk", "tags": ["customer:acme"]})
    assert made.status_code == 201
    assert made.json()["tags"] == ["customer:acme"]
    chat = Conversation.objects.get(workspace=alice.workspace)
    path = f"conversations/{chat.pk}"
    assert alice.patch(path, {"tags": ["urgent"]}).json()["tags"] == ["urgent"]
    assert alice.patch(path, {"title": "Other"}).json()["tags"] == ["urgent"]  # nothing was said of tags
    assert alice.get(path).json()["tags"] == ["urgent"]
    assert [row["tags"] for row in alice.get("conversations").json()["results"]] == [["urgent"]]
    assert alice.patch(path, {"tags": []}).json()["tags"] == []


def test_replacing_a_conversations_tags_leaves_those_of_rules(alice: Person, chat: Conversation, acme: Tag) -> None:
    from tagging.models import TagRule

    rule = TagRule.objects.create(workspace=alice.workspace, name="Mine", condition="error")
    topic = make_tag(alice, "topic", "health")
    TagLink.objects.create(
        workspace=alice.workspace,
        tag=topic,
        target_type="conversation",
        target_id=chat.pk,
        origin="classifier",
        rule=rule,
        confidence_score="0.9",
    )
    assert alice.patch(f"conversations/{chat.pk}", {"tags": ["customer:acme"]}).json()["tags"] == [
        "customer:acme",
        "topic:health",
    ]


def test_lists_ask_once_for_all_tags(alice: Person, acme: Tag, django_assert_num_queries: Any) -> None:
    for number in range(5):
        alice.post("conversations", {"title": str(number), "tags": ["customer:acme"]})
    with django_assert_num_queries(4):  # token, membership, conversations, tags
        assert len(alice.get("conversations").json()["results"]) == 5


def test_the_same_key_with_other_tags_is_another_request(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, acme: Tag
) -> None:
    first = api.ask(alice, chat, key="k", llm=str(llm), tags=["customer:acme"])
    again = api.ask(alice, chat, key="k", llm=str(llm), tags=["customer:acme"])
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    error_of(api.ask(alice, chat, key="k", llm=str(llm)), 422, "idempotency_key_reused")


def test_a_tag_that_is_gone_does_not_keep_an_answer_from_being_given_again(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, acme: Tag
) -> None:
    api.ask(alice, chat, key="k", llm=str(llm), tags=["customer:acme"])
    assert alice.delete("tags/customer:acme").status_code == 204
    again = api.ask(alice, chat, key="k", llm=str(llm), tags=["customer:acme"])
    assert (again.status_code, again.json()["message"]["tags"]) == (201, [])


def test_a_colleague_tags_what_is_shared_and_nothing_else(
    alice: Person, bob: Person, chat: Conversation, acme: Tag
) -> None:
    target = {"tags": ["customer:acme"], "targets": [{"type": "conversation", "id": str(chat.pk)}]}
    error_of(bob.post("tags/add", target), 404, "not_found")
    change(chat, is_shared=True)
    assert bob.post("tags/add", target).json() == {"added": 1}
    error_of(bob.patch(f"conversations/{chat.pk}", {"tags": []}), 403, "permission_denied")  # it is Alice's
