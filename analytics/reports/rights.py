"""Which calls a report shows: those that both whoever made it and whoever reads it may see, as things are now."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace

from django.utils.translation import gettext_noop

from analytics.asking import Asked, Asker, sees_all_of, sees_fleet
from synapscale.common.errors import Forbidden
from workspaces.models import Membership, User, Workspace

MAKER_LEFT = gettext_noop("Whoever made this report is no longer in the workspace: make one of your own.")
NOT_YOURS = gettext_noop("This report shows calls that you may not see.")


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody for whom a report is read, whether they are there or not."""

    membership: Membership

    @property
    def user(self) -> User:
        return self.membership.user

    @property
    def workspace(self) -> Workspace:
        return self.membership.workspace


def member_of(workspace_id: uuid.UUID, user_id: uuid.UUID) -> Member:
    """Raises Forbidden where they are in the workspace no more, or inactive."""
    rows = Membership.objects.select_related("user", "workspace")
    membership = rows.filter(workspace_id=workspace_id, user_id=user_id, user__is_active=True).first()
    if membership is None:
        raise Forbidden(MAKER_LEFT)
    return Member(membership)


def narrowed(asked: Asked, reader: Asker) -> Asked:
    """``asked``, within what ``reader`` may see of it. Raises Forbidden where that is nothing at all."""
    if asked.workspace is None and not sees_fleet(reader.user):
        workspace = reader.workspace
        asked = replace(asked, workspace=workspace, wanted=replace(asked.wanted, workspace_id=workspace.pk))
    if sees_all_of(reader, asked.workspace) or asked.wanted.user_id == reader.user.pk:
        return asked
    if asked.workspace != reader.workspace or asked.wanted.user_id is not None:
        raise Forbidden(NOT_YOURS)
    return replace(asked, wanted=replace(asked.wanted, user_id=reader.user.pk))
