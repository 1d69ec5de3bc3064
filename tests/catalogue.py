"""Models and prices for tests: small round rates, so that a cost can be worked out in one's head."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from llm.models import LLM, LLMPrice

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def make_llm(provider: str = "openai", name: str = "", *, price: dict[str, Any] | None = None, **fields: Any) -> LLM:
    """An LLM of ``provider`` at $1 per million tokens in and $2 out, able to do everything."""
    name = name or f"{provider}-test"
    capabilities = {
        "supports_streaming": True,
        "supports_function_calling": True,
        "supports_vision": True,
        "supports_structured_output": True,
    }
    llm = LLM.objects.create(
        provider=provider,
        name=name,
        **{"display_name": name, "context_window": 100_000, "max_output_tokens": 8192, **capabilities, **fields},
    )
    rates = {"input_usd_per_mtok": Decimal("1"), "output_usd_per_mtok": Decimal("2"), **(price or {})}
    LLMPrice.objects.create(llm=llm, effective_from=SINCE, **rates)
    return llm
