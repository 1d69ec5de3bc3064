from collections.abc import Iterator

import pytest

from tests.analytics.alerting import Listener
from tests.api.asking import Api
from tests.conftest import Server
from tests.people import Person, join, make_workspace


@pytest.fixture
def api(server: Server) -> Api:
    return Api(server.url)


@pytest.fixture
def staff(db: None) -> Person:
    """An operator with all permissions, who is a member of a workspace of no importance."""
    person = join(make_workspace("office"), "olga", "member")
    person.user.is_staff = person.user.is_superuser = True
    person.user.save()
    return person


@pytest.fixture
def dora(alice: Person) -> Person:
    return join(alice.workspace, "dora", "admin")


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener().running() as one:
        yield one
