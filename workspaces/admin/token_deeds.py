"""What operators do with access tokens, each confirmed before it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.widgets import UnfoldAdminSplitDateTimeWidget

from synapscale.common import audit
from synapscale.common.confirming import Deed, Facts, ReasonForm, Said
from workspaces import issuing
from workspaces.models import AccessToken

NAMED = 20
"""So many tokens are named on the page; of more it says how many."""


def moment(at: datetime | None, *, otherwise: str) -> str:
    return otherwise if at is None else date_format(timezone.localtime(at), "SHORT_DATETIME_FORMAT")


@dataclass(frozen=True)
class RevokeTokens(Deed):
    tokens: Sequence[AccessToken]

    title = gettext_lazy("Revoke")
    button = gettext_lazy("Revoke")
    permission = "workspaces.change_accesstoken"
    is_dangerous = True

    @property
    def subject(self) -> str:
        if len(self.tokens) == 1:
            return str(self.tokens[0])
        return ngettext("%(count)d token", "%(count)d tokens", len(self.tokens)) % {"count": len(self.tokens)}

    def facts(self) -> Facts:
        said: Facts = [
            (
                str(token),
                _("%(user)s in %(workspace)s, last used: %(used)s")
                % {
                    "user": token.user,
                    "workspace": token.workspace,
                    "used": moment(token.last_used_at, otherwise=_("never")),
                },
            )
            for token in self.tokens[:NAMED]
        ]
        if more := len(self.tokens) - NAMED:
            said += [(_("And others"), more)] if more > 0 else []
        return said

    def effect(self, given: Mapping[str, Any]) -> Facts:
        still = [token for token in self.tokens if token.revoked_at is None]
        return [
            (_("Revoked"), ngettext("%(count)d token", "%(count)d tokens", len(still)) % {"count": len(still)}),
            (_("Requests with them"), _("refused from now on, with status 401")),
            (_("Calls under way"), _("finish, and are charged")),
            (_("Taking it back"), _("is not possible: a new token would have to be issued")),
        ]

    def do(self, given: Mapping[str, Any], *, actor: Any) -> Said | None:
        now, done = timezone.now(), 0
        with transaction.atomic():
            for token in self.tokens:
                if issuing.revoke(token, now=now):
                    changes = {"revoked_at": (None, now)}
                    audit.record(
                        token, what=gettext_lazy("Revoked."), changes=changes, actor=actor, reason=given["reason"]
                    )
                    done += 1
        return Said(_("Revoked: %(count)d.") % {"count": done}) if done else None


class ExpiryForm(ReasonForm):
    expires_at = forms.SplitDateTimeField(
        required=False,
        label=gettext_lazy("Expires at"),
        help_text=gettext_lazy("Date and time, UTC. Both empty: never."),
        widget=UnfoldAdminSplitDateTimeWidget(),
    )
    field_order = ("expires_at", "reason")

    def clean_expires_at(self) -> datetime | None:
        at: datetime | None = self.cleaned_data["expires_at"]
        if at is not None and at <= timezone.now():
            raise ValidationError(_("This has passed. To end a token now, revoke it."))
        return at


@dataclass(frozen=True)
class ChangeExpiry(Deed):
    """As the API does it: of any token that was not revoked."""

    token: AccessToken

    title = gettext_lazy("Change the expiry")
    button = gettext_lazy("Change")
    permission = "workspaces.change_accesstoken"
    form = ExpiryForm

    @property
    def subject(self) -> str:
        return str(self.token)

    def initial(self) -> dict[str, Any]:
        return {"expires_at": self.token.expires_at}

    def facts(self) -> Facts:
        return [(_("Expires"), moment(self.token.expires_at, otherwise=_("never")))]

    def effect(self, given: Mapping[str, Any]) -> Facts:
        before, after = (moment(at, otherwise=_("never")) for at in (self.token.expires_at, given["expires_at"]))
        return [
            (_("Expires"), f"{before} → {after}"),
            (_("Requests with it"), _("answered until then, as far as its rules and its user's role allow")),
        ]

    def do(self, given: Mapping[str, Any], *, actor: Any) -> Said | None:
        with transaction.atomic():
            before, after = issuing.set_expiry(self.token, given["expires_at"])
            if before == after:
                return None
            audit.record(
                self.token,
                what=gettext_lazy("Expiry changed."),
                changes={"expires_at": (before, after)},
                actor=actor,
                reason=given["reason"],
            )
        return Said(_("It expires: %(when)s.") % {"when": moment(after, otherwise=_("never"))})
