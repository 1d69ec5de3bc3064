"""Servers as processes of their own, so that they can be killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from django.db import connection

from conversations.models import Conversation
from llm.models import LLM
from tests.catalogue import make_llm
from tests.people import Cast, Person, make_cast
from tests.providers.standins import StandIn
from tests.serving import KEEP_ALIVE

ROOT = Path(__file__).resolve().parent.parent.parent


def database_environment() -> dict[str, str]:
    """The environment that makes a process use this test's database."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return {"SQLITE_PATH": name, "DATABASE_URL": ""}
    return {"DATABASE_URL": urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()}


class ServerProcess:
    """One uvicorn process on a free port."""

    def __init__(self, folder: Path, provider: StandIn, **settings: Any) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"server-{self.port}.log"
        environment = {
            **os.environ,
            **database_environment(),
            "SYNAPSCALE_VAR_DIR": str(folder),
            "OPENAI_API_KEY": "sk-house-0123456789abcdef",
            "OPENAI_BASE_URL": provider.openai_url,
            "LLM_MAX_ATTEMPTS": "1",
            "CHECKPOINT_SECONDS": "1",
            **{name: str(value) for name, value in settings.items()},
        }
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "uvicorn",
                    "synapscale.asgi:application",
                    "--port",
                    str(self.port),
                    "--no-access-log",
                    "--timeout-keep-alive",
                    str(KEEP_ALIVE),
                    "--timeout-graceful-shutdown",
                    "30",
                ],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                httpx2.get(f"{self.url}/api/v1/wallet", timeout=5)
            except httpx2.HTTPError:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.05)
            else:
                return
        pytest.fail(f"the server did not come up:\n{self.log.read_text()}")

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """As an operating system does that is out of memory: no goodbye."""
        self.send(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.kill()


@pytest.fixture
def start(transactional_db: None, tmp_path: Path, provider: StandIn) -> Iterator[Callable[..., ServerProcess]]:
    """Starts server processes; whatever still runs at the end is stopped."""
    servers: list[ServerProcess] = []

    def start_one(**settings: Any) -> ServerProcess:
        servers.append(ServerProcess(tmp_path, provider, **settings))
        return servers[-1]

    yield start_one
    for server in servers:
        server.stop()


class Chat:
    """Alice's conversation, as a client of a server sees it."""

    def __init__(self, person: Person, llm: LLM) -> None:
        self.person = person
        self.conversation = Conversation.objects.create(workspace=person.workspace, user=person.user, title="Faults")
        self.body = {"content": "Tell me a story", "llm": str(llm), "max_tokens": 1000}

    def address(self, server: ServerProcess) -> str:
        return f"{server.url}/api/v1/conversations/{self.conversation.pk}/messages"

    def post(self, server: ServerProcess, *, key: str = "", **fields: Any) -> httpx2.Response:
        headers = {**self.person.headers, **({"Idempotency-Key": key} if key else {})}
        return httpx2.post(self.address(server), json={**self.body, **fields}, headers=headers, timeout=60)

    @contextmanager
    def half_open(self, server: ServerProcess) -> Iterator[None]:
        """Post a message and hang up at the end of the block, without having read anything."""
        body = json.dumps(self.body).encode()
        headers = {"Host": "localhost", "Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = [f"{name}: {value}" for name, value in {**headers, **self.person.headers}.items()]
        request = [f"POST {urlsplit(self.address(server)).path} HTTP/1.1", *lines, "", ""]
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line:
            line.sendall("\r\n".join(request).encode() + body)
            yield

    def read_stream(self, server: ServerProcess, *, until: str) -> str:
        """Listen to a streamed answer until ``until`` has come, then hang up; what was heard."""
        raw = b""
        with httpx2.stream(
            "POST", self.address(server), json={**self.body, "stream": True}, headers=self.person.headers, timeout=60
        ) as response:
            assert response.status_code == 200, response.read()
            for piece in response.iter_raw():
                raw += piece
                if until.encode() in raw:
                    break
        return raw.decode()


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast()


@pytest.fixture
def chat(cast: Cast) -> Chat:
    return Chat(cast.alice, make_llm())
