"""/tag-rules: everybody reads them and how they have done, admins and owners keep them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from synapscale.common.errors import Refusal
from tagging import rules
from tagging.links import Target
from tagging.models import TagLink, TagRule
from tests.api.asking import error_of
from tests.people import Cast, Person
from tests.tagging.tagged import condition, make_link, make_rule, make_tag


@pytest.fixture(autouse=True)
def _condition() -> Iterator[None]:
    with condition():
        yield


def builtin_of(person: Person) -> Any:
    """The built-in rule of the tests' condition, as the API shows it."""
    rows = person.get("tag-rules", condition="test-says", is_builtin="true").json()["results"]
    (found,) = rows
    return found


def test_create(alice: Person, bob: Person) -> None:
    make_tag(alice, "customer:acme")
    body = {
        "name": "Acme's",
        "condition": "test-says",
        "settings": {"about": "acme"},
        "tag": "Customer=Acme",
        "confidence_score": "0.9",
        "is_active": False,
    }
    response = alice.post("tag-rules", body)
    assert response.status_code == 201, response.content
    stored = TagRule.objects.get(workspace=alice.workspace, is_builtin=False)
    shown = response.json()
    assert shown == {
        **body,
        "id": str(stored.pk),
        "tag": "customer:acme",
        "confidence_score": "0.900",
        "is_builtin": False,
        "applied": 0,
        "suggested": 0,
        "accepted": 0,
        "rejected": 0,
        "precision": None,
        "created_by": str(alice.user.pk),
        "created_at": shown["created_at"],
        "updated_at": shown["updated_at"],
    }
    assert bob.get(f"tag-rules/{stored.pk}").json() == shown


def test_members_read_and_admins_write(cast: Cast, dora: Person, victor: Person) -> None:
    rule = make_rule(cast.alice)
    body = {"name": "New", "condition": "test-says"}
    for person in (cast.bob, victor):
        assert person.get(f"tag-rules/{rule.pk}").status_code == 200
        assert str(rule.pk) in {row["id"] for row in person.get("tag-rules").json()["results"]}
        error_of(person.post("tag-rules", body), 403, "permission_denied")
        error_of(person.patch(f"tag-rules/{rule.pk}", {"name": "x"}), 403, "permission_denied")
        error_of(person.delete(f"tag-rules/{rule.pk}"), 403, "permission_denied")
    assert dora.post("tag-rules", body).status_code == 201
    assert dora.patch(f"tag-rules/{rule.pk}", {"name": "x"}).json()["name"] == "x"
    assert dora.delete(f"tag-rules/{rule.pk}").status_code == 204
    for response in (
        cast.charlie.get(f"tag-rules/{rule.pk}"),
        cast.charlie.patch(f"tag-rules/{rule.pk}", {}),
        cast.charlie.delete(f"tag-rules/{rule.pk}"),
    ):
        error_of(response, 404, "not_found")
    assert {row["is_builtin"] for row in cast.charlie.get("tag-rules").json()["results"]} == {True}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 101),
        ("condition", "nothing"),
        ("condition", 5),
        ("settings", {"nothing": 1}),
        ("settings", []),
        ("settings", None),
        ("tag", ""),
        ("tag", "a*"),
        ("tag", 5),
        ("confidence_score", "1.001"),
        ("confidence_score", "-0.1"),
        ("confidence_score", "0.0001"),
        ("confidence_score", True),
        ("is_active", "yes"),
        ("is_builtin", True),
        ("nonsense", 1),
    ],
)
def test_a_wrong_value_is_refused_by_field(alice: Person, field: str, value: Any) -> None:
    rule = make_rule(alice)
    for response in (
        alice.post("tag-rules", {"name": "New", "condition": "test-says", field: value}),
        alice.patch(f"tag-rules/{rule.pk}", {field: value}),
    ):
        assert set(error_of(response, 400, "invalid")["details"]) == {field}
    assert TagRule.objects.filter(workspace=alice.workspace).count() == 1


def test_a_rule_sets_a_tag_that_there_is_and_that_is_not_the_systems(cast: Cast) -> None:
    rule = make_rule(cast.alice)
    make_tag(cast.charlie, "theirs")
    make_tag(cast.alice, "has:code", is_system=True)
    own = make_tag(cast.alice, "own")
    error_of(cast.alice.patch(f"tag-rules/{rule.pk}", {"tag": "theirs"}), 400, "unknown_tag")
    error_of(cast.alice.patch(f"tag-rules/{rule.pk}", {"tag": "has:code"}), 403, "system_tag")
    assert cast.alice.patch(f"tag-rules/{rule.pk}", {"tag": "own"}).json()["tag"] == "own"
    assert TagRule.objects.get(workspace=cast.alice.workspace).tag == own
    assert cast.alice.patch(f"tag-rules/{rule.pk}", {"tag": None}).json()["tag"] is None


def test_names_are_one_of_each(cast: Cast) -> None:
    rule, other = make_rule(cast.alice), make_rule(cast.alice, "Other")
    make_rule(cast.charlie, "Theirs")
    make_rule(cast.alice, "Topic", condition="topic", is_builtin=True)
    assert cast.alice.post("tag-rules", {"name": "Topic", "condition": "test-says"}).status_code == 201
    error_of(cast.alice.post("tag-rules", {"name": "Topic", "condition": "test-says"}), 409, "rule_exists")
    error_of(cast.alice.post("tag-rules", {"name": "Rule", "condition": "test-says"}), 409, "rule_exists")
    error_of(cast.alice.patch(f"tag-rules/{other.pk}", {"name": "Rule"}), 409, "rule_exists")
    assert cast.alice.patch(f"tag-rules/{rule.pk}", {"name": "Rule"}).status_code == 200
    assert cast.alice.patch(f"tag-rules/{rule.pk}", {"name": "Theirs"}).status_code == 200


def test_what_comes_with_every_workspace_is_switched_off_and_not_taken_away(alice: Person) -> None:
    rule = builtin_of(alice)
    path = f"tag-rules/{rule['id']}"
    assert (rule["name"], rule["is_active"], rule["created_by"]) == ("test-says!", True, None)
    for body in ({"name": "Mine"}, {"condition": "test-says"}):
        error_of(alice.patch(path, body), 409, "rule_is_builtin")
    error_of(alice.delete(path), 409, "rule_is_builtin")
    changed = alice.patch(path, {"is_active": False, "confidence_score": "0.5", "settings": {"about": "x"}}).json()
    assert (changed["is_active"], changed["confidence_score"], changed["settings"]) == (False, "0.500", {"about": "x"})
    assert builtin_of(alice) == changed  # the list does not make it again
    assert "test-says" not in {one.condition for one in rules.active(alice.workspace.pk)}


def test_a_rule_that_has_set_tags_stays(alice: Person) -> None:
    rule, tag = make_rule(alice), make_tag(alice)
    link = make_link(tag, Target("user", alice.user.pk), rule=rule)
    error_of(alice.delete(f"tag-rules/{rule.pk}"), 409, "rule_in_use")
    TagLink.objects.filter(workspace=alice.workspace, pk=link.pk).delete()
    assert alice.delete(f"tag-rules/{rule.pk}").status_code == 204
    error_of(alice.get(f"tag-rules/{rule.pk}"), 404, "not_found")


def test_a_rule_whose_condition_nobody_knows_any_more_can_be_switched_off(alice: Person) -> None:
    rule = make_rule(alice, condition="gone")
    assert alice.patch(f"tag-rules/{rule.pk}", {"is_active": False}).json()["is_active"] is False
    error_of(alice.patch(f"tag-rules/{rule.pk}", {"settings": {}}), 400, "invalid")


def test_settings_are_kept_as_the_condition_checks_them(alice: Person) -> None:
    def check(settings: Any) -> Any:
        if settings.get("about") == "nothing":
            raise Refusal("No.", code="invalid", details={"settings": ["No."]})
        return {"about": "everything", **settings}

    with condition("test-checks") as made:
        rules.register(
            type(made)(key=made.key, title=made.title, match=made.match, check=check, settings=made.settings)
        )
        body = {"name": "New", "condition": "test-checks"}
        assert alice.post("tag-rules", body).json()["settings"] == {"about": "everything"}
        error = error_of(alice.post("tag-rules", {**body, "settings": {"about": "nothing"}}), 400, "invalid")
        assert error["details"] == {"settings": ["No."]}


def test_only_what_was_given_is_saved(alice: Person) -> None:
    """Another admin renames the rule, then deletes it, between our reading and our writing."""
    rule = make_rule(alice, condition="test-meanwhile")
    rows = TagRule.objects.filter(workspace=alice.workspace, pk=rule.pk)

    def rename(settings: Any) -> Any:
        rows.update(name="Renamed")
        return settings

    def delete(settings: Any) -> Any:
        rules.delete(rule)
        return settings

    with condition("test-meanwhile") as made:
        rules.register(replace(made, check=rename))
        assert alice.patch(f"tag-rules/{rule.pk}", {"settings": {"about": "x"}}).status_code == 200
        assert (rows.get().name, rows.get().settings) == ("Renamed", {"about": "x"})
        rules.register(replace(made, check=delete))
        error_of(alice.patch(f"tag-rules/{rule.pk}", {"settings": {}}), 404, "not_found")
        assert not rows.exists()


def test_how_a_rule_has_done(alice: Person) -> None:
    rule = make_rule(alice)
    target = Target("user", alice.user.pk)
    made = [make_link(make_tag(alice, f"t:{number}"), target, rule=rule, state="suggested") for number in range(4)]
    for link, verb in zip(made, ("accept", "accept", "reject"), strict=False):
        assert alice.post(f"tag-links/{link.pk}/{verb}").status_code == 200
    for shown in (
        alice.get(f"tag-rules/{rule.pk}").json(),
        alice.get("tag-rules", is_builtin="false").json()["results"][0],
        alice.patch(f"tag-rules/{rule.pk}", {"name": "Still"}).json(),
    ):
        names = ("applied", "suggested", "accepted", "rejected", "precision")
        assert [shown[name] for name in names] == [2, 1, 2, 1, "0.667"]


def test_conditions_are_listed_with_what_they_can_be_told(bob: Person) -> None:
    rows = {row["key"]: row for row in bob.get("tag-rules/conditions").json()["results"]}
    assert rows["test-says"] == {
        "key": "test-says",
        "title": "test-says!",
        "origin": "rule",
        "settings": {"about": "Which."},
    }
    assert list(rows) == sorted(rows)


def test_the_list_takes_as_many_queries_for_30_rules_as_for_1(alice: Person, django_assert_num_queries: Any) -> None:
    alice.get("tag-rules")
    for count in (1, 29):
        for number in range(count):
            make_rule(alice, f"{count}-{number}", tag=make_tag(alice, f"t{count}:{number}"))
        with django_assert_num_queries(5):  # token, membership, which are built in, rules with tags, their records
            alice.get("tag-rules", limit=200)
