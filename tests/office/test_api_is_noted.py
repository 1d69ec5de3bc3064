"""What staff, and admins of a workspace, do through the API leaves the entry that the back office would leave; and what can
not be noted is not done.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from analytics.models import Alert, WebhookEndpoint
from tests.admin.conftest import full_log
from tests.analytics.alerting import fire, make_endpoint, make_rule
from tests.analytics.conftest import staff
from tests.analytics.reports import REPORTS, made
from tests.audited import changes, entries, notes
from tests.people import Cast, Person
from workspaces.models import AccessToken, User, Workspace

__all__ = ["full_log", "staff"]
pytestmark = pytest.mark.django_db


def test_an_alert_that_is_acknowledged(cast: Cast, staff: Person) -> None:
    """Once, whoever says it; by a workspace's owner as well."""
    for person in (staff, cast.alice):
        alert = fire(cast.alice.workspace)
        for _again in range(2):
            assert person.post(f"analytics/alerts/{alert.pk}/acknowledge").status_code == 200
        (entry,) = entries(alert)
        assert (entry.actor, entry.remote_addr, entry.changes) == (
            person.user, "127.0.0.1", {"state": ["firing", "acknowledged"]},
        )  # fmt: skip
        assert notes(alert) == ["Acknowledged."]


def test_a_rule_that_is_silenced(staff: Person) -> None:
    rule, until = make_rule(), timezone.now().replace(microsecond=0) + timedelta(hours=1)
    assert staff.patch(f"analytics/alert-rules/{rule.pk}", {"silenced_until": until.isoformat()}).status_code == 200
    assert (entries(rule)[-1].actor, changes(rule)) == (
        staff.user, {"silenced_until": ["None", f"{until:%Y-%m-%d %H:%M:%S}"]},
    )  # fmt: skip


def test_webhooks_of_operators(staff: Person) -> None:
    hook, _ = make_endpoint(None, "https://hooks.example.com/theirs")
    path = f"analytics/webhooks/{hook.pk}"
    assert staff.patch(path, {"is_active": False}).status_code == 200
    assert changes(hook) == {"is_active": ["True", "False"]}
    assert staff.delete(path).status_code == 204
    assert notes(hook) == ["Changed.", "Deleted."]


def test_reports_that_reach_beyond_their_workspace(cast: Cast, staff: Person) -> None:
    """From when they do until they do no more; those of a workspace on itself are its own affair."""
    report = made(staff, name="All")
    (path, key), narrow = (f"{REPORTS}/{report['id']}", report["id"]), {"workspace": staff.workspace.slug}
    assert staff.patch(path, {"hour": 7}).status_code == 200
    assert staff.patch(path, {"definition": narrow}).status_code == 200
    assert staff.patch(path, {"hour": 8}).status_code == 200
    assert staff.patch(path, {"definition": {}}).status_code == 200
    assert staff.delete(path).status_code == 204
    found = [entry for entry in entries() if entry.object_pk == key]
    said = [[*(entry.changes or {})] for entry in found[1:4]]
    assert said == [["hour"], ["definition", "is_for_staff"], ["definition", "is_for_staff"]]
    assert [entry.get_action_display() for entry in found] == ["create", "update", "update", "update", "delete"]
    assert {(entry.actor, entry.remote_addr) for entry in found} == {(staff.user, "127.0.0.1")}
    own = made(cast.alice, name="Own")
    assert cast.alice.patch(f"{REPORTS}/{own['id']}", {"hour": 7}).status_code == 200
    assert not [entry for entry in entries() if entry.object_pk == own["id"]]


Doing = Callable[[], Any]


def _acknowledging(person: Person) -> Doing:
    alert = fire(person.workspace)
    return lambda: person.post(f"analytics/alerts/{alert.pk}/acknowledge")


def _a_webhook(person: Person) -> Doing:
    hook, _ = make_endpoint(person.workspace, "https://hooks.example.com/ours", allows_private_addresses=False)
    return lambda: person.patch(f"analytics/webhooks/{hook.pk}", {"description": "Other"})


def _oneself(person: Person) -> Doing:
    return lambda: person.patch("me", {"name": "Other"})


def _a_workspace(person: Person) -> Doing:
    return lambda: person.patch(f"workspaces/{person.workspace.pk}/", {"name": "Other"})


def _a_new_token(person: Person) -> Doing:
    return lambda: person.post("access-tokens", {"name": "Other"})


def _stored(person: Person) -> Any:
    return (
        [alert.state for alert in Alert.objects.filter(workspace=person.workspace)],
        [hook.description for hook in WebhookEndpoint.objects.all()],
        User.objects.get(pk=person.user.pk).name,
        Workspace.objects.get(pk=person.workspace.pk).name,
        AccessToken.objects.count(),
    )


CHANGES = [_acknowledging, _a_webhook, _oneself, _a_workspace]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", [*CHANGES, _a_new_token])
def test_what_can_not_be_noted_is_not_done(
    kind: Callable[[Person], Doing], alice: Person, request: pytest.FixtureRequest
) -> None:
    do = kind(alice)
    before = _stored(alice)
    request.getfixturevalue("full_log")
    with pytest.raises(DatabaseError):
        do()
    assert _stored(alice) == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", CHANGES)
def test_what_is_not_done_is_not_noted(kind: Callable[[Person], Doing], alice: Person) -> None:
    """Some entries are written before their row is."""

    def refuse(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("UPDATE") and "last_used_at" not in sql:
            raise DatabaseError("The disk is full.")
        return execute(sql, *args)

    do, before = kind(alice), len(entries())
    with connection.execute_wrapper(refuse), pytest.raises(DatabaseError):
        do()
    assert len(entries()) == before
