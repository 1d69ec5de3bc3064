"""Keys of operators' own hosts."""

from __future__ import annotations

from llm.models import ProviderConnection
from llm.types import Credentials


def credentials(connection: ProviderConnection) -> Credentials:
    raise NotImplementedError
