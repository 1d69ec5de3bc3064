"""Operators keep tags and rules as the API does, by the same functions, and decide what is suggested."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission

from tagging.links import Target
from tagging.models import Tag, TagLink, TagRule
from tests.admin.rows import Office, again, errors, make_workplace
from tests.audited import entries, notes
from tests.people import Cast, Person
from tests.tagging.tagged import condition, links_of, make_link, make_rule, make_tag
from workspaces.models import User


@pytest.fixture(autouse=True)
def _condition() -> Iterator[None]:
    with condition():
        yield


def test_a_tag_is_made_and_renamed_as_people_write_it(office: Office, root: User, cast: Cast) -> None:
    typed = {"workspace": cast.alice.workspace.pk, "name": " Customer ", "value": "ACME  Ltd", "category": "Money"}
    response = office.add(Tag, **typed)
    assert response.status_code == 302, errors(response)
    tag = Tag.objects.get(workspace=cast.alice.workspace)
    assert (tag.label, tag.category, tag.created_by, tag.metadata) == ("customer:acme ltd", "money", root, {})
    assert office.save(tag, name="Client", metadata='{"crm": "7"}').status_code == 302
    tag = again(tag)
    assert (tag.label, tag.metadata) == ("client:acme ltd", {"crm": "7"})
    assert office.save(tag, workspace=cast.charlie.workspace.pk, is_system="on", label="x").status_code == 302
    assert (again(tag).workspace_id, again(tag).is_system, again(tag).label) == (tag.workspace_id, False, tag.label)
    assert notes(tag)[:2] == ["Created.", "Changed."]
    assert {*entries(tag)[1].changes} == {"name", "label", "metadata"}


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"name": "a:b"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "cost"}, "name"),
        ({"value": "a,b"}, "value"),
        ({"category": "a=b"}, "category"),
        ({"name": "There"}, "__all__"),
        ({"metadata": "[]"}, "metadata"),
    ],
)
def test_what_the_api_refuses_is_an_error_of_the_form(office: Office, cast: Cast, typed: Any, field: str) -> None:
    tag = make_tag(cast.alice)
    make_tag(cast.alice, "there")
    assert set(errors(office.save(tag, **typed))) == {field}
    assert set(errors(office.add(Tag, **{"workspace": cast.alice.workspace.pk, "name": "new", **typed}))) == {field}
    assert {one.label for one in Tag.objects.filter(workspace=cast.alice.workspace)} == {"urgent", "there"}


def test_tags_of_the_system_are_looked_at(office: Office, cast: Cast) -> None:
    tag = make_tag(cast.alice, "has:code", is_system=True)
    assert 'name="_save"' not in office.open(tag).text
    for page in ("change", "delete"):
        assert office.client.post(office.url(Tag, page, tag.pk), {"name": "x", "post": "yes"}).status_code == 403
    assert again(tag).label == "has:code"


def test_a_deleted_tag_is_taken_off_everything(office: Office, cast: Cast) -> None:
    tag, kept = make_tag(cast.alice), make_tag(cast.alice, "kept")
    for one in (tag, kept):
        make_link(one, Target("user", cast.alice.user.pk))
    page = office.client.get(office.url(Tag, "delete", tag.pk))
    assert page.status_code == 200
    assert office.client.post(office.url(Tag, "delete", tag.pk), {"post": "yes"}).status_code == 302
    assert links_of(cast.alice) == {("kept", str(cast.alice.user.pk), "applied")}
    rule = make_rule(cast.alice, tag=kept)
    assert office.client.post(office.url(Tag, "delete", kept.pk), {"post": "yes"}).status_code == 403
    assert again(rule).tag == kept


def test_a_rule_is_made_and_changed_with_its_settings_checked(office: Office, root: User, cast: Cast) -> None:
    typed = {"workspace": cast.alice.workspace.pk, "name": "New", "condition": "test-says", "is_active": "on"}
    assert set(errors(office.add(TagRule, **{**typed, "condition": "nothing"}))) == {"condition"}
    assert set(errors(office.add(TagRule, **typed, settings='{"x": 1}'))) == {"settings"}
    response = office.add(TagRule, **typed, settings='{"about": "all"}', confidence_score="0.5")
    assert response.status_code == 302, errors(response)
    rule = TagRule.objects.get(workspace=cast.alice.workspace)
    assert (rule.settings, rule.created_by, rule.is_builtin) == ({"about": "all"}, root, False)
    assert set(errors(office.save(rule, settings='{"y": 1}'))) == {"settings"}
    assert set(errors(office.save(rule, confidence_score="1.5"))) == {"confidence_score"}
    make_rule(cast.alice, "Other")
    for response in (office.save(rule, name="Other"), office.add(TagRule, **{**typed, "name": "Other"})):
        assert errors(response)
    make_rule(cast.alice, "Topic", condition="topic", is_builtin=True)
    assert office.save(rule, name="Topic").status_code == 302  # which tells them apart by is_builtin
    theirs, systems = make_tag(cast.charlie), make_tag(cast.alice, "has:code", is_system=True)
    for tag in (theirs, systems):
        assert set(errors(office.save(rule, tag=tag.pk))) == {"tag"}
    own = make_tag(cast.alice, "own")
    assert office.save(rule, tag=own.pk, is_active="").status_code == 302
    assert (again(rule).tag, again(rule).is_active) == (own, False)


def test_a_rule_is_shown_with_what_its_condition_is_called(office: Office, cast: Cast) -> None:
    own = make_rule(cast.alice, "Ours", condition="llm_topic")
    builtin = make_rule(cast.alice, "Topic", condition="topic", is_builtin=True)
    gone = make_rule(cast.alice, "Gone", condition="gone")

    def watched() -> dict[str, str]:
        page = office.list(TagRule).text
        rows = re.findall(r"<tr.*?</tr>", page, re.DOTALL)
        cells = {str(rule.pk): row for row in rows for rule in (own, builtin, gone) if str(rule.pk) in row}
        found = {key: re.search(r"field-watched[^>]*>(.*?)</td>", row, re.DOTALL) for key, row in cells.items()}
        return {key: re.sub(r"<[^>]*>", "", match[1]).strip() for key, match in found.items() if match}

    assert watched() == {str(own.pk): "Topic, by a model", str(builtin.pk): "Topic", str(gone.pk): "gone"}
    assert ("llm_topic", "Topic, by a model") in choices(office.open(own))
    assert ("gone", "gone") in choices(office.open(gone))
    assert "llm_topic" not in office.open(make_rule(cast.bob, "T", condition="llm_topic", is_builtin=True)).text

    office.client.cookies[settings.LANGUAGE_COOKIE_NAME] = "pt-br"
    assert watched() == {str(own.pk): "Assunto, por um modelo", str(builtin.pk): "Assunto", str(gone.pk): "gone"}
    assert ("topic", "Assunto") in choices(office.client.get(office.url(TagRule, "add")))


def choices(page: Any) -> list[tuple[str, str]]:
    return list(page.context["adminform"].form.fields["condition"].choices)


def test_a_built_in_rule_is_switched_off_and_keeps_its_name(office: Office, cast: Cast) -> None:
    rule = make_rule(cast.alice, is_builtin=True)
    typed = {"name": "x", "condition": "other", "settings": '{"about": "x"}', "confidence_score": "0.25"}
    response = office.save(rule, **typed, is_active="")
    assert response.status_code == 302, errors(response)
    rule = again(rule)
    assert (rule.name, rule.condition, rule.is_active) == ("Rule", "test-says", False)
    assert (rule.settings, str(rule.confidence_score)) == ({"about": "x"}, "0.250")
    gone = make_rule(cast.alice, "Gone", condition="gone")
    response = office.save(gone, is_active="")
    assert response.status_code == 302, errors(response)  # though nobody knows its condition any more


@pytest.mark.parametrize(
    ("action", "word", "state"), [("accept", "Accepted", "applied"), ("reject", "Rejected", "rejected")]
)
def test_suggestions_are_decided(office: Office, root: User, cast: Cast, action: str, word: str, state: str) -> None:
    """Of two workspaces; what is there already, and what a person has put on, is nobody's question."""
    target = Target("user", cast.alice.user.pk)
    open_ones = [
        make_link(make_tag(person, "a"), Target("user", person.user.pk), rule=make_rule(person), state="suggested")
        for person in (cast.alice, cast.charlie)
    ]
    rule = open_ones[0].rule
    others = [
        make_link(make_tag(cast.alice, "b"), target),
        make_link(make_tag(cast.alice, "c"), target, rule=rule),
        make_link(make_tag(cast.alice, "d"), target, rule=rule, state="rejected", decided_at=rule.created_at),
    ]
    before = [(one.state, one.decided_by) for one in map(again, others)]
    page = office.act(TagLink, action, *open_ones, *others)
    assert f"{word}: 2." in page.text
    for link in map(again, open_ones):
        assert (link.state, link.decided_by, link.decided_at is None) == (state, root, False)
    assert [(one.state, one.decided_by) for one in map(again, others)] == before
    assert notes(kind=TagLink) == [f"{word}."] * 2
    assert f"{word}: 0." in office.act(TagLink, action, *open_ones).text


def test_who_may_only_look_decides_nothing(clerks_office: Office, clerk: User, cast: Cast) -> None:
    link = make_link(
        make_tag(cast.alice), Target("user", cast.alice.user.pk), rule=make_rule(cast.alice), state="suggested"
    )
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_taglink", "view_tag"]))
    assert clerks_office.found(TagLink) == {link.pk}
    clerks_office.act(TagLink, "accept", link)
    assert again(link).state == "suggested"
    assert clerks_office.client.post(clerks_office.url(Tag, "delete", link.tag_id), {"post": "yes"}).status_code == 403
    assert clerks_office.client.post(clerks_office.url(Tag, "change", link.tag_id), {"name": "x"}).status_code == 403
    clerk.user_permissions.add(Permission.objects.get(codename="change_taglink"))
    clerks_office.act(TagLink, "accept", link)
    assert again(link).state == "applied"


def suggested(person: Person, label: str = "a", rule: TagRule | None = None) -> TagLink:
    rule = rule or make_rule(person)
    return make_link(make_tag(person, label), Target("user", person.user.pk), rule=rule, state="suggested")


@pytest.mark.parametrize(
    ("action", "word", "state"), [("accept", "Accepted", "applied"), ("reject", "Rejected", "rejected")]
)
def test_a_suggestion_is_decided_by_one_click(
    office: Office, root: User, cast: Cast, action: str, word: str, state: str
) -> None:
    link = suggested(cast.alice)
    url = f"/admin/tagging/taglink/{link.pk}/{action}/"
    for page in (office.list(TagLink), office.open(link)):
        assert f'formaction="{url}"' in page.text
    assert office.client.get(url).status_code == 405
    assert again(link).state == "suggested"
    here = "/admin/tagging/taglink/?state__exact=suggested"

    response = office.client.post(url, headers={"referer": f"http://testserver{here}"})

    assert response["Location"] == here
    assert f"{word}: 1." in office.client.get(here).text
    assert (again(link).state, again(link).decided_by) == (state, root)
    assert notes(link) == [f"{word}."]
    assert f"{word}: 0." in office.client.post(url, follow=True).text
    assert notes(link) == [f"{word}."]
    assert f'formaction="{url}"' not in office.list(TagLink).text + office.open(link).text
    foreign = office.client.post(url, headers={"referer": "https://evil.example/admin/tagging/taglink/"})
    assert foreign["Location"] == "/admin/tagging/taglink/"


def test_a_click_asks_for_the_permission_to_decide(clerks_office: Office, clerk: User, cast: Cast) -> None:
    link = suggested(cast.alice)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_taglink"))
    assert "formaction" not in clerks_office.list(TagLink).text + clerks_office.open(link).text
    for action in ("accept", "reject"):
        assert clerks_office.client.post(f"/admin/tagging/taglink/{link.pk}/{action}/").status_code == 403
    assert again(link).state == "suggested"


def test_the_list_says_how_many_wait_and_a_rule_how_often_it_was_right(office: Office, root: User, cast: Cast) -> None:
    assert "No suggestion waits for a decision." in office.list(TagLink).text
    rule = make_rule(cast.alice)
    links = [suggested(cast.alice, label, rule) for label in "abcdef"]
    suggested(cast.charlie)
    for link in links[:3]:
        office.client.post(f"/admin/tagging/taglink/{link.pk}/accept/")
    office.client.post(f"/admin/tagging/taglink/{links[3].pk}/reject/")

    assert "3 suggestions wait for a decision." in office.list(TagLink).text
    page = " ".join(re.sub("<[^>]+>", " ", office.open(rule).text).split())
    assert "Precision 75.0 %, of 4 Set 3 Accepted by people 3 Rejected by people 1 Suggestions waiting 2" in page
    assert "Precision of the rule 75.0 %, of 4" in " ".join(re.sub("<[^>]+>", " ", office.open(links[4]).text).split())
    listed = office.list(TagRule).text
    assert "75.0 %, of 4" in listed
    assert "nobody has decided yet" in listed
    (url,) = {
        url
        for url in re.findall(r'href="(/admin/tagging/taglink/[^"]*rule__id__exact[^"]*)"', listed)
        if str(rule.pk) in url
    }
    found = office.client.get(html.unescape(url)).context["cl"].result_list
    assert {row.pk for row in found} == {links[4].pk, links[5].pk}


def test_lists_are_found_by_what_operators_know(office: Office) -> None:
    owner, _ = make_workplace(1), make_workplace(2)
    tag, rule, link = (model.objects.get(workspace=owner.workspace) for model in (Tag, TagRule, TagLink))
    assert office.found(Tag, q="tag 1") == {tag.pk}
    assert office.found(TagRule, q="Rule 1") == {rule.pk}
    for query in ({"q": "works-1"}, {"q": str(link.target_id)}, {"q": "works-1", "state__exact": "suggested"}):
        assert office.found(TagLink, **query) == {link.pk}
    assert office.found(TagLink, origin__exact="llm") == office.found(TagLink, state__exact="rejected") == set()
