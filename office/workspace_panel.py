"""Back office: what the page of a workspace shows above its form. Each part is there for those who may see its rows.

The figures are those of ``analytics``, asked for once by model and once by member.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from analytics import query
from analytics.measures import Figures, ratio
from analytics.models import Alert
from analytics.query import Wanted
from billing.models import Wallet
from conversations.models import Conversation
from llm.models import LLM
from office import shown, statement_page, usage_report_page
from office.dashboard import SEES_FIGURES, alert_row, rows_url
from synapscale.common.badges import SOON
from synapscale.common.panels import Panel
from workspaces.models import AccessToken, User, UserVariable, Workspace

TOP = 5
DAYS = 30

Row = dict[str, Any]
Grouped = dict[uuid.UUID, Figures]


def context(request: HttpRequest, workspace: Workspace) -> Row:
    """At most eight queries."""
    user, found = request.user, dict[str, Any]()
    if user.has_perms(SEES_FIGURES):
        found["usage"] = _usage(workspace)
    if user.has_perm("billing.view_wallet"):
        found["wallet"] = _wallet(request, workspace)
    if user.has_perm("workspaces.view_accesstoken"):
        found["tokens"] = _tokens(workspace)
    if user.has_perm("workspaces.view_uservariable"):
        found["provider_keys"] = _keys(workspace)
    if user.has_perm("analytics.view_alert"):
        found["alerts"] = _alerts(workspace)
        found["alerts_url"] = _rows("analytics_alert", workspace)
    if user.has_perm("conversations.view_conversation"):
        found["conversations"] = _conversations(workspace)
        found["conversations_url"] = _rows("conversations_conversation", workspace)
    found["links"] = _links(request, workspace)
    return found


PANEL = Panel("admin/workspaces/workspace/panel.html", context)


def _rows(label: str, workspace: Workspace, **filters: Any) -> str:
    return rows_url(label, workspace__id__exact=workspace.pk, **filters)


def _links(request: HttpRequest, workspace: Workspace) -> list[Row]:
    """Where else to look, for those who may."""
    wanted = [
        ("workspaces.view_membership", _("Members"), _rows("workspaces_membership", workspace)),
        ("billing.view_billingevent", _("Ledger"), _rows("billing_billingevent", workspace)),
        (statement_page.PERMISSION, _("Monthly statement"), reverse("office_statement", args=[workspace.pk])),
        ("conversations.view_usagelog", _("Usage"), _rows("conversations_usagelog", workspace)),
        (
            usage_report_page.PERMISSION,
            _("Usage report"),
            f"{reverse('office_usage_report')}?{urlencode({'workspace': workspace.slug})}",
        ),
        ("analytics.view_report", _("Reports"), _rows("analytics_report", workspace)),
        ("analytics.view_alertrule", _("Alert rules"), _rows("analytics_alertrule", workspace)),
        ("tagging.view_tagrule", _("Rules of tags"), _rows("tagging_tagrule", workspace)),
    ]
    return [{"title": title, "url": url} for permission, title, url in wanted if request.user.has_perm(permission)]


# --- Usage ------------------------------------------------------------------------------------------------------------


def _usage(workspace: Workspace) -> Row:
    """Four queries: figures by model and by member, and the names of those at the top."""
    now = timezone.now()
    day, month = now - timedelta(days=1), now - timedelta(days=DAYS)
    lately, models = _figures(workspace, "llm", [month, day, now])
    _lately, people = _figures(workspace, "user", [month, now])
    top_models, top_people = _top(models), _top(people)
    names = {llm.pk: str(llm) for llm in LLM.objects.filter(pk__in=top_models)}
    emails = dict(User.objects.filter(pk__in=top_people).values_list("pk", "email"))
    windows = [
        (_("24 hours"), Figures.total(lately.values()), day),
        (_("%(days)d days") % {"days": DAYS}, Figures.total(models.values()), month),
    ]
    return {
        "windows": [_window(workspace, title, figures, since) for title, figures, since in windows],
        "models": [
            {"name": names[key], "url": reverse("admin:llm_llm_change", args=[key]), **_spent(models[key])}
            for key in top_models
        ],
        "people": [
            {"name": emails[key], "url": reverse("admin:workspaces_user_change", args=[key]), **_spent(people[key])}
            for key in top_people
        ],
    }


def _figures(workspace: Workspace, by: str, edges: list[Any]) -> tuple[Grouped, Grouped]:
    """Of the last period, and of all of them together. One query."""
    answer = query.figures(Wanted(workspace.pk), edges=edges, by=(by,))
    last: Grouped = {}
    whole: Grouped = {}
    for (number, (key,)), figures in answer.figures.items():
        whole[key] = whole[key] + figures if key in whole else figures
        if number == len(edges) - 2:
            last[key] = figures
    return last, whole


def _top(groups: Grouped) -> list[uuid.UUID]:
    return sorted(groups, key=lambda key: (-groups[key].charged_usd, -groups[key].calls, str(key)))[:TOP]


def _window(workspace: Workspace, title: str, figures: Figures, since: Any) -> Row:
    filters = {"created_at__gte": since.isoformat()}
    return {
        "title": title,
        **_spent(figures),
        "failed": shown.count(figures.failed),
        "error_rate": shown.percent(ratio(figures.failed, figures.calls, places=4)),
        "url": _rows("conversations_usagelog", workspace, **filters),
        "failed_url": _rows("conversations_usagelog", workspace, **filters, status__exact="error"),
    }


def _spent(figures: Figures) -> Row:
    return {
        "calls": shown.count(figures.calls),
        "tokens": shown.count(figures.total_tokens),
        "charged": shown.usd(figures.charged_usd),
    }


# --- Money ------------------------------------------------------------------------------------------------------------


def _wallet(request: HttpRequest, workspace: Workspace) -> Row | None:
    wallet = Wallet.objects.filter(workspace=workspace).first()
    if wallet is None:
        return None
    is_open = wallet.status == Wallet.Status.OPEN
    actions = [
        ("billing.top_up_wallet", "top_up", _("Top up"), True),
        ("billing.adjust_wallet", "adjust", _("Adjust"), True),
        ("billing.suspend_wallet", "suspend", _("Suspend"), is_open),
        ("billing.suspend_wallet", "reopen", _("Open again"), not is_open),
    ]
    return {
        "url": reverse("admin:billing_wallet_change", args=[wallet.pk]),
        "balance": shown.usd(wallet.balance),
        "held": shown.usd(wallet.held),
        "available": shown.usd(wallet.available),
        "status": wallet.get_status_display(),
        "is_open": is_open,
        "mode": wallet.get_mode_display(),
        "actions": [
            {"title": title, "url": reverse(f"admin:billing_wallet_{name}", args=[wallet.pk])}
            for permission, name, title, is_offered in actions
            if is_offered and request.user.has_perm(permission)
        ],
    }


# --- Tokens and keys --------------------------------------------------------------------------------------------------


def _expiring(in_use: Q, prefix: str = "") -> dict[str, Any]:
    """What is counted of rows that run out."""
    now = timezone.now()
    ends = f"{prefix}expires_at"
    lasts = Q(**{f"{ends}__isnull": True}) | Q(**{f"{ends}__gt": now})
    return {
        "valid": Count("pk", filter=in_use & lasts),
        "soon": Count("pk", filter=in_use & Q(**{f"{ends}__gt": now, f"{ends}__lte": now + SOON})),
        "expired": Count("pk", filter=in_use & Q(**{f"{ends}__lte": now})),
    }


def _tokens(workspace: Workspace) -> Row:
    rows = AccessToken.objects.filter(workspace=workspace)
    counts = rows.aggregate(**_expiring(Q(revoked_at__isnull=True)))
    return {**counts, **_expiry_urls("workspaces_accesstoken", workspace)}


def _keys(workspace: Workspace) -> Row:
    """The workspace's own; those of its members are their own affair."""
    rows = UserVariable.objects.filter(workspace=workspace, category=UserVariable.Category.API_KEY)
    counts = rows.aggregate(**_expiring(Q(is_active=True)))
    return {**counts, **_expiry_urls("workspaces_uservariable", workspace, category__exact="api_key")}


def _expiry_urls(label: str, workspace: Workspace, **filters: Any) -> Row:
    return {
        "url": _rows(label, workspace, **filters),
        "soon_url": _rows(label, workspace, **filters, expiry="soon"),
        "expired_url": _rows(label, workspace, **filters, expiry="expired"),
    }


# --- Alerts and conversations -----------------------------------------------------------------------------------------


def _alerts(workspace: Workspace) -> list[Row]:
    """The newest that are open."""
    rows = Alert.objects.filter(workspace=workspace, state__in=Alert.OPEN).select_related("rule").order_by("-pk")
    return [alert_row(alert) for alert in rows[:TOP]]


def _conversations(workspace: Workspace) -> list[Row]:
    """The newest, without their titles: customers wrote these, and whoever reads them is noted where they are shown."""
    rows = Conversation.objects.filter(workspace=workspace).select_related("user").order_by("-pk")
    rows = rows.defer("title", "context", "settings")
    return [
        {
            "url": reverse("admin:conversations_conversation_change", args=[row.pk]),
            "user": row.user.email,
            "kind": row.get_kind_display(),
            "messages": shown.count(row.message_count),
            "cost": shown.usd(row.total_cost),
            "created_at": row.created_at,
        }
        for row in rows[:TOP]
    ]
