"""Providers that keep failing are skipped at admission and after a failure, where another model can answer."""

from __future__ import annotations

from typing import Any

import pytest

from billing.models import Wallet
from conversations.models import Conversation
from llm import errors
from llm.circuits import CIRCUITS
from llm.models import LLM
from llm.types import Credentials
from synapscale.common.errors import Refusal
from tests.books import assert_clean
from tests.catalogue import make_llm
from tests.conversations.calling import ask, fall_back_to, followed, logs, sent, settle
from tests.people import Person

pytestmark = pytest.mark.django_db


@pytest.fixture
def grok(settings: Any, falling: Conversation) -> LLM:
    """A model of another provider, for which the house has a key too."""
    settings.PROVIDERS["grok"]["api_key"] = "xai-house"
    settings.CIRCUIT_FAILURES = 1
    return make_llm("grok")


def break_circuit(provider: str = "openai") -> Credentials:
    credentials = Credentials(provider=provider, api_key="any")
    CIRCUITS.record(credentials, errors.ProviderUnavailable())
    return credentials


def test_a_failing_provider_is_skipped_where_another_can_answer(
    alice: Person, falling: Conversation, grok: LLM
) -> None:
    fall_back_to(alice, "openai/second", "grok/grok-test")
    break_circuit()
    admitted = ask(alice, falling)
    assert (str(admitted.plan.llm), admitted.answer.attempt) == ("grok/grok-test", 1)
    settle(admitted, sent())
    assert [(log.attempt, str(log.llm)) for log in logs(alice)] == [(1, "grok/grok-test")]
    assert_clean()


def test_a_failing_provider_is_called_where_nobody_else_can_answer(
    alice: Person, falling: Conversation, grok: LLM
) -> None:
    break_circuit()
    assert str(ask(alice, falling).plan.llm) == "openai/openai-test"
    fall_back_to(alice)
    assert str(ask(alice, falling).plan.llm) == "openai/openai-test"


def test_a_failed_attempt_is_followed_by_one_that_does_not_fail(
    alice: Person, falling: Conversation, grok: LLM
) -> None:
    fall_back_to(alice, "openai/second", "grok/grok-test")
    admitted = ask(alice, falling)
    break_circuit()
    assert str(followed(admitted).plan.llm) == "grok/grok-test"


def test_as_a_last_resort_a_failing_one_is_tried_all_the_same(alice: Person, falling: Conversation, grok: LLM) -> None:
    fall_back_to(alice, "openai/second", "grok/grok-test")
    admitted = ask(alice, falling)
    break_circuit()
    break_circuit("grok")
    two = followed(admitted)
    assert (str(two.plan.llm), two.plan.fallbacks) == ("openai/second", ("grok/grok-test",))


def test_a_probe_that_is_refused_admission_is_left_to_the_next(
    alice: Person, falling: Conversation, grok: LLM, settings: Any
) -> None:
    settings.CIRCUIT_PAUSE_SECONDS = 0
    openai = break_circuit()
    settings.CIRCUIT_PAUSE_SECONDS = 60
    fall_back_to(alice, "grok/grok-test")
    Wallet.objects.filter(workspace=alice.workspace).update(status="suspended")
    for _ in range(3):
        with pytest.raises(Refusal):
            ask(alice, falling)
    Wallet.objects.filter(workspace=alice.workspace).update(status="open")
    assert str(ask(alice, falling).plan.llm) == "openai/openai-test"
    assert not CIRCUITS.lets_through(openai)
    assert str(ask(alice, falling).plan.llm) == "grok/grok-test"
