"""A whole installation, run as an operator would: ``manage.py`` in a process, with a database of its own."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx2
import psycopg

ROOT = Path(__file__).resolve().parent.parent
SERVER = os.environ.get("DATABASE_URL", "")


@dataclass(frozen=True)
class Server:
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                httpx2.get(f"{self.url}/api/v1/wallet", timeout=5)
            except httpx2.HTTPError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"the server did not come up:\n{self.log.read_text()}")


@dataclass(frozen=True)
class Installation:
    folder: Path
    database: str
    """A URL on PostgreSQL, a path on SQLite."""

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self._environment(environment), capture_output=True, text=True, timeout=300
        )

    def python(self, code: str) -> None:
        """Run a few lines with everything imported that a shell imports."""
        ended = self.manage("shell", "--verbosity", "0", "--command", code)
        assert ended.returncode == 0, ended.stderr

    @contextmanager
    def serve(self, **environment: str) -> Iterator[Server]:
        """A server process of this installation. It is killed at the end, should it still be there."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "synapscale.asgi:application", "--port", str(port)]
        with (self.folder / "server.log").open("w") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=self._environment(environment), stdout=log, stderr=subprocess.STDOUT
            )
        try:
            server = Server(f"http://127.0.0.1:{port}", process, self.folder / "server.log")
            server.wait_until_up()
            yield server
        finally:
            process.kill()
            process.wait()

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        where = {"DATABASE_URL": self.database} if SERVER else {"SQLITE_PATH": self.database}
        var = {"SYNAPSCALE_VAR_DIR": str(self.folder / "var"), "LOG_LEVEL": "WARNING"}
        return {**os.environ, **where, **var, **more}

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
            tables = [row[0] for row in self.sql("SELECT name FROM sqlite_master WHERE type = 'table'")]
            guards = self.sql("SELECT type || name FROM sqlite_master")
        if not tables:
            return {}
        contents = {str(table): sorted(self.sql(f'SELECT * FROM "{table}"'), key=repr) for table in tables}
        return {**contents, "guards": sorted(guards)}


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
