"""Each constraint of the schema bites: one forbidden row for every one of them, refused by the database by name."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.db import DataError, IntegrityError, connection, models, transaction

from analytics import rollups
from analytics.models import LatencyDay, UsageTail
from conversations.models import Conversation, UsageLog
from llm.models import LLM
from synapscale.common.models import TenantModel, new_id
from synapscale.common.tenancy import fleet_wide
from tests.full import fill
from tests.house import house
from tests.people import Cast
from tests.unguarded import run, unguarded
from workspaces.models import UserVariable

__all__ = ["house"]
pytestmark = [pytest.mark.django_db, pytest.mark.fleet]
OURS = [
    model
    for model in apps.get_models()
    if model.__module__.split(".")[0] in {"workspaces", "llm", "billing", "tagging", "conversations", "analytics"}
]

# The smallest change to a sound database that each CHECK constraint forbids.
FORBIDDEN: dict[str, str] = {
    "wallets_held_not_negative": "UPDATE wallets SET held = -1",
    "wallets_not_overdrawn": "UPDATE wallets SET held = balance + 1",
    "wallets_credit_is_postpaid": "UPDATE wallets SET credit_limit = 1",
    "wallets_bounded": "UPDATE wallets SET balance = 4000000000000000001",
    "holds_amount_not_negative": "UPDATE holds SET amount = -1, state = 'held', charged = NULL, resolved_at = NULL",
    "holds_charged_when_resolved": "UPDATE holds SET charged = amount + 1",
    "holds_released_free": "UPDATE holds SET state = 'released', charged = 1",
    "hold_incidents_amount_not_negative": "UPDATE hold_incidents SET amount = -1",
    "token_spends_not_negative": "UPDATE token_spends SET spent = -1",
    "billing_events_not_zero": "UPDATE billing_events SET amount_usd = 0, event_type = 'adjustment'",
    "billing_events_sign": "UPDATE billing_events SET amount_usd = 1 WHERE event_type = 'usage'",
    "billing_events_refund_of_what": "UPDATE billing_events SET original_id = NULL WHERE event_type = 'refund'",
    "usage_logs_charge_has_event": "UPDATE usage_logs SET billing_event_id = NULL",
    "usage_logs_cost_not_negative": "UPDATE usage_logs SET cost_usd = -1",
    "message_feedbacks_stars": "UPDATE message_feedbacks SET stars = 6",
    "message_feedbacks_not_empty": "UPDATE message_feedbacks SET stars = NULL",
    "message_feedbacks_reviewed": "UPDATE message_feedbacks SET reviewed_at = NULL",
    "message_feedbacks_open_is_negative": (
        "UPDATE message_feedbacks SET review_status = 'open', reviewed_at = NULL, reviewed_by_id = NULL"
    ),
    "message_feedbacks_alert_has_review": (
        "UPDATE message_feedbacks SET review_status = '', alerted_at = reviewed_at, reviewed_at = NULL, "
        "reviewed_by_id = NULL"
    ),
    "workspaces_cap_positive": "UPDATE workspaces SET max_tokens_cap = 0",
    "workspaces_threshold_share": "UPDATE workspaces SET autotag_threshold = 1.5",
    "tags_label": "UPDATE tags SET label = 'other'",
    "tags_name": "UPDATE tags SET name = 'a:b', label = 'a:b:' || value",
    "tags_value": "UPDATE tags SET value = 'a,b', label = name || ':a,b'",
    "tags_category": "UPDATE tags SET category = 'a  b'",
    "tags_lower_case": "UPDATE tags SET category = 'Big'",
    "tags_length": "UPDATE tags SET category = '" + "x" * 65 + "'",
    "tag_rules_confidence": "UPDATE tag_rules SET confidence_score = 1.1",
    "tag_links_confidence": "UPDATE tag_links SET confidence_score = 1.1",
    "tag_links_origin": "UPDATE tag_links SET origin = 'person'",
    "tag_links_decided": "UPDATE tag_links SET state = 'rejected'",
    "tag_links_suggested": "UPDATE tag_links SET state = 'suggested', decided_at = created_at",
    "user_variables_one_owner": "UPDATE user_variables SET user_id = NULL",
    "reports_fixed_window": "UPDATE reports SET period = 'fixed'",
    "reports_scheduled": "UPDATE reports SET next_run_at = NULL",
    "reports_hour": "UPDATE reports SET hour = 24",
    "report_runs_window": "UPDATE report_runs SET start_at = end_at, end_at = start_at",
    "report_runs_state": "UPDATE report_runs SET state = 'queued'",
    "report_mails_state": "UPDATE report_mails SET next_try_at = mailed_at",
    "rollup_state_one_row": "UPDATE rollup_state SET id = 2",
    "alert_rules_builtin_is_operators": "UPDATE alert_rules SET is_builtin = true",
    "alert_rules_fleet_is_operators": "UPDATE alert_rules SET scope = 'fleet'",
    "alert_rules_window": "UPDATE alert_rules SET window_seconds = 59",
    "alert_rules_cooldown": "UPDATE alert_rules SET cooldown_seconds = 59",
    "alert_rules_threshold_not_negative": "UPDATE alert_rules SET threshold = -1",
    "alerts_resolved": "UPDATE alerts SET resolved_at = fired_at",
    "alerts_acknowledged_by": "UPDATE alerts SET acknowledged_by_id = NULL",
    "alerts_acknowledged": "UPDATE alerts SET state = 'firing'",
    "alert_deliveries_one_address": "UPDATE alert_deliveries SET recipient = 'a@example.org' WHERE channel = 'webhook'",
    "alert_deliveries_sent": "UPDATE alert_deliveries SET sent_at = created_at",
    "llms_private_has_connection": "UPDATE llms SET provider = 'private'",
    "llms_output_fits_context": "UPDATE llms SET max_output_tokens = context_window + 1",
    "price_proposals_decided": "UPDATE price_proposals SET state = 'approved'",
    "llm_prices_period": "UPDATE llm_prices SET effective_to = effective_from",
    "llm_prices_not_negative": "UPDATE llm_prices SET output_usd_per_mtok = -1",
}
# More ways to break the ones with several legs.
ALSO_FORBIDDEN = [
    ("holds_charged_when_resolved", "UPDATE holds SET charged = -1"),
    ("holds_charged_when_resolved", "UPDATE holds SET charged = NULL"),
    ("holds_charged_when_resolved", "UPDATE holds SET resolved_at = NULL"),
    ("holds_charged_when_resolved", "UPDATE holds SET state = 'held'"),
    ("wallets_bounded", "UPDATE wallets SET mode = 'untracked', balance = -4000000000000000001"),
    ("wallets_credit_is_postpaid", "UPDATE wallets SET mode = 'postpaid', credit_limit = -1, held = 0"),
    ("wallets_credit_is_postpaid", "UPDATE wallets SET mode = 'postpaid', credit_limit = 4000000000000000001"),
    ("wallets_not_overdrawn", "UPDATE wallets SET mode = 'postpaid', credit_limit = 5, held = balance + 6"),
    ("billing_events_sign", "UPDATE billing_events SET amount_usd = -1 WHERE event_type = 'credit'"),
    ("billing_events_sign", "UPDATE billing_events SET amount_usd = -1 WHERE event_type = 'refund'"),
    ("usage_logs_charge_has_event", "UPDATE usage_logs SET charged_usd = 0"),
    ("usage_logs_charge_has_event", "UPDATE usage_logs SET charged_usd = -1"),
    ("message_feedbacks_stars", "UPDATE message_feedbacks SET stars = 0"),
    ("message_feedbacks_reviewed", "UPDATE message_feedbacks SET review_status = ''"),
    ("message_feedbacks_reviewed", "UPDATE message_feedbacks SET review_status = '', reviewed_at = NULL"),
    (  # without stars, “at most two” would be neither true nor false
        "message_feedbacks_open_is_negative",
        "UPDATE message_feedbacks SET review_status = 'open', reviewed_at = NULL, reviewed_by_id = NULL, stars = NULL, "
        "thumb = 'up'",
    ),
    (
        "user_variables_one_owner",
        "UPDATE user_variables SET workspace_id = (SELECT id FROM workspaces WHERE slug = 'acme')",
    ),
    ("token_spends_not_negative", "UPDATE token_spends SET held = -1"),
    ("llm_prices_not_negative", "UPDATE llm_prices SET cached_input_usd_per_mtok = -1"),
    ("llm_prices_not_negative", "UPDATE llm_prices SET request_fee_usd = -1"),
    ("tags_label", "UPDATE tags SET value = ''"),
    ("tags_label", "UPDATE tags SET label = name"),
    ("tags_name", "UPDATE tags SET name = 'a  b', label = 'a  b:acme'"),
    ("tags_name", "UPDATE tags SET name = ' a', label = ' a:acme'"),
    ("tags_name", "UPDATE tags SET name = 'a\n', label = 'a\n:acme'"),
    ("tags_name", "UPDATE tags SET name = '', label = ':acme'"),
    ("tags_value", "UPDATE tags SET value = ' ', label = 'customer: '"),
    ("tags_value", "UPDATE tags SET value = 'a\n', label = 'customer:a\n'"),
    ("tags_category", "UPDATE tags SET category = 'a\n'"),
    ("tags_lower_case", "UPDATE tags SET name = 'Customer', label = 'Customer:acme'"),
    ("tags_length", f"UPDATE tags SET name = '{'x' * 65}', label = '{'x' * 65}:acme'"),
    ("tags_length", f"UPDATE tags SET value = '{'x' * 129}', label = 'customer:{'x' * 129}'"),
    ("tag_rules_confidence", "UPDATE tag_rules SET confidence_score = -0.001"),
    ("tag_links_confidence", "UPDATE tag_links SET confidence_score = -0.001"),
    ("tag_links_origin", "UPDATE tag_links SET rule_id = NULL"),
    ("tag_links_origin", "UPDATE tag_links SET confidence_score = NULL"),
    ("tag_links_origin", "UPDATE tag_links SET origin = 'person', rule_id = NULL"),
    ("tag_links_origin", "UPDATE tag_links SET origin = 'person', confidence_score = NULL"),
    ("reports_fixed_window", "UPDATE reports SET start_at = created_at"),
    ("reports_fixed_window", "UPDATE reports SET end_at = created_at"),
    ("reports_fixed_window", "UPDATE reports SET period = 'fixed', start_at = created_at, end_at = created_at"),
    ("reports_scheduled", "UPDATE reports SET schedule = 'none'"),
    ("report_runs_state", "UPDATE report_runs SET finished_at = NULL"),
    ("report_runs_state", "UPDATE report_runs SET error = 'x'"),
    ("report_runs_state", "UPDATE report_runs SET state = 'failed', rows = NULL"),
    ("report_runs_state", "UPDATE report_runs SET state = 'failed', error = 'x'"),
    ("alert_rules_window", "UPDATE alert_rules SET window_seconds = 2678401"),
    ("alert_rules_cooldown", "UPDATE alert_rules SET cooldown_seconds = 2678401"),
    ("alerts_resolved", "UPDATE alerts SET state = 'resolved'"),
    ("alerts_acknowledged_by", "UPDATE alerts SET state = 'firing', acknowledged_at = NULL"),
    ("alerts_acknowledged", "UPDATE alerts SET acknowledged_at = NULL, acknowledged_by_id = NULL"),
    ("alert_deliveries_one_address", "UPDATE alert_deliveries SET endpoint_id = NULL WHERE channel = 'webhook'"),
    ("alert_deliveries_one_address", "UPDATE alert_deliveries SET channel = 'webhook' WHERE channel = 'email'"),
    ("alert_deliveries_one_address", "UPDATE alert_deliveries SET recipient = '' WHERE channel = 'email'"),
    ("alert_deliveries_sent", "UPDATE alert_deliveries SET state = 'sent'"),
    (
        "tag_links_suggested",
        "UPDATE tag_links SET state = 'suggested', origin = 'person', rule_id = NULL, confidence_score = NULL",
    ),
]


@pytest.fixture
def books(cast: Cast, llm: LLM) -> Cast:
    fill(cast.alice, llm)
    Conversation.objects.create(workspace=cast.alice.workspace, user=cast.alice.user, kind=Conversation.Kind.API)
    variable = UserVariable(user=cast.alice.user, category="general", name="x")
    variable.set_value("secret")
    variable.save()
    with fleet_wide():
        calls = list(UsageLog.objects.values_list("workspace_id", "pk"))
    rollups.roll_up()
    UsageTail.objects.bulk_create(UsageTail(workspace_id=workspace_id, usage_log_id=pk) for workspace_id, pk in calls)
    LatencyDay.objects.create(workspace=cast.alice.workspace, day=variable.created_at, llm=llm, step=5, calls=1)
    return cast


@pytest.mark.parametrize(("name", "sql"), [*FORBIDDEN.items(), *ALSO_FORBIDDEN])
def test_a_check_constraint_bites(books: Cast, name: str, sql: str) -> None:
    with unguarded(), pytest.raises((IntegrityError, DataError)) as error, transaction.atomic():
        run(sql)
    # PostgreSQL's columns know their length themselves; SQLite's don't.
    is_too_long = name == "tags_length" and connection.vendor == "postgresql"
    assert ("value too long" if is_too_long else name) in str(error.value)


def test_every_check_constraint_has_its_forbidden_row() -> None:
    declared = {
        constraint.name
        for model in OURS
        for constraint in model._meta.constraints
        if isinstance(constraint, models.CheckConstraint)
    }
    assert declared == set(FORBIDDEN)


# What of a row must differ for a copy of it to break this unique constraint and no other.
DUPLICATES: dict[str, tuple[str, dict[str, str]]] = {
    "wallets_one_per_workspace": ("wallets", {}),
    "hold_incidents_once": ("hold_incidents", {}),
    "billing_events_chain": ("billing_events", {"reference": "'other'", "hold_id": "NULL"}),
    "billing_events_reference_once": ("billing_events", {"seq": "99", "hold_id": "NULL"}),
    "billing_events_hold_charged_once": ("billing_events", {"reference": "'other'", "seq": "99"}),
    "token_spends_once": ("token_spends", {}),
    "rate_buckets_per_token": ("rate_buckets", {}),
    "rate_buckets_per_workspace": ("rate_buckets", {}),
    "conversations_one_for_api_calls": ("conversations", {}),
    "agents_one_default_per_workspace": ("agents", {}),
    "messages_one_per_hold": ("messages", {}),
    "usage_logs_once_per_attempt": ("usage_logs", {"billing_event_id": "NULL", "charged_usd": "0"}),
    "usage_logs_event_once": ("usage_logs", {"attempt": "2"}),
    "conversation_llms_once": ("conversation_llms", {}),
    "message_feedbacks_once": ("message_feedbacks", {}),
    "message_images_once": ("message_images", {}),
    "idempotency_keys_once": ("idempotency_keys", {}),
    "tags_once": ("tags", {}),
    "tag_rules_once": ("tag_rules", {}),
    "tag_rules_builtin_once": ("tag_rules", {"name": "'Other'"}),
    "tag_links_once": ("tag_links", {}),
    "reports_once": ("reports", {}),
    "report_runs_once_due": ("report_runs", {"idempotency_key": "''"}),
    "report_runs_once_asked": ("report_runs", {"due_at": "NULL"}),
    "report_mails_once": ("report_mails", {}),
    "usage_tail_once": ("usage_tail", {}),
    "usage_hours_once": ("usage_hours", {}),
    "usage_days_once": ("usage_days", {}),
    "user_days_once": ("user_days", {}),
    "agent_hours_once": ("agent_hours", {}),
    "latency_days_once": ("latency_days", {}),
    "alerts_one_open": ("alerts", {}),
    "alert_deliveries_per_endpoint": ("alert_deliveries", {}),
    "alert_deliveries_per_recipient": ("alert_deliveries", {}),
}
ONE = {
    "billing_events_chain": "event_type = 'usage'",
    "billing_events_reference_once": "event_type = 'usage'",
    "billing_events_hold_charged_once": "event_type = 'usage'",
    "messages_one_per_hold": "role = 'assistant'",
    "wallets_one_per_workspace": "seq > 0",
    "rate_buckets_per_token": "access_token_id IS NOT NULL",
    "rate_buckets_per_workspace": "access_token_id IS NULL",
    "conversations_one_for_api_calls": "kind = 'api'",
    "tag_rules_once": "NOT is_builtin",
    "tag_rules_builtin_once": "is_builtin",
    "alert_deliveries_per_endpoint": "channel = 'webhook'",
    "alert_deliveries_per_recipient": "channel = 'email'",
}
"""Which row to copy, where not any will do."""


@pytest.mark.parametrize("name", DUPLICATES)
def test_a_unique_constraint_bites(books: Cast, name: str) -> None:
    table, changes = DUPLICATES[name]
    model = next(model for model in OURS if model._meta.db_table == table)
    columns = [field.column for field in model._meta.concrete_fields]
    new = new_id() if connection.vendor == "postgresql" else new_id().hex
    values = [f"'{new}'" if column == "id" else changes.get(column, column) for column in columns]
    source = f"FROM {table} WHERE {ONE.get(name, 'true')}"
    copy = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} {source}"
    with unguarded():
        with pytest.raises(IntegrityError) as error, transaction.atomic():
            run(copy)
        constraint = next(one for one in model._meta.constraints if one.name == name)
        if connection.vendor == "postgresql":
            assert f'unique constraint "{name}"' in str(error.value)
        else:
            fields = [model._meta.get_field(field).column for field in constraint.fields]
            named = ", ".join(f"{table}.{field}" for field in fields)
            assert str(error.value) in {
                f"UNIQUE constraint failed: {named}",
                f"UNIQUE constraint failed: index '{name}'",
            }


def test_every_unique_constraint_of_a_tenant_table_has_its_duplicate() -> None:
    declared = {
        constraint.name
        for model in OURS
        if issubclass(model, TenantModel)
        for constraint in model._meta.constraints
        if isinstance(constraint, models.UniqueConstraint) and not constraint.name.endswith("_tenant_key")
    }
    assert declared == set(DUPLICATES)
