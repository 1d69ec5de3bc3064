"""A stranger with a good token of his own: every address, every method, nothing found and nothing changed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from django.apps import apps
from django.test import Client
from django.urls import get_resolver

from analytics.models import WebhookEndpoint
from billing import ledger
from conversations.models import MessageFeedback
from llm import own_keys
from llm.models import LLM
from synapscale.common.tenancy import fleet_wide
from tagging.models import Tag, TagLink, TagRule
from tests.api.asking import error_of, make_agent, make_answer, make_conversation
from tests.full import alert as make_alert
from tests.full import report as make_report
from tests.people import Cast, fund
from workspaces import variables
from workspaces.models import AccessToken

ONE_SHOTS = (
    "llm/generate",
    "llm/chat",
    "llm/count-tokens",
    "llm/estimate",
    "llm/openai/generate",
    "llm/openai/count-tokens",
    "llm/openai/models",
    "llm/nobody/generate",
)
ACTIONS = ("/rotate", "/test", "/merge", "/accept", "/reject", "/acknowledge", "/run")
METHODS = ("get", "head", "post", "put", "patch", "delete", "options", "trace")
BODIES: list[dict[str, Any]] = [
    {},
    {"content": "Hello", "llm": "openai/openai-test"},
    {"role": "viewer"},
    {"email": "mallory@example.org"},
    {"title": "Mine", "is_shared": True},
    {"name": "Mine", "llm": "openai/openai-test"},
    {"stars": 1},
    {"name": "Mine"},
    {"grace_seconds": 60},
    {"category": "general", "name": "Mine", "value": "x"},
    {"value": "x"},
    {"key": "sk-mallory-0123456789"},
    {"is_active": False},
    {"into": "customer:acme"},
    {"threshold": "1000"},
    {"url": "https://hooks.example.net/"},
]


@dataclass(frozen=True)
class Objects:
    """Addresses of what belongs to Alice's workspace."""

    paths: tuple[str, ...]
    lists: tuple[str, ...]


@pytest.fixture
def objects(transactional_db: None, cast: Cast, llm: LLM) -> Objects:
    alice = cast.alice
    fund(alice.workspace, "5")
    chat = make_conversation(alice, title="Sums", is_shared=True)
    agent = make_agent(alice, llm)
    answer = make_answer(chat)
    MessageFeedback.objects.create(workspace=alice.workspace, message=answer, user=alice.user, stars=5)
    event = ledger.wallet_of(alice.workspace.pk).events.get()
    token, bobs_token = (AccessToken.objects.get(user=person.user) for person in (alice, cast.bob))
    own, shared = (
        variables.create(owner=owner, category="general", name="A", value="x")
        for owner in (alice.user, alice.workspace)
    )
    own_keys.set_key(owner=alice.workspace, provider="openai", key="sk-acme-0123456789")
    ledger.wallet_of(cast.charlie.workspace.pk)  # looking at one's wallet for the first time opens it
    space = f"workspaces/{alice.workspace.pk}"
    tag = Tag.objects.create(workspace=alice.workspace, name="customer", value="acme", created_by=alice.user)
    rule = TagRule.objects.create(workspace=alice.workspace, name="Failures", condition="error", tag=tag)
    link = TagLink.objects.create(
        workspace=alice.workspace,
        tag=tag,
        target_type="conversation",
        target_id=chat.pk,
        origin=TagLink.Origin.RULE,
        rule=rule,
        confidence_score=1,
    )
    kept = make_report(alice)
    ran = kept.runs.get()
    fired = make_alert(alice)
    endpoint = WebhookEndpoint.objects.get(workspace=alice.workspace)
    paths = (
        space,
        f"{space}/members",
        f"{space}/members/{alice.membership.pk}",
        f"{space}/members/{cast.bob.membership.pk}",
        f"agents/{agent.pk}",
        f"conversations/{chat.pk}",
        f"conversations/{chat.pk}/messages",
        f"conversations/{chat.pk}/messages/{answer.pk}",
        f"conversations/{chat.pk}/messages/{answer.pk}/feedback",
        f"billing-events/{event.pk}",
        f"access-tokens/{token.pk}",
        f"access-tokens/{bobs_token.pk}",
        f"access-tokens/{token.pk}/rotate",
        f"user-variables/{own.pk}",
        f"{space}/variables",
        f"{space}/variables/{shared.pk}",
        f"{space}/api-keys",
        f"{space}/api-keys/providers",
        f"{space}/api-keys/openai",
        f"{space}/api-keys/openai/test",
        f"tags/{tag.pk}",
        "tags/customer:acme",
        f"tags/{tag.pk}/merge",
        f"tags/{tag.pk}/usage",
        f"tag-links/{link.pk}",
        f"tag-links/{link.pk}/accept",
        f"tag-links/{link.pk}/reject",
        f"tag-rules/{rule.pk}",
        f"analytics/users/{alice.user.pk}",
        f"analytics/users/{cast.bob.user.pk}",
        f"analytics/workspaces/{alice.workspace.pk}",
        f"analytics/workspaces/{alice.workspace.slug}",
        f"analytics/conversations/{chat.pk}",
        f"analytics/reports/{kept.pk}",
        f"analytics/reports/{kept.pk}/run",
        f"analytics/reports/{kept.pk}/download",
        f"analytics/reports/{kept.pk}/runs",
        f"analytics/reports/{kept.pk}/runs/{ran.pk}",
        f"analytics/reports/{kept.pk}/runs/{ran.pk}/download",
        f"analytics/alerts/{fired.pk}",
        f"analytics/alerts/{fired.pk}/acknowledge",
        f"analytics/alert-rules/{fired.rule_id}",
        f"analytics/webhooks/{endpoint.pk}",
        f"analytics/webhooks/{endpoint.pk}/rotate",
        f"analytics/webhooks/{endpoint.pk}/test",
    )
    return Objects(
        paths=paths,
        lists=(
            "workspaces",
            "agents",
            "conversations",
            "feedback",
            "feedback/summary",
            "feedback/export",
            "billing-events",
            "access-tokens",
            "user-variables",
            "user-variables/api-keys",
            "user-variables/api-keys/providers",
            "user-variables/api-keys/openai",
            "user-variables/api-keys/openai/test",
            "tags",
            "tags/autocomplete",
            "tags/add",
            "tags/remove",
            "tags/usage",
            "tag-links",
            "tag-rules",
            "tag-rules/conditions",
            "analytics/reports",
            "analytics/alerts",
            "analytics/alert-rules",
            "analytics/alert-rules/conditions",
            "analytics/webhooks",
            "analytics/usage",
            "analytics/costs",
            "analytics/models/compare",
            f"analytics/llms/{llm.pk}",
            "analytics/metrics",
            "analytics/live",
            "analytics/health",
        ),
    )


def everything() -> dict[str, list[Any]]:
    """Every row of every table, but for when tokens were last used."""
    with fleet_wide():
        rows = {}
        for model in apps.get_models():
            names = [field.attname for field in model._meta.concrete_fields if field.attname != "last_used_at"]
            rows[model._meta.db_table] = sorted(map(repr, model._base_manager.values_list(*names)))
        return rows


def send(token: str, method: str, path: str, body: Any) -> Any:
    has_body = method not in {"get", "head", "trace"}
    content = {"data": json.dumps(body), "content_type": "application/json"} if has_body else {}
    return getattr(Client(), method)(f"/api/v1/{path}", **content, headers={"Authorization": f"Bearer {token}"})


def test_the_matrix_names_every_address(objects: Objects) -> None:
    """An address that is added later must be added here."""
    routes: set[str] = set()

    def walk(patterns: Any, prefix: str) -> None:
        for pattern in patterns:
            path = prefix + str(pattern.pattern)
            if hasattr(pattern, "url_patterns"):
                walk(pattern.url_patterns, path)
            elif path.startswith("api/v1/"):
                routes.add(pattern.name)

    walk(get_resolver().url_patterns, "")
    assert routes == {
        "workspace-list",
        "workspace-detail",
        "member-list",
        "member-detail",
        "llm-list",
        "llm-detail",
        "llm-providers",
        "access-token-list",
        "access-token-detail",
        "access-token-rotate",
        "me",
        "user-variable-list",
        "user-variable-detail",
        "workspace-variable-list",
        "workspace-variable-detail",
        "user-key-list",
        "user-key-providers",
        "user-key",
        "user-key-test",
        "workspace-key-list",
        "workspace-key-providers",
        "workspace-key",
        "workspace-key-test",
        "llm-provider-models",
        "llm-generate",
        "llm-chat",
        "llm-count-tokens",
        "llm-estimate",
        "llm-provider-generate",
        "llm-provider-count-tokens",
        "wallet",
        "billing-event-list",
        "billing-event-detail",
        "agent-list",
        "agent-detail",
        "conversation-list",
        "conversation-detail",
        "message-list",
        "message-detail",
        "message-feedback",
        "feedback-list",
        "feedback-summary",
        "feedback-export",
        "tag-list",
        "tag-detail",
        "tag-merge",
        "tag-add",
        "tag-remove",
        "tag-autocomplete",
        "tag-usage",
        "tags-usage",
        "tag-link-list",
        "tag-link-detail",
        "tag-link-accept",
        "tag-link-reject",
        "tag-rule-list",
        "tag-rule-detail",
        "tag-rule-conditions",
        "alert-list",
        "alert-detail",
        "alert-acknowledge",
        "alert-rule-list",
        "alert-rule-detail",
        "alert-rule-conditions",
        "webhook-list",
        "webhook-detail",
        "webhook-rotate",
        "webhook-test",
        "analytics-usage",
        "analytics-costs",
        "analytics-user",
        "analytics-workspace",
        "analytics-conversation",
        "analytics-llm",  # the models are everybody's; the figures of each are the caller's
        "analytics-compare",
        "analytics-metrics",
        "analytics-live",
        "analytics-health",
        "report-list",
        "report-detail",
        "report-run",
        "report-download",
        "report-run-list",
        "report-run-detail",
        "report-run-download",
    }
    assert len(objects.paths) == 45


@pytest.mark.parametrize("method", METHODS)
def test_a_stranger_finds_nothing_and_changes_nothing(objects: Objects, cast: Cast, method: str) -> None:
    before = everything()
    for path in objects.paths:
        bodies = BODIES if method in {"post", "put", "patch"} else [{}]
        for body in bodies:
            response = send(cast.charlie.token, method, path, body)
            assert response.status_code in {404, 405}, (method, path, body, response.content)
            if method not in {"head"} and response.status_code == 404:
                message = error_of(response, 404, "not_found")["message"]
                assert message == "Not found." or message.startswith("There is no such ")
    assert everything() == before


@pytest.mark.parametrize("method", METHODS)
def test_without_a_token_there_is_nothing_at_all(objects: Objects, cast: Cast, method: str) -> None:
    before = everything()
    for path in (*objects.paths, *objects.lists, "wallet", "me", "llm/models", "llm/providers", *ONE_SHOTS):
        assert send("", method, path, {}).status_code in {401, 405}, (method, path)
    assert everything() == before


def test_the_lists_of_a_stranger_show_only_what_is_his(objects: Objects, cast: Cast) -> None:
    assert [row["id"] for row in cast.charlie.get("workspaces").json()["results"]] == [str(cast.charlie.workspace.pk)]
    assert cast.charlie.get("feedback/summary", start="2020-01-01").json()["total"]["count"] == 0
    assert b"".join(cast.charlie.get("feedback/export").streaming_content) == b""
    for path in (
        *("agents", "conversations", "feedback", "billing-events", "user-variables", "user-variables/api-keys"),
        *("tags", "tags/autocomplete", "tag-links", "analytics/reports", "analytics/alerts", "analytics/webhooks"),
    ):
        assert cast.charlie.get(path).json()["results"] == []
    assert [row["name"] for row in cast.charlie.get("access-tokens", all="true").json()["results"]] == [
        "charlie's token"
    ]
    assert cast.charlie.get("me").json()["workspace"]["slug"] == "rival"
    assert cast.charlie.get("wallet").json()["balance"] == "0.00"


def test_a_workspace_that_a_stranger_makes_is_one_of_his_own(objects: Objects, cast: Cast) -> None:
    """What Alice's workspace has is neither shown nor changed by it, and what is made is nobody else's."""
    theirs = [row for rows in everything().values() for row in rows if str(cast.alice.workspace.pk) in row]
    made = cast.charlie.post("workspaces", {"name": "Acme", "slug": "acme-2", "kind": "collaborative"}).json()
    assert [row for rows in everything().values() for row in rows if str(cast.alice.workspace.pk) in row] == theirs
    for person in (cast.alice, cast.bob, cast.charlie):
        assert person.get(f"workspaces/{made['id']}").status_code == 404  # with a token of another workspace


def test_the_same_addresses_are_found_by_their_owner(objects: Objects, cast: Cast) -> None:
    for path in objects.paths:
        assert cast.alice.get(path).status_code == (405 if path.endswith(ACTIONS) else 200), path


def test_ids_of_one_conversation_do_not_open_messages_of_another(objects: Objects, cast: Cast) -> None:
    """Charlie's own conversation, with the id of Alice's message below it."""
    message = objects.paths[7].rsplit("/", 1)[1]
    own = make_conversation(cast.charlie)
    for path in (f"conversations/{own.pk}/messages/{message}", f"conversations/{own.pk}/messages/{message}/feedback"):
        assert cast.charlie.get(path).status_code == 404
        assert cast.charlie.post(path, {"stars": 1}).status_code in {404, 405}
