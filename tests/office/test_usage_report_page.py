"""The usage report in the back office: the command's figures, as a page and as its files."""

from __future__ import annotations

import html
import io
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from analytics import rollups
from llm.models import LLM
from office import usage_report_page
from tests.analytics.usage import Call, write
from tests.catalogue import make_llm
from tests.office.test_usage_report import at, calls, tagged  # noqa: F401
from tests.people import Cast
from workspaces.models import User

pytestmark = pytest.mark.django_db
URL = "/admin/usage-report/"
OCTOBER = {"from": "2026-10-01", "to": "2026-11-01", "tz": "UTC"}


@pytest.fixture
def root(db: None) -> Client:
    return signed_in(User.objects.create_superuser("root@example.org"))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def clerk(*codenames: str) -> Client:
    user = User.objects.create_user("clerk@example.org", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return signed_in(user)


def show(client: Client, **asked: Any) -> Any:
    page = client.get(URL, {**OCTOBER, **asked})
    assert page.status_code == 200
    return page


def table(page: Any) -> list[str]:
    shown = page.text.partition('id="figures"')[2].partition("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", shown, re.DOTALL)
    return [" ".join(html.unescape(re.sub("<[^>]+>", " ", row)).split()) for row in rows]


def command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("usage_report", "--from", "2026-10-01", "--to", "2026-11-01", *arguments, stdout=out)
    return out.getvalue()


def test_the_table_has_the_figures_of_the_command(root: Client, calls: list[Call], llm: LLM) -> None:  # noqa: F811
    page = show(root, by="model")
    assert table(page) == [
        "Model Calls Failed Error rate Tokens Charged Cost at the provider On own keys Average latency",
        "anthropic/claude 2 0 0.0 % 60 $0.0008 $0.000705 50.0 % 250 ms",
        "openai/openai-test 3 1 33.3 % 90 $0.000024 $0.000023 0.0 % 100 ms",
        "Total 5 1 20.0 % 150 $0.000824 $0.000728 20.0 % 200 ms",
    ]
    assert f'href="/admin/llm/llm/{llm.pk}/change/"' in page.text
    assert 'title="$0.000824"' in page.text


@pytest.mark.parametrize("by", ["day", "model", "provider", "user", "workspace"])
def test_each_row_leads_to_its_calls(root: Client, calls: list[Call], by: str) -> None:  # noqa: F811
    page = show(root, by=by)
    numbers = [row.split()[1] for row in table(page)[1:-1]]
    links = re.findall(r'href="(/admin/conversations/usagelog/[^"]+)"', page.text)
    assert by == "provider" or len(links) == len(numbers)
    for number, url in zip(numbers, links, strict=False):
        assert root.get(html.unescape(url)).context["cl"].result_count == int(number), url
    for url in re.findall(r'<th scope="row"><a href="([^"]+)"', page.text):
        assert root.get(html.unescape(url)).status_code == 200
    assert sum(map(int, numbers)) == 5


def test_by_tag_of_a_workspace(root: Client, tagged: list[Call]) -> None:  # noqa: F811
    page = show(root, by="tag", workspace="acme", tag="customer:*")
    assert [row.split()[:2] for row in table(page)[1:]] == [
        ["customer:blue", "2"],
        ["customer:red", "1"],
        ["Total", "3"],
    ]
    for url in re.findall(r'<th scope="row"><a href="([^"]+)"', page.text):
        assert root.get(html.unescape(url)).status_code == 200


def test_of_one_workspace(root: Client, calls: list[Call]) -> None:  # noqa: F811
    page = show(root, by="user", workspace="acme")
    assert [row.split()[:2] for row in table(page)[1:]] == [
        ["bob@example.org", "2"],
        ["alice@example.org", "1"],
        ["Total", "3"],
    ]
    links = re.findall(r'href="(/admin/conversations/usagelog/[^"]+)"', page.text)
    assert [root.get(html.unescape(url)).context["cl"].result_count for url in links] == [2, 1]


@pytest.mark.parametrize("by", ["day", "user"])
@pytest.mark.parametrize("format_", ["csv", "json"])
def test_the_files_are_those_of_the_command(root: Client, calls: list[Call], by: str, format_: str) -> None:  # noqa: F811
    response = root.get(URL, {**OCTOBER, "by": by, "format": format_})

    assert response.content.decode() == command("--by", by, "--format", format_)
    name = f"usage_all_by_{by}_2026-10-01_2026-11-01.{format_}"
    assert response["Content-Disposition"] == f'attachment; filename="{name}"'
    if format_ == "json":
        assert json.loads(response.content)["totals"]["calls"] == 5


def test_a_download_stands_in_the_audit_log_and_looking_does_not(root: Client, calls: list[Call]) -> None:  # noqa: F811
    show(root, by="user")
    assert not LogEntry.objects.filter(action=LogEntry.Action.ACCESS).exists()
    root.get(URL, {**OCTOBER, "by": "user", "format": "csv"})

    entry = LogEntry.objects.get(action=LogEntry.Action.ACCESS)
    assert entry.actor.email == "root@example.org"
    assert entry.additional_data == {
        "what": "Downloaded a usage report.",
        "filters": "from=2026-10-01&to=2026-11-01&tz=UTC&by=user&format=csv",
    }


def test_without_a_question_it_is_the_last_days_by_model(root: Client, cast: Cast, llm: LLM) -> None:
    now = timezone.now()
    write(Call(at=now - timedelta(days=days), person=cast.alice, llm=llm) for days in (0, 28, 40))
    page = root.get(URL)
    assert table(page)[1].split()[:2] == ["openai/openai-test", "2"]
    assert page.context["form"]["to"].value() == (now.date() + timedelta(days=1)).isoformat()


def test_nothing_was_called(root: Client) -> None:
    page = show(root, by="model")
    assert "Nothing was called in this time." in page.text
    assert table(page) == []


@pytest.mark.parametrize(
    ("asked", "field", "said"),
    [
        ({"from": ""}, "from", "This field is required."),
        ({"from": "31/10/2026"}, "from", "Enter a valid date."),
        ({"from": "0001-01-01"}, "from", "greater than or equal to"),
        ({"to": "2026-10-01"}, "to", "The end must be later than the beginning"),
        ({"from": "2001-01-01", "by": "day"}, "to", "too many of these periods"),
        ({"by": "colour"}, "by", "Select a valid choice."),
        ({"by": "tag"}, "workspace", "Tags are a workspace"),
        ({"workspace": "nobody"}, "workspace", "There is no workspace with this slug."),
        ({"tag": "x"}, "tag", "Tags can be chosen only where the report is by tag."),
        ({"tz": "Mars/Phobos"}, "tz", "This is no time zone"),
        ({"tz": "../../etc/passwd"}, "tz", "This is no time zone"),
    ],
)
@pytest.mark.parametrize("format_", ["table", "csv"])
def test_what_is_wrong_is_said_at_its_field(
    root: Client, cast: Cast, asked: dict[str, str], field: str, said: str, format_: str
) -> None:
    page = show(root, **asked, format=format_)
    assert list(page.context["form"].errors) == [field]
    assert said in page.context["form"].errors[field][0]
    assert f'id="id_{field}_error"' in page.text
    assert 'id="figures"' not in page.text


def test_names_are_text(root: Client, cast: Cast, calls: list[Call]) -> None:  # noqa: F811
    cast.alice.workspace.name = '<script>alert(1)</script>"'
    cast.alice.workspace.save()
    page = show(root, by="workspace")
    assert "<script>alert(1)" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&quot;" in page.text


def test_it_asks_for_the_permission_to_see_usage(calls: list[Call]) -> None:  # noqa: F811
    nobody = clerk("view_wallet")
    for format_ in ("table", "csv", "json"):
        assert nobody.get(URL, {"format": format_}).status_code == 403
    assert "usage-report" not in nobody.get("/admin/").text
    assert Client().get(URL).status_code == 302
    User.objects.filter(email="clerk@example.org").update(email="other@example.org")
    somebody = clerk("view_usagelog")
    page = show(somebody, by="model")
    assert "/admin/llm/llm/" not in page.text
    assert URL in somebody.get("/admin/").text
    assert somebody.post(URL).status_code == 405


def test_a_long_report_is_cut_on_the_page_alone(root: Client, calls: list[Call], monkeypatch: Any) -> None:  # noqa: F811
    monkeypatch.setattr(usage_report_page, "SHOWN", 1)
    page = show(root, by="user")
    assert len(table(page)) == 3
    assert "2 more rows are in the files." in page.text
    assert table(page)[-1].startswith("Total 5 ")
    assert len(root.get(URL, {**OCTOBER, "by": "user", "format": "csv"}).content.splitlines()) == 4


@pytest.mark.parametrize(("by", "count"), [("day", 3), ("model", 4), ("provider", 4), ("user", 4), ("workspace", 4)])
def test_it_makes_few_queries_however_many_rows(root: Client, cast: Cast, llm: LLM, by: str, count: int) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            show(root, by=by)
        return len(captured)

    write([Call(at(1), cast.alice, llm)])
    rollups.roll_up()
    queries()
    assert queries() == count
    write(Call(at(1 + n), person, make_llm("anthropic", f"m-{n}")) for n, person in enumerate(cast))
    assert queries() == count
