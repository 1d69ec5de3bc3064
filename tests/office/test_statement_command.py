"""``manage.py statement``: the same as the page, for cron and scripts."""

from __future__ import annotations

import csv
import io
import stat
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from llm.models import LLM
from office.statements import Month
from tests.office.ledgers import adjust, at, call, credit
from tests.people import Cast
from tests.unguarded import run as sql
from tests.unguarded import unguarded
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme(cast: Cast, llm: LLM) -> Workspace:
    acme = cast.alice.workspace
    credit(acme, at(9), "10")
    call(cast.alice, llm, at(10, 2), "0.000001000001")
    adjust(acme, at(10, 4), "-2", "Twice\x1b[2J")
    return acme


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("statement", "--workspace", "acme", *arguments, stdout=out)
    return out.getvalue()


def test_a_table_lines_up(acme: Workspace) -> None:
    reference = acme.billing_events.get(event_type="adjustment").reference
    assert run("--month", "2026-10").splitlines() == [
        "Acme (acme), October 2026",
        "",
        "Opening balance            $10.00",
        "Credits                     $0.00",
        "Subscriptions               $0.00",
        "Usage            -$0.000001000001",
        "Platform fees               $0.00",
        "Refunds                     $0.00",
        "Adjustments                -$2.00",
        "Closing balance   $7.999998999999",
        "",
        "Agrees with the ledger: its 2 movements of the month, numbers 2 to 3, lead from the opening to the closing balance to "
        "the last digit.",
        "Amounts are in US dollars, to the last digit. The month is that of UTC.",
        "",
        "Adjustments",
        f"Time, UTC           Description  {'Reference':{len(reference)}}  Amount",
        "-" * (41 + len(reference)),
        f"Oct. 4, 2026 12:00  Twice�[2J    {reference}  -$2.00",
        "-" * (41 + len(reference)),
        f"Total                            {'':{len(reference)}}  -$2.00",
        "",
        "Usage by model",
        "Model               Calls  Tokens            Amount",
        "---------------------------------------------------",
        "openai/openai-test      1      30  -$0.000001000001",
        "---------------------------------------------------",
        "Total                   1      30  -$0.000001000001",
        "",
        "Usage by member",
        "The same usage, told apart by who asked.",
        "Member                     Calls  Tokens            Amount",
        "----------------------------------------------------------",
        "Alice (alice@example.org)      1      30  -$0.000001000001",
        "----------------------------------------------------------",
        "Total                          1      30  -$0.000001000001",
    ]


def test_a_csv_adds_up(acme: Workspace) -> None:
    rows = list(csv.DictReader(io.StringIO(run("--month", "2026-10", "--format", "csv"), newline="")))
    added = sum((Decimal(row["Amount, USD"]) for row in rows if row["Amount, USD"]), Decimal(0))
    assert added == Decimal("7.999998999999")


def test_a_pdf_goes_into_a_file_of_ones_own(acme: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "october.pdf"
    assert run("--month", "2026-10", "--format", "pdf", "--output", str(file)) == ""
    assert file.read_bytes().startswith(b"%PDF-")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_a_month_it_is_the_last_that_is_over(acme: Workspace) -> None:
    assert f"Acme (acme), {Month.of(timezone.now()).previous.name}" in run()


@pytest.mark.fleet
def test_it_fails_where_the_ledger_is_broken(acme: Workspace) -> None:
    with unguarded():
        sql("UPDATE billing_events SET amount_usd = amount_usd - 5 WHERE seq = 3")
        with pytest.raises(CommandError) as error:
            run("--month", "2026-10")
    assert "does not agree with the ledger" in str(error.value)
    assert error.value.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--month", "October"), "argument --month: “October” is no month: write it like 2026-10"),
        (("--month", "9998-01"), "argument --month: 9998-01 has not begun yet"),
        (("--format", "pdf"), "--output: A PDF needs a file: say which."),
        (("--output", "/nowhere/at/all"), "--output: /nowhere/at/all can't be written: No such file or directory."),
        (("--workspace", "nobody"), "--workspace: There is no workspace nobody."),
    ],
)
def test_what_makes_no_sense_is_refused(acme: Workspace, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError) as error:
        run(*arguments)
    assert said in str(error.value)
