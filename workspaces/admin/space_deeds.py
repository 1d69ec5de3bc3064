"""What operators do with a workspace, confirmed before it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from synapscale.common import audit
from synapscale.common.confirming import Deed, Facts, Said
from workspaces.models import Workspace

Status = Workspace.Status


@dataclass(frozen=True)
class _Switch(Deed):
    workspace: Workspace

    permission = "workspaces.change_workspace"
    to: ClassVar[str]
    done: ClassVar[Any]

    @property
    def subject(self) -> str:
        return self.workspace.name

    def facts(self) -> Facts:
        members = self.workspace.memberships.count()
        return [
            (_("Status"), self.workspace.get_status_display()),
            (_("Members"), ngettext("%(count)d person", "%(count)d people", members) % {"count": members}),
        ]

    def do(self, given: Mapping[str, Any], *, actor: Any) -> Said | None:
        with transaction.atomic():
            row = Workspace.objects.select_for_update(no_key=True).get(pk=self.workspace.pk)
            if row.status == self.to:
                return None
            before, row.status = row.status, self.to
            Workspace.objects.filter(pk=row.pk).update(status=self.to)
            audit.record(
                row, what=self.done, changes={"status": (before, self.to)}, actor=actor, reason=given["reason"]
            )
        return Said(self.done)


class Suspend(_Switch):
    title = gettext_lazy("Suspend the workspace")
    button = gettext_lazy("Suspend")
    to = Status.SUSPENDED
    done = gettext_lazy("Suspended.")
    is_dangerous = True

    def effect(self, given: Mapping[str, Any]) -> Facts:
        return [
            (_("New calls"), _("refused from now on, with status 403 and code workspace_suspended")),
            (_("Calls under way"), _("finish, and are charged")),
            (_("Reading"), _("goes on: conversations, usage and the ledger stay open to the members")),
            (_("Tokens and keys"), _("stay as they are")),
            (_("Balance"), _("stays")),
        ]


class Reopen(_Switch):
    title = gettext_lazy("Open the workspace again")
    button = gettext_lazy("Open again")
    to = Status.ACTIVE
    done = gettext_lazy("Opened again.")

    def effect(self, given: Mapping[str, Any]) -> Facts:
        return [
            (_("New calls"), _("answered again, as far as the rules and the wallet allow")),
            (_("Tokens and keys"), _("work again, where they have not been revoked, switched off or expired")),
        ]
