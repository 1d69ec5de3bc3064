"""The three kinds of table, and the marker for code that reads across tenants on purpose.

CONTROL tables are small and the same for all: a cluster keeps a copy on every node, so they take no hot writes. DATA
tables belong to tenants and are sharded by ``workspace_id``. LOCAL tables are Django's own, the
state of periodic jobs, and tries to sign in; they stay on one node. Foreign keys go from DATA and LOCAL to CONTROL, and within a kind; never to DATA from outside.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager

_fleet_wide: contextvars.ContextVar[bool] = contextvars.ContextVar("fleet_wide", default=False)


CONTROL = frozenset(
    {
        "access_tokens",
        "alert_rules",
        "llm_prices",
        "llms",
        "memberships",
        "price_proposals",
        "provider_connections",
        "user_variables",
        "users",
        "webhook_endpoints",
        "workspaces",
    }
)
LOCAL = frozenset(
    {
        "auditlog_logentry",
        "auth_group",
        "auth_group_permissions",
        "auth_permission",
        "django_admin_log",
        "django_content_type",
        "django_migrations",
        "django_session",
        # Sums over all tenants, for operators.
        "fleet_hours",
        "fleet_latency_days",
        "health_states",
        "rollup_state",
        "periodic_jobs",
        "sign_in_attempts",
        # Who may do what in the back office.
        "users_groups",
        "users_user_permissions",
    }
)


@contextmanager
def fleet_wide() -> Iterator[None]:
    """Operators' code (audit, verify, admin) that reads many workspaces at once. Never around a tenant's request."""
    token = _fleet_wide.set(True)
    try:
        yield
    finally:
        _fleet_wide.reset(token)


def is_fleet_wide() -> bool:
    return _fleet_wide.get()
