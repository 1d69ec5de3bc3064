"""A private host: a connection to the stand-in, with a key of its own."""

from __future__ import annotations

from typing import Any

from llm import connections
from llm.models import ProviderConnection
from tests.providers.standins import StandIn

HOST_KEY = "sk-host-0123456789-very-secret-host"


def make_connection(server: StandIn, slug: str = "lab", *, key: str = HOST_KEY, **fields: Any) -> ProviderConnection:
    connection = ProviderConnection(
        slug=slug, **{"name": slug.title(), "base_url": server.openai_url, "allows_private_addresses": True, **fields}
    )
    if key:
        connections.set_key(connection, key)
    connection.save(force_insert=True)
    return connection
