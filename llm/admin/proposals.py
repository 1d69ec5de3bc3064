"""Back office: prices that were found elsewhere, and what became of them. A comparison makes them; people decide."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Case, QuerySet, Value, When
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils import formats
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action

from llm.admin import newcomers
from llm.admin.deciding import decide_page, several_page, show
from llm.admin.showing import Status, badge
from llm.models import PriceProposal
from llm.models_proposals import State
from synapscale.common.admin import ViewOnlyAdmin, as_uuid


@admin.register(PriceProposal)
class PriceProposalAdmin(ViewOnlyAdmin):
    """Those that wait come first."""

    list_display = ("llm", "status", "largest_change", "effective_from", "source", "created_at", "decided_at")
    list_filter = ("state", "created_at")
    list_select_related = ("llm",)
    list_defer = ("rates", "tiers", "windows", "differences", "reason")
    search_ids = ("pk", "llm_id")
    search_fields = ("llm__name__icontains",)
    search_help_text = _("An id or part of a model's name.")
    ordering = (Case(When(state=State.OPEN, then=Value(0)), default=Value(1)), "-id")  # type: ignore[assignment]
    fields = (
        "llm", "state", "effective_from", "largest_change_percent", "rates", "tiers", "windows", "source",
        "created_at", "decided_by", "decided_at", "reason", "price",
    )  # fmt: skip
    actions = ("approve_selected", "reject_selected")  # type: ignore[assignment]
    actions_detail = ("approve", "reject")
    change_form_outer_before_template = "admin/llm/proposal_shown.html"
    list_before_template = "admin/llm/proposals_tools.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("look/", view(newcomers.look), name="llm_priceproposal_look"),
            path("new-models/", view(self.newcomers_view), name="llm_priceproposal_newcomers"),
            *super().get_urls(),
        ]

    def newcomers_view(self, request: HttpRequest) -> HttpResponseBase:
        return newcomers.newcomers_page(self, request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        may = request.user
        urls = {
            "look_url": reverse("admin:llm_priceproposal_look") if may.has_perm(newcomers.LOOKS) else "",
            "newcomers_url": reverse("admin:llm_priceproposal_newcomers") if may.has_perms(newcomers.ADDS) else "",
        }
        return super().changelist_view(request, {**urls, **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        key = as_uuid(object_id)
        rows = PriceProposal.objects.select_related("llm", "price")
        proposal = rows.filter(pk=key).first() if key and self.has_view_permission(request) else None
        if proposal is not None:
            shown = show(proposal, user=request.user)
            extra_context = {"proposal": proposal, "shown": shown, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, extra_context)

    @admin.display(description=_("State"), ordering="state")
    def status(self, proposal: PriceProposal) -> str:
        return badge(Status(f"proposal-{proposal.state}", proposal.get_state_display()))

    @admin.display(description=_("Largest change"), ordering="largest_change_percent")
    def largest_change(self, proposal: PriceProposal) -> str:
        percent = proposal.largest_change_percent
        return gettext("a new rate") if percent is None else f"{formats.number_format(percent, decimal_pos=1)} %"

    # Deciding

    def has_approve_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("llm.approve_price")

    def has_decide_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """For those that wait: the others have no buttons."""
        if not self.has_approve_permission(request):
            return False
        match, key = request.resolver_match, as_uuid(str(object_id))
        is_page = match is not None and match.url_name == "llm_priceproposal_change" and key is not None
        return not is_page or PriceProposal.objects.filter(pk=key or "", state=State.OPEN).exists()

    def _proposal(self, object_id: str) -> PriceProposal:
        key = as_uuid(object_id)
        if key is None:
            raise Http404
        return get_object_or_404(PriceProposal.objects.select_related("llm", "decided_by", "price"), pk=key)

    @action(description=_("Approve"), url_path="approve", icon="check", permissions=["decide"])
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        return decide_page(self, request, self._proposal(object_id), approves=True)

    @action(description=_("Reject"), url_path="reject", icon="close", permissions=["decide"])
    def reject(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        return decide_page(self, request, self._proposal(object_id), approves=False)

    @admin.action(description=_("Approve selected prices"), permissions=["approve"])
    def approve_selected(self, request: HttpRequest, rows: QuerySet[PriceProposal]) -> HttpResponseBase:
        return several_page(self, request, self._selected(rows), approves=True, action="approve_selected")

    @admin.action(description=_("Reject selected prices"), permissions=["approve"])
    def reject_selected(self, request: HttpRequest, rows: QuerySet[PriceProposal]) -> HttpResponseBase:
        return several_page(self, request, self._selected(rows), approves=False, action="reject_selected")

    @staticmethod
    def _selected(rows: QuerySet[PriceProposal]) -> list[PriceProposal]:
        keys = list(rows.values_list("pk", flat=True)[:1000])
        return list(PriceProposal.objects.select_related("llm").filter(pk__in=keys))
