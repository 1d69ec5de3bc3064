"""Calls that bring their own prompt: where they are kept, and what is sent."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from conversations import chat
from conversations.admission import Admitted, Known, admit
from conversations.asks import Ask
from conversations.models import Agent, Conversation, Message
from llm.models import LLM
from llm.types import ChatMessage
from synapscale.common.errors import Refusal, Unprocessable
from tests.api.asking import error_of
from tests.books import assert_clean
from tests.catalogue import make_llm
from tests.conversations.calling import ask, fall_back_to, followed, logs, make_conversation, sent, settle, wallet
from tests.conversations.shooting import TURNS, WORD, api_conversations, keep_nothing, secret_shot, shoot
from tests.people import Cast, Person, fund

pytestmark = pytest.mark.django_db


# --- The conversation of API calls ------------------------------------------------------------------------------------


def test_it_is_made_with_the_first_call_and_holds_them_all(funded: Person) -> None:
    for content in ("One", "Two"):
        settle(shoot(funded, content), sent(f"{content}!"))
    (calls_,) = api_conversations(funded)
    assert (calls_.title, calls_.kind, calls_.status, calls_.is_shared) == ("API calls", "api", "active", False)
    assert (calls_.message_count, calls_.total_cost) == (4, Decimal("0.0001"))
    said = Message.objects.filter(workspace=funded.workspace, conversation=calls_).order_by("id")
    assert [(row.role, row.content) for row in said] == [
        ("user", "One"),
        ("assistant", "One!"),
        ("user", "Two"),
        ("assistant", "Two!"),
    ]
    assert_clean()


def test_everybody_has_their_own(cast: Cast, llm: LLM) -> None:
    for person in cast:
        if person is not cast.bob:
            fund(person.workspace, "1")
    for person in cast:
        settle(shoot(person), sent())
    assert [len(api_conversations(person)) for person in cast] == [1, 1, 1]
    assert api_conversations(cast.alice)[0].workspace == api_conversations(cast.bob)[0].workspace
    assert api_conversations(cast.charlie)[0].workspace == cast.charlie.workspace


@pytest.mark.parametrize("status", ["archived", "deleted"])
def test_one_that_was_put_away_is_followed_by_a_new_one(funded: Person, status: str) -> None:
    settle(shoot(funded), sent())
    Conversation.objects.filter(workspace=funded.workspace).update(status=status)
    settle(shoot(funded), sent())
    assert [row.status for row in api_conversations(funded)] == [status, "active"]


def test_a_refused_call_makes_none(funded: Person) -> None:
    with pytest.raises(Refusal):
        shoot(funded, llm="openai/unknown")
    assert api_conversations(funded) == []


@pytest.mark.django_db(transaction=True)
def test_fifty_first_calls_at_once_make_one(funded: Person) -> None:
    barrier, ends, lock = threading.Barrier(50), [], threading.Lock()

    def one() -> None:
        barrier.wait()
        try:
            admitted = chat.admit(
                user=funded.user,
                workspace=funded.workspace,
                membership=funded.membership,
                conversation_id=None,
                ask=Ask(content="Hi", llm="openai/openai-test", max_tokens=10, turns=(ChatMessage("user", "Hi"),)),
            )
            end: Any = admitted if isinstance(admitted, Admitted) else "known"
        except Exception as error:
            end = repr(error)
        finally:
            connection.close()
        with lock:
            ends.append(end)

    threads = [threading.Thread(target=one) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [end for end in ends if not isinstance(end, Admitted)] == []
    (calls_,) = api_conversations(funded)
    assert {end.answer.conversation_id for end in ends} == {calls_.pk}
    assert Message.objects.filter(workspace=funded.workspace, conversation=calls_).count() == 100
    for end in ends:
        settle(end, sent(usage={"input": 10, "output": 5}))
    assert wallet(funded).balance == Decimal("0.999")
    assert_clean()


def test_a_second_one_is_not_made_active(funded: Person) -> None:
    settle(shoot(funded), sent())
    (first,) = api_conversations(funded)
    assert funded.patch(f"conversations/{first.pk}", {"status": "archived"}).status_code == 200
    settle(shoot(funded), sent())
    error_of(funded.patch(f"conversations/{first.pk}", {"status": "active"}), 409, "api_calls_active")
    assert [row.status for row in api_conversations(funded)] == ["archived", "active"]


# --- What is sent -----------------------------------------------------------------------------------------------------


def test_exactly_the_prompt_that_was_brought_is_sent(funded: Person, llm: LLM) -> None:
    """Not what was said before, and nothing of an agent's."""
    Agent.objects.create(
        workspace=funded.workspace,
        name="Default",
        llm=llm,
        is_default=True,
        system_prompt="Be an agent.",
        temperature=Decimal("0.1"),
        max_tokens=7,
        settings={"stop": ["agent"]},
    )
    settle(shoot(funded, "Before"), sent("Before!"))
    admitted = shoot(funded, "kept of it", TURNS, system="Be brief.", options={"seed": 7, "top_p": 0.5})
    request = admitted.request
    assert (request.messages, request.system) == (TURNS, "Be brief.")
    assert (request.seed, request.top_p, request.temperature, request.stop) == (7, 0.5, None, ())
    assert request.max_tokens == 100
    settle(admitted, sent())
    assert shoot(funded, llm="").request.model == "openai-test"  # the default agent's, where none is named


def test_an_inactive_default_agent_is_no_matter(funded: Person, llm: LLM) -> None:
    agent = Agent.objects.create(workspace=funded.workspace, name="A", llm=llm, is_active=False)
    conversation = make_conversation(funded, agent=agent)
    turns = (ChatMessage("user", "Hi"),)
    settle(ask(funded, conversation, "Hi", turns=turns), sent())
    with pytest.raises(Unprocessable):
        ask(funded, conversation, "Hi")


@pytest.mark.parametrize(
    ("unable", "turns"),
    [
        ("supports_vision", (ChatMessage("user", "Look", images=("an image",)),)),  # type: ignore[arg-type]
        ("supports_function_calling", TURNS),
    ],
)
def test_what_the_turns_need_the_model_must_be_able_to(
    funded: Person, unable: str, turns: tuple[ChatMessage, ...]
) -> None:
    LLM.objects.filter(name="openai-test").update(**{unable: False})
    with pytest.raises(Unprocessable) as refused:
        shoot(funded, turns=turns)
    assert refused.value.code == "not_supported_by_model"


def test_the_next_model_is_sent_the_same_turns(funded: Person) -> None:
    make_llm(name="second")
    fall_back_to(funded, "openai/second")
    keep_nothing(funded)
    first = secret_shot(funded)
    two = followed(first)
    assert (two.request.messages, two.request.system) == (TURNS, f"You know {WORD}.")
    assert two.request.system_parts == first.request.system_parts
    assert (two.request.tools, two.request.seed) == (first.request.tools, 7)
    settle(two, sent())
    assert [log.status for log in logs(funded)] == ["error", "success"]
    assert_clean()


def test_a_question_that_is_not_kept_is_asked_again_in_full(funded: Person) -> None:
    """Posted into the conversation of API calls like into any other, and failed by the first model."""
    make_llm(name="second")
    fall_back_to(funded, "openai/second")
    keep_nothing(funded)
    settle(shoot(funded), sent())
    two = followed(ask(funded, api_conversations(funded)[0], f"Where is {WORD}?"))
    assert [turn.content for turn in two.request.messages] == [f"Where is {WORD}?"]
    assert two.question.content == ""


def test_the_same_call_again_is_known_by_its_turns(funded: Person) -> None:
    def again(*turns: ChatMessage, **fields: Any) -> Admitted | Known:
        return admit(
            user=funded.user,
            workspace=funded.workspace,
            membership=funded.membership,
            conversation_id=None,
            ask=Ask(content="Hi", llm="openai/openai-test", max_tokens=9, turns=turns, **fields),
            idempotency_key="k",
        )

    first = again(*TURNS, options={"seed": 7})
    assert isinstance(first, Admitted)
    settle(first, sent("Yes"))
    known = again(*TURNS, options={"seed": 7})
    assert isinstance(known, Known)
    assert known.answer.content == "Yes"
    for other in ((TURNS[:1], {"options": {"seed": 7}}), (TURNS, {"options": {"seed": 8}}), (TURNS, {"system": "x"})):
        with pytest.raises(Unprocessable) as reused:
            again(*other[0], **other[1])  # type: ignore[arg-type]
        assert reused.value.code == "idempotency_key_reused"
    assert len(logs(funded)) == 1
