"""Lists of tables that grow with every call: counted so far and no further, sorted by time, searched by what has an index."""

from __future__ import annotations

import re
from typing import Any

import pytest

from billing.models import BillingEvent, Hold
from conversations.models import Conversation, Message, UsageLog
from llm.models import LLM
from synapscale.common import listing
from tests.admin.rows import Office, answer_in, conversation_of, make_workplace
from tests.admin.test_lists import queries
from tests.people import Cast, fund


@pytest.fixture
def talk(cast: Cast, llm: LLM) -> Conversation:
    """Twelve messages of Alice's, and two of Charlie's, who is in another workspace."""
    for person, answers in ((cast.charlie, 1), (cast.alice, 6)):
        fund(person.workspace, "5")
        conversation = conversation_of(person)
        for _ in range(answers):
            answer_in(conversation, person, llm)
    return conversation


def keys(response: Any) -> list[Any]:
    assert response.status_code == 200, response
    return [row.pk for row in response.context["cl"].result_list]


def counted(response: Any) -> str:
    """What the list says about how many there are."""
    found = re.search(r'<div class="py-4">\s*-?\s*([\w ,]+?)\s+(\w+)\s*</div>', response.text)
    assert found is not None
    return f"{found[1]} {found[2]}"


def test_rows_are_counted_up_to_ten_thousand(office: Office, talk: Conversation) -> None:
    assert listing.COUNTED == 10_000
    assert counted(office.list(Message)) == "14 messages"
    assert any("LIMIT 10001" in sql for sql in queries(lambda: office.list(Message)))


@pytest.mark.parametrize(("limit", "said"), [(13, "more than 13 messages"), (14, "14 messages"), (15, "14 messages")])
def test_a_number_is_shown_that_is_right(
    office: Office, talk: Conversation, monkeypatch: pytest.MonkeyPatch, limit: int, said: str
) -> None:
    monkeypatch.setattr(listing, "COUNTED", limit)

    assert counted(office.list(Message)) == said


def test_a_filtered_list_says_more_than_as_well(
    office: Office, talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "COUNTED", 10)

    page = office.list(Message, status__exact="sent").text
    assert "more than 10 results" in " ".join(page.split())
    assert "Select all" not in page.partition("changelist-actions")[2].partition("</form>")[0]
    assert "7 results" in " ".join(office.list(UsageLog, status__exact="success").text.split())


@pytest.mark.parametrize("query", [{}, {"o": "0"}, {"status__exact": "sent"}], ids=["newest", "oldest", "filtered"])
def test_one_comes_to_every_row_once_page_by_page(
    office: Office, talk: Conversation, monkeypatch: pytest.MonkeyPatch, query: dict[str, str]
) -> None:
    monkeypatch.setattr(listing, "COUNTED", 6)
    monkeypatch.setattr("conversations.admin.MessageAdmin.list_per_page", 3)

    seen: list[Any] = []
    url = ""
    for _ in range(20):
        response = office.client.get(office.url(Message, "changelist") + url) if url else office.list(Message, **query)
        changelist = response.context["cl"]
        seen += keys(response)
        if changelist.page_num < changelist.paginator.num_pages:
            url = changelist.get_query_string({"p": changelist.page_num + 1})
            continue
        if not changelist.further_url:
            break
        assert f'href="{changelist.further_url.replace("&", "&amp;")}"' in response.text
        url = changelist.further_url

    assert len(seen) == 14
    assert seen == sorted(seen, reverse=query.get("o") is None)
    assert counted(response) == "2 messages"
    assert response.context["cl"].begin_url == (f"?{'&'.join(f'{key}={value}' for key, value in query.items())}")


def test_a_page_after_the_last_one_is_none(office: Office, talk: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "COUNTED", 6)
    monkeypatch.setattr("conversations.admin.MessageAdmin.list_per_page", 3)

    assert office.list(Message, p=3).status_code == 302  # to the first page
    assert len(keys(office.list(Message, p=2))) == 3


def test_a_big_list_is_sorted_by_time_alone(office: Office, talk: Conversation) -> None:
    newest = keys(office.list(Message))
    headers = re.findall(r'href="(\?o=[^"]+)"', office.list(Message).text)

    assert newest == sorted(newest, reverse=True)
    assert {header.lstrip("?o=").lstrip("-").rstrip(".") for header in headers} == {"0"}
    assert keys(office.list(Message, o="0")) == newest[::-1]
    assert keys(office.list(Message, o="6")) == newest  # typed into the address: a column without an index
    assert "?o=" in office.list(Conversation).text


def test_nothing_found_is_looked_for_once(office: Office, talk: Conversation) -> None:
    made = queries(lambda: office.list(UsageLog, status__exact="lost"))

    assert len([sql for sql in made if 'FROM "usage_logs"' in sql]) == 1
    assert keys(office.list(UsageLog, status__exact="lost")) == []


def test_a_search_reads_the_columns_of_a_big_table_once(office: Office, talk: Conversation, cast: Cast) -> None:
    charge = BillingEvent.objects.filter(workspace=cast.alice.workspace, event_type="usage").first()
    assert charge is not None

    made = queries(lambda: office.list(BillingEvent, q=charge.reference))
    assert len([sql for sql in made if "LIKE" in sql]) == 1
    assert keys(office.list(BillingEvent, q=charge.reference)) == [charge.pk]
    assert len(keys(office.list(BillingEvent, q="message:"))) == 7
    assert len(keys(office.list(BillingEvent, q="alice@example.org"))) == 6


def test_a_search_that_finds_very_many_finds_them_all(
    office: Office, talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MAX_KEYS", 3)

    assert len(keys(office.list(BillingEvent, q="message:"))) == 7


def test_an_id_finds_the_row_or_what_belongs_to_it(office: Office, talk: Conversation, cast: Cast) -> None:
    message = Message.objects.filter(workspace=cast.alice.workspace).first()
    assert message is not None

    assert keys(office.list(Message, q=str(message.pk))) == [message.pk]
    assert len(keys(office.list(Message, q=str(talk.pk)))) == 12
    assert len(keys(office.list(Message, q=str(cast.charlie.workspace.pk)))) == 2


def test_only_answers_wait_or_fail(office: Office, talk: Conversation) -> None:
    sql = " ".join(queries(lambda: office.list(Message, status__exact="streaming")))

    assert sql.count("'assistant'") == 1  # and so the index of open answers serves it
    assert len(keys(office.list(Message, status__exact="sent"))) == 14


def test_a_row_links_no_big_list_that_no_index_narrows(office: Office) -> None:
    owner = make_workplace(1)
    llm = LLM.objects.get()
    of_llm, of_user = office.open(llm).text, office.open(owner.user).text
    of_conversation = office.open(Conversation.objects.get(workspace=owner.workspace)).text

    assert f"/admin/conversations/usagelog/?llm__id__exact={llm.pk}" in of_llm
    assert f"/admin/conversations/message/?llm__id__exact={llm.pk}" not in of_llm
    assert f"/admin/conversations/conversation/?user__id__exact={owner.user.pk}" in of_user
    assert f"/admin/billing/hold/?user__id__exact={owner.user.pk}" not in of_user
    assert "/admin/conversations/message/?workspace__id__exact=" in of_conversation


def test_which_columns_have_an_index() -> None:
    assert listing.has_index(Message, "conversation")
    assert listing.has_index(UsageLog, "workspace")
    assert listing.has_index(UsageLog, "llm")
    assert not listing.has_index(Message, "llm")
    assert not listing.has_index(BillingEvent, "hold")  # of charges for usage alone
    assert not listing.has_index(Hold, "user")
