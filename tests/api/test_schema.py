"""/api/schema/ and /api/docs/: complete, true, and served from here alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import get_resolver

from conversations.models import Conversation, MessageFeedback
from llm.models import LLM
from tests.api.asking import Api, make_agent, messages_of
from tests.full import alert as make_alert
from tests.people import Person
from tests.providers.standins import StandIn, refusal
from tests.providers.standins import answer as answer_

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The schema as the command writes it, which fails on any warning."""
    path: Path = tmp_path_factory.mktemp("schema") / "schema.json"
    call_command("spectacular", format="openapi-json", file=str(path), validate=True, fail_on_warn=True)
    return json.loads(path.read_text())


def operation_of(schema: Any, method: str, path: str) -> Any:
    return schema["paths"][f"/api/v1/{path}"][method]


def assert_described(schema: Any, method: str, path: str, response: Any) -> None:
    """``response`` is what the schema says that this operation answers."""
    responses = operation_of(schema, method, path)["responses"]
    known = responses.get(str(response.status_code)) or responses[f"{str(response.status_code)[0]}XX"]
    described = {**known["content"]["application/json"]["schema"], "components": schema["components"]}
    checker = jsonschema.Draft202012Validator(described, format_checker=jsonschema.FormatChecker())
    assert [f"{error.json_path}: {error.message}" for error in checker.iter_errors(response.json())] == []


def test_it_is_served_to_anybody(db: None, schema: Any) -> None:
    response = Client().get("/api/schema/", {"format": "json"})
    assert response.status_code == 200
    assert response.json() == schema


def test_every_address_has_its_operations(schema: Any) -> None:
    routes: set[str] = set()

    def walk(patterns: Any, prefix: str) -> None:
        for pattern in patterns:
            path = prefix + str(pattern.pattern)
            if hasattr(pattern, "url_patterns"):
                walk(pattern.url_patterns, path)
            elif path.startswith("api/v1/"):
                simple = re.sub(r"\(\?P<\w+>(\[[^]]*\]|\([^)]*\)|[^()])+\)", "{}", path).replace("^", "")
                routes.add("/" + simple.removesuffix("/?$").removesuffix("/?\\Z"))

    walk(get_resolver().url_patterns, "")
    assert {re.sub(r"{\w+}", "{}", path) for path in schema["paths"]} == routes
    operations = {
        f"{method} {path.removeprefix('/api/v1/')}" for path, methods in schema["paths"].items() for method in methods
    }
    message = "conversations/{conversation_pk}/messages"
    assert operations == {
        "get workspaces", "post workspaces", "get workspaces/{id}", "patch workspaces/{id}",
        "get workspaces/{workspace_pk}/members", "post workspaces/{workspace_pk}/members",
        "get workspaces/{workspace_pk}/members/{id}", "patch workspaces/{workspace_pk}/members/{id}",
        "delete workspaces/{workspace_pk}/members/{id}",
        "get llm/models", "get llm/models/{id}", "get llm/providers",
        "get access-tokens", "post access-tokens", "get access-tokens/{id}", "patch access-tokens/{id}",
        "delete access-tokens/{id}", "post access-tokens/{id}/rotate", "get me", "patch me",
        *(
            operation
            for variables in ("user-variables", "workspaces/{workspace_pk}/variables")
            for operation in (
                f"get {variables}", f"post {variables}", f"get {variables}/{{id}}", f"patch {variables}/{{id}}",
                f"delete {variables}/{{id}}",
            )
        ),
        *(
            operation
            for keys in ("user-variables/api-keys", "workspaces/{workspace_pk}/api-keys")
            for operation in (
                f"get {keys}", f"get {keys}/providers", f"post {keys}/{{provider}}/test",
                *(f"{method} {keys}/{{provider}}" for method in ("get", "put", "post", "patch", "delete")),
            )
        ),
        "get llm/{provider}/models", "post llm/generate", "post llm/chat", "post llm/{provider}/generate",
        "post llm/count-tokens", "post llm/{provider}/count-tokens", "post llm/estimate",
        "get wallet", "get billing-events", "get billing-events/{id}",
        "get agents", "post agents", "get agents/{id}", "patch agents/{id}", "delete agents/{id}",
        "get conversations", "post conversations", "get conversations/{id}", "patch conversations/{id}",
        "delete conversations/{id}",
        f"get {message}", f"post {message}", f"get {message}/{{id}}",
        "get feedback", "get feedback/summary", "get feedback/export",
        "get tags", "post tags", "get tags/{id}", "patch tags/{id}", "delete tags/{id}", "post tags/{id}/merge",
        "post tags/add", "post tags/remove", "get tags/autocomplete", "get tags/usage", "get tags/{key}/usage",
        "get tag-links", "get tag-links/{id}", "post tag-links/{id}/accept", "post tag-links/{id}/reject",
        "get tag-rules", "post tag-rules", "get tag-rules/{id}", "patch tag-rules/{id}", "delete tag-rules/{id}",
        "get tag-rules/conditions",
        "get analytics/usage", "get analytics/costs", "get analytics/users/{key}", "get analytics/workspaces/{key}",
        "get analytics/conversations/{key}", "get analytics/llms/{key}", "get analytics/models/compare",
        "get analytics/metrics", "get analytics/live", "get analytics/health",
        "get analytics/reports", "post analytics/reports", "get analytics/reports/{id}", "patch analytics/reports/{id}",
        "delete analytics/reports/{id}", "post analytics/reports/{id}/run", "get analytics/reports/{id}/download",
        "get analytics/reports/{report_pk}/runs", "get analytics/reports/{report_pk}/runs/{id}",
        "get analytics/reports/{report_pk}/runs/{id}/download",
        "get analytics/alerts", "get analytics/alerts/{id}", "post analytics/alerts/{id}/acknowledge",
        "get analytics/alert-rules", "post analytics/alert-rules", "get analytics/alert-rules/{id}",
        "patch analytics/alert-rules/{id}", "delete analytics/alert-rules/{id}", "get analytics/alert-rules/conditions",
        "get analytics/webhooks", "post analytics/webhooks", "get analytics/webhooks/{id}", "patch analytics/webhooks/{id}",
        "delete analytics/webhooks/{id}", "post analytics/webhooks/{id}/rotate", "post analytics/webhooks/{id}/test",
        f"get {message}/{{message_pk}}/feedback", f"post {message}/{{message_pk}}/feedback",
        f"patch {message}/{{message_pk}}/feedback", f"delete {message}/{{message_pk}}/feedback",
    }  # fmt: skip


def test_every_operation_tells_its_errors_and_its_security(schema: Any) -> None:
    for methods in schema["paths"].values():
        for method in METHODS & methods.keys():
            for status in ("4XX", "5XX"):
                content = methods[method]["responses"][status]["content"]
                assert content == {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
            assert methods[method]["security"] == [{"accessToken": []}, {"apiKey": []}, {"googleApiKey": []}]
    assert schema["components"]["securitySchemes"]["accessToken"]["scheme"] == "bearer"
    assert schema["components"]["securitySchemes"]["apiKey"]["name"] == "x-api-key"
    assert schema["components"]["securitySchemes"]["googleApiKey"]["name"] == "x-goog-api-key"


def test_asking(schema: Any) -> None:
    asking = operation_of(schema, "post", "conversations/{conversation_pk}/messages")
    parameters = {parameter["name"]: parameter["in"] for parameter in asking["parameters"]}
    assert parameters == {"Idempotency-Key": "header", "conversation_pk": "path"}
    assert set(asking["responses"]) == {"200", "201", "4XX", "5XX"}
    assert set(asking["responses"]["200"]["content"]) == {"text/event-stream"}
    components = schema["components"]["schemas"]
    assert set(components["Answer"]["properties"]) == {"message", "usage", "cost"}
    assert set(components["AskRequest"]["properties"]) == {
        "content", "role", "stream", "llm", "attachments", "tool_call_id", "tool_results", "temperature", "max_tokens", "tools",
        "tool_choice", "response_schema", "stop", "tags",
    }  # fmt: skip


def test_one_shot_calls(schema: Any) -> None:
    components = schema["components"]["schemas"]
    common = {
        "system", "llm", "stream", "temperature", "max_tokens", "tools", "tool_choice", "response_schema", "stop", "seed",
        "top_p", "reasoning_effort", "metadata", "tags",
    }  # fmt: skip
    assert set(components["GenerateRequest"]["properties"]) == {"prompt", "attachments", *common}
    assert set(components["ChatRequest"]["properties"]) == {"messages", *common}
    assert set(components["TurnRequest"]["properties"]) == {
        "role", "content", "attachments", "tool_calls", "tool_call_id",
    }  # fmt: skip
    measured = {"prompt", "messages", "system", "tools", "attachments"}
    assert set(components["CountTokensRequest"]["properties"]) == {"llm", *measured}
    assert set(components["AskEstimateRequest"]["properties"]) == {"max_tokens", "output_tokens", "models", *measured}
    for path in ("llm/generate", "llm/chat", "llm/{provider}/generate"):
        calling = operation_of(schema, "post", path)
        assert set(calling["responses"]) == {"200", "201", "4XX", "5XX"}
        assert set(calling["responses"]["200"]["content"]) == {"text/event-stream"}
        names = {parameter["name"] for parameter in calling["parameters"]}
        assert names == {"Idempotency-Key"} | ({"provider"} if "{" in path else set())


def test_enumerations_have_names_that_mean_something(schema: Any) -> None:
    names = {name for name in schema["components"]["schemas"] if name.endswith("Enum")}
    assert names == {
        "AlertOwnerEnum", "AlertScopeEnum", "AlertSeverityEnum", "AlertStateEnum", "AlertSubjectEnum", "AskRoleEnum",
        "BillingEventStatusEnum", "BlankEnum", "CircuitEnum", "ConversationKindEnum", "ConversationProfileOfEnum", "ConversationStatusEnum",
        "EventTypeEnum",
        "FeedbackCategoryEnum", "FiguresOfEnum", "GranularityEnum", "HealthStatusEnum", "KeyOwnerEnum", "KeySourceEnum",
        "MemberRoleEnum", "MessageRoleEnum", "MessageStatusEnum", "ModeEnum", "NullEnum", "ProviderEnum", "ReasoningEffortEnum",
        "ReportFormatEnum", "ReportKindEnum", "ReportPeriodEnum", "ReportRunStateEnum", "ReportScheduleEnum", "ScopeEnum",
        "SpendPeriodEnum", "TagOriginEnum", "TagStateEnum", "ThumbEnum",
        "UsageStatusEnum", "VariableCategoryEnum", "WalletStatusEnum", "WorkspaceKindEnum", "WorkspaceStatusEnum",
    }  # fmt: skip


def test_answers_are_as_described(
    api: Api, alice: Person, chat: Conversation, llm: LLM, paid: StandIn, schema: Any
) -> None:
    agent = make_agent(alice, llm)
    message = "conversations/{conversation_pk}/messages"
    assert_described(schema, "post", message, api.ask(alice, chat, llm=str(llm), temperature=0.5))
    answer = api.get(alice, messages_of(chat)).json()["results"][0]["id"]
    MessageFeedback.objects.create(workspace=alice.workspace, message_id=answer, user=alice.user, stars=5)
    rules = {"name": "T", "scopes": ["chat"], "spend_limit_usd": "5", "spend_period": "day"}
    created_token = api.post(alice, "access-tokens", rules)
    assert_described(schema, "post", "access-tokens", created_token)
    token = created_token.json()
    assert_described(
        schema, "post", "access-tokens/{id}/rotate", api.post(alice, f"access-tokens/{token['id']}/rotate", {})
    )
    rule = {"name": "A", "condition": "cost", "scope": "user", "window_seconds": 3600, "threshold": "5"}
    assert_described(schema, "post", "analytics/alert-rules", api.post(alice, "analytics/alert-rules", rule))
    hook = api.post(alice, "analytics/webhooks", {"url": "https://127.0.0.2.example.com/"})
    assert_described(schema, "post", "analytics/webhooks", hook)
    for verb in ("rotate", "test"):
        tried = api.post(alice, f"analytics/webhooks/{hook.json()['id']}/{verb}", {})
        assert_described(schema, "post", f"analytics/webhooks/{{id}}/{verb}", tried)
    fired = make_alert(alice)
    space, event = f"workspaces/{alice.workspace.pk}", alice.workspace.billing_events.first()
    made = [
        api.post(alice, path, {"category": "secret", "name": "A", "value": "x"})
        for path in ("user-variables", f"{space}/variables")
    ]
    assert_described(schema, "post", "user-variables", made[0])
    variable, shared = (response.json()["id"] for response in made)
    for keys, real in (
        ("user-variables/api-keys", "user-variables/api-keys"),
        ("workspaces/{workspace_pk}/api-keys", f"{space}/api-keys"),
    ):
        for body in ({"key": "sk-own-0123456789", "expires_at": "2099-01-01T00:00:00Z"}, {"key": "sk-own-0123456789"}):
            assert_described(schema, "post", keys + "/{provider}", api.post(alice, f"{real}/openai", body))
        assert_described(schema, "get", keys, api.get(alice, real))
        assert_described(schema, "get", keys + "/{provider}", api.get(alice, f"{real}/openai"))
        assert_described(schema, "get", keys + "/providers", api.get(alice, f"{real}/providers"))
        for behaviour in (answer_(), refusal(401)):
            paid.script(behaviour)
            assert_described(schema, "post", keys + "/{provider}/test", api.post(alice, f"{real}/openai/test", {}))
    kept = api.post(alice, "analytics/reports", {"name": "Today", "kind": "calls", "period": "today"})
    assert_described(schema, "post", "analytics/reports", kept)
    report = kept.json()["id"]
    ran = api.post(alice, f"analytics/reports/{report}/run", {})
    assert_described(schema, "post", "analytics/reports/{id}/run", ran)
    run = ran.json()["id"]
    for path, real in {
        "workspaces": "workspaces",
        "workspaces/{id}": space,
        "workspaces/{workspace_pk}/members": f"{space}/members",
        "workspaces/{workspace_pk}/members/{id}": f"{space}/members/{alice.membership.pk}",
        "llm/models": "llm/models",
        "llm/models/{id}": f"llm/models/{llm.pk}",
        "llm/providers": "llm/providers",
        "access-tokens": "access-tokens",
        "access-tokens/{id}": f"access-tokens/{token['id']}",
        "me": "me",
        "user-variables": "user-variables",
        "user-variables/{id}": f"user-variables/{variable}",
        "workspaces/{workspace_pk}/variables": f"{space}/variables",
        "workspaces/{workspace_pk}/variables/{id}": f"{space}/variables/{shared}",
        "llm/{provider}/models": "llm/openai/models",
        "wallet": "wallet",
        "billing-events": "billing-events",
        "billing-events/{id}": f"billing-events/{event.pk}",
        "agents": "agents",
        "agents/{id}": f"agents/{agent.pk}",
        "conversations": "conversations",
        "conversations/{id}": f"conversations/{chat.pk}",
        message: messages_of(chat),
        message + "/{id}": f"{messages_of(chat)}/{answer}",
        message + "/{message_pk}/feedback": f"{messages_of(chat)}/{answer}/feedback",
        "analytics/alerts": "analytics/alerts",
        "analytics/alerts/{id}": f"analytics/alerts/{fired.pk}",
        "analytics/alert-rules": "analytics/alert-rules",
        "analytics/alert-rules/{id}": f"analytics/alert-rules/{fired.rule_id}",
        "analytics/alert-rules/conditions": "analytics/alert-rules/conditions",
        "analytics/webhooks": "analytics/webhooks",
        "analytics/webhooks/{id}": f"analytics/webhooks/{hook.json()['id']}",
        "feedback": "feedback",
        "feedback/summary": "feedback/summary?group_by=agent",
        "analytics/reports": "analytics/reports",
        "analytics/reports/{id}": f"analytics/reports/{report}",
        "analytics/reports/{report_pk}/runs": f"analytics/reports/{report}/runs",
        "analytics/reports/{report_pk}/runs/{id}": f"analytics/reports/{report}/runs/{run}",
    }.items():
        response = api.get(alice, real)
        assert response.status_code == 200, real
        assert_described(schema, "get", path, response)
    created = {"name": "A", "llm": str(llm), "settings": {"temperature": 0.5, "tools": [{"name": "f"}]}}
    made = api.post(alice, "workspaces", {"name": "Side project", "slug": "side-project"})
    assert_described(schema, "post", "workspaces", made)
    assert_described(schema, "post", "agents", api.post(alice, "agents", created))
    assert_described(schema, "post", "conversations", api.post(alice, "conversations", {}))
    assert_described(schema, "post", "conversations", api.post(alice, "conversations", {"title": 1e5, "x": 1}))
    prompt, turns = {"prompt": "Hello", "llm": str(llm)}, [{"role": "user", "content": "Hello"}]
    for path, real, body in (
        ("llm/generate", "llm/generate", prompt),
        ("llm/chat", "llm/chat", {"messages": turns, "llm": str(llm)}),
        ("llm/{provider}/generate", "llm/openai/generate", prompt),
        ("llm/count-tokens", "llm/count-tokens", prompt),
        ("llm/{provider}/count-tokens", "llm/openai/count-tokens", prompt),
        ("llm/estimate", "llm/estimate", {"messages": turns}),
    ):
        response = api.post(alice, real, body)
        assert response.status_code in {200, 201}, real
        assert_described(schema, "post", path, response)
    paid.script(refusal(500))
    assert_described(schema, "post", message, api.ask(alice, chat, llm=str(llm)))


def test_the_docs_come_from_this_host_alone(db: None) -> None:
    response = Client().get("/api/docs/")
    assert response.status_code == 200
    page = response.content.decode()
    sources = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert len(sources) == 6
    assert all(source.startswith(("/static/", "/api/docs/?script=")) for source in sources)
    assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", page)


def test_the_root_leads_to_the_docs(db: None) -> None:
    assert Client().get("/").headers["Location"] == "/api/docs/"
