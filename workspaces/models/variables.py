"""Variables and secrets."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from synapscale.common.models import BaseModel
from workspaces import crypto
from workspaces.models.people import User
from workspaces.models.workspaces import Workspace


class UserVariable(BaseModel):
    """A secret or setting of a user or of a workspace, encrypted at rest. A provider key has category ``api_key``."""

    class Category(models.TextChoices):
        API_KEY = "api_key", _("Provider key")
        SECRET = "secret", _("Secret: never shown again")
        GENERAL = "general", _("General")

    user = models.ForeignKey(User, null=True, blank=True, on_delete=models.CASCADE, related_name="variables")
    workspace = models.ForeignKey(Workspace, null=True, blank=True, on_delete=models.CASCADE, related_name="variables")
    category = models.CharField(max_length=20, choices=Category, default=Category.GENERAL)
    name = models.CharField(max_length=100, help_text=_("For a provider key: the provider's name."))
    ciphertext = models.BinaryField(editable=False)
    key_id = models.CharField(max_length=50, editable=False)
    hint = models.CharField(max_length=8, blank=True, editable=False, help_text=_("The last four characters."))
    is_active = models.BooleanField(default=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "user_variables"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=False, workspace__isnull=True) | Q(user__isnull=True, workspace__isnull=False),
                name="user_variables_one_owner",
            ),
            models.UniqueConstraint(
                fields=["user", "category", "name"], condition=Q(user__isnull=False), name="user_variables_per_user"
            ),
            models.UniqueConstraint(
                fields=["workspace", "category", "name"],
                condition=Q(workspace__isnull=False),
                name="user_variables_per_workspace",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_category_display()} {self.name} …{self.hint}"

    def clean(self) -> None:
        super().clean()
        is_new_key = self._state.adding and self.category == self.Category.API_KEY
        if is_new_key and self.name and self.name not in settings.PROVIDERS:
            known = ", ".join(sorted(settings.PROVIDERS))
            raise ValidationError(
                {"name": _("“%(name)s” is none of the providers: %(known)s.") % {"name": self.name, "known": known}}
            )

    @property
    def bound_to(self) -> str:
        """What its ciphertext is bound to: copied into another row it does not decrypt."""
        owner = f"user:{self.user_id}" if self.user_id else f"workspace:{self.workspace_id}"
        return f"variable|{owner}|{self.category}|{self.name}|{self.pk}"

    @sensitive_variables("secret")
    def set_value(self, secret: str) -> None:
        """Encrypt ``secret`` into this row (not saved yet)."""
        self.key_id, self.ciphertext = crypto.encrypt(secret, bound_to=self.bound_to)
        self.hint = secret[-4:] if len(secret) >= 12 else ""

    def get_value(self) -> str:
        """The secret in clear, for the length of a call. Raises ``crypto.CannotDecrypt``."""
        return crypto.decrypt(bytes(self.ciphertext), key_id=self.key_id, bound_to=self.bound_to)
