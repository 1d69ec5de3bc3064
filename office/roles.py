"""The roles of staff: groups, each with what it may see and do. Migrations seed them; operators may change them afterwards.

A superuser may do everything, and alone says who is staff and in which groups. Nobody gets ``workspaces.add_accesstoken``:
a token speaks for its user, so whoever issues one can read what that user wrote.
"""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.utils.translation import pgettext_lazy

OPERATOR, FINANCE, SUPPORT, READ_ONLY = "Operator", "Finance", "Support", "Read-only"
NAMES = {
    OPERATOR: pgettext_lazy("role", "Operator"),
    FINANCE: pgettext_lazy("role", "Finance"),
    SUPPORT: pgettext_lazy("role", "Support"),
    READ_ONLY: pgettext_lazy("role", "Read-only"),
}
"""What pages call them (``common.permission_names``)."""

_LOOKS = {
    "analytics": ("alert", "alertdelivery", "alertrule", "report", "reportmail", "reportrun", "webhookendpoint"),
    "auditlog": ("logentry",),
    "auth": ("group",),
    "billing": ("billingevent", "hold", "holdincident", "tokenspend", "wallet"),
    "common": ("periodicjob",),
    "conversations": (
        "agent", "conversation", "conversationllm", "idempotencykey", "message", "messagefeedback", "messageimage", "usagelog",
    ),
    "llm": ("llm", "llmprice", "priceproposal", "providerconnection"),
    "tagging": ("tag", "taglink", "tagrule"),
    "workspaces": ("accesstoken", "membership", "ratebucket", "user", "uservariable", "workspace"),
}  # fmt: skip


def _views(*apps: str) -> set[str]:
    return {f"{app}.view_{model}" for app in apps for model in _LOOKS[app]}


ROLES: dict[str, set[str]] = {
    # Runs the product: models, prices, workspaces, keys, alerts, tags. Moves no money, reads nothing of what people wrote.
    OPERATOR: _views(*_LOOKS)
    | {
        "llm.add_llm", "llm.change_llm", "llm.add_llmprice", "llm.approve_price",
        "llm.add_providerconnection", "llm.change_providerconnection",
        "workspaces.add_workspace", "workspaces.change_workspace",
        "workspaces.add_membership", "workspaces.change_membership", "workspaces.delete_membership",
        "workspaces.add_user", "workspaces.change_user",
        "workspaces.change_accesstoken",
        "workspaces.add_uservariable", "workspaces.change_uservariable", "workspaces.delete_uservariable",
        "conversations.add_agent", "conversations.change_agent",
        "analytics.change_alert", "analytics.add_alertrule", "analytics.change_alertrule",
        "analytics.change_alertdelivery", "analytics.change_webhookendpoint",
        "tagging.add_tag", "tagging.change_tag", "tagging.add_tagrule", "tagging.change_tagrule", "tagging.change_taglink",
    },
    # Wallets, the ledger, what is charged and reported. Reads nothing of what people wrote.
    FINANCE: _views("billing", "analytics", "auditlog")
    | {
        "llm.view_llm", "llm.view_llmprice", "llm.view_priceproposal",
        "workspaces.view_workspace", "workspaces.view_user", "workspaces.view_membership", "workspaces.view_accesstoken",
        "conversations.view_usagelog", "conversations.view_conversationllm",
        "tagging.view_tag",
        "billing.change_wallet", "billing.top_up_wallet", "billing.adjust_wallet", "billing.suspend_wallet",
        "billing.refund_billingevent", "billing.download_lists",
    },
    # Helps customers: reads what they wrote, and every reading is noted.
    SUPPORT: _views("conversations", "tagging", "workspaces")
    | {
        "conversations.read_content", "conversations.change_messagefeedback",
        "billing.view_billingevent", "billing.view_hold", "billing.view_wallet",
        "llm.view_llm", "llm.view_llmprice",
        "analytics.view_alert",
        "workspaces.change_user", "workspaces.change_accesstoken",
        "tagging.add_tag", "tagging.change_tag", "tagging.change_taglink",
    },
    # Sees all pages, no content; changes nothing.
    READ_ONLY: _views(*_LOOKS),
}  # fmt: skip


def seed(apps: Any = installed, alias: str = "default") -> None:
    """Make the groups, and give each what its role has in ``ROLES``. What operators gave them besides stays.

    Permissions are made after all migrations, too late for one that gives them; so they are made here first.
    """
    for label in _LOOKS:
        _create_permissions(label, alias)
    group_model, permission_model = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    found = {
        f"{permission.content_type.app_label}.{permission.codename}": permission
        for permission in permission_model.objects.using(alias)
        .filter(content_type__app_label__in=list(_LOOKS))
        .select_related("content_type")
    }
    for name, names in ROLES.items():
        group, _ = group_model.objects.using(alias).get_or_create(name=name)
        group.permissions.add(*(found[name] for name in sorted(names)))


def _create_permissions(label: str, alias: str) -> None:
    config: AppConfig = installed.get_app_config(label)
    create_permissions(config, verbosity=0, using=alias)
