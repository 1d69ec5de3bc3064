"""The snippets of docs/clients.md, each run as it is written there, as a process of its own against a running server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from conversations.models import UsageLog
from llm import catalogue
from tests.conftest import Server
from tests.people import Person, fund

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "clients.md"
LANGCHAIN = HERE / ".venv" / "bin" / "python"
CLIENTS = {
    "OpenAI for Python": 2,
    "Anthropic for Python": 2,
    "LangChain": 2,
    "OpenAI for Node": 2,
    "curl": 1,
    "Any other program": 0,
    "Claude Code": 1,
}
"""How many calls each of them makes."""


@dataclass(frozen=True)
class Snippet:
    language: str
    code: str
    output: str


def snippets() -> dict[str, Snippet]:
    """What stands under each heading: a block of code, and one of what it prints."""
    found = {}
    for section in PAGE.read_text().split("\n## ")[1:]:
        blocks = re.findall(r"^```(\w+)\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
        if blocks:
            (language, code), (kind, output) = blocks
            assert kind == "text"
            found[section.split("\n", 1)[0]] = Snippet(language, code, output)
    return found


def command(name: str, snippet: Snippet, folder: Path) -> list[str]:
    """How to run it; skips the test, and says why, where its client is not installed."""
    if name == "LangChain":
        if not LANGCHAIN.exists():
            pytest.skip("langchain-openai is not installed: `make clients` does it")
        return [str(LANGCHAIN), "-c", snippet.code]
    match snippet.language:
        case "python":
            return [sys.executable, "-c", snippet.code]
        case "javascript":
            if shutil.which("node") is None:
                pytest.skip("Node is not installed")
            if not (HERE / "node_modules" / "openai").exists():
                pytest.skip("the npm package openai is not installed: `make clients` does it where there is npm")
            script = folder / "snippet.mjs"
            script.write_text(snippet.code)
            (folder / "node_modules").symlink_to(HERE / "node_modules")
            return ["node", str(script)]
        case "sh":
            return ["bash", "-euo", "pipefail", "-c", snippet.code]
    raise AssertionError(f"nobody knows how to run {snippet.language}")


def test_every_snippet_is_run() -> None:
    assert list(snippets()) == list(CLIENTS)


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client(name: str, server: Server, alice: Person, audited: None, tmp_path: Path) -> None:
    catalogue.seed(HERE.parent.parent / "fixtures" / "demo_llm.json")
    fund(alice.workspace, "5")
    snippet = snippets()[name]
    environment = {
        "PATH": f"{HERE}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "SYNAPSCALE_URL": server.url,
        "SYNAPSCALE_KEY": alice.token,
    }
    done = subprocess.run(
        command(name, snippet, tmp_path), env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stdout) == (0, snippet.output), done.stderr
    logs = UsageLog.objects.filter(workspace=alice.workspace)
    assert [log.status for log in logs] == ["success"] * CLIENTS[name]
