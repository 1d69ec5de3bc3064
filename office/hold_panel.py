"""Back office: why a hold is open, on its own page as on its wallet's."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from billing.models import Hold
from office import open_holds
from synapscale.common.panels import Panel


def context(request: HttpRequest, hold: Hold) -> dict[str, Any] | None:
    """At most two queries. Nothing is shown of a hold that is settled: its fields say how that went."""
    found = open_holds.of_hold(hold)
    if found is None:
        return None
    url = ""
    if found.message and request.user.has_perm("conversations.view_message"):
        url = reverse("admin:conversations_message_change", args=[found.message.pk])
    return {"open": found, "message_url": url}


PANEL = Panel("admin/billing/hold/panel.html", context)
