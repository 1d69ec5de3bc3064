"""The review queue: what is negative, closed and opened again by operators, who are noted with it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from conversations import feedback
from conversations.models import MessageFeedback
from tests.admin.rows import CONTENT, Office, again, newest
from tests.api.asking import make_answer, make_conversation
from tests.audited import changes, entries, notes
from tests.people import Cast, Person
from workspaces.models import User


def give(person: Person, **said: object) -> MessageFeedback:
    return feedback.give(message=make_answer(make_conversation(person)), user=person.user, **said)


@pytest.fixture
def bad(cast: Cast) -> list[MessageFeedback]:
    """Of two workspaces."""
    return [give(cast.alice, stars=1, text=CONTENT), give(cast.charlie, thumb="down")]


def test_the_queue_is_what_is_open(office: Office, cast: Cast, bad: list[MessageFeedback]) -> None:
    give(cast.alice, stars=5)
    assert office.found(MessageFeedback, review_status__exact="open") == {row.pk for row in bad}
    acme = {"review_status__exact": "open", "workspace__id__exact": cast.alice.workspace.pk}
    assert office.found(MessageFeedback, **acme) == {bad[0].pk}
    assert CONTENT not in office.list(MessageFeedback).text


def test_reviews_are_closed_and_opened_again(
    office: Office, root: User, cast: Cast, bad: list[MessageFeedback]
) -> None:
    good = give(cast.alice, stars=5)
    page = office.act(MessageFeedback, "mark_as_reviewed", *bad, good)
    assert "Reviewed: 2." in page.text
    for row in map(again, bad):
        assert (row.review_status, row.reviewed_by, row.reviewed_at is None) == ("done", root, False)
    assert (again(good).review_status, notes(good)) == ("", [])
    assert "Reviewed: 0." in office.act(MessageFeedback, "mark_as_reviewed", *bad).text
    feedback.change(message=bad[0].message, user=cast.alice.user, stars=5)
    page = office.act(MessageFeedback, "open_again", *bad, good)
    assert "Opened again: 1." in page.text
    assert [again(row).review_status for row in bad] == ["done", "open"]
    assert [notes(row) for row in bad] == [["Reviewed."], ["Reviewed.", "Review opened again."]]
    assert {entry.actor for entry in entries()} == {root}


def test_only_the_note_is_written(office: Office, bad: list[MessageFeedback]) -> None:
    row = bad[0]
    page = office.open(row)
    assert CONTENT in page.text
    assert set(page.context["adminform"].form.fields) == {"review_note"}
    response = office.save(row, review_note="Model was updated.", stars=5, review_status="done")
    assert response.status_code == 302
    stored = again(row)
    assert (stored.review_note, stored.stars, stored.review_status) == ("Model was updated.", 1, "open")
    assert stored.updated_at == row.updated_at
    read = "Read what was written."
    assert (notes(row), changes(row)) == ([read, read, "Changed."], {"review_note": ["", "Model was updated."]})
    assert "Model was updated." not in office.list(MessageFeedback).text


def test_who_may_only_look_does_not_review(clerk: User, clerks_office: Office, bad: list[MessageFeedback]) -> None:
    clerk.user_permissions.add(Permission.objects.get(codename="view_messagefeedback"))
    client = Client()
    client.force_login(User.objects.get(pk=clerk.pk))
    office = Office(client)
    assert "mark_as_reviewed" not in office.list(MessageFeedback).text
    office.act(MessageFeedback, "mark_as_reviewed", *bad)
    assert newest(MessageFeedback).review_status == "open"
    assert client.post(office.url(MessageFeedback, "change", bad[0].pk), {"review_note": "x"}).status_code == 403
