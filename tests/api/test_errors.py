"""The one shape of an error, whatever went wrong."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import Mock, patch

import httpx2
import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import OperationalError
from django.test import Client
from django.urls import get_resolver

from synapscale.common.errors import RateLimited
from tests.api.asking import Api, error_of, make_conversation
from tests.people import Person

SOME_ID = "01890000-0000-7000-8000-000000000000"


def test_an_address_that_does_not_exist(db: None) -> None:
    error_of(Client().get("/api/v1/nothing"), 404, "not_found")


@pytest.mark.parametrize("path", ["conversations", "agents", "llm/models", "billing-events", "workspaces"])
@pytest.mark.parametrize("pk", [SOME_ID, "-" * 36, "0" * 36])
def test_an_object_that_does_not_exist(alice: Person, path: str, pk: str) -> None:
    assert error_of(alice.get(f"{path}/{pk}"), 404, "not_found")["message"] == "Not found."


def test_a_method_that_does_not_exist(alice: Person) -> None:
    error_of(alice.delete("wallet"), 405, "method_not_allowed")


def test_a_body_that_is_not_json(alice: Person) -> None:
    response = Client().post("/api/v1/conversations", "title=x", headers=alice.headers, content_type="text/plain")
    error_of(response, 415, "unsupported_media_type")


def test_forms_are_not_read(alice: Person) -> None:
    response = Client().post("/api/v1/conversations", {"title": "x"}, headers=alice.headers)
    error_of(response, 415, "unsupported_media_type")


def test_a_body_that_is_too_large(alice: Person, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    error_of(alice.post("conversations", {"context": "x" * 1000}), 413, "request_too_large")
    assert alice.post("conversations", {"context": "x" * 900}).status_code == 201


def test_the_request_id_of_the_client_is_kept(alice: Person) -> None:
    response = alice.post("conversations", {"nothing": 1}, **{"X-Request-ID": "trace-1.2_3"})
    assert error_of(response, 400, "invalid")["request_id"] == "trace-1.2_3"


@pytest.mark.parametrize("sent", ["two words", "a\rb", "x" * 65, "é"])
def test_a_request_id_that_is_no_plain_token_is_replaced(db: None, sent: str) -> None:
    response = Client().get("/api/v1/conversations", headers={"X-Request-ID": sent})
    assert error_of(response, 401, "not_authenticated")["request_id"] != sent


def test_every_good_answer_has_a_request_id(alice: Person) -> None:
    assert len(alice.get("conversations").headers["X-Request-ID"]) == 32


def test_a_database_that_is_away(alice: Person) -> None:
    with patch("workspaces.authentication.caller_of", side_effect=OperationalError("secret host is down")):
        response = alice.get("conversations")
    error = error_of(response, 503, "database_unavailable")
    assert response.headers["Retry-After"] == "5"
    assert "secret" not in error["message"]


def test_a_mistake_of_ours_says_nothing_about_itself(alice: Person) -> None:
    client = Client(raise_request_exception=False, headers=alice.headers)
    with patch("workspaces.authentication.caller_of", side_effect=RuntimeError("secret")):
        response = client.get("/api/v1/conversations")
    assert "secret" not in error_of(response, 500, "internal_error")["message"]


def test_a_refusal_brings_its_headers(db: None, alice: Person) -> None:
    refused = RateLimited("Slowly.", retry_after=3, headers={"x-ratelimit-limit-requests": "10"})
    with patch("workspaces.authentication.caller_of", side_effect=refused):
        response = alice.get("conversations")
    assert error_of(response, 429, "rate_limited")["message"] == "Slowly."
    assert (response.headers["Retry-After"], response.headers["x-ratelimit-limit-requests"]) == ("3", "10")


@pytest.mark.parametrize("accept", ["text/event-stream", "text/html", "application/xml", "nonsense"])
def test_answers_are_json_whatever_the_client_says_it_accepts(alice: Person, accept: str) -> None:
    response = Client().get("/api/v1/conversations", headers={**alice.headers, "Accept": accept})
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"


def test_addresses_work_with_and_without_a_slash_at_the_end(alice: Person) -> None:
    assert alice.get("conversations").status_code == 200
    assert alice.get("conversations/").status_code == 200
    assert alice.post("conversations/", {}).status_code == 201


# --- Hosts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "no host", "a" * 300])
@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/conversations",
        "/api/v1/conversations?limit=0",
        "/api/v1/wallet",
        "/api/v1/llm/models",
        "/api/v1/nothing",
        "/api/schema/",
        "/v1/models",
    ],
)
def test_a_host_that_is_none_of_ours_is_refused_everywhere(alice: Person, host: str, path: str) -> None:
    response = Client().get(path, headers={**alice.headers, "Host": host})
    assert error_of(response, 400, "unknown_host")["message"] == "This is not a host name of this server."
    assert response.headers["Content-Type"] == "application/json"
    assert host not in response.content.decode()


def test_outside_the_api_a_page_says_so(db: None) -> None:
    """Django's own, as browsers expect it."""
    response = Client().get("/admin/login/", headers={"Host": "evil.example"})
    assert (response.status_code, response.headers["Content-Type"]) == (400, "text/html; charset=utf-8")


def test_a_host_that_is_none_of_ours_is_refused_by_a_server(api: Api, alice: Person) -> None:
    headers = {**alice.headers, "Host": "evil.example"}
    error_of(httpx2.get(f"{api.url}/api/v1/conversations", headers=headers), 400, "unknown_host")
    chat = make_conversation(alice)
    path = f"{api.url}/api/v1/conversations/{chat.pk}/messages"
    error_of(httpx2.post(path, json={"content": "Hello"}, headers=headers), 400, "unknown_host")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(SuspiciousOperation("secret"), 400, "bad_request"), (PermissionDenied("secret"), 403, "permission_denied")],
)
def test_what_django_itself_refuses(rf: Any, error: Exception, status: int, code: str) -> None:
    """JSON where programs call, a page where people look."""
    handler = get_resolver().resolve_error_handler(status)
    for path in ("/api/v1/conversations", "/v1/models"):
        request = rf.get(path)
        request.request_id = "r-1"
        response = handler(request, exception=error)
        told = json.loads(response.content)["error"]
        assert (response.status_code, told["code"], told["request_id"]) == (status, code, "r-1")
        assert "secret" not in told["message"]
    page = handler(rf.get("/admin/"), exception=error)
    assert (page.status_code, page.headers["Content-Type"]) == (status, "text/html; charset=utf-8")


def test_too_many_parameters_to_read(alice: Person) -> None:
    response = Client().get("/api/v1/conversations?" + "a=1&" * 1001, headers=alice.headers)
    error_of(response, 400, "bad_request")


# --- As a server sees it --------------------------------------------------------------------------------------------


def test_a_body_that_is_too_large_for_the_server(api: Api, alice: Person, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    chat = make_conversation(alice)
    error_of(api.post(alice, "conversations", {"context": "x" * 1000}), 413, "request_too_large")
    error_of(api.ask(alice, chat, "x" * 1000), 413, "request_too_large")
    assert api.post(alice, "conversations", {"context": "x" * 900}).status_code == 201


def test_a_body_sent_in_chunks_is_read(api: Api, alice: Person, settings: Any) -> None:
    """Without a Content-Length, as clients do that stream what they send."""

    def send(*parts: bytes) -> httpx2.Response:
        headers = {**alice.headers, "Content-Type": "application/json"}
        return httpx2.post(f"{api.url}/api/v1/conversations", content=iter(parts), headers=headers)

    assert send(b'{"title": ', b'"In parts"}').json()["title"] == "In parts"
    error_of(send(b'{"title": ', b"1e999}"), 400, "bad_request")
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    error_of(send(b'{"context": "', b"x" * 1000, b'"}'), 413, "request_too_large")


def test_an_error_of_an_asynchronous_endpoint(api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = make_conversation(alice)
    monkeypatch.setattr("conversations.chat.admit", Mock(side_effect=RuntimeError("secret")))
    error = error_of(api.ask(alice, chat), 500, "internal_error")
    assert "secret" not in error["message"]
    monkeypatch.setattr("conversations.chat.admit", Mock(side_effect=OperationalError("secret")))
    error_of(api.ask(alice, chat), 503, "database_unavailable")
