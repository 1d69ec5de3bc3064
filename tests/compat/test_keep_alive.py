"""A client that still takes a connection for open must not meet a server that is just closing it: the request would be lost."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic import DEFAULT_CONNECTION_LIMITS as OF_ANTHROPIC
from openai import DEFAULT_CONNECTION_LIMITS as OF_OPENAI

from tests.serving import COMMANDS, keep_alive

OF_PROXIES = 60
"""Seconds; nginx (keepalive_timeout of an upstream) and AWS's load balancers (idle timeout), both by default."""


@pytest.mark.parametrize("place", COMMANDS)
@pytest.mark.parametrize("limits", [OF_OPENAI, OF_ANTHROPIC])
def test_the_server_keeps_connections_for_longer_than_its_clients(place: str, limits: Any) -> None:
    assert limits.keepalive_expiry < OF_PROXIES < keep_alive(COMMANDS[place])
