"""docs/reports.md works as it says: the report that is made there, and the file that comes of it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

from analytics.measures import METRICS
from analytics.models import Report
from analytics.reports import calls, definitions, files, saving
from llm.models import LLM
from tests.analytics.reports import content
from tests.analytics.usage import Call, write
from tests.people import Person

PAGE = (Path(__file__).resolve().parents[2] / "docs/reports.md").read_text(encoding="utf-8")


@pytest.mark.django_db
def test_what_each_model_cost_last_month(alice: Person, llm: LLM) -> None:
    tz = ZoneInfo("America/Sao_Paulo")
    this_month = datetime.now(tz).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    last_day = this_month - timedelta(hours=1)
    write(
        [Call(last_day, alice, llm, cost=3), Call(last_day, alice, llm, status="error"), Call(this_month, alice, llm)]
    )
    posted = re.search(r'curl -s "(\S+/analytics/reports)".*?-d \'(.*?)\'\n', PAGE, re.DOTALL)
    fetched = re.search(r'curl -s "(\S+/download)"', PAGE)
    assert posted is not None
    assert fetched is not None
    made = Client().post(urlsplit(posted[1]).path, posted[2], content_type="application/json", headers=alice.headers)
    assert made.status_code == 201, made.content
    assert made.json()["next_run_at"]
    path = urlsplit(fetched[1].replace("$ID", made.json()["id"])).path
    header, row = content(Client().get(path, headers=alice.headers)).decode().splitlines()
    shown = re.search(r"^    (start,end,.*)$", PAGE, re.MULTILINE)
    assert shown is not None
    assert re.fullmatch(shown[1].replace("…", ".*"), header)
    found = dict(zip(header.split(","), row.split(","), strict=True))
    assert (found["calls"], found["llm_name"], found["provider_cost"]) == ("1", "openai/openai-test", "0.000003")
    assert found["start"] == (this_month - timedelta(days=1)).isoformat()
    assert list(found)[4:] == list(METRICS)


def test_the_page_names_what_there_is() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert {column.name for column in calls.COLUMNS} <= named
    assert set(definitions.parameters_of("figures")) <= named
    for choices in (Report.Kind, Report.Period, Report.Schedule, Report.Format):
        assert set(choices.values) <= named
    assert f"at most {saving.MAX_REPORTS}" in PAGE
    assert f"{calls.PAGE:,} calls" in PAGE
    assert f"{files.figures.PERIODS_AT_ONCE} periods" in PAGE
