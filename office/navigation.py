"""Back office: the links at the side (``templates/unfold/helpers/app_list.html``). Whoever may not open a page is not shown its link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise


@dataclass(frozen=True)
class Link:
    title: Text
    icon: str
    """A name of https://fonts.google.com/icons (Material Symbols), whose font unfold brings along."""
    page: str
    """The name of a URL."""
    may_open: Callable[[HttpRequest], bool]


@dataclass(frozen=True)
class Group:
    title: Text
    links: tuple[Link, ...]


def rows(label: str, title: Text, icon: str) -> Link:
    """The list of a model (``app.Model``)."""

    def may_open(request: HttpRequest) -> bool:
        return admin.site.get_model_admin(apps.get_model(label)).has_view_permission(request)

    return Link(title, icon, f"admin:{label.lower().replace('.', '_')}_changelist", may_open)


def page(name: str, title: Text, icon: str, *permissions: str) -> Link:
    """Any other page, for whoever has all of ``permissions``."""

    def may_open(request: HttpRequest) -> bool:
        return request.user.has_perms(permissions)

    return Link(title, icon, name, may_open)


GROUPS = (
    Group(_("Overview"), (page("admin:index", _("Dashboard"), "dashboard"),)),
    Group(
        _("Models and prices"),
        (
            rows("llm.LLM", _("Models"), "model_training"),
            rows("llm.LLMPrice", _("Prices"), "sell"),
            rows("llm.PriceProposal", _("Proposed prices"), "price_change"),
            rows("llm.ProviderConnection", _("Private hosts"), "dns"),
        ),
    ),
    Group(
        _("Money"),
        (
            rows("billing.Wallet", _("Wallets"), "account_balance_wallet"),
            rows("billing.BillingEvent", _("Ledger"), "receipt_long"),
            page("office_statements", _("Statements"), "request_quote", "billing.view_billingevent"),
            rows("billing.Hold", _("Holds"), "lock_clock"),
            rows("billing.HoldIncident", _("Hold incidents"), "report"),
            rows("billing.TokenSpend", _("Spending of tokens"), "speed"),
        ),
    ),
    Group(
        _("Conversations"),
        (
            rows("conversations.Conversation", _("Conversations"), "forum"),
            rows("conversations.Message", _("Messages"), "chat"),
            rows("conversations.UsageLog", _("Usage"), "data_usage"),
            rows("conversations.ConversationLLM", _("Models per conversation"), "hub"),
            rows("conversations.MessageFeedback", _("Feedback"), "thumbs_up_down"),
            rows("conversations.Agent", _("Agents"), "smart_toy"),
            rows("conversations.MessageImage", _("Images"), "image"),
            rows("conversations.IdempotencyKey", _("Idempotency keys"), "vpn_key"),
        ),
    ),
    Group(
        _("Workspaces and people"),
        (
            rows("workspaces.Workspace", _("Workspaces"), "workspaces"),
            rows("workspaces.User", _("People"), "person"),
            rows("workspaces.Membership", _("Memberships"), "group"),
            rows("workspaces.AccessToken", _("Access tokens"), "key"),
            rows("workspaces.UserVariable", _("Encrypted variables"), "encrypted"),
        ),
    ),
    Group(
        _("Alerts and reports"),
        (
            rows("analytics.Alert", _("Alerts"), "notifications"),
            rows("analytics.AlertRule", _("Alert rules"), "rule"),
            rows("analytics.WebhookEndpoint", _("Webhooks"), "webhook"),
            rows("analytics.AlertDelivery", _("Deliveries"), "outgoing_mail"),
            page("office_usage_report", _("Usage report"), "bar_chart", "conversations.view_usagelog"),
            rows("analytics.Report", _("Reports"), "summarize"),
            rows("analytics.ReportRun", _("Runs of reports"), "history"),
            rows("analytics.ReportMail", _("Mails of reports"), "mail"),
        ),
    ),
    Group(
        _("Tags"),
        (
            rows("tagging.Tag", _("Tags"), "label"),
            rows("tagging.TagRule", _("Rules"), "auto_awesome"),
            rows("tagging.TagLink", _("Tagged"), "link"),
        ),
    ),
    Group(
        _("System"),
        (
            rows("auditlog.LogEntry", _("Audit log"), "history"),
            rows("auth.Group", _("Roles"), "admin_panel_settings"),
            rows("workspaces.RateBucket", _("Rate limits"), "timer"),
            rows("common.PeriodicJob", _("Periodic jobs"), "schedule"),
        ),
    ),
)


def groups(request: HttpRequest) -> list[dict[str, Any]]:
    """The groups of which anything may be opened, each with its links; the one whose page, or a page below, is asked for is ``active``."""
    shown = []
    for group in GROUPS:
        links = [link for link in group.links if link.may_open(request)]
        if links:
            items = [
                {"title": link.title, "icon": link.icon, "link": _url(link.page), "active": _is_at(request.path, link)}
                for link in links
            ]
            shown.append({"title": group.title, "items": items})
    return shown


def _is_at(path: str, link: Link) -> bool:
    """Everything is below the front page."""
    url = _url(link.page)
    return path == url or (path.startswith(url) and link.page != "admin:index")


@cache
def _url(page: str) -> str:
    return reverse(page)


def place_of(url: str) -> tuple[Group, Link] | None:
    """The link to ``url``, and the group it stands in."""
    return _places().get(url)


@cache
def _places() -> dict[str, tuple[Group, Link]]:
    return {_url(link.page): (group, link) for group in GROUPS for link in group.links}
