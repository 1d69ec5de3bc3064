"""A database as an operator of a big installation finds it: people, models and a million calls, and a good deal of everything
else that the back office lists.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks import office_calls
from benchmarks.office_calls import DAYS, run

ROWS = 1_000_000
TALKS = 100_000
WORKSPACES = 500
LARGEST_TEAM = 400
MODELS = 12
"""That calls are made to. There are two more that nobody ever asked."""
ROOT = "root@example.org"


def fill(*, rows: int, talks: int, models: int) -> None:
    """Make everything, on an empty, migrated PostgreSQL database."""
    run("SET statement_timeout = 0")
    _people_and_models(models)
    office_calls.fill(rows=rows, talks=talks)
    _what_people_say()
    _around()
    from analytics import rollups

    rollups.rebuild()
    run("VACUUM ANALYZE")
    run("CREATE TABLE bench_filled ()")


def is_filled() -> bool:
    """Whether ``fill`` has made everything in this database."""
    ((name,),) = run("SELECT to_regclass('bench_filled')")
    return name is not None


def _people_and_models(models: int) -> None:
    from conversations.models import Agent
    from llm.models import LLM
    from workspaces.models import AccessToken, Membership, User, Workspace

    providers = ("openai", "anthropic", "google", "grok", "deepseek", "llama")
    llms = [
        LLM(
            provider=providers[n % len(providers)],
            name=f"model-{n}",
            display_name=f"Model {n}",
            context_window=100_000,
            max_output_tokens=8192,
        )
        for n in range(models + 2)
    ]
    LLM.objects.bulk_create(llms)
    for n, llm in enumerate(llms):
        _prices(llm, n)
    User.objects.create_superuser(ROOT, "only for benchmarks")
    # Through save, which opens their wallets.
    spaces = [
        Workspace.objects.create(slug=f"w{n}", name=f"Workspace {n}", kind=Workspace.Kind.COLLABORATIVE)
        for n in range(WORKSPACES)
    ]
    users, members, agents = [], [], []
    tokens: list[AccessToken] = []
    for rank, space in enumerate(spaces):
        for n in range(LARGEST_TEAM if rank == 0 else max(3, 200 // (rank + 1))):
            user = User(email=f"u{n}@{space.slug}.example.org", name=f"Person {n} of {space.slug}")
            users.append(user)
            members.append(Membership(workspace=space, user=user, role="member" if n else "owner"))
            tokens.append(
                AccessToken(user=user, workspace=space, name="Laptop", prefix=f"{len(tokens):08}", digest=f"{user.pk}")
            )
        for n in range(max(1, 20 // (rank + 1))):
            llm = llms[(rank + n * 5) % models]
            agents.append(
                Agent(workspace=space, name=f"Agent {n}", llm=llm, is_default=not n, system_prompt="Be kind.")
            )
    User.objects.bulk_create(users)
    Membership.objects.bulk_create(members)
    AccessToken.objects.bulk_create(tokens)
    Agent.objects.bulk_create(agents)
    run(
        "CREATE TABLE bench_spaces AS SELECT w.id AS workspace_id, row_number() OVER (ORDER BY w.id) AS rank, "
        "(SELECT id FROM wallets v WHERE v.workspace_id = w.id) AS wallet_id, "
        "(SELECT array_agg(t.user_id ORDER BY t.id) FROM access_tokens t WHERE t.workspace_id = w.id) AS users, "
        "(SELECT array_agg(t.id ORDER BY t.id) FROM access_tokens t WHERE t.workspace_id = w.id) AS tokens, "
        "(SELECT array_agg(a.id ORDER BY a.id) FROM agents a WHERE a.workspace_id = w.id) AS agents, "
        "(SELECT array_agg(a.llm_id ORDER BY a.id) FROM agents a WHERE a.workspace_id = w.id) AS llms FROM workspaces w"
    )


def _prices(llm: Any, number: int) -> None:
    """Three of them, two of which are over."""
    from llm.models import LLMPrice

    begins = [datetime(2020, 1, 1, tzinfo=UTC), *(datetime.now(UTC) - timedelta(days=days) for days in (60, 20))]
    for start, end, rate in zip(begins, [*begins[1:], None], (3, 2, 1), strict=True):
        LLMPrice.objects.create(
            llm=llm,
            effective_from=start,
            effective_to=end,
            input_usd_per_mtok=rate + number,
            output_usd_per_mtok=4 * (rate + number),
            source="A list of prices",
        )


def _what_people_say() -> None:
    """Feedback on one answer in 25, tags, keys of requests, pictures."""
    run("SET session_replication_role = replica")
    run(
        "INSERT INTO message_feedbacks (id, created_at, updated_at, workspace_id, message_id, user_id, thumb, category, "
        "text, suggestion, is_public, review_status, review_note) "
        "SELECT bench_id(at, 'feedback', n), at, at, workspace_id, answer_id, user_id, "
        "CASE WHEN n % 125 = 0 THEN 'down' ELSE 'up' END, '', 'So it is.', '', n % 50 = 0, "
        "CASE WHEN n % 125 = 0 THEN 'open' ELSE '' END, '' FROM bench_calls WHERE NOT is_open AND n % 25 = 0 ORDER BY n"
    )
    run(
        "INSERT INTO tags (id, created_at, updated_at, workspace_id, name, value, label, category, is_system, metadata) "
        "SELECT bench_id(now() - interval '80 days', 'tag', rank * 100 + n), now(), now(), workspace_id, 'customer', "
        "'c' || n, 'customer:c' || n, '', false, '{}' FROM bench_spaces, generate_series(0, 29) n ORDER BY 1"
    )
    run(
        "INSERT INTO tag_rules (id, created_at, updated_at, workspace_id, name, condition, settings, tag_id, "
        "confidence_score, is_active, is_builtin) "
        "SELECT bench_id(now() - interval '80 days', 'rule', rank), now(), now(), workspace_id, 'Failures', 'error', '{}', "
        "t.id, 1, true, false FROM bench_spaces JOIN tags t USING (workspace_id) WHERE t.label = 'customer:c0' ORDER BY 1"
    )
    # Two tags on each conversation, one on every fifth answer by a rule, of which a few are only suggested.
    run(
        "INSERT INTO tag_links (id, created_at, workspace_id, tag_id, target_type, target_id, state, origin, rule_id, "
        "confidence_score) "
        "SELECT bench_id(at, 'talk ' || twice, t.n), at, t.workspace_id, g.ids[1 + (t.n + twice) % 30], 'conversation', "
        "t.id, 'applied', 'person', NULL::uuid, NULL FROM bench_talks t JOIN (SELECT workspace_id, array_agg(id) AS ids "
        "FROM tags GROUP BY 1) g USING (workspace_id), generate_series(0, 1) twice "
        "UNION ALL SELECT bench_id(at, 'answer', n), at, workspace_id, r.tag_id, 'message', answer_id, "
        "CASE WHEN n % 500 = 0 THEN 'suggested' ELSE 'applied' END, 'rule', r.id, 0.7 "
        "FROM bench_calls c JOIN tag_rules r USING (workspace_id) WHERE n % 5 = 0 ORDER BY 1"
    )
    run(
        "INSERT INTO idempotency_keys (id, created_at, workspace_id, user_id, key, request_hash, message_id) "
        "SELECT bench_id(at, 'key', n), at, workspace_id, user_id, md5(n::text), md5('hash' || n), answer_id "
        "FROM bench_calls WHERE n % 5 = 0 ORDER BY n"
    )
    run(
        "INSERT INTO message_images (id, created_at, workspace_id, message_id, position, data) "
        "SELECT bench_id(at, 'image', n), at, workspace_id, question_id, 0, decode(repeat('00', 20000), 'hex') "
        "FROM bench_calls WHERE n % 500 = 0 ORDER BY n"
    )
    run(
        "INSERT INTO hold_incidents (id, created_at, workspace_id, hold_id, kind, amount, detail) "
        "SELECT bench_id(at, 'incident', n), at, workspace_id, hold_id, 'overrun', 1000000, 'It was longer.' "
        "FROM bench_calls WHERE NOT is_open AND n % 1000 = 0 ORDER BY n"
    )
    run("SET session_replication_role = origin")


def _around() -> None:
    """What has tens of rows, or thousands: rules and alerts, reports, rates, variables, hosts, proposals, jobs."""
    from django.utils import timezone

    from analytics import models as analytics
    from billing.models import TokenSpend
    from llm.models import LLM, PriceProposal, ProviderConnection
    from synapscale.common.models import PeriodicJob
    from workspaces.models import AccessToken, RateBucket, UserVariable, Workspace

    now = timezone.now()
    spaces = list(Workspace.objects.order_by("pk"))
    owners = {token.workspace_id: token for token in AccessToken.objects.order_by("-pk")}  # the oldest of each
    tokens = list(AccessToken.objects.order_by("pk"))
    RateBucket.objects.bulk_create(
        RateBucket(workspace_id=one.workspace_id, access_token=one, requests_left=0, tokens_left=0, filled_at=now)
        for one in tokens
    )
    TokenSpend.objects.bulk_create(TokenSpend(workspace_id=one.workspace_id, access_token=one) for one in tokens)
    UserVariable.objects.bulk_create(
        UserVariable(user_id=one.user_id, category="api_key", name="openai", ciphertext=b"-", key_id="bench")
        for one in tokens
    )
    ProviderConnection.objects.bulk_create(
        ProviderConnection(slug=f"host-{n}", name=f"Host {n}", base_url="https://models.example/v1") for n in range(20)
    )
    PriceProposal.objects.bulk_create(
        PriceProposal(llm=llm, rates={"input": "1", "output": "2"}, source="a list") for llm in LLM.objects.all()
    )
    PeriodicJob.objects.bulk_create(
        (PeriodicJob(name=f"job {n}", started_at=now) for n in range(10)), ignore_conflicts=True
    )
    rules = analytics.AlertRule.objects.bulk_create(
        analytics.AlertRule(
            workspace=space, name="Cost", condition="cost", scope="workspace", window_seconds=3600, threshold=1
        )
        for space in spaces
    )
    _audit_log()
    _alerts(rules, now)
    _reports(spaces, owners, now)


def _audit_log() -> None:
    """One entry for every tenth call: that somebody looked into its conversation."""
    from django.contrib.contenttypes.models import ContentType

    from conversations.models import Conversation
    from workspaces.models import User

    kind = ContentType.objects.get_for_model(Conversation)
    root = User.objects.get(email=ROOT)
    run(
        "INSERT INTO auditlog_logentry (content_type_id, object_pk, object_repr, action, changes_text, changes, timestamp, "
        "actor_id, actor_email) SELECT %s, talk_id, 'A conversation', 3, '', '{}', at, %s, %s FROM bench_calls "
        "WHERE n %% 10 = 0 ORDER BY n",
        [kind.pk, root.pk, root.email],
    )


def _alerts(rules: list[Any], now: datetime) -> None:
    from analytics.models import Alert, AlertDelivery

    alerts = [
        Alert(
            workspace_id=rule.workspace_id,
            rule=rule,
            subject_kind="workspace",
            subject_id=str(rule.workspace_id),
            subject_label="A workspace",
            state="firing" if n == 9 and number % 5 == 0 else "resolved",
            severity="warning",
            value=2,
            threshold=1,
            explanation="Two is more than one.",
            fired_at=now - timedelta(days=10 - n),
            last_seen_at=now,
            resolved_at=None if n == 9 and number % 5 == 0 else now - timedelta(days=9 - n),
        )
        for number, rule in enumerate(rules)
        for n in range(10)
    ]
    Alert.objects.bulk_create(alerts, batch_size=2000)
    AlertDelivery.objects.bulk_create(
        (
            AlertDelivery(
                workspace_id=alert.workspace_id,
                alert=alert,
                event="firing",
                channel="email",
                recipient=f"owner-{n}@example.org",
                payload={},
                state="sent",
                sent_at=now,
                next_attempt_at=now,
                give_up_at=now,
            )
            for alert in alerts
            for n in range(2)
        ),
        batch_size=2000,
    )


def _reports(spaces: list[Any], owners: dict[Any, Any], now: datetime) -> None:
    from analytics.models import Report, ReportMail, ReportRun

    reports = Report.objects.bulk_create(
        Report(
            workspace=space,
            created_by_id=owners[space.pk].user_id,
            name="Yesterday",
            kind="calls",
            period="yesterday",
            schedule="daily",
            next_run_at=now + timedelta(days=1),
        )
        for space in spaces
    )
    runs = [
        ReportRun(
            workspace_id=report.workspace_id,
            report=report,
            asked_by_id=report.created_by_id,
            due_at=now - timedelta(days=n),
            kind="calls",
            start_at=now - timedelta(days=n + 1),
            end_at=now - timedelta(days=n),
            tz="UTC",
            format="csv",
            state="done",
            finished_at=now,
        )
        for report in reports
        for n in range(DAYS // 9)
    ]
    ReportRun.objects.bulk_create(runs, batch_size=2000)
    ReportMail.objects.bulk_create(
        (
            ReportMail(
                workspace_id=one.workspace_id,
                report=one.report,
                run=one,
                user_id=one.asked_by_id,
                tries=1,
                mailed_at=now,
            )
            for one in runs
        ),
        batch_size=2000,
    )
