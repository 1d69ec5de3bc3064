"""What may still be used this minute."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from synapscale.common.models import TenantModel
from workspaces.models.tokens import AccessToken


class RateBucket(TenantModel):
    """What a token, or the workspace as a whole, may still use this minute: see ``workspaces.ratelimits``."""

    access_token = models.ForeignKey(
        AccessToken, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    requests_left = models.BigIntegerField(help_text=_("In thousandths of a request."))
    tokens_left = models.BigIntegerField(
        help_text=_("In thousandths of a token; below zero after a call that used more.")
    )
    filled_at = models.DateTimeField(help_text=_("On the database's clock."))

    class Meta:
        db_table = "rate_buckets"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(
                fields=["workspace", "access_token"],
                condition=Q(access_token__isnull=False),
                name="rate_buckets_per_token",
            ),
            models.UniqueConstraint(
                fields=["workspace"], condition=Q(access_token__isnull=True), name="rate_buckets_per_workspace"
            ),
        ]

    def __str__(self) -> str:
        return _("Rate of %(owner)s") % {"owner": self.access_token_id or self.workspace_id}
