"""For the templates of a wallet's page, which is an app's below and knows nothing of calls and figures."""

from __future__ import annotations

from typing import Any

from django import template

from office import wallet_page

register = template.Library()


@register.simple_tag(name="wallet_page", takes_context=True)
def of_wallet(context: dict[str, Any]) -> dict[str, Any]:
    """What the page of ``original`` shows. Read once for a page."""
    request, wallet = context["request"], context["original"]
    if not hasattr(request, "wallet_page"):
        request.wallet_page = wallet_page.context(request, wallet)
    shown: dict[str, Any] = request.wallet_page
    return shown
