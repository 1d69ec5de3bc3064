"""The tags of a workspace: finding, making, renaming, merging and deleting them."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Case, Count, Exists, OuterRef, Q, QuerySet, When
from django.utils.translation import gettext

from synapscale.common.errors import Conflict, Forbidden, NotFound, Refusal
from tagging import names
from tagging.models import Tag, TagLink, TagRule
from workspaces.models import Membership, User

MAX_TAGS_AT_ONCE = 50
SYSTEM_NAMES = frozenset({"agent", "cost", "feedback", "has", "length", "model", "status"})
"""What the built-in rules say of a call. They are facts: nobody else may say them."""


def find(*, workspace_id: uuid.UUID, key: str) -> Tag:
    """The tag with this id or label. Raises NotFound."""
    tags = Tag.objects.filter(workspace_id=workspace_id).select_related("created_by")
    try:
        found = tags.filter(pk=uuid.UUID(key)).first()
    except ValueError:
        found = None
    if found is None:
        try:
            found = tags.filter(label=names.parse(key).label).first()
        except names.NotATag:
            found = None
    if found is None:
        raise NotFound("There is no such tag.")
    return found


def resolve(texts: Sequence[str], *, workspace_id: uuid.UUID, field: str = "tags") -> list[Tag]:
    """The tags that ``texts`` name, for a person to put somewhere. At most one query.

    Raises a Refusal that names those that are unknown, or the system's.
    """
    if not texts:
        return []
    try:
        labels = [tag.label for tag in names.distinct(texts)]
    except names.NotATag as error:
        raise Refusal(str(error), code="invalid", details={field: [str(error)]}) from None
    if len(labels) > MAX_TAGS_AT_ONCE:
        too_many = f"At most {MAX_TAGS_AT_ONCE} tags at once."
        raise Refusal(too_many, code="invalid", details={field: [too_many]})
    known = {tag.label: tag for tag in Tag.objects.filter(workspace_id=workspace_id, label__in=labels)}
    if unknown := [label for label in labels if label not in known]:
        said = [f"There is no tag “{label}”." for label in unknown]
        raise Refusal(" ".join(said), code="unknown_tag", details={field: said})
    if system := [label for label in labels if known[label].is_system]:
        said = [f"The tag “{label}” is set by the system only." for label in system]
        raise Forbidden(" ".join(said), code="system_tag", details={field: said})
    return [known[label] for label in labels]


def create(
    *,
    workspace_id: uuid.UUID,
    name: str,
    value: str = "",
    category: str = "",
    metadata: dict[str, Any] | None = None,
    created_by: User | None,
) -> Tag:
    """A new tag of a person's. Raises Conflict where there is one, Refusal for names that are none or the system's."""
    given = _checked(name, value)
    tag = Tag(
        workspace_id=workspace_id,
        name=given.name,
        value=given.value,
        category=checked_category(category),
        metadata=metadata or {},
        created_by=created_by,
    )
    _save(tag)
    return tag


def change(
    tag: Tag,
    *,
    name: str | None = None,
    value: str | None = None,
    category: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> Tag:
    """Rename a tag, or change what is noted with it. What carries it goes on carrying it. Raises like ``create``."""
    _refuse_system(tag)
    fields = {"category": category, "metadata": metadata}
    changed = [field for field, given in fields.items() if given is not None]
    if name is not None or value is not None:
        changed += ["name", "value", "label"]
        given = _checked(tag.name if name is None else name, tag.value if value is None else value)
        tag.name, tag.value = given.name, given.value
    if category is not None:
        tag.category = checked_category(category)
    if metadata is not None:
        tag.metadata = metadata
    _save(tag, changed)
    return tag


@transaction.atomic
def merge(source: Tag, *, into: Tag) -> int:
    """Put ``into`` on whatever carries ``source``, and delete ``source``; how many things got a tag they had not.

    A thing that has both keeps the link that more can be said for: what a person has set or accepted, then what one has
    rejected, then what a rule has set, then what one suggests; of two alike, that of ``into``. Raises NotFound when one
    of them is gone meanwhile.
    """
    _refuse_system(source)
    _refuse_system(into)
    if source.pk == into.pk:
        raise Refusal("A tag can't be merged into itself.", code="invalid", details={"into": ["Name another tag."]})
    _lock(source, into)
    links = TagLink.objects.filter(workspace_id=source.workspace_id, tag=source).annotate(weight=_weight())
    others = TagLink.objects.filter(workspace_id=source.workspace_id, tag=into).annotate(weight=_weight())
    same = {"target_type": OuterRef("target_type"), "target_id": OuterRef("target_id")}
    heavier = links.filter(**same, weight__gt=OuterRef("weight"))
    had, _ = others.filter(Exists(heavier.filter(state=TagLink.State.APPLIED)), state=TagLink.State.APPLIED).delete()
    others.filter(Exists(heavier)).delete()
    alone = links.filter(~Exists(others.filter(**same)))
    moved = alone.filter(state=TagLink.State.APPLIED).update(tag=into)
    alone.exclude(state=TagLink.State.APPLIED).update(tag=into)
    TagRule.objects.filter(workspace_id=source.workspace_id, tag=source).update(tag=into)
    links.delete()
    _drop(source)
    return moved - had


@transaction.atomic
def delete(tag: Tag) -> None:
    """Take a tag off everything and delete it. Raises Conflict while a rule sets it."""
    _refuse_system(tag)
    _lock(tag)
    rule = TagRule.objects.filter(workspace_id=tag.workspace_id, tag=tag).first()
    if rule is not None:
        raise Conflict(
            gettext("The rule “%(rule)s” sets this tag: change or delete that first.") % {"rule": rule.name},
            code="tag_in_use",
            details={"rule": str(rule.pk)},
        )
    TagLink.objects.filter(workspace_id=tag.workspace_id, tag=tag).delete()
    _drop(tag)


def counts(tags: Iterable[Tag], *, workspace_id: uuid.UUID) -> dict[uuid.UUID, dict[str, int]]:
    """How many things of each kind carry each of ``tags``. One query."""
    rows = (
        TagLink.objects.filter(workspace_id=workspace_id, tag__in=[tag.pk for tag in tags])
        .filter(state=TagLink.State.APPLIED)
        .order_by()
        .values_list("tag_id", "target_type")
        .annotate(number=Count("pk"))
    )
    found: dict[uuid.UUID, dict[str, int]] = defaultdict(dict)
    for tag_id, target_type, number in rows:
        found[tag_id][target_type] = number
    return found


def matching(text: str, *, workspace_id: uuid.UUID, limit: int) -> list[Tag]:
    """Tags that begin with ``text``, or whose value does, in order of their labels. One query, by index."""
    try:
        beginning = names.parse_pattern(f"{text}*").text
    except names.NotATag:
        return []
    tags = Tag.objects.filter(workspace_id=workspace_id)
    is_like = Q(label__startswith=beginning)
    if beginning and ":" not in beginning:
        is_like |= Q(value__startswith=beginning)
    return list(tags.filter(is_like).order_by("label")[:limit])


def may_change(tag: Tag, *, membership: Membership) -> bool:
    """A person's tags are changed by whoever made them, and by admins."""
    if membership.may_administer:
        return True
    return membership.may_write and tag.created_by_id == membership.user_id


def narrowed(tags: QuerySet[Tag], patterns: Iterable[names.Pattern]) -> QuerySet[Tag]:
    """Those of ``tags`` that one of ``patterns`` means."""
    wanted = Q(pk__in=[])
    for pattern in patterns:
        wanted |= Q(label__startswith=pattern.text) if pattern.is_prefix else Q(label=pattern.text)
    return tags.filter(wanted)


def _checked(name: str, value: str) -> names.TagName:
    try:
        given = names.tag_name(name, value)
    except names.NotATag as error:
        raise Refusal(str(error), code="invalid", details={error.field: [str(error)]}) from None
    if given.name in SYSTEM_NAMES:
        said = gettext("Tags named “%(name)s” are set by the system only.") % {"name": given.name}
        raise Forbidden(said, code="system_tag", details={"name": [said]})
    return given


def checked_category(text: str) -> str:
    """A category as it is stored. Raises a Refusal."""
    try:
        return names.category_of(text)
    except names.NotATag as error:
        raise Refusal(str(error), code="invalid", details={"category": [str(error)]}) from None


def _refuse_system(tag: Tag) -> None:
    if tag.is_system:
        raise Forbidden(gettext("The tag “%(tag)s” is the system's.") % {"tag": tag}, code="system_tag")


def _lock(*tags: Tag) -> None:
    """Keep ``tags`` as they are until the transaction ends, and others from putting them on things. Raises NotFound.

    In one order, so that two who want the same tags wait for each other instead of both failing.
    """
    rows = Tag.objects.select_for_update(no_key=False).filter(workspace_id=tags[0].workspace_id)
    if len(rows.filter(pk__in=[tag.pk for tag in tags]).order_by("pk")) != len(tags):
        raise NotFound("There is no such tag.")


def _weight() -> Case:
    """How much can be said for a link, against another of the same thing."""
    is_a_persons = Q(origin=TagLink.Origin.PERSON) | Q(decided_at__isnull=False)
    return Case(
        When(is_a_persons, state=TagLink.State.APPLIED, then=3),
        When(state=TagLink.State.REJECTED, then=2),
        When(state=TagLink.State.APPLIED, then=1),
        default=0,
    )


def _drop(tag: Tag) -> None:
    """Delete the row alone: what points at it is gone, and the database makes sure of that at the commit."""
    Tag.objects.filter(workspace_id=tag.workspace_id, pk=tag.pk)._raw_delete("default")


def _save(tag: Tag, changed: Sequence[str] = ()) -> None:
    """Store a new tag, or only what has ``changed``: somebody else may be changing the rest."""
    try:
        with transaction.atomic():
            if tag._state.adding:
                tag.save(force_insert=True)
            else:
                _lock(tag)
                tag.save(update_fields=[*changed, "updated_at"])
    except IntegrityError:
        label = names.TagName(tag.name, tag.value).label
        other = Tag.objects.filter(workspace_id=tag.workspace_id, label=label).first()
        if other is None:
            raise
        raise Conflict(
            gettext("There is a tag “%(tag)s” already.") % {"tag": label},
            code="tag_exists",
            details={"id": str(other.pk), "label": label},
        ) from None
