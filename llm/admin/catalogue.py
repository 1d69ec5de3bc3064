"""Back office: models and their prices. Prices are added, never edited."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import URLPattern, path
from django.utils import timezone

from llm import discovery
from llm.admin.discovery import llama_models_url, may_import, models_page
from llm.models import LLM, LLMPrice, PriceConflict, ProviderName
from synapscale.common import audit
from synapscale.common.admin import OperatorAdmin, OperatorForm, ViewOnlyInline

RATES = (
    "input_usd_per_mtok", "cached_input_usd_per_mtok", "cache_write_5m_usd_per_mtok", "cache_write_1h_usd_per_mtok",
    "output_usd_per_mtok", "request_fee_usd",
)  # fmt: skip


class PriceHistoryInline(ViewOnlyInline):
    model = LLMPrice
    fields = ("effective_from", "effective_to", *RATES, "source")
    verbose_name_plural = "price history"

    def get_queryset(self, request: HttpRequest) -> QuerySet[LLMPrice]:
        return super().get_queryset(request).select_related("llm").order_by("-effective_from")


class LLMForm(OperatorForm):
    """A model of a private host names its host; one of a vendor has none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        provider: Any = self.fields.get("provider")
        if provider is None:  # a page for reading
            return
        if self._has_connection():
            provider.required = False
            provider.help_text = "Of a model of a private host always “Private host”; may be left empty."
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
            self.add_error("provider", "A model with a connection is one of a private host: leave this empty.")
        cleaned["provider"] = ProviderName.PRIVATE
        prefix = discovery.name_of(connection, "")
        name = cleaned.get("name", "")
        if name and not (name.startswith(prefix) and discovery.is_model_id(name.removeprefix(prefix))):
            self.add_error("name", f"The name of a model of this host is “{prefix}” and its id there.")
        return self.cleaned_data


@admin.register(LLM)
class LLMAdmin(OperatorAdmin):
    """The catalogue. A model is retired, never deleted: messages and prices name it."""

    form = LLMForm
    list_display = (
        "display_name", "provider", "name", "connection", "context_window", "max_output_tokens", "supports_streaming",
        "supports_vision", "is_active",
    )  # fmt: skip
    list_filter = ("provider", "is_active", "supports_vision", "supports_function_calling", "supports_reasoning")
    list_select_related = ("connection",)
    autocomplete_fields = ("connection",)
    search_fields = ("name__icontains", "display_name__icontains")
    search_help_text = "An id or part of a name."
    ordering: ClassVar[tuple[str, ...]] = ("provider", "name", "id")
    readonly_fields = ("created_at",)
    inlines = (PriceHistoryInline,)
    actions = ("activate", "retire")
    add_fields = fields = (
        "provider", "connection", "name", "display_name", "version", "context_window", "max_output_tokens", "supports_streaming",
        "supports_function_calling", "supports_vision", "supports_structured_output", "supports_reasoning",
        "supports_prompt_caching", "is_active", "metadata",
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: LLM | None = None) -> Any:
        """What a model is, is fixed with its first price: usage was charged by it, and names it."""
        names = super().get_readonly_fields(request, obj)
        is_priced = obj is not None and obj.prices.exists()
        return [*names, "provider", "connection", "name"] if is_priced else names

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.llama_view)
        return [path("llama/models/", page, name="llm_llm_llama"), *super().get_urls()]

    def llama_view(self, request: HttpRequest) -> HttpResponseBase:
        """What the host at ``LLAMA_BASE_URL`` offers."""
        return models_page(self, request, "llama", title="Models of the Llama host")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"models_url": llama_models_url() if may_import(request) else "", **(extra_context or {})}
        return super().changelist_view(request, context)

    @admin.action(description="Activate selected LLMs", permissions=["change"])
    def activate(self, request: HttpRequest, llms: QuerySet[LLM]) -> None:
        self._switch(request, llms.filter(is_active=False), to=True)

    @admin.action(description="Retire selected LLMs", permissions=["change"])
    def retire(self, request: HttpRequest, llms: QuerySet[LLM]) -> None:
        self._switch(request, llms.filter(is_active=True), to=False)

    def _switch(self, request: HttpRequest, llms: QuerySet[LLM], *, to: bool) -> None:
        chosen = LLM.objects.filter(pk__in=list(llms.values_list("pk", flat=True)))
        word = "Activated" if to else "Retired"
        for llm in chosen:
            audit.record(llm, what=f"{word}.", changes={"is_active": (not to, to)})
        messages.success(request, f"{word}: {chosen.update(is_active=to)}.")


class LLMPriceForm(OperatorForm):
    """A new price, stored by ``LLMPrice.supersede`` as the last step of its validation.

    Whether another price is in the way is known for sure only when the row is written, and an operator must see that as
    an error of the form. The view's transaction spans both, and nothing is checked afterwards.
    """

    def _get_validation_exclusions(self) -> set[str]:
        # Not the unique constraints of a model's prices yet: the open price is closed first, then they are looked at.
        return {*super()._get_validation_exclusions(), "llm"}

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        values = {name: getattr(self.instance, name) for name in self.cleaned_data}
        try:
            self.instance = LLMPrice.supersede(**values)
        except PriceConflict as conflict:
            self.add_error("effective_from", str(conflict))
        except ValidationError as error:
            self.add_error(None, error)


@admin.register(LLMPrice)
class LLMPriceAdmin(OperatorAdmin):
    """Prices are written once: usage points at the row it was charged by. A change is a new price."""

    form = LLMPriceForm
    list_display = ("llm", "effective_from", "effective_to", *RATES)
    list_filter = ("llm__provider", "effective_from", ("effective_to", admin.EmptyFieldListFilter))
    list_select_related = ("llm",)
    list_defer = ("source",)
    search_ids = ("pk", "llm_id")
    search_fields = ("llm__name__icontains",)
    search_help_text = "An id or part of a model's name."
    autocomplete_fields = ("llm",)
    add_fields = ("llm", "effective_from", "effective_to", *RATES, "tiers", "windows", "source")
    fields = (*add_fields, "created_at")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"effective_from": timezone.now().replace(microsecond=0), **super().get_changeform_initial_data(request)}

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: LLMPrice, form: Any, change: bool) -> None:
        """Nothing: the form has stored it."""
