"""A whole installation, run as an operator would: ``manage.py`` in a process, with a database of its own."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

ROOT = Path(__file__).resolve().parent.parent
SERVER = os.environ.get("DATABASE_URL", "")


@dataclass(frozen=True)
class Installation:
    folder: Path
    database: str
    """A URL on PostgreSQL, a path on SQLite."""

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        where = {"DATABASE_URL": self.database} if SERVER else {"SQLITE_PATH": self.database}
        env = {
            **os.environ,
            **where,
            "SYNAPSCALE_VAR_DIR": str(self.folder / "var"),
            "LOG_LEVEL": "WARNING",
            **environment,
        }
        return subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300
        )

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        if SERVER:
            with psycopg.connect(self.database, autocommit=True) as connection:
                cursor = connection.execute(statement)
                return cursor.fetchall() if cursor.description else []
        connection = sqlite3.connect(self.database)
        try:
            with connection:
                return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def state(self) -> dict[str, list[tuple[object, ...]]]:
        """All there is in the database, table by table, and what guards it."""
        if SERVER:
            tables = [row[0] for row in self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
            guards = self.sql(
                "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal UNION SELECT conname FROM pg_constraint"
            )
        else:
            if not Path(self.database).exists():
                return {}
            tables = [row[0] for row in self.sql("SELECT name FROM sqlite_master WHERE type = 'table'")]
            guards = self.sql("SELECT type || name FROM sqlite_master")
        contents = {str(table): sorted(self.sql(f'SELECT * FROM "{table}"'), key=repr) for table in tables}
        return {**contents, "guards": sorted(guards) if tables else []}


@contextmanager
def scratch(folder: Path, *, like: Installation | None = None) -> Iterator[Installation]:
    """An empty installation, or a copy of another."""
    folder.mkdir(parents=True, exist_ok=True)
    if like is not None:
        shutil.copytree(like.folder / "var", folder / "var")
    if not SERVER:
        path = folder / "database.sqlite3"
        if like is not None:
            with sqlite3.connect(like.database) as source, sqlite3.connect(path) as target:
                source.backup(target)
            source.close()
            target.close()
        yield Installation(folder, str(path))
        return
    name = f"scratch_{uuid.uuid4().hex}"
    template = f" TEMPLATE {urlsplit(like.database).path[1:]}" if like else ""
    with psycopg.connect(SERVER, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}{template}")
        try:
            yield Installation(folder, urlunsplit(urlsplit(SERVER)._replace(path=f"/{name}")))
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")
