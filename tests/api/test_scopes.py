"""Scopes: what a token is good for, within what its user's role allows; and every address says which it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import get_resolver

from conversations.models import Conversation
from llm.models import LLM
from tests.api.asking import Api, error_of, make_agent, make_answer, messages_of
from tests.full import alert as make_alert
from tests.full import report as make_report
from tests.people import Person
from tests.tagging.tagged import condition, make_tag, said
from workspaces.models import AccessToken, Scope
from workspaces.permissions import InScope

ALL = {"chat", "read", "billing", "keys", "admin"}
WRITES = {"post", "put", "patch", "delete"}


def routes() -> list[tuple[str, Any]]:
    """Every address of the API, and the view that answers it."""

    def walk(patterns: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for pattern in patterns:
            path = prefix + str(pattern.pattern)
            if hasattr(pattern, "url_patterns"):
                yield from walk(pattern.url_patterns, path)
            elif path.startswith(("api/v1/", "v1/")) and pattern.name != "v1-nowhere":
                yield path, pattern.callback

    return list(walk(get_resolver().url_patterns, ""))


@pytest.mark.parametrize(("path", "view"), routes(), ids=[path for path, _ in routes()])
def test_every_address_says_which_scopes_it_asks_for(path: str, view: Any) -> None:
    assert hasattr(view, "cls"), "no API view answers here, so nothing looks at the token's scopes"
    assert any(issubclass(permission, InScope) for permission in view.cls.permission_classes)
    served = set(
        getattr(view, "actions", None) or {name for name in view.cls.http_method_names if hasattr(view.cls, name)}
    )
    served &= {"get", *WRITES} & set(view.cls.http_method_names)
    assert served
    for attribute, methods in (("scopes_to_read", {"get"}), ("scopes_to_write", WRITES)):
        if served & methods:
            assert getattr(view.cls, attribute, None), f"{view.cls.__name__} must say {attribute}"
            assert set(getattr(view.cls, attribute)) <= set(Scope)


def limit(person: Person, *scopes: str) -> Person:
    """``person``, whose token has these scopes from now on."""
    AccessToken.objects.filter(user=person.user, workspace=person.workspace).update(scopes=list(scopes))
    return person


@pytest.mark.parametrize(
    ("path", "sufficient"),
    [
        ("conversations", {"chat", "read"}),
        ("conversations/{chat}", {"chat", "read"}),
        ("feedback", {"chat", "read"}),
        ("feedback/summary", {"chat", "read"}),
        ("feedback/export", {"read", "admin"}),
        ("agents", {"chat", "read"}),
        ("agents/{agent}", {"chat", "read"}),
        ("llm/models", ALL),
        ("llm/models/{llm}", ALL),
        ("wallet", {"billing"}),
        ("billing-events", {"billing"}),
        ("tags", {"chat", "read"}),
        ("tags/autocomplete", {"chat", "read"}),
        ("tag-links", {"chat", "read"}),
        ("tag-rules", {"chat", "read"}),
        ("tag-rules/conditions", {"chat", "read"}),
        ("analytics/reports", {"billing"}),
        ("analytics/reports/{report}", {"billing"}),
        ("analytics/reports/{report}/runs", {"billing"}),
        ("analytics/reports/{report}/download", {"billing"}),
        ("analytics/alerts", {"billing"}),
        ("analytics/alerts/{alert}", {"billing"}),
        ("analytics/alert-rules", {"billing"}),
        ("analytics/alert-rules/conditions", {"billing"}),
        ("analytics/webhooks", {"billing"}),
        ("workspaces", {"read", "admin"}),
        ("workspaces/{workspace}", {"read", "admin"}),
        ("workspaces/{workspace}/members", {"read", "admin"}),
    ],
)
def test_reading(alice: Person, chat: Conversation, llm: LLM, path: str, sufficient: set[str]) -> None:
    ids = {"chat": chat.pk, "llm": llm.pk, "workspace": alice.workspace.pk}
    made = {"agent": make_agent(alice, llm), "report": make_report(alice), "alert": make_alert(alice)}
    path = path.format(**ids, **{name: row.pk for name, row in made.items()})
    for scope in ALL:
        response = limit(alice, scope).get(path)
        if scope in sufficient:
            assert response.status_code == 200, response
        else:
            assert set(error_of(response, 403, "scope_missing")["details"]["scopes"]) == sufficient
    assert limit(alice, *ALL - sufficient, next(iter(sufficient))).get(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "sufficient"),
    [
        ("post", "conversations", {"title": "Mine"}, "chat"),
        ("patch", "conversations/{chat}", {"title": "Mine"}, "chat"),
        ("delete", "conversations/{chat}", {}, "chat"),
        ("post", "conversations/{chat}/messages/{answer}/feedback", {"stars": 5}, "chat"),
        ("post", "agents", {"name": "A", "llm": "openai/openai-test"}, "admin"),
        ("patch", "agents/{agent}", {"name": "B"}, "admin"),
        ("delete", "agents/{agent}", {}, "admin"),
        ("post", "tags", {"name": "urgent"}, "chat"),
        ("post", "tags/add", {"tags": ["there"], "targets": []}, "chat"),
        ("post", "tags/there/merge", {"into": "else"}, "chat"),
        ("delete", "tags/there", {}, "chat"),
        ("post", "tag-rules", {"name": "Images", "condition": "test-says"}, "admin"),
        ("post", "analytics/reports", {"name": "Today", "kind": "calls", "period": "today"}, "billing"),
        ("patch", "analytics/reports/{report}", {"name": "B"}, "billing"),
        ("post", "analytics/reports/{report}/run", {}, "billing"),
        ("delete", "analytics/reports/{report}", {}, "billing"),
        ("post", "analytics/alerts/{alert}/acknowledge", {}, "admin"),
        ("patch", "analytics/alert-rules/{rule}", {"name": "B"}, "admin"),
        ("post", "analytics/webhooks", {"url": "https://hooks.example.com/"}, "admin"),
        ("patch", "workspaces/{workspace}", {"name": "B"}, "admin"),
        ("post", "workspaces/{workspace}/members", {"email": "erin@example.org"}, "admin"),
        ("patch", "workspaces/{workspace}/members/{member}", {"role": "owner"}, "admin"),
        ("delete", "workspaces/{workspace}/members/{member}", {}, "admin"),
    ],
)
def test_writing(
    alice: Person, bob: Person, chat: Conversation, llm: LLM, method: str, path: str, body: Any, sufficient: str
) -> None:
    ids = {"chat": chat.pk, "answer": make_answer(chat).pk, "workspace": alice.workspace.pk}
    report, alert = make_report(alice), make_alert(alice)
    made = {"agent": make_agent(alice, llm).pk, "member": bob.membership.pk, "report": report.pk, "alert": alert.pk}
    path = path.format(**ids, **made, rule=alert.rule_id)
    for label in ("there", "else"):
        make_tag(alice, label)
    if "targets" in body:
        body = {**body, "targets": said("conversation", chat.pk)}

    def send() -> Any:
        return alice.delete(path) if method == "delete" else getattr(alice, method)(path, body)

    limit(alice, *ALL - {sufficient})
    error = error_of(send(), 403, "scope_missing")
    assert error["details"] == {"scopes": [sufficient]}
    assert error["message"] == f"This access token lacks the scope for this: “{sufficient}”."
    limit(alice, sufficient)
    with condition():
        assert send().status_code in {200, 201, 204}


def test_messages(api: Api, alice: Person, chat: Conversation, llm: LLM, paid: Any) -> None:
    limit(alice, "read", "billing", "keys", "admin")
    error_of(api.ask(alice, chat, llm=str(llm)), 403, "scope_missing")
    assert paid.requests == []
    limit(alice, "chat")
    answer = api.ask(alice, chat, llm=str(llm)).json()["message"]["id"]
    for path in (messages_of(chat), f"{messages_of(chat)}/{answer}"):
        for scope in ALL:
            response = api.get(limit(alice, scope), path)
            if scope in {"chat", "read"}:
                assert response.status_code == 200
            else:
                assert error_of(response, 403, "scope_missing")["details"] == {"scopes": ["chat", "read"]}


def test_scopes_only_narrow_what_the_role_allows(bob: Person, victor: Person, alice: Person, llm: LLM) -> None:
    for person in (bob, victor):
        limit(person, *ALL)
        error_of(person.post("agents", {"name": "A", "llm": str(llm)}), 403, "permission_denied")
        error_of(person.patch(f"workspaces/{alice.workspace.pk}", {"name": "A"}), 403, "permission_denied")
    error_of(victor.post("conversations", {}), 403, "permission_denied")


def test_a_stranger_finds_nothing_whatever_the_scopes(alice: Person, charlie: Person, chat: Conversation) -> None:
    error_of(charlie.get(f"conversations/{chat.pk}"), 404, "not_found")
    error_of(limit(charlie, "chat").get(f"conversations/{chat.pk}"), 404, "not_found")
    error_of(limit(charlie, "keys").get(f"conversations/{chat.pk}"), 403, "scope_missing")


def test_a_method_that_is_not_there_is_not_a_matter_of_scopes(alice: Person) -> None:
    error_of(limit(alice, "chat").delete("wallet"), 405, "method_not_allowed")


def test_a_token_without_scopes_can_do_nothing(alice: Person) -> None:
    limit(alice)
    for path in ("conversations", "llm/models", "wallet", "workspaces"):
        error_of(alice.get(path), 403, "scope_missing")
