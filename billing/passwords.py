"""The password of whoever moves, or lends, much money: asked for once more, guessed a few times at most.

Much is what is more than ``OFFICE_REAUTH_USD`` together with what the same person has given or lent within the last hour,
on whichever wallets, since they last gave the password: slices of it are no way around. What is taken away counts by itself.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop
from django.views.decorators.debug import sensitive_variables
from unfold.widgets import UnfoldAdminPasswordWidget

from billing import recent_moves
from synapscale.common import audit, history
from synapscale.common.amounts import dollars
from synapscale.common.money import ZERO
from workspaces.models import User

TRIES, PAUSE = 5, timedelta(minutes=15)
_WRONG = gettext_noop("Wrong password for moving money.")
WRONG_TO_CHANGE = gettext_noop("Wrong password for choosing a new one.")


def password_field(*, required: bool = True, help_text: object = "") -> forms.CharField:
    return forms.CharField(
        required=required,
        label=gettext_lazy("Your password"),
        help_text=help_text,  # type: ignore[arg-type]
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password"}),
    )


class PasswordForm(forms.Form):
    """Of ``user``, whose wrong guesses are counted when it is looked at; it says why it ``asks``."""

    password = password_field()

    def __init__(self, *args: Any, user: User, asks: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.fields["password"].help_text = asks

    def clean(self) -> None:
        is_their_password(self.user, self)


def one_after_another(user: User) -> None:
    """Until the commit, whatever else ``user`` does with money waits, so that each sees the one before. Comes before any wallet
    is locked.
    """
    User.objects.select_for_update(no_key=True).get(pk=user.pk)


def reason_to_ask(user: User, amount: Decimal, *, wallet: UUID, reference: str = "") -> str:
    """Why ``user`` needs the password to move or lend ``amount`` (USD; below zero: to take it away), in a sentence; empty
    if they don't. What is taken away counts by itself.
    """
    before = recent_moves.since_password(user, but=(wallet, reference)) if amount > 0 else ZERO
    if abs(amount) + before <= settings.OFFICE_REAUTH_USD:
        return ""
    if not before:
        return _("So much money asks for your password.")
    return _(
        "With what you moved or lent in the last hour (%(before)s) this is %(sum)s: so much money asks for your password."
    ) % {"before": dollars(before), "sum": dollars(before + amount)}


@sensitive_variables("typed")
def is_their_password(user: User, form: forms.BaseForm, *, name: str = "password", wrong: str = _WRONG) -> bool:
    """Whether the field ``name`` of ``form`` has ``user``'s own password, after not too many wrong ones; if not, it says so.
    Wrong ones are counted in the audit log, as ``wrong``, one guess after another: whoever sits at an open session finds no
    way around it, and operators see it.
    """
    if not user.has_usable_password():
        form.add_error(name, _("You have no password: ask an administrator to set one for you."))
        return False
    typed = form.cleaned_data.get(name) if form.is_bound and not form.errors.get(name) else None
    if not typed:
        return False
    with transaction.atomic():
        one_after_another(user)
        lately = timezone.now() - PAUSE
        guesses = history.of_row(user).filter(
            additional_data__what__in=(_WRONG, WRONG_TO_CHANGE), timestamp__gte=lately
        )
        if guesses.count() >= TRIES:
            form.add_error(name, _("Too many wrong passwords: wait a quarter of an hour."))
            return False
        if user.check_password(typed):
            return True
        audit.record(user, what=wrong)
    form.add_error(name, _("This is not your password."))
    return False
