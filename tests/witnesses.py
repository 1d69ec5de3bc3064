"""Everything that the product says and writes, gathered while it runs, and the search for planted secrets in it."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from django.db import connection
from django.test import Client

from conversations import settling
from conversations.models import Message
from tests.people import Person


@dataclass(repr=False)
class Evidence:
    """What was said or written, and where: the first word of a place is its kind."""

    pieces: list[tuple[str, bytes]] = field(default_factory=list)

    def add(self, where: str, what: str | bytes) -> None:
        self.pieces.append((where, what.encode(errors="surrogateescape") if isinstance(what, str) else what))

    def places(self, secret: str) -> set[str]:
        """Where ``secret`` is, as it is or in any of its disguises."""
        forms = disguises(secret)
        return {where for where, what in self.pieces if any(form in what.lower() for form in forms)}

    def kinds(self) -> set[str]:
        return {where.partition(" ")[0] for where, _ in self.pieces}

    def of_kind(self, kind: str) -> list[bytes]:
        return [what for where, what in self.pieces if where.startswith(f"{kind} ")]


def disguises(secret: str) -> set[bytes]:
    """``secret`` as text, quoted, escaped, in hexadecimal and in base64 from any position, all in lower case."""
    raw = secret.encode()
    forms = {raw, quote(secret, safe="").encode(), raw.hex().encode(), repr(secret)[1:-1].encode()}
    # What stands before it decides how its bits are cut; the characters at both ends are its neighbours', too.
    forms |= {base64.b64encode(b"x" * shift + raw)[4:-4] for shift in range(3)}
    return {form.lower() for form in forms}


@dataclass(repr=False)
class Planted:
    """Every secret by what it is, and where it may be all the same."""

    secrets: dict[str, str] = field(default_factory=dict)
    allowed: dict[str, re.Pattern[str]] = field(default_factory=dict)

    def __call__(self, name: str, secret: str = "", *, allowed: str = "") -> str:
        """Plant ``secret``, or a new one. ``allowed`` matches the places where it belongs."""
        self.secrets[name] = secret = secret or f"sk-live-{name.replace(' ', '-')}-7f3a9c51d2-wxyz"
        self.allowed[name] = re.compile(allowed or "nowhere")
        return secret

    def found(self, evidence: Evidence) -> dict[str, set[str]]:
        """Where each secret is that must not be there. Its beginning tells its kind, its last four characters its
        owner which it is: those may be shown."""
        found = {}
        for name, secret in self.secrets.items():
            places = {place for place in evidence.places(secret[8:-4]) if not self.allowed[name].fullmatch(place)}
            if places:
                found[name] = places
        return found


# --- Witnesses --------------------------------------------------------------------------------------------------------


class _Listener(logging.Handler):
    """Notes what is logged as it is, before our own formatter has masked anything."""

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(logging.DEBUG)
        self.evidence = evidence

    def emit(self, record: logging.LogRecord) -> None:
        self.evidence.add(f"log {record.name}", self.format(record))


@contextmanager
def listening(evidence: Evidence) -> Iterator[None]:
    """Every logger is heard, as ``LOG_LEVEL=DEBUG`` leaves them."""
    known = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    heard = [logging.root, *(logger for logger in known if not logger.propagate)]
    levels, listener = [logger.level for logger in heard], _Listener(evidence)
    for logger in heard:
        logger.addHandler(listener)
        logger.setLevel(logging.DEBUG)
    yield
    for logger, level in zip(heard, levels, strict=True):
        logger.removeHandler(listener)
        logger.setLevel(level)


def watch_spool(evidence: Evidence, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look into the spool whenever an outcome lies in it, which is for a moment only."""
    settle = settling.settle

    def look_and_settle(**fields: Any) -> Message:
        for path in folder.iterdir():
            evidence.add(f"spool {path.suffix}", path.read_bytes())
        return settle(**fields)

    monkeypatch.setattr(settling, "settle", look_and_settle)


def dump(evidence: Evidence) -> None:
    """Note every value of every table."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                for name, value in zip(columns, row, strict=True):
                    what = bytes(value) if isinstance(value, bytes | memoryview) else str(value)
                    evidence.add(f"table {table}.{name}", what)


@dataclass(frozen=True)
class Web:
    """Asks the running server, and notes what it answers."""

    url: str
    evidence: Evidence

    def __call__(self, person: Person | None, request: str, body: Any = None, **headers: str) -> httpx2.Response:
        """``request`` is like “GET wallet”; below /api/v1/ where it does not begin with a slash."""
        method, path = request.split(" ")
        path = path if path.startswith("/") else f"/api/v1/{path}"
        headers = {**(person.headers if person else {}), **headers}
        response = httpx2.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=60)
        self.evidence.add(f"answer {method} {path}", response.content)
        self.evidence.add(f"header {method} {path}", repr(response.headers.raw))
        return response


@dataclass(frozen=True)
class Visitor:
    """Looks at pages of the back office, and notes them."""

    client: Client
    evidence: Evidence

    def get(self, path: str) -> Any:
        return self._noted(self.client.get(path))

    def post(self, path: str, data: dict[str, Any]) -> Any:
        return self._noted(self.client.post(path, data))

    def _noted(self, response: Any) -> Any:
        path = response.request["PATH_INFO"]
        self.evidence.add(f"page {path}", response.content)
        self.evidence.add(f"header {path}", f"{response.headers} {response.cookies}")
        return response
