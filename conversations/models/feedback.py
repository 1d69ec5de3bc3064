"""What users think of answers."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from conversations.models.chats import Message
from synapscale.common.models import TenantFK, TenantModel
from workspaces.models import User


class MessageFeedback(TenantModel):
    """What a user thinks of an answer; one per user and message."""

    class Thumb(models.TextChoices):
        UP = "up", "Thumbs up"
        DOWN = "down", "Thumbs down"

    class Category(models.TextChoices):
        HELPFUL = "helpful", "Helpful"
        ACCURATE = "accurate", "Accurate"
        CREATIVE = "creative", "Creative"
        UNSAFE = "unsafe", "Unsafe"
        WRONG = "wrong", "Wrong"
        OTHER = "other", "Other"

    message = TenantFK(Message, related_name="message_feedbacks")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="message_feedbacks", db_index=False)
    thumb = models.CharField(max_length=4, choices=Thumb, blank=True)
    stars = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(5)]
    )
    category = models.CharField(max_length=10, choices=Category, blank=True)
    text = models.TextField(blank=True, max_length=5000)
    suggestion = models.TextField(blank=True, max_length=5000, help_text="How the answer could be better.")
    is_public = models.BooleanField(default=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "message_feedbacks"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace", "message", "user"], name="message_feedbacks_once"),
            models.CheckConstraint(
                condition=Q(stars__isnull=True) | Q(stars__gte=1, stars__lte=5), name="message_feedbacks_stars"
            ),
            models.CheckConstraint(
                condition=~Q(thumb="", stars__isnull=True, category="", text="", suggestion=""),
                name="message_feedbacks_not_empty",
            ),
        ]

    def __str__(self) -> str:
        return f"Feedback on {self.message_id}"

    @property
    def is_negative(self) -> bool:
        """Whether something was wrong with the answer: the same as ``NEGATIVE`` of a query."""
        is_low = self.stars is not None and self.stars <= LOW_STARS
        return self.thumb == self.Thumb.DOWN or is_low or self.category in BAD_CATEGORIES

    @property
    def is_positive(self) -> bool:
        """Whether the answer was liked: the same as ``POSITIVE`` of a query."""
        is_high = self.stars is not None and self.stars > 3
        return (self.thumb == self.Thumb.UP or is_high) and not self.is_negative


LOW_STARS = 2
BAD_CATEGORIES = frozenset({MessageFeedback.Category.UNSAFE, MessageFeedback.Category.WRONG})
NEGATIVE = Q(thumb=MessageFeedback.Thumb.DOWN) | Q(stars__lte=LOW_STARS) | Q(category__in=sorted(BAD_CATEGORIES))
POSITIVE = (Q(thumb=MessageFeedback.Thumb.UP) | Q(stars__gt=3)) & ~NEGATIVE
