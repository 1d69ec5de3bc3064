"""The SDKs take seconds to import and are needed by few processes: management commands must not pay for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("module", ["llm.providers", "llm.client"])
def test_importing_brings_in_no_sdk(module: str) -> None:
    check = (
        f"import sys, {module}; print(sorted({{'openai', 'anthropic', 'google.genai', 'httpx2'}} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", check], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
