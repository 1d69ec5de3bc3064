"""Conversations as staff read them: everything that belongs to a message beside it, page by page."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from conversations.models import Conversation, Message, MessageFeedback, UsageLog
from conversations.outcomes import Outcome
from llm.types import ChatMessage
from tests.admin.rows import Office, conversation_of
from tests.admin.talks import READS, Talk, make_talk, office_of, staff, url_of
from tests.catalogue import make_llm
from tests.conversations.calling import ask, checkpoint, sent, settle
from tests.people import Cast, Person, fund


@pytest.fixture
def talk(cast: Cast) -> Talk:
    return make_talk(cast.alice)


@pytest.fixture
def reader(db: None) -> Office:
    """Support: may read, and look at what belongs to it."""
    return office_of(staff(*READS, email="support@example.org"))


def words(html: str) -> str:
    """What somebody reads of it."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def turns(page: Any) -> dict[str, str]:
    """The messages of a page: what is read of each, by its key."""
    assert page.status_code == 200, page
    parts = re.split(r'<li id="message-([0-9a-f-]{36})"', page.text)
    return {key: words("<li" + text) for key, text in zip(parts[1::2], parts[2::2], strict=True)}


def read(reader: Office, conversation: Conversation, **query: Any) -> dict[str, str]:
    return turns(reader.client.get(url_of(conversation), query))


def test_what_was_said_is_read_in_its_order(reader: Office, talk: Talk) -> None:
    shown = read(reader, talk.conversation)

    stored = Message.objects.filter(workspace_id=talk.conversation.workspace_id).order_by("created_at", "id")
    assert list(shown) == [str(message.pk) for message in stored]
    said = shown[str(talk.question.pk)]
    assert "Question alice@example.org" in said
    assert "where-do-we-celebrate Image, image/png, 800 × 600 pixels" in said
    assert "What an image shows is its user's, and not shown here." in said
    said = shown[str(talk.call.pk)]
    assert 'Call of a tool: is_free { "places": "garden-and-barn" }' in said
    said = shown[str(talk.result.pk)]
    assert "Result of the tool “is_free”" in said
    assert "barn-is-free" in said


def test_an_answer_comes_with_its_model_tokens_cost_and_times(reader: Office, talk: Talk) -> None:
    said = read(reader, talk.conversation)[str(talk.answer.pk)]

    assert "Answer openai/openai-second" in said
    assert "Tokens in 15 Tokens out 90 Cost $0.00039 Charged $0.00039 Time 4.2 s First token after 350 ms" in said
    assert (
        "1 openai/openai-test Error: provider_overloaded · echo-of-the-question The house's key 0 0 $0.00 $0.00 –"
        in said
    )
    assert "2 openai/openai-second Success The house's key 15 90 $0.00039 $0.00039 4.2 s" in said


def test_an_answer_comes_with_its_tags_and_what_was_thought_of_it(reader: Office, talk: Talk) -> None:
    said = read(reader, talk.conversation)[str(talk.answer.pk)]

    assert "place (suggested)" in said
    assert (
        "Feedback · alice@example.org · Thumbs down · 2 stars of 5 · Wrong "
        "too-far-away How it could be better: try-the-lake" in said
    )


def test_a_failed_answer_says_how_it_failed(reader: Office, talk: Talk) -> None:
    said = read(reader, talk.conversation)[str(talk.failure.pk)]

    assert "Answer Error openai/openai-test" in said
    assert "provider_error · echo-of-the-question" in said
    assert "No text." in said


def test_the_totals_stand_at_the_top(reader: Office, talk: Talk) -> None:
    page = reader.client.get(url_of(talk.conversation)).text
    head = words(page.partition("transcript-head")[2].partition("</header>")[0])

    assert "wedding-plans alice@example.org · Acme · Agent: Planner · Chat · Active" in head
    assert "Messages 6 Tokens 115 Charged $0.0004" in head
    assert "openai/openai-second 1 15 90 $0.00039" in head
    assert "party" in head
    assert "Context, added to the agent's instructions guest-list-of-100" in head
    assert "That you read this is written down in the audit log." in head


def test_an_answer_under_way_shows_what_there_is_of_it(reader: Office, alice: Person) -> None:
    make_llm()
    fund(alice.workspace, "1")
    conversation = conversation_of(alice)
    silent, speaking = ask(alice, conversation), ask(alice, conversation)
    checkpoint(speaking, "Once upon a")
    shown = read(reader, conversation)

    assert "Answer Pending" in shown[str(silent.answer.pk)]
    assert "No text yet." in shown[str(silent.answer.pk)]
    assert "Answer Streaming" in shown[str(speaking.answer.pk)]
    assert "Once upon a" in shown[str(speaking.answer.pk)]


def test_an_estimate_is_called_one(reader: Office, alice: Person) -> None:
    make_llm()
    fund(alice.workspace, "1")
    conversation = conversation_of(alice)
    answer = settle(ask(alice, conversation), Outcome(status="interrupted", content="Hm"))

    said = read(reader, conversation)[str(answer.pk)]
    assert "Tokens are estimated: the provider reported none" in said


def test_calls_of_the_api_whose_content_is_not_kept_say_so(reader: Office, alice: Person) -> None:
    make_llm()
    fund(alice.workspace, "1")
    alice.workspace.keeps_api_content = False
    alice.workspace.save()
    prompt = (ChatMessage("user", "a secret"),)
    answer = settle(ask(alice, None, "a secret", turns=prompt), sent("as well"))
    alice.workspace.keeps_api_content = True
    alice.workspace.save()
    kept = settle(ask(alice, None, "in the open", turns=prompt), sent("for all"))
    conversation = Conversation.objects.get(workspace=alice.workspace, kind="api")
    page = reader.client.get(url_of(conversation))
    shown = turns(page)

    not_kept = "What was said is not kept: the workspace keeps no content of API calls."
    for message, is_kept in ((answer, False), (kept, True)):
        for key in (message.reply_to_id, message.pk):
            assert (not_kept in shown[str(key)]) is not is_kept
    assert "for all" in shown[str(kept.pk)]
    assert "These are calls of the API, one by one" in page.text
    assert "a secret" not in page.text


def test_an_empty_conversation_says_so(reader: Office, alice: Person) -> None:
    page = reader.client.get(url_of(conversation_of(alice)))

    assert turns(page) == {}
    assert "Nobody has written anything yet." in page.text
    assert "Without a title" in page.text


# --- Long ones ------------------------------------------------------------------------------------------------------


def say(conversation: Conversation, *texts: str) -> list[Message]:
    return Message.objects.bulk_create(
        Message(
            workspace_id=conversation.workspace_id,
            conversation=conversation,
            user_id=conversation.user_id,
            role="user",
            content=text,
        )
        for text in texts
    )


def test_a_long_text_is_folded_and_a_very_long_one_cut(reader: Office, alice: Person) -> None:
    conversation = conversation_of(alice)
    short, long, lines, endless = say(conversation, "x" * 1500, "y" * 1501, "z\n" * 30, "e" * 20_001)
    page = reader.client.get(url_of(conversation)).text
    parts = page.split('<li id="message-')
    html = {part[:36]: part for part in parts[1:]}

    assert "<details" not in html[str(short.pk)]
    assert "x" * 1500 in html[str(short.pk)]
    assert re.search(
        r"<details.*<summary>.*y{300}….*Show all 1,501 characters.*</summary>.*y{1501}<", html[str(long.pk)]
    )
    assert "Show all 60 characters" in html[str(lines.pk)]
    assert re.search(r"[^e]e{20000}<", html[str(endless.pk)])
    assert "e" * 20_001 not in page
    assert "The message goes on: it has 20,001 characters." in html[str(endless.pk)]
    assert f'<a href="/admin/conversations/message/{endless.pk}/change/">The whole message</a>' in html[str(endless.pk)]


def links(page: str) -> dict[str, str]:
    navigations = re.findall(r'<nav class="transcript-pages".*?</nav>', page)
    return {text: url for url, text in re.findall(r'<a href="([^"]+)">([^<]+)</a>', "".join(navigations))}


def test_a_long_conversation_is_read_page_by_page_both_ways(reader: Office, alice: Person) -> None:
    conversation = conversation_of(alice)
    keys = [str(message.pk) for message in say(conversation, *map(str, range(120)))]

    def walk(url: str, to: str) -> list[list[str]]:
        found = []
        while url:
            page = reader.client.get(url)
            found.append(list(turns(page)))
            url = links(page.text).get(to, "")
        return found

    first = url_of(conversation)
    assert walk(first, "Later messages") == [keys[:50], keys[50:100], keys[100:]]
    last = links(reader.client.get(first).text)["Last messages"]
    assert walk(last, "Earlier messages") == [keys[70:], keys[20:70], keys[:20]]
    middle = reader.client.get(first, {"after": keys[49]}).text
    assert set(links(middle)) == {"First messages", "Earlier messages", "Later messages", "Last messages"}
    assert list(turns(reader.client.get(links(middle)["First messages"]))) == keys[:50]
    assert set(links(reader.client.get(last).text)) == {"First messages", "Earlier messages"}


def test_it_is_read_from_a_message_on(reader: Office, alice: Person, cast: Cast) -> None:
    conversation = conversation_of(alice)
    keys = [str(message.pk) for message in say(conversation, *map(str, range(60)))]
    [strange] = say(conversation_of(cast.charlie), "strange")

    page = reader.client.get(url_of(conversation), {"from": keys[30]})
    assert list(turns(page)) == keys[30:]
    assert set(links(page.text)) == {"First messages", "Earlier messages"}
    assert "Earlier messages" not in reader.client.get(url_of(conversation), {"from": keys[0]}).text
    for name in ("from", "after", "before"):
        page = reader.client.get(url_of(conversation), {name: str(strange.pk)})
        assert turns(page) == {}
        assert "There is no such message in this conversation." in page.text
        assert reader.client.get(url_of(conversation), {name: "nonsense"}).status_code == 404


def test_messages_of_one_moment_are_neither_lost_nor_shown_twice(reader: Office, alice: Person) -> None:
    conversation = conversation_of(alice)
    messages = say(conversation, *map(str, range(120)))
    Message.objects.filter(workspace=alice.workspace).update(created_at=messages[0].created_at)
    keys = [str(message.pk) for message in messages]

    pages = [read(reader, conversation, **query) for query in ({}, {"after": keys[49]}, {"after": keys[99]})]
    assert [key for page in pages for key in page] == keys
    assert list(read(reader, conversation, before=keys[60])) == keys[10:60]


# --- The way there --------------------------------------------------------------------------------------------------


def test_the_pages_of_what_belongs_to_it_lead_to_the_place(reader: Office, talk: Talk) -> None:
    workspace = talk.conversation.workspace_id
    opinion = MessageFeedback.objects.get(workspace_id=workspace)
    log = UsageLog.objects.get(workspace_id=workspace, message=talk.answer, attempt=2)
    place = f"{url_of(talk.conversation)}?from={talk.answer.pk}#message-{talk.answer.pk}"

    for row in (talk.answer, log, opinion):
        model = type(row)._meta.model_name
        button = f"/admin/conversations/{model}/{row.pk}/transcript/"
        assert button in reader.open(row).text
        assert reader.client.get(button).headers["Location"] == place
    assert url_of(talk.conversation) in reader.open(talk.conversation).text
    assert reader.client.get(f"/admin/conversations/message/{log.pk}/transcript/").status_code == 404
    assert reader.client.get("/admin/conversations/message/nonsense/transcript/").status_code == 404
    assert reader.client.get("/admin/conversations/conversation/nonsense/transcript/").status_code == 404
    assert reader.client.get(f"/admin/conversations/conversation/{log.pk}/transcript/").status_code == 404


# --- Figures --------------------------------------------------------------------------------------------------------


def queries(office: Office, url: str, **query: Any) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert office.client.get(url, query).status_code == 200
    return len(captured)


def test_a_page_makes_the_same_few_queries_however_long_it_is(reader: Office, talk: Talk) -> None:
    """Session, user and their permissions (2), conversation, note of the reading, messages, attempts, feedback, tags,
    models; from a message on also its place, and whether there are earlier ones.
    """
    url = url_of(talk.conversation)
    queries(reader, url)  # content types are remembered
    assert queries(reader, url) == 11
    say(talk.conversation, *map(str, range(200)))
    assert queries(reader, url) == 11
    assert queries(reader, url, last=1) == 11
    assert queries(reader, url, after=talk.question.pk) == 12
    assert queries(reader, url, before=talk.failure.pk) == 12
    assert queries(reader, url, **{"from": talk.answer.pk}) == 13
