"""Back office: tags, the rules that set them, and what carries them. People keep tags through the API, by its rules."""

from __future__ import annotations

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from synapscale.common.admin import ViewOnlyAdmin
from tagging import rules
from tagging.models import Tag, TagLink, TagRule
from workspaces.models import User


@admin.register(Tag)
class TagAdmin(ViewOnlyAdmin):
    list_display = ("created_at", "workspace", "label", "category", "is_system", "created_by")
    list_filter = ("is_system", "created_at")
    list_select_related = ("workspace", "created_by")
    list_defer = ("metadata",)
    search_fields = ("label__startswith", "workspace__slug")
    search_help_text = "An id, the beginning of a tag or a workspace's slug."


@admin.register(TagRule)
class TagRuleAdmin(ViewOnlyAdmin):
    list_display = ("created_at", "workspace", "name", "condition", "is_active", "is_builtin", "confidence_score")
    list_filter = ("is_active", "is_builtin", "created_at")
    list_select_related = ("workspace",)
    list_defer = ("settings",)
    search_fields = ("name__istartswith", "workspace__slug")
    search_help_text = "An id, the beginning of a name or a workspace's slug."


@admin.register(TagLink)
class TagLinkAdmin(ViewOnlyAdmin):
    """What is suggested can be decided here as well."""

    list_display = (
        "created_at", "workspace", "tag", "target_type", "target_id", "state", "origin", "confidence_score",
    )  # fmt: skip
    list_filter = ("state", "origin", "created_at")
    list_select_related = ("workspace", "tag")
    search_ids = ("pk", "workspace_id", "target_id")
    search_fields = ("workspace__slug",)
    search_help_text = "An id, the id of what carries it or a workspace's slug."
    actions = ("accept", "reject")  # type: ignore[assignment]  # of rules, not of money

    @admin.action(description="Accept the selected suggestions")
    def accept(self, request: HttpRequest, queryset: QuerySet[TagLink]) -> None:
        self._decide(request, queryset, accepts=True)

    @admin.action(description="Reject the selected suggestions")
    def reject(self, request: HttpRequest, queryset: QuerySet[TagLink]) -> None:
        self._decide(request, queryset, accepts=False)

    def _decide(self, request: HttpRequest, queryset: QuerySet[TagLink], *, accepts: bool) -> None:
        user = request.user
        assert isinstance(user, User)  # who is signed in to the back office
        links = list(queryset.exclude(origin=TagLink.Origin.PERSON))
        for link in links:
            rules.decide(link, accepts=accepts, user=user, now=timezone.now())
        word = "Accepted" if accepts else "Rejected"
        if links:
            LogEntry.objects.log_actions(user.pk, links, CHANGE, change_message=f"{word}.")
        self.message_user(request, f"{word}: {len(links)}.", messages.SUCCESS if links else messages.WARNING)
