"""Tags on things: putting them on and taking them off in bulk, what is suggested, and ``?tag=`` on lists.

Everything that can be tagged is tried, so that what is added later keeps to its workspace as well.
"""

from __future__ import annotations

from typing import Any

import pytest

from conversations.models import Conversation
from synapscale.common.models import new_id
from tagging import registry
from tagging.links import Target
from tagging.models import TagLink
from tests.api.asking import assert_invalid, error_of, make_answer, make_conversation, messages_of
from tests.people import Cast, Person
from tests.tagging.tagged import EXAMPLES, FOR_ADMINS, SHARED, links_of, make_link, make_rule, make_tag, said

KINDS = [taggable.name for taggable in registry.all_taggables()]
every_kind = pytest.mark.parametrize("kind", KINDS)


def change(person: Person, verb: str, labels: Any, targets: Any) -> Any:
    return person.post(f"tags/{verb}", {"tags": labels, "targets": targets})


def add(person: Person, labels: Any, targets: Any) -> Any:
    return change(person, "add", labels, targets)


def test_everything_that_can_be_tagged_has_an_example() -> None:
    """A kind that is added later must be added to ``tests.tagging.tagged``."""
    assert set(EXAMPLES) == set(SHARED) == set(KINDS)


# --- Who reaches what -------------------------------------------------------------------------------------------------


@every_kind
def test_a_stranger_neither_reads_nor_changes_anything(cast: Cast, kind: str) -> None:
    alice, charlie = cast.alice, cast.charlie
    hers, his = EXAMPLES[kind](alice), EXAMPLES[kind](charlie)
    tag = make_tag(alice, "hers")
    link = make_link(tag, Target(kind, hers), rule=make_rule(alice), state="suggested")
    make_tag(charlie, "his")
    before = links_of(alice)
    for verb in ("add", "remove"):
        error = error_of(change(charlie, verb, ["his"], said(kind, hers)), 404, "not_found")
        assert error["details"] == {"targets": [str(hers)]}
        error_of(change(charlie, verb, ["his"], said(kind, his, hers)), 404, "not_found")
        error_of(change(charlie, verb, ["hers"], said(kind, his)), 400, "unknown_tag")
        # Nor Alice with what is his.
        error_of(change(alice, verb, ["hers"], said(kind, his)), 404, "not_found")
    for verb in ("accept", "reject"):
        error_of(charlie.post(f"tag-links/{link.pk}/{verb}"), 404, "not_found")
    error_of(charlie.get(f"tag-links/{link.pk}"), 404, "not_found")
    assert charlie.get("tag-links", target_id=hers).json()["results"] == []
    assert charlie.get("tag-links", tag=tag.pk).json()["results"] == []
    assert links_of(alice) == before
    assert links_of(charlie) == set()
    assert charlie.get("tags").json()["results"][0]["counts"][kind] == 0


@every_kind
def test_the_same_tag_in_two_workspaces_is_two_tags(cast: Cast, kind: str) -> None:
    for person in (cast.alice, cast.charlie):
        make_tag(person, "urgent")
        assert add(person, ["urgent"], said(kind, EXAMPLES[kind](person))).json() == {"added": 1}
    for person in (cast.alice, cast.charlie):
        assert len(person.get("tag-links").json()["results"]) == 1
        assert person.get("tags").json()["results"][0]["counts"][kind] == 1


@every_kind
def test_a_colleague_tags_what_they_see_and_admins_tag_people(
    cast: Cast, dora: Person, victor: Person, kind: str
) -> None:
    tag = make_tag(cast.alice, "urgent")
    seen, private = SHARED[kind](cast.alice), EXAMPLES[kind](cast.alice)
    if kind in FOR_ADMINS:
        for verb in ("add", "remove"):
            error_of(change(cast.bob, verb, ["urgent"], said(kind, seen)), 403, "permission_denied")
        link = make_link(tag, Target(kind, seen), rule=make_rule(cast.alice), state="suggested")
        assert cast.bob.get(f"tag-links/{link.pk}").status_code == 200
        error_of(cast.bob.post(f"tag-links/{link.pk}/accept"), 403, "permission_denied")
        error_of(cast.bob.post(f"tag-links/{link.pk}/reject"), 403, "permission_denied")
        assert dora.post(f"tag-links/{link.pk}/accept").json()["state"] == "applied"
    else:
        assert add(cast.bob, ["urgent"], said(kind, seen)).json() == {"added": 1}
        make_link(tag, Target(kind, private))
        for verb in ("add", "remove"):
            error_of(change(cast.bob, verb, ["urgent"], said(kind, private)), 404, "not_found")
        assert cast.bob.get("tag-links", target_id=private).json()["results"] == []
        assert len(cast.bob.get("tag-links", target_id=seen).json()["results"]) == 1
    for verb in ("add", "remove"):
        error_of(change(victor, verb, ["urgent"], said(kind, seen)), 403, "permission_denied")
    assert len(victor.get("tag-links", target_id=seen).json()["results"]) == 1


def test_somebody_who_has_left_can_not_be_tagged_any_more(cast: Cast) -> None:
    make_tag(cast.alice, "urgent")
    assert add(cast.alice, ["urgent"], said("user", cast.bob.user.pk)).status_code == 200
    cast.bob.membership.delete()
    error_of(add(cast.alice, ["urgent"], said("user", cast.bob.user.pk)), 404, "not_found")
    assert cast.alice.get("tag-links").json()["results"] == []


# --- In bulk ----------------------------------------------------------------------------------------------------------


def test_every_tag_is_put_on_every_target_and_taken_off_again(alice: Person) -> None:
    for label in ("a", "b:1"):
        make_tag(alice, label)
    chats = [make_conversation(alice).pk for _ in range(3)]
    targets = [*said("conversation", *chats, chats[0]), *said("user", alice.user.pk)]
    assert add(alice, ["A", "b=1", "a"], targets).json() == {"added": 8}
    assert add(alice, ["a", "b:1"], targets).json() == {"added": 0}
    link = alice.get("tag-links", target_id=alice.user.pk, limit=1).json()["results"][0]
    assert (link["origin"], link["is_auto_generated"], link["created_by"], link["confidence_score"]) == (
        "person", False, str(alice.user.pk), None,
    )  # fmt: skip
    assert change(alice, "remove", ["a"], said("conversation", *chats[:2])).json() == {"removed": 2}
    assert change(alice, "remove", ["a"], said("conversation", *chats[:2])).json() == {"removed": 0}
    assert change(alice, "remove", ["a", "b:1"], targets).json() == {"removed": 6}
    assert links_of(alice) == set()


def test_what_has_the_id_of_another_kind_is_left_alone(alice: Person) -> None:
    """Ids are looked for together with their kind: nobody says that they differ between tables."""
    tag = make_tag(alice, "a")
    make_link(tag, Target("workspace", alice.user.pk))
    assert change(alice, "remove", ["a"], said("user", alice.user.pk)).json() == {"removed": 0}
    assert add(alice, ["a"], said("user", alice.user.pk)).json() == {"added": 1}


def test_all_or_nothing(alice: Person) -> None:
    make_tag(alice, "a")
    make_tag(alice, "has:code", is_system=True)
    chat, gone = make_conversation(alice).pk, new_id()
    for verb in ("add", "remove"):
        error = error_of(change(alice, verb, ["a", "b", "c:d"], said("conversation", chat)), 400, "unknown_tag")
        assert error["details"] == {"tags": ["There is no tag “b”.", "There is no tag “c:d”."]}
        error = error_of(change(alice, verb, ["a", "has:code"], said("conversation", chat)), 403, "system_tag")
        assert error["details"] == {"tags": ["The tag “has:code” is set by the system only."]}
        error = error_of(change(alice, verb, ["a"], said("conversation", chat, gone)), 404, "not_found")
        assert error["details"] == {"targets": [str(gone)]}
    assert links_of(alice) == set()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tags": [], "targets": said("user", new_id())},
        {"tags": ["a"], "targets": []},
        {"tags": "a", "targets": said("user", new_id())},
        {"tags": [1], "targets": said("user", new_id())},
        {"tags": ["a:"], "targets": ["x"]},
        {"tags": ["a"], "targets": [{"type": "agent", "id": str(new_id())}]},
        {"tags": ["a"], "targets": [{"type": "user", "id": "x"}]},
        {"tags": ["a"], "targets": [{"type": "user"}]},
        {"tags": ["a"], "targets": [{"type": "user", "id": str(new_id()), "x": 1}]},
        {"tags": ["a"] * 51, "targets": said("user", new_id())},
        {"tags": ["a"], "targets": said("user", new_id()) * 1001},
        {"tags": ["a"] * 11, "targets": said("user", new_id()) * 910},
        {"tags": ["a"], "targets": said("user", new_id()), "x": 1},
    ],
)
def test_what_makes_no_sense_is_refused(alice: Person, body: Any) -> None:
    make_tag(alice, "a")
    for verb in ("add", "remove"):
        error_of(alice.post(f"tags/{verb}", body), 400, "invalid")
    assert alice.post("tags/remove", {"tags": ["a"] * 10, "targets": said("user", alice.user.pk) * 1000}).json()


def test_a_text_that_is_no_tag_is_invalid(alice: Person) -> None:
    error = error_of(add(alice, ["a*"], said("user", alice.user.pk)), 400, "invalid")
    assert set(error["details"]) == {"tags"}


def test_taking_off_what_a_rule_has_set_is_remembered(alice: Person) -> None:
    tag, rule, target = make_tag(alice, "a"), make_rule(alice), Target("user", alice.user.pk)
    link = make_link(tag, target, rule=rule)
    assert change(alice, "remove", ["a"], said("user", alice.user.pk)).json() == {"removed": 1}
    link.refresh_from_db()
    assert (link.state, link.decided_by) == ("rejected", alice.user)
    assert link.decided_at
    assert change(alice, "remove", ["a"], said("user", alice.user.pk)).json() == {"removed": 0}
    assert add(alice, ["a"], said("user", alice.user.pk)).json() == {"added": 1}
    link.refresh_from_db()
    assert (link.state, link.origin, link.rule) == ("applied", "rule", rule)


@pytest.mark.parametrize(("state", "added"), [("suggested", 1), ("applied", 0)])
def test_putting_on_what_a_rule_says_as_well_is_a_persons_word(alice: Person, state: str, added: int) -> None:
    link = make_link(make_tag(alice, "a"), Target("user", alice.user.pk), rule=make_rule(alice), state=state)
    assert add(alice, ["a"], said("user", alice.user.pk)).json() == {"added": added}
    link.refresh_from_db()
    assert (link.state, link.decided_by) == ("applied", alice.user)
    before = link.decided_at
    assert add(alice, ["a"], said("user", alice.user.pk)).json() == {"added": 0}
    link.refresh_from_db()
    assert link.decided_at == before


def test_bulk_takes_as_many_queries_for_100_targets_as_for_1(alice: Person, django_assert_max_num_queries: Any) -> None:
    make_tag(alice, "a")
    alice.get("tags")
    for count in (1, 100):
        chats = [make_conversation(alice).pk for _ in range(count)]
        # Token, membership, targets, tags; within a savepoint, which is two: are the tags still there, what is on them, the new.
        with django_assert_max_num_queries(10):
            assert add(alice, ["a"], said("conversation", *chats)).json() == {"added": count}
        with django_assert_max_num_queries(8):
            assert change(alice, "remove", ["a"], said("conversation", *chats)).json() == {"removed": count}


# --- Suggestions ------------------------------------------------------------------------------------------------------


def test_accepting_and_rejecting(cast: Cast) -> None:
    alice = cast.alice
    link = make_link(
        make_tag(alice, "topic:sports"), Target("user", alice.user.pk), rule=make_rule(alice), state="suggested"
    )
    path = f"tag-links/{link.pk}"
    shown = alice.get(path).json()
    assert shown == {
        "id": str(link.pk),
        "tag": {**shown["tag"], "label": "topic:sports", "id": str(link.tag_id)},
        "target_type": "user",
        "target_id": str(alice.user.pk),
        "state": "suggested",
        "origin": "rule",
        "is_auto_generated": True,
        "rule": str(link.rule_id),
        "confidence_score": "0.900",
        "created_by": None,
        "decided_by": None,
        "decided_at": None,
        "created_at": shown["created_at"],
    }
    assert [row["id"] for row in alice.get("tag-links", state="suggested").json()["results"]] == [str(link.pk)]
    accepted = alice.post(f"{path}/accept").json()
    assert (accepted["state"], accepted["decided_by"]) == ("applied", str(alice.user.pk))
    assert alice.post(f"{path}/accept").json() == accepted  # saying it twice changes nothing
    rejected = alice.post(f"{path}/reject").json()
    assert rejected["state"] == "rejected"
    assert alice.get(path).json() == rejected
    assert alice.get("tag-links", state="suggested").json()["results"] == []


def test_what_a_person_has_put_on_is_neither_accepted_nor_rejected(alice: Person) -> None:
    link = make_link(make_tag(alice, "a"), Target("user", alice.user.pk))
    for verb in ("accept", "reject"):
        error_of(alice.post(f"tag-links/{link.pk}/{verb}"), 422, "not_a_suggestion")


def test_a_viewer_decides_nothing(alice: Person, victor: Person) -> None:
    chat = SHARED["conversation"](alice)
    link = make_link(make_tag(alice, "a"), Target("conversation", chat), rule=make_rule(alice), state="suggested")
    error_of(victor.post(f"tag-links/{link.pk}/accept"), 403, "permission_denied")


def test_links_are_filtered(alice: Person) -> None:
    rule, tag, other = make_rule(alice), make_tag(alice, "a"), make_tag(alice, "b")
    by_rule = make_link(tag, Target("user", alice.user.pk), rule=rule)
    by_alice = make_link(other, Target("workspace", alice.workspace.pk))
    for query, found in (
        ({"tag": tag.pk}, [by_rule]),
        ({"rule": rule.pk}, [by_rule]),
        ({"origin": "person"}, [by_alice]),
        ({"target_type": "workspace"}, [by_alice]),
        ({"target_id": alice.user.pk}, [by_rule]),
        ({"state": "applied"}, [by_alice, by_rule]),
    ):
        rows = alice.get("tag-links", **query).json()["results"]
        assert [row["id"] for row in rows] == [str(link.pk) for link in found], query
    assert_invalid(alice.get("tag-links", tag="x"), "tag")
    assert_invalid(alice.get("tag-links", state="x"), "state")
    assert_invalid(alice.get("tag-links", target_type="x"), "target_type")
    assert_invalid(alice.get("tag-links", nonsense="x"), "nonsense")


def test_the_list_of_links_takes_three_queries(alice: Person, django_assert_num_queries: Any) -> None:
    alice.get("tag-links")
    for count in (1, 30):
        tag = make_tag(alice, f"t:{count}")
        for _ in range(count):
            make_link(tag, Target("conversation", make_conversation(alice).pk))
        with django_assert_num_queries(3):  # token, membership, links with their tags
            alice.get("tag-links")


# --- Lists of what is tagged ------------------------------------------------------------------------------------------


def ids(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [row["id"] for row in response.json()["results"]]


@pytest.fixture
def chats(alice: Person) -> list[Conversation]:
    """The newest first: of acme about sports, of acme, about politics, of nobody; each with a message tagged alike."""
    tags = {label: make_tag(alice, label) for label in ("customer:acme", "topic:sports", "topic:politics", "topics")}
    made = []
    for labels in ((), ("topic:politics",), ("customer:acme", "topics"), ("customer:acme", "topic:sports")):
        chat = make_conversation(alice)
        answer = make_answer(chat)
        for label in labels:
            make_link(tags[label], Target("conversation", chat.pk))
            make_link(tags[label], Target("message", answer.pk))
        made.insert(0, chat)
    return made


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["customer:acme"], [0, 1]),
        (["Customer = ACME"], [0, 1]),
        (["topic:*"], [0, 2]),
        (["topic*"], [0, 1, 2]),
        (["*"], [0, 1, 2]),
        (["customer:acme", "topic:*"], [0]),
        (["customer:acme", "customer:acme"], [0, 1]),
        (["topic:sports", "topic:politics"], []),
        (["customer:rival"], []),
        (["nobody:*"], []),
        (["customer:acme", "nothing"], []),
    ],
)
def test_conversations_that_carry_tags(
    alice: Person, chats: list[Conversation], patterns: list[str], found: list[int]
) -> None:
    assert ids(alice.get("conversations", tag=patterns)) == [str(chats[index].pk) for index in found]


@pytest.mark.parametrize("tag", ["", ":x", "a*b", "a,b", "x" * 65, "\x00"])
def test_what_is_no_tag_is_no_filter(alice: Person, tag: str) -> None:
    for path in ("conversations", "workspaces", f"workspaces/{alice.workspace.pk}/members"):
        assert_invalid(alice.get(path, tag=tag), "tag")


def test_at_most_ten_tags(alice: Person) -> None:
    assert ids(alice.get("conversations", tag=[f"t:{number}" for number in range(10)])) == []
    assert_invalid(alice.get("conversations", tag=[f"t:{number}" for number in range(11)]), "tag")
    assert_invalid(alice.get("agents", tag="a"), "tag")  # which can't be tagged


def test_messages_members_and_workspaces_that_carry_tags(
    transactional_db: None, cast: Cast, chats: list[Conversation]
) -> None:
    alice = cast.alice
    for chat, found in ((chats[0], 1), (chats[2], 0)):
        assert len(ids(alice.get(messages_of(chat), tag="customer:acme"))) == found
    assert add(alice, ["customer:acme"], said("user", cast.bob.user.pk)).status_code == 200
    members = f"workspaces/{alice.workspace.pk}/members"
    assert ids(alice.get(members, tag="customer:*")) == [str(cast.bob.membership.pk)]
    assert ids(alice.get("workspaces", tag="customer:acme")) == []
    assert add(alice, ["customer:acme"], said("workspace", alice.workspace.pk)).status_code == 200
    assert ids(alice.get("workspaces", tag="customer:acme")) == [str(alice.workspace.pk)]


@pytest.mark.parametrize("state", ["suggested", "rejected"])
def test_what_is_only_suggested_or_rejected_is_not_carried(alice: Person, state: str) -> None:
    tag, chat = make_tag(alice, "a"), make_conversation(alice)
    decided = {"decided_at": tag.created_at} if state == "rejected" else {}
    make_link(tag, Target("conversation", chat.pk), rule=make_rule(alice), state=state, **decided)
    assert ids(alice.get("conversations", tag="a")) == ids(alice.get("conversations", tag="*")) == []
    assert alice.get(f"conversations/{chat.pk}").json()["tags"] == []


def test_a_strangers_filter_finds_only_his(cast: Cast, chats: list[Conversation]) -> None:
    own = make_conversation(cast.charlie)
    assert ids(cast.charlie.get("conversations", tag="customer:acme")) == []
    make_link(make_tag(cast.charlie, "customer:acme"), Target("conversation", own.pk))
    assert ids(cast.charlie.get("conversations", tag="customer:acme")) == [str(own.pk)]
    assert ids(cast.bob.get("conversations", tag="customer:acme")) == []  # they are Alice's own


def test_the_filter_takes_one_query_for_exact_tags(
    alice: Person, chats: list[Conversation], django_assert_num_queries: Any
) -> None:
    alice.get("conversations", tag="*")
    queries = {"*": 4, "customer:acme": 5}  # token, membership, the tags by name, conversations, what they carry
    for _ in range(2):
        for pattern, count in queries.items():
            with django_assert_num_queries(count):
                alice.get("conversations", tag=pattern)
        with django_assert_num_queries(5):
            alice.get("conversations", tag=["customer:acme", "topic:*"])
        tags = TagLink.objects.filter(workspace=alice.workspace, tag__label="customer:acme").first()
        assert tags is not None
        for _ in range(10):
            make_link(tags.tag, Target("conversation", make_conversation(alice).pk))
