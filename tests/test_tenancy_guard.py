"""The guard guarded: it finds SQL that names no workspace, and lets SQL pass that does."""

from __future__ import annotations

import pytest
from django.db import connection

from conversations.models import Message
from synapscale.common.tenancy import fleet_wide
from tests import tenancy_guard
from tests.tenancy_guard import MissingWorkspace, data_tables, missing

GOOD = [
    'SELECT "messages"."id" FROM "messages" WHERE "messages"."workspace_id" = %s',
    'SELECT "messages"."id" FROM "messages" WHERE ("messages"."id" = %s AND "messages"."workspace_id" = %s) LIMIT 21',
    'SELECT "messages"."id" FROM "messages" WHERE "messages"."workspace_id" IN (%s, %s)',
    'SELECT * FROM "messages" WHERE %s = ("messages"."workspace_id")',
    'SELECT * FROM "messages" INNER JOIN "conversations" ON ("messages"."conversation_id" = "conversations"."id" AND '
    '("conversations"."workspace_id" = ("messages"."workspace_id"))) WHERE "messages"."workspace_id" = %s',
    'SELECT * FROM "messages" INNER JOIN "conversations" ON ("messages"."conversation_id" = "conversations"."id" AND '
    '("conversations"."workspace_id" = ("messages"."workspace_id"))) WHERE "conversations"."workspace_id" = %s',
    'SELECT * FROM "messages" T3 WHERE T3."workspace_id" = %s',
    'SELECT 1 AS "a" FROM "messages" WHERE (EXISTS(SELECT 1 AS "a" FROM "usage_logs" U0 WHERE U0."workspace_id" = '
    '("messages"."workspace_id")) AND "messages"."workspace_id" = %s)',
    'SELECT COUNT(*) FROM (SELECT "holds"."id" FROM "holds" WHERE "holds"."workspace_id" = %s) subquery',
    'UPDATE "wallets" SET "held" = ("wallets"."held" + %s) WHERE ("wallets"."id" = %s AND '
    '"wallets"."workspace_id" = %s)',
    "UPDATE wallets SET held = 1 WHERE workspace_id = %(workspace)s AND id = %(wallet)s",
    "WITH w AS (UPDATE wallets SET seq = seq + 1 WHERE workspace_id = %(w)s RETURNING id) "
    "INSERT INTO billing_events (id, workspace_id) SELECT id, %(w)s FROM w",
    'DELETE FROM "messages" WHERE "messages"."workspace_id" = %s',
    'INSERT INTO "messages" ("id", "created_at", "workspace_id") VALUES (%s, %s, %s)',
    'SELECT * FROM "conversations" INNER JOIN "workspaces" ON ("conversations"."workspace_id" = "workspaces"."id") '
    'WHERE "workspaces"."id" = %s',
    'SELECT * FROM "workspaces" INNER JOIN "memberships" ON ("workspaces"."id" = "memberships"."workspace_id")',
    'SELECT "llms"."id" FROM "llms" WHERE "llms"."name" = %s',
    "SELECT a.id FROM messages a, conversations b WHERE a.workspace_id = %s AND b.workspace_id = a.workspace_id",
    "SELECT id FROM messages WHERE workspace_id = %s UNION SELECT id FROM messages WHERE workspace_id = %s",
    "CREATE INDEX i ON messages (id)",
    'SAVEPOINT "s1"',
    "SELECT count(*) FROM messages_archive",
]
BAD = [
    ("SELECT * FROM messages", ["messages"]),
    ("select * from messages where id = 1", ["messages"]),
    ('  \n SELECT "messages"."id", "messages"."workspace_id" FROM "messages" WHERE "messages"."id" = %s', ["messages"]),
    ('SELECT * FROM "public"."messages" WHERE "messages"."id" = %s', ["messages"]),
    ("SELECT * FROM messages msg WHERE msg.id = %s", ["messages"]),
    ("SELECT * FROM ONLY messages WHERE id = %s", ["messages"]),
    # A join is not a name: this reads every workspace.
    (
        'SELECT * FROM "messages" INNER JOIN "conversations" ON ("messages"."conversation_id" = "conversations"."id" '
        'AND ("conversations"."workspace_id" = ("messages"."workspace_id")))',
        ["messages", "conversations"],
    ),
    (
        'SELECT * FROM "messages" INNER JOIN "conversations" ON ("messages"."conversation_id" = "conversations"."id") '
        'WHERE "messages"."workspace_id" = %s',
        ["conversations"],
    ),
    # By a property of the workspace: a look-up in every shard.
    (
        'SELECT * FROM "conversations" INNER JOIN "workspaces" ON ("conversations"."workspace_id" = "workspaces"."id") '
        'WHERE "workspaces"."slug" = %s',
        ["conversations"],
    ),
    # The new value is not the condition.
    ('UPDATE "messages" SET "workspace_id" = %s, "content" = %s WHERE "messages"."id" = %s', ["messages"]),
    ("UPDATE messages SET workspace_id = %s", ["messages"]),
    ('DELETE FROM "messages" WHERE "messages"."id" IN (%s)', ["messages"]),
    ('INSERT INTO "messages" ("id", "created_at") VALUES (%s, %s)', ["messages"]),
    ('SELECT * FROM "messages" WHERE NOT ("messages"."workspace_id" = %s)', ["messages"]),
    ('SELECT * FROM "messages" WHERE "messages"."workspace_id" IS NOT NULL', ["messages"]),
    ('SELECT * FROM "messages" WHERE "messages"."content" = \'messages.workspace_id = 1\'', ["messages"]),
    ("SELECT a.id FROM messages a, conversations b WHERE a.workspace_id = %s", ["conversations"]),
    ("SELECT id FROM messages WHERE workspace_id = %s UNION SELECT id FROM messages", ["messages"]),
    (
        'SELECT 1 FROM "messages" WHERE "messages"."workspace_id" = %s AND EXISTS(SELECT 1 FROM "usage_logs" U0 WHERE '
        'U0."message_id" = ("messages"."id"))',
        ["usage_logs"],
    ),
    ('SELECT 1 FROM "workspaces" INNER JOIN "holds" ON ("workspaces"."id" = "holds"."workspace_id")', ["holds"]),
]


@pytest.mark.parametrize("sql", GOOD)
def test_sql_that_names_the_workspace_passes(sql: str) -> None:
    assert missing(sql) == []


@pytest.mark.parametrize(("sql", "tables"), BAD)
def test_sql_that_names_no_workspace_is_found(sql: str, tables: list[str]) -> None:
    assert missing(sql) == tables


@pytest.mark.parametrize("table", sorted(data_tables()))
def test_every_tenant_table_is_watched(table: str) -> None:
    assert missing(f'SELECT * FROM "{table}" WHERE "{table}"."id" = %s') == [table]
    assert missing(f'SELECT * FROM "{table}" WHERE "{table}"."workspace_id" = %s') == []


@pytest.mark.django_db
def test_in_a_test_such_a_statement_fails() -> None:
    with pytest.raises(MissingWorkspace, match="messages without workspace_id: SELECT"):
        Message.objects.first()
    with pytest.raises(MissingWorkspace), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM holds")


@pytest.mark.django_db
def test_what_is_meant_for_all_workspaces_says_so() -> None:
    with fleet_wide():
        assert Message.objects.first() is None
    with pytest.raises(MissingWorkspace):
        Message.objects.first()


@pytest.mark.django_db
@pytest.mark.fleet
def test_a_test_may_be_exempt() -> None:
    assert Message.objects.first() is None


@pytest.mark.django_db(transaction=True)
def test_other_threads_are_watched_too() -> None:
    import threading

    said: list[str] = []

    def look() -> None:
        try:
            Message.objects.first()
        except MissingWorkspace as error:
            said.append(str(error)[:8])
        finally:
            connection.close()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert said == ["messages"]


def test_it_is_off_outside_of_tests() -> None:
    tenancy_guard.switch(False)
    called = []
    tenancy_guard.wrapper(lambda *given: called.append(given), "SELECT * FROM messages", None, False, {})
    assert len(called) == 1
