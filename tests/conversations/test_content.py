"""What is said in one-shot calls is stored nowhere, where a workspace wants it so, and costs the same."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from conversations import calls, chat, settling, sweeper
from conversations.calls import Call
from conversations.models import Message
from llm import client
from llm.models import LLM
from llm.types import ChatMessage
from synapscale.common.db import in_db
from tests.api.asking import Api, messages_of
from tests.books import assert_clean
from tests.conversations.calling import answer_of, answered, ask, failed, lapse, logs, make_conversation, sent, settle
from tests.conversations.running import nothing, run
from tests.conversations.shooting import CALLED, PIECES, WORD, api_conversations, keep_nothing, secret_shot, shoot
from tests.people import Cast, Person, fund
from tests.providers.standins import StandIn, answer, fault, refusal
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db


def everything_stored(spool: Path) -> str:
    """Every column of every row of every table, and every file of the spool."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            for row in cursor.fetchall():
                found.append(f"{table}: " + " ".join(_as_text(value) for value in row))
    for path in spool.rglob("*") if spool.exists() else ():
        if path.is_file():
            found.append(f"{path.name}: {path.read_text()}")
    return "\n".join(line for line in found if WORD in line.lower())


def _as_text(value: Any) -> str:
    return bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)


async def stop_in_the_middle(call: Call) -> None:
    await call.first_piece(seconds=20)
    call.stop()


ENDS: dict[str, tuple[Any, Any, bool, str]] = {
    # what the provider does, what happens meanwhile, whether it streams, and the status in the end
    "answered": (answer(chunks=PIECES[:3], tool_calls=[CALLED]), nothing, True, "sent"),
    "answered at once": (answer(f"{WORD}!", tool_calls=[CALLED]), nothing, False, "sent"),
    "without usage": (answer(chunks=PIECES[:3], usage_times=0), nothing, True, "sent"),
    "cut": (fault("cut", after=4, chunks=PIECES), nothing, True, "interrupted"),
    "refused": (refusal(400, message=f"{WORD} is not allowed"), nothing, True, "error"),
    "failed": (refusal(500, message=f"{WORD} is down"), nothing, False, "error"),
    "stopped": (answer(chunks=PIECES, delay=0.02), stop_in_the_middle, True, "interrupted"),
}


@pytest.mark.fleet
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("end", ENDS)
def test_nothing_that_was_said_is_stored(
    funded: Person,
    house_keys: StandIn,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    behaviour, scenario, streams, status = ENDS[end]
    settings.CHECKPOINT_SECONDS = 0.02
    keep_nothing(funded)
    house_keys.always(behaviour)
    seen: list[str] = []
    real = settling.settle

    def look(**given: Any) -> Message:
        """With the outcome in the spool and not yet in the database."""
        spool = Path(settings.SPOOL_DIR)
        assert [path.suffix for path in spool.iterdir()] == [".json"]
        seen.append(everything_stored(spool))
        return real(**given)

    monkeypatch.setattr(settling, "settle", look)
    with caplog.at_level(logging.DEBUG, logger="conversations"):
        call, outcome = run(secret_shot(funded), scenario, streams=streams)
    assert seen == [""]
    assert everything_stored(Path(settings.SPOOL_DIR)) == ""
    assert WORD not in caplog.text
    message = answer_of(call.admitted)
    assert (message.status, message.content, message.tool_calls) == (status, "", [])
    # Whoever asked gets it all the same.
    assert (WORD in outcome.content) is (status != "error")
    (log,) = logs(funded)
    assert log.model_settings["tools"] == 1
    assert log.model_settings["tool_choice"] == "named"
    assert_clean()


@pytest.mark.fleet
@pytest.mark.django_db(transaction=True)
def test_nor_is_it_after_a_checkpoint_a_crash_and_a_sweep(funded: Person, house_keys: StandIn, settings: Any) -> None:
    settings.CHECKPOINT_SECONDS = 0.02
    keep_nothing(funded)
    house_keys.answer(chunks=PIECES, delay=0.05)
    admitted = secret_shot(funded)
    spool = Path(settings.SPOOL_DIR)
    checkpoints: list[dict[str, Any]] = []

    def look() -> bool:
        message = answer_of(admitted)
        if message.status != "streaming":
            return False
        checkpoints.append(message.call["checkpoint"])
        assert everything_stored(spool) == ""
        return True

    async def crash() -> None:
        chat.start(admitted, streams=True)
        while not await in_db(look):  # noqa: ASYNC110 (a state of the database)
            await asyncio.sleep(0.01)
        await calls.drain(seconds=0)
        await client.aclose_all()

    asyncio.run(crash())
    assert answer_of(admitted).status == "streaming"
    lapse(admitted)
    assert sweeper.sweep().interrupted == 1
    assert everything_stored(spool) == ""
    message = answer_of(admitted)
    assert (message.status, message.content) == ("interrupted", "")
    (log,) = logs(funded)
    assert checkpoints[-1]["written_bytes"] > 0
    assert log.output_tokens >= -(-checkpoints[-1]["written_bytes"] // 4)
    assert log.charged_usd == Decimal(log.input_tokens + 2 * log.output_tokens).scaleb(-6)
    assert_clean()


@pytest.mark.fleet
@pytest.mark.django_db(transaction=True)
def test_nor_is_it_after_a_crash_with_the_outcome_on_disk(
    funded: Person, house_keys: StandIn, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_nothing(funded)
    house_keys.answer(chunks=PIECES, tool_calls=[CALLED], usage={"input": 10, "output": 50})
    admitted = secret_shot(funded)
    spool = Path(settings.SPOOL_DIR)

    def crash(**_: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(settling, "settle", crash)
        with pytest.raises(RuntimeError):
            run(admitted)
    (left,) = spool.iterdir()
    assert WORD not in left.read_text()
    assert settling.replay_spool() == 1
    message = answer_of(admitted)
    assert (message.status, message.content, logs(funded)[0].charged_usd) == ("sent", "", Decimal("0.00011"))
    assert everything_stored(spool) == ""


def test_a_late_outcome_leaves_none_either(funded: Person) -> None:
    """Whoever settles: the message itself says that nothing of it is kept."""
    keep_nothing(funded)
    message = settle(shoot(funded), sent(f"{WORD}!", usage=None))
    message.refresh_from_db()
    assert (message.content, message.call["outcome"]["written_bytes"]) == ("", 9)


def test_where_content_is_kept_it_is_kept(funded: Person) -> None:
    admitted = secret_shot(funded)
    settle(admitted, sent(f"{WORD}!"))
    question, reply = Message.objects.filter(workspace=funded.workspace).order_by("id")
    assert (question.content, question.role, reply.content) == (f"{WORD} is an island.", "tool", f"{WORD}!")
    assert logs(funded)[0].model_settings["tools"] == [f"find_{WORD}"]
    assert logs(funded)[0].model_settings["tool_choice"] == f"find_{WORD}"


def test_what_is_asked_in_a_chat_is_kept_in_it(funded: Person) -> None:
    """The policy is about the conversation of API calls; a call that names a chat is a part of that chat."""
    keep_nothing(funded)
    conversation = make_conversation(funded)
    settle(ask(funded, conversation, "Here", turns=(ChatMessage("user", "Here"),)), sent("There"))
    said = Message.objects.filter(workspace=funded.workspace, conversation=conversation).order_by("id")
    assert [row.content for row in said] == ["Here", "There"]


def test_what_was_agreed_at_the_start_holds_to_the_end(funded: Person) -> None:
    """The rule is changed while the call is under way."""
    keep_nothing(funded)
    secret = shoot(funded, WORD)
    Workspace.objects.filter(pk=funded.workspace.pk).update(keeps_api_content=True)
    assert settle(secret, sent(WORD)).content == ""
    funded.workspace.refresh_from_db()
    kept = shoot(funded, WORD)
    keep_nothing(funded)
    assert settle(kept, sent(WORD)).content == WORD


def test_metadata_is_the_clients_own_and_stays(funded: Person) -> None:
    keep_nothing(funded)
    admitted = shoot(funded, metadata={"ticket": "42"})
    assert Message.objects.get(workspace=funded.workspace, pk=admitted.question.pk).metadata == {"ticket": "42"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("end", ["without usage", "cut"])
def test_estimates_are_the_same_with_content_and_without(cast: Cast, llm: LLM, house_keys: StandIn, end: str) -> None:
    behaviour, scenario, streams, _ = ENDS[end]
    keep_nothing(cast.charlie)
    rows = []
    for person in (cast.alice, cast.charlie):
        fund(person.workspace, "1")
        house_keys.always(behaviour)
        run(secret_shot(person), scenario, streams=streams)
        (log,) = logs(person)
        assert log.is_estimate
        rows.append((log.input_tokens, log.output_tokens, log.reasoning_tokens, log.cost_usd, log.charged_usd))
    assert rows[0] == rows[1]
    assert rows[0][1] > 0
    assert_clean()


def test_estimates_of_a_sweep_are_the_same_too(cast: Cast, llm: LLM) -> None:
    from llm.types import Usage
    from tests.conversations.calling import checkpoint

    keep_nothing(cast.charlie)
    charged = []
    for person in (cast.alice, cast.charlie):
        fund(person.workspace, "1")
        admitted = shoot(person)
        kept = person is cast.alice
        checkpoint(
            admitted,
            "Grüße 😀" if kept else "",
            written_bytes=len("Grüße 😀".encode()),
            thought_bytes=9,
            seen_usage=Usage(input=7).as_dict(),
        )
        lapse(admitted)
        sweeper.sweep()
        charged.append(logs(person)[0].charged_usd)
    # 7 in, 12 bytes of text and 9 of thinking out
    assert charged == [Decimal("0.000019"), Decimal("0.000019")]


# --- Over HTTP --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_who_asks_is_answered_although_nothing_is_kept(
    request: pytest.FixtureRequest, funded: Person, house_keys: StandIn, audited: None
) -> None:
    api = Api(request.getfixturevalue("server").url)
    house_keys.answer(f"{WORD}!", tool_calls=[CALLED])
    keep_nothing(funded)
    settle(shoot(funded), failed())
    (calls_,) = api_conversations(funded)
    tools = [{"name": "find"}]
    plain = api.ask(funded, calls_, f"Where is {WORD}?", llm="openai/openai-test", tools=tools).json()
    assert (plain["message"]["content"], plain["message"]["tool_calls"]) == (f"{WORD}!", [{**CALLED, "signature": ""}])
    streamed = api.listen(funded, calls_, f"Where is {WORD}?", llm="openai/openai-test", tools=tools)
    assert streamed[-1].data["message"]["content"] == f"{WORD}!"
    assert WORD not in api.get(funded, messages_of(calls_)).text
    assert_clean()


def test_an_answer_in_a_chat_is_not_touched_by_it(funded: Person) -> None:
    keep_nothing(funded)
    assert answered(funded, make_conversation(funded)).content == "Hi"
