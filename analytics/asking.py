"""Which calls a request asks for, within what its caller may see.

Members see their own calls, admins and owners those of their workspace, staff those of all workspaces.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Protocol

import django_filters
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _
from rest_framework.serializers import ValidationError

from analytics.periods import Granularity
from analytics.query import Wanted
from conversations import windows
from conversations.choices import find_llm
from conversations.models import Agent, UsageLog
from conversations.windows import Window
from llm.models import LLM, ProviderName
from synapscale.common.errors import Forbidden
from synapscale.common.filters import StrictFilterSet
from tagging import vocabulary
from tagging.asked import patterns_of
from tagging.models import Tag
from workspaces.models import Membership, User, Workspace

MAX_TAGS = 100
GROUPS = ("workspace", "user", "llm", "provider", "agent", "tag", "key_source", "status")
PARAMETERS = (
    *windows.PARAMETERS,
    "granularity",
    "group_by",
    "limit",
    *("workspace", "user", "llm", "provider", "tag", "agent", "key_source", "status"),
)
_NO_SUCH = "There is no such {}."


class UsageFilter(StrictFilterSet):
    """What the filters may say; what they mean is up to ``query.Wanted``, which no queryset could be narrowed to."""

    workspace = django_filters.CharFilter(help_text=_("Its id or slug; staff only."))
    user = django_filters.CharFilter(help_text=_("An id, or `me`."))
    llm = django_filters.CharFilter(help_text=_("A model: its id, or “provider/name”."))
    provider = django_filters.ChoiceFilter(choices=ProviderName.choices)
    agent = django_filters.UUIDFilter()
    key_source = django_filters.MultipleChoiceFilter(choices=UsageLog.KeySource.choices)
    status = django_filters.MultipleChoiceFilter(choices=UsageLog.Status.choices)

    class Meta:
        model = UsageLog
        fields: list[str] = []


class Asker(Protocol):
    """Who asks: a caller of the API, or a member for whom something is read in their absence."""

    @property
    def user(self) -> User: ...

    @property
    def workspace(self) -> Workspace: ...

    @property
    def membership(self) -> Membership: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for figures, checked: all that it names is there and may be seen."""

    who: Asker
    window: Window
    wanted: Wanted
    workspace: Workspace | None
    """None: all of them, for staff."""
    granularity: Granularity | None = None
    group_by: tuple[str, ...] = ()
    tags: tuple[Tag, ...] = ()
    """What ``tag`` matches: the groups, where that is what is grouped by."""
    limit: int = 20

    @property
    def of(self) -> str:
        """Whose figures these are."""
        if self.wanted.user_id is not None:
            return "user"
        return "workspace" if self.workspace else "fleet"


def asked_for(who: Asker, params: QueryDict, *, granularity: Granularity | None = None) -> Asked:
    """What the query parameters ask for. Raises ValidationError, naming the parameter.

    ``granularity`` is that of a request that names none.
    """
    filters = UsageFilter(params, queryset=UsageLog.objects.none())
    if not filters.is_valid():
        raise ValidationError(filters.errors)
    given = filters.form.cleaned_data
    workspace = _workspace(who, given["workspace"])
    group_by = _group_by(params, workspace)
    patterns = _tags(params, workspace)
    tags = tuple(dict.fromkeys(tag for group in patterns for tag in group))
    if "tag" in group_by:
        if not patterns:
            raise ValidationError({"tag": ["Say which tags to group by, like “customer:*”."]})
        if len(tags) > MAX_TAGS:
            raise ValidationError({"tag": [f"More than {MAX_TAGS} tags match: name fewer."]})
    wanted = Wanted(
        workspace_id=workspace.pk if workspace else None,
        user_id=_user(who, given["user"], workspace),
        llm_ids=_llms(given["llm"], given["provider"]),
        agent_id=_agent(given["agent"], workspace),
        key_sources=frozenset(given["key_source"]) or None,
        statuses=frozenset(given["status"]) or None,
        tags=patterns,
    )
    return Asked(
        who=who,
        window=windows.window_of(params),
        wanted=wanted,
        workspace=workspace,
        granularity=_granularity(params) or granularity,
        group_by=group_by,
        tags=tags,
        limit=_limit(params),
    )


def _workspace(who: Asker, given: str) -> Workspace | None:
    if not given:
        return None if sees_fleet(who.user) else who.workspace
    found = find_workspace(who, given)
    if found is None:
        raise ValidationError({"workspace": [_NO_SUCH.format("workspace")]})
    return found


def find_workspace(who: Asker, key: str) -> Workspace | None:
    """The workspace with this id or slug, where the caller may know of it: their own, for staff any."""
    if key in (str(who.workspace.pk), who.workspace.slug):
        return who.workspace
    if not sees_fleet(who.user):
        return None
    try:
        return Workspace.objects.filter(pk=uuid.UUID(key)).first()
    except ValueError:
        return Workspace.objects.filter(slug=key).first()


def sees_fleet(user: User) -> bool:
    """Whether ``user`` may see the usage of all workspaces: staff with the permission that the back office asks for."""
    return user.has_staff_perm("conversations.view_usagelog")


def require_all_of(who: Asker, workspace: Workspace) -> None:
    """Raises Forbidden for members."""
    if not sees_all_of(who, workspace):
        raise Forbidden("Only an admin or owner of the workspace may see what all of it does.")


def sees_all_of(who: Asker, workspace: Workspace | None) -> bool:
    """Whether the caller may see what others do in ``workspace``, or in all of them."""
    if sees_fleet(who.user):
        return True
    return workspace == who.workspace and who.membership.may_administer


def _user(who: Asker, given: str, workspace: Workspace | None) -> uuid.UUID | None:
    sees_all = sees_all_of(who, workspace)
    if not given:
        return None if sees_all else who.user.pk
    if given in ("me", str(who.user.pk)):
        return who.user.pk
    try:
        user_id = uuid.UUID(given)
    except ValueError:
        raise ValidationError({"user": ["Give the id of a user, or “me”."]}) from None
    if not sees_all or not is_user_of(user_id, workspace):
        raise ValidationError({"user": [_NO_SUCH.format("user")]})
    return user_id


def is_user_of(user_id: uuid.UUID, workspace: Workspace | None) -> bool:
    """Whether they are in the workspace, or have called models there when they were; None: anywhere."""
    if workspace is None:
        return User.objects.filter(pk=user_id).exists()
    return (
        Membership.objects.filter(workspace=workspace, user=user_id).exists()
        or UsageLog.objects.filter(workspace=workspace, user=user_id).exists()
    )


def _llms(llm: str, provider: str) -> frozenset[uuid.UUID] | None:
    found: frozenset[uuid.UUID] | None = None
    if llm:
        one = find_llm(llm)
        if one is None:
            raise ValidationError({"llm": ["There is no such model: give an id, or “provider/name”."]})
        found = frozenset({one.pk})
    if provider:
        of_provider = frozenset(LLM.objects.filter(provider=provider).values_list("pk", flat=True))
        found = of_provider if found is None else found & of_provider
    return found


def _agent(agent_id: uuid.UUID | None, workspace: Workspace | None) -> uuid.UUID | None:
    if agent_id is None:
        return None
    if workspace is None:
        raise ValidationError({"workspace": ["Agents are a workspace's: say of which."]})
    if not Agent.objects.filter(workspace=workspace, pk=agent_id).exists():
        raise ValidationError({"agent": [_NO_SUCH.format("agent")]})
    return agent_id


def _group_by(params: QueryDict, workspace: Workspace | None) -> tuple[str, ...]:
    given = [part for text in params.getlist("group_by") for part in text.split(",") if part]
    unknown = [name for name in given if name not in GROUPS]
    if unknown:
        raise ValidationError({"group_by": [f"“{unknown[0][:40]}” is none of {', '.join(GROUPS)}."]})
    found = tuple(dict.fromkeys(given))
    if len(found) > 3:
        raise ValidationError({"group_by": ["At most three at once."]})
    if workspace is None and (of_one := [name for name in found if name in ("user", "agent", "tag")]):
        raise ValidationError({"workspace": [f"To group by {of_one[0]}, say of which workspace."]})
    return found


def _tags(params: QueryDict, workspace: Workspace | None) -> tuple[tuple[Tag, ...], ...]:
    patterns = patterns_of(params)
    if not patterns:
        return ()
    if workspace is None:
        raise ValidationError({"workspace": ["Tags are a workspace's: say of which."]})
    rows = Tag.objects.filter(workspace=workspace)
    found = [tuple(vocabulary.narrowed(rows, [pattern]).order_by("label")[: MAX_TAGS + 1]) for pattern in patterns]
    if any(len(group) > MAX_TAGS for group in found):
        raise ValidationError({"tag": [f"More than {MAX_TAGS} tags match: name fewer."]})
    return tuple(found)


def _granularity(params: QueryDict) -> Granularity | None:
    given = params.get("granularity")
    if given is not None and given not in list(Granularity):
        raise ValidationError({"granularity": [f"Give one of {', '.join(Granularity)}."]})
    return None if given is None else Granularity(given)


def _limit(params: QueryDict) -> int:
    given = params.get("limit", "20")
    if not given.isascii() or not given.isdigit() or not 1 <= int(given[:9]) <= 200:
        raise ValidationError({"limit": ["Give a whole number from 1 to 200."]})
    return int(given)
