"""Downloads of any size: by the server, page by page, with nothing held between two, in memory that does not grow."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import httpx2
import pyarrow
import pytest
from django.conf import settings
from django.utils import timezone

from analytics.asking import Asked
from analytics.reports import calls, definitions, files, parquet_format
from conversations.windows import window_of
from llm.models import LLM
from tests.analytics.generated import Pages
from tests.analytics.reports import DAY, FORMATS, NOON, READERS, REPORTS, made, run
from tests.analytics.usage import Call, write
from tests.api.asking import Api
from tests.conftest import Server
from tests.people import Person, join
from workspaces.models import AccessToken, Membership


@pytest.fixture
def api(server: Server) -> Api:
    return Api(server.url)


def asked_by(person: Person) -> Asked:
    window = window_of({name: DAY[name] for name in ("start", "end")})
    return definitions.asked(person, {}, kind="calls", window=window)


@pytest.mark.parametrize("format_", FORMATS)
def test_by_the_server(api: Api, alice: Person, llm: LLM, format_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "PAGE", 2)
    write([Call(NOON, alice, llm)] * 5)
    report = made(alice, kind="calls", format=format_)
    response = api.get(alice, f"{REPORTS}/{report['id']}/download")
    assert response.status_code == 200
    assert len(READERS[format_](response.content)) == 5
    head = httpx2.head(f"{api.url}/api/v1/{REPORTS}/{report['id']}/download", headers=alice.headers)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Disposition"] == response.headers["Content-Disposition"]


def test_the_first_bytes_come_while_the_rest_is_read(api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    report, pages = made(alice, kind="calls"), Pages(3)
    slow: list[float] = []

    def page(*args: Any) -> Any:
        time.sleep(0.5)
        slow.append(time.monotonic())
        return pages(*args)

    monkeypatch.setattr(calls, "page", page)
    url = f"{api.url}/api/v1/{REPORTS}/{report['id']}/download"
    with httpx2.stream("GET", url, headers=alice.headers, timeout=30) as response:
        pieces = response.iter_raw()
        assert next(pieces).startswith(b"id,created_at,")
        first = time.monotonic()
        assert sum(len(piece) for piece in pieces) > 2 * calls.PAGE * 200
    assert len(slow) == 3
    assert first < slow[0]


def test_a_client_that_goes_away_ends_the_reading(api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    report, pages = made(alice, kind="calls"), Pages(10**9)
    monkeypatch.setattr(calls, "page", pages)
    url = f"{api.url}/api/v1/{REPORTS}/{report['id']}/download"
    with httpx2.stream("GET", url, headers=alice.headers, timeout=30) as response:
        pieces = response.iter_raw()
        for _ in range(3):
            next(pieces)
    deadline, before = time.monotonic() + 20, -1
    while pages.read != before:
        assert time.monotonic() < deadline, "it goes on reading"
        before = pages.read
        time.sleep(0.5)
    assert api.get(alice, REPORTS).status_code == 200


def test_what_breaks_off_does_not_look_whole(api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    report, pages = made(alice, kind="calls"), Pages(10)

    def page(*args: Any) -> Any:
        if pages.read == 2:
            raise RuntimeError("the database is away")
        return pages(*args)

    monkeypatch.setattr(calls, "page", page)
    with pytest.raises(httpx2.RemoteProtocolError):
        api.get(alice, f"{REPORTS}/{report['id']}/download")


def test_what_breaks_off_gives_its_connection_back(api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or so many broken downloads would leave the server without a database."""
    report = made(alice, kind="calls")
    monkeypatch.setattr(calls, "page", lambda *_: 1 / 0)
    for _ in range(settings.DATABASE_POOL_SIZE):
        with pytest.raises(httpx2.RemoteProtocolError):
            api.get(alice, f"{REPORTS}/{report['id']}/download")
    assert api.get(alice, REPORTS).status_code == 200


def revoke(person: Person) -> None:
    AccessToken.objects.filter(user=person.user).update(revoked_at=timezone.now())


def leave(person: Person) -> None:
    Membership.objects.filter(pk=person.membership.pk).delete()


def narrow(person: Person) -> None:
    Membership.objects.filter(pk=person.membership.pk).update(role=Membership.Role.MEMBER)


@pytest.mark.parametrize("lose", [revoke, leave, narrow])
@pytest.mark.parametrize("of_run", [False, True], ids=["report", "run"])
def test_whoever_loses_the_right_to_a_file_does_not_get_the_rest_of_it(
    api: Api, alice: Person, lose: Callable[[Person], None], of_run: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    dora = join(alice.workspace, "dora", Membership.Role.ADMIN)
    report, pages = made(dora, kind="calls"), Pages(10**9)
    where = f"{REPORTS}/{report['id']}" + (f"/runs/{run(dora, report)['id']}" if of_run else "")
    monkeypatch.setattr(calls, "page", pages)
    monkeypatch.setattr(files, "CHECK_SECONDS", 0.1)
    with httpx2.stream("GET", f"{api.url}/api/v1/{where}/download", headers=dora.headers, timeout=30) as response:
        pieces = response.iter_raw()
        for _ in range(3):
            next(pieces)
        lose(dora)
        with pytest.raises(httpx2.RemoteProtocolError):
            for _ in pieces:
                assert pages.read < 200, "it goes on reading"


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_pages_are_read(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages(3)
    monkeypatch.setattr(calls, "page", pages)
    file = files.file_of(asked_by(alice), kind="calls", name="x", format_="csv", is_allowed=lambda: True)

    async def read() -> int:
        return len([piece async for piece in file.stream()])

    assert asyncio.run(read()) == 4
    assert pages.held == [False] * 3


def peak(asked: Asked, format_: str, pages: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Bytes at most, of Python's and of Arrow's, while a file of ``pages`` is made and thrown away."""
    monkeypatch.setattr(calls, "page", Pages(pages))
    arrow = 0
    before = pyarrow.total_allocated_bytes()
    tracemalloc.start()
    try:
        for _ in files.file_of(asked, kind="calls", name="x", format_=format_, is_allowed=lambda: True).pieces:
            arrow = max(arrow, pyarrow.total_allocated_bytes() - before)
        return tracemalloc.get_traced_memory()[1], arrow
    finally:
        tracemalloc.stop()


@pytest.mark.django_db
@pytest.mark.parametrize("format_", FORMATS)
def test_memory_does_not_grow_with_the_rows(alice: Person, format_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "PAGE", 100)
    monkeypatch.setattr(parquet_format, "ROWS_OF_A_GROUP", 300)
    asked = asked_by(alice)
    peak(asked, format_, 8, monkeypatch)  # what is imported and kept is not the rows'
    small, small_arrow = peak(asked, format_, 8, monkeypatch)
    large, large_arrow = peak(asked, format_, 60, monkeypatch)
    assert large < small * 1.5
    assert large_arrow <= small_arrow * 1.5
