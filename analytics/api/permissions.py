"""Who keeps alerts, their rules and webhooks: a workspace's admins and owners, and operators."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import SAFE_METHODS

from workspaces.authentication import Caller
from workspaces.permissions import InScope


def is_operator(who: Caller, permission: str) -> bool:
    """Whether the caller is of the staff and has the same permission that the page of the back office asks for."""
    return who.user.has_staff_perm(f"analytics.{permission}")


def _may_be_keeper(who: Caller, view: Any) -> bool:
    """Admins and owners, and staff who may see the rows that ``view`` is about; what each may change, the view decides."""
    return who.membership.may_administer or is_operator(who, f"view_{view.kept}")


class Keeper(InScope):
    """``kept`` of the view names its model."""

    message = "Only an admin or owner of the workspace may do this."

    def has_permission(self, request: Any, view: Any) -> bool:
        return super().has_permission(request, view) and _may_be_keeper(request.auth, view)


class ReadOrKeeper(InScope):
    message = Keeper.message

    def has_permission(self, request: Any, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        return request.method in SAFE_METHODS or _may_be_keeper(request.auth, view)
