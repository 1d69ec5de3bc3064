"""Where alerts are sent, and what has been, or is still to be."""

from __future__ import annotations

import secrets
from base64 import b64encode

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from analytics.models_alerts import Alert
from synapscale.common.models import BaseModel, TenantFK, TenantModel
from workspaces import crypto
from workspaces.models import User, Workspace

SECRET_PREFIX = "whsec_"  # noqa: S105
_SECRET_BYTES = 32


class AlertEvent(models.TextChoices):
    FIRING = "firing", _("It began")
    ACKNOWLEDGED = "acknowledged", _("Somebody looks after it")
    RESOLVED = "resolved", _("It is over")


class WebhookEndpoint(BaseModel):
    """An address that alerts are posted to, signed. Without a workspace it is the operators'."""

    workspace = models.ForeignKey(
        Workspace,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="webhook_endpoints",
        help_text=_("Whose alerts are sent there; empty: those of the operators' rules."),
    )
    url = models.CharField(max_length=300, help_text=_("Like https://hooks.example.com/alerts."))
    description = models.CharField(max_length=200, blank=True)
    allows_private_addresses = models.BooleanField(
        default=False,
        help_text=_(
            "The host may be in a private network, and may speak plain HTTP there. Link-local and metadata "
            "addresses stay forbidden. Operators alone may say so."
        ),
    )
    ciphertext = models.BinaryField(editable=False)
    key_id = models.CharField(max_length=50, editable=False)
    is_active = models.BooleanField(default=True)
    last_status = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        editable=False,
        help_text=_("What it last answered; empty: nothing yet, or no answer came."),
    )
    last_error = models.CharField(max_length=200, blank=True, editable=False, help_text=_("Empty: it went well."))
    last_attempt_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_by = models.ForeignKey(
        User, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "webhook_endpoints"
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.url

    @property
    def bound_to(self) -> str:
        """What its ciphertext is bound to: copied into another row it does not decrypt."""
        return f"webhook|{self.workspace_id or 'operators'}|{self.pk}"

    @sensitive_variables("secret")
    def new_secret(self) -> str:
        """A fresh secret, encrypted into this row (not saved yet), and in clear for this once."""
        secret = SECRET_PREFIX + b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
        self.key_id, self.ciphertext = crypto.encrypt(secret, bound_to=self.bound_to)
        return secret

    def get_secret(self) -> str:
        """The secret in clear, to sign with. Raises ``crypto.CannotDecrypt``."""
        return crypto.decrypt(bytes(self.ciphertext), key_id=self.key_id, bound_to=self.bound_to)


class AlertDelivery(TenantModel):
    """The outbox: one message about one change of an alert to one address, written in the change's own transaction."""

    class Channel(models.TextChoices):
        EMAIL = "email", _("E-mail")
        WEBHOOK = "webhook", _("Webhook")

    class State(models.TextChoices):
        PENDING = "pending", _("To be sent")
        SENT = "sent", _("Sent")
        FAILED = "failed", _("Given up")

    alert = TenantFK(Alert, related_name="deliveries")
    event = models.CharField(max_length=20, choices=AlertEvent)
    channel = models.CharField(max_length=10, choices=Channel)
    endpoint = models.ForeignKey(
        WebhookEndpoint, null=True, on_delete=models.PROTECT, related_name="deliveries", db_index=False
    )
    recipient = models.EmailField(blank=True)
    payload = models.JSONField(help_text=_("The alert as it was when it changed."))
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    give_up_at = models.DateTimeField(help_text=_("An attempt that fails after this is the last."))
    leased_until = models.DateTimeField(null=True, help_text=_("Somebody is sending it; nobody else does until then."))
    last_error = models.CharField(max_length=200, blank=True)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "alert_deliveries"
        verbose_name_plural = _("alert deliveries")
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(
                fields=["workspace", "alert", "event", "endpoint"],
                condition=Q(endpoint__isnull=False),
                name="alert_deliveries_per_endpoint",
            ),
            models.UniqueConstraint(
                fields=["workspace", "alert", "event", "recipient"],
                condition=Q(endpoint__isnull=True),
                name="alert_deliveries_per_recipient",
            ),
            models.CheckConstraint(
                condition=Q(channel="email", endpoint__isnull=True) & ~Q(recipient="")
                | Q(channel="webhook", endpoint__isnull=False, recipient=""),
                name="alert_deliveries_one_address",
            ),
            models.CheckConstraint(
                condition=Q(state="sent", sent_at__isnull=False)
                | Q(state__in=["pending", "failed"], sent_at__isnull=True),
                name="alert_deliveries_sent",
            ),
        ]
        indexes = [
            models.Index(
                fields=["workspace", "next_attempt_at"], condition=Q(state="pending"), name="alert_deliveries_due"
            ),
        ]

    def __str__(self) -> str:
        return _("%(event)s, by %(channel)s") % {
            "event": self.get_event_display(),
            "channel": self.get_channel_display(),
        }
