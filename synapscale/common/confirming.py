"""Pages that ask before something is done: a form, then what it would do, then doing it.

Nothing is done by a GET, nor before the second page is confirmed; what is done once finds nothing left to do when its form
is sent again. The view is in no transaction: what a deed does is one of its own, or a call that waits for others.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import AdminForm
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminTextareaWidget

from synapscale.common.errors import Refusal
from synapscale.common.models import new_id
from synapscale.common.presenting import is_confirmed

Facts = list[tuple[Any, Any]]
"""What something is called, and what it is."""


def reason_field(help_text: Any, *, required: bool = True, max_length: int = 300) -> forms.CharField:
    """Why somebody does it. ``help_text`` says who reads that."""
    return forms.CharField(
        required=required,
        max_length=max_length,
        label=gettext_lazy("Reason"),
        help_text=help_text,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )


class ReasonForm(forms.Form):
    reason = reason_field(gettext_lazy("Kept in the audit log."))


_ONCE = re.compile(r"^office:[0-9a-f-]{36}$")


class _OnceInput(forms.HiddenInput):
    def format_value(self, value: Any) -> str:
        """What was made with the first page; a new one where there is none, or something else in its place."""
        return str(value) if value and _ONCE.fullmatch(str(value)) else f"office:{new_id()}"


class OnceField(forms.RegexField):
    """Made with the page and sent along with its forms: what was done once for it is not done again."""

    widget = hidden_widget = _OnceInput

    def __init__(self) -> None:
        super().__init__(_ONCE)


class NothingToType(forms.Form):
    """For what is only to be confirmed."""


@dataclass(frozen=True)
class Said:
    """What was done, in words for whoever did it."""

    text: Any
    level: int = messages.SUCCESS


class Deed(ABC):
    """Something that can be done to rows, for whoever has ``permission``."""

    title: ClassVar[Any]
    button: ClassVar[Any]
    permission: ClassVar[str]
    form: ClassVar[type[forms.Form]] = ReasonForm
    is_dangerous: ClassVar[bool] = False

    @property
    @abstractmethod
    def subject(self) -> str:
        """What it is done to."""

    def initial(self) -> dict[str, Any]:
        return {}

    def facts(self) -> Facts:
        """What is worth knowing before."""
        return []

    @abstractmethod
    def effect(self, given: Mapping[str, Any]) -> Facts:
        """What it would do, as things are now."""

    def proof(self, given: Mapping[str, Any], data: Any, *, user: Any) -> forms.Form | None:
        """What ``user`` has to give together with the button, bound to ``data``; None: the button is enough."""
        return None

    def alone(self, user: Any) -> AbstractContextManager[None]:
        """Around the proof that ``user`` gives and what is done with it; by itself it is nothing."""
        return nullcontext()

    @abstractmethod
    def do(self, given: Mapping[str, Any], *, actor: Any) -> Said | None:
        """Do it; None: there was nothing left to be done. Raises a Refusal."""


def confirm_page(
    model_admin: ModelAdmin[Any],
    request: HttpRequest,
    deed: Deed,
    *,
    back: str,
    hidden: Iterable[tuple[str, str]] = (),
) -> HttpResponseBase:
    """Answer a request for ``deed``; afterwards the browser goes to ``back``. ``hidden`` is sent along with the forms."""
    if not request.user.has_perm(deed.permission):
        raise PermissionDenied
    hidden = list(hidden)
    is_typed = request.method == "POST" and ("typed" in request.POST or not hidden)  # a list posts what is chosen in it
    form = deed.form(request.POST if is_typed else None, initial=deed.initial())
    has_all = form.is_valid() if is_typed else not form.visible_fields()
    given = form.cleaned_data if has_all and is_typed else {}
    confirms = has_all and is_typed and is_confirmed(request)
    with deed.alone(request.user) if confirms else nullcontext():
        proof = deed.proof(given, request.POST if confirms else None, user=request.user) if has_all else None
        if confirms and (proof is None or proof.is_valid()):
            try:
                said = deed.do(given, actor=request.user)
            except Refusal as refusal:
                form.add_error(None, refusal.message)
                has_all = False
            else:
                done = said or Said(_("There was nothing left to do: it was done already."), messages.WARNING)
                messages.add_message(request, done.level, str(done.text))
                return HttpResponseRedirect(back)
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": deed.title,
        "deed": deed,
        "back": back,
        "hidden": hidden,
        "form": form,
        "adminform": AdminForm(form, [(None, {"fields": [field.name for field in form.visible_fields()]})], {}),  # type: ignore[arg-type]
        "is_confirming": has_all,
        "facts": deed.facts(),
        "effect": deed.effect(given) if has_all else [],
        "proof": proof,
        "proofform": proof and AdminForm(proof, [(None, {"fields": list(proof.fields)})], {}),  # type: ignore[arg-type]
    }
    return TemplateResponse(request, "admin/confirm.html", context)
