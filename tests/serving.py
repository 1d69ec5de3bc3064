"""How the server is to be started, as the Makefile and docs/operations.md say."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = {
    name: (ROOT / name)
    .read_text(encoding="utf-8")
    .partition("uvicorn synapscale.asgi:application")[2]
    .partition("\n")[0]
    for name in ("Makefile", "docs/operations.md")
}
"""What follows the application in the command that starts it."""


def keep_alive(command: str) -> int:
    """For how many seconds the server keeps a connection on which nobody asks. uvicorn's default is 5."""
    found = re.search(r"--timeout-keep-alive (\d+)", command)
    return int(found[1]) if found else 5


KEEP_ALIVE = keep_alive(COMMANDS["Makefile"])
