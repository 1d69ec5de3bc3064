"""Tags, what carries them, and the rules that set them. No chats are known here: what can be tagged registers itself."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Concat, Length, Lower
from django.db.models.lookups import LessThanOrEqual
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from synapscale.common.models import TenantFK, TenantModel
from tagging import names
from workspaces.models import User

CERTAIN = Decimal(1)


def score_field(**options: Any) -> models.DecimalField:
    """How sure a rule or classifier is, from 0 to 1."""
    share = [MinValueValidator(0), MaxValueValidator(1)]
    return models.DecimalField(max_digits=4, decimal_places=3, validators=share, **options)


def _is_share(field: str) -> Q:
    return Q(**{f"{field}__isnull": True}) | Q(**{f"{field}__gte": 0, f"{field}__lte": 1})


class Tag(TenantModel):
    """A word of a workspace, with a value or without: ``urgent``, ``customer:acme``."""

    name = models.CharField(max_length=names.MAX_NAME)
    value = models.CharField(max_length=names.MAX_VALUE, blank=True)
    label = models.CharField(max_length=names.MAX_LABEL, editable=False, help_text=_("“name” or “name:value”."))
    category = models.CharField(max_length=names.MAX_CATEGORY, blank=True)
    is_system = models.BooleanField(default=False, help_text=_("Set by the system only."))
    created_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="tags", db_index=False
    )
    metadata = models.JSONField(default=dict, blank=True, help_text=_("What clients note with it."))
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "tags"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace", "label"], name="tags_once"),
            models.CheckConstraint(
                condition=Q(value="", label=F("name"))
                | (~Q(value="") & Q(label=Concat(F("name"), Value(":"), F("value")))),
                name="tags_label",
            ),
            models.CheckConstraint(condition=Q(name__regex=names.NAME), name="tags_name"),
            models.CheckConstraint(condition=Q(value__regex=names.VALUE), name="tags_value"),
            models.CheckConstraint(condition=Q(category="") | Q(category__regex=names.NAME), name="tags_category"),
            models.CheckConstraint(
                condition=Q(label=Lower("label"), category=Lower("category")),
                name="tags_lower_case",
            ),
            # SQLite does not keep to the length of a column.
            models.CheckConstraint(
                condition=Q(
                    LessThanOrEqual(Length("name"), names.MAX_NAME),
                    LessThanOrEqual(Length("value"), names.MAX_VALUE),
                    LessThanOrEqual(Length("category"), names.MAX_CATEGORY),
                ),
                name="tags_length",
            ),
        ]
        indexes = [
            # For LIKE 'cust%', which an index in the order of a language does not serve.
            models.Index(
                fields=["workspace", "label"], name="tags_by_beginning", opclasses=["uuid_ops", "varchar_pattern_ops"]
            ),
            models.Index(
                fields=["workspace", "value"], name="tags_by_value", opclasses=["uuid_ops", "varchar_pattern_ops"]
            ),
        ]

    def __str__(self) -> str:
        return self.label

    def save(self, **kwargs: Any) -> None:
        self.label = names.TagName(self.name, self.value).label
        super().save(**kwargs)


class TagRule(TenantModel):
    """Sets tags by itself: a condition from the registry (``tagging.rules``), and the tag that it sets where it holds."""

    name = models.CharField(max_length=100)
    condition = models.CharField(max_length=30)
    settings = models.JSONField(default=dict, blank=True)
    tag = TenantFK(Tag, null=True, blank=True, related_name="rules")
    confidence_score = score_field(
        default=CERTAIN,
        help_text=_("How far the rule is trusted, from 0 to 1; multiplies what its condition is sure of."),
    )
    is_active = models.BooleanField(default=True)
    is_builtin = models.BooleanField(default=False, help_text=_("Comes with every workspace; can be switched off."))
    created_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="tag_rules", db_index=False
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "tag_rules"
        constraints = [
            *TenantModel.Meta.constraints,
            # People's names do not stand in the way of rules that a later release brings.
            models.UniqueConstraint(fields=["workspace", "name"], condition=Q(is_builtin=False), name="tag_rules_once"),
            models.UniqueConstraint(
                fields=["workspace", "condition"], condition=Q(is_builtin=True), name="tag_rules_builtin_once"
            ),
            models.CheckConstraint(condition=_is_share("confidence_score"), name="tag_rules_confidence"),
        ]
        indexes = [models.Index(fields=["workspace", "tag"], name="tag_rules_by_tag")]

    def __str__(self) -> str:
        return self.shown_name

    @property
    def shown_name(self) -> str:
        """In the reader's language, where the name is ours."""
        return gettext(self.name) if self.is_builtin else self.name


class TagLink(TenantModel):
    """A tag on something of its workspace: set by a person, or by a rule, or only suggested by one."""

    class State(models.TextChoices):
        APPLIED = "applied", _("Applied")
        SUGGESTED = "suggested", _("Suggested")
        REJECTED = "rejected", _("Rejected")

    class Origin(models.TextChoices):
        PERSON = "person", _("A person")
        RULE = "rule", _("A rule")
        CLASSIFIER = "classifier", _("A classifier")
        LLM = "llm", _("A model")

    tag = TenantFK(Tag, related_name="links")
    target_type = models.CharField(max_length=20)
    target_id = models.UUIDField()
    state = models.CharField(max_length=10, choices=State, default=State.APPLIED)
    origin = models.CharField(max_length=10, choices=Origin, default=Origin.PERSON)
    rule = TenantFK(TagRule, null=True, blank=True, related_name="links")
    confidence_score = score_field(null=True, blank=True)
    created_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="tag_links", db_index=False
    )
    decided_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    decided_at = models.DateTimeField(null=True, blank=True, help_text=_("When a person accepted or rejected it."))

    class Meta:
        db_table = "tag_links"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace", "tag", "target_type", "target_id"], name="tag_links_once"),
            models.CheckConstraint(condition=_is_share("confidence_score"), name="tag_links_confidence"),
            models.CheckConstraint(
                condition=Q(origin="person", confidence_score__isnull=True, rule__isnull=True)
                | (~Q(origin="person") & Q(confidence_score__isnull=False, rule__isnull=False)),
                name="tag_links_origin",
            ),
            models.CheckConstraint(
                condition=~Q(state="rejected") | Q(decided_at__isnull=False), name="tag_links_decided"
            ),
            models.CheckConstraint(
                condition=~Q(state="suggested") | (Q(decided_at__isnull=True) & ~Q(origin="person")),
                name="tag_links_suggested",
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "target_type", "target_id"], name="tag_links_by_target"),
            models.Index(fields=["workspace", "-id"], condition=Q(state="suggested"), name="tag_links_suggestions"),
            models.Index(
                fields=["workspace", "rule", "state"], condition=Q(rule__isnull=False), name="tag_links_by_rule"
            ),
            # What people have decided is little of what rules have set, and says how good these are.
            models.Index(
                fields=["workspace", "rule"], condition=Q(decided_at__isnull=False), name="tag_links_decisions"
            ),
        ]

    def __str__(self) -> str:
        tag = self.tag.label if TagLink.tag.is_cached(self) else self.tag_id
        return _("%(tag)s on %(kind)s %(target)s") % {"tag": tag, "kind": self.target_type, "target": self.target_id}

    @property
    def is_auto(self) -> bool:
        """Whether a rule set it."""
        return self.origin != self.Origin.PERSON
