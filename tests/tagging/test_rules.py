"""Rules: what they set and suggest, what they leave alone, and how they have done. With conditions of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from synapscale.common.errors import NotFound, Refusal
from tagging import links, rules
from tagging.links import Target
from tagging.models import Tag, TagLink, TagRule
from tagging.rules import Finding, Guess, Record
from tests.people import Cast, Person
from tests.tagging.tagged import condition, make_link, make_rule, make_tag

THRESHOLD = Decimal("0.8")


@pytest.fixture(autouse=True)
def _conditions() -> Iterator[None]:
    with condition(), condition("test-slow", is_slow=True, origin=TagLink.Origin.LLM):
        yield


@pytest.fixture
def rule(alice: Person) -> TagRule:
    return make_rule(alice)


def target_of(person: Person) -> Target:
    return Target("user", person.user.pk)


def look(person: Person, facts: Any, *, with_slow: bool = True, only: TagRule | None = None) -> None:
    """Let the rules of the tests look at ``person``, who is the target."""
    rows = TagRule.objects.filter(workspace=person.workspace, condition__startswith="test-").order_by("pk")
    chosen = [only] if only else list(rows.select_related("tag"))
    rules.apply(
        rules.evaluate(chosen, facts, with_slow=with_slow),
        target=target_of(person),
        workspace_id=person.workspace.pk,
        threshold=THRESHOLD,
    )


def carried(person: Person) -> dict[str, tuple[str, Decimal | None]]:
    rows = TagLink.objects.filter(workspace=person.workspace, target_id=person.user.pk).select_related("tag")
    return {link.tag.label: (link.state, link.confidence_score) for link in rows}


def says(**scores: str) -> dict[str, dict[str, str]]:
    return {"all": {label.replace("__", ":"): score for label, score in scores.items()}}


def test_the_threshold_makes_tags_or_suggestions(alice: Person, rule: TagRule) -> None:
    look(alice, says(topic__sports="0.8", topic__health="0.799", topic__travel="1"))
    assert carried(alice) == {
        "topic:sports": ("applied", Decimal("0.8")),
        "topic:health": ("suggested", Decimal("0.799")),
        "topic:travel": ("applied", Decimal(1)),
    }
    link = TagLink.objects.get(workspace=alice.workspace, tag__label="topic:sports")
    assert (link.rule, link.origin, link.created_by, link.decided_at) == (rule, "rule", None, None)
    assert not link.tag.is_system


def test_looking_again_changes_nothing(alice: Person, rule: TagRule, django_assert_num_queries: Any) -> None:
    facts = says(topic__sports="0.9", topic__health="0.5")
    look(alice, facts)
    before = list(TagLink.objects.filter(workspace=alice.workspace).order_by("pk").values())
    findings = rules.evaluate([rule], facts)
    with django_assert_num_queries(4):  # the tags and what is there, within a savepoint
        rules.apply(findings, target=target_of(alice), workspace_id=alice.workspace.pk, threshold=THRESHOLD)
    assert list(TagLink.objects.filter(workspace=alice.workspace).order_by("pk").values()) == before


def test_what_nobody_has_decided_follows_the_rule(alice: Person, rule: TagRule) -> None:
    look(alice, says(topic__sports="0.9", topic__health="0.5"))
    look(alice, says(topic__sports="0.6"))
    assert carried(alice) == {"topic:sports": ("suggested", Decimal("0.6"))}
    look(alice, says(topic__sports="0.95"))
    assert carried(alice) == {"topic:sports": ("applied", Decimal("0.95"))}
    look(alice, {})
    assert carried(alice) == {}


@pytest.mark.parametrize(("accepts", "state"), [(True, "applied"), (False, "rejected")])
def test_what_a_person_has_decided_stays(alice: Person, rule: TagRule, accepts: bool, state: str) -> None:
    look(alice, says(topic__sports="0.5"))
    link = TagLink.objects.get(workspace=alice.workspace)
    rules.decide(link, accepts=accepts, user=alice.user, now=timezone.now())
    for facts in (says(topic__sports="0.99"), says(topic__sports="0.1"), {}):
        look(alice, facts)
        assert carried(alice) == {"topic:sports": (state, Decimal("0.5"))}


def test_what_a_person_has_put_on_is_never_touched(alice: Person, rule: TagRule) -> None:
    tag = make_tag(alice, "topic:sports")
    make_link(tag, target_of(alice))
    for facts in (says(topic__sports="0.1"), says(topic__sports="1"), {}):
        look(alice, facts)
        assert carried(alice) == {"topic:sports": ("applied", None)}


def test_what_a_person_has_put_on_as_well_does_not_go_with_the_rule(alice: Person, rule: TagRule) -> None:
    look(alice, says(topic__sports="0.9"))
    tag = Tag.objects.get(workspace=alice.workspace)
    links.put([tag], [target_of(alice)], workspace_id=alice.workspace.pk, user=alice.user)
    look(alice, {})
    assert carried(alice) == {"topic:sports": ("applied", Decimal("0.9"))}


def test_the_surest_rule_wins_and_of_two_alike_the_older(alice: Person, rule: TagRule) -> None:
    second = make_rule(alice, "Second", settings={"about": "second"})
    third = make_rule(alice, "Third", settings={"about": "third"})
    look(alice, {"all": {"a:1": "0.5", "a:2": "0.9"}, "second": {"a:1": "0.9", "a:2": "0.9"}, "third": {"a:1": "0.7"}})
    owners = TagLink.objects.filter(workspace=alice.workspace).values_list("tag__label", "rule_id")
    assert dict(owners) == {"a:1": second.pk, "a:2": rule.pk}
    look(alice, {"third": {"a:1": "0.7"}})  # it goes over to who still says it
    assert carried(alice) == {"a:1": ("suggested", Decimal("0.7"))}
    assert TagLink.objects.get(workspace=alice.workspace).rule == third


def test_a_rule_that_was_not_asked_is_still_heard(alice: Person, rule: TagRule) -> None:
    """When only feedback has come, the slow ones are left out; what they were surer of stays theirs."""
    slow = make_rule(alice, "Slow", condition="test-slow", settings={"about": "slow"})
    look(alice, {"all": {"a": "0.5"}, "slow": {"a": "0.9", "b": "0.9"}})
    for facts in ({"all": {"a": "0.5"}}, {"all": {"a": "0.9"}}, {}):
        look(alice, facts, with_slow=False)
        assert carried(alice) == {"a": ("applied", Decimal("0.9")), "b": ("applied", Decimal("0.9"))}
    look(alice, {"all": {"a": "0.95"}}, with_slow=False)
    link = TagLink.objects.get(workspace=alice.workspace, tag__label="a")
    assert (link.rule, link.origin, link.confidence_score) == (rule, "rule", Decimal("0.95"))
    look(alice, {})
    assert carried(alice) == {}
    assert slow.links.count() == 0


def test_a_rule_with_a_tag_sets_that_as_sure_as_the_surest(alice: Person) -> None:
    rule = make_rule(alice, tag=make_tag(alice, "hot"), confidence_score=Decimal("0.9"))
    look(alice, says(x="0.5", y="0.95"))
    assert carried(alice) == {"hot": ("applied", Decimal("0.855"))}
    look(alice, {})
    assert carried(alice) == {}
    assert rules.evaluate([rule], {}) == [Finding(rule, [])]


@pytest.mark.parametrize(
    ("trust", "sure", "product"),
    [("0.333", "0.5", "0.167"), ("1", "0.123", "0.123"), ("0.001", "0.499", "0.000"), ("0.5", "0.999", "0.500")],
)
def test_confidence_is_a_product_to_three_places(alice: Person, trust: str, sure: str, product: str) -> None:
    make_rule(alice, confidence_score=Decimal(trust))
    look(alice, says(a=sure))
    assert carried(alice) == {"a": ("suggested", Decimal(product))}


def test_odd_labels_are_skipped(alice: Person, rule: TagRule) -> None:
    look(alice, {"all": {"a*": "1", "": "1", "x" * 70: "1", "model:a,b": "1", "Fine Tag": "1", "fine  tag": "0.9"}})
    assert carried(alice) == {"fine tag": ("applied", Decimal(1))}


def test_what_only_the_system_says_is_the_systems(alice: Person, rule: TagRule) -> None:
    look(alice, {"all": {"has:code": "1", "topic:sports": "1"}})
    assert {tag.label: tag.is_system for tag in Tag.objects.filter(workspace=alice.workspace)} == {
        "has:code": True,
        "topic:sports": False,
    }


def test_tags_of_another_workspace_are_not_used(cast: Cast) -> None:
    theirs = make_tag(cast.charlie, "topic:sports")
    make_rule(cast.alice)
    look(cast.alice, says(topic__sports="1"))
    assert TagLink.objects.get(workspace=cast.alice.workspace).tag_id != theirs.pk
    assert TagLink.objects.filter(workspace=cast.charlie.workspace).count() == 0


# --- Which rules there are --------------------------------------------------------------------------------------------


def test_the_rules_that_come_with_every_workspace_come_once(alice: Person, django_assert_num_queries: Any) -> None:
    rules.ensure_builtin(alice.workspace.pk)
    builtin = TagRule.objects.filter(workspace=alice.workspace, is_builtin=True)
    assert set(builtin.values_list("condition", flat=True)) == {one.key for one in rules.all_conditions()}
    builtin.filter(condition="test-slow").update(is_active=False)
    with django_assert_num_queries(1):
        rules.ensure_builtin(alice.workspace.pk)
    active = {one.condition for one in rules.active(alice.workspace.pk)}
    assert "test-says" in active
    assert "test-slow" not in active
    with condition("test-later"):
        rules.ensure_builtin(alice.workspace.pk)
        assert builtin.filter(condition="test-later").count() == 1
    assert "test-later" not in {one.condition for one in rules.active(alice.workspace.pk)}


def test_a_rule_of_the_same_name_does_not_keep_one_from_coming(alice: Person) -> None:
    """Whatever people have called theirs before a release brings a new one."""
    make_rule(alice, "test-later!")
    with condition("test-later"):
        rules.ensure_builtin(alice.workspace.pk)
        assert TagRule.objects.get(workspace=alice.workspace, condition="test-later").is_builtin


def test_settings_are_those_of_the_condition() -> None:
    assert rules.checked("test-says", {"about": "x"}) == {"about": "x"}
    for key, settings, field in (("nothing", {}, "condition"), ("test-says", {"x": 1}, "settings")):
        with pytest.raises(Refusal) as refused:
            rules.checked(key, settings)
        assert (refused.value.code, set(refused.value.details)) == ("invalid", {field})
    (found,) = (condition for condition in rules.all_conditions() if condition.key == "test-says")
    assert found.match({"all": {"a": "1"}}, {}) == [Guess("a")]


# --- How they have done -----------------------------------------------------------------------------------------------


def test_a_record_counts_what_became_of_it(alice: Person, rule: TagRule, django_assert_num_queries: Any) -> None:
    other, now = make_rule(alice, "Other"), timezone.now()
    look(alice, says(a="0.9", b="0.9", c="0.9", d="0.9", e="0.5", f="0.5"), only=rule)
    for link in TagLink.objects.filter(workspace=alice.workspace).select_related("tag"):
        if link.tag.label in "abce":
            rules.decide(link, accepts=link.tag.label in "ae", user=alice.user, now=now)
    with django_assert_num_queries(1):
        found = rules.records([rule, other])
    assert found == {rule.pk: Record(applied=3, suggested=1, accepted=2, rejected=2)}
    assert found[rule.pk].precision == Decimal("0.500")


@pytest.mark.parametrize(
    ("accepted", "rejected", "precision"),
    [(0, 0, None), (2, 1, "0.667"), (1, 2, "0.333"), (0, 1, "0.000"), (1, 0, "1.000")],
)
def test_precision_is_exact(accepted: int, rejected: int, precision: str | None) -> None:
    found = Record(accepted=accepted, rejected=rejected).precision
    assert (None if found is None else str(found)) == precision


def test_what_the_rule_has_withdrawn_is_not_decided_any_more(alice: Person, rule: TagRule) -> None:
    look(alice, says(a="0.5"))
    link = TagLink.objects.get(workspace=alice.workspace)
    look(alice, {})
    with pytest.raises(NotFound):
        rules.decide(link, accepts=True, user=alice.user, now=timezone.now())


# --- Replacing --------------------------------------------------------------------------------------------------------


def test_replacing_leaves_alone_what_rules_have_set(alice: Person, rule: TagRule) -> None:
    look(alice, says(topic__sports="0.9", topic__health="0.5"))
    old, new = make_tag(alice, "old"), make_tag(alice, "new")
    links.put([old], [target_of(alice)], workspace_id=alice.workspace.pk, user=alice.user)
    links.replace([new], target_of(alice), workspace_id=alice.workspace.pk, user=alice.user)
    assert {label: state for label, (state, _) in carried(alice).items()} == {
        "new": "applied",
        "topic:sports": "applied",
        "topic:health": "suggested",
    }
    shown = links.labels_of("user", [alice.user.pk], workspace_id=alice.workspace.pk)
    assert shown == {alice.user.pk: ["new", "topic:sports"]}
    links.replace([], target_of(alice), workspace_id=alice.workspace.pk, user=alice.user)
    assert set(carried(alice)) == {"topic:sports", "topic:health"}
