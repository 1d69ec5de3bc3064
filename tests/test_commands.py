"""The commands as an operator meets them: what they print, and how they end."""

from __future__ import annotations

import io
import json
import stat
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command

from conversations import trial
from conversations.models import Conversation, Message, UsageLog
from llm import catalogue
from llm.models import LLM
from tests.books import assert_clean
from tests.conversations.calling import ask, checkpoint, events, lapse, make_conversation, wallet
from tests.house import house
from tests.people import Cast, Person, fund
from workspaces import tokens
from workspaces.authentication import caller_of
from workspaces.models import AccessToken, Membership, Scope, User, Workspace

__all__ = ["house"]
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def var(settings: Any, tmp_path: Path) -> Path:
    settings.VAR_DIR = tmp_path / "var"
    return tmp_path / "var"


def run(name: str, *arguments: str, **options: Any) -> str:
    out = io.StringIO()
    call_command(name, *arguments, stdout=out, **options)
    return out.getvalue()


def failure(name: str, *arguments: str) -> str:
    with pytest.raises(CommandError) as error:
        run(name, *arguments)
    assert error.value.returncode == 1
    return str(error.value)


# --- create_token -----------------------------------------------------------------------------------------------------


def test_create_token_prints_the_token_and_nothing_else(alice: Person) -> None:
    out = run("create_token", "--user", "ALICE@example.org", "--workspace", "acme", "--name", "CI")
    raw = out.removesuffix("\n")
    assert tokens.is_well_formed(raw)
    caller = caller_of(raw)
    assert caller is not None
    assert (caller.user, caller.workspace, caller.token.name) == (alice.user, alice.workspace, "CI")


def test_create_token_says_what_is_wrong(cast: Cast) -> None:
    User.objects.create_user("gone@example.org", is_active=False)
    count = AccessToken.objects.count()

    def said(user: str, workspace: str, name: str = "x") -> str:
        return failure("create_token", "--user", user, "--workspace", workspace, "--name", name)

    assert said("nobody@example.org", "acme") == "There is no active user nobody@example.org."
    assert said("gone@example.org", "acme") == "There is no active user gone@example.org."
    assert said("alice@example.org", "nowhere") == "There is no workspace nowhere."
    assert said("alice@example.org", "rival") == "alice@example.org is not a member of rival."
    assert said("alice@example.org", "acme", " ") == "A token's name has 1 to 100 characters."
    assert said("alice@example.org", "acme", "x" * 101) == "A token's name has 1 to 100 characters."
    assert AccessToken.objects.count() == count


def test_create_token_narrows_it(alice: Person, llm: LLM) -> None:
    def narrowed(*options: str) -> AccessToken:
        raw = run("create_token", "--user", "alice@example.org", "--workspace", "acme", "--name", "CI", *options)
        return AccessToken.objects.get(digest=tokens.digest(raw.removesuffix("\n")))

    plain = narrowed()
    assert (plain.scopes, plain.expires_at, plain.allowed_models) == (Scope.values, None, [])
    token = narrowed("--scopes", "read, chat", "--expires-in", "30", "--allowed-models", str(llm))
    assert (token.scopes, token.allowed_models) == (["chat", "read"], ["openai/openai-test"])
    assert token.expires_at - token.created_at - timedelta(days=30) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--scopes", "chat,all"), "There is no scope all; there are chat, read, billing, keys, admin."),
        (("--scopes", " , "), "A token without a scope can do nothing: give one or more."),
        (("--expires-in", "0"), "A token expires in 1 to 36500 days."),
        (("--expires-in", "36501"), "A token expires in 1 to 36500 days."),
        (("--allowed-models", "openai/gone"), "There is no model openai/gone."),
        (("--allowed-models", ""), "Give one or more models, or leave the option out."),
    ],
)
def test_create_token_says_which_rule_is_wrong(alice: Person, options: tuple[str, str], said: str) -> None:
    count = AccessToken.objects.count()
    who = ("--user", "alice@example.org", "--workspace", "acme", "--name", "CI")
    assert failure("create_token", *who, *options) == said
    assert AccessToken.objects.count() == count


# --- top_up -----------------------------------------------------------------------------------------------------------


def test_top_up_credits_once(alice: Person) -> None:
    assert run("top_up", "acme", "12.50", "--reference", "inv-1") == (
        "acme: credited 12.50 USD (inv-1), balance 12.50 USD\n"
    )
    assert run("top_up", "acme", "12.5", "--reference", "inv-1") == (
        "acme: was credited before, nothing done: 12.50 USD (inv-1), balance 12.50 USD\n"
    )
    run("top_up", "acme", "0.000000000001", "--reference", "inv-2", "--description", "A gift")
    assert [(event.amount_usd, event.description) for event in events(alice)] == [
        (Decimal("12.5"), "Top-up"),
        (Decimal("0.000000000001"), "A gift"),
    ]


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("five", "“five” is not an amount."),
        ("0", "A credit is more than 0 and at most 1,000,000.00 USD."),
        ("-5", "A credit is more than 0 and at most 1,000,000.00 USD."),
        ("1000000.01", "A credit is more than 0 and at most 1,000,000.00 USD."),
        ("NaN", "An amount must be finite."),
        ("1E999999999", "An amount may not be larger than $4,000,000."),
        ("0.0000000000001", "An amount has at most 12 decimal places."),
    ],
)
def test_top_up_refuses_what_is_no_credit(alice: Person, amount: str, said: str) -> None:
    assert failure("top_up", "acme", amount, "--reference", "r") == said
    assert events(alice) == []


def test_top_up_says_what_else_is_wrong(alice: Person) -> None:
    assert failure("top_up", "nowhere", "5", "--reference", "r") == "There is no workspace nowhere."
    assert failure("top_up", "acme", "5", "--reference", " ") == "A reference of 1 to 200 characters is required."
    run("top_up", "acme", "5", "--reference", "r")
    assert (
        failure("top_up", "acme", "6", "--reference", "r") == "The reference “r” was already used for another movement."
    )
    with pytest.raises(CommandError, match="--reference"):
        run("top_up", "acme", "5")
    assert wallet(alice).balance == Decimal("5")


# --- sweep_holds, reconcile_usage -------------------------------------------------------------------------------------


def test_sweep_holds_says_what_it_did(alice: Person, llm: LLM) -> None:
    fund(alice.workspace, "1")
    conversation = make_conversation(alice)
    with_text, without, running = (ask(alice, conversation) for _ in range(3))
    checkpoint(with_text, "Half")
    lapse(with_text)
    lapse(without)
    assert run("sweep_holds") == "sweep_holds: 0 replayed, 1 interrupted, 1 lost\n"
    assert run("sweep_holds") == "sweep_holds: 0 replayed, 0 interrupted, 0 lost\n"
    assert run("sweep_holds", "--ignore-leases") == "sweep_holds: 0 replayed, 0 interrupted, 1 lost\n"
    assert Message.objects.get(workspace=alice.workspace, pk=running.answer.pk).error_code == "lost"
    assert_clean()


def test_reconcile_usage_says_what_it_did(alice: Person, llm: LLM) -> None:
    fund(alice.workspace, "1")
    conversation = make_conversation(alice)
    fields = {"workspace": alice.workspace, "conversation": conversation, "user": alice.user, "llm": llm}
    (message,) = Message.objects.bulk_create([Message(**fields, role="assistant", status="sent", content="x" * 40)])
    found = "reconcile_usage: 1 found, {} metered, {} failed"
    assert run("reconcile_usage", "--dry-run").splitlines() == [f"{message.pk}: not metered", found.format(0, 0)]
    assert run("reconcile_usage").splitlines() == [
        f"{message.pk}: metered, 10 tokens, charged 0.00002",
        found.format(1, 0),
    ]
    assert run("reconcile_usage") == "reconcile_usage: 0 found, 0 metered, 0 failed\n"
    unpriced = LLM.objects.create(
        provider="openai", name="unpriced", display_name="x", context_window=9, max_output_tokens=9
    )
    Message.objects.bulk_create([Message(**{**fields, "llm": unpriced}, role="assistant", status="sent")])
    out = io.StringIO()
    with pytest.raises(SystemExit) as end:
        call_command("reconcile_usage", stdout=out)
    assert end.value.code == 1
    assert out.getvalue().splitlines()[-1] == found.format(0, 1)


# --- The trial and demo -----------------------------------------------------------------------------------------------


@pytest.fixture
def demo_model(db: None) -> None:
    catalogue.seed(django_settings.BASE_DIR / "fixtures" / "demo_llm.json")


def test_the_trial_is_prepared_once(demo_model: None, var: Path) -> None:
    first = trial.prepare()
    assert trial.prepare() == first
    workspace = Workspace.objects.get(slug="demo")
    user = User.objects.get(email=first.email)
    assert user.is_superuser
    assert user.check_password(first.password)
    assert Membership.objects.get(workspace=workspace).role == "owner"
    assert Conversation.objects.get(workspace=workspace).pk.hex == first.conversation_id.replace("-", "")
    caller = caller_of(first.token)
    assert caller is not None
    assert caller.workspace == workspace
    assert AccessToken.objects.count() == 1
    assert stat.S_IMODE((var / "trial.json").stat().st_mode) == 0o600
    assert [path.name for path in var.iterdir()] == ["trial.json"]
    assert first.password not in repr(first)
    assert first.token not in repr(first)


def test_its_opening_credit_is_given_once(demo_model: None) -> None:
    for _ in range(3):
        trial.prepare()
    workspace = Workspace.objects.get(slug="demo")
    from billing.ledger import wallet_of

    assert wallet_of(workspace.pk).balance == Decimal("5")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"password": "x"'])
def test_a_torn_note_of_the_trial_is_written_anew(demo_model: None, var: Path, text: str) -> None:
    trial.prepare()
    (var / "trial.json").write_text(text)
    again = trial.prepare()
    assert User.objects.get(email=again.email).check_password(again.password)
    assert caller_of(again.token) is not None
    assert json.loads((var / "trial.json").read_text())["token"] == again.token


def test_a_revoked_token_is_replaced(demo_model: None) -> None:
    from django.utils import timezone

    first = trial.prepare()
    AccessToken.objects.update(revoked_at=timezone.now())
    again = trial.prepare()
    assert again.token != first.token
    assert caller_of(again.token) is not None
    assert again.password == first.password


@pytest.mark.parametrize("status", ["deleted", "archived"])
def test_a_conversation_that_can_not_be_used_is_replaced(demo_model: None, status: str) -> None:
    first = trial.prepare()
    workspace = Workspace.objects.get(slug="demo")
    Conversation.objects.filter(workspace=workspace).update(status=status)
    again = trial.prepare()
    assert again.conversation_id != first.conversation_id
    assert trial.prepare() == again


@pytest.mark.django_db(transaction=True)
def test_demo_prints_the_whole_road(demo_model: None) -> None:
    lines = run("demo", "What does a token cost?").splitlines()
    told = dict(line.split(None, 1) for line in lines)
    assert list(told) == ["message", "answer", "model", "tokens", "price", "held", "cost", "balance"]
    workspace = Workspace.objects.get(slug="demo")
    log = UsageLog.objects.select_related("message").get(workspace=workspace)
    assert told["message"] == "What does a token cost?"
    assert told["answer"] == log.message.content.splitlines()[0]
    assert told["model"] == "demo/demo-1"
    assert told["tokens"] == f"{log.total_tokens} ({log.input_tokens} in, {log.output_tokens} out)"
    assert told["price"] == "$1 in, $2 out, per million tokens, since 2026-01-01"
    cost = log.input_tokens * Decimal("0.000001") + log.output_tokens * Decimal("0.000002")
    assert log.charged_usd == cost
    assert told["cost"] == f"${cost.normalize():f}"
    assert told["balance"] == f"$5.00 before, ${(5 - cost).normalize():f} after"
    assert told["held"].endswith(" while it ran")
    assert_clean()


@pytest.mark.django_db(transaction=True)
def test_demo_says_why_it_can_not(demo_model: None) -> None:
    trial.prepare()
    Workspace.objects.filter(slug="demo").update(status="suspended")
    assert failure("demo") == "The workspace is suspended."


def test_demo_without_its_model_says_what_to_do(db: None) -> None:
    assert failure("demo") == "There is no demo model yet; run “manage.py setup --demo” first."
