"""Back office: the page that shows what a host offers and imports one of its models, with its price."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.forms import AdminForm
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextInputWidget,
)

from llm import discovery
from llm.errors import ProviderError
from llm.models import LLM, LLMPrice, ProviderConnection
from synapscale.common.admin import OperatorAdmin
from synapscale.common.presenting import MoneyInput

MAX_SHOWN = 500
"""Ids on one page; a search finds the others."""


def _price(name: str, **options: Any) -> Any:
    field: Any = LLMPrice._meta.get_field(name)
    return field.formfield(form_class=MoneyInput, min_value=0, **options)


def _name(column: str) -> Any:
    field: Any = LLM._meta.get_field(column)
    return field.verbose_name


class ImportForm(forms.Form):
    """What the host does not say of a model; least of all what it costs."""

    model_id = forms.CharField(
        max_length=discovery.MAX_ID_CHARACTERS, label=_("id"), widget=UnfoldAdminTextInputWidget({"readonly": True})
    )
    display_name = forms.CharField(max_length=200, label=_("Display name"), widget=UnfoldAdminTextInputWidget)
    context_window = forms.IntegerField(
        label=_("Context window"),
        min_value=1,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text=_("Tokens of prompt and answer together."),
    )
    max_output_tokens = forms.IntegerField(
        label=_("Max output tokens"),
        min_value=1,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text=_("The longest answer, reasoning included, in tokens."),
    )
    capabilities = forms.MultipleChoiceField(
        label=_("Capabilities"),
        required=False,
        choices=[(name, _name(column)) for name, column in discovery.CAPABILITIES.items()],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    input_usd_per_mtok = _price(
        "input_usd_per_mtok",
        label=_("input price"),
        help_text=_("USD per million tokens. A model that is free costs 0."),
    )
    output_usd_per_mtok = _price("output_usd_per_mtok", label=_("output price"))
    cached_input_usd_per_mtok = _price("cached_input_usd_per_mtok", label=_("cached input price"), required=False)

    def save(self, source: discovery.Source) -> LLM | None:
        """The model in the catalogue; None where that was not possible, and the errors say why."""
        try:
            return discovery.import_model(source=source, **self.cleaned_data)
        except ValidationError as error:
            faults: dict[str, Any] = error.update_error_dict({})
            for name, fault in faults.items():
                self.add_error(name if name in self.fields else None, fault)
        return None


def may_import(request: HttpRequest) -> bool:
    """Staff who may add models and see the hosts."""
    return request.user.has_perms(["llm.add_llm", "llm.view_providerconnection"])


def llama_models_url() -> str:
    return reverse("admin:llm_llm_llama")


def models_page(
    model_admin: OperatorAdmin, request: HttpRequest, source: discovery.Source, *, title: str
) -> HttpResponseBase:
    """The models of the host; ``?model=`` opens the form for one of them, which is posted to the same address."""
    if not may_import(request):
        raise PermissionDenied
    form: ImportForm | None = None
    if request.method == "POST":
        form = ImportForm(request.POST)
        llm = form.save(source) if form.is_valid() else None
        if llm is not None:
            messages.success(request, _("Imported: %(llm)s.") % {"llm": llm})
            return HttpResponseRedirect(request.path)
    elif chosen := request.GET.get("model"):
        form = ImportForm(initial={"model_id": chosen, "display_name": chosen, "capabilities": ["streaming"]})
    found, failure = [], ""
    try:
        found = discovery.list_models_now(source)
    except ProviderError as error:
        failure = error.said
    wanted = request.GET.get("q", "").strip()
    matching = [model for model in found if wanted.lower() in model.id.lower()]
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": title,
        "connection": source if isinstance(source, ProviderConnection) else None,
        "failure": failure,
        "found": matching[:MAX_SHOWN],
        "total": len(found),
        "hidden": max(0, len(matching) - MAX_SHOWN),
        "wanted": wanted,
        "form": form,
        "adminform": form and AdminForm(form, [(_("Import"), {"fields": list(form.fields)})], {}),
    }
    return TemplateResponse(request, "admin/llm/models_of_host.html", context)
