"""Roles on the API: viewers read, members write what is theirs, admins and owners run the workspace."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission

from synapscale.common.errors import Forbidden
from workspaces.authentication import Caller


class ReadOrMember(BasePermission):
    """Everybody in the workspace reads; viewers do not write."""

    message = "Your role in this workspace does not allow this."

    def has_permission(self, request: Any, view: Any) -> bool:
        caller = request.auth
        return isinstance(caller, Caller) and (request.method in SAFE_METHODS or caller.membership.may_write)


class ReadOrAdmin(BasePermission):
    """Everybody in the workspace reads; admins and owners write."""

    message = "Only an admin or owner of the workspace may do this."

    def has_permission(self, request: Any, view: Any) -> bool:
        caller = request.auth
        return isinstance(caller, Caller) and (request.method in SAFE_METHODS or caller.membership.may_administer)

    @classmethod
    def require(cls, request: Any) -> None:
        """The same rule from within an action that some of its callers may use without it."""
        if not request.auth.membership.may_administer:
            raise Forbidden(cls.message)
