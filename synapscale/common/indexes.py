"""Indexes on tables that are written to all the time."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db.migrations import AddIndex


class AddIndexOnline(AddIndex):
    """Makes an index without keeping anybody from writing meanwhile, where the database can. It is no part of a transaction
    then: ``atomic = False`` in its migration. PostgreSQL leaves an index behind that could not be finished, marked invalid;
    drop it and migrate again.

    ``manage.py setup`` does all its migrations in one transaction, to undo them if one fails. There it is made as any other.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        connection = schema_editor.connection
        if connection.vendor != "postgresql" or connection.in_atomic_block:
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
        try:
            online = AddIndexConcurrently(self.model_name, self.index)
            online.database_forwards(app_label, schema_editor, from_state, to_state)
        finally:
            with schema_editor.connection.cursor() as cursor:
                cursor.execute("RESET statement_timeout")
