"""What rules can look for in an answer. Pure: the facts are there, nothing is asked of anybody."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

from django.utils.translation import gettext, gettext_noop

from conversations.models import Message
from synapscale.common.errors import Refusal
from synapscale.common.money import ZERO
from tagging.models import CERTAIN, TagLink
from tagging.rules import Condition, Guess, register
from tagging.texts.code import has_code
from tagging.texts.language import language_of
from tagging.texts.topics import topic_of

MAX_LISTED = 100
_AMOUNT = re.compile(r"[0-9]{1,7}(\.[0-9]{1,12})?")
"""In USD, as large and as exact as amounts are here; without an exponent, which could stand for gigabytes of digits."""


@dataclass
class Facts:
    """An answer, and what was asked, as rules see it. Without a kept content the texts are empty."""

    question: str
    answer: str
    status: str
    """A final ``Message.Status``."""
    model: str = ""
    """“provider/name”."""
    agent: str = ""
    agent_id: str = ""
    output_tokens: int = 0
    cost: Decimal = ZERO
    """What the wallet paid, in USD, for all attempts."""
    has_image: bool = False
    is_disliked: bool = False
    """Whether somebody's feedback on it is negative."""
    opinion: Sequence[Guess] = field(default_factory=tuple)
    """What a model said of its topic, where one was asked."""

    @cached_property
    def asked(self) -> str:
        """The text that says what it is about: the question, or else the answer."""
        return self.question.strip() or self.answer


Settings = Mapping[str, Any]


def _language(facts: Facts, settings: Settings) -> list[Guess]:
    found = language_of(facts.asked)
    return _listed(found.label, settings.get("languages"), "language", found.confidence) if found else []


def _topic(facts: Facts, settings: Settings) -> list[Guess]:
    found = topic_of(facts.asked)
    return _listed(found.label, settings.get("topics"), "topic", found.confidence) if found else []


def _opinion(facts: Facts, settings: Settings) -> Sequence[Guess]:
    return facts.opinion


def _model(facts: Facts, settings: Settings) -> list[Guess]:
    return _listed(facts.model, settings.get("models"), "model")


def _agent(facts: Facts, settings: Settings) -> list[Guess]:
    wanted = settings.get("agents")
    if not facts.agent_id or (wanted and facts.agent_id not in wanted):
        return []
    return [Guess(f"agent:{facts.agent}")]


def _length(facts: Facts, settings: Settings) -> list[Guess]:
    return _where(facts.output_tokens > settings["over_tokens"], "length:long")


def _cost(facts: Facts, settings: Settings) -> list[Guess]:
    return _where(facts.cost > Decimal(settings["over_usd"]), "cost:high")


def _has_image(facts: Facts, settings: Settings) -> list[Guess]:
    return _where(facts.has_image, "has:image")


def _has_code(facts: Facts, settings: Settings) -> list[Guess]:
    return _where(has_code(facts.question) or has_code(facts.answer), "has:code")


def _error(facts: Facts, settings: Settings) -> list[Guess]:
    return _where(facts.status == Message.Status.ERROR, "status:error")


def _interrupted(facts: Facts, settings: Settings) -> list[Guess]:
    return _where(facts.status == Message.Status.INTERRUPTED, "status:interrupted")


def _disliked(facts: Facts, settings: Settings) -> list[Guess]:
    return _where(facts.is_disliked, "feedback:negative")


def _where(holds: bool, label: str) -> list[Guess]:
    return [Guess(label)] if holds else []


def _listed(found: str, wanted: Any, name: str, confidence: Decimal = CERTAIN) -> list[Guess]:
    """The guess for what was found, if it is one of those that are wanted; without a list all are."""
    if not found or (wanted and found not in wanted):
        return []
    return [Guess(f"{name}:{found}", confidence)]


# --- Settings -------------------------------------------------------------------------------------------------------


def _refuse(message: str) -> Refusal:
    return Refusal(message, code="invalid", details={"settings": [message]})


def _nothing(settings: Settings) -> dict[str, Any]:
    return {}


def _list(name: str) -> Callable[[Settings], dict[str, Any]]:
    def check(settings: Settings) -> dict[str, Any]:
        given = settings.get(name, [])
        is_list = isinstance(given, list) and len(given) <= MAX_LISTED
        if not is_list or not all(isinstance(one, str) and 0 < len(one) <= 250 for one in given):
            raise _refuse(
                gettext("“%(name)s” is a list of at most %(number)s texts.") % {"name": name, "number": MAX_LISTED}
            )
        return {name: given} if given else {}

    return check


def _tokens(settings: Settings) -> dict[str, Any]:
    given = settings.get("over_tokens")
    if type(given) is not int or not 0 <= given <= 10_000_000:
        raise _refuse(gettext("“over_tokens” is a whole number from 0 to 10000000."))
    return {"over_tokens": given}


def _usd(settings: Settings) -> dict[str, Any]:
    given = settings.get("over_usd")
    if not isinstance(given, str) or not _AMOUNT.fullmatch(given):
        raise _refuse(gettext("“over_usd” is an amount as a decimal string, like “0.10”."))
    return {"over_usd": given}


_CONDITIONS = (
    Condition(
        "language",
        gettext_noop("Language"),
        _language,
        _list("languages"),
        origin=TagLink.Origin.CLASSIFIER,
        settings={"languages": "Only these, by their ISO 639-1 codes; otherwise all."},
    ),
    Condition(
        "topic",
        gettext_noop("Topic"),
        _topic,
        _list("topics"),
        origin=TagLink.Origin.CLASSIFIER,
        settings={"topics": "Only these; otherwise all that the classifier knows."},
    ),
    Condition(
        "llm_topic",
        gettext_noop("Topic, by a model"),
        _opinion,
        _nothing,
        origin=TagLink.Origin.LLM,
        is_on=False,
        is_slow=True,
    ),
    Condition(
        "model",
        gettext_noop("Model used"),
        _model,
        _list("models"),
        settings={"models": "Only these, as “provider/name”; otherwise all."},
        is_on=False,
    ),
    Condition(
        "agent",
        gettext_noop("Agent"),
        _agent,
        _list("agents"),
        settings={"agents": "Only these, by their ids; otherwise all."},
        is_on=False,
    ),
    Condition(
        "length",
        gettext_noop("Long answer"),
        _length,
        _tokens,
        settings={"over_tokens": "Answers of more tokens than this."},
        defaults={"over_tokens": 2000},
        is_on=False,
    ),
    Condition(
        "cost",
        gettext_noop("High cost"),
        _cost,
        _usd,
        settings={"over_usd": "Answers that the wallet paid more for than this, in USD."},
        defaults={"over_usd": "1.00"},
        is_on=False,
    ),
    Condition("has_image", gettext_noop("Has an image"), _has_image, _nothing),
    Condition("has_code", gettext_noop("Has code"), _has_code, _nothing),
    Condition("error", gettext_noop("Failed"), _error, _nothing),
    Condition("interrupted", gettext_noop("Interrupted"), _interrupted, _nothing),
    Condition("feedback_negative", gettext_noop("Negative feedback"), _disliked, _nothing),
)


def connect() -> None:
    for condition in _CONDITIONS:
        register(condition)
