"""What operators do with keys and other variables, confirmed before it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from synapscale.common import audit
from synapscale.common.confirming import Deed, Facts, Said
from workspaces.models import UserVariable


@dataclass(frozen=True)
class _Switch(Deed):
    variable: UserVariable

    permission = "workspaces.change_uservariable"
    to: ClassVar[bool]
    done: ClassVar[Any]

    @property
    def subject(self) -> str:
        return str(self.variable)

    @property
    def is_key(self) -> bool:
        return self.variable.category == UserVariable.Category.API_KEY

    def facts(self) -> Facts:
        return [(_("Owner"), self.variable.user or self.variable.workspace)]

    def do(self, given: Mapping[str, Any], *, actor: Any) -> Said | None:
        with transaction.atomic():
            rows = UserVariable.objects.filter(pk=self.variable.pk)
            if not rows.exclude(is_active=self.to).update(is_active=self.to, updated_at=timezone.now()):
                return None
            changes = {"is_active": (not self.to, self.to)}
            audit.record(self.variable, what=self.done, changes=changes, actor=actor, reason=given["reason"])
        return Said(self.done)


class SwitchOff(_Switch):
    title = gettext_lazy("Switch off")
    button = gettext_lazy("Switch off")
    to = False
    done = gettext_lazy("Switched off.")
    is_dangerous = True

    def effect(self, given: Mapping[str, Any]) -> Facts:
        if not self.is_key:
            return [(_("Programs that read it"), _("are told that it is switched off"))]
        return [
            (
                _("New calls"),
                _("run on the next key that there is: the workspace's, then the house's, which is charged"),
            ),
            (_("Where there is none"), _("calls of this provider are refused")),
            (_("Calls under way"), _("finish on this key")),
            (_("The key"), _("stays, encrypted, and can be switched on again")),
        ]


class SwitchOn(_Switch):
    title = gettext_lazy("Switch on")
    button = gettext_lazy("Switch on")
    to = True
    done = gettext_lazy("Switched on.")

    def effect(self, given: Mapping[str, Any]) -> Facts:
        if not self.is_key:
            return [(_("Programs that read it"), _("are told that it is in use again"))]
        return [(_("New calls"), _("run on this key again, while it has not expired"))]
