"""Rows that the tests of tags share, and an example of everything that can be tagged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID

from tagging import rules
from tagging.links import Target
from tagging.models import Tag, TagLink, TagRule
from tagging.names import parse
from tagging.rules import Condition, Guess
from tests.api.asking import make_answer, make_conversation
from tests.people import Person

EXAMPLES: dict[str, Callable[[Person], UUID]] = {
    "conversation": lambda person: make_conversation(person).pk,
    "message": lambda person: make_answer(make_conversation(person)).pk,
    "user": lambda person: person.user.pk,
    "workspace": lambda person: person.workspace.pk,
}
"""Makes one of each kind that belongs to a person, and to nobody else who is not an admin."""
SHARED: dict[str, Callable[[Person], UUID]] = {
    **EXAMPLES,
    "conversation": lambda person: make_conversation(person, is_shared=True).pk,
    "message": lambda person: make_answer(make_conversation(person, is_shared=True)).pk,
}
"""The same, for the colleagues to see."""
FOR_ADMINS = {"user", "workspace"}


def make_tag(person: Person, label: str = "urgent", **fields: Any) -> Tag:
    tag = parse(label)
    fields = {"created_by": person.user, **fields}
    return Tag.objects.create(workspace=person.workspace, name=tag.name, value=tag.value, **fields)


def make_rule(person: Person, name: str = "Rule", **fields: Any) -> TagRule:
    return TagRule.objects.create(workspace=person.workspace, name=name, **{"condition": "test-says", **fields})


def make_link(tag: Tag, target: Target, **fields: Any) -> TagLink:
    """By a person, or with a ``rule`` by that."""
    if "rule" in fields:
        fields = {"origin": TagLink.Origin.RULE, "confidence_score": Decimal("0.9"), **fields}
    return TagLink.objects.create(
        workspace_id=tag.workspace_id, tag=tag, target_type=target.type, target_id=target.id, **fields
    )


def links_of(person: Person) -> set[tuple[str, str, str]]:
    """Tag, id of the target, and state of every link of the person's workspace."""
    rows = TagLink.objects.filter(workspace=person.workspace).select_related("tag")
    return {(link.tag.label, str(link.target_id), link.state) for link in rows}


def said(target: str, *ids: UUID) -> list[dict[str, str]]:
    """Targets, as the API takes them."""
    return [{"type": target, "id": str(one)} for one in ids]


def _says(facts: Any, settings: Any) -> list[Guess]:
    return [Guess(label, Decimal(score)) for label, score in facts.get(settings.get("about", "all"), {}).items()]


@contextmanager
def condition(key: str = "test-says", **fields: Any) -> Iterator[Condition]:
    """A condition whose facts are its guesses: ``{"all": {"topic:sports": "0.9"}}``."""
    made = Condition(key=key, title=f"{key}!", match=_says, check=dict, settings={"about": "Which."}, **fields)
    rules.register(made)
    try:
        yield made
    finally:
        rules.unregister(key)
