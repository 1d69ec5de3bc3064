"""Workspaces, and who belongs to which."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from synapscale.common.models import BaseModel
from workspaces import model_names
from workspaces.models.people import User


def rate_field(help_text: Any) -> models.PositiveIntegerField:
    return models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)], help_text=help_text)


def check_model_names(field: str, names: Any) -> None:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValidationError({field: _("Give a list of “provider/name”.")})


class Workspace(BaseModel):
    """A tenant: the boundary of all data, money and rules."""

    class Kind(models.TextChoices):
        INDIVIDUAL = "individual", _("Individual")
        COLLABORATIVE = "collaborative", _("Collaborative")

    class Status(models.TextChoices):
        ACTIVE = "active", _("Active")
        SUSPENDED = "suspended", _("Suspended")

    name = models.CharField(max_length=150)
    slug = models.SlugField(max_length=80, unique=True)
    kind = models.CharField(max_length=20, choices=Kind, default=Kind.INDIVIDUAL)
    status = models.CharField(
        max_length=20, choices=Status, default=Status.ACTIVE, help_text=_("Suspended: reading works, no new calls.")
    )
    members = models.ManyToManyField(User, through="Membership", related_name="workspaces")
    allowed_models = models.JSONField(
        default=list,
        blank=True,
        help_text=_("Models that may be called, as “provider/name”. Empty: all active models."),
    )
    default_model = models.CharField(
        max_length=200, blank=True, help_text=_("“provider/name”, used where neither message nor agent names a model.")
    )
    fallback_models = models.JSONField(
        default=list,
        blank=True,
        help_text=_("Models to try next, in order, as “provider/name”, where the agent names none of its own."),
    )
    max_tokens_cap = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)], help_text=_("No answer may be longer, in tokens.")
    )
    requests_per_minute = rate_field(_("Calls of the whole workspace per minute; empty: as many as it likes."))
    tokens_per_minute = rate_field(_("Tokens of the whole workspace per minute; empty: as many as it likes."))
    keeps_api_content = models.BooleanField(
        default=True, help_text=_("Whether one-shot API calls keep their prompts and answers.")
    )
    exports_feedback_content = models.BooleanField(
        default=False, help_text=_("Whether exports of feedback contain what was asked, answered and written.")
    )
    feedback_alert_email = models.EmailField(
        blank=True, help_text=_("Who is told of negative feedback, without its contents; empty: nobody.")
    )
    tags_automatically = models.BooleanField(
        default=True, help_text=_("Whether rules set tags on answers by themselves.")
    )
    autotag_threshold = models.DecimalField(
        max_digits=4,
        decimal_places=3,
        default=Decimal("0.800"),
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text=_("How sure a rule must be, from 0 to 1, to set a tag; below, it only suggests it."),
    )

    class Meta:
        db_table = "workspaces"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(max_tokens_cap__isnull=True) | Q(max_tokens_cap__gte=1), name="workspaces_cap_positive"
            ),
            models.CheckConstraint(
                condition=Q(autotag_threshold__gte=0, autotag_threshold__lte=1), name="workspaces_threshold_share"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_open(self) -> bool:
        return self.status == self.Status.ACTIVE

    def clean(self) -> None:
        self._check_rules()
        for field in ("allowed_models", "fallback_models"):
            check_model_names(field, getattr(self, field))

    def _check_rules(self) -> None:
        """Models are named that there are, and an individual workspace has one member."""
        errors: dict[str, Any] = {}
        named = {name: getattr(self, name) for name in ("allowed_models", "fallback_models")}
        named["default_model"] = [self.default_model] if self.default_model else []
        for field, names in named.items():
            if isinstance(names, list) and (messages := model_names.complaints(map(str, names))):
                errors[field] = messages
        if self.default_model and not errors and not self.allows(self.default_model):
            errors["default_model"] = _("“%(model)s” is not one of the allowed models.") % {"model": self.default_model}
        if self.kind == self.Kind.INDIVIDUAL and not self._state.adding and (count := self.memberships.count()) > 1:
            errors["kind"] = _("It has %(count)s members, and an individual workspace has one.") % {"count": count}
        if errors:
            raise ValidationError(errors)

    def allows(self, model: str) -> bool:
        """Whether ``provider/name`` may be called here."""
        return not self.allowed_models or model in self.allowed_models


KEEPS_AN_OWNER = _("A workspace keeps at least one owner.")
HAS_ONE_MEMBER = _("An individual workspace has one member.")


class Membership(BaseModel):
    """A user's role in a workspace."""

    class Role(models.TextChoices):
        OWNER = "owner", _("Owner")
        ADMIN = "admin", _("Admin")
        MEMBER = "member", _("Member")
        VIEWER = "viewer", _("Viewer")

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role, default=Role.MEMBER)

    class Meta:
        db_table = "memberships"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["workspace", "user"], name="memberships_once")]

    def __str__(self) -> str:
        return _("%(user)s in %(workspace)s as %(role)s") % {
            "user": self.user,
            "workspace": self.workspace,
            "role": self.get_role_display(),
        }

    def clean(self) -> None:
        """The rules of ``workspaces.members`` that do not depend on who changes a membership."""
        super().clean()
        if self._state.adding:
            space = self.workspace if self.workspace_id else None
            if space and space.kind == Workspace.Kind.INDIVIDUAL and space.memberships.exists():
                raise ValidationError(HAS_ONE_MEMBER)
        elif self.role != self.Role.OWNER and self.is_last_owner:
            raise ValidationError({"role": KEEPS_AN_OWNER})

    @property
    def is_last_owner(self) -> bool:
        """Whether its workspace has no other owner, as things are stored."""
        owners = Membership.objects.filter(workspace_id=self.workspace_id, role=self.Role.OWNER).order_by()
        return list(owners.values_list("pk", flat=True)[:2]) == [self.pk]

    @property
    def may_administer(self) -> bool:
        """Members, agents, rules, the whole wallet."""
        return self.role in {self.Role.OWNER, self.Role.ADMIN}

    @property
    def may_write(self) -> bool:
        """Send messages and keep conversations; a viewer only reads."""
        return self.role != self.Role.VIEWER
