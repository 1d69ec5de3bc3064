"""Back office: access tokens. Their text is shown once, when they are issued."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action

from synapscale.common.admin import OperatorAdmin, OperatorForm, row_key
from synapscale.common.badges import badge, expiry
from synapscale.common.confirming import confirm_page
from workspaces import issuing
from workspaces.admin.expiring import ExpiryFilter
from workspaces.admin.token_deeds import ChangeExpiry, RevokeTokens, moment
from workspaces.models import AccessToken, Membership

MAX_AT_ONCE = 200
"""So many tokens are revoked by one action: as many as a page of the list can show."""


class AccessTokenForm(OperatorForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "spend_period" in self.fields:
            self.fields["spend_period"].required = False  # never to begin anew is written as an empty text

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        user, workspace = cleaned.get("user"), cleaned.get("workspace")
        if user and workspace and not Membership.objects.filter(user=user, workspace=workspace).exists():
            said = gettext("This person is not a member of the workspace: the token would not work.")
            self.add_error("user", ValidationError(said))
        expires_at = cleaned.get("expires_at")
        if expires_at and expires_at <= timezone.now():
            self.add_error("expires_at", ValidationError(gettext("This has passed.")))
        return self.cleaned_data


class TokenExpiryFilter(ExpiryFilter):
    in_use = Q(revoked_at__isnull=True)


@admin.register(AccessToken)
class AccessTokenAdmin(OperatorAdmin):
    """Tokens are issued and revoked, never edited. The raw text is shown once, when the token is issued."""

    form = AccessTokenForm
    list_display = ("name", "prefix", "user", "workspace", "good_for", "state", "last_used_at", "created_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter), TokenExpiryFilter, "last_used_at", "created_at")
    list_select_related = ("user", "workspace")
    list_defer = ("digest",)
    search_ids = ("pk", "user_id", "workspace_id")
    search_fields = ("prefix", "name__istartswith", "user__email", "workspace__slug")
    search_help_text = _("An id, the eight characters after “sk-syn-”, a user's e-mail address or a workspace's slug.")
    autocomplete_fields = ("user", "workspace")
    readonly_fields = ("standing",)
    add_fields = ("user", "workspace", "name", *issuing.RULES)
    fields = (
        "name", "prefix", "standing", "user", "workspace", *issuing.RULES, "revoked_at", "last_used_at", "created_at",
    )  # fmt: skip
    actions = ("revoke",)
    actions_detail = ("revoke_this", "change_expiry")

    @admin.display(description=_("scopes"))
    def good_for(self, token: AccessToken) -> str:
        return ", ".join(token.scopes)

    @admin.display(description=_("state"), ordering="revoked_at")
    def state(self, token: AccessToken) -> SafeString:
        if token.revoked_at is not None:
            return badge(gettext("revoked %(date)s") % {"date": moment(token.revoked_at, otherwise="")}, "danger")
        return expiry(token.expires_at) if token.expires_at else badge(gettext("valid"), "success")

    @admin.display(description=_("state"))
    def standing(self, token: AccessToken) -> SafeString:
        """On its page, with what can be done."""
        if token.revoked_at is not None:
            said = gettext("It stays so: issue a new one.")
        elif not token.is_valid:
            said = gettext("Change its expiry to let it work again, or issue a new one.")
        else:
            return self.state(token)
        return format_html("{} {}", self.state(token), said)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return super().has_change_permission(request)

    def offers(self, row: Any, action: str) -> bool:
        return row.revoked_at is None

    def save_model(self, request: HttpRequest, obj: AccessToken, form: Any, change: bool) -> None:
        token, raw = AccessToken.issue(user=obj.user, workspace=obj.workspace, name=obj.name, **issuing.rules_of(obj))
        obj.pk, obj.prefix = token.pk, token.prefix  # what the log entry and the next page refer to
        messages.success(request, gettext("Copy the token now, it can't be shown again: %(token)s") % {"token": raw})

    @admin.action(description=_("Revoke selected tokens"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[AccessToken]) -> HttpResponseBase | None:
        valid = list(tokens.filter(revoked_at=None).order_by("-pk")[: MAX_AT_ONCE + 1])
        if not valid:
            messages.warning(request, gettext("They are all revoked already."))
            return None
        if len(valid) > MAX_AT_ONCE:
            messages.error(request, gettext("At most %(count)d tokens at once.") % {"count": MAX_AT_ONCE})
            return None
        hidden = [("action", "revoke"), *((ACTION_CHECKBOX_NAME, str(token.pk)) for token in valid)]
        return confirm_page(self, request, RevokeTokens(valid), back=request.get_full_path(), hidden=hidden)

    def _token(self, object_id: str) -> AccessToken:
        return get_object_or_404(AccessToken.objects.select_related("user", "workspace"), pk=row_key(object_id))

    @action(description=_("Revoke"), url_path="revoke", icon="block", permissions=["revoke"])
    def revoke_this(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        token = self._token(object_id)
        return confirm_page(self, request, RevokeTokens([token]), back=_page(token))

    @action(description=_("Change the expiry"), url_path="expiry", icon="event", permissions=["revoke"])
    def change_expiry(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        token = self._token(object_id)
        return confirm_page(self, request, ChangeExpiry(token), back=_page(token))


def _page(token: AccessToken) -> str:
    return reverse("admin:workspaces_accesstoken_change", args=[token.pk])
