"""What users think of answers."""

from __future__ import annotations

from typing import Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Case, Q, Value, When
from django.utils.translation import gettext_lazy as _

from conversations.models.chats import Conversation, Message
from synapscale.common.models import TenantFK, TenantModel
from workspaces.models import Membership, User

LOW_STARS = 2
BAD_CATEGORIES = frozenset({"unsafe", "wrong"})
# Without stars, “at most two” is neither true nor false to a database, and a constraint takes that for true.
NEGATIVE = Q(thumb="down") | Q(stars__isnull=False, stars__lte=LOW_STARS) | Q(category__in=sorted(BAD_CATEGORIES))
POSITIVE = (Q(thumb="up") | Q(stars__isnull=False, stars__gt=3)) & ~NEGATIVE


class MessageFeedbackQuerySet(models.QuerySet["MessageFeedback"]):
    def visible_to(self, membership: Membership) -> Self:
        """The member's own feedback, and what is public on answers that they may read; all of the workspace for those
        who administer it, though not all of what it says: see ``with_words_for``.
        """
        rows = self.filter(workspace_id=membership.workspace_id)
        if membership.may_administer:
            return rows
        return rows.filter(Q(user_id=membership.user_id) | (Q(is_public=True) & _on_readable(membership)))

    def with_words_for(self, membership: Membership) -> Self:
        """Each row with ``shows_words``: whether the member may read the text and the suggestion. To run a workspace is
        not to read what its people write in private.
        """
        may_read = Q(user_id=membership.user_id) | Q(is_public=True) | _on_readable(membership)
        return self.annotate(
            shows_words=Case(When(may_read, then=Value(True)), default=Value(False), output_field=models.BooleanField())
        )


def _on_readable(membership: Membership) -> Q:
    """On an answer in a conversation that the member may read: the rule of ``ConversationQuerySet.visible_to``."""
    is_theirs = Q(message__conversation__user_id=membership.user_id)
    is_gone = Q(message__conversation__status=Conversation.Status.DELETED)
    return (is_theirs | Q(message__conversation__is_shared=True)) & ~is_gone


class MessageFeedback(TenantModel):
    """What a user thinks of an answer; one per user and message."""

    class Thumb(models.TextChoices):
        UP = "up", _("Thumbs up")
        DOWN = "down", _("Thumbs down")

    class Category(models.TextChoices):
        HELPFUL = "helpful", _("Helpful")
        ACCURATE = "accurate", _("Accurate")
        CREATIVE = "creative", _("Creative")
        UNSAFE = "unsafe", _("Unsafe")
        WRONG = "wrong", _("Wrong")
        OTHER = "other", _("Other")

    class Review(models.TextChoices):
        OPEN = "open", _("Open")
        DONE = "done", _("Done")

    message = TenantFK(Message, related_name="message_feedbacks")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="message_feedbacks", db_index=False)
    thumb = models.CharField(max_length=4, choices=Thumb, blank=True)
    stars = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(5)]
    )
    category = models.CharField(max_length=10, choices=Category, blank=True)
    text = models.TextField(blank=True, max_length=5000)
    suggestion = models.TextField(blank=True, max_length=5000, help_text=_("How the answer could be better."))
    is_public = models.BooleanField(default=False)
    review_status = models.CharField(max_length=4, choices=Review, blank=True, editable=False)
    reviewed_by = models.ForeignKey(
        User,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="reviewed_feedbacks",
        db_index=False,
        editable=False,
    )
    reviewed_at = models.DateTimeField(null=True, blank=True, editable=False)
    review_note = models.CharField(max_length=1000, blank=True, help_text=_("For operators; no client sees it."))
    alerted_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text=_("When the workspace was told of the open review.")
    )
    updated_at = models.DateTimeField(auto_now=True)

    objects = MessageFeedbackQuerySet.as_manager()

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
            models.CheckConstraint(
                condition=Q(review_status="done", reviewed_at__isnull=False)
                | Q(review_status__in=["", "open"], reviewed_at__isnull=True, reviewed_by__isnull=True),
                name="message_feedbacks_reviewed",
            ),
            models.CheckConstraint(
                condition=~Q(review_status="open") | NEGATIVE, name="message_feedbacks_open_is_negative"
            ),
            models.CheckConstraint(
                condition=~Q(review_status="") | Q(alerted_at__isnull=True), name="message_feedbacks_alert_has_review"
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "-created_at", "-id"], name="message_feedbacks_by_time"),
            models.Index(fields=["workspace", "id"], condition=Q(review_status="open"), name="message_feedbacks_open"),
        ]

    def __str__(self) -> str:
        return _("Feedback on %(message)s") % {"message": self.message_id}

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

    @property
    def judgement(self) -> tuple[str, int | None, str]:
        """What decides whether it is negative."""
        return self.thumb, self.stars, self.category
