"""Indexes on tables that are written to all the time."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db.migrations import AddIndex

_UNFINISHED = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(quote_ident(%s)) AND NOT indisvalid"
"""Of the index that this name means, as ``DROP INDEX`` finds it: whether PostgreSQL gave it up half-way."""


class AddIndexOnline(AddIndex):
    """Makes an index without keeping anybody from writing meanwhile, where the database can. It is no part of a transaction
    then: ``atomic = False`` in its migration. PostgreSQL leaves an index behind that could not be finished, marked invalid:
    migrating again drops that one and begins anew.

    ``manage.py setup`` does all its migrations in one transaction, to undo them if one fails. There it is made as any other.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        connection = schema_editor.connection
        if connection.vendor != "postgresql" or connection.in_atomic_block:
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        with connection.cursor() as cursor:
            # It waits for every older transaction, each time by a lock, and then reads the whole table.
            cursor.execute("SET statement_timeout = 0")
            cursor.execute("SET lock_timeout = 0")
        try:
            self._drop_unfinished(connection)
            online = AddIndexConcurrently(self.model_name, self.index)
            online.database_forwards(app_label, schema_editor, from_state, to_state)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET lock_timeout")
                cursor.execute("RESET statement_timeout")

    def _drop_unfinished(self, connection: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_UNFINISHED, [self.index.name])
            if cursor.fetchone():
                cursor.execute(f"DROP INDEX CONCURRENTLY {connection.ops.quote_name(self.index.name)}")
