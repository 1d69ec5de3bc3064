"""Tries to sign in to the back office, for as long as they count."""

from __future__ import annotations

from django.db import models

from synapscale.common.models import BaseModel


class SignInAttempt(BaseModel):
    """One try, or what is remembered of several: see ``workspaces.sign_ins``. It holds no word of what was typed."""

    class Outcome(models.TextChoices):
        WRONG = "wrong", "wrong"
        """Also while its password is being looked at."""
        RIGHT = "right", "right"
        REFUSED = "refused", "refused"
        """The first one after too many: that it was written down."""

    account = models.CharField(max_length=64)
    """A keyed digest of the e-mail address that was typed, whether or not somebody has it."""
    network = models.CharField(max_length=45)
    """The client's address; of IPv6 the first half."""
    outcome = models.CharField(max_length=7, choices=Outcome.choices, default=Outcome.WRONG)
    counts_until = models.DateTimeField()
    """On the database's clock."""

    class Meta:
        db_table = "sign_in_attempts"
        indexes = [
            models.Index(fields=["account", "counts_until"], name="sign_in_attempts_account"),
            models.Index(fields=["network", "counts_until"], name="sign_in_attempts_network"),
            models.Index(fields=["counts_until"], name="sign_in_attempts_over"),
        ]

    def __str__(self) -> str:
        return "unknown account"  # in the audit log
