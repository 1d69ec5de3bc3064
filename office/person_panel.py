"""Back office: what a person's page shows above its form: where they work and who pays there, for whoever knows a customer by
their e-mail address alone.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from billing.models import Wallet
from office import shown
from office.dashboard import rows_url
from synapscale.common.panels import Panel
from workspaces.models import Membership, User

SHOWN = 20


def context(request: HttpRequest, person: User) -> dict[str, Any] | None:
    """At most two queries."""
    if not request.user.has_perms(["workspaces.view_workspace", "workspaces.view_membership"]):
        return None
    rows = Membership.objects.filter(user=person).select_related("workspace").order_by("-pk")
    found = list(rows[: SHOWN + 1])
    wallets = _wallets(found[:SHOWN]) if request.user.has_perm("billing.view_wallet") else {}
    return {
        "places": [_place(one, wallets.get(one.workspace_id)) for one in found[:SHOWN]],
        "more_url": rows_url("workspaces_membership", user__id__exact=person.pk) if len(found) > SHOWN else "",
    }


PANEL = Panel("admin/workspaces/user/panel.html", context)


def _wallets(memberships: list[Membership]) -> dict[Any, Wallet]:
    rows = Wallet.objects.filter(workspace_id__in=[one.workspace_id for one in memberships])
    return {wallet.workspace_id: wallet for wallet in rows}


def _place(membership: Membership, wallet: Wallet | None) -> dict[str, Any]:
    workspace = membership.workspace
    return {
        "name": workspace.name,
        "url": reverse("admin:workspaces_workspace_change", args=[workspace.pk]),
        "role": membership.get_role_display(),
        "status": "" if workspace.is_open else workspace.get_status_display(),
        "wallet_url": wallet and reverse("admin:billing_wallet_change", args=[wallet.pk]),
        "balance": wallet and shown.usd(wallet.balance),
    }
