"""Access tokens, and what they are good for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from synapscale.common.models import BaseModel
from synapscale.common.money import UsdField
from workspaces import tokens
from workspaces.models.people import User
from workspaces.models.workspaces import Workspace, check_model_names, rate_field


class Scope(models.TextChoices):
    """What a token is good for, within what its user's role allows."""

    CHAT = "chat", _("Call models; keep conversations")
    READ = "read", _("Read everything but money and keys")
    BILLING = "billing", _("Read the wallet and the ledger")
    KEYS = "keys", _("Keep own provider keys, variables and access tokens")
    ADMIN = "admin", _("Keep agents, members and the workspace's rules and keys")


class SpendPeriod(models.TextChoices):
    FOREVER = "", _("Never begins anew")
    DAY = "day", _("Every day")
    WEEK = "week", _("Every week, on Monday")
    MONTH = "month", _("Every month")


def all_scopes() -> list[str]:
    return list(Scope.values)


class AccessToken(BaseModel):
    """A bearer token of one user for one workspace. Only its digest is stored."""

    LAST_USED_EVERY = timedelta(minutes=1)

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="access_tokens")
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="access_tokens")
    name = models.CharField(max_length=100)
    scopes = models.JSONField(default=all_scopes, help_text=_("chat, read, billing, keys, admin."))
    allowed_models = models.JSONField(
        default=list,
        blank=True,
        help_text=_("Models that it may call, as “provider/name”. Empty: what the workspace may."),
    )
    requests_per_minute = rate_field(_("Calls per minute; empty: as many as the workspace may."))
    tokens_per_minute = rate_field(_("Tokens per minute; empty: as many as the workspace may."))
    spend_limit_usd = UsdField(null=True, blank=True, help_text=_("What its calls may cost, in USD; empty: no limit."))
    spend_period = models.CharField(
        max_length=10,
        choices=SpendPeriod,
        default=SpendPeriod.FOREVER,
        help_text=_("How often the spending limit begins anew, by the clock of UTC."),
    )
    prefix = models.CharField(max_length=8, editable=False, db_index=True)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        db_table = "access_tokens"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} ({tokens.shown(self.prefix)})"

    @classmethod
    def issue(cls, *, user: User, workspace: Workspace, name: str, **rules: Any) -> tuple[AccessToken, str]:
        """A new token and its raw text, which can't be shown again. Without ``rules`` it may all that its user may."""
        new = tokens.new_token()
        with transaction.atomic():  # with its entry in the audit log
            token = cls.objects.create(
                user=user, workspace=workspace, name=name, prefix=new.prefix, digest=new.digest, **rules
            )
        return token, new.raw

    def clean(self) -> None:
        if not isinstance(self.scopes, list) or not self.scopes or any(s not in Scope.values for s in self.scopes):
            raise ValidationError(
                {"scopes": _("Give a list of one or more of %(scopes)s.") % {"scopes": ", ".join(Scope.values)}}
            )
        check_model_names("allowed_models", self.allowed_models)
        if self.spend_limit_usd is not None and self.spend_limit_usd <= 0:
            raise ValidationError({"spend_limit_usd": _("A limit is more than 0.")})

    @property
    def is_valid(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())

    def allows(self, model: str) -> bool:
        """Whether ``provider/name`` may be called with it."""
        return not self.allowed_models or model in self.allowed_models

    def touch(self) -> None:
        """Note the use, at most once a minute: the table is replicated, so it takes no hot writes."""
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at > self.LAST_USED_EVERY:
            type(self).objects.filter(pk=self.pk).update(last_used_at=now)
            self.last_used_at = now
