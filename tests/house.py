"""A house key for OpenAI and a spool of the test's own, for tests that admit and settle calls without a provider.

Imported where they are needed; everything in the module or folder then has them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

KEYS = {
    name: {"api_key": f"sk-house-{name}" if name == "openai" else "", "base_url": ""}
    for name in ("openai", "anthropic", "google", "grok", "deepseek", "llama")
}


@pytest.fixture(autouse=True)
def house(settings: Any, tmp_path: Path) -> None:
    settings.PROVIDERS = {name: dict(keys) for name, keys in KEYS.items()}
    settings.SPOOL_DIR = tmp_path / "spool"
