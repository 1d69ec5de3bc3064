"""/tags: the words of a workspace."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tagging import vocabulary
from tagging.links import Target
from tagging.models import Tag, TagLink
from tests.api.asking import assert_invalid, error_of, make_conversation
from tests.people import Cast, Person
from tests.tagging.tagged import condition, links_of, make_link, make_rule, make_tag
from workspaces.models import Membership, User


def labels(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [row["label"] for row in response.json()["results"]]


def test_create(cast: Cast) -> None:
    body = {"name": " Customer ", "value": "ACME  Ltd", "category": "Billing", "metadata": {"crm": "17"}}
    response = cast.bob.post("tags", body)
    assert response.status_code == 201, response.content
    stored = Tag.objects.get(workspace=cast.bob.workspace)
    shown = response.json()
    assert shown == {
        "id": str(stored.pk),
        "label": "customer:acme ltd",
        "name": "customer",
        "value": "acme ltd",
        "category": "billing",
        "is_system": False,
        "created_by": str(cast.bob.user.pk),
        "metadata": {"crm": "17"},
        "counts": {"conversation": 0, "message": 0, "user": 0, "workspace": 0},
        "created_at": shown["created_at"],
        "updated_at": shown["updated_at"],
    }
    for key in (stored.pk, "customer:acme ltd", "Customer=ACME Ltd"):
        assert cast.alice.get(f"tags/{quote(str(key))}").json() == shown
    assert cast.charlie.post("tags", body).status_code == 201  # a word of his own


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", None),
        ("name", 5),
        ("name", "a:b"),
        ("name", "a*"),
        ("name", "x" * 65),
        ("name", "x" * 129),
        ("value", "a,b"),
        ("value", "x" * 129),
        ("value", None),
        ("category", "a=b"),
        ("category", "x" * 65),
        ("metadata", []),
        ("metadata", {"a": 1}),
        ("metadata", {"": "x"}),
        ("metadata", {str(number): "x" for number in range(17)}),
        ("is_system", True),
        ("label", "x"),
        ("nonsense", 1),
    ],
)
def test_a_wrong_value_is_refused_by_field(alice: Person, field: str, value: Any) -> None:
    tag = make_tag(alice, "a")
    for response in (alice.post("tags", {"name": "b", field: value}), alice.patch(f"tags/{tag.pk}", {field: value})):
        assert set(error_of(response, 400, "invalid")["details"]) == {field}
    assert Tag.objects.get(workspace=alice.workspace).label == "a"


def test_a_tag_that_is_there_is_named(alice: Person) -> None:
    tag = make_tag(alice, "customer:acme")
    details = error_of(alice.post("tags", {"name": "CUSTOMER", "value": "acme"}), 409, "tag_exists")["details"]
    assert details == {"id": str(tag.pk), "label": "customer:acme"}
    other = make_tag(alice, "customer:rival")
    error_of(alice.patch(f"tags/{other.pk}", {"value": "Acme"}), 409, "tag_exists")
    other.refresh_from_db()
    assert other.label == "customer:rival"


def test_a_renamed_tag_is_still_on_what_carries_it(alice: Person) -> None:
    tag = make_tag(alice, "customer:acme")
    chat = make_conversation(alice)
    make_link(tag, Target("conversation", chat.pk))
    assert alice.patch(f"tags/{tag.pk}", {"name": "Client", "category": "B", "metadata": {"a": "b"}}).json()["counts"] == {
        "conversation": 1, "message": 0, "user": 0, "workspace": 0,
    }  # fmt: skip
    shown = alice.patch(f"tags/{tag.pk}", {"value": ""}).json()
    assert (shown["label"], shown["category"], shown["metadata"]) == ("client", "b", {"a": "b"})
    assert links_of(alice) == {("client", str(chat.pk), "applied")}
    assert labels(alice.get("tags", name="customer")) == []
    assert alice.patch(f"tags/{tag.pk}", {"name": "Client"}).status_code == 200  # its own name is not taken


def test_who_may_change_what(cast: Cast, dora: Person, victor: Person) -> None:
    hers, his, systems = (
        make_tag(cast.alice, "hers"),
        make_tag(cast.bob, "his"),
        make_tag(cast.alice, "has:code", is_system=True),
    )
    for send in (
        lambda person, tag: person.patch(f"tags/{tag.pk}", {"category": "x"}),
        lambda person, tag: person.post(f"tags/{tag.pk}/merge", {"into": "his"}),
        lambda person, tag: person.delete(f"tags/{tag.pk}"),
    ):
        error_of(send(cast.charlie, hers), 404, "not_found")
        for person in (cast.bob, victor):
            error_of(send(person, hers), 403, "permission_denied")
        for person in (cast.alice, dora):
            error_of(send(person, systems), 403, "system_tag")
    error_of(cast.bob.post(f"tags/{his.pk}/merge", {"into": "hers"}), 403, "permission_denied")
    error_of(cast.alice.post("tags/hers/merge", {"into": "has:code"}), 403, "system_tag")
    error_of(victor.post("tags", {"name": "x"}), 403, "permission_denied")
    for name in ("has", "Cost", "model"):
        error_of(cast.alice.post("tags", {"name": name, "value": "code"}), 403, "system_tag")
    error_of(cast.alice.patch("tags/hers", {"name": "has"}), 403, "system_tag")
    assert cast.bob.patch("tags/his", {"category": "x"}).status_code == 200
    assert cast.bob.delete("tags/his").status_code == 204
    assert dora.patch("tags/hers", {"category": "x"}).status_code == 200
    assert {tag.label for tag in Tag.objects.filter(workspace=cast.alice.workspace)} == {"hers", "has:code"}


def test_delete(alice: Person) -> None:
    tag, kept = make_tag(alice, "a"), make_tag(alice, "b")
    chat = make_conversation(alice)
    for one in (tag, kept):
        make_link(one, Target("conversation", chat.pk))
    with condition():
        rule = make_rule(alice, tag=tag)
        error = error_of(alice.delete("tags/a"), 409, "tag_in_use")
        assert error["details"] == {"rule": str(rule.pk)}
        assert len(links_of(alice)) == 2
        assert alice.delete(f"tag-rules/{rule.pk}").status_code == 204
    assert alice.delete("tags/a").status_code == 204
    error_of(alice.delete("tags/a"), 404, "not_found")
    assert links_of(alice) == {("b", str(chat.pk), "applied")}


@pytest.mark.parametrize(
    "key", ["nothing", "%00", "a%3Ab%3A", "*", "01890000-0000-7000-8000-000000000000", "%ED%A0%80"]
)
def test_what_is_not_there_is_not_found(alice: Person, key: str) -> None:
    error_of(alice.get(f"tags/{key}"), 404, "not_found")


# --- Lists ------------------------------------------------------------------------------------------------------------


def test_the_list_counts_what_carries_each_tag(cast: Cast) -> None:
    alice = cast.alice
    tag, other = make_tag(alice, "a"), make_tag(alice, "b")
    rule = make_rule(alice)
    for state in ("applied", "applied", "suggested", "rejected"):
        decided = {"decided_at": tag.created_at} if state == "rejected" else {}
        make_link(tag, Target("conversation", make_conversation(alice).pk), state=state, rule=rule, **decided)
    make_link(tag, Target("user", alice.user.pk))
    for person in (alice, cast.bob):
        rows = person.get("tags").json()["results"]
        assert [(row["label"], row["counts"]["conversation"], row["counts"]["user"]) for row in rows] == [
            ("a", 2, 1),
            ("b", 0, 0),
        ]
    assert labels(cast.charlie.get("tags")) == []
    assert alice.get(f"tags/{other.pk}").json()["counts"] == {
        "conversation": 0,
        "message": 0,
        "user": 0,
        "workspace": 0,
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["a%", "customer:acme", "customer:rival", "has:code", "urgent"]),
        ({"label": "Customer=ACME"}, ["customer:acme"]),
        ({"label": "customer"}, []),
        ({"name": " CUSTOMER "}, ["customer:acme", "customer:rival"]),
        ({"value": "acme"}, ["customer:acme"]),
        ({"category": "Money"}, ["customer:rival"]),
        ({"is_system": "true"}, ["has:code"]),
        ({"search": "r:A"}, ["customer:acme"]),
        ({"search": "%"}, ["a%"]),
        ({"search": "_"}, []),
        ({"name": "customer", "value": "rival"}, ["customer:rival"]),
    ],
)
def test_filters(alice: Person, query: dict[str, str], found: list[str]) -> None:
    for label in ("urgent", "customer:acme", "a%"):
        make_tag(alice, label)
    make_tag(alice, "customer:rival", category="money")
    make_tag(alice, "has:code", is_system=True)
    assert labels(alice.get("tags", **query)) == found


@pytest.mark.parametrize(
    ("name", "value"),
    [("name", "a\u200b"), ("label", ":"), ("search", "\x00"), ("is_system", "yes"), ("nonsense", "1"), ("limit", "0")],
)
def test_what_is_no_filter_is_refused(alice: Person, name: str, value: str) -> None:
    assert_invalid(alice.get("tags", **{name: value}), name)


@pytest.mark.parametrize("cursor", ["nonsense", "bz0tMQ==", "cD0lMDA="])  # the last one: after the label “\x00”
def test_a_cursor_is_one_that_was_given_out(alice: Person, cursor: str) -> None:
    assert_invalid(alice.get("tags", cursor=cursor), "cursor")


def test_pages_are_in_the_order_of_labels_without_gaps_or_repeats(alice: Person) -> None:
    wanted = [f"t:{number:02}" for number in range(7)] + ["t", "é", "a b", "a-b", "ab", "日"]
    for label in reversed(wanted):
        make_tag(alice, label)
    found: list[str] = []
    page = alice.get("tags", limit=3).json()
    while True:
        found += [row["label"] for row in page["results"]]
        if not page["next"]:
            break
        page = alice.get(page["next"].partition("/api/v1/")[2]).json()
    assert sorted(found) == sorted(wanted)
    assert found == list(
        Tag.objects.filter(workspace=alice.workspace).order_by("label").values_list("label", flat=True)
    )
    assert [row["label"] for row in alice.get(page["previous"].partition("/api/v1/")[2]).json()["results"]] == found[
        -4:-1
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["acne", "customer", "customer:acme", "topic:acting"]),
        ({"q": "Cust"}, ["customer", "customer:acme"]),
        ({"q": "customer="}, ["customer:acme"]),
        ({"q": "customer: A"}, ["customer:acme"]),
        ({"q": "ac"}, ["acne", "customer:acme", "topic:acting"]),
        ({"q": "ac", "limit": "2"}, ["acne", "customer:acme"]),
        ({"q": ":a"}, []),
        ({"q": "%"}, []),
        ({"q": "a*"}, []),
        ({"q": "x" * 300}, []),
    ],
)
def test_autocomplete(cast: Cast, query: dict[str, str], found: list[str]) -> None:
    for label in ("customer", "customer:acme", "topic:acting", "acne"):
        make_tag(cast.alice, label)
    assert labels(cast.bob.get("tags/autocomplete", **query)) == found
    assert labels(cast.charlie.get("tags/autocomplete", **query)) == []


@pytest.mark.parametrize("limit", ["0", "51", "-1", "", "x", "٣", "000000005000", "9" * 5000])
def test_autocomplete_offers_50_at_most(alice: Person, limit: str) -> None:
    assert_invalid(alice.get("tags/autocomplete", limit=limit), "limit")


def test_query_counts_do_not_grow_with_rows(alice: Person, django_assert_num_queries: Any) -> None:
    target = Target("user", alice.user.pk)
    alice.get("tags")
    for count in (1, 30):
        for number in range(count):
            make_link(make_tag(alice, f"t{count}:{number}"), target)
        # The token, the membership, and: tags, their counts; one tag, its counts; tags.
        for path, queries in (("tags", 4), ("tags/t1:0", 4), ("tags/autocomplete", 3)):
            with django_assert_num_queries(queries):
                assert alice.get(path).status_code == 200


# --- Merging ----------------------------------------------------------------------------------------------------------


def test_merge(alice: Person) -> None:
    source, into = make_tag(alice, "costumer:acme"), make_tag(alice, "customer:acme")
    both, one, other = (make_conversation(alice).pk for _ in range(3))
    for tag, key in ((source, both), (into, both), (source, one), (into, other)):
        make_link(tag, Target("conversation", key))
    rule = make_rule(alice, tag=source)
    response = alice.post("tags/costumer:acme/merge", {"into": "Customer=Acme"})
    assert response.status_code == 200, response.content
    assert (response.json()["moved"], response.json()["tag"]["id"]) == (1, str(into.pk))
    assert response.json()["tag"]["counts"]["conversation"] == 3
    assert links_of(alice) == {("customer:acme", str(key), "applied") for key in (both, one, other)}
    rule.refresh_from_db()
    assert rule.tag == into
    assert labels(alice.get("tags")) == ["customer:acme"]


RANK = ["suggested", "guessed", "rejected", "accepted", "person"]
"""From what least can be said for, to a person's own tag. The last two weigh the same: both are a person's word."""


@pytest.mark.parametrize("source_is", RANK)
@pytest.mark.parametrize("into_is", RANK)
def test_of_two_links_the_one_that_more_can_be_said_for_stays(alice: Person, source_is: str, into_is: str) -> None:
    rule, target = make_rule(alice), Target("user", alice.user.pk)
    source, into = make_tag(alice, "source"), make_tag(alice, "into")
    for tag, kind in ((source, source_is), (into, into_is)):
        fields: dict[str, Any] = {} if kind == "person" else {"rule": rule}
        if kind in {"rejected", "accepted"}:
            fields |= {"decided_at": tag.created_at, "decided_by": alice.user}
        make_link(tag, target, state=kind if kind in {"suggested", "rejected"} else "applied", **fields)
    response = alice.post("tags/source/merge", {"into": "into"}).json()
    (link,) = TagLink.objects.filter(workspace=alice.workspace)
    weight = [0, 1, 2, 3, 3]
    winner = source_is if weight[RANK.index(source_is)] > weight[RANK.index(into_is)] else into_is
    assert link.tag_id == into.pk
    assert (link.is_auto, link.decided_at is not None) == (winner != "person", winner in {"rejected", "accepted"})
    assert link.state == (winner if winner in {"suggested", "rejected"} else "applied")
    had, has = (kind not in {"suggested", "rejected"} for kind in (into_is, winner))
    assert response["moved"] == (has and not had)


def test_what_is_not_carried_is_moved_and_not_counted(alice: Person) -> None:
    source, rule = make_tag(alice, "source"), make_rule(alice)
    make_tag(alice, "into")
    keys = [make_conversation(alice).pk for _ in range(2)]
    make_link(source, Target("conversation", keys[0]), state="suggested", rule=rule)
    make_link(source, Target("conversation", keys[1]), state="rejected", rule=rule, decided_at=source.created_at)
    assert alice.post("tags/source/merge", {"into": "into"}).json()["moved"] == 0
    assert links_of(alice) == {("into", str(keys[0]), "suggested"), ("into", str(keys[1]), "rejected")}


def test_merging_into_nothing_and_into_itself(cast: Cast) -> None:
    alice, theirs = cast.alice, make_tag(cast.charlie, "theirs")
    make_tag(alice, "a")
    assert error_of(alice.post("tags/a/merge", {"into": "A"}), 400, "invalid")["details"] == {
        "into": ["Name another tag."]
    }
    assert_invalid(alice.post("tags/a/merge", {}), "into")
    for into in ("b", "theirs", str(theirs.pk)):
        error = error_of(alice.post("tags/a/merge", {"into": into}), 404, "not_found")
        assert error["details"] == {"into": ["There is no such tag."]}
    assert labels(alice.get("tags")) == ["a"]


def test_only_what_was_given_is_saved(alice: Person) -> None:
    """Two people change different things of one tag at the same moment."""
    tag = make_tag(alice)
    seen = Tag.objects.get(workspace=alice.workspace, pk=tag.pk)
    vocabulary.change(tag, category="money")
    vocabulary.change(tag, name="Important")
    vocabulary.change(seen, metadata={"crm": "7"})
    stored = Tag.objects.get(workspace=alice.workspace)
    assert (stored.label, stored.category, stored.metadata) == ("important", "money", {"crm": "7"})


def test_a_former_member_is_still_who_made_a_tag(cast: Cast) -> None:
    make_tag(cast.bob, "his")
    Membership.objects.filter(pk=cast.bob.membership.pk).delete()
    assert cast.alice.get("tags/his").json()["created_by"] == str(cast.bob.user.pk)
    assert User.objects.filter(pk=cast.bob.user.pk).exists()
