"""Millions of rows of usage, made by the database itself: workspaces by Zipf's law, 90 days, agents with their models.

Only what figures read is there: foreign keys are not checked while the rows are made, and messages are made only where
somebody gave feedback.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any

WORKSPACES = 1_000
DAYS = 90
CHUNK = 500_000
MODELS = 12
FEEDBACK_SHARE = 0.02
TAGGED_TALKS = 20_000
"""Conversations of the largest workspace with a tag ``customer:…`` of its 50."""


@dataclass(frozen=True)
class Made:
    """Who is asked for in the measurements: the largest workspace, its owner's token, a member's, and a staff token."""

    workspace_id: uuid.UUID
    owner: str
    member: str
    member_id: uuid.UUID
    staff: str
    agent_id: uuid.UUID
    llm_id: uuid.UUID
    conversation_id: uuid.UUID


def fill(rows: int) -> Made:
    """Make ``rows`` calls on an empty, migrated PostgreSQL database."""
    made = _people_and_models()
    _calls(rows)
    _feedback()
    _tags(made.workspace_id)
    return made


def _sql(text: str, params: Any = None) -> list[Any]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(text, params)
        return cursor.fetchall() if cursor.description else []


def _people_and_models() -> Made:
    """1,000 workspaces, each with as many users and agents as its share of the calls asks for."""
    from datetime import UTC, datetime

    from conversations.models import Agent
    from llm.models import LLM, LLMPrice, ProviderName
    from workspaces.models import AccessToken, Membership, User, Workspace

    providers = [name for name in ProviderName.values if name not in ("private", "demo")]
    llms = [
        LLM.objects.create(
            provider=providers[n % len(providers)],
            name=f"model-{n}",
            display_name=f"Model {n}",
            context_window=100_000,
            max_output_tokens=8192,
        )
        for n in range(MODELS)
    ]
    for llm in llms:
        LLMPrice.objects.create(
            llm=llm, effective_from=datetime(2020, 1, 1, tzinfo=UTC), input_usd_per_mtok=1, output_usd_per_mtok=2
        )
    spaces = Workspace.objects.bulk_create(
        Workspace(slug=f"w{n}", name=f"Workspace {n}", kind=Workspace.Kind.COLLABORATIVE) for n in range(WORKSPACES)
    )
    users: list[User] = []
    members: list[Membership] = []
    agents: list[Agent] = []
    for rank, space in enumerate(spaces):
        count = max(2, 300 // (rank + 1))
        team = [User(email=f"u{n}@{space.slug}.example.org") for n in range(count)]
        users += team
        members += [
            Membership(workspace=space, user=one, role="member" if n else "owner") for n, one in enumerate(team)
        ]
        agents += [
            Agent(workspace=space, name=f"Agent {n}", llm=llms[(rank + n * 5) % MODELS])
            for n in range(max(1, 10 // (rank + 1)))
        ]
    User.objects.bulk_create(users)
    Membership.objects.bulk_create(members)
    Agent.objects.bulk_create(agents)
    staff = User.objects.create_user("staff@example.org", is_staff=True)
    Membership.objects.create(workspace=spaces[-1], user=staff, role="viewer")
    first = [one for one in members if one.workspace_id == spaces[0].pk]

    def token(user: User, space: Workspace) -> str:
        return AccessToken.issue(user=user, workspace=space, name="bench")[1]

    _sql(
        "CREATE TABLE bench_spaces AS SELECT w.id, row_number() OVER (ORDER BY w.id) AS rank, "
        "(SELECT array_agg(m.user_id ORDER BY m.id) FROM memberships m WHERE m.workspace_id = w.id) AS users, "
        "(SELECT array_agg(a.id ORDER BY a.id) FROM agents a WHERE a.workspace_id = w.id) AS agents, "
        "(SELECT array_agg(a.llm_id ORDER BY a.id) FROM agents a WHERE a.workspace_id = w.id) AS llms FROM workspaces w"
    )
    return Made(
        workspace_id=spaces[0].pk,
        owner=token(first[0].user, spaces[0]),
        member=token(first[1].user, spaces[0]),
        member_id=first[1].user_id,
        staff=token(staff, spaces[-1]),
        agent_id=agents[0].pk,
        llm_id=llms[0].pk,
        conversation_id=uuid.UUID(int=0),
    )


def _calls(rows: int) -> None:
    indexes = _sql(
        "SELECT i.relname, pg_get_indexdef(i.oid) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid "
        "WHERE x.indrelid = 'usage_logs'::regclass AND NOT x.indisunique"
    )
    for name, _ in indexes:
        _sql(f'DROP INDEX "{name}"')
    _sql("SET session_replication_role = replica")
    start = time.perf_counter()
    weights = [1 / rank for rank in range(1, WORKSPACES + 1)]
    total, upto, edges = sum(weights), 0.0, []
    for weight in weights:
        edges.append(upto / total)
        upto += weight
    done = 0
    while done < rows:
        number = min(CHUNK, rows - done)
        _sql(_CALLS, {"edges": edges, "from": done, "to": done + number - 1, "rows": rows})
        done += number
        print(f"\r{done:,} calls in {time.perf_counter() - start:.0f} s", end="", flush=True)
    print()
    for _, definition in indexes:
        _sql(definition)
    _sql("SET session_replication_role = origin")
    _sql("VACUUM ANALYZE usage_logs")


_CALLS = f"""
INSERT INTO usage_logs (
    id, created_at, workspace_id, message_id, attempt, user_id, conversation_id, agent_id, llm_id, price_id, priced_at,
    input_tokens, cached_input_tokens, cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens,
    total_tokens, cost_usd, charged_usd, markup_bps, latency_ms, time_to_first_token_ms, user_api_key_used, key_source,
    model_settings, status, error_code, error_message, is_estimate, provider_request_id
)
SELECT
    gen_random_uuid(), at, space, gen_random_uuid(), 1, users[1 + floor(r1 * r1 * cardinality(users))::int],
    md5(space::text || n / 10)::uuid, CASE WHEN r2 < 0.7 THEN agents[agent] END, llms[agent],
    (SELECT p.id FROM llm_prices p WHERE p.llm_id = llms[agent]), at,
    fresh, cached, 0, 0, answered, 0, fresh + cached + answered, (fresh + cached) * 1000000 + answered * 2000000, 0, 0,
    latency, latency / 4, r3 < 0.15, CASE WHEN r3 < 0.15 THEN 'user' ELSE 'global' END, '{{}}',
    CASE WHEN r4 < 0.95 THEN 'success' WHEN r4 < 0.98 THEN 'error' WHEN r4 < 0.995 THEN 'interrupted' ELSE 'lost' END,
    '', '', false, ''
FROM (
    SELECT
        n, s.id AS space, s.users, s.agents, s.llms, r1, r2, r3, r4,
        now() - interval '{DAYS} days' * (1 - (n + r5) / %(rows)s) AS at,
        1 + floor(r6 * cardinality(s.agents))::int AS agent,
        floor(r7 * 2000)::bigint AS fresh, floor(r8 * 1000)::bigint AS cached, 1 + floor(r5 * 800)::bigint AS answered,
        (200 * exp(r7 * 4))::int AS latency
    FROM (
        SELECT
            n, width_bucket(random(), %(edges)s::float8[]) AS rank, random() AS r1, random() AS r2, random() AS r3,
            random() AS r4, random() AS r5, random() AS r6, random() AS r7, random() AS r8
        FROM generate_series(%(from)s::bigint, %(to)s::bigint) n
    ) chance JOIN bench_spaces s USING (rank)
) made
"""


def _feedback() -> None:
    """Some answers are liked, some are not: they need their messages."""
    _sql("SET session_replication_role = replica")
    _sql(
        "CREATE TABLE bench_liked AS SELECT * FROM usage_logs TABLESAMPLE BERNOULLI (%s) WHERE status = 'success'",
        [FEEDBACK_SHARE * 100],
    )
    _sql(
        "INSERT INTO messages (id, created_at, workspace_id, conversation_id, user_id, role, content, attachments, "
        "tool_calls, tool_call_id, llm_id, model_used, tokens_used, status, finish_reason, error_code, error_message, "
        "attempt, metadata, autotag_for, call, updated_at) "
        "SELECT message_id, created_at, workspace_id, conversation_id, user_id, 'assistant', '', '[]', '[]', '', llm_id, "
        "(SELECT provider || '/' || name FROM llms l WHERE l.id = llm_id), total_tokens, 'sent', 'stop', '', '', 1, "
        "'{}', '', '{}', created_at FROM bench_liked"
    )
    _sql(
        "INSERT INTO message_feedbacks (id, created_at, workspace_id, message_id, user_id, thumb, category, text, "
        "suggestion, is_public, review_status, review_note, updated_at) "
        "SELECT gen_random_uuid(), created_at, workspace_id, message_id, user_id, "
        "CASE WHEN random() < 0.8 THEN 'up' ELSE 'down' END, '', '', '', false, '', '', created_at FROM bench_liked"
    )
    _sql("SET session_replication_role = origin")
    _sql("VACUUM ANALYZE messages")
    _sql("VACUUM ANALYZE message_feedbacks")


def _tags(workspace_id: uuid.UUID) -> None:
    from tagging.models import Tag, TagLink

    tags = Tag.objects.bulk_create(
        Tag(workspace_id=workspace_id, name="customer", value=f"c{n}", label=f"customer:c{n}") for n in range(50)
    )
    talks = _sql(
        "SELECT DISTINCT conversation_id FROM usage_logs WHERE workspace_id = %s LIMIT %s", [workspace_id, TAGGED_TALKS]
    )
    TagLink.objects.bulk_create(
        (
            TagLink(workspace_id=workspace_id, tag=tags[n % 50], target_type="conversation", target_id=talk)
            for n, (talk,) in enumerate(talks)
        ),
        batch_size=5000,
    )
    _sql("VACUUM ANALYZE tag_links")
