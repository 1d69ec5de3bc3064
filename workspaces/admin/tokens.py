"""Back office: access tokens. Their text is shown once, when they are issued."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from synapscale.common import audit
from synapscale.common.admin import OperatorAdmin, OperatorForm
from workspaces import issuing
from workspaces.models import AccessToken, Membership


class AccessTokenForm(OperatorForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "spend_period" in self.fields:
            self.fields["spend_period"].required = False  # never to begin anew is written as an empty text

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        user, workspace = cleaned.get("user"), cleaned.get("workspace")
        if user and workspace and not Membership.objects.filter(user=user, workspace=workspace).exists():
            self.add_error("user", "This person is not a member of the workspace: the token would not work.")
        expires_at = cleaned.get("expires_at")
        if expires_at and expires_at <= timezone.now():
            self.add_error("expires_at", "This has passed.")
        return self.cleaned_data


@admin.register(AccessToken)
class AccessTokenAdmin(OperatorAdmin):
    """Tokens are issued and revoked, never edited. The raw text is shown once, when the token is issued."""

    form = AccessTokenForm
    list_display = (
        "name", "prefix", "user", "workspace", "scopes", "is_valid", "expires_at", "revoked_at", "last_used_at",
    )  # fmt: skip
    list_filter = ("revoked_at", "expires_at", "created_at")
    list_select_related = ("user", "workspace")
    list_defer = ("digest",)
    search_ids = ("pk", "user_id", "workspace_id")
    search_fields = ("prefix", "name__istartswith", "user__email", "workspace__slug")
    search_help_text = _("An id, the eight characters after “sk-syn-”, a user's e-mail address or a workspace's slug.")
    autocomplete_fields = ("user", "workspace")
    add_fields = ("user", "workspace", "name", *issuing.RULES)
    fields = (
        "name", "prefix", "user", "workspace", *issuing.RULES, "revoked_at", "last_used_at", "created_at",
    )  # fmt: skip
    actions = ("revoke",)

    @admin.display(boolean=True, description=_("valid"))
    def is_valid(self, token: AccessToken) -> bool:
        return token.is_valid

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return super().has_change_permission(request)

    def save_model(self, request: HttpRequest, obj: AccessToken, form: Any, change: bool) -> None:
        token, raw = AccessToken.issue(user=obj.user, workspace=obj.workspace, name=obj.name, **issuing.rules_of(obj))
        obj.pk, obj.prefix = token.pk, token.prefix  # what the log entry and the next page refer to
        messages.success(request, f"Copy the token now, it can't be shown again: {raw}")

    @admin.action(description=_("Revoke selected tokens"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[AccessToken]) -> None:
        valid = tokens.filter(revoked_at=None)
        now, revoked = timezone.now(), list(valid)
        AccessToken.objects.filter(pk__in=[token.pk for token in revoked]).update(revoked_at=now)
        for token in revoked:
            audit.record(token, what="Revoked.", changes={"revoked_at": (None, now)})
        messages.success(request, f"Revoked: {len(revoked)}.")
