"""Who keeps alerts, their rules and webhooks: a workspace's admins and owners, and operators."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import SAFE_METHODS

from workspaces.authentication import Caller
from workspaces.permissions import InScope


def is_operator(who: Caller, permission: str) -> bool:
    """Whether the caller is of the staff and has the same permission that the page of the back office asks for."""
    return who.user.is_staff and who.user.has_perm(f"analytics.{permission}")


def keeps(who: Caller) -> bool:
    return who.membership.may_administer or who.user.is_staff


class Keeper(InScope):
    message = "Only an admin or owner of the workspace may do this."

    def has_permission(self, request: Any, view: Any) -> bool:
        return super().has_permission(request, view) and keeps(request.auth)


class ReadOrKeeper(InScope):
    message = Keeper.message

    def has_permission(self, request: Any, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        return request.method in SAFE_METHODS or keeps(request.auth)
