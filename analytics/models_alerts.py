"""Rules that watch figures, and the alerts that they fire."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from analytics.alerting import explanations
from synapscale.common.models import BaseModel, TenantModel
from synapscale.common.money import UsdField
from workspaces.models import User, Workspace

MINUTE, DAY = 60, 86_400
MAX_WINDOW_SECONDS = 31 * DAY


class Severity(models.TextChoices):
    INFO = "info", _("Info")
    WARNING = "warning", _("Warning")
    CRITICAL = "critical", _("Critical")


class Subject(models.TextChoices):
    """What an alert is about. A rule watches all but keys, which are found by whose they are."""

    FLEET = "fleet", _("All workspaces together")
    WORKSPACE = "workspace", _("A workspace")
    USER = "user", _("A user in a workspace")
    LLM = "llm", _("A model")
    PROVIDER = "provider", _("A provider")
    KEY = "key", _("A provider key")


class AlertRule(BaseModel):
    """What is watched, and from where on it is too much. Without a workspace it is one of the operators' own."""

    class Scope(models.TextChoices):
        FLEET = "fleet", _("All workspaces together")
        WORKSPACE = "workspace", _("Each workspace")
        USER = "user", _("Each user in a workspace")
        LLM = "llm", _("Each model")
        PROVIDER = "provider", _("Each provider")

    workspace = models.ForeignKey(
        Workspace,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="alert_rules",
        help_text=_("Whose rule it is; empty: the operators'."),
    )
    name = models.CharField(max_length=100)
    condition = models.CharField(max_length=30, help_text=_("cost, error_rate, latency, key_expiry, anomaly."))
    scope = models.CharField(max_length=20, choices=Scope, help_text=_("What is watched, each on its own."))
    subject_id = models.CharField(
        max_length=100, blank=True, help_text=_("The one that is watched: an id, or a provider's name. Empty: each.")
    )
    window_seconds = models.PositiveIntegerField(
        validators=[MinValueValidator(MINUTE), MaxValueValidator(MAX_WINDOW_SECONDS)],
        help_text=_("How far back is looked."),
    )
    threshold = UsdField(
        help_text=_("More than this fires. In the unit of the condition: USD, a share, seconds, days.")
    )
    min_calls = models.PositiveIntegerField(default=0, help_text=_("Fewer calls in the window say nothing."))
    severity = models.CharField(max_length=10, choices=Severity, default=Severity.WARNING)
    cooldown_seconds = models.PositiveIntegerField(
        default=3600,
        validators=[MinValueValidator(MINUTE), MaxValueValidator(MAX_WINDOW_SECONDS)],
        help_text=_("For how long after an alert is over the same one does not fire again."),
    )
    settings = models.JSONField(default=dict, blank=True, help_text=_("What else the condition can be told."))
    is_active = models.BooleanField(default=True)
    silenced_until = models.DateTimeField(null=True, blank=True, help_text=_("Until then nothing new fires."))
    is_builtin = models.BooleanField(default=False, editable=False)
    created_by = models.ForeignKey(
        User, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "alert_rules"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "name"], condition=Q(workspace__isnull=False), name="alert_rules_once"
            ),
            models.UniqueConstraint(
                fields=["name"], condition=Q(workspace__isnull=True), name="alert_rules_operators_once"
            ),
            models.UniqueConstraint(
                fields=["condition"], condition=Q(is_builtin=True), name="alert_rules_builtin_once"
            ),
            models.CheckConstraint(
                condition=Q(is_builtin=False) | Q(workspace__isnull=True), name="alert_rules_builtin_is_operators"
            ),
            models.CheckConstraint(
                condition=Q(workspace__isnull=True) | ~Q(scope="fleet"), name="alert_rules_fleet_is_operators"
            ),
            models.CheckConstraint(
                condition=Q(window_seconds__gte=MINUTE, window_seconds__lte=MAX_WINDOW_SECONDS),
                name="alert_rules_window",
            ),
            models.CheckConstraint(
                condition=Q(cooldown_seconds__gte=MINUTE, cooldown_seconds__lte=MAX_WINDOW_SECONDS),
                name="alert_rules_cooldown",
            ),
            models.CheckConstraint(condition=Q(threshold__gte=0), name="alert_rules_threshold_not_negative"),
        ]

    def __str__(self) -> str:
        return self.shown_name

    @property
    def shown_name(self) -> str:
        """In the reader's language, where the name is ours."""
        return gettext(self.name) if self.is_builtin else self.name


class Alert(TenantModel):
    """Something that is, or was, over a rule's threshold. The workspace is the one it happened in; of what belongs to no
    single one (a model, a provider, the fleet) it is the system's own.
    """

    class State(models.TextChoices):
        FIRING = "firing", _("Firing")
        ACKNOWLEDGED = "acknowledged", _("Acknowledged")
        RESOLVED = "resolved", _("Resolved")

    OPEN = (State.FIRING, State.ACKNOWLEDGED)

    rule = models.ForeignKey(AlertRule, on_delete=models.PROTECT, related_name="alerts", db_index=False)
    subject_kind = models.CharField(max_length=20, choices=Subject)
    subject_id = models.CharField(max_length=100, blank=True)
    subject_label = models.CharField(max_length=300)
    user = models.ForeignKey(
        User,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        help_text=_("Whom it is about, who sees it whatever their role."),
    )
    state = models.CharField(max_length=20, choices=State, default=State.FIRING)
    severity = models.CharField(max_length=10, choices=Severity)
    value = UsdField(help_text=_("In the unit of the condition, when it was last seen."))
    threshold = UsdField(help_text=_("What the value was more than."))
    explanation = models.TextField()
    facts = models.JSONField(
        null=True, editable=False, help_text=_("What the explanation is made of; empty: only the text was kept.")
    )
    fired_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(help_text=_("When the value was last seen to be too much."))
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "alerts"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(
                fields=["workspace", "rule", "subject_kind", "subject_id"],
                condition=Q(state__in=["firing", "acknowledged"]),
                name="alerts_one_open",
            ),
            models.CheckConstraint(
                condition=Q(state="resolved", resolved_at__isnull=False)
                | Q(state__in=["firing", "acknowledged"], resolved_at__isnull=True),
                name="alerts_resolved",
            ),
            models.CheckConstraint(
                condition=Q(acknowledged_at__isnull=True, acknowledged_by__isnull=True)
                | Q(acknowledged_at__isnull=False, acknowledged_by__isnull=False),
                name="alerts_acknowledged_by",
            ),
            models.CheckConstraint(
                condition=Q(state="resolved")
                | Q(state="firing", acknowledged_at__isnull=True)
                | Q(state="acknowledged", acknowledged_at__isnull=False),
                name="alerts_acknowledged",
            ),
        ]
        indexes = [
            # The last one of a rule and subject, for the cool-down.
            models.Index(fields=["workspace", "rule", "subject_id", "resolved_at"], name="alerts_by_subject"),
            models.Index(fields=["workspace", "user", "id"], name="alerts_by_user"),
        ]

    def __str__(self) -> str:
        rule = self.rule if Alert.rule.is_cached(self) else self.rule_id
        return f"{rule}: {self.subject_name}"

    @property
    def subject_name(self) -> str:
        """``subject_label`` in the reader's language."""
        return explanations.label(self.facts or {}) or self.subject_label

    @property
    def told(self) -> str:
        """``explanation`` in the reader's language."""
        return explanations.told(self.facts or {}, self.explanation)
