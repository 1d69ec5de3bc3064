"""Which requests were made before."""

from __future__ import annotations

from django.db import models

from conversations.models.chats import Message
from synapscale.common.models import TenantFK, TenantModel
from workspaces.models import User


class IdempotencyKey(TenantModel):
    """A client's key for one paid request: the same key again gives the stored answer instead of a second charge."""

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", db_index=False)
    key = models.CharField(max_length=255)
    request_hash = models.CharField(max_length=64)
    message = TenantFK(Message, null=True, related_name="idempotency_keys")

    class Meta:
        db_table = "idempotency_keys"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace", "user", "key"], name="idempotency_keys_once"),
        ]
        indexes = [models.Index(fields=["workspace", "created_at"], name="idempotency_keys_by_age")]

    def __str__(self) -> str:
        return self.key
