"""Models of several vendors behind both protocols, and the vendors' own SDKs pointed at the running server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llm.circuits import CIRCUITS
from llm.models import LLM
from tests.api.conftest import chat, paid, victor  # noqa: F401 (fixtures)
from tests.catalogue import make_llm
from tests.compat.clients import SDKS, Clients
from tests.conftest import Server

VENDORS = ("openai", "anthropic", "google")
"""One of each family of protocols."""


@pytest.fixture
def models(db: None) -> dict[str, LLM]:
    """``{"openai": openai/openai-test, …}``: one model of every vendor and of the demo, $1 per million in, $2 out."""
    return {name: make_llm(name) for name in (*VENDORS, "grok", "deepseek", "llama", "demo")}


@pytest.fixture(params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(models: dict[str, LLM], vendor: str) -> str:
    """“provider/name” of the vendor's model."""
    return str(models[vendor])


@pytest.fixture(params=SDKS)
def sdk(request: pytest.FixtureRequest) -> str:
    """Whose protocol is spoken."""
    return str(request.param)


@pytest.fixture(autouse=True)
def _no_circuit_is_open() -> Iterator[None]:
    CIRCUITS.reset()
    yield
    CIRCUITS.reset()


@pytest.fixture
def clients(server: Server) -> Clients:
    return Clients(server.url)
