"""Tenancy: every row of a workspace is found by its workspace, in each statement the ORM makes; and the tables have the
shape that a sharded database asks for, though no cluster is at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, models, transaction
from django.test.utils import CaptureQueriesContext

from billing.models import BillingEvent, Hold, Wallet
from conversations.models import Conversation, ConversationLLM, Message, UsageLog
from llm.models import LLM
from synapscale.common.models import TenantFK, TenantModel, WorkspaceFK
from synapscale.common.tenancy import CONTROL, LOCAL, data_tables
from tests.full import fill
from tests.house import house
from tests.people import Cast
from tests.tenancy_guard import missing

__all__ = ["house"]
ALL = apps.get_models(include_auto_created=True)
FOR_OPERATORS = {
    "billing_events_unusual",
    "holds_unusual",
    "messages_failed",
    "usage_logs_by_moment",
    "usage_logs_by_request",
    "usage_logs_unusual",
}
"""Indexes for figures and lists of all workspaces at once; no unique one may be here."""
DATA_MODELS = [model for model in ALL if issubclass(model, TenantModel)]


def by_table(model: type[models.Model]) -> str:
    return model._meta.db_table


# --- The registry -----------------------------------------------------------------------------------------------------


def test_every_table_is_of_exactly_one_kind() -> None:
    kinds = [CONTROL, data_tables(), LOCAL]
    tables = {model._meta.db_table for model in ALL} | {"django_migrations"}
    assert {table: sum(table in kind for kind in kinds) for table in tables} == dict.fromkeys(tables, 1)
    assert set.union(*map(set, kinds)) == tables


def test_the_tenants_tables_are_these() -> None:
    assert data_tables() == {
        "agent_hours",
        "agents",
        "alert_deliveries",
        "alerts",
        "billing_events",
        "conversation_llms",
        "conversations",
        "hold_incidents",
        "holds",
        "idempotency_keys",
        "latency_days",
        "message_feedbacks",
        "message_images",
        "messages",
        "rate_buckets",
        "report_mails",
        "report_runs",
        "reports",
        "tag_links",
        "tag_rules",
        "tags",
        "token_spends",
        "usage_days",
        "usage_hours",
        "usage_logs",
        "usage_tail",
        "user_days",
        "wallets",
    }


@pytest.mark.django_db
def test_no_other_table_is_in_the_database() -> None:
    assert set(connection.introspection.table_names()) == CONTROL | data_tables() | LOCAL


def test_no_key_points_at_a_tenants_row_from_outside_or_past_the_tenant_key() -> None:
    for model in ALL:
        for field in model._meta.local_fields:
            if not isinstance(field, models.ForeignKey):
                continue
            target = field.related_model._meta.db_table
            where = f"{model._meta.db_table}.{field.column} -> {target}"
            if target in data_tables():
                assert issubclass(model, TenantModel), where
                assert isinstance(field, TenantFK), where
            elif model._meta.db_table in data_tables() | CONTROL:
                assert target in CONTROL, where
            else:
                assert not isinstance(field, TenantFK), where


@pytest.mark.parametrize("model", DATA_MODELS, ids=by_table)
def test_a_tenants_row_belongs_to_a_workspace_for_good(model: type[TenantModel]) -> None:
    workspace = model._meta.get_field("workspace")
    assert isinstance(workspace, WorkspaceFK)
    assert (workspace.null, workspace.column, workspace.remote_field.on_delete) == (
        False,
        "workspace_id",
        models.PROTECT,
    )
    assert workspace.remote_field.related_name == model._meta.db_table
    assert isinstance(model._meta.pk, models.UUIDField)
    assert model._meta.pk.column == "id"
    assert model().pk.version == 7


@pytest.mark.parametrize("model", DATA_MODELS, ids=by_table)
def test_unique_constraints_and_indexes_start_with_the_workspace(model: type[TenantModel]) -> None:
    rules = [*model._meta.indexes, *(c for c in model._meta.constraints if isinstance(c, models.UniqueConstraint))]
    others = {rule.name for rule in rules if next(iter(rule.fields)) != "workspace"}
    assert others <= FOR_OPERATORS
    assert f"{model.__name__.lower()}_tenant_key" in {rule.name for rule in rules}
    assert not model._meta.unique_together
    alone = {field.name for field in model._meta.local_fields if field.unique or field.db_index}
    assert alone == {"id"}


@pytest.mark.parametrize("model", DATA_MODELS, ids=by_table)
def test_money_rows_are_not_deleted_with_what_they_point_at(model: type[TenantModel]) -> None:
    for field in model._meta.local_fields:
        if isinstance(field, models.ForeignKey):
            assert field.remote_field.on_delete is models.PROTECT, field.name


# --- The database's own word ------------------------------------------------------------------------------------------

on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="asks PostgreSQL's catalogue")


def fetch(sql: str, *params: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()


@on_postgresql
@pytest.mark.django_db
@pytest.mark.fleet
def test_in_the_catalogue_every_index_but_the_primary_key_starts_with_the_workspace() -> None:
    found = fetch(
        "SELECT c.relname, i.relname, x.indisprimary, a.attname FROM pg_index x "
        "JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[0] WHERE c.relname = ANY(%s)",
        sorted(data_tables()),
    )
    assert {table for table, *_ in found} == data_tables()
    assert {index for _, index, is_primary, first in found if first != "workspace_id" and not is_primary} == (
        FOR_OPERATORS
    )
    assert sorted(table for table, _, is_primary, first in found if is_primary) == sorted(data_tables())


@on_postgresql
@pytest.mark.django_db
@pytest.mark.fleet
@pytest.mark.parametrize("table", sorted(data_tables()))
def test_postgresql_itself_would_partition_the_table_by_workspace(table: str) -> None:
    """The oracle for the shape: a partitioned table takes only unique indexes that contain the partition's key, which
    is the rule of a sharded one too.

    The primary key is left out, ``(id)`` alone: a cluster has no use for it once ``(workspace_id, id)``, which every
    tenant table has and every foreign key points at, takes its place.
    """
    fetch_nothing(
        f'CREATE TABLE oracle (LIKE "{table}" INCLUDING DEFAULTS INCLUDING CONSTRAINTS) '
        "PARTITION BY HASH (workspace_id)"
    )
    indexes = fetch(
        "SELECT i.relname, pg_get_indexdef(x.indexrelid) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid "
        "WHERE x.indrelid = %s::regclass AND NOT x.indisprimary",
        table,
    )
    columns = [definition.split("USING btree ")[1] for _, definition in indexes]
    assert "(workspace_id, id)" in columns
    for name, definition in indexes:
        kind = "UNIQUE INDEX" if definition.startswith("CREATE UNIQUE") else "INDEX"
        fetch_nothing(f'CREATE {kind} "oracle_{name}" ON oracle USING btree {definition.split("USING btree ")[1]}')
    assert fetch("SELECT count(*) FROM pg_index WHERE indrelid = 'oracle'::regclass") == [(len(indexes),)]
    with pytest.raises(Exception, match="unique constraint on partitioned table must include all partitioning columns"):
        fetch_nothing("CREATE UNIQUE INDEX ON oracle (id)")


@on_postgresql
@pytest.mark.django_db
@pytest.mark.fleet
def test_in_the_catalogue_no_key_points_at_the_id_of_a_tenants_row_alone() -> None:
    """Or the primary key could not give way."""
    found = fetch(
        "SELECT conname FROM pg_constraint WHERE contype = 'f' AND confrelid::regclass::text = ANY(%s) "
        "AND array_length(confkey, 1) < 2",
        sorted(data_tables()),
    )
    assert found == []


def fetch_nothing(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


# --- What the ORM says ------------------------------------------------------------------------------------------------


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


pytestmark = pytest.mark.django_db


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
