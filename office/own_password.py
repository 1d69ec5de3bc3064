"""Back office: a new password of one's own, for whoever knows the present one and has not guessed at it too often."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables
from unfold.forms import AdminOwnPasswordChangeForm

from billing import passwords


class OwnPasswordForm(AdminOwnPasswordChangeForm):
    """Unfold's; wrong guesses count with those before money is moved."""

    @sensitive_variables()
    def clean_old_password(self) -> str | None:
        passwords.is_their_password(self.user, self, name="old_password", wrong=passwords.WRONG_TO_CHANGE)
        return self.cleaned_data.get("old_password")


def view(request: HttpRequest) -> HttpResponseBase:
    answer: HttpResponseBase = PasswordChangeView.as_view(
        form_class=OwnPasswordForm,
        success_url=reverse("admin:password_change_done"),
        extra_context=admin.site.each_context(request),
    )(request)
    return answer
