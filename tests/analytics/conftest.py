import pytest

from tests.api.asking import Api
from tests.conftest import Server


@pytest.fixture
def api(server: Server) -> Api:
    return Api(server.url)
