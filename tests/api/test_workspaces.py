"""/workspaces: the token's workspace and its rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest
from django.db.models.signals import pre_save
from rest_framework.validators import UniqueValidator

from billing.models import Wallet
from llm.models import LLM
from synapscale.common.errors import Conflict
from tests.api.asking import assert_invalid, error_of
from tests.catalogue import make_llm
from tests.people import Cast, Person, join
from workspaces.models import AccessToken, Membership, Workspace


def path(person: Person) -> str:
    return f"workspaces/{person.workspace.pk}"


def test_show(alice: Person, bob: Person, victor: Person) -> None:
    workspace = alice.workspace
    expected = {
        "id": str(workspace.pk),
        "name": "Acme",
        "slug": "acme",
        "kind": "collaborative",
        "status": "active",
        "allowed_models": [],
        "default_model": "",
        "fallback_models": [],
        "max_tokens_cap": None,
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "keeps_api_content": True,
        "exports_feedback_content": False,
        "feedback_alert_email": "",
        "tags_automatically": True,
        "autotag_threshold": "0.800",
        "created_at": workspace.created_at.isoformat().replace("+00:00", "Z"),
    }
    for person in (alice, bob, victor):
        assert person.get(path(alice)).json() == expected
        assert person.get("workspaces").json()["results"] == [expected]


def test_a_token_shows_its_own_workspace_only(cast: Cast) -> None:
    """Alice is in Charlie's workspace too, but this token is for hers."""
    elsewhere = join(cast.charlie.workspace, "alice", Membership.Role.MEMBER)
    assert [row["slug"] for row in cast.alice.get("workspaces").json()["results"]] == ["acme"]
    error_of(cast.alice.get(path(cast.charlie)), 404, "not_found")
    assert elsewhere.get(path(cast.charlie)).status_code == 200


@pytest.mark.parametrize("role", ["alice", "dora"])
def test_owners_and_admins_change_the_rules(request: pytest.FixtureRequest, llm: LLM, role: str) -> None:
    person: Person = request.getfixturevalue(role)
    rules = {
        "name": "Acme Ltd",
        "allowed_models": ["openai/openai-test"],
        "default_model": "openai/openai-test",
        "fallback_models": ["openai/openai-test"],
        "max_tokens_cap": 1000,
        "requests_per_minute": 60,
        "tokens_per_minute": 90_000,
        "keeps_api_content": False,
        "exports_feedback_content": True,
        "feedback_alert_email": "quality@example.org",
        "tags_automatically": False,
        "autotag_threshold": "0.950",
    }
    response = person.patch(path(person), rules)
    assert response.status_code == 200, response.content
    assert rules.items() <= response.json().items()
    assert rules.items() <= person.get(path(person)).json().items()
    loosened = {
        "allowed_models": [], "default_model": "", "fallback_models": [], "max_tokens_cap": None,
        "requests_per_minute": None, "tokens_per_minute": None, "feedback_alert_email": "",
    }  # fmt: skip
    assert loosened.items() <= person.patch(path(person), loosened).json().items()


def test_members_and_viewers_do_not(bob: Person, victor: Person) -> None:
    for person in (bob, victor):
        error_of(person.patch(path(person), {"name": "Mine"}), 403, "permission_denied")


def test_workspaces_are_neither_replaced_nor_deleted(alice: Person) -> None:
    error_of(alice.delete(path(alice)), 405, "method_not_allowed")
    error_of(alice.put(path(alice), {"name": "New"}), 405, "method_not_allowed")


# --- A new one ------------------------------------------------------------------------------------------------------

NEW = {"name": "Side project", "slug": "side-project", "kind": "collaborative"}


@pytest.mark.parametrize("role", ["alice", "dora", "bob", "victor"])
def test_whoever_makes_a_workspace_owns_it(request: pytest.FixtureRequest, role: str) -> None:
    """Whatever they may do in the workspace of their token."""
    person: Person = request.getfixturevalue(role)
    response = person.post("workspaces", NEW)
    assert response.status_code == 201, response.content
    made = Workspace.objects.get(slug="side-project")
    assert response.json() == {
        "id": str(made.pk),
        **NEW,
        "status": "active",
        "allowed_models": [],
        "default_model": "",
        "fallback_models": [],
        "max_tokens_cap": None,
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "keeps_api_content": True,
        "exports_feedback_content": False,
        "feedback_alert_email": "",
        "tags_automatically": True,
        "autotag_threshold": "0.800",
        "created_at": made.created_at.isoformat().replace("+00:00", "Z"),
        "notice": "A token is of one workspace: get one for “side-project” to work in it.",
    }
    membership = Membership.objects.get(workspace=made)
    assert (membership.user, membership.role) == (person.user, "owner")
    wallet = Wallet.objects.get(workspace=made)
    assert (wallet.mode, wallet.balance, wallet.credit_limit) == ("prepaid", 0, 0)
    assert not AccessToken.objects.filter(workspace=made).exists()


def test_the_token_stays_one_of_its_own_workspace(alice: Person) -> None:
    made = alice.post("workspaces", NEW).json()
    assert [row["slug"] for row in alice.get("workspaces").json()["results"]] == ["acme"]
    error_of(alice.get(f"workspaces/{made['id']}"), 404, "not_found")
    _, raw = AccessToken.issue(user=alice.user, workspace=Workspace.objects.get(slug="side-project"), name="New")
    there = replace(alice, token=raw)
    assert [row["slug"] for row in there.get("workspaces").json()["results"]] == ["side-project"]
    assert there.patch(f"workspaces/{made['id']}", {"name": "Main project"}).status_code == 200


def test_it_is_individual_unless_said_otherwise(alice: Person) -> None:
    made = alice.post("workspaces", {"name": "Mine", "slug": "mine"}).json()
    assert made["kind"] == "individual"


def test_a_slug_is_given_once(cast: Cast) -> None:
    for taken in ("acme", "rival"):
        response = cast.alice.post("workspaces", {**NEW, "slug": taken})
        assert_invalid(response, "slug")
    assert Workspace.objects.count() == 2


def test_two_who_want_the_same_slug_at_once(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second has looked and found it free."""
    monkeypatch.setattr(UniqueValidator, "__call__", lambda *_: None)
    error = error_of(alice.post("workspaces", {**NEW, "slug": "acme"}), 409, "slug_taken")
    assert set(error["details"]) == {"slug"}
    assert Workspace.objects.filter(slug="acme").count() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", None),
        ("name", 5),
        ("name", "x" * 151),
        ("slug", ""),
        ("slug", None),
        ("slug", 5),
        ("slug", "two words"),
        ("slug", "Upper"),
        ("slug", "é"),
        ("slug", "x" * 81),
        ("kind", "secret"),
        ("kind", None),
        ("status", "active"),
        ("allowed_models", []),
        ("default_model", "openai/openai-test"),
        ("balance", "100"),
        ("wallet", {}),
        ("owner", "x"),
        ("id", "01890000-0000-7000-8000-000000000000"),
    ],
)
def test_a_new_one_with_a_wrong_value_is_refused_by_field(alice: Person, field: str, value: Any) -> None:
    assert_invalid(alice.post("workspaces", {**NEW, field: value}), field)
    assert {workspace.slug for workspace in Workspace.objects.all()} == {"acme", "rival"}


def test_what_a_new_one_needs(alice: Person) -> None:
    assert_invalid(alice.post("workspaces", {}), "name", "slug")


def test_one_without_a_wallet_or_an_owner_is_never_left(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Membership.objects, "create", Mock(side_effect=Conflict("no")))
    error_of(alice.post("workspaces", NEW), 409, "conflict")
    assert not Workspace.objects.filter(slug="side-project").exists()


# --- Rules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", None),
        ("name", 5),
        ("allowed_models", [5]),
        ("keeps_api_content", 1),
        ("name", "x" * 151),
        ("slug", "other"),
        ("kind", "individual"),
        ("status", "active"),
        ("id", "x"),
        ("created_at", "2020-01-01T00:00:00Z"),
        ("members", []),
        ("balance", "100"),
        ("allowed_models", None),
        ("allowed_models", "openai/openai-test"),
        ("allowed_models", ["openai/nothing"]),
        ("allowed_models", [{}]),
        ("allowed_models", [""]),
        ("default_model", "openai/nothing"),
        ("default_model", None),
        ("default_model", "x" * 201),
        ("fallback_models", None),
        ("fallback_models", "openai/openai-test"),
        ("fallback_models", ["openai/nothing"]),
        ("fallback_models", ["openai/openai-test", "openai/openai-test"]),
        ("fallback_models", ["openai/openai-test"] * 11),
        ("requests_per_minute", 0),
        ("requests_per_minute", "60"),
        ("requests_per_minute", True),
        ("requests_per_minute", 2**31),
        ("tokens_per_minute", 0),
        ("tokens_per_minute", 1.5),
        ("max_tokens_cap", 0),
        ("max_tokens_cap", -1),
        ("max_tokens_cap", 1.5),
        ("max_tokens_cap", "100"),
        ("max_tokens_cap", True),
        ("max_tokens_cap", 2**31),
        ("keeps_api_content", "maybe"),
    ],
)
def test_a_wrong_value_is_refused_by_field(alice: Person, llm: LLM, field: str, value: Any) -> None:
    before = Workspace.objects.filter(pk=alice.workspace.pk).values().get()
    assert_invalid(alice.patch(path(alice), {field: value}), field)
    assert Workspace.objects.filter(pk=alice.workspace.pk).values().get() == before


def test_an_unknown_model_is_named(alice: Person, llm: LLM) -> None:
    response = alice.patch(path(alice), {"allowed_models": ["openai/openai-test", "openai/gone"]})
    assert response.json()["error"]["details"]["allowed_models"] == ["There is no model “openai/gone”."]
    response = alice.patch(path(alice), {"default_model": "openai/gone"})
    assert response.json()["error"]["details"]["default_model"] == ["There is no model “openai/gone”."]


def test_the_default_model_must_be_allowed(alice: Person, llm: LLM) -> None:
    other = str(make_llm("anthropic"))
    rules = {"allowed_models": [str(llm)], "default_model": other}
    assert_invalid(alice.patch(path(alice), rules), "default_model")
    assert alice.patch(path(alice), {"default_model": other}).status_code == 200
    assert_invalid(alice.patch(path(alice), {"allowed_models": [str(llm)]}), "default_model")
    assert alice.patch(path(alice), {"allowed_models": [str(llm)], "default_model": ""}).status_code == 200


def test_fallback_models_must_be_allowed_and_keep_their_order(alice: Person, llm: LLM) -> None:
    other, third = str(make_llm("anthropic")), str(make_llm("google"))
    both = {"allowed_models": [str(llm), other], "fallback_models": [other, str(llm)]}
    assert both.items() <= alice.patch(path(alice), both).json().items()
    response = alice.patch(path(alice), {"fallback_models": [third, other]})
    assert_invalid(response, "fallback_models")
    assert response.json()["error"]["details"]["fallback_models"] == [f"“{third}” is not one of the allowed models."]
    assert_invalid(alice.patch(path(alice), {"allowed_models": [str(llm)]}), "fallback_models")
    wrong = {"allowed_models": [third], "default_model": str(llm)}
    assert_invalid(alice.patch(path(alice), wrong), "default_model", "fallback_models")
    assert alice.patch(path(alice), {"allowed_models": [], "fallback_models": [third]}).status_code == 200


def test_a_change_leaves_alone_what_an_operator_changes_at_the_same_moment(alice: Person) -> None:
    def suspend(sender: Any, instance: Workspace, **kwargs: Any) -> None:
        pre_save.disconnect(suspend, sender=Workspace)
        Workspace.objects.filter(pk=instance.pk).update(status=Workspace.Status.SUSPENDED)

    pre_save.connect(suspend, sender=Workspace, weak=False)
    assert alice.patch(path(alice), {"name": "Acme Ltd"}).status_code == 200
    stored = Workspace.objects.get(pk=alice.workspace.pk)
    assert (stored.name, stored.status) == ("Acme Ltd", "suspended")


def test_queries(alice: Person, django_assert_num_queries: Any) -> None:
    alice.get("workspaces")
    with django_assert_num_queries(3):
        alice.get(path(alice))
    with django_assert_num_queries(3):
        alice.get("workspaces")


@pytest.mark.parametrize("address", ["nobody", "a@b.c, d@e.f", "a@b.c\nBcc: d@e.f", None, 5])
def test_the_address_for_alerts_is_one_address(alice: Person, address: Any) -> None:
    assert_invalid(alice.patch(path(alice), {"feedback_alert_email": address}), "feedback_alert_email")
