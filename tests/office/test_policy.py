"""Every page for a browser comes with the Content-Security-Policy; programs are not bothered with it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from workspaces.models import User

pytestmark = pytest.mark.django_db


def policy_of(response: Any) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in response["Content-Security-Policy"].split(";"))
    return {name: sources for name, _, sources in parts}


@pytest.fixture
def client() -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("root@example.org"))
    return client


@pytest.mark.parametrize(
    "path", ["/", "/admin/", "/admin/login/", "/admin/llm/llm/", "/admin/nothing/here/", "/api/docs/", "/nowhere"]
)
def test_a_page_runs_nothing_that_is_not_ours(client: Client, path: str) -> None:
    response = client.get(path)

    policy = policy_of(response)
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert re.fullmatch(r"'self'( 'nonce-[A-Za-z0-9+/=]+')?", policy["script-src"])
    assert policy["style-src"] == policy["script-src"]
    assert "unsafe" not in response["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]*\b(src|nonce)=)", response.text)
    assert not re.search(r"<style(?![^>]*\bnonce=)|\sstyle=\"|\son[a-z]+=\"", response.text)


def test_a_nonce_is_good_for_one_response(client: Client) -> None:
    first, second = (policy_of(client.get("/admin/"))["script-src"] for _ in range(2))

    assert "nonce" in first
    assert first != second


@pytest.mark.parametrize("path", ["/api/v1/llm/models", "/v1/models", "/healthz"])
def test_programs_get_no_policy(client: Client, path: str) -> None:
    assert "Content-Security-Policy" not in client.get(path)
