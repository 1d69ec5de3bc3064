"""Who: users, workspaces, who belongs to which, and the tokens and variables they hold. All CONTROL tables."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from synapscale.common.models import BaseModel, TenantModel
from synapscale.common.money import UsdField
from workspaces import crypto, model_names, tokens


def rate_field(help_text: str) -> models.PositiveIntegerField:
    return models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)], help_text=help_text)


def _check_model_names(field: str, names: Any) -> None:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValidationError({field: "Give a list of “provider/name”."})


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """A user; without a password they can't sign in to the back office, only use tokens."""
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email=(username or "").lower())


class User(AbstractBaseUser, PermissionsMixin, BaseModel):
    """A person, known by e-mail address (kept in lower case)."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=150, blank=True)
    is_active = models.BooleanField(default=True, help_text="Inactive users can neither sign in nor use their tokens.")
    is_staff = models.BooleanField(default=False, help_text="May sign in to the back office.")
    allows_paid_fallback = models.BooleanField(
        default=True,
        help_text="Whether calls may run on the house's key, which is charged, where no own key is there for them.",
    )

    objects: ClassVar[UserManager] = UserManager()
    USERNAME_FIELD = "email"

    class Meta:
        db_table = "users"
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        super().clean()
        self.email = self.email.lower()


class Workspace(BaseModel):
    """A tenant: the boundary of all data, money and rules."""

    class Kind(models.TextChoices):
        INDIVIDUAL = "individual", "Individual"
        COLLABORATIVE = "collaborative", "Collaborative"

    class Status(models.TextChoices):
        ACTIVE = "active", "Active"
        SUSPENDED = "suspended", "Suspended"

    name = models.CharField(max_length=150)
    slug = models.SlugField(max_length=80, unique=True)
    kind = models.CharField(max_length=20, choices=Kind, default=Kind.INDIVIDUAL)
    status = models.CharField(
        max_length=20, choices=Status, default=Status.ACTIVE, help_text="Suspended: reading works, no new calls."
    )
    members = models.ManyToManyField(User, through="Membership", related_name="workspaces")
    allowed_models = models.JSONField(
        default=list,
        blank=True,
        help_text="Models that may be called, as “provider/name”. Empty: all active models.",
    )
    default_model = models.CharField(
        max_length=200, blank=True, help_text="“provider/name”, used where neither message nor agent names a model."
    )
    fallback_models = models.JSONField(
        default=list,
        blank=True,
        help_text="Models to try next, in order, as “provider/name”, where the agent names none of its own.",
    )
    max_tokens_cap = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)], help_text="No answer may be longer, in tokens."
    )
    requests_per_minute = rate_field("Calls of the whole workspace per minute; empty: as many as it likes.")
    tokens_per_minute = rate_field("Tokens of the whole workspace per minute; empty: as many as it likes.")
    keeps_api_content = models.BooleanField(
        default=True, help_text="Whether one-shot API calls keep their prompts and answers."
    )
    exports_feedback_content = models.BooleanField(
        default=False, help_text="Whether exports of feedback contain what was asked, answered and written."
    )
    feedback_alert_email = models.EmailField(
        blank=True, help_text="Who is told of negative feedback, without its contents; empty: nobody."
    )

    class Meta:
        db_table = "workspaces"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(max_tokens_cap__isnull=True) | Q(max_tokens_cap__gte=1), name="workspaces_cap_positive"
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
            _check_model_names(field, getattr(self, field))

    def _check_rules(self) -> None:
        """Models are named that there are, and an individual workspace has one member."""
        errors: dict[str, Any] = {}
        named = {name: getattr(self, name) for name in ("allowed_models", "fallback_models")}
        named["default_model"] = [self.default_model] if self.default_model else []
        for field, names in named.items():
            if isinstance(names, list) and (messages := model_names.complaints(map(str, names))):
                errors[field] = messages
        if self.default_model and not errors and not self.allows(self.default_model):
            errors["default_model"] = f"“{self.default_model}” is not one of the allowed models."
        if self.kind == self.Kind.INDIVIDUAL and not self._state.adding and (count := self.memberships.count()) > 1:
            errors["kind"] = f"It has {count} members, and an individual workspace has one."
        if errors:
            raise ValidationError(errors)

    def allows(self, model: str) -> bool:
        """Whether ``provider/name`` may be called here."""
        return not self.allowed_models or model in self.allowed_models


KEEPS_AN_OWNER = "A workspace keeps at least one owner."
HAS_ONE_MEMBER = "An individual workspace has one member."


class Membership(BaseModel):
    """A user's role in a workspace."""

    class Role(models.TextChoices):
        OWNER = "owner", "Owner"
        ADMIN = "admin", "Admin"
        MEMBER = "member", "Member"
        VIEWER = "viewer", "Viewer"

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role, default=Role.MEMBER)

    class Meta:
        db_table = "memberships"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["workspace", "user"], name="memberships_once")]

    def __str__(self) -> str:
        return f"{self.user} in {self.workspace} as {self.role}"

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


class Scope(models.TextChoices):
    """What a token is good for, within what its user's role allows."""

    CHAT = "chat", "Call models; keep conversations"
    READ = "read", "Read everything but money and keys"
    BILLING = "billing", "Read the wallet and the ledger"
    KEYS = "keys", "Keep own provider keys, variables and access tokens"
    ADMIN = "admin", "Keep agents, members and the workspace's rules and keys"


class SpendPeriod(models.TextChoices):
    FOREVER = "", "Never begins anew"
    DAY = "day", "Every day"
    WEEK = "week", "Every week, on Monday"
    MONTH = "month", "Every month"


def all_scopes() -> list[str]:
    return list(Scope.values)


class AccessToken(BaseModel):
    """A bearer token of one user for one workspace. Only its digest is stored."""

    LAST_USED_EVERY = timedelta(minutes=1)

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="access_tokens")
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="access_tokens")
    name = models.CharField(max_length=100)
    scopes = models.JSONField(default=all_scopes, help_text="chat, read, billing, keys, admin.")
    allowed_models = models.JSONField(
        default=list,
        blank=True,
        help_text="Models that it may call, as “provider/name”. Empty: what the workspace may.",
    )
    requests_per_minute = rate_field("Calls per minute; empty: as many as the workspace may.")
    tokens_per_minute = rate_field("Tokens per minute; empty: as many as the workspace may.")
    spend_limit_usd = UsdField(null=True, blank=True, help_text="What its calls may cost, in USD; empty: no limit.")
    spend_period = models.CharField(
        max_length=10,
        choices=SpendPeriod,
        default=SpendPeriod.FOREVER,
        help_text="How often the spending limit begins anew, by the clock of UTC.",
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
        token = cls.objects.create(
            user=user, workspace=workspace, name=name, prefix=new.prefix, digest=new.digest, **rules
        )
        return token, new.raw

    def clean(self) -> None:
        if not isinstance(self.scopes, list) or not self.scopes or any(s not in Scope.values for s in self.scopes):
            raise ValidationError({"scopes": f"Give a list of one or more of {', '.join(Scope.values)}."})
        _check_model_names("allowed_models", self.allowed_models)
        if self.spend_limit_usd is not None and self.spend_limit_usd <= 0:
            raise ValidationError({"spend_limit_usd": "A limit is more than 0."})

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


class UserVariable(BaseModel):
    """A secret or setting of a user or of a workspace, encrypted at rest. A provider key has category ``api_key``."""

    class Category(models.TextChoices):
        API_KEY = "api_key", "Provider key"
        SECRET = "secret", "Secret: never shown again"
        GENERAL = "general", "General"

    user = models.ForeignKey(User, null=True, blank=True, on_delete=models.CASCADE, related_name="variables")
    workspace = models.ForeignKey(Workspace, null=True, blank=True, on_delete=models.CASCADE, related_name="variables")
    category = models.CharField(max_length=20, choices=Category, default=Category.GENERAL)
    name = models.CharField(max_length=100, help_text="For a provider key: the provider's name.")
    ciphertext = models.BinaryField(editable=False)
    key_id = models.CharField(max_length=50, editable=False)
    hint = models.CharField(max_length=8, blank=True, editable=False, help_text="The last four characters.")
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
        return f"{self.category} {self.name} …{self.hint}"

    def clean(self) -> None:
        super().clean()
        is_new_key = self._state.adding and self.category == self.Category.API_KEY
        if is_new_key and self.name and self.name not in settings.PROVIDERS:
            known = ", ".join(sorted(settings.PROVIDERS))
            raise ValidationError({"name": f"“{self.name}” is none of the providers: {known}."})

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


class RateBucket(TenantModel):
    """What a token, or the workspace as a whole, may still use this minute: see ``workspaces.ratelimits``."""

    access_token = models.ForeignKey(
        AccessToken, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    requests_left = models.BigIntegerField(help_text="In thousandths of a request.")
    tokens_left = models.BigIntegerField(help_text="In thousandths of a token; below zero after a call that used more.")
    filled_at = models.DateTimeField(help_text="On the database's clock.")

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
        return f"Rate of {self.access_token_id or self.workspace_id}"
