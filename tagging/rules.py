"""Rules that set tags by themselves. What they can look at is registered from above, as conditions.

A rule makes guesses about a target, each with how sure it is. From the workspace's threshold on, a guess is a tag; below
it is a suggestion that a person accepts or rejects. What a person has decided stays decided, however often the rule looks
again; what nobody has decided follows the rule, and goes when it holds no more.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Q
from django.utils.translation import gettext

from synapscale.common.errors import Conflict, NotFound, Refusal
from tagging.links import Target, hold_tags
from tagging.models import Tag, TagLink, TagRule
from tagging.names import NotATag, parse
from tagging.vocabulary import SYSTEM_NAMES
from workspaces.models import User

_PLACES = Decimal("0.001")


@dataclass(frozen=True, slots=True)
class Guess:
    """A tag that a condition would set, and how sure it is, from 0 to 1."""

    label: str
    confidence: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Condition:
    """Something a rule can look for. ``match`` gets the facts of a target and the rule's settings."""

    key: str
    title: str
    match: Callable[[Any, Mapping[str, Any]], Sequence[Guess]]
    check: Callable[[Mapping[str, Any]], dict[str, Any]]
    """The settings, checked. Raises a Refusal that names what is wrong."""
    origin: str = TagLink.Origin.RULE
    settings: Mapping[str, str] = field(default_factory=dict)
    """What can be set, and what it means."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """The settings of the rule that comes with every workspace."""
    is_on: bool = True
    """Whether that rule is switched on from the beginning."""
    is_slow: bool = False
    """Whether ``match`` waits for others: it is then not asked again when only feedback has come."""


_conditions: dict[str, Condition] = {}


def register(condition: Condition) -> None:
    _conditions[condition.key] = condition


def unregister(key: str) -> None:
    """Rules with this condition find nothing any more; what they have set stays."""
    _conditions.pop(key, None)


def all_conditions() -> list[Condition]:
    return sorted(_conditions.values(), key=lambda condition: condition.key)


def title_of(key: str) -> str:
    """What a condition is called in the reader's language; its key, where nobody knows it any more."""
    condition = _conditions.get(key)
    return gettext(condition.title) if condition else key


def checked(key: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a rule with this condition. Raises a Refusal that names the field."""
    condition = _conditions.get(key)
    if condition is None:
        said = gettext("There is no condition “%(key)s”; there are: %(known)s.") % {
            "key": key,
            "known": ", ".join(sorted(_conditions)),
        }
        raise Refusal(said, code="invalid", details={"condition": [said]})
    if unknown := sorted(set(settings) - set(condition.settings)):
        said = gettext("“%(key)s” has no setting “%(name)s”.") % {"key": key, "name": unknown[0]}
        raise Refusal(said, code="invalid", details={"settings": [said]})
    return condition.check(settings)


def ensure_builtin(workspace_id: uuid.UUID) -> None:
    """Give a workspace the rules that come with every workspace, where it has them not. One query when it has."""
    builtin = TagRule.objects.filter(workspace_id=workspace_id, is_builtin=True)
    known = set(builtin.values_list("condition", flat=True))
    TagRule.objects.bulk_create(
        (
            TagRule(
                workspace_id=workspace_id,
                name=condition.title,
                condition=condition.key,
                settings=dict(condition.defaults),
                is_active=condition.is_on,
                is_builtin=True,
            )
            for condition in all_conditions()
            if condition.key not in known
        ),
        ignore_conflicts=True,
    )


def active(workspace_id: uuid.UUID) -> list[TagRule]:
    """The rules that are switched on, with their tags, the oldest first."""
    ensure_builtin(workspace_id)
    rules = TagRule.objects.filter(workspace_id=workspace_id, is_active=True)
    return [rule for rule in rules.select_related("tag").order_by("pk") if rule.condition in _conditions]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found about one target."""

    rule: TagRule
    guesses: Sequence[Guess]


def evaluate(rules: Iterable[TagRule], facts: Any, *, with_slow: bool = True) -> list[Finding]:
    """What ``rules`` find. With the slow ones left out, they are not among the findings, and what they set stays."""
    findings = []
    for rule in rules:
        condition = _conditions[rule.condition]
        if condition.is_slow and not with_slow:
            continue
        guesses = condition.match(facts, rule.settings)
        if rule.tag is not None:
            # One tag for whatever it finds: as sure as the surest.
            surest = max((guess.confidence for guess in guesses), default=None)
            guesses = [] if surest is None else [Guess(rule.tag.label, surest)]
        findings.append(Finding(rule, guesses))
    return findings


@transaction.atomic
def apply(findings: Sequence[Finding], *, target: Target, workspace_id: uuid.UUID, threshold: Decimal) -> None:
    """Let the tags on ``target`` be what ``findings`` say, as far as no person has decided about them.

    Two queries where nothing changes.
    """
    wanted = _wanted(findings)
    tags = _tags(wanted, workspace_id=workspace_id)
    there = {
        link.tag_id: link
        for link in TagLink.objects.filter(workspace_id=workspace_id, target_type=target.type, target_id=target.id)
    }
    asked = {finding.rule.pk for finding in findings}
    fresh = []
    for label, (rule, confidence) in wanted.items():
        state = TagLink.State.APPLIED if confidence >= threshold else TagLink.State.SUGGESTED
        link = there.get(tags[label].pk)
        if link is not None and _stands(link, asked, confidence):
            continue
        if link is None:
            fresh.append(
                TagLink(
                    workspace_id=workspace_id,
                    tag=tags[label],
                    target_type=target.type,
                    target_id=target.id,
                    state=state,
                    origin=_conditions[rule.condition].origin,
                    rule=rule,
                    confidence_score=confidence,
                )
            )
        elif link.is_auto and link.decided_at is None and (link.state, link.confidence_score) != (state, confidence):
            TagLink.objects.filter(workspace_id=workspace_id, pk=link.pk, decided_at__isnull=True).update(
                state=state, confidence_score=confidence, rule=rule, origin=_conditions[rule.condition].origin
            )
    kept = {tags[label].pk for label in wanted}
    gone = [
        link.pk
        for link in there.values()
        if link.rule_id in asked and link.tag_id not in kept and link.decided_at is None
    ]
    if gone:
        TagLink.objects.filter(workspace_id=workspace_id, pk__in=gone, decided_at__isnull=True).delete()
    if fresh:
        hold_tags({link.tag_id for link in fresh}, workspace_id=workspace_id)
        TagLink.objects.bulk_create(fresh, ignore_conflicts=True)


def _stands(link: TagLink, asked: Collection[uuid.UUID | None], confidence: Decimal) -> bool:
    """Whether a rule that was not asked this time is at least as sure of ``link``: what it said still counts."""
    return link.rule_id not in asked and link.confidence_score is not None and link.confidence_score >= confidence


def _wanted(findings: Iterable[Finding]) -> dict[str, tuple[TagRule, Decimal]]:
    """Each tag once, of the rule that is surest of it; of two equally sure ones, the older."""
    wanted: dict[str, tuple[TagRule, Decimal]] = {}
    for finding in findings:
        for guess in finding.guesses:
            try:
                label = parse(guess.label).label
            except NotATag:
                continue  # a model's or an agent's name may be too odd for a tag
            confidence = (guess.confidence * finding.rule.confidence_score).quantize(_PLACES, ROUND_HALF_UP)
            if label not in wanted or wanted[label][1] < confidence:
                wanted[label] = (finding.rule, confidence)
    return wanted


def _tags(labels: Iterable[str], *, workspace_id: uuid.UUID) -> dict[str, Tag]:
    """The tags of these labels, made where there are none. One query where there are all."""
    wanted = sorted(labels)
    if not wanted:
        return {}
    rows = Tag.objects.filter(workspace_id=workspace_id, label__in=wanted)
    known = {tag.label: tag for tag in rows}
    missing = [parse(label) for label in wanted if label not in known]
    if missing:
        Tag.objects.bulk_create(
            (
                Tag(
                    workspace_id=workspace_id,
                    name=tag.name,
                    value=tag.value,
                    label=tag.label,
                    is_system=tag.name in SYSTEM_NAMES,
                )
                for tag in missing
            ),
            ignore_conflicts=True,
        )
        known = {tag.label: tag for tag in rows.all()}
    return known


def delete(rule: TagRule) -> None:
    """Delete a rule that has set nothing. Raises Conflict for one that has, or that comes with every workspace."""
    if rule.is_builtin:
        raise Conflict(gettext("This rule comes with every workspace: switch it off."), code="rule_is_builtin")
    in_use = Conflict(gettext("This rule has set tags, which name it: switch it off."), code="rule_in_use")
    if TagLink.objects.filter(workspace_id=rule.workspace_id, rule=rule).exists():
        raise in_use
    try:
        with transaction.atomic():
            # The row alone: Django would look for links of the rule in all workspaces first.
            TagRule.objects.filter(workspace_id=rule.workspace_id, pk=rule.pk)._raw_delete("default")
    except IntegrityError:
        raise in_use from None


@dataclass(frozen=True, slots=True)
class Record:
    """What became of what a rule has set."""

    applied: int = 0
    suggested: int = 0
    accepted: int = 0
    rejected: int = 0

    @property
    def precision(self) -> Decimal | None:
        """Of what people decided, the share that they accepted, to 3 places; None before anybody has."""
        decided = self.accepted + self.rejected
        return (Decimal(self.accepted) / decided).quantize(_PLACES, ROUND_HALF_UP) if decided else None


def opinions(rules: Iterable[TagRule]) -> dict[uuid.UUID, Record]:
    """The same without what was applied and nobody decided about, which is most: what lists can afford. One query."""
    return records(rules, Q(state=TagLink.State.SUGGESTED) | Q(decided_at__isnull=False))


def records(rules: Iterable[TagRule], narrowed: Q | None = None) -> dict[uuid.UUID, Record]:
    """How each of ``rules`` has done, of whichever workspaces they are. One query."""
    rules = list(rules)
    is_decided = Q(decided_at__isnull=False)
    rows = (
        TagLink.objects.filter(workspace_id__in={rule.workspace_id for rule in rules}, rule__in=rules)
        .filter(narrowed or Q())
        .order_by()
        .values_list("rule_id")
        .annotate(
            applied=Count("pk", filter=Q(state=TagLink.State.APPLIED)),
            suggested=Count("pk", filter=Q(state=TagLink.State.SUGGESTED)),
            accepted=Count("pk", filter=is_decided & Q(state=TagLink.State.APPLIED)),
            rejected=Count("pk", filter=is_decided & Q(state=TagLink.State.REJECTED)),
        )
    )
    return {rule_id: Record(*numbers) for rule_id, *numbers in rows if rule_id is not None}


def decide(link: TagLink, *, accepts: bool, user: User, now: Any) -> TagLink:
    """Accept or reject what a rule has set or suggested. The last word counts; saying it twice changes nothing.

    Raises NotFound when the rule has withdrawn it meanwhile.
    """
    state = TagLink.State.APPLIED if accepts else TagLink.State.REJECTED
    if link.decided_at is not None and link.state == state:
        return link
    link.state, link.decided_by, link.decided_at = state, user, now
    rows = TagLink.objects.filter(workspace_id=link.workspace_id, pk=link.pk)
    if not rows.update(state=state, decided_by=user, decided_at=now):
        raise NotFound("There is no such link any more.")
    return link
