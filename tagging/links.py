"""Putting tags on things and taking them off, and reading which tags things carry."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from synapscale.common.errors import Conflict, Forbidden, NotFound
from tagging import registry
from tagging.models import Tag, TagLink
from tagging.names import Pattern
from tagging.vocabulary import narrowed
from workspaces.models import Membership, User

MAX_TARGETS_AT_ONCE = 1000
MAX_PAIRS_AT_ONCE = 10_000
"""Of tag and target: seconds of work for SQLite's one writer, and fewer than it takes parameters."""
_GONE = "A tag was merged or deleted at this moment: try again."


def hold_tags(ids: Iterable[uuid.UUID], *, workspace_id: uuid.UUID) -> None:
    """Until the transaction ends, keep tags from being merged or deleted, and wait for whoever does that now. Raises
    Conflict when one is gone.

    The foreign key would notice as well, but only at the commit, when the merge may already be waiting for our rows: the
    two would stop each other.
    """
    wanted = set(ids)
    if connection.features.has_select_for_update:
        with connection.cursor() as cursor:
            # Django has no word for the lock of a foreign key, which many may hold at once.
            cursor.execute(
                "SELECT id FROM tags WHERE workspace_id = %s AND id = ANY(%s) ORDER BY id FOR KEY SHARE",
                [workspace_id, list(wanted)],
            )
            found = len(cursor.fetchall())
    else:
        # SQLite has one writer at a time, and that are we: what is there stays.
        found = Tag.objects.filter(workspace_id=workspace_id, pk__in=wanted).count()
    if found != len(wanted):
        raise Conflict(_GONE, code="tag_gone")


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """Something that may carry tags."""

    type: str
    id: uuid.UUID


def check_targets(targets: Sequence[Target], *, membership: Membership) -> None:
    """Whether the caller may tag all of ``targets``: one query for each kind. Raises NotFound, naming those that are
    not there for them, or Forbidden.
    """
    for name, group in groupby(sorted(targets), key=attrgetter("type")):
        taggable, ids = registry.get(name), {target.id for target in group}
        if taggable is None:
            raise NotFound(f"Nothing of type “{name}” can be tagged.", details={"targets": [name]})
        found = taggable.reach(user=membership.user, workspace=membership.workspace, ids=ids)
        if missing := sorted(map(str, ids - found)):
            what = f"There is no such {name}: {', '.join(missing[:10])}."
            raise NotFound(what, details={"targets": missing[:100]})
        if not taggable.may_tag(membership):
            raise Forbidden(f"Your role in this workspace does not allow to tag a {name}.")


def put(tags: Iterable[Tag], targets: Iterable[Target], *, workspace_id: uuid.UUID, user: User) -> int:
    """Put every tag on every target, as ``user`` wants it; how many pairs are new. What was suggested is accepted, what
    was rejected comes back, and what a rule has set is the person's word from now on. Three queries, and one where any
    of these is.
    """
    tags, targets = list(tags), list(targets)
    if not tags or not targets:
        return 0
    with transaction.atomic():
        hold_tags([tag.pk for tag in tags], workspace_id=workspace_id)
        known = {
            (link.tag_id, Target(link.target_type, link.target_id)): link
            for link in TagLink.objects.filter(
                workspace_id=workspace_id, tag__in=tags, target_id__in=[target.id for target in targets]
            )
        }
        pairs = [(tag, target) for tag in tags for target in targets]
        fresh = [
            TagLink(
                workspace_id=workspace_id,
                tag=tag,
                target_type=target.type,
                target_id=target.id,
                created_by=user,
            )
            for tag, target in pairs
            if (tag.pk, target) not in known
        ]
        TagLink.objects.bulk_create(fresh, ignore_conflicts=True, batch_size=1000)
        wanted = [known[tag.pk, target] for tag, target in pairs if (tag.pk, target) in known]
        absent = [link.pk for link in wanted if link.state != TagLink.State.APPLIED]
        undecided = [link.pk for link in wanted if link.is_auto and link.decided_at is None]
        if accepted := list({*absent, *undecided}):
            TagLink.objects.filter(workspace_id=workspace_id, pk__in=accepted).update(
                state=TagLink.State.APPLIED, decided_by=user, decided_at=timezone.now()
            )
    return len(fresh) + len(absent)


def put_new(tags: Iterable[Tag], targets: Iterable[Target], *, workspace_id: uuid.UUID, user_id: uuid.UUID) -> None:
    """Put tags on targets that are new themselves, in the caller's transaction. Two statements. Raises Conflict when a tag
    is gone: at once, and not at the commit, when a wallet may be locked that others wait for.
    """
    tags, targets = list(tags), list(targets)
    hold_tags([tag.pk for tag in tags], workspace_id=workspace_id)
    TagLink.objects.bulk_create(
        TagLink(
            workspace_id=workspace_id,
            tag=tag,
            target_type=target.type,
            target_id=target.id,
            created_by_id=user_id,
        )
        for tag in tags
        for target in targets
    )


def take_off(tags: Iterable[Tag], targets: Iterable[Target], *, workspace_id: uuid.UUID, user: User) -> int:
    """Take every tag off every target; how many pairs there were. What a rule had set counts as rejected, so that it does
    not come back.
    """
    targets = list(targets)
    asked = {(target.type, target.id) for target in targets}
    with transaction.atomic():
        links = TagLink.objects.filter(
            workspace_id=workspace_id, tag__in=list(tags), target_id__in=[target.id for target in targets]
        ).exclude(state=TagLink.State.REJECTED)
        found = [link for link in links if (link.target_type, link.target_id) in asked]
        by_people = [link.pk for link in found if not link.is_auto]
        by_rules = [link.pk for link in found if link.is_auto]
        if by_people:
            TagLink.objects.filter(workspace_id=workspace_id, pk__in=by_people).delete()
        if by_rules:
            TagLink.objects.filter(workspace_id=workspace_id, pk__in=by_rules).update(
                state=TagLink.State.REJECTED, decided_by=user, decided_at=timezone.now()
            )
    return len(found)


def replace(tags: Sequence[Tag], target: Target, *, workspace_id: uuid.UUID, user: User) -> None:
    """Let ``tags`` be what people have put on ``target``. What rules have set is left alone."""
    with transaction.atomic():
        old = TagLink.objects.filter(
            workspace_id=workspace_id,
            target_type=target.type,
            target_id=target.id,
            origin=TagLink.Origin.PERSON,
        )
        old.exclude(tag__in=tags).delete()
        put(tags, [target], workspace_id=workspace_id, user=user)


def labels_of(target_type: str, ids: Iterable[uuid.UUID], *, workspace_id: uuid.UUID) -> dict[uuid.UUID, list[str]]:
    """The labels that each of the targets carries, in order. One query."""
    rows = TagLink.objects.filter(
        workspace_id=workspace_id, target_type=target_type, target_id__in=list(ids), state=TagLink.State.APPLIED
    )
    found: dict[uuid.UUID, list[str]] = defaultdict(list)
    for target_id, label in rows.order_by("tag__label").values_list("target_id", "tag__label"):
        found[target_id].append(label)
    return found


def load(rows: Iterable[Any], *, target_type: str, workspace_id: uuid.UUID) -> None:
    """Note on each of ``rows`` the labels that it carries, for serializers to show. One query."""
    rows = list(rows)
    found = labels_of(target_type, [row.pk for row in rows], workspace_id=workspace_id) if rows else {}
    for row in rows:
        row.tag_labels = found.get(row.pk, [])


def carrying(
    rows: QuerySet[Any], patterns: Iterable[Pattern], *, target_type: str, column: str, workspace_id: uuid.UUID
) -> QuerySet[Any]:
    """Those of ``rows`` that carry a tag for each of ``patterns``. One query for those that name a tag exactly: planners
    know how often a given tag is used, and nothing of one that is looked up on the way.
    """
    patterns = list(patterns)
    exact = [pattern.text for pattern in patterns if not pattern.is_prefix]
    ids = dict(Tag.objects.filter(workspace_id=workspace_id, label__in=exact).values_list("label", "pk"))
    for pattern in patterns:
        if not pattern.is_prefix and pattern.text not in ids:
            return rows.none()
        links: QuerySet[TagLink] = TagLink.objects.filter(
            workspace_id=workspace_id, target_type=target_type, state=TagLink.State.APPLIED
        )
        if pattern.is_prefix:
            tags = narrowed(Tag.objects.filter(workspace_id=workspace_id), [pattern])
            links = links.filter(tag__in=tags.values("pk"))
        else:
            links = links.filter(tag=ids[pattern.text])
        rows = rows.filter(Exists(links.filter(target_id=OuterRef(column))))
    return rows
