"""/workspaces/{id}/members: who belongs to a workspace, and in which role."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.asking import assert_invalid, error_of
from tests.people import Cast, Person, join
from workspaces.models import Membership, User, Workspace


def members(person: Person) -> str:
    return f"workspaces/{person.workspace.pk}/members"


def member(person: Person) -> str:
    return f"{members(person)}/{person.membership.pk}"


def role_of(person: Person) -> str:
    return Membership.objects.get(pk=person.membership.pk).role


def test_everybody_sees_the_members(cast: Cast, victor: Person) -> None:
    for person in (cast.alice, cast.bob, victor):
        rows = person.get(members(cast.alice)).json()["results"]
        assert [(row["email"], row["role"]) for row in rows] == [
            ("victor@example.org", "viewer"),
            ("bob@example.org", "member"),
            ("alice@example.org", "owner"),
        ]
    assert cast.alice.get(member(cast.bob)).json() == {
        "id": str(cast.bob.membership.pk),
        "user": str(cast.bob.user.pk),
        "email": "bob@example.org",
        "name": "Bob",
        "role": "member",
        "created_at": cast.bob.membership.created_at.isoformat().replace("+00:00", "Z"),
    }


@pytest.mark.parametrize("role", ["alice", "dora"])
def test_owners_and_admins_add_members(request: pytest.FixtureRequest, role: str) -> None:
    person: Person = request.getfixturevalue(role)
    response = person.post(members(person), {"email": "Erin@Example.org", "role": "viewer"})
    assert response.status_code == 201, response.content
    assert (response.json()["email"], response.json()["role"]) == ("erin@example.org", "viewer")
    erin = User.objects.get(email="erin@example.org")
    assert not erin.has_usable_password()
    assert Membership.objects.get(user=erin).workspace == person.workspace


def test_a_person_who_is_known_keeps_the_account(cast: Cast) -> None:
    response = cast.alice.post(members(cast.alice), {"email": "CHARLIE@example.org"})
    assert (response.status_code, response.json()["role"]) == (201, "member")
    assert response.json()["user"] == str(cast.charlie.user.pk)
    assert User.objects.filter(email__iexact="charlie@example.org").count() == 1


def test_members_and_viewers_add_nobody(bob: Person, victor: Person) -> None:
    for person in (bob, victor):
        error_of(person.post(members(person), {"email": "erin@example.org"}), 403, "permission_denied")
    assert not User.objects.filter(email="erin@example.org").exists()


def test_nobody_is_a_member_twice(alice: Person, bob: Person) -> None:
    error_of(alice.post(members(alice), {"email": "bob@EXAMPLE.org", "role": "admin"}), 409, "already_member")
    assert role_of(bob) == "member"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "nonsense"),
        ("email", ""),
        ("email", None),
        ("email", 5),
        ("email", "x" * 250 + "@example.org"),
        ("email", ["erin@example.org"]),
        ("role", "king"),
        ("role", ""),
        ("role", None),
        ("role", ["owner"]),
        ("user", "x"),
        ("id", "x"),
        ("name", "x"),
        ("is_superuser", True),
        ("workspace", "x"),
    ],
)
def test_a_wrong_value_is_refused_by_field(alice: Person, field: str, value: Any) -> None:
    assert_invalid(alice.post(members(alice), {"email": "erin@example.org", field: value}), field)
    assert not User.objects.filter(email="erin@example.org").exists()


def test_an_address_is_needed(alice: Person) -> None:
    assert_invalid(alice.post(members(alice), {}), "email")


def test_an_individual_workspace_has_one_member(charlie: Person) -> None:
    Workspace.objects.filter(pk=charlie.workspace.pk).update(kind=Workspace.Kind.INDIVIDUAL)
    error_of(charlie.post(members(charlie), {"email": "erin@example.org"}), 422, "individual_workspace")
    assert not User.objects.filter(email="erin@example.org").exists()


def test_an_admin_can_not_make_an_owner_or_change_one(alice: Person, bob: Person, dora: Person) -> None:
    error_of(dora.post(members(dora), {"email": "erin@example.org", "role": "owner"}), 403, "permission_denied")
    assert not User.objects.filter(email="erin@example.org").exists()
    for target in (bob, dora):
        error_of(dora.patch(member(target), {"role": "owner"}), 403, "permission_denied")
    error_of(dora.patch(member(alice), {"role": "member"}), 403, "permission_denied")
    error_of(dora.delete(member(alice)), 403, "permission_denied")
    assert (role_of(alice), role_of(bob), role_of(dora)) == ("owner", "member", "admin")


def test_an_admin_changes_other_roles(bob: Person, dora: Person) -> None:
    assert dora.patch(member(bob), {"role": "viewer"}).json()["role"] == "viewer"
    error_of(bob.post("conversations", {}), 403, "permission_denied")


def test_an_owner_makes_another_and_may_go_then(alice: Person, bob: Person) -> None:
    for response in (alice.patch(member(alice), {"role": "admin"}), alice.delete(member(alice))):
        error_of(response, 409, "last_owner")
    assert alice.patch(member(bob), {"role": "owner"}).json()["role"] == "owner"
    assert alice.patch(member(alice), {"role": "viewer"}).json()["role"] == "viewer"
    error_of(bob.delete(member(bob)), 409, "last_owner")
    assert role_of(bob) == "owner"


def test_the_last_owner_may_say_owner_again(alice: Person) -> None:
    assert alice.patch(member(alice), {"role": "owner"}).status_code == 200


def test_members_and_viewers_change_nobody(alice: Person, bob: Person, victor: Person) -> None:
    for person, other in ((bob, victor), (victor, bob)):
        for target in (person, other, alice):
            error_of(person.patch(member(target), {"role": "viewer"}), 403, "permission_denied")
        error_of(person.delete(member(other)), 403, "permission_denied")
        error_of(person.delete(member(alice)), 403, "permission_denied")


@pytest.mark.parametrize("role", ["bob", "victor", "dora"])
def test_everybody_may_leave(request: pytest.FixtureRequest, role: str) -> None:
    person: Person = request.getfixturevalue(role)
    assert person.delete(member(person)).status_code == 204
    error_of(person.get("workspaces"), 401, "not_authenticated")


def test_a_removed_members_token_stays_dead_when_they_come_back(alice: Person, bob: Person) -> None:
    assert alice.delete(member(bob)).status_code == 204
    assert alice.post(members(alice), {"email": bob.user.email}).status_code == 201
    error_of(bob.get("workspaces"), 401, "not_authenticated")


def test_leaving_one_workspace_keeps_the_tokens_of_another(cast: Cast) -> None:
    elsewhere = join(cast.charlie.workspace, "bob", Membership.Role.MEMBER)
    assert cast.alice.delete(member(cast.bob)).status_code == 204
    assert elsewhere.get("workspaces").status_code == 200


def test_the_person_of_a_membership_does_not_change(alice: Person, bob: Person) -> None:
    assert_invalid(alice.patch(member(bob), {"email": "erin@example.org"}), "email")
    assert_invalid(alice.patch(member(bob), {"user": str(alice.user.pk)}), "user")
    error_of(alice.put(member(bob), {"role": "admin"}), 405, "method_not_allowed")


def test_a_member_of_another_workspace_is_not_found_here(cast: Cast) -> None:
    path = f"{members(cast.alice)}/{cast.charlie.membership.pk}"
    for response in (cast.alice.get(path), cast.alice.patch(path, {"role": "viewer"}), cast.alice.delete(path)):
        error_of(response, 404, "not_found")
    assert role_of(cast.charlie) == "owner"


def test_the_list_takes_four_queries_however_long(alice: Person, django_assert_num_queries: Any) -> None:
    alice.get(members(alice))
    for count in (1, 20):
        for n in range(count):
            join(alice.workspace, f"member-{count}-{n}", Membership.Role.MEMBER)
        with django_assert_num_queries(4):  # token, membership, workspace, members
            alice.get(members(alice))
