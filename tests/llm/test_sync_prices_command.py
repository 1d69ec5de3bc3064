"""``manage.py sync_prices``: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
from datetime import datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from llm import price_source
from llm.models import LLM, PriceProposal
from llm.price_source import Source
from tests.catalogue import SINCE, make_llm
from tests.llm.listing import listed, listing, source

pytestmark = pytest.mark.django_db


@pytest.fixture
def llm(db: None) -> LLM:
    return make_llm()


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what the installed package says."""

    def put(*listings: Any) -> None:
        def installed(*, at: datetime) -> Source:
            return source(*listings)

        monkeypatch.setattr(price_source, "installed", installed)

    return put


def run(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("sync_prices", *arguments, stdout=out, stderr=out)
    except SystemExit as ended:
        return int(str(ended.code)), out.getvalue()
    return 0, out.getvalue()


def test_nothing_differs(llm: LLM, there: Any) -> None:
    there(listing("openai/openai-test", listed()))
    assert run() == (0, "Compared with prices 1.\n0 differ, 1 agree, 0 unknown there, 0 new there.\n")


def test_differences_are_printed_and_nothing_is_written(llm: LLM, there: Any) -> None:
    make_llm("anthropic", "gone")
    there(listing("openai/openai-test", listed("1.1", "5")), listing("openai/new", listed()))
    code, text = run()
    assert code == 1
    assert [line.split() for line in text.splitlines()[1:4]] == [
        ["model", "rate", "for", "ours", "there", "change"],
        ["openai/openai-test", "input", "1.00", "1.10", "10.0", "%", "differs"],
        ["openai/openai-test", "output", "2.00", "5.00", "150.0", "%", "differs"],
    ]
    assert "anthropic/gone: unknown there" in text
    assert text.endswith("1 differ, 0 agree, 1 unknown there, 1 new there.\n")
    assert not PriceProposal.objects.exists()


def test_as_json(llm: LLM, there: Any) -> None:
    there(listing("openai/openai-test", listed("1.1")), listing("openai/new", listed()))
    code, text = run("--format", "json")
    told = json.loads(text)
    assert code == 1
    assert told["differences"] == [
        {
            "model": "openai/openai-test",
            "state": "differs",
            "effective_from": None,
            "changes": [
                {"kind": "input", "above_tokens": 0, "hours": "", "old": "1.00", "new": "1.10", "percent": "10.0"}
            ],
        }
    ]
    assert (told["source"], told["new"]) == ("prices 1", ["openai/new"])


def test_apply_stores_what_is_small_and_lets_the_rest_wait(llm: LLM, there: Any, settings: Any) -> None:
    there(listing("openai/openai-test", listed("1.2")))
    assert run("--apply")[0] == 0
    assert llm.prices.count() == 2
    there(listing("openai/openai-test", listed("1.3")))
    settings.PRICE_SYNC_MAX_CHANGE_PERCENT = 5
    for _ in range(2):
        code, text = run("--apply")
        assert code == 1
        assert "waiting" in text
    assert (llm.prices.count(), llm.price_proposals.filter(state="open").count()) == (2, 1)


def test_what_was_rejected_waits_no_more(llm: LLM, there: Any) -> None:
    there(listing("openai/openai-test", listed("5")))
    assert run("--propose")[0] == 1
    llm.price_proposals.update(state="rejected", decided_at=SINCE)
    for arguments in ([], ["--apply"], ["--propose"]):
        code, text = run(*arguments)
        assert code == 0
        assert "rejected" in text


def test_from_a_day_on(llm: LLM, there: Any) -> None:
    there(listing("openai/openai-test", listed("1.1")))
    for _ in range(2):
        assert run("--apply", "--from", "2200-01-01")[0] == 0
    assert llm.prices.order_by("effective_from").last().effective_from.isoformat() == "2200-01-01T00:00:00+00:00"  # type: ignore[union-attr]
    assert llm.prices.count() == 2


@pytest.mark.parametrize(
    "arguments",
    [["--from", "2200-01-01"], ["--apply", "--from", "soon"], ["--apply", "--from", "2026-01-01"],
     ["--apply", "--from", "2200-01-01T00:00:00"], ["--add-new", "openai/nothing"]],
)  # fmt: skip
def test_what_it_refuses(llm: LLM, there: Any, arguments: list[str]) -> None:
    there(listing("openai/openai-test", listed("1.1")))
    with pytest.raises(CommandError):
        run(*arguments)
    assert llm.prices.count() == 1


def test_new_models_are_added_inactive_once(there: Any) -> None:
    there(listing("openai/a", listed()), listing("openai/b", listed()))
    assert "openai/b: added, inactive" in run("--add-new", "openai/b")[1]
    for _ in range(2):
        assert run("--add-new")[0] == 0
    assert [(llm.name, llm.is_active, llm.prices.count()) for llm in LLM.objects.order_by("name")] == [
        ("a", False, 1),
        ("b", False, 1),
    ]


def test_with_the_installed_package(llm: LLM) -> None:
    code, text = run()
    assert code == 0
    assert "openai/openai-test: unknown there" in text
    assert "Compared with genai-prices " in text
