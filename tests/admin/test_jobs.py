"""The page of periodic jobs says how each stands."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from django.utils import timezone
from django.utils.html import strip_tags

from synapscale.common.models import PeriodicJob
from tests.admin.rows import Office


def cells(office: Office, name: str) -> dict[str, str]:
    """What the list shows of a job, by column."""
    text = office.list(PeriodicJob, q=name).text
    found = re.findall(r'<(t[dh])[^>]*\bclass="[^"]*\bfield-(\w+)[^"]*"[^>]*>(.*?)</\1>', text, re.DOTALL)
    return {column: strip_tags(cell).strip() for _, column, cell in found}


def test_how_jobs_stand(office: Office, settings: Any) -> None:
    settings.ALERT_SECONDS, settings.SWEEP_SECONDS, settings.REPORT_SECONDS = 3600, 5, 0
    now = timezone.now()
    minute = timedelta(minutes=1)
    times = {"started_at": now - 2 * minute, "finished_at": now - minute}
    make = PeriodicJob.objects.create
    make(name="alerts", **times, succeeded_at=now - minute, runs=7, failures=2)
    make(name="rollups", **times, error="OperationalError", runs=1, failures=1)
    make(name="autotag", started_at=now, finished_at=now - minute, running_until=now + minute)
    make(name="alert_deliveries", started_at=now - 9 * minute, running_until=now - minute)
    make(name="reports", **times)
    make(name="gone", **times)
    make(name="sweep", **times)

    alerts = cells(office, "alerts")
    assert (alerts["state"], alerts["took"], alerts["runs"], alerts["failures"]) == ("well", "60.0 s", "7", "2")
    assert alerts["next_due"] not in ("", "-")
    rollups = cells(office, "rollups")
    assert (rollups["state"], rollups["error"]) == ("failed", "OperationalError")
    assert (cells(office, "autotag")["state"], cells(office, "autotag")["took"]) == ("running", "-")
    assert cells(office, "alert_deliveries")["state"] == "broke off: its process has died"
    assert cells(office, "reports")["next_due"] == "with the next tick"
    assert cells(office, "gone")["next_due"] == "never: no such job any more"
    assert cells(office, "sweep")["state"] == "due"
    page = office.open(PeriodicJob.objects.get(name="sweep")).text
    assert "finish calls of processes that died, in each process (SWEEP_SECONDS)" in page
