"""What the tests of the message road share: no provider, the house's keys, and a workspace that falls back."""

from __future__ import annotations

import pytest

from conversations.models import Conversation
from llm.models import LLM
from tests.catalogue import make_llm
from tests.conversations.calling import fall_back_to, make_conversation, times
from tests.house import house
from tests.people import Person, fund

__all__ = ["house"]


@pytest.fixture
def funded(alice: Person, llm: LLM) -> Person:
    """Alice, with $1 and a model to call."""
    fund(alice.workspace, "1")
    return alice


@pytest.fixture
def second(llm: LLM) -> LLM:
    """Twice as dear as the first."""
    return make_llm(name="second", price=times(2))


@pytest.fixture
def third(second: LLM) -> LLM:
    return make_llm(name="third", price=times(3))


@pytest.fixture
def falling(alice: Person, third: LLM) -> Conversation:
    """Alice has $1 and a workspace that falls back to the second, then to the third model."""
    fund(alice.workspace, "1")
    fall_back_to(alice, "openai/second", "openai/third")
    return make_conversation(alice)
