"""Back office: what may still be called this minute."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from synapscale.common.admin import ViewOnlyAdmin
from workspaces.models import RateBucket


@admin.register(RateBucket)
class RateBucketAdmin(ViewOnlyAdmin):
    list_display = ("filled_at", "workspace", "access_token", "requests_left", "tokens_left")
    list_filter = ("created_at",)
    list_select_related = ("workspace", "access_token")
    search_fields = ("workspace__slug",)
    search_help_text = _("An id or a workspace's slug.")
