"""A million calls with all that they leave behind, made by the database itself: conversations, questions and answers, holds,
usage, the ledger. The books are in order afterwards: ``audit_ledger`` passes.

``bench_spaces`` says who there is (``office_rows`` makes it), ``bench_talks`` and ``bench_calls`` are drawn by lot, and each
table is written from them in one statement. Foreign keys are not checked meanwhile, and triggers don't fire.
"""

from __future__ import annotations

import time
from typing import Any

DAYS = 90
LARGEST_SHARE = 1 / 3
"""Of the conversations that are one workspace's."""
LONGEST = 1_000
"""Calls of one conversation, which has twice as many messages."""
OPEN_CALLS = 200
"""Calls under way, with their holds."""

BIG = ("conversations", "messages", "holds", "usage_logs", "billing_events", "conversation_llms")


def run(text: str, params: Any = None) -> list[Any]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(text, params)
        return cursor.fetchall() if cursor.description else []


def fill(*, rows: int, talks: int) -> None:
    """Make ``rows`` calls in ``talks`` conversations of the workspaces in ``bench_spaces``."""
    start = time.perf_counter()

    def step(what: str, text: str, params: Any = None) -> None:
        run(text, params)
        print(f"{time.perf_counter() - start:5.0f} s: {what}", flush=True)

    run("SET session_replication_role = replica")
    run("SET synchronous_commit = off")
    run("SET maintenance_work_mem = '512MB'")
    indexes = _without_indexes()
    run(_NEW_ID)
    step("drawn: conversations", _TALKS, {"edges": _edges(), "talks": talks, "rows": rows})
    step("drawn: calls", _CALLS)
    run("CREATE INDEX ON bench_calls (talk_id)")
    run("ANALYZE bench_talks, bench_calls")
    for what, text in _TABLES.items():
        step(what, text)
    for _, definition in indexes:
        run(definition)
    run("SET session_replication_role = origin")
    step("indexes", f"ANALYZE {', '.join(BIG)}")


def _without_indexes() -> list[Any]:
    """Drop the indexes that are no constraints, and say how to make them again."""
    names = ", ".join(f"'{table}'::regclass" for table in BIG)
    indexes = run(
        "SELECT i.relname, pg_get_indexdef(i.oid) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid "
        f"WHERE x.indrelid IN ({names}) AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.oid)"
    )
    for name, _ in indexes:
        run(f'DROP INDEX "{name}"')
    return indexes


def _edges() -> list[float]:
    """Where in 0 to 1 each workspace's share of the conversations begins: the first one's, then the others' by Zipf's law."""
    ((count,),) = run("SELECT count(*) FROM bench_spaces")
    others = [1 / (rank + 2) for rank in range(count - 1)]
    shares = [LARGEST_SHARE, *((1 - LARGEST_SHARE) * one / sum(others) for one in others)]
    return [float(sum(shares[:rank])) for rank in range(count)]


# A UUIDv7 of the moment; the same for the same text and number.
_NEW_ID = """
CREATE OR REPLACE FUNCTION bench_id(at timestamptz, salt text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT overlay(overlay(overlay(md5(salt || n)
        PLACING lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') FROM 1 FOR 12)
        PLACING '7' FROM 13 FOR 1) PLACING '8' FROM 17 FOR 1)::uuid
$$
"""

# Conversation 1 is the longest, in the largest workspace; the others share the remaining calls, many having few.
_TALKS = f"""
CREATE UNLOGGED TABLE bench_talks AS
SELECT
    n, bench_id(at, 'talk', n) AS id, workspace_id, wallet_id, users[one] AS user_id, tokens[one] AS token_id,
    CASE WHEN r3 < 0.7 THEN agents[agent] END AS agent_id, llms[agent] AS llm_id, at,
    least(now() - at, interval '2 days' * r4) AS lasts, r5, r6,
    CASE WHEN n = 1 THEN {LONGEST} ELSE (
        floor(upto * (%(rows)s - {LONGEST}) / total) - floor((upto - weight) * (%(rows)s - {LONGEST}) / total)
    )::int END AS calls
FROM (
    SELECT
        n, s.*, 1 + floor(r1 * r1 * cardinality(s.users))::int AS one, 1 + floor(r2 * cardinality(s.agents))::int AS agent,
        now() - interval '{DAYS} days' * (1 - n / %(talks)s::float8) AS at, r3, r4, r5, r6, weight,
        sum(weight) OVER (ORDER BY n) AS upto, sum(weight) OVER () AS total
    FROM (
        SELECT
            n, CASE WHEN n = 1 THEN 1 ELSE width_bucket(random(), %(edges)s::float8[]) END AS rank,
            CASE WHEN n = 1 THEN 0 ELSE 1 - 9 * ln(1 - random()) END AS weight, random() AS r1, random() AS r2,
            random() AS r3, random() AS r4, random() AS r5, random() AS r6
        FROM generate_series(1, %(talks)s::bigint) n
    ) chance JOIN bench_spaces s USING (rank)
) made
"""

_CALLS = f"""
CREATE UNLOGGED TABLE bench_calls AS
SELECT
    n, talk_id, workspace_id, wallet_id, user_id, token_id, agent_id, c.llm_id, at, fresh, cached, answered, status,
    key_source, latency, p.id AS price_id, cost, CASE WHEN key_source = 'global' THEN cost ELSE 0 END AS charged,
    bench_id(at - interval '3 seconds', 'question', n) AS question_id, bench_id(at, 'answer', n) AS answer_id,
    bench_id(at, 'hold', n) AS hold_id, bench_id(at + interval '5 seconds', 'usage', n) AS usage_id,
    bench_id(at + interval '5 seconds', 'event', n) AS event_id, n > max(n) OVER () - {OPEN_CALLS} AS is_open
FROM (
    SELECT
        row_number() OVER (ORDER BY at) AS n, talk_id, workspace_id, wallet_id, user_id, token_id, agent_id, llm_id, at,
        CASE WHEN r1 < 0.85 THEN 'global' WHEN r1 < 0.97 THEN 'user' ELSE 'workspace' END AS key_source,
        CASE WHEN r2 < 0.95 THEN 'success' WHEN r2 < 0.98 THEN 'error' WHEN r2 < 0.995 THEN 'interrupted'
            ELSE 'lost' END AS status,
        CASE WHEN r2 BETWEEN 0.95 AND 0.98 OR r2 > 0.995 THEN 0 ELSE 10 + floor(r3 * 2000)::bigint END AS fresh,
        CASE WHEN r2 BETWEEN 0.95 AND 0.98 OR r2 > 0.995 THEN 0 ELSE floor(r4 * 1000)::bigint END AS cached,
        CASE WHEN r2 BETWEEN 0.95 AND 0.98 OR r2 > 0.995 THEN 0 ELSE 1 + floor(r5 * 800)::bigint END AS answered,
        (200 * exp(r6 * 4))::int AS latency
    FROM (
        SELECT
            t.id AS talk_id, workspace_id, wallet_id, user_id, token_id, agent_id, llm_id,
            t.at + t.lasts * ((k - random() * 0.9) / (t.calls + 1)) AS at,
            random() AS r1, random() AS r2, random() AS r3, random() AS r4, random() AS r5, random() AS r6
        FROM bench_talks t, generate_series(1, t.calls) k
    ) chance
) c
JOIN LATERAL (
    SELECT p.id, c.fresh * p.input_usd_per_mtok + c.cached * p.input_usd_per_mtok + c.answered * p.output_usd_per_mtok AS cost
    FROM llm_prices p
    WHERE p.llm_id = c.llm_id AND p.effective_from <= c.at AND (p.effective_to IS NULL OR p.effective_to > c.at)
) p ON true
"""

_MESSAGE = (
    "INSERT INTO messages (id, created_at, updated_at, workspace_id, conversation_id, user_id, role, content, attachments, "
    "tool_calls, tool_call_id, reply_to_id, llm_id, price_id, priced_at, hold_id, model_used, tokens_used, "
    "processing_time_ms, status, finish_reason, error_code, error_message, attempt, metadata, autotag_for, call) "
)

_TABLES = {
    "holds": """
INSERT INTO holds (id, created_at, workspace_id, wallet_id, user_id, amount, state, is_dispatched, charged, lease_until,
    owner, resolved_at)
SELECT hold_id, at, workspace_id, wallet_id, user_id, charged * 2 + 1000000,
    CASE WHEN is_open THEN 'held' WHEN status = 'error' THEN 'released' WHEN status = 'lost' THEN 'expired'
        ELSE 'settled' END,
    true, CASE WHEN NOT is_open THEN charged END,
    CASE WHEN is_open THEN now() + interval '10 years' ELSE at + interval '1 minute' END, '',
    CASE WHEN NOT is_open THEN at + interval '5 seconds' END
FROM bench_calls ORDER BY n
""",
    "questions": f"""
{_MESSAGE}
SELECT question_id, at - interval '3 seconds', at - interval '3 seconds', workspace_id, talk_id, user_id, 'user',
    repeat('What is it that you wanted to know? ', 1 + (n % 10)::int), '[]', '[]', '', NULL, NULL, NULL, NULL, NULL, '',
    0, NULL, 'sent', '', '', '', 1, '{{}}', '', '{{}}'
FROM bench_calls ORDER BY n
""",
    "answers": f"""
{_MESSAGE}
SELECT answer_id, at, at + interval '5 seconds', workspace_id, talk_id, user_id, 'assistant',
    CASE WHEN fresh > 0 THEN repeat('This is what there is to say to that. ', 1 + (n % 30)::int) ELSE '' END, '[]', '[]', '',
    question_id, llm_id, price_id, at, hold_id,
    (SELECT provider || '/' || name FROM llms l WHERE l.id = llm_id),
    CASE WHEN is_open THEN 0 ELSE fresh + cached + answered END, latency,
    CASE WHEN is_open THEN 'streaming' WHEN status = 'success' THEN 'sent' WHEN status = 'error' THEN 'error'
        ELSE 'interrupted' END,
    CASE WHEN status = 'success' AND NOT is_open THEN 'stop' ELSE '' END,
    CASE WHEN status = 'error' AND NOT is_open THEN 'overloaded' ELSE '' END, '', 1, '{{}}', '', '{{}}'
FROM bench_calls ORDER BY n
""",
    "usage": """
INSERT INTO usage_logs (id, created_at, workspace_id, message_id, attempt, user_id, access_token_id, conversation_id,
    agent_id, llm_id, price_id, priced_at, hold_id, billing_event_id, input_tokens, cached_input_tokens,
    cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens, total_tokens, cost_usd, charged_usd,
    markup_bps, latency_ms, time_to_first_token_ms, user_api_key_used, key_source, model_settings, status, error_code,
    error_message, is_estimate, provider_request_id)
SELECT usage_id, at + interval '5 seconds', workspace_id, answer_id, 1, user_id, token_id, talk_id, agent_id, llm_id,
    price_id, at, hold_id, CASE WHEN charged > 0 THEN event_id END, fresh, cached, 0, 0, answered, 0,
    fresh + cached + answered, cost, charged, 0, latency, latency / 4, key_source = 'user', key_source, '{}', status,
    CASE WHEN status = 'error' THEN 'overloaded' ELSE '' END, '', status = 'interrupted', 'req_' || md5(n::text)
FROM bench_calls WHERE NOT is_open ORDER BY n
""",
    # Every workspace has paid for all its calls in advance, and a little more each month.
    "ledger": f"""
INSERT INTO billing_events (id, created_at, processed_at, workspace_id, wallet_id, user_id, event_type, amount_usd, seq,
    balance_after, reference, description, hold_id, original_id, invoice_id, payment_provider, payment_transaction_id, status,
    metadata)
SELECT id, at, at, workspace_id, wallet_id, user_id, type, amount, row_number() OVER ledger, sum(amount) OVER ledger,
    reference, description, hold_id, original_id, invoice, CASE WHEN invoice = '' THEN '' ELSE 'bank' END, invoice,
    'posted', '{{}}'
FROM (
    SELECT event_id AS id, at + interval '5 seconds' AS at, workspace_id, wallet_id, user_id, 'usage' AS type,
        -charged AS amount, 'message:' || answer_id || ':1' AS reference, 'A call' AS description, hold_id,
        NULL::uuid AS original_id, '' AS invoice
    FROM bench_calls WHERE charged > 0 AND NOT is_open
    UNION ALL
    SELECT bench_id(at + interval '10 seconds', 'refund', n), at + interval '10 seconds', workspace_id, wallet_id, NULL,
        'refund', charged / 2, 'refund:' || n, 'It was wrong', NULL, event_id, ''
    FROM bench_calls WHERE charged > 1 AND NOT is_open AND n % 500 = 0
    UNION ALL
    SELECT bench_id(at, 'credit', rank * 10 + month), at, s.workspace_id, wallet_id, NULL, 'credit',
        CASE WHEN month = 0 THEN coalesce(total, 0) + 1000000000000 ELSE 100000000000 * month END,
        'payment:' || month, 'Paid in', NULL, NULL, 'INV-' || rank || '-' || month
    FROM bench_spaces s
    CROSS JOIN LATERAL (
        SELECT month, now() - interval '{DAYS + 1} days' + interval '29 days' * month AS at FROM generate_series(0, 3) month
    ) months
    LEFT JOIN (SELECT workspace_id, sum(charged * 2 + 1000000) AS total FROM bench_calls GROUP BY 1) t
        ON t.workspace_id = s.workspace_id
) events
WINDOW ledger AS (PARTITION BY workspace_id ORDER BY at, id)
ORDER BY id
""",
    "wallets": """
UPDATE wallets w SET balance = e.balance_after, seq = e.seq, held = coalesce((
    SELECT sum(amount) FROM holds h WHERE h.workspace_id = w.workspace_id AND h.state = 'held'
), 0)
FROM (SELECT DISTINCT ON (workspace_id) workspace_id, balance_after, seq FROM billing_events ORDER BY workspace_id, seq DESC) e
WHERE e.workspace_id = w.workspace_id
""",
    "models per conversation": """
INSERT INTO conversation_llms (id, created_at, workspace_id, conversation_id, llm_id, first_used_at, last_used_at,
    message_count, input_tokens, output_tokens, total_cost)
SELECT bench_id(min(at), 'models', min(n)), min(at), workspace_id, talk_id, llm_id, min(at), max(at), count(*),
    sum(fresh + cached), sum(answered), sum(charged)
FROM bench_calls WHERE NOT is_open GROUP BY workspace_id, talk_id, llm_id ORDER BY 1
""",
    "conversations": """
INSERT INTO conversations (id, created_at, updated_at, workspace_id, user_id, agent_id, title, status, kind, is_shared,
    context, settings, message_count, total_tokens, total_cost, last_message_at)
SELECT id, at, at, workspace_id, user_id, agent_id, 'Talk ' || n, CASE WHEN r5 < 0.9 THEN 'active' WHEN r5 < 0.98 THEN
    'archived' ELSE 'deleted' END, 'chat', r6 < 0.1, '', '{}', coalesce(messages, 0), coalesce(tokens, 0), coalesce(cost, 0),
    last_at
FROM bench_talks t LEFT JOIN (
    SELECT talk_id, count(*) * 2 AS messages, sum(fresh + cached + answered) AS tokens, sum(charged) AS cost, max(at) AS last_at
    FROM bench_calls WHERE NOT is_open GROUP BY 1
) c ON c.talk_id = t.id
ORDER BY n
""",
}
