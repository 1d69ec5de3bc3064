"""More of the cast, and a client for the running server."""

from __future__ import annotations

import pytest

from conversations.models import Conversation
from tests.api.asking import Api, make_conversation
from tests.conftest import Server
from tests.people import Person, fund, join
from tests.providers.standins import StandIn
from workspaces.models import Membership


@pytest.fixture
def dora(alice: Person) -> Person:
    """An admin of Alice's workspace."""
    return join(alice.workspace, "dora", Membership.Role.ADMIN)


@pytest.fixture
def victor(alice: Person) -> Person:
    """A viewer of Alice's workspace."""
    return join(alice.workspace, "victor", Membership.Role.VIEWER)


@pytest.fixture
def chat(alice: Person) -> Conversation:
    """Alice's own conversation, not shared."""
    return make_conversation(alice, title="Sums")


@pytest.fixture
def api(server: Server) -> Api:
    return Api(server.url)


@pytest.fixture
def paid(alice: Person, house_keys: StandIn, audited: None) -> StandIn:
    """Alice's workspace has $1, the house has keys, and the books are audited afterwards."""
    fund(alice.workspace, "1")
    return house_keys
