"""Fixtures that all tests share: the cast, a model with a price, and a real server on a real port."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import uvicorn
from django.conf import settings as django_settings
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.backends.signals import connection_created
from django.test import TransactionTestCase

from conversations import calls, sweeper
from conversations.audit import audit
from llm.circuits import CIRCUITS
from llm.models import LLM
from office.roles import ROLES
from tests import tenancy_guard
from tests.catalogue import make_llm
from tests.databases import django_db_setup  # noqa: F401
from tests.people import Cast, Person, make_cast
from tests.providers.standins import StandIn
from tests.serving import KEEP_ALIVE
from workspaces import wrong_tokens

# --- The run ----------------------------------------------------------------------------------------------------------


def pytest_configure() -> None:
    """Passwords of tests are worth no long computing, and how long an example takes says little on a busy machine."""
    django_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    hypothesis.settings.register_profile("tests", deadline=None)
    hypothesis.settings.load_profile("tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest first: installations, made in processes of their own. Workers get neighbours, so that one makes what
    they share, and nobody is left with them at the end.
    """
    items.sort(key=lambda item: not {"once", "empty"} & set(getattr(item, "fixturenames", ())))


def pytest_collection_finish() -> None:
    """What is loaded by now stays: the collector need not look at thousands of tests and three SDKs again and again."""
    gc.collect()
    gc.freeze()


# --- Database -------------------------------------------------------------------------------------------------------


def _watch(sender: Any, connection: Any, **kwargs: Any) -> None:
    if tenancy_guard.wrapper not in connection.execute_wrappers:
        connection.execute_wrappers.append(tenancy_guard.wrapper)


connection_created.connect(_watch, dispatch_uid="tests.tenancy_guard", weak=False)

# Of Django's backend, which opens a pool with the first connection. SQLite has none.
_pools: dict[str, Any] = getattr(connections[DEFAULT_DB_ALIAS], "_connection_pools", {})
_KEPT = {"django_migrations", "django_content_type", "auth_permission", "auth_group", "auth_group_permissions"}


_SEEDED = ", ".join(f"'{name}'" for name in ROLES)
_OTHER_GROUPS = (
    f"DELETE FROM auth_group_permissions WHERE group_id IN (SELECT id FROM auth_group WHERE name NOT IN ({_SEEDED}))",
    f"DELETE FROM auth_group WHERE name NOT IN ({_SEEDED})",
)
"""Of the groups, those that migrations made stay."""


def empty_all_tables() -> None:
    """Leave the tables empty after a test that commits. The guards that forbid it are lifted for the moment."""
    tables = [name for name in connection.introspection.table_names() if name not in _KEPT]
    with connection.cursor() as cursor:
        cursor.execute(
            " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM \"{name}\")" for name in tables)
        )
        full = {name for (name,) in cursor}
        emptying = [*(f'DELETE FROM "{name}"' for name in full), *_OTHER_GROUPS]
        if connection.vendor == "postgresql":
            # In this role neither triggers nor foreign keys fire.
            role = "SET session_replication_role = "
            cursor.execute("; ".join([f"{role}replica", *emptying, f"{role}origin"]))
            return
        cursor.execute("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'")
        triggers = [(name, sql) for name, table, sql in cursor.fetchall() if table in full]
        cursor.execute("PRAGMA foreign_keys = OFF")
        cursor.execute("BEGIN IMMEDIATE")
        for name, _ in triggers:
            cursor.execute(f'DROP TRIGGER "{name}"')
        for statement in emptying:
            cursor.execute(statement)
        for _, sql in triggers:
            cursor.execute(sql)
        cursor.execute("COMMIT")
        cursor.execute("PRAGMA foreign_keys = ON")


def _fixture_teardown(self: TransactionTestCase) -> None:
    tenancy_guard.switch(False)
    empty_all_tables()


TransactionTestCase._fixture_teardown = _fixture_teardown  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def _tenancy(request: pytest.FixtureRequest) -> Iterator[None]:
    if {"db", "transactional_db"} & set(request.fixturenames) or request.node.get_closest_marker("django_db"):
        request.getfixturevalue("django_db_setup")  # migrations are not watched
    tenancy_guard.switch(request.node.get_closest_marker("fleet") is None)
    yield
    tenancy_guard.switch(False)


@pytest.fixture(autouse=True)
def _no_wrong_tokens_yet() -> None:
    """All tests come from one address."""
    wrong_tokens.forget()


@pytest.fixture(autouse=True)
def _circuits() -> Iterator[None]:
    """They belong to the process: no test must learn from another that a provider fails."""
    CIRCUITS.reset()
    yield
    CIRCUITS.reset()


@pytest.fixture(autouse=True)
def _no_outage_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the database was away in another test, or on the clock of another test, is nobody's business here."""
    monkeypatch.setattr(sweeper, "_OUTAGE", sweeper._Outage())


@pytest.fixture(autouse=True)
def _connections_come_back() -> Iterator[None]:
    """What a thread keeps of the pool of PostgreSQL connections, nobody else can have any more."""
    yield
    if (pool := _pools.get(connection.alias)) is None:
        return

    def are_back() -> bool:
        stands = pool.get_stats()
        return stands["pool_size"] - stands["pool_available"] <= (connection.connection is not None)

    wait_for(are_back, "other threads to give back their connections to the database")


@pytest.fixture
def audited(transactional_db: None) -> Iterator[None]:
    """Whatever the test did, the books are in order afterwards."""
    yield
    assert [finding for finding in audit() if not finding.holds] == []


# --- The cast -------------------------------------------------------------------------------------------------------


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


@pytest.fixture
def alice(cast: Cast) -> Person:
    return cast.alice


@pytest.fixture
def bob(cast: Cast) -> Person:
    return cast.bob


@pytest.fixture
def charlie(cast: Cast) -> Person:
    return cast.charlie


@pytest.fixture
def llm(db: None) -> LLM:
    """openai/openai-test: $1 per million tokens in, $2 out."""
    return make_llm()


# --- Servers --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def stand_in() -> Iterator[StandIn]:
    """The server that speaks the providers' wire formats."""
    server = StandIn().start()
    yield server
    server.stop()


@pytest.fixture
def provider(stand_in: StandIn) -> Iterator[StandIn]:
    stand_in.reset()
    yield stand_in
    stand_in.reset()


@pytest.fixture
def house_keys(settings: Any, provider: StandIn) -> StandIn:
    """The house has a key for every provider, and all of them are the stand-in."""
    settings.PROVIDERS = {
        name: {"api_key": f"sk-house-{name}-0123456789abcdef", "base_url": provider.base_url(name)}
        for name in ("openai", "anthropic", "google", "grok", "deepseek", "llama")
    }
    settings.LLM_MAX_ATTEMPTS = 1
    return provider


class Server:
    """The ASGI application under uvicorn, in a thread of the test's process, so that settings fixtures reach it."""

    def __init__(self, application: Any = None, *, lifespan: str = "on") -> None:
        if application is None:
            from synapscale.asgi import application

        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(application, lifespan=lifespan, log_level="warning", timeout_keep_alive=KEEP_ALIVE)
        )
        self._thread = threading.Thread(target=self._uvicorn.run, args=([self._socket],), daemon=True)

    def start(self) -> None:
        self._thread.start()
        wait_for(lambda: self._uvicorn.started, "the server to start")

    def stop(self) -> None:
        self._uvicorn.should_exit = True
        self._thread.join(40)


@pytest.fixture(scope="session")
def _server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(transactional_db: None, _server: Server) -> Iterator[Server]:
    """A running server. Nothing of this test is under way any more when the next one begins."""
    yield _server
    wait_for(lambda: calls.running() == 0, "calls under way to end")


def wait_for(is_done: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Wait until something is so, or fail saying what was waited for."""
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s in vain for {what}")
        time.sleep(0.01)


@pytest.fixture(scope="session", autouse=True)
def _close_thread_connections() -> Iterator[None]:
    """Database threads outlive the tests; their connections must not keep the test database from being dropped."""
    yield
    from synapscale.common.db import shut_down

    shut_down()
