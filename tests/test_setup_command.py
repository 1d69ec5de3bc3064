"""``setup`` and its companions on an installation of their own: from nothing, again, and when a step fails."""

from __future__ import annotations

import json
import re

import pytest

from tests.installation import SERVER, Installation
from tests.installed import empty, fail_at, installed, once, trial_of
from workspaces import tokens

__all__ = ["empty", "installed", "once"]
pytestmark = pytest.mark.timeout(600)
STEPS = ["migrate", "seed models", "demo model", "trial workspace", "static files", "leftovers", "verify"]


IN_PART = ", the books in part: audit_ledger proves them"


def steps(output: str) -> dict[str, str]:
    """What each step said, without its time."""
    found = re.findall(r"^\[(\d)/(\d)\] ([^:]+): (.*) \(\d+\.\d s\)$", output, re.MULTILINE)
    assert [number for number, *_ in found] == [str(number) for number in range(1, len(found) + 1)]
    assert {of for _, of, *_ in found} <= {str(len(found))}
    return {name: said for _, _, name, said in found}


def test_from_nothing_every_step_is_told(once: tuple[Installation, str]) -> None:
    installation, output = once
    told = steps(output)
    assert list(told) == STEPS
    assert re.fullmatch(r"\d+ migrations applied", told["migrate"])
    assert told["seed models"] == "12 created, 0 updated, 0 prices superseded, 0 unchanged"
    assert told["demo model"] == "created"
    assert told["trial workspace"] == "workspace “demo”, user demo@synapscale.local"
    assert told["leftovers"] == "0 replayed, 0 interrupted, 0 lost, 0 reconciled"
    assert told["verify"] == "5/5" + IN_PART
    assert "warning" not in output
    access = trial_of(installation)
    assert f"http://127.0.0.1:8000/admin/   {access['email']} / {access['password']}" in output
    assert f"curl -s http://127.0.0.1:8000/api/v1/conversations/{access['conversation_id']}/messages" in output
    assert f"Authorization: Bearer {access['token']}" in output


def test_again_it_finds_everything_there(installed: Installation) -> None:
    before, access = installed.state(), trial_of(installed)
    ended = installed.manage("setup", "--demo")
    assert ended.returncode == 0, ended.stderr
    told = steps(ended.stdout)
    assert told["migrate"] == "nothing to do"
    assert told["seed models"] == "0 created, 0 updated, 0 prices superseded, 12 unchanged"
    assert told["demo model"] == "there already"
    assert installed.state() == before
    assert trial_of(installed) == access


@pytest.mark.parametrize("step", ["migrate", "trial workspace"])
def test_on_an_empty_database_a_failed_step_leaves_it_empty(empty: Installation, step: str) -> None:
    fail_at(empty, step)
    before = empty.state()
    ended = empty.manage("setup", "--demo")
    assert ended.returncode == 1
    number = STEPS.index(step) + 1
    assert f"step {number}/7 “{step}” failed: " in ended.stderr
    assert ended.stderr.rstrip().endswith("The database is as it was before.")
    assert "Traceback" not in ended.stderr
    assert len(re.findall(r"^\[", ended.stdout, re.MULTILINE)) == number - 1
    assert empty.state() == before


OLD = {"conversations": "0002", "billing": "0002", "llm": "0002", "workspaces": "0001"}


@pytest.fixture
def old(empty: Installation) -> Installation:
    """An installation of an earlier version, with a workspace in it."""
    steps = [("contenttypes",), ("auth",), ("admin",), ("sessions",), *OLD.items()]
    empty.python(
        "from django.core.management import call_command\n"
        + "\n".join(f"call_command('migrate', *{step})" for step in steps)
    )
    space, wallet, now = "0" * 31 + "1", "0" * 31 + "2", "2026-01-01 00:00:00"
    empty.sql(
        "INSERT INTO workspaces (id, created_at, name, slug, kind, status, allowed_models, default_model, keeps_api_content) "
        f"VALUES ('{space}', '{now}', 'Acme', 'acme', 'individual', 'active', '[]', '', '1')"
    )
    empty.sql(
        "INSERT INTO wallets (id, created_at, mode, status, balance, held, credit_limit, seq, markup_bps, workspace_id) "
        f"VALUES ('{wallet}', '{now}', 'prepaid', 'open', 0, 0, 0, 0, 0, '{space}')"
    )
    return empty


def test_a_failed_migration_undoes_the_ones_before_it(old: Installation) -> None:
    """Each of them is a transaction of its own elsewhere, and on SQLite they rebuild tables with what is in them."""
    old.sql("CREATE TABLE token_spends (in_the_way INTEGER)")
    before = old.state()
    ended = old.manage("setup")
    assert ended.returncode == 1
    assert "“migrate” failed: " in ended.stderr
    assert old.state() == before

    old.sql("DROP TABLE token_spends")
    ended = old.manage("setup")
    assert (ended.returncode, ended.stderr) == (0, "")
    told = steps(ended.stdout)
    assert list(told) == ["migrate", "seed models", "static files", "leftovers", "verify"]  # and no trial
    assert re.fullmatch(r"\d+ migrations applied", told["migrate"])
    assert told["verify"] == "5/5" + IN_PART
    assert old.sql("SELECT count(*) FROM users") == [(0,)]
    assert old.sql("SELECT w.slug FROM workspaces w JOIN wallets x ON x.workspace_id = w.id") == [("acme",)]


def test_on_one_in_use_a_failed_step_leaves_everything_as_it_was(installed: Installation) -> None:
    """Also what earlier steps of this run had changed: here the catalogue, put back to its own description."""
    folder = installed.folder / "var" / "static"
    folder.rename(installed.folder / "var" / "elsewhere")
    fail_at(installed, "static files")
    installed.sql("UPDATE llms SET display_name = 'Renamed' WHERE provider = 'grok'")
    before = installed.state()
    ended = installed.manage("setup")
    assert ended.returncode == 1
    assert "[2/5] seed models: 0 created, 1 updated" in ended.stdout
    assert "“static files” failed: " in ended.stderr
    assert installed.state() == before


def test_once_nothing_is_in_the_way_it_succeeds_without_a_trial(empty: Installation) -> None:
    fail_at(empty, "migrate")
    assert empty.manage("setup").returncode == 1
    empty.sql("DROP TABLE billing_events")
    ended = empty.manage("setup")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert list(steps(ended.stdout)) == ["migrate", "seed models", "static files", "leftovers", "verify"]
    assert empty.state()["users"] == []


def test_a_fault_of_the_installation_ends_it_and_undoes_nothing(installed: Installation) -> None:
    """What was prepared is right all the same, and a server may have begun to use it."""
    fail_at(installed, "verify")
    installed.sql("UPDATE llms SET display_name = 'Renamed' WHERE provider = 'grok'")
    ended = installed.manage("setup")
    assert ended.returncode == 1
    assert "step 5/5 “verify” failed: services: FileExistsError: " in ended.stderr
    assert ended.stderr.rstrip().endswith("What the steps before it did is kept.")
    assert installed.sql("SELECT count(*) FROM llms WHERE display_name = 'Renamed'") == [(0,)]


def test_a_missing_guard_ends_it(installed: Installation) -> None:
    installed.sql("DROP TRIGGER holds_frozen" + (" ON holds" if SERVER else ""))
    ended = installed.manage("setup")
    assert ended.returncode == 1
    assert "“verify” failed: relationships: trigger holds_frozen is missing" in ended.stderr


def test_what_is_to_be_seen_to_is_told_and_does_not_end_it(installed: Installation) -> None:
    """Or a model without a price, or one row of a year of books, would keep everybody from being served."""
    installed.python(
        "LLM.objects.create(provider='openai', name='unpriced', display_name='x', context_window=9, max_output_tokens=9)"
    )
    installed.sql("UPDATE wallets SET held = 1")
    ended = installed.manage("setup", "--demo", "--address", "http://127.0.0.1:8000/")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert steps(ended.stdout)["verify"] == "3/5" + IN_PART
    assert [line for line in ended.stdout.splitlines() if line.startswith("warning: ")] == [
        "warning: services: openai/unpriced has no price now; give it one or retire it in the back office",
        "warning: data consistency: held: 1 rows break “what a wallet holds is the sum of its open holds”; "
        "audit_ledger names them",
    ]
    assert "SynapScale on http://127.0.0.1:8000" in ended.stdout
    assert installed.manage("verify").returncode == 1


def test_answers_that_were_not_metered_are(installed: Installation) -> None:
    add = (
        "chat = Conversation.objects.get(); "
        "Message.objects.bulk_create([Message(workspace=chat.workspace, conversation=chat, user=chat.user, "
        "llm=LLM.objects.get({}), role='assistant', status='sent', content='x' * 40)])"
    )
    installed.python(add.format("provider='demo'"))
    ended = installed.manage("setup")
    assert (ended.returncode, ended.stderr) == (0, "")
    told = steps(ended.stdout)
    assert told["leftovers"] == "0 replayed, 0 interrupted, 0 lost, 1 reconciled"
    assert told["verify"] == "5/5" + IN_PART

    unpriced = "provider='openai', name='unpriced', display_name='x', context_window=9, max_output_tokens=9"
    installed.python(f"LLM.objects.create({unpriced}, is_active=False); " + add.format("name='unpriced'"))
    ended = installed.manage("setup")
    assert ended.returncode == 0, ended.stderr
    assert "warning: leftovers: 1 answers can't be metered; reconcile_usage says why" in ended.stdout


# --- The other commands, as processes ---------------------------------------------------------------------------------


def test_create_token_puts_only_the_token_on_stdout(installed: Installation) -> None:
    ended = installed.manage("create_token", "--user", "demo@synapscale.local", "--workspace", "demo", "--name", "CI")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert tokens.is_well_formed(ended.stdout.removesuffix("\n"))
    ended = installed.manage("create_token", "--user", "nobody@example.org", "--workspace", "demo", "--name", "CI")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "CommandError: There is no active user nobody@example.org.\n"


def test_top_up_ends_with_one_when_it_refuses(installed: Installation) -> None:
    for said in ("credited 1.00", "was credited before, nothing done: 1.00"):
        ended = installed.manage("top_up", "demo", "1", "--reference", "r")
        assert (ended.returncode, ended.stdout) == (0, f"demo: {said} USD (r), balance 6.00 USD\n")
    ended = installed.manage("top_up", "demo", "-1", "--reference", "s")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "CommandError: A credit is more than 0 and at most 1,000,000.00 USD.\n"


def test_a_message_from_end_to_end_and_the_books_after_it(installed: Installation) -> None:
    ended = installed.manage("demo", "Hello")
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"^balance  \$5\.00 before, \$4\.99\d+ after$", ended.stdout, re.MULTILINE)
    for command in ("sweep_holds", "audit_ledger", "verify"):
        ended = installed.manage(command)
        assert (ended.returncode, ended.stderr) == (0, ""), command
    assert ended.stdout.splitlines()[-1] == "verify: 5/5"


def test_broken_books_end_with_one(installed: Installation) -> None:
    installed.sql("UPDATE wallets SET held = 1")
    ended = installed.manage("audit_ledger", "--json")
    assert ended.returncode == 1
    told = json.loads(ended.stdout)
    assert told["clean"] is False
    assert [finding["name"] for finding in told["findings"] if finding["count"]] == ["held"]
