"""Migration operations for what Django's models can't say: composite foreign keys and triggers."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.db import migrations

from synapscale.common.models import TenantFK


def add_tenant_foreign_keys(
    app_label: str, *, models: Iterable[str], fields: Collection[str] | None = None
) -> migrations.RunPython:
    """On PostgreSQL, ``(workspace_id, x_id) -> (workspace_id, id)`` for every TenantFK of ``models``, or for those that
    ``fields`` names.

    SQLite gets plain foreign keys when the tables are created (see ``TenantFK``).
    """

    def forwards(apps: Any, schema_editor: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            return
        for name in models:
            model = apps.get_model(app_label, name)
            for field in model._meta.local_fields:
                if isinstance(field, TenantFK) and (fields is None or field.name in fields):
                    table, column, target = model._meta.db_table, field.column, field.related_model._meta.db_table
                    schema_editor.execute(
                        f'ALTER TABLE "{table}" ADD CONSTRAINT "{table}_{column}_tenant_fk" '
                        f'FOREIGN KEY (workspace_id, "{column}") REFERENCES "{target}" (workspace_id, id) '
                        f"DEFERRABLE INITIALLY DEFERRED"
                    )

    return migrations.RunPython(forwards, migrations.RunPython.noop)


def triggers(*, postgresql: str, sqlite: Iterable[str]) -> migrations.RunPython:
    """Run the trigger definitions of the engine at hand. They go with their tables when a migration is reversed."""

    def forwards(apps: Any, schema_editor: Any) -> None:
        with schema_editor.connection.cursor() as cursor:
            if schema_editor.connection.vendor == "postgresql":
                cursor.execute(postgresql)
            else:
                for statement in sqlite:
                    cursor.execute(statement)

    return migrations.RunPython(forwards, migrations.RunPython.noop)


def triggers_on_sqlite(*statements: str) -> migrations.RunPython:
    """Create triggers again after SQLite has rebuilt their table to alter it; PostgreSQL has kept them."""

    def forwards(apps: Any, schema_editor: Any) -> None:
        if schema_editor.connection.vendor == "sqlite":
            for statement in statements:
                schema_editor.execute(statement)

    return migrations.RunPython(forwards, migrations.RunPython.noop)


def append_only(table: str) -> migrations.RunPython:
    """Forbid UPDATE and DELETE (and TRUNCATE) on ``table``: corrections are new rows."""
    return triggers(
        postgresql=f"""
            CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                RAISE EXCEPTION 'append-only: % on %', TG_OP, TG_TABLE_NAME USING ERRCODE = '23514';
            END $$;
            CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}
                FOR EACH ROW EXECUTE FUNCTION refuse_change();
            CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}
                FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
        """,
        sqlite=[
            f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} "
            f"BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on {table}'); END",
            f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} "
            f"BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on {table}'); END",
        ],
    )
