"""Whoever is in a workspace, and the workspace itself, can be tagged by those who run it."""

from __future__ import annotations

from django.db.models import QuerySet

from tagging.registry import Taggable, register
from workspaces.models import Membership, User, Workspace


def _users(user: User, workspace: Workspace) -> QuerySet[User]:
    return User.objects.filter(memberships__workspace=workspace)


def _workspaces(user: User, workspace: Workspace) -> QuerySet[Workspace]:
    return Workspace.objects.filter(pk=workspace.pk)


def _may_administer(membership: Membership) -> bool:
    return membership.may_administer


def connect() -> None:
    register(Taggable("user", User, reachable=_users, may_tag=_may_administer, lists={Membership: "user_id"}))
    register(Taggable("workspace", Workspace, reachable=_workspaces, may_tag=_may_administer))
