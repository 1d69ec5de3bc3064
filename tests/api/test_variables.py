"""/user-variables and /workspaces/{id}/variables: settings that can be read, and secrets that can't."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.api.asking import assert_invalid, error_of
from tests.people import Cast, Person, join
from workspaces import variables
from workspaces.models import AccessToken, Membership, User, UserVariable, Workspace

SECRET = "hunter2-hunter2-wxyz"
KINDS = ["user", "workspace"]


def path(person: Person, kind: str) -> str:
    return "user-variables" if kind == "user" else f"workspaces/{person.workspace.pk}/variables"


def owner(person: Person, kind: str) -> User | Workspace:
    return person.user if kind == "user" else person.workspace


def stored(pk: str) -> UserVariable:
    return UserVariable.objects.get(pk=pk)


def text(moment: Any) -> str:
    return str(moment.isoformat().replace("+00:00", "Z"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("category", ["general", "secret"])
def test_create_and_show(alice: Person, kind: str, category: str) -> None:
    ends = text(timezone.now() + timedelta(days=1))
    body = {"category": category, "name": "WEBHOOK", "value": SECRET, "expires_at": ends, "is_active": False}
    response = alice.post(path(alice, kind), body)
    assert response.status_code == 201, response.content
    row = stored(response.json()["id"])
    assert response.json() == {
        "id": str(row.pk),
        "category": category,
        "name": "WEBHOOK",
        "value": SECRET if category == "general" else None,
        "masked": "••••wxyz",
        "is_active": False,
        "expires_at": ends,
        "created_at": text(row.created_at),
        "updated_at": text(row.updated_at),
    }
    assert row.get_value() == SECRET
    assert SECRET.encode() not in bytes(row.ciphertext)
    assert (row.user, row.workspace) == ((alice.user, None) if kind == "user" else (None, alice.workspace))
    assert alice.get(f"{path(alice, kind)}/{row.pk}").json() == response.json()
    assert alice.get(path(alice, kind)).json()["results"] == [response.json()]


def test_the_end_of_a_short_value_is_not_shown(alice: Person) -> None:
    for value in ("x", "x" * 11):
        answer = alice.post("user-variables", {"category": "secret", "name": value, "value": value}).json()
        assert answer["masked"] == "••••"


def test_a_value_is_kept_as_it_was_sent(alice: Person) -> None:
    for number, value in enumerate((" spaces ", "line\nbreak", "🔑", "x" * 10_000)):
        response = alice.post("user-variables", {"category": "general", "name": str(number), "value": value})
        assert response.json()["value"] == value


@pytest.mark.parametrize("kind", KINDS)
def test_change(alice: Person, kind: str) -> None:
    pk = alice.post(path(alice, kind), {"category": "general", "name": "A", "value": "one"}).json()["id"]
    one = f"{path(alice, kind)}/{pk}"
    assert alice.patch(one, {"value": "another-value"}).json()["value"] == "another-value"
    assert stored(pk).hint == "alue"
    ciphertext = bytes(stored(pk).ciphertext)
    ends = text(timezone.now() + timedelta(days=1))
    answer = alice.patch(one, {"is_active": False, "expires_at": ends}).json()
    assert (answer["is_active"], answer["expires_at"], answer["value"]) == (False, ends, "another-value")
    assert bytes(stored(pk).ciphertext) == ciphertext
    assert alice.patch(one, {"expires_at": None}).json()["expires_at"] is None
    assert alice.patch(one, {"name": "A", "category": "general", "is_active": True}).json()["is_active"] is True
    error_of(alice.put(one, {}), 405, "method_not_allowed")
    assert alice.delete(one).status_code == 204
    error_of(alice.get(one), 404, "not_found")


def test_a_secret_does_not_become_readable(alice: Person) -> None:
    pk = alice.post("user-variables", {"category": "secret", "name": "A", "value": SECRET}).json()["id"]
    assert_invalid(alice.patch(f"user-variables/{pk}", {"category": "general"}), "category")
    assert_invalid(alice.patch(f"user-variables/{pk}", {"name": "B"}), "name")
    answer = alice.patch(f"user-variables/{pk}", {"value": "new-" + SECRET})
    assert answer.json()["value"] is None
    assert stored(pk).get_value() == "new-" + SECRET
    for page in (answer, alice.get("user-variables"), alice.get(f"user-variables/{pk}")):
        assert SECRET not in page.content.decode()


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_is_there_once_in_each_category(cast: Cast, kind: str) -> None:
    alice = cast.alice
    body = {"category": "general", "name": "A", "value": "one"}
    assert alice.post(path(alice, kind), body).status_code == 201
    error = error_of(alice.post(path(alice, kind), {**body, "value": "two"}), 409, "variable_exists")
    assert error["message"] == "There is a variable “A” in this category already; change it."
    assert [row["value"] for row in alice.get(path(alice, kind)).json()["results"]] == ["one"]
    assert alice.post(path(alice, kind), {**body, "category": "secret"}).status_code == 201
    for other in (path(alice, "workspace" if kind == "user" else "user"),):
        assert alice.post(other, body).status_code == 201
    assert cast.charlie.post(path(cast.charlie, kind), body).status_code == 201


def test_filters(alice: Person) -> None:
    for category in ("general", "secret"):
        for name in ("A", "B"):
            alice.post("user-variables", {"category": category, "name": name, "value": "x", "is_active": name == "A"})
    variables.set_secret(owner=alice.user, category="api_key", name="openai", value="sk-own")

    def names(**query: str) -> list[str]:
        response = alice.get("user-variables", **query)
        return [f"{row['category']} {row['name']}" for row in response.json()["results"]]

    assert names(category="secret") == ["secret B", "secret A"]
    assert names(category="api_key") == ["api_key openai"]
    assert names(name="A") == ["secret A", "general A"]
    assert names(is_active="false") == ["secret B", "general B"]
    assert len(names()) == 5
    assert_invalid(alice.get("user-variables", category="nothing"), "category")


@pytest.mark.parametrize("kind", KINDS)
def test_provider_keys_are_listed_here_and_kept_elsewhere(alice: Person, kind: str) -> None:
    key, _ = variables.set_secret(owner=owner(alice, kind), category="api_key", name="openai", value=SECRET)
    one = f"{path(alice, kind)}/{key.pk}"
    row = alice.get(one).json()
    assert (row["category"], row["name"], row["value"], row["masked"]) == ("api_key", "openai", None, "••••wxyz")
    new = {"category": "api_key", "name": "grok", "value": SECRET}
    for response in (alice.post(path(alice, kind), new), alice.patch(one, {"value": "x"}), alice.delete(one)):
        assert "api-keys" in error_of(response, 422, "provider_key")["message"]
    assert [variable.get_value() for variable in UserVariable.objects.all()] == [SECRET]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("category", "nothing"),
        ("category", None),
        ("name", ""),
        ("name", " "),
        ("name", None),
        ("name", "x" * 101),
        ("value", ""),
        ("value", None),
        ("value", True),
        ("value", ["x"]),
        ("value", "x" * 10_001),
        ("is_active", "maybe"),
        ("expires_at", "2020-01-01T00:00:00Z"),
        ("expires_at", "soon"),
        ("masked", "x"),
        ("ciphertext", "x"),
        ("user", "x"),
        ("workspace", "x"),
        ("hint", "x"),
    ],
)
def test_a_wrong_value_is_refused_by_field(alice: Person, field: str, value: Any) -> None:
    body = {"category": "general", "name": "A", "value": "one"}
    assert_invalid(alice.post("user-variables", {**body, field: value}), field)
    assert not UserVariable.objects.exists()
    pk = alice.post("user-variables", body).json()["id"]
    before = UserVariable.objects.values().get()
    assert_invalid(alice.patch(f"user-variables/{pk}", {field: value}), field)
    assert UserVariable.objects.values().get() == before


def test_what_is_needed(alice: Person) -> None:
    assert_invalid(alice.post("user-variables", {}), "category", "name", "value")


def test_a_value_whose_master_key_is_gone_is_not_shown_and_can_be_set_again(alice: Person, settings: Any) -> None:
    pk = alice.post("user-variables", {"category": "general", "name": "A", "value": "one"}).json()["id"]
    settings.MASTER_KEYS = ["other:" + "x" * 32]
    assert alice.get(f"user-variables/{pk}").json()["value"] is None
    assert alice.patch(f"user-variables/{pk}", {"value": "two"}).json()["value"] == "two"


# --- Who ----------------------------------------------------------------------------------------------------------------


def test_everybody_keeps_their_own(cast: Cast, victor: Person) -> None:
    pk = cast.alice.post("user-variables", {"category": "general", "name": "A", "value": "one"}).json()["id"]
    for person in (cast.bob, victor, cast.charlie):
        one = f"user-variables/{pk}"
        for response in (person.get(one), person.patch(one, {"value": "x"}), person.delete(one)):
            error_of(response, 404, "not_found")
        assert person.get("user-variables").json()["results"] == []
        assert person.post("user-variables", {"category": "general", "name": "A", "value": "own"}).status_code == 201
    assert stored(pk).get_value() == "one"


def test_a_persons_variables_are_the_same_in_all_their_workspaces(cast: Cast) -> None:
    elsewhere = join(cast.charlie.workspace, "alice", Membership.Role.VIEWER)
    cast.alice.post("user-variables", {"category": "general", "name": "A", "value": "one"})
    assert elsewhere.get("user-variables").json() == cast.alice.get("user-variables").json()


def test_the_workspaces_are_for_its_admins(cast: Cast, dora: Person, victor: Person) -> None:
    all_of_them = path(cast.alice, "workspace")
    body = {"category": "general", "name": "A", "value": "one"}
    pk = dora.post(all_of_them, body).json()["id"]
    assert cast.alice.patch(f"{all_of_them}/{pk}", {"value": "two"}).status_code == 200
    for person, status, code in (
        (cast.bob, 403, "permission_denied"),
        (victor, 403, "permission_denied"),
        (cast.charlie, 404, "not_found"),
    ):
        for response in (
            person.get(all_of_them),
            person.post(all_of_them, {**body, "name": "B"}),
            person.post(all_of_them, {}),
            person.get(f"{all_of_them}/{pk}"),
            person.patch(f"{all_of_them}/{pk}", {"value": "x"}),
            person.delete(f"{all_of_them}/{pk}"),
        ):
            error_of(response, status, code)
    assert stored(pk).get_value() == "two"
    assert UserVariable.objects.count() == 1


def test_one_owners_address_does_not_open_anothers_variable(alice: Person) -> None:
    own, of_workspace = (
        variables.create(owner=owner(alice, kind), category="general", name="A", value="x") for kind in KINDS
    )
    error_of(alice.get(f"user-variables/{of_workspace.pk}"), 404, "not_found")
    error_of(alice.get(f"{path(alice, 'workspace')}/{own.pk}"), 404, "not_found")


@pytest.mark.parametrize(("kind", "scope"), [("user", "keys"), ("workspace", "admin")])
def test_the_scope_that_it_takes(alice: Person, kind: str, scope: str) -> None:
    body = {"category": "general", "name": "A", "value": "one"}
    tokens = AccessToken.objects.filter(user=alice.user)
    tokens.update(scopes=[other for other in ("chat", "read", "billing", "keys", "admin") if other != scope])
    for response in (alice.get(path(alice, kind)), alice.post(path(alice, kind), body)):
        assert error_of(response, 403, "scope_missing")["details"] == {"scopes": [scope]}
    tokens.update(scopes=[scope])
    assert alice.post(path(alice, kind), body).status_code == 201
    assert alice.get(path(alice, kind)).status_code == 200


def test_the_list_takes_three_queries_however_long(alice: Person, django_assert_num_queries: Any) -> None:
    alice.get("user-variables")
    for count in (1, 20):
        for number in range(count):
            variables.create(owner=alice.user, category="general", name=f"{count} {number}", value="x")
        with django_assert_num_queries(3):  # token, membership, variables
            alice.get("user-variables")
