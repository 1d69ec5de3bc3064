"""OpenAI's protocol at a host that an operator allowed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from django.utils.translation import gettext_noop

from llm.errors import ProviderNotConfigured
from llm.providers.base import Timeouts
from llm.providers.openai import OpenAIProvider
from llm.types import Credentials


class PrivateProvider(OpenAIProvider):
    """There is no endpoint to fall back on, and no call without a guard: both come with the credentials."""

    def __init__(self, *, timeouts: Timeouts | None = None) -> None:
        super().__init__("private", timeouts=timeouts)

    @contextlib.asynccontextmanager
    async def _lease(self, credentials: Credentials) -> AsyncGenerator[Any, None]:
        if not credentials.base_url or not credentials.guard:
            raise ProviderNotConfigured(gettext_noop("No host is configured for this model."), provider=self.name)
        async with super()._lease(credentials) as client:
            yield client
