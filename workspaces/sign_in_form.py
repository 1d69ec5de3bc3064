"""The form that people sign in to the back office with. Apart from the admin, whose site is made with it."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables
from unfold.forms import AuthenticationForm

from workspaces import sign_ins


class SignInForm(AuthenticationForm):
    """Unfold's, for a few wrong passwords at most. Whoever is no staff gets the answer of a wrong password, and is counted."""

    @property
    def is_refused(self) -> bool:
        """Whether there is nothing to correct, only a while to wait."""
        return self.has_error(NON_FIELD_ERRORS, "too_many")

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        email, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if not email or not password:
            return self.cleaned_data
        this = sign_ins.begin(email=email, address=self.request.META.get("REMOTE_ADDR", ""))
        if this is None:
            raise ValidationError(_("Too many wrong passwords: wait a quarter of an hour."), code="too_many")
        try:
            super().clean()
        except ValidationError:
            sign_ins.failed(this, email=email)
            raise
        sign_ins.succeeded(this, user=self.get_user())
        return self.cleaned_data
