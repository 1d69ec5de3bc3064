"""Tenancy: every row of a workspace is found by its workspace, in each statement that the ORM makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import IntegrityError, connection, models, transaction
from django.test.utils import CaptureQueriesContext

from billing.models import BillingEvent, Hold, Wallet
from conversations.models import Conversation, ConversationLLM, Message, UsageLog
from llm.models import LLM
from tests.full import fill
from tests.house import house
from tests.people import Cast
from tests.tenancy_guard import missing

__all__ = ["house"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def books(cast: Cast, llm: LLM) -> Cast:
    fill(cast.alice, llm)
    fill(cast.charlie, llm)
    return cast


@pytest.fixture
def message(books: Cast) -> Message:
    return Message.objects.get(workspace=books.alice.workspace, role="assistant")


@contextmanager
def statements() -> Iterator[list[str]]:
    """The statements of the block; each names the workspace of each tenant table, and there is one at least."""
    said: list[str] = []
    with CaptureQueriesContext(connection) as queries:
        yield said
    said += [query["sql"] for query in queries.captured_queries]
    assert said
    assert [missing(sql) for sql in said] == [[]] * len(said)


def where(sql: str) -> str:
    return sql.partition(" WHERE ")[2]


def test_forward_access_names_the_workspace(message: Message) -> None:
    message = Message.objects.get(workspace_id=message.workspace_id, pk=message.pk)
    with statements() as said:
        assert message.conversation.title == "First"
    assert len(said) == 1
    assert '"conversations"."workspace_id" = ' in where(said[0])
    assert '"conversations"."id" = ' in where(said[0])


@pytest.mark.parametrize("name", ["hold", "reply_to", "conversation"])
def test_every_forward_access_names_the_workspace(message: Message, name: str) -> None:
    message = Message.objects.get(workspace_id=message.workspace_id, pk=message.pk)
    with statements():
        assert getattr(message, name).workspace_id == message.workspace_id


@pytest.mark.parametrize("name", ["usage_logs", "message_feedbacks", "idempotency_keys"])
def test_a_reverse_manager_names_the_workspace(message: Message, name: str) -> None:
    with statements() as said:
        rows = getattr(message, name)
        assert rows.count() == 1
        assert rows.filter(created_at__isnull=False).exists()
        assert rows.get().message_id == message.pk
        assert rows.first() is not None
    assert all(f'"{name}"."workspace_id" = ' in where(sql) for sql in said)


def test_a_row_added_by_a_reverse_manager_is_of_the_same_workspace(message: Message) -> None:
    conversation = message.conversation
    fields = {"user": message.user, "role": "user"}
    with statements():
        rows = [
            conversation.messages.create(content="a", **fields),
            conversation.messages.get_or_create(content="b", defaults=fields)[0],
            conversation.messages.update_or_create(content="c", defaults=fields)[0],
        ]
    assert {row.workspace_id for row in rows} == {conversation.workspace_id}
    assert conversation.messages.count() == 5


def test_reverse_access_over_two_steps(books: Cast, message: Message) -> None:
    with statements() as said:
        assert list(message.conversation.agent.conversations.all()) == [message.conversation]
        assert message.conversation.messages.count() == 2
    assert len(said) >= 2


@pytest.mark.parametrize(
    "lookup",
    [
        "conversation",
        "hold__wallet",
        "conversation__agent",
        "usage_logs__billing_event",
        "conversation__messages",
        "conversation__conversation_llms",
        "replies",
        "message_feedbacks",
        "hold__billing_events__corrections",
        "hold__incidents",
    ],
)
def test_prefetching_names_the_workspaces(books: Cast, message: Message, lookup: str) -> None:
    rows = Message.objects.filter(workspace__in=[books.alice.workspace, books.charlie.workspace], role="assistant")
    with statements() as said:
        fetched = list(rows.prefetch_related(lookup))
    assert len(fetched) == 2
    assert len(said) == 2 + lookup.count("__")
    with CaptureQueriesContext(connection) as queries:
        for row in fetched:
            reached: list[Any] = [row]
            for step in lookup.split("__"):
                reached = [
                    found
                    for one in reached
                    for found in (
                        getattr(one, step).all() if hasattr(getattr(one, step), "all") else [getattr(one, step)]
                    )
                ]
            assert {one.workspace_id for one in reached} <= {row.workspace_id}
            assert reached or lookup == "replies"
    assert queries.captured_queries == []


def test_a_prefetch_with_a_queryset_of_its_own_names_the_workspaces(books: Cast) -> None:
    own = models.Prefetch("messages", queryset=Message.objects.filter(role="assistant"), to_attr="answers")
    with statements():
        (conversation,) = Conversation.objects.filter(workspace=books.alice.workspace).prefetch_related(own)
    assert [answer.role for answer in conversation.answers] == ["assistant"]


def test_joins_name_the_workspace_on_both_sides(books: Cast) -> None:
    acme = books.alice.workspace
    with statements() as said:
        rows = UsageLog.objects.filter(workspace=acme).select_related("message__conversation__agent", "hold__wallet")
        assert rows.get().message.conversation.agent.name == "Helper"
    assert len(said) == 1
    for table in ("messages", "conversations", "agents", "holds", "wallets"):
        assert f'"{table}"."workspace_id" = (' in said[0]


def test_filters_and_aggregates_across_joins_name_the_workspace(books: Cast) -> None:
    acme = books.alice.workspace
    with statements():
        assert Conversation.objects.filter(workspace=acme, messages__usage_logs__status="success").count() == 1
        assert Conversation.objects.filter(workspace=acme).exclude(messages__usage_logs__status="lost").count() == 1
        assert Conversation.objects.filter(workspace=acme).exclude(messages__content="Hello").count() == 0
        counted = Conversation.objects.filter(workspace=acme).annotate(n=models.Count("messages"))
        assert counted.get().n == 2
        assert Wallet.objects.filter(workspace=acme, holds__state="settled").aggregate(s=models.Sum("holds__amount"))[
            "s"
        ]
        assert BillingEvent.objects.filter(workspace=acme, original__event_type="usage").get().event_type == "refund"
        newest = Message.objects.filter(workspace=models.OuterRef("workspace"), conversation=models.OuterRef("pk"))
        answered = Conversation.objects.filter(workspace=acme).annotate(last=models.Subquery(newest.values("role")[:1]))
        assert answered.get().last in {"user", "assistant"}


def test_saving_names_the_workspace(message: Message) -> None:
    message = Message.objects.get(workspace_id=message.workspace_id, pk=message.pk)
    conversation = message.conversation
    conversation.title = "Renamed"
    with statements() as said:
        conversation.save()
        conversation.save(update_fields=["title"])
    assert len(said) == 2
    assert all('"conversations"."workspace_id" = ' in where(sql) for sql in said)


def test_reading_again_names_the_workspace(message: Message) -> None:
    with statements() as said:
        message.refresh_from_db()
        message.refresh_from_db(fields=["content"])
        message.refresh_from_db(from_queryset=Message.objects.select_related("conversation"))
    assert all('"messages"."workspace_id" = ' in where(sql) for sql in said)
    with statements():
        assert Message.objects.filter(workspace_id=message.workspace_id).defer("content").first().content == "Hello"


@pytest.mark.fleet
def test_a_row_read_without_its_workspace_finds_it_by_its_id(books: Cast, django_assert_num_queries: Any) -> None:
    """Where else could it be looked up. Once it is there, everything names it again."""
    acme = books.alice.workspace
    for name in ("workspace_id", "reference"):
        event = BillingEvent.objects.only("seq").filter(workspace=acme).first()
        assert event is not None
        with django_assert_num_queries(1):
            assert getattr(event, name)
        assert event.workspace_id == acme.pk
    conversation = Conversation.objects.only("title").get(workspace=acme)
    conversation.title = "Renamed"
    conversation.save()
    conversation.refresh_from_db()
    assert (conversation.title, conversation.workspace_id) == ("Renamed", acme.pk)


@pytest.mark.fleet
def test_what_protects_a_row_can_be_told(books: Cast) -> None:
    """Django reads it with hardly a column, and without its workspace."""
    with pytest.raises(models.ProtectedError) as refused:
        books.alice.user.delete()
    assert "Conversation.user" in str(refused.value)
    with pytest.raises(models.ProtectedError) as refused:
        Wallet.objects.get(workspace=books.alice.workspace).delete()
    assert "Hold.wallet" in str(refused.value)


def test_deleting_by_a_queryset_names_the_workspace(message: Message) -> None:
    """``row.delete()`` does not: it asks every table that may point at the row, by its id alone. No request does it."""
    with statements():
        message.message_feedbacks.all().delete()
    assert message.message_feedbacks.count() == 0


def test_a_row_does_not_move_to_another_workspace(books: Cast, message: Message) -> None:
    """The update finds no row there, and a second row of the same id there can not be."""
    conversation = message.conversation
    conversation.workspace = books.charlie.workspace
    with pytest.raises(IntegrityError), transaction.atomic():
        conversation.save()
    assert Conversation.objects.filter(workspace=books.alice.workspace, pk=conversation.pk).exists()


def test_what_points_elsewhere_reads_as_nothing(books: Cast, message: Message) -> None:
    """A key that were to name another workspace's row finds nothing instead of showing it."""
    theirs = Hold.objects.get(workspace=books.charlie.workspace)
    message.hold_id = theirs.pk
    with pytest.raises(Hold.DoesNotExist):
        _ = message.hold
    rows = ConversationLLM.objects.filter(workspace=books.charlie.workspace, conversation=message.conversation_id)
    assert list(rows) == []
