"""Back office: models and their prices. Prices are added, never edited."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action

from llm import discovery
from llm.admin.discovery import llama_models_url, may_import, models_page
from llm.admin.new_price import choice_page, new_price_page, url_of
from llm.admin.showing import badge, capabilities, capability_badges, status_of, timeline, with_validity
from llm.admin.switching import switch_page
from llm.models import LLM, LLMPrice, ProviderName
from synapscale.common.admin import OperatorAdmin, OperatorForm, as_uuid

RATES = (
    "input_usd_per_mtok", "cached_input_usd_per_mtok", "cache_write_5m_usd_per_mtok", "cache_write_1h_usd_per_mtok",
    "output_usd_per_mtok", "request_fee_usd",
)  # fmt: skip


class ValidPriceFilter(admin.SimpleListFilter):
    title = _("valid price")
    parameter_name = "price"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("valid", _("With a valid price")), ("none", _("Without a valid price"))]

    def queryset(self, request: HttpRequest, llms: QuerySet[Any]) -> QuerySet[Any]:
        wanted = {"valid": True, "none": False}.get(str(self.value()))
        return llms if wanted is None else llms.filter(has_price=wanted)


class LLMForm(OperatorForm):
    """A model of a private host names its host; one of a vendor has none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        provider: Any = self.fields.get("provider")
        if provider is None:  # a page for reading
            return
        if self._has_connection():
            provider.required = False
            provider.help_text = gettext("Of a model of a private host always “Private host”; may be left empty.")
        else:
            provider.choices = [choice for choice in provider.choices if choice[0] != ProviderName.PRIVATE]

    def _has_connection(self) -> bool:
        if self.is_bound:
            return bool(self.data.get(self.add_prefix("connection")))
        return bool(self.initial.get("connection"))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        connection = cleaned.get("connection")
        if connection is None:
            return cleaned
        if cleaned.get("provider") not in ("", ProviderName.PRIVATE):
            self.add_error("provider", gettext("A model with a connection is one of a private host: leave this empty."))
        cleaned["provider"] = ProviderName.PRIVATE
        prefix = discovery.name_of(connection, "")
        name = cleaned.get("name", "")
        if name and not (name.startswith(prefix) and discovery.is_model_id(name.removeprefix(prefix))):
            said = gettext("The name of a model of this host is “%(prefix)s” and its id there.")
            self.add_error("name", said % {"prefix": prefix})
        return self.cleaned_data


@admin.register(LLM)
class LLMAdmin(OperatorAdmin):
    """The catalogue. A model is retired, never deleted: messages and prices name it."""

    form = LLMForm
    list_display = (
        "display_name", "provider", "name", "status", "can", "context_window", "max_output_tokens", "connection",
    )  # fmt: skip
    list_filter = (
        "provider", "is_active", ValidPriceFilter, "supports_vision", "supports_function_calling", "supports_reasoning",
    )  # fmt: skip
    list_select_related = ("connection",)
    autocomplete_fields = ("connection",)
    search_fields = ("name__icontains", "display_name__icontains")
    search_help_text = _("An id or part of a name.")
    ordering: ClassVar[tuple[str, ...]] = ("provider", "name", "id")
    readonly_fields = ("created_at",)
    actions = ("activate", "retire")
    actions_detail = ("new_price", "activate_one", "retire_one")
    change_form_outer_before_template = "admin/llm/model_shown.html"
    fields = (
        "provider", "connection", "name", "display_name", "version", "context_window", "max_output_tokens", "supports_streaming",
        "supports_function_calling", "supports_vision", "supports_structured_output", "supports_reasoning",
        "supports_prompt_caching", "metadata",
    )  # fmt: skip
    add_fields = (*fields, "is_active")  # afterwards by actions, which say what that does

    def get_readonly_fields(self, request: HttpRequest, obj: LLM | None = None) -> Any:
        """What a model is, is fixed with its first price: usage was charged by it, and names it."""
        names = super().get_readonly_fields(request, obj)
        is_priced = obj is not None and obj.prices.exists()
        return [*names, "provider", "connection", "name"] if is_priced else names

    def get_queryset(self, request: HttpRequest) -> QuerySet[LLM]:
        return with_validity(super().get_queryset(request))

    @admin.display(description=_("Status"))
    def status(self, llm: Any) -> str:
        return badge(status_of(llm, has_price=llm.has_price))

    @admin.display(description=_("Can do"))
    def can(self, llm: LLM) -> str:
        return capability_badges(llm)

    # Pages

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.llama_view)
        return [path("llama/models/", page, name="llm_llm_llama"), *super().get_urls()]

    def llama_view(self, request: HttpRequest) -> HttpResponseBase:
        """What the host at ``LLAMA_BASE_URL`` offers."""
        return models_page(self, request, "llama", title=gettext("Models of the Llama host"))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"models_url": llama_models_url() if may_import(request) else "", **(extra_context or {})}
        return super().changelist_view(request, context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        llm = LLM.objects.select_related("connection").filter(pk=as_uuid(unquote(object_id))).first()
        if llm is not None and self.has_view_permission(request):
            extra_context = {**self._shown(request, llm), **(extra_context or {})}
        return super().change_view(request, object_id, form_url, extra_context)

    def _shown(self, request: HttpRequest, llm: LLM) -> dict[str, Any]:
        """What stands above the form."""
        sees_prices = request.user.has_perm("llm.view_llmprice")
        entries, hidden = timeline(llm, now=timezone.now())
        return {
            "llm": llm,
            "status": status_of(llm, has_price=any(entry.state == "current" for entry in entries)),
            "capabilities": capabilities(llm),
            "sees_prices": sees_prices,
            "timeline": entries if sees_prices else [],
            "more_prices": hidden,
            "prices_url": f"{reverse('admin:llm_llmprice_changelist')}?llm__id__exact={llm.pk}",
            "new_price_url": url_of(llm) if self.has_new_price_permission(request) else "",
        }

    # Actions. The permissions are methods, because one that is named by its text is looked for in the database.

    def has_new_price_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("llm.add_llmprice")

    def has_activate_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self._may_switch(request, object_id, to=True)

    def has_retire_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self._may_switch(request, object_id, to=False)

    def _may_switch(self, request: HttpRequest, object_id: str | None, *, to: bool) -> bool:
        """On the page of a model there is the button for what it is not."""
        if not self.has_change_permission(request):
            return False
        is_page = request.resolver_match is not None and request.resolver_match.url_name == "llm_llm_change"
        return not is_page or LLM.objects.filter(pk=as_uuid(str(object_id)), is_active=not to).exists()

    def _llm(self, object_id: str) -> LLM:
        key = as_uuid(unquote(object_id))
        if key is None:
            raise Http404
        return get_object_or_404(LLM.objects.select_related("connection"), pk=key)

    @action(description=_("New price"), url_path="new-price", icon="sell", permissions=["new_price"])
    def new_price(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        return new_price_page(self, request, self._llm(object_id))

    @action(description=_("Activate"), url_path="activate", icon="play_arrow", permissions=["activate"])
    def activate_one(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        return switch_page(self, request, [self._llm(object_id)], to=True)

    @action(description=_("Retire"), url_path="retire", icon="archive", permissions=["retire"])
    def retire_one(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        return switch_page(self, request, [self._llm(object_id)], to=False)

    @admin.action(description=_("Activate selected LLMs"), permissions=["change"])
    def activate(self, request: HttpRequest, llms: QuerySet[LLM]) -> HttpResponseBase:
        return switch_page(self, request, list(llms), to=True, action="activate")

    @admin.action(description=_("Retire selected LLMs"), permissions=["change"])
    def retire(self, request: HttpRequest, llms: QuerySet[LLM]) -> HttpResponseBase:
        return switch_page(self, request, list(llms), to=False, action="retire")


@admin.register(LLMPrice)
class LLMPriceAdmin(OperatorAdmin):
    """Prices are written once: usage points at the row it was charged by. A change is a new price."""

    list_display = ("llm", "effective_from", "effective_to", *RATES)
    list_filter = ("llm__provider", "effective_from", ("effective_to", admin.EmptyFieldListFilter))
    list_select_related = ("llm",)
    list_defer = ("source",)
    search_ids = ("pk", "llm_id")
    search_fields = ("llm__name__icontains",)
    search_help_text = _("An id or part of a model's name.")
    autocomplete_fields = ("llm",)
    fields = ("llm", "effective_from", "effective_to", *RATES, "tiers", "windows", "source", "created_at")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        """Which model; its “New price” asks for the rest, so that no price is stored without its preview."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        return choice_page(self, request)
