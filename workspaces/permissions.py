"""What a caller may do on the API: the scopes of the token, and the role of its user.

Roles: viewers read, members write what is theirs, admins and owners run the workspace. Scopes only narrow that. Every view
says which of them suffice, in ``scopes_to_read`` and ``scopes_to_write``; one that says nothing lets nobody in.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import Http404
from rest_framework.permissions import SAFE_METHODS, BasePermission

from synapscale.common.errors import Forbidden
from workspaces.authentication import Caller
from workspaces.models import Scope, Workspace

ANY_SCOPE = frozenset(Scope)


def require_scope(caller: Caller, scopes: Iterable[Scope]) -> None:
    """Raises Forbidden unless the caller's token has one of ``scopes``."""
    sufficient = [scope.value for scope in Scope if scope in set(scopes)]
    if not set(sufficient) & set(caller.token.scopes):
        names = " or ".join(f"“{scope}”" for scope in sufficient) or "one that no token has"
        raise Forbidden(
            f"This access token lacks the scope for this: {names}.",
            code="scope_missing",
            details={"scopes": sufficient},
        )


class InScope(BasePermission):
    """A valid token with one of the scopes that the view names."""

    def has_permission(self, request: Any, view: Any) -> bool:
        if not isinstance(request.auth, Caller):
            return False
        if _is_served(request.method, view):
            attribute = "scopes_to_read" if request.method in SAFE_METHODS else "scopes_to_write"
            require_scope(request.auth, getattr(view, attribute, ()))
        return True


class ReadOrMember(InScope):
    """Everybody in the workspace reads; viewers do not write."""

    message = "Your role in this workspace does not allow this."

    def has_permission(self, request: Any, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        return request.method in SAFE_METHODS or request.auth.membership.may_write


class ReadOrAdmin(InScope):
    """Everybody in the workspace reads; admins and owners write."""

    message = "Only an admin or owner of the workspace may do this."

    def has_permission(self, request: Any, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        return request.method in SAFE_METHODS or request.auth.membership.may_administer

    @classmethod
    def require(cls, request: Any) -> None:
        """The same rule from within an action that some of its callers may use without it."""
        if not request.auth.membership.may_administer:
            raise Forbidden(cls.message)


def administered_workspace(request: Any, pk: str) -> Workspace:
    """The workspace in the address: 404 for strangers, 403 for members."""
    workspace: Workspace = request.auth.workspace
    if str(workspace.pk) != pk:
        raise Http404
    ReadOrAdmin.require(request)
    return workspace


def _is_served(method: str, view: Any) -> bool:
    """Whether the view has it at all; what it has not is a 405 for everybody, not a matter of scopes."""
    return method.lower() in view.http_method_names and hasattr(view, method.lower())
