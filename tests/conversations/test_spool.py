"""The spool: an answer lies on disk until it is in the database, and is settled from there after a crash."""

from __future__ import annotations

import json
import logging
import os
import stat
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from conversations import settling
from conversations.admission import Admitted
from conversations.models import Conversation, Message
from conversations.outcomes import Outcome
from llm.models import LLM
from tests.books import assert_clean
from tests.conversations.calling import ask, incidents, logs, make_conversation, sent, settle_spooled, wallet
from tests.people import Person, fund

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.ERROR):
        yield


@pytest.fixture
def spool(settings: Any) -> Path:
    return Path(settings.SPOOL_DIR)


@pytest.fixture
def conversation(alice: Person, llm: LLM) -> Conversation:
    fund(alice.workspace, "1")
    return make_conversation(alice)


def crash_while_settling(monkeypatch: pytest.MonkeyPatch, admitted: Admitted, outcome: Outcome) -> None:
    """The process dies with the outcome on disk and not in the database."""
    with monkeypatch.context() as patch:

        def die(**_: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(settling, "settle", die)
        with pytest.raises(KeyboardInterrupt):
            settle_spooled(admitted, outcome)


def files(spool: Path) -> list[str]:
    return sorted(path.name for path in spool.iterdir())


def test_it_is_written_before_and_removed_after(
    alice: Person, conversation: Conversation, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted = ask(alice, conversation)
    seen: list[dict[str, Any]] = []
    real = settling.settle

    def look(**given: Any) -> Message:
        (path,) = spool.iterdir()
        seen.append(
            {
                "name": path.name,
                "body": json.loads(path.read_text(encoding="utf-8")),
                "mode": stat.S_IMODE(path.stat().st_mode),
                "folder": stat.S_IMODE(spool.stat().st_mode),
            }
        )
        return real(**given)

    monkeypatch.setattr(settling, "settle", look)
    outcome = sent("Grüße")
    assert settle_spooled(admitted, outcome).content == "Grüße"
    (file,) = seen
    assert (file["name"], file["mode"], file["folder"]) == (f"{admitted.answer.pk}.json", 0o600, 0o700)
    assert file["body"]["workspace"] == str(alice.workspace.pk)
    assert file["body"]["message"] == str(admitted.answer.pk)
    assert Outcome.from_json(file["body"]["outcome"]) == outcome
    assert files(spool) == []


def test_the_file_and_its_name_are_flushed_to_disk(
    alice: Person, conversation: Conversation, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file before it gets its name, and the folder after it: a power cut leaves all of it or nothing."""
    flushed: list[str] = []
    real = os.fsync

    def look(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    admitted = ask(alice, conversation)
    monkeypatch.setattr(os, "fsync", look)
    settle_spooled(admitted, sent())
    assert flushed == [str(spool / f"{admitted.answer.pk}.{os.getpid()}.draft"), str(spool)]


def test_what_a_crash_left_is_settled_in_full(
    alice: Person, conversation: Conversation, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted = ask(alice, conversation)
    crash_while_settling(monkeypatch, admitted, sent("All of it"))
    assert files(spool) == [f"{admitted.answer.pk}.json"]
    assert settling.replay_spool() == 1
    message = Message.objects.get(workspace=alice.workspace, pk=admitted.answer.pk)
    assert (message.status, message.content) == ("sent", "All of it")
    assert (logs(alice)[0].charged_usd, logs(alice)[0].is_estimate) == (Decimal("0.00005"), False)
    assert files(spool) == []
    assert settling.replay_spool() == 0
    assert_clean()


def test_what_was_settled_before_the_crash_is_only_cleared_away(
    alice: Person, conversation: Conversation, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted = ask(alice, conversation)
    crash_while_settling(monkeypatch, admitted, sent())
    settling.settle(workspace_id=alice.workspace.pk, message_id=admitted.answer.pk, outcome=sent())
    assert settling.replay_spool() == 1
    assert files(spool) == []
    assert wallet(alice).balance == Decimal("0.99995")
    assert incidents(alice) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "\x00",
        '{"workspace": "not an id", "message": "x", "outcome": {}}',
        '{"workspace": 7, "message": 7, "outcome": {}}',
        '{"workspace": "WORKSPACE", "message": "MESSAGE", "outcome": null}',
        '{"workspace": "WORKSPACE", "message": "MESSAGE", "outcome": {"status": "sent"}}',
        '{"workspace": "WORKSPACE", "message": "MESSAGE", "outcome": {"tool_calls": [], "usage": {"input": -1}}}',
    ],
)
def test_an_unreadable_file_is_set_aside_and_kept(
    alice: Person, conversation: Conversation, spool: Path, text: str
) -> None:
    admitted = ask(alice, conversation)
    spool.mkdir()
    text = text.replace("WORKSPACE", str(alice.workspace.pk)).replace("MESSAGE", str(admitted.answer.pk))
    (spool / "bad.json").write_text(text)
    assert settling.replay_spool() == 0
    assert files(spool) == ["bad.unreadable"]
    assert (spool / "bad.unreadable").read_text() == text
    assert Message.objects.get(workspace=alice.workspace, pk=admitted.answer.pk).status == "pending"
    assert settling.replay_spool() == 0


def test_bytes_that_are_no_text_are_set_aside(db: None, spool: Path) -> None:
    spool.mkdir()
    (spool / "bad.json").write_bytes(b"\xff\xfe\x00")
    assert settling.replay_spool() == 0
    assert files(spool) == ["bad.unreadable"]


def test_an_answer_to_a_message_that_is_not_there_is_set_aside(
    alice: Person, conversation: Conversation, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted = ask(alice, conversation)
    admitted.answer.pk = conversation.pk
    crash_while_settling(monkeypatch, admitted, sent())
    assert settling.replay_spool() == 0
    assert files(spool) == [f"{conversation.pk}.unreadable"]


def test_one_bad_file_does_not_stop_the_others(
    alice: Person, conversation: Conversation, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither an unreadable one, nor one that fails for now: that one is tried again."""
    first, second, third = (ask(alice, conversation) for _ in range(3))
    for admitted in (first, second, third):
        crash_while_settling(monkeypatch, admitted, sent())
    (spool / "0.json").write_text("{")
    real = settling.settle

    def fail_once(**given: Any) -> Message:
        if given["message_id"] == first.answer.pk:
            raise RuntimeError("for now")
        return real(**given)

    with monkeypatch.context() as patch:
        patch.setattr(settling, "settle", fail_once)
        assert settling.replay_spool() == 2
    assert files(spool) == ["0.unreadable", f"{first.answer.pk}.json"]
    assert settling.replay_spool() == 1
    assert files(spool) == ["0.unreadable"]
    assert len(logs(alice)) == 3
    assert_clean()


def test_a_file_that_two_processes_set_aside_at_once_is_no_error(
    db: None, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.mkdir()
    (spool / "bad.json").write_text("{")
    real = Path.rename

    def faster(self: Path, target: Path) -> Path:
        real(self, target)
        raise FileNotFoundError

    monkeypatch.setattr(Path, "rename", faster)
    assert settling.replay_spool() == 0


def test_a_draft_that_was_never_finished_is_not_read(db: None, spool: Path) -> None:
    spool.mkdir()
    (spool / "x.123.draft").write_text("{")
    assert settling.replay_spool() == 0
    assert files(spool) == ["x.123.draft"]


def test_no_spool_is_an_empty_spool(db: None, spool: Path) -> None:
    assert not spool.exists()
    assert settling.replay_spool() == 0


def test_a_spool_that_cant_be_written_keeps_no_answer_back(
    alice: Person, conversation: Conversation, settings: Any
) -> None:
    admitted = ask(alice, conversation)
    in_the_way = Path(settings.SPOOL_DIR).parent / "in-the-way"
    in_the_way.parent.mkdir(parents=True, exist_ok=True)
    in_the_way.write_text("not a directory")
    settings.SPOOL_DIR = in_the_way
    message = settle_spooled(admitted, sent(usage={"input": 10, "output": 5}))
    assert message.status == "sent"
    assert_clean()


def test_drafts_of_dead_processes_are_forgotten(spool: Path) -> None:
    spool.mkdir(parents=True, exist_ok=True)
    old, fresh = spool / "a.1.draft", spool / "b.2.draft"
    for draft in (old, fresh):
        draft.write_text("half an ans")
    os.utime(old, (time.time() - 3700, time.time() - 3700))
    assert settling.replay_spool() == 0
    assert not old.exists()
    assert fresh.exists()
