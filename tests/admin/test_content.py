"""What customers wrote is hidden from whoever may not read it, wherever it could show, and each reading is noted."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import Model

from conversations.models import Agent, Conversation, Message, MessageFeedback, UsageLog
from synapscale.common.tenancy import fleet_wide
from tests.admin.rows import Office, again, conversation_of, errors, our_models
from tests.admin.talks import LOOKS, READS, WRITTEN, Talk, make_talk, office_of, readings, staff, url_of
from tests.people import Cast, Person
from workspaces.models import User

HIDDEN = "hidden: needs the permission to read content"
CHANGES = ("change_conversation", "change_agent", "change_messagefeedback")


@pytest.fixture
def talk(cast: Cast) -> Talk:
    return make_talk(cast.alice)


@pytest.fixture
def support(db: None) -> User:
    return staff(*READS, *CHANGES, email="support@example.org")


@pytest.fixture
def reader(support: User) -> Office:
    return office_of(support)


@pytest.fixture
def looker(db: None) -> Office:
    """May look at everything, and change what can be changed, but not read."""
    names = [f"view_{model._meta.model_name}" for model in our_models()]
    return office_of(staff(*names, *CHANGES, "delete_agent", "delete_conversation", email="operator@example.org"))


def rows_of(model: type[Model]) -> list[Any]:
    with fleet_wide():
        return list(model._default_manager.all())


def with_content(talk: Talk) -> list[Any]:
    """The rows whose pages show what was written, each with what it shows."""
    workspace = talk.conversation.workspace_id
    failed = UsageLog.objects.get(workspace_id=workspace, message=talk.answer, attempt=1)
    return [
        (Agent.objects.get(workspace_id=workspace), {"prompt"}),
        (talk.conversation, {"title", "context"}),
        (talk.question, {"question"}),
        (talk.answer, {"answer"}),
        (talk.call, {"arguments"}),
        (talk.result, {"result"}),
        (talk.failure, {"error"}),
        (failed, {"error"}),
        (MessageFeedback.objects.get(workspace_id=workspace), {"text", "suggestion"}),
    ]


# --- Who may not ----------------------------------------------------------------------------------------------------


def test_who_may_not_read_finds_it_nowhere(looker: Office, talk: Talk) -> None:
    """On no list, page, history or page of deleting, of any model."""
    seen = 0
    for model in our_models():
        pages = [looker.list(model)]
        for row in rows_of(model):
            pages += [looker.open(row), looker.client.get(looker.url(model, "history", row.pk))]
            pages.append(looker.client.get(looker.url(model, "delete", row.pk)))
        for page in pages:
            assert not [word for word in WRITTEN.values() if word in page.text], page.request["PATH_INFO"]
            seen += page.status_code == 200
    assert seen > 50
    assert readings() == []


def test_who_may_not_read_is_told_so_in_its_place(looker: Office, talk: Talk) -> None:
    for row, names in with_content(talk):
        page = looker.open(row)
        assert page.status_code == 200
        assert page.text.count(HIDDEN) >= len(names), row


def test_who_may_not_read_opens_no_transcript(looker: Office, talk: Talk) -> None:
    for row in (talk.conversation, talk.answer):
        model = row._meta.model_name
        url = f"/admin/conversations/{model}/{row.pk}/transcript/"
        assert url not in looker.open(row).text
        assert looker.client.get(url).status_code == 403
    assert readings() == []


@pytest.mark.parametrize("names", [["read_content"], list(LOOKS)])
def test_a_transcript_asks_for_both_permissions(talk: Talk, names: list[str]) -> None:
    office = office_of(staff(*names))

    assert office.client.get(url_of(talk.conversation)).status_code == 403
    assert readings() == []


def test_who_may_not_read_changes_the_rest_and_leaves_it_as_it_is(looker: Office, talk: Talk) -> None:
    conversation, agent = talk.conversation, again(talk.conversation).agent

    typed = {"title": "other", "context": "other", "status": "archived"}
    assert looker.save(conversation, **typed).status_code == 302
    assert looker.save(agent, name="Guide", system_prompt="").status_code == 302
    stored = again(conversation)
    assert (stored.status, stored.title, stored.context) == ("archived", WRITTEN["title"], WRITTEN["context"])
    assert (again(agent).name, again(agent).system_prompt) == ("Guide", WRITTEN["prompt"])

    page = looker.save(conversation, status="nonsense")
    assert errors(page)
    assert not [word for word in WRITTEN.values() if word in page.text]
    assert readings() == []


def test_the_history_of_a_change_does_not_tell_it(looker: Office, reader: Office, talk: Talk) -> None:
    agent = again(talk.conversation).agent
    assert reader.save(talk.conversation, title="second-wedding", context="few-guests").status_code == 302
    assert reader.save(agent, system_prompt="you-plan-funerals").status_code == 302

    for row in (talk.conversation, agent):
        history = looker.client.get(looker.url(type(row), "history", row.pk)).text
        assert "Changed." in history
        assert not [word for word in ("second-wedding", "few-guests", "you-plan", *WRITTEN.values()) if word in history]


def test_who_may_not_read_does_not_search_by_it(looker: Office, reader: Office, talk: Talk) -> None:
    key = talk.conversation.pk

    assert reader.found(Conversation, q=WRITTEN["title"][:5]) == {key}
    assert looker.found(Conversation, q=WRITTEN["title"][:5]) == set()
    assert looker.found(Conversation, q="alice@example.org") == {key}
    assert "beginning of a title" in reader.list(Conversation).text
    assert "beginning of a title" not in looker.list(Conversation).text


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        (Conversation, "title__startswith"),
        (Conversation, "title"),
        (Conversation, "context__contains"),
        (Message, "content__contains"),
        (Message, "conversation__title"),
        (Message, "call__outcome__content"),
        (Message, "metadata__contains"),
        (UsageLog, "error_message__contains"),
        (UsageLog, "message__content__contains"),
        (MessageFeedback, "text__contains"),
        (Agent, "system_prompt__contains"),
        (User, "conversations__title"),
    ],
)
def test_nobody_filters_a_list_by_it(
    looker: Office, reader: Office, talk: Talk, model: type[Model], lookup: str
) -> None:
    """An address that tells by its rows what begins how would be a way of reading without a note."""
    assert looker.list(model, **{lookup: "w"}).status_code == 400
    if model is not User:
        assert reader.list(model, **{lookup: "w"}).status_code == 400


def test_a_choice_of_conversations_names_none_by_its_title(office: Office, talk: Talk) -> None:
    assert str(talk.conversation) == f"Conversation {talk.conversation.pk}"
    query = {"app_label": "conversations", "model_name": "message", "field_name": "conversation", "term": ""}
    assert WRITTEN["title"] not in office.client.get("/admin/autocomplete/", query).text


# --- Who may --------------------------------------------------------------------------------------------------------


def test_no_list_shows_it_to_anybody(office: Office, talk: Talk) -> None:
    for model in our_models():
        page = office.list(model).text
        assert not [word for word in WRITTEN.values() if word in page], model
    assert readings() == []


def test_each_page_that_shows_it_is_noted(reader: Office, support: User, talk: Talk) -> None:
    for row, names in with_content(talk):
        before = readings()
        page = reader.open(row)
        assert not [name for name in names if WRITTEN[name] not in page.text], row
        assert HIDDEN not in page.text
        [entry] = readings()[len(before) :]
        assert (entry.actor, entry.object_pk, entry.content_type.model_class()) == (support, str(row.pk), type(row))
        assert entry.remote_addr == "127.0.0.1"
        assert not [
            word for word in WRITTEN.values() if word in f"{entry.object_repr}{entry.changes}{entry.additional_data}"
        ]


def test_a_transcript_is_noted_with_each_page_of_it(reader: Office, support: User, talk: Talk) -> None:
    reader.client.get(url_of(talk.conversation))
    reader.client.get(url_of(talk.conversation), {"from": str(talk.answer.pk)})

    assert [(entry.actor, entry.object_pk) for entry in readings()] == [(support, str(talk.conversation.pk))] * 2


def test_a_page_on_which_nothing_is_written_is_no_reading(reader: Office, alice: Person, talk: Talk) -> None:
    done = UsageLog.objects.get(workspace=alice.workspace, message=talk.answer, attempt=2)

    assert reader.open(conversation_of(alice)).status_code == 200
    assert reader.open(done).status_code == 200
    assert reader.client.get("/admin/conversations/conversation/add/").status_code == 403
    assert readings() == []


def test_a_form_that_comes_back_is_read_again_and_one_that_is_saved_is_not(reader: Office, talk: Talk) -> None:
    assert reader.save(talk.conversation, status="archived").status_code == 302
    assert len(readings()) == 1  # of the form, before it was sent
    assert errors(reader.save(talk.conversation, status="nonsense"))
    assert len(readings()) == 3


def test_what_can_not_be_noted_is_not_shown(transactional_db: None, reader: Office, talk: Talk, full_log: None) -> None:
    reader.client.raise_request_exception = False
    pages = [reader.client.get(url_of(talk.conversation)), *(reader.open(row) for row, _ in with_content(talk))]

    for page in pages:
        assert page.status_code == 500
        assert not [word for word in WRITTEN.values() if word in page.text]
