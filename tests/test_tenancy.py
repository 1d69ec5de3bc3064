"""Tenancy: the tables have the shape that a sharded database asks for, though no cluster is at hand."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models

from synapscale.common.models import TenantFK, TenantModel, WorkspaceFK
from synapscale.common.tenancy import CONTROL, LOCAL
from tests.house import house
from tests.tenancy_guard import data_tables

__all__ = ["house"]
pytestmark = pytest.mark.django_db
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
