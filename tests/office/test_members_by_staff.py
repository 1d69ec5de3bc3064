"""Who of the staff makes somebody a member of a customer's workspace, themselves too: operators alone, and it is noted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.admin.rows import Office
from tests.admin.test_people_and_secrets import formset, members_of
from tests.audited import entries
from tests.office.test_roles import office_of
from tests.people import Cast
from workspaces.models import Membership, User

pytestmark = pytest.mark.django_db


def staff() -> User:
    return User.objects.get(is_staff=True)


def noted() -> list[tuple[str, dict[str, Any]]]:
    """What became of memberships, and the fields before and after; each by whoever is of the staff."""
    found = entries(kind=Membership)
    assert {(entry.actor, entry.remote_addr) for entry in found} <= {(staff(), "127.0.0.1")}
    return [(entry.get_action_display(), {**(entry.changes or {})}) for entry in found]


def test_an_operator_who_joins_a_workspace_is_noted_from_beginning_to_end(cast: Cast) -> None:
    office, workspace = office_of("Operator"), cast.alice.workspace
    added = office.add(Membership, user=staff().pk, workspace=workspace.pk, role="viewer")
    assert added.status_code == 302
    membership = Membership.objects.get(user=staff())
    whose = {"user": ["None", str(staff().pk)], "workspace": ["None", str(workspace.pk)]}
    ((action, made),) = noted()
    assert (action, made) == ("create", {**made, **whose, "role": ["None", "viewer"]})
    assert office.save(membership, role="owner").status_code == 302
    assert noted()[1:] == [("update", {"role": ["viewer", "owner"]})]
    url = office.url(Membership, "delete", membership.pk)
    assert office.client.post(url, {"post": "yes"}).status_code == 302
    ((action, gone),) = noted()[2:]
    assert (action, gone) == ("delete", {**gone, "role": ["owner", "None"], **{n: v[::-1] for n, v in whose.items()}})


def test_an_operator_who_does_it_on_the_page_of_the_workspace(cast: Cast) -> None:
    office, workspace = office_of("Operator"), cast.alice.workspace
    new = formset("memberships-2", {"user": staff().pk, "workspace": workspace.pk, "role": "admin"})
    assert office.save(workspace, **members_of(cast, role="viewer"), **new).status_code == 302
    assert sorted((action, change["role"]) for action, change in noted()) == [
        ("create", ["None", "admin"]), ("update", ["member", "viewer"]),
    ]  # fmt: skip


@pytest.mark.parametrize("role", ["Finance", "Support", "Read-only"])
def test_nobody_else_of_the_staff_does(cast: Cast, role: str) -> None:
    _try_all(office_of(role), cast)


def test_staff_without_a_role_do_not(cast: Cast) -> None:
    _try_all(office_of(), cast)


def _try_all(office: Office, cast: Cast) -> None:
    workspace, bob = cast.alice.workspace, cast.bob.membership
    before = list(Membership.objects.order_by("pk").values())
    new = {"user": staff().pk, "workspace": workspace.pk, "role": "owner"}
    posts: list[tuple[str, dict[str, Any]]] = [
        (office.url(Membership, "add"), new),
        (office.url(Membership, "change", bob.pk), {"role": "owner"}),
        (office.url(Membership, "delete", bob.pk), {"post": "yes"}),
        (
            office.url(type(workspace), "change", workspace.pk),
            {"name": "A", "slug": "a", **members_of(cast, role="owner"), **formset("memberships-2", new)},
        ),
    ]
    assert [office.client.post(url, data).status_code for url, data in posts] == [403] * 4
    office.act(Membership, "delete_selected", bob)
    assert list(Membership.objects.order_by("pk").values()) == before
    assert noted() == []
