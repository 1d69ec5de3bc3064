"""Back office: prices that were found elsewhere, and what became of them. ``manage.py sync_prices`` makes them."""

from __future__ import annotations

from django.contrib import admin

from llm.models import PriceProposal
from synapscale.common.admin import ViewOnlyAdmin


@admin.register(PriceProposal)
class PriceProposalAdmin(ViewOnlyAdmin):
    list_display = ("llm", "state", "largest_change_percent", "effective_from", "source", "created_at", "decided_at")
    list_filter = ("state", "created_at")
    list_select_related = ("llm",)
    list_defer = ("rates", "tiers", "windows", "differences", "reason")
    search_ids = ("pk", "llm_id")
    search_fields = ("llm__name__icontains",)
    search_help_text = "An id or part of a model's name."
    fields = (
        "llm", "state", "effective_from", "differences", "largest_change_percent", "rates", "tiers", "windows", "source",
        "created_at", "decided_by", "decided_at", "reason", "price",
    )  # fmt: skip
