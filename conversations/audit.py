"""The proof of the books: invariants that hold at every instant, each a query that must find nothing.

All of them read one snapshot of the database, so the audit may run while the product is in use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import connection

from conversations.metering import cost_of_call, due_of_call
from conversations.models import UsageLog
from llm import pricing
from llm.types import Usage
from synapscale.common.models import TenantFK
from synapscale.common.money import ZERO
from synapscale.common.tenancy import fleet_wide

LEASE_GRACE_SECONDS = 120
"""How long a lapsed hold may wait for the sweeper before it counts as forgotten."""
SHOWN = 20
"""Rows shown per invariant; all are counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant and the ids of the rows that break it."""

    name: str
    rule: str
    count: int
    examples: list[str]

    @property
    def holds(self) -> bool:
        return self.count == 0


def _foreign_rows() -> str:
    """Rows that point at one of another workspace: on PostgreSQL a composite key forbids it, on SQLite nothing does."""
    keys = [
        (model._meta.db_table, field.column, field.related_model._meta.db_table)
        for model in apps.get_models()
        for field in model._meta.local_fields
        if isinstance(field, TenantFK)
    ]
    return " UNION ALL ".join(
        f'SELECT a.id FROM "{table}" a JOIN "{target}" b ON b.id = a."{column}" WHERE b.workspace_id <> a.workspace_id'
        for table, column, target in keys
    )


# Each query selects the ids of offending rows. Joins name the workspace on both sides.
_SQL: list[tuple[str, str, str]] = [
    (
        "balance",
        "a wallet's balance is the sum of its events",
        """SELECT w.id FROM wallets w LEFT JOIN (
               SELECT workspace_id, wallet_id, SUM(amount_usd) AS total FROM billing_events GROUP BY 1, 2
           ) e ON e.workspace_id = w.workspace_id AND e.wallet_id = w.id
           WHERE w.balance <> COALESCE(e.total, 0)""",
    ),
    (
        "held",
        "what a wallet holds is the sum of its open holds",
        """SELECT w.id FROM wallets w LEFT JOIN (
               SELECT workspace_id, wallet_id, SUM(amount) AS total FROM holds WHERE state = 'held' GROUP BY 1, 2
           ) h ON h.workspace_id = w.workspace_id AND h.wallet_id = w.id
           WHERE w.held <> COALESCE(h.total, 0)""",
    ),
    (
        "overdraft",
        "no wallet is below its limit",
        """SELECT id FROM wallets
           WHERE held < 0 OR (mode <> 'untracked' AND balance + credit_limit < held)""",
    ),
    (
        "chain",
        "events count from 1 without a gap and each continues the balance before it",
        """SELECT id FROM (
               SELECT id, seq, balance_after, amount_usd,
                   LAG(seq) OVER w AS seq_before, LAG(balance_after) OVER w AS balance_before
               FROM billing_events WINDOW w AS (PARTITION BY workspace_id, wallet_id ORDER BY seq)
           ) x
           WHERE seq <> COALESCE(seq_before, 0) + 1 OR balance_after <> COALESCE(balance_before, 0) + amount_usd""",
    ),
    (
        "last_event",
        "a wallet stands where its last event left it",
        """SELECT w.id FROM wallets w LEFT JOIN billing_events e
               ON e.workspace_id = w.workspace_id AND e.wallet_id = w.id AND e.seq = w.seq
           WHERE (w.seq = 0 AND w.balance <> 0) OR (w.seq > 0 AND (e.id IS NULL OR e.balance_after <> w.balance))
               OR EXISTS (SELECT 1 FROM billing_events l
                   WHERE l.workspace_id = w.workspace_id AND l.wallet_id = w.id AND l.seq > w.seq)""",
    ),
    (
        "hold_charge",
        "a resolved hold was charged what its event says, an open one nothing",
        """SELECT h.id FROM holds h LEFT JOIN billing_events e
               ON e.workspace_id = h.workspace_id AND e.hold_id = h.id AND e.event_type IN ('usage', 'fee')
           WHERE (h.state = 'held' AND e.id IS NOT NULL)
               OR (h.state <> 'held' AND COALESCE(h.charged, -1) <> -COALESCE(e.amount_usd, 0))""",
    ),
    (
        "hold_bound",
        "nobody is charged more than was held",
        "SELECT id FROM holds WHERE charged < 0 OR charged > amount",
    ),
    (
        "hold_message",
        "an open hold has a pending answer, a settled or released one a final answer, or an attempt's usage log",
        """SELECT h.id FROM holds h LEFT JOIN messages m ON m.workspace_id = h.workspace_id AND m.hold_id = h.id
           WHERE (h.state = 'held' AND (m.id IS NULL OR m.status NOT IN ('pending', 'streaming')))
               OR (h.state <> 'held' AND m.status IN ('pending', 'streaming'))
               OR (h.state IN ('settled', 'released') AND m.id IS NULL AND NOT EXISTS (
                   SELECT 1 FROM usage_logs u WHERE u.workspace_id = h.workspace_id AND u.hold_id = h.id))""",
    ),
    (
        "hold_lease",
        "no hold is left past its lease",
        """SELECT id FROM holds WHERE state = 'held' AND lease_until < {grace}""",
    ),
    (
        "metered",
        "every attempt that ended has its usage log; an answer's last one succeeded, and no other did",
        """SELECT m.id FROM messages m LEFT JOIN (
               SELECT workspace_id, message_id, COUNT(*) AS n,
                   SUM(CASE WHEN status = 'success' THEN 1 ELSE 0 END) AS succeeded,
                   MAX(CASE WHEN status = 'success' THEN attempt ELSE 0 END) AS success
               FROM usage_logs GROUP BY 1, 2
           ) u ON u.workspace_id = m.workspace_id AND u.message_id = m.id
           WHERE m.role = 'assistant' AND m.llm_id IS NOT NULL AND (
               COALESCE(u.n, 0) <> m.attempt - CASE WHEN m.status IN ('pending', 'streaming') THEN 1 ELSE 0 END
               OR (m.status = 'sent' AND (u.succeeded <> 1 OR u.success <> m.attempt))
               OR (m.status <> 'sent' AND u.succeeded > 0))""",
    ),
    (
        "attempt_hold",
        "every attempt has a hold of its own",
        """SELECT u.id FROM usage_logs u JOIN (
               SELECT workspace_id, hold_id FROM usage_logs WHERE hold_id IS NOT NULL GROUP BY 1, 2 HAVING COUNT(*) > 1
           ) twice ON twice.workspace_id = u.workspace_id AND twice.hold_id = u.hold_id""",
    ),
    (
        "usage_event",
        "a charged usage log has one event of that amount, of its own hold and workspace",
        """SELECT u.id FROM usage_logs u LEFT JOIN billing_events e ON e.id = u.billing_event_id
           WHERE (u.charged_usd <> 0 AND e.id IS NULL)
               OR (e.id IS NOT NULL AND (e.workspace_id <> u.workspace_id OR e.amount_usd <> -u.charged_usd
                   OR e.event_type <> CASE u.key_source WHEN 'global' THEN 'usage' ELSE 'fee' END
                   OR COALESCE(CAST(e.hold_id AS TEXT), '') <> COALESCE(CAST(u.hold_id AS TEXT), '')))""",
    ),
    (
        "event_usage",
        "a charge of a call belongs to exactly one usage log",
        """SELECT e.id FROM billing_events e LEFT JOIN (
               SELECT workspace_id, billing_event_id, COUNT(*) AS n FROM usage_logs GROUP BY 1, 2
           ) u ON u.workspace_id = e.workspace_id AND u.billing_event_id = e.id
           WHERE (e.event_type = 'usage' OR (e.event_type = 'fee' AND e.hold_id IS NOT NULL))
               AND COALESCE(u.n, 0) <> 1""",
    ),
    (
        "token_spend",
        "what a token's limit holds is the sum of its open holds",
        """SELECT t.id FROM token_spends t LEFT JOIN (
               SELECT workspace_id, access_token_id, SUM(amount) AS total FROM holds WHERE state = 'held' GROUP BY 1, 2
           ) h ON h.workspace_id = t.workspace_id AND h.access_token_id = t.access_token_id
           WHERE t.held <> COALESCE(h.total, 0)
           UNION ALL
           SELECT h.id FROM holds h LEFT JOIN token_spends t
               ON t.workspace_id = h.workspace_id AND t.access_token_id = h.access_token_id
           WHERE h.state = 'held' AND h.access_token_id IS NOT NULL AND t.id IS NULL""",
    ),
    (
        "refunds",
        "refunds of a charge never exceed it",
        """SELECT o.id FROM billing_events o JOIN (
               SELECT workspace_id, original_id, SUM(amount_usd) AS total FROM billing_events
               WHERE event_type = 'refund' GROUP BY 1, 2
           ) r ON r.workspace_id = o.workspace_id AND r.original_id = o.id
           WHERE o.amount_usd >= 0 OR r.total > -o.amount_usd""",
    ),
    (
        "model_statistics",
        "a conversation's figures per model are the sums of its usage logs",
        """SELECT c.id FROM conversation_llms c LEFT JOIN (
               SELECT workspace_id, conversation_id, llm_id, COUNT(*) AS n, SUM(charged_usd) AS cost,
                   SUM(input_tokens + cached_input_tokens + cache_write_5m_tokens + cache_write_1h_tokens) AS tokens_in,
                   SUM(output_tokens + reasoning_tokens) AS tokens_out
               FROM usage_logs GROUP BY 1, 2, 3
           ) u ON u.workspace_id = c.workspace_id AND u.conversation_id = c.conversation_id AND u.llm_id = c.llm_id
           WHERE c.message_count <> COALESCE(u.n, 0) OR c.total_cost <> COALESCE(u.cost, 0)
               OR c.input_tokens <> COALESCE(u.tokens_in, 0) OR c.output_tokens <> COALESCE(u.tokens_out, 0)
           UNION ALL
           SELECT u.id FROM usage_logs u LEFT JOIN conversation_llms c
               ON c.workspace_id = u.workspace_id AND c.conversation_id = u.conversation_id AND c.llm_id = u.llm_id
           WHERE c.id IS NULL""",
    ),
    (
        "conversation_totals",
        "a conversation's totals are the sums of its usage logs",
        """SELECT c.id FROM conversations c LEFT JOIN (
               SELECT workspace_id, conversation_id, SUM(total_tokens) AS tokens, SUM(charged_usd) AS cost
               FROM usage_logs GROUP BY 1, 2
           ) u ON u.workspace_id = c.workspace_id AND u.conversation_id = c.id
           WHERE c.total_tokens <> COALESCE(u.tokens, 0) OR c.total_cost <> COALESCE(u.cost, 0)""",
    ),
    (
        "tenant_chain",
        "usage, message, conversation, hold and wallet are of one workspace",
        """SELECT u.id FROM usage_logs u
               LEFT JOIN messages m ON m.id = u.message_id
               LEFT JOIN conversations c ON c.id = u.conversation_id
               LEFT JOIN holds h ON h.id = u.hold_id
               LEFT JOIN wallets w ON w.id = h.wallet_id
           WHERE m.id IS NULL OR m.workspace_id <> u.workspace_id OR m.conversation_id <> u.conversation_id
               OR c.id IS NULL OR c.workspace_id <> u.workspace_id
               OR (u.hold_id IS NOT NULL AND (h.id IS NULL OR h.workspace_id <> u.workspace_id
                   OR w.id IS NULL OR w.workspace_id <> u.workspace_id))
               OR u.attempt > m.attempt
               OR (u.attempt = m.attempt
                   AND COALESCE(CAST(m.hold_id AS TEXT), '') <> COALESCE(CAST(u.hold_id AS TEXT), ''))""",
    ),
    ("tenant_keys", "every row points at rows of its own workspace", _foreign_rows()),
    (
        "idempotency",
        "an idempotency key stands for an answer of its own workspace and user",
        """SELECT i.id FROM idempotency_keys i LEFT JOIN messages m ON m.id = i.message_id
           WHERE i.message_id IS NOT NULL AND (m.id IS NULL OR m.workspace_id <> i.workspace_id
               OR m.user_id <> i.user_id OR m.role <> 'assistant')""",
    ),
]


QUICK = frozenset({"held", "overdraft", "last_event", "hold_lease"})
"""Those that look at wallets and open holds: as fast after years as on the first day."""


def audit(*, is_quick: bool = False) -> list[Finding]:
    """Check every invariant, or the ``QUICK`` ones, on one snapshot. Reads every workspace; changes nothing."""
    findings = []
    with fleet_wide(), _snapshot():
        for name, rule, sql in _SQL:
            if name in QUICK or not is_quick:
                findings.append(_finding(name, rule, _rows(sql.format(grace=_grace()))))
        if is_quick:
            return findings
        findings.append(_finding("recomputed", "every cost is tokens times its frozen price", _wrong_costs()))
    return findings


def _finding(name: str, rule: str, ids: Iterator[str]) -> Finding:
    count = 0
    examples: list[str] = []
    for row in ids:
        count += 1
        if len(examples) < SHOWN:
            examples.append(row)
    return Finding(name=name, rule=rule, count=count, examples=examples)


def _rows(sql: str) -> Iterator[str]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        while batch := cursor.fetchmany(1000):
            yield from (str(row[0]) for row in batch)


def _grace() -> str:
    if connection.vendor == "postgresql":
        return f"clock_timestamp() - interval '{LEASE_GRACE_SECONDS} seconds'"
    return f"strftime('%Y-%m-%d %H:%M:%f', 'now', '-{LEASE_GRACE_SECONDS} seconds')"


def _wrong_costs() -> Iterator[str]:
    """Usage logs whose cost is not what their tokens cost at their price, or whose charge does not follow from it."""
    prices: dict[Any, pricing.PriceTable] = {}
    logs = UsageLog.objects.select_related("hold").order_by("pk")
    for log in _in_batches(logs):
        if log.price_id not in prices:
            prices[log.price_id] = log.price.table
        usage = Usage(
            input=log.input_tokens,
            cached_input=log.cached_input_tokens,
            cache_write_5m=log.cache_write_5m_tokens,
            cache_write_1h=log.cache_write_1h_tokens,
            output=log.output_tokens,
            reasoning=log.reasoning_tokens,
        )
        cost = cost_of_call(prices[log.price_id], usage, at=log.priced_at, status=log.status)
        due = due_of_call(cost, status=log.status, key_source=log.key_source, basis_points=log.markup_bps)
        limit = log.hold.amount if log.hold else due
        # A hold of nothing is a call that is not charged.
        is_right = log.charged_usd == min(due, limit) if log.hold else ZERO <= log.charged_usd <= due
        if cost != log.cost_usd or usage.total != log.total_tokens or not is_right:
            yield str(log.pk)


def _in_batches(logs: Any, size: int = 2000) -> Iterator[UsageLog]:
    """By key instead of a server-side cursor, which a connection pooler may not keep."""
    last = None
    while batch := list((logs.filter(pk__gt=last) if last else logs)[:size]):
        yield from batch
        last = batch[-1].pk


@contextmanager
def _snapshot() -> Iterator[None]:
    """One consistent, read-only view, whose statements may take their time. Joins a transaction that is already open."""
    connection.ensure_connection()
    is_postgresql = connection.vendor == "postgresql"
    if connection.in_atomic_block:
        begin, end = "SAVEPOINT audit", "ROLLBACK TO SAVEPOINT audit"
    else:
        # Not atomic(): on SQLite that would take the write lock.
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if is_postgresql else "BEGIN DEFERRED"
        end = "ROLLBACK"
    with connection.cursor() as cursor:
        cursor.execute(begin)
        try:
            if is_postgresql:
                cursor.execute("SET LOCAL statement_timeout = 0")
            yield
        finally:
            cursor.execute(end)  # and the time-out is what it was
