"""The front page: its figures are those of the calls, each leads to its rows, and who may not see them sees links alone."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from analytics import rollups
from billing.models import Wallet
from llm.models import LLM
from office import shown
from office.timeline import Timeline
from synapscale.common.tenancy import fleet_wide
from tests.analytics.usage import Call, write
from tests.catalogue import make_llm
from tests.people import Cast, fund
from workspaces.models import User

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 10, 15, 15, 30, tzinfo=UTC)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def root(db: None) -> Client:
    return signed_in(User.objects.create_superuser("root@example.org"))


def text_of(page: str) -> str:
    main = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main)).split())


@pytest.mark.parametrize("is_summed", [True, False])
def test_windows_are_half_open_and_a_call_is_in_each_that_holds_it(cast: Cast, llm: LLM, is_summed: bool) -> None:
    fund(cast.alice.workspace, "1")
    other = make_llm("anthropic")

    def call(days: float, dollars: int, model: LLM = llm) -> Call:
        return Call(at=NOW - timedelta(days=days), person=cast.alice, llm=model, charged=dollars)

    write([call(0.25, 1), call(0.75, 2), call(1, 4), call(1.1, 8), call(7, 16), call(8, 32, other), call(29, 64)])
    write([call(30, 128), call(31, 256), call(60, 512), call(60.01, 1024), call(0, 2048)])
    if is_summed:
        rollups.roll_up()
    with fleet_wide():
        line = Timeline(NOW)

    def spent(start: datetime, end: datetime) -> int:
        return int(line.of(start, end).charged_usd * 1_000_000)

    assert line.midnight == datetime(2026, 10, 15, tzinfo=UTC)
    assert spent(line.midnight, NOW) == 1
    assert spent(line.midnight - timedelta(days=1), line.before(1)) == 8
    assert spent(line.before(7), NOW) == 1 + 2 + 4 + 8 + 16
    assert spent(line.before(14), line.before(7)) == 32
    assert spent(line.before(30), NOW) == 1 + 2 + 4 + 8 + 16 + 32 + 64 + 128
    assert spent(line.before(60), line.before(30)) == 256 + 512
    assert len(line.days) == 30
    assert sum(spent(start, end) for start, end in line.days) == 1 + 2 + 4 + 8 + 16 + 32 + 64
    assert [spent(*hour) for hour in line.hours[-7:]] == [1, 0, 0, 0, 0, 0, 0]
    assert line.hours[-1] == (datetime(2026, 10, 15, 15, tzinfo=UTC), NOW)
    assert set(line.by_llm(line.before(14), line.before(7))) == {other.pk}


def test_the_page_shows_spend_models_failures_and_who_runs_low(root: Client, cast: Cast, llm: LLM) -> None:
    fund(cast.alice.workspace, "5")
    broken = make_llm("anthropic")
    now = timezone.now()
    write(
        [
            Call(at=now - timedelta(hours=2), person=cast.alice, llm=llm, charged=1_400_000),
            Call(at=now - timedelta(days=5), person=cast.alice, llm=llm, charged=2_100_000),
            Call(at=now - timedelta(days=10), person=cast.alice, llm=llm, charged=1_000_000),
            *(Call(at=now - timedelta(hours=2), person=cast.bob, llm=broken, status="error") for _ in range(3)),
        ]
    )
    wallet = Wallet.objects.get(workspace=cast.alice.workspace)
    with CaptureQueriesContext(connection) as queries:
        page = root.get("/admin/")
    assert page.status_code == 200
    assert len(queries) <= 15, [query["sql"][:100] for query in queries]

    text = text_of(page.text)
    assert "Spend in 7 days $3.50 +250 % · the 7 days before: $1.00" in text
    assert "Spend in 30 days $4.50 the 30 days before: $0.00" in text
    assert f"{broken} $0.00 90 3 3 3 100.0 %" in text
    assert f"{llm} $4.50 90 3 1 0 0.0 %" in text
    # 0.50 left, 3.50 in 7 days: for a day.
    assert wallet.available == Decimal("0.5")
    assert f"{cast.alice.workspace.name} $0.50 available, for 1.0 days at the rate of the last 7" in text
    assert f"/admin/billing/wallet/{wallet.pk}/change/" in page.text
    assert "Nothing is firing." in text

    for url in re.findall(r'<a href="(/admin/[^"]*created_at__gte[^"]*)"', page.text):
        assert root.get(html.unescape(url)).status_code == 200, url
    failed = next(url for url in re.findall(r'href="([^"]+)">3</a>', page.text))
    assert root.get(html.unescape(failed)).context["cl"].result_count == 3


def test_an_empty_house_says_so(root: Client) -> None:
    text = text_of(root.get("/admin/").text)

    assert "Nothing was spent in the last 30 days." in text
    assert "No call has failed in the last 24 hours." in text
    assert "Nobody called a model in the last 7 days." in text
    assert "Latency, p95 – in the last hour" in text


def test_figures_are_for_those_who_may_see_usage_and_lists_for_those_who_may_see_them(cast: Cast) -> None:
    clerk = User.objects.create_user("clerk@example.org", is_staff=True)
    assert "Spend today" not in signed_in(clerk).get("/admin/").text
    assert signed_in(clerk).get("/admin/live/").status_code == 403
    assert Client().get("/admin/live/").status_code == 302

    clerk.user_permissions.add(Permission.objects.get(codename="view_usagelog"))
    client = signed_in(User.objects.get(pk=clerk.pk))
    with CaptureQueriesContext(connection) as queries:
        page = client.get("/admin/").text
    assert len(queries) <= 15
    assert "Spend today" in page
    assert "Wallets running low" not in page
    assert "Open alerts" not in page


def test_tiles_are_asked_for_again(root: Client, cast: Cast, llm: LLM) -> None:
    now = timezone.now()
    write(
        Call(at=now - timedelta(minutes=1), person=cast.alice, llm=llm, status=status, latency_ms=850)
        for status in ("success", "success", "success", "error")
    )
    answer = root.get("/admin/live/")

    assert "no-store" in answer["Cache-Control"]
    assert answer.json() == {
        "requests_per_minute": "0.8",
        "error_rate": "25.0 %",
        "p95": "855 ms",
        "in_flight": "0",
        "open_holds": "0 · $0.00",
    }


def test_numbers_are_written_as_the_language_has_them() -> None:
    assert shown.usd(Decimal("1234.5")) == "$1,234.50"
    assert shown.usd(Decimal("-0.0000520")) == "-$0.000052"
    assert shown.usd(Decimal(0)) == "$0.00"
    assert shown.change(Decimal("1.5"), Decimal(1)) == "+50 %"
    assert shown.change(Decimal(1), Decimal(0)) == ""
    assert shown.milliseconds(4250) == "4.3 s"
    assert shown.percent(Decimal(10) / 60) == "16.7 %"
    with translation.override("pt-br"):
        assert shown.usd(Decimal("1234.5")) == "US$\u00a01.234,50"
        assert shown.percent(Decimal("0.0525")) == "5,3 %"
