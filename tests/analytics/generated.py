"""Calls that nobody stored, page after page, as ``analytics.reports.calls`` would have read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from analytics.reports import calls
from analytics.reports.calls import Call, Position
from llm.models import LLM
from synapscale.common.models import new_id
from tests.analytics.reports import NOON

_NUMBERS = dict.fromkeys(calls._NUMBERS, 1000) | {"charged_usd": 123_456_789, "cost_usd": 10**12}


@dataclass
class Pages:
    """Stands in for ``calls.page``. ``read`` is how many pages were asked for."""

    pages: int
    read: int = 0
    held: list[bool] = field(default_factory=list)
    """Whether a transaction was open, page by page."""
    llm: LLM = field(default_factory=lambda: LLM(provider="openai", name="generated"))

    def __call__(self, asked: Any, after: Position | None) -> list[Call]:
        from django.db import connection

        self.read += 1
        self.held.append(connection.in_atomic_block)
        count = calls.PAGE if self.read < self.pages else 1
        return [self._call(n) for n in range(count)]

    def _call(self, n: int) -> Call:
        keys = {name: new_id() for name in calls._KEYS if name != "created_at"}
        return Call(
            keys=keys,
            created_at=NOON + timedelta(seconds=n),
            plain=(1, "global", "success", ""),
            numbers=_NUMBERS,
            user_email="somebody@example.org",
            llm=self.llm,
            agent_name="Helper",
            tags=("customer:acme",),
        )
