"""The pages of an action with money: a form, then what it would do, then doing it once.

Nothing moves before the second page is confirmed. The reference is made with the first form and travels along, so a
double click, a reload or a form that is sent again finds it done.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.admin.helpers import AdminForm
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from billing.models import Wallet
from billing.money_actions import MoneyAction, new_reference
from billing.passwords import PasswordForm, is_their_password
from synapscale.common import audit
from synapscale.common.admin import OperatorAdmin
from synapscale.common.errors import Refusal
from synapscale.common.money import usd_text
from synapscale.common.presenting import is_confirmed
from workspaces.models import User


class _Confirmation(forms.Form):
    reference = forms.RegexField(r"^office:[0-9a-f-]{36}$", widget=forms.HiddenInput)


def money_page(model_admin: OperatorAdmin, request: HttpRequest, action: MoneyAction) -> HttpResponseBase:
    """Answer a request for ``action``. The wallet's page comes after."""
    user = request.user
    assert isinstance(user, User)
    if not user.has_perm(action.permission):
        raise PermissionDenied
    form = action.form(request.POST if request.method == "POST" else None, initial=action.initial())
    confirmation = _Confirmation(request.POST or None, initial={"reference": new_reference()})
    if request.method != "POST" or not form.is_valid() or not confirmation.is_valid():
        if request.method == "POST" and not confirmation.is_valid():
            confirmation = _Confirmation(initial={"reference": new_reference()})
        return _page(model_admin, request, action, form=form, confirmation=confirmation)
    given, reference = form.cleaned_data, confirmation.cleaned_data["reference"]
    needs_password = abs(action.moves(given)) > settings.OFFICE_REAUTH_USD
    confirms = is_confirmed(request)
    password = PasswordForm(request.POST if confirms else None) if needs_password else None
    if confirms and (password is None or is_their_password(user, password)):
        try:
            return _done(request, action, given, reference=reference, actor=user)
        except Refusal as refusal:
            form.add_error(None, refusal.message)
            return _page(model_admin, request, action, form=form, confirmation=confirmation)
    return _page(
        model_admin,
        request,
        action,
        form=form,
        confirmation=confirmation,
        password=password,
        effect=action.effect(given),
        is_confirming=True,
    )


def _done(
    request: HttpRequest, action: MoneyAction, given: dict[str, Any], *, reference: str, actor: User
) -> HttpResponseRedirect:
    wallets = Wallet.objects.filter(workspace_id=action.wallet.workspace_id, pk=action.wallet.pk)
    with transaction.atomic():
        before = wallets.select_for_update(no_key=True).get()  # what the audit log says was before
        done = action.do(given, reference=reference, actor=actor)
        if done.is_new:
            audit.record(
                before,
                what=done.what,
                changes=_moved(before, wallets.get()),
                reason=given["reason"],
                reference=reference,
                **done.facts,
            )
    if done.is_new:
        messages.success(request, done.said)
    else:
        messages.warning(request, _("This was done already; nothing was done twice."))
    return HttpResponseRedirect(reverse("admin:billing_wallet_change", args=[action.wallet.pk]))


def _moved(before: Wallet, now: Wallet) -> dict[str, audit.Change]:
    changes: dict[str, audit.Change] = {"balance": (usd_text(before.balance), usd_text(now.balance))}
    changes["status"] = (before.status, now.status)
    return {name: (old, new) for name, (old, new) in changes.items() if old != new}


def _page(
    model_admin: OperatorAdmin, request: HttpRequest, action: MoneyAction, *, form: forms.Form, **more: Any
) -> TemplateResponse:
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": Wallet._meta,
        "title": action.title,
        "action": action,
        "workspace": action.wallet.workspace,
        "wallet_url": reverse("admin:billing_wallet_change", args=[action.wallet.pk]),
        "facts": action.facts(),
        "form": form,
        "adminform": AdminForm(form, [(None, {"fields": list(form.fields)})], {}),  # type: ignore[arg-type]
        "passwordform": more.get("password") and AdminForm(more["password"], [(None, {"fields": ["password"]})], {}),
        **more,
    }
    return TemplateResponse(request, "admin/billing/money_action.html", context)
