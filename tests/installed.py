"""Installations to try commands on: a fresh one, and one with a trial workspace.

Imported where they are needed; ``once`` is made once for each process, which conftest.py sees to being one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installation import Installation, scratch


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, str]]:
    with scratch(tmp_path_factory.mktemp("installed") / "it") as installation:
        ended = installation.manage("setup", "--demo", "--address", "http://127.0.0.1:8000/")
        assert ended.returncode == 0, ended.stderr
        yield installation, ended.stdout


@pytest.fixture
def installed(once: tuple[Installation, str], tmp_path: Path) -> Iterator[Installation]:
    """A copy, to do with as one likes."""
    with scratch(tmp_path / "copy", like=once[0]) as installation:
        yield installation


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Installation]:
    with scratch(tmp_path / "empty") as installation:
        yield installation


def trial_of(installation: Installation) -> dict[str, str]:
    told: dict[str, str] = json.loads((installation.folder / "var" / "trial.json").read_text())
    return told


def fail_at(installation: Installation, step: str) -> None:
    """Something is in the way of a step."""
    var = installation.folder / "var"
    if step == "migrate":
        installation.sql("CREATE TABLE billing_events (in_the_way INTEGER)")
    elif step == "trial workspace":
        (var / "trial.json").unlink(missing_ok=True)
        (var / "trial.json").mkdir(parents=True)
    elif step == "static files":
        var.mkdir(exist_ok=True)
        (var / "static").write_text("not a folder")
    elif step == "verify":
        shutil.rmtree(var / "spool", ignore_errors=True)
        (var / "spool").write_text("not a folder")
