"""The password of whoever moves, or lends, much money: asked for once more, guessed a few times at most."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop
from unfold.widgets import UnfoldAdminPasswordWidget

from synapscale.common import audit, history
from workspaces.models import User

TRIES, PAUSE = 5, timedelta(minutes=15)
_WRONG = gettext_noop("Wrong password for moving money.")


def password_field(*, required: bool = True, help_text: object = "") -> forms.CharField:
    return forms.CharField(
        required=required,
        label=gettext_lazy("Your password"),
        help_text=help_text,  # type: ignore[arg-type]
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password"}),
    )


class PasswordForm(forms.Form):
    """Of ``user``, whose wrong guesses are counted when it is looked at."""

    password = password_field(help_text=gettext_lazy("So much money asks for your password."))

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean(self) -> None:
        is_their_password(self.user, self)


def is_their_password(user: User, form: forms.BaseForm) -> bool:
    """Whether ``form`` has ``user``'s own password, after not too many wrong ones; if not, it says so. Wrong ones are counted
    in the audit log, one guess after another: whoever sits at an open session finds no way around it, and operators see it.
    """
    if not user.has_usable_password():
        form.add_error(None, _("You have no password: ask an administrator to set one for you."))
        return False
    typed = form.cleaned_data.get("password") if form.is_bound and not form.errors.get("password") else None
    if not typed:
        return False
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        lately = timezone.now() - PAUSE
        wrong = history.of_row(user).filter(additional_data__what=_WRONG, timestamp__gte=lately)
        if wrong.count() >= TRIES:
            form.add_error(None, _("Too many wrong passwords: wait a quarter of an hour."))
            return False
        if user.check_password(typed):
            return True
        audit.record(user, what=_WRONG)
    form.add_error("password", _("This is not your password."))
    return False
