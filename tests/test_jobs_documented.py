"""docs/operations.md lists every job that a server does by itself."""

from __future__ import annotations

import re
from pathlib import Path

from synapscale.common import periodic

PAGE = (Path(__file__).resolve().parents[1] / "docs/operations.md").read_text(encoding="utf-8")


def test_every_job_is_in_the_table() -> None:
    section = PAGE.partition("\n## Periodic work\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", section, re.MULTILINE)
    assert dict(listed) == {job.name: job.setting for job in periodic.jobs()}
