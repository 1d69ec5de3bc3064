"""What staff see and do through the API of analytics is what their role lets them see and do in the back office."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group

from analytics.models import Alert, AlertRule, WebhookEndpoint
from tests.analytics.alerting import fire, listed, make_endpoint, make_rule
from tests.analytics.reports import REPORTS, made
from tests.api.asking import error_of
from tests.people import Cast, Person, join, make_workspace
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db
OURS = {"name": "Failures", "condition": "error_rate", "scope": "fleet", "window_seconds": 900, "threshold": "0.10"}


def staff_of(role: str, workspace: Workspace | None = None, as_: str = "owner") -> Person:
    """With every right in a workspace of their own, or as a member of ``workspace``."""
    person = join(workspace or make_workspace("office"), "olga", as_)
    person.user.is_staff = True
    person.user.save()
    person.user.groups.set(Group.objects.filter(name=role))
    return person


@pytest.mark.parametrize("role", ["", "Read-only", "Support", "Finance"])
def test_who_changes_nothing_in_the_office_changes_nothing_here(role: str, cast: Cast) -> None:
    person, theirs = staff_of(role), fire(cast.charlie.workspace)
    rule, hook = make_rule(), make_endpoint(None, "https://hooks.example.com/theirs")[0]
    error_of(person.post("analytics/alert-rules", {**OURS, "owner": "operators"}), 403, "permission_denied")
    refused = [
        person.patch(f"analytics/alert-rules/{rule.pk}", {"is_active": False}),
        person.delete(f"analytics/alert-rules/{rule.pk}"),
        person.patch(f"analytics/webhooks/{hook.pk}", {"is_active": False}),
        person.post(f"analytics/webhooks/{hook.pk}/rotate", {}),
        person.delete(f"analytics/webhooks/{hook.pk}"),
        person.post(f"analytics/alerts/{theirs.pk}/acknowledge", {}),
        person.post("analytics/webhooks", {"url": "https://hooks.example.com/all", "owner": "operators"}),
    ]
    assert {response.status_code for response in refused} <= {403, 404}
    assert AlertRule.objects.get(pk=rule.pk).is_active
    assert WebhookEndpoint.objects.get().is_active
    assert Alert.objects.get(workspace=cast.charlie.workspace).state == "firing"


@pytest.mark.parametrize(("role", "sees"), [("", []), ("Read-only", ["theirs"]), ("Support", ["theirs"])])
def test_who_sees_the_alerts_of_all(role: str, sees: list[str], cast: Cast) -> None:
    theirs = fire(cast.charlie.workspace)
    assert listed(staff_of(role)) == [str(theirs.pk) for _ in sees]


def test_an_operator_does_both(cast: Cast) -> None:
    person, theirs, rule = staff_of("Operator"), fire(cast.charlie.workspace), make_rule()
    assert person.post("analytics/alert-rules", {**OURS, "owner": "operators"}).status_code == 201
    assert person.patch(f"analytics/alert-rules/{rule.pk}", {"is_active": False}).status_code == 200
    assert person.post(f"analytics/alerts/{theirs.pk}/acknowledge").json()["state"] == "acknowledged"


@pytest.mark.parametrize(("role", "sees"), [("", "workspace"), ("Read-only", "fleet"), ("Finance", "fleet")])
def test_who_sees_the_usage_of_all(role: str, sees: str, cast: Cast) -> None:
    person = staff_of(role)
    assert person.get("analytics/usage").json()["of"] == sees
    found = person.get("analytics/usage", workspace=cast.charlie.workspace.slug)
    assert found.status_code == (200 if sees == "fleet" else 400)


@pytest.mark.parametrize(("role", "sees"), [("", False), ("Read-only", True), ("Support", True)])
def test_who_sees_the_figures_of_health(role: str, sees: bool) -> None:
    parts = staff_of(role).get("analytics/health").json()["checks"].values()
    assert {"value" in part for part in parts} == {"detail" in part for part in parts} == {sees}


@pytest.mark.parametrize(("role", "sees"), [("", []), ("Support", []), ("Read-only", ["A"]), ("Finance", ["A"])])
def test_who_sees_the_reports_of_others_in_their_workspace(role: str, sees: list[str], alice: Person) -> None:
    person, report = staff_of(role, alice.workspace, "member"), made(alice, name="A")
    assert [row["name"] for row in person.get(REPORTS).json()["results"]] == sees
    found = [person.get(f"{REPORTS}/{report['id']}{path}") for path in ("", "/runs", "/download")]
    assert {response.status_code for response in found} == ({200} if sees else {404})


@pytest.mark.parametrize(("role", "sees"), [("", []), ("Support", ["All"]), ("Read-only", ["All"])])
def test_who_sees_reports_that_reach_beyond_their_workspace(role: str, sees: list[str], alice: Person) -> None:
    alice.user.is_staff = alice.user.is_superuser = True
    alice.user.save()
    made(alice, name="All")
    person = staff_of(role, alice.workspace, "admin")
    assert [row["name"] for row in person.get(REPORTS).json()["results"]] == sees


@pytest.mark.parametrize(("role", "status"), [("", 403), ("Support", 403), ("Read-only", 200)])
def test_who_sees_the_webhooks_of_their_workspace(role: str, status: int, alice: Person) -> None:
    person, hook = (
        staff_of(role, alice.workspace, "member"),
        make_endpoint(alice.workspace, "https://hooks.example.com/")[0],
    )
    for path in ("analytics/webhooks", f"analytics/webhooks/{hook.pk}"):
        assert person.get(path).status_code == status
