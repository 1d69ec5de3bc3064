"""Back office: whether a provider takes a key. The call is the one that its owner could make (``conversations.key_tests``),
made for them and metered as theirs; what the provider said is told in our words, never in its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Case, Value, When
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from conversations import chat, key_tests
from conversations.admission import Admitted
from conversations.calls import Unsettled
from conversations.models import Message
from llm import client, fault_words, own_keys
from office import shown
from synapscale.common import audit
from synapscale.common.confirming import Deed, Facts, OnceField, Said, confirm_page
from synapscale.common.errors import Refusal
from synapscale.common.panels import Tool
from workspaces.models import Membership, UserVariable, Workspace

SECONDS = 30
"""A call that takes longer is stopped: somebody sits before the page and waits."""
_REPEATED = {"key_tested_already", "request_in_progress"}
PERMISSION = "workspaces.change_uservariable"

_CODES = {
    "provider_not_configured": gettext_lazy("The key can't be read any more: it has to be typed again."),
    "key_inactive": gettext_lazy("The key is switched off: nothing was called."),
    "key_expired": gettext_lazy("The key has expired: nothing was called."),
    "no_member": gettext_lazy("Nobody could make the call: its owner is in no open workspace, or may not write there."),
    "no_model_to_test": gettext_lazy("There is no model of %(provider)s that may be called there and has a price."),
    "wallet_suspended": gettext_lazy("The wallet of the workspace is suspended: nothing was called."),
    "insufficient_balance": gettext_lazy("The wallet does not cover the fee of a call on an own key."),
    "rate_limited": gettext_lazy("The workspace has made as many calls as it may this minute: try again later."),
    "unsettled": gettext_lazy("The call was made, but the database is away: see the usage of the workspace later."),
}
"""Why no call was made, or nothing is known of it; what a provider may have against it, ``llm.fault_words`` says."""


@dataclass(frozen=True)
class Found:
    """What became of the call: ``code`` is empty when the key works."""

    code: str = ""
    model: str = ""
    latency_ms: int | None = None

    def says(self, provider: str) -> str:
        if not self.code:
            words = {"model": self.model, "time": shown.milliseconds(self.latency_ms)}
            return _("The key works: %(model)s answered in %(time)s.") % words
        if self.code in _CODES:
            return str(_CODES[self.code]) % {"provider": provider}
        return fault_words.said(self.code, provider=provider, model=self.model)


def try_key(key: UserVariable, membership: Membership | None, once: str) -> Found:
    """Make the call for ``membership``, and wait for it, if it was not made before for the same ``once``. In no transaction,
    which admission insists on.
    """
    if membership is None:
        return Found("no_member")
    try:
        admitted = key_tests.admit(key=key, membership=membership, access_token=None, idempotency_key=once)
    except key_tests.KeyUnusable as why:
        return Found(why.code)
    except Refusal as refusal:
        return Found(refusal.code)
    model = str(admitted.plan.llm)
    try:
        answer = asyncio.run(_answer(admitted))
    except Unsettled:  # the sweeper settles it
        return Found("unsettled", model)
    if answer.status == Message.Status.SENT:
        return Found("", model, answer.processing_time_ms)
    return Found(answer.error_code or "provider_timeout", model)


async def _answer(admitted: Admitted) -> Message:
    try:
        call = chat.start(admitted, streams=False)
        try:
            answer, _outcome = await asyncio.wait_for(call.outcome(), SECONDS)
        except TimeoutError:
            call.stop()
            answer, _outcome = await call.outcome()
        return answer
    finally:
        await client.aclose_all()  # they belong to this event loop, which ends here


def member_for(key: UserVariable) -> Membership | None:
    """For whom the call is made: the owner of a person's key, in the oldest open workspace where they may write; an owner,
    else anybody who may write, of the workspace whose key it is.
    """
    rows = Membership.objects.filter(workspace__status=Workspace.Status.ACTIVE, user__is_active=True)
    rows = rows.exclude(role=Membership.Role.VIEWER).select_related("user", "workspace")
    if key.user_id is not None:
        return rows.filter(user=key.user_id).order_by("pk").first()
    owners_first = Case(When(role=Membership.Role.OWNER, then=Value(0)), default=Value(1))
    return rows.filter(workspace=key.workspace_id).order_by(owners_first, "pk").first()


class OnceForm(forms.Form):
    """A double click makes one call."""

    once = OnceField()


@dataclass(frozen=True)
class KeyTest(Deed):
    key: UserVariable
    membership: Membership | None

    title = gettext_lazy("Test the key")
    button = gettext_lazy("Make the call")
    permission = PERMISSION
    form = OnceForm

    @property
    def subject(self) -> str:
        return str(self.key)

    def effect(self, given: Mapping[str, Any]) -> Facts:
        said: Facts = [
            (
                _("One real call"),
                _("to the cheapest model of %(provider)s, a few tokens long") % {"provider": self._name},
            ),
            (_("Who pays"), _("the owner of the key, at the provider; here the fee for own keys, where there is one")),
        ]
        if self.membership is not None:
            words = {"user": self.membership.user, "workspace": self.membership.workspace}
            said.append((_("Where it counts"), _("as a call of %(user)s in %(workspace)s") % words))
        return said

    @property
    def _name(self) -> str:
        return str(own_keys.PROVIDERS.get(self.key.name, self.key.name))

    def do(self, given: Mapping[str, Any], *, actor: Any) -> Said | None:
        workspace = str(self.membership.workspace_id) if self.membership else None
        # Before the call, or a crash would leave one that was metered and that nobody made.
        audit.record(self.key, what=audit.TEST_BEGUN, actor=actor, workspace=workspace)
        found = try_key(self.key, self.membership, given["once"])
        audit.record(
            self.key,
            what=audit.TESTED,
            actor=actor,
            result=found.code or "works",
            model=found.model,
            workspace=workspace,
        )
        if found.code in _REPEATED:
            return None
        at = date_format(timezone.localtime(), "DATETIME_FORMAT")
        said = _("%(when)s: %(what)s") % {"when": at, "what": found.says(self._name)}
        return Said(said, messages.ERROR if found.code else messages.SUCCESS)


def page(request: HttpRequest, object_id: str) -> HttpResponseBase:
    """Ask, then make the call."""
    keys = UserVariable.objects.filter(category=UserVariable.Category.API_KEY, name__in=own_keys.PROVIDERS)
    key = get_object_or_404(keys.select_related("user", "workspace"), pk=object_id)
    back = reverse("admin:workspaces_uservariable_change", args=[key.pk])
    model_admin = admin.site.get_model_admin(UserVariable)
    return confirm_page(model_admin, request, KeyTest(key, member_for(key)), back=back)


TOOL = Tool(
    title=gettext_lazy("Test the key"),
    icon="network_check",
    url=lambda key: reverse("office_test_key", args=[key.pk]),
    may_use=lambda request, key: (
        key.category == UserVariable.Category.API_KEY
        and key.name in own_keys.PROVIDERS
        and request.user.has_perm(PERMISSION)
    ),
)
