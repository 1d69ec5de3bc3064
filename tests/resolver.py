"""Names instead of DNS, at the outermost edge: what the operating system is asked. Addresses are looked up as ever.

Imported where it is needed, like ``tests.house``.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import Any

import pytest


class Resolver:
    """``answer("models.example", ["10.0.0.1"], ["10.0.0.2"])``: an answer for each question, the last one for good."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._answers: dict[str, deque[list[str]]] = {}

    def answer(self, name: str, *answers: list[str]) -> None:
        self._answers[name] = deque(answers)

    def look_up(self, name: str, port: int) -> list[Any]:
        self.asked.append(name)
        answers = self._answers.get(name)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        addresses = answers.popleft() if len(answers) > 1 else answers[0]
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    names = Resolver()
    truly = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
        if host == "localhost":  # the tests' own
            return truly(host, port, family, type, proto, flags)
        try:
            return truly(host, port, family, type, proto, socket.AI_NUMERICHOST)
        except socket.gaierror:
            return names.look_up(host.decode() if isinstance(host, bytes) else host, port)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names
