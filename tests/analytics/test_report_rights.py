"""Who sees which reports, and what of them: what both their maker and their reader may see, as things are now."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from analytics.models import Report, ReportMail, ReportRun
from llm.models import LLM
from tests.analytics.reports import DAY, NOON, REPORTS, content, made, rows, run
from tests.analytics.usage import Call, write
from tests.api.asking import assert_invalid, error_of
from tests.people import Cast, Person, join
from workspaces.models import Membership

pytestmark = pytest.mark.django_db


@pytest.fixture
def dora(alice: Person) -> Person:
    return join(alice.workspace, "dora", Membership.Role.ADMIN)


@pytest.fixture
def used(cast: Cast, llm: LLM) -> Cast:
    """A call of Alice's, two of Bob's, four of Charlie's."""
    alice, bob, charlie = cast
    write(Call(NOON, person, llm) for person in (alice, bob, bob, charlie, charlie, charlie, charlie))
    return cast


def employ(person: Person, *, is_staff: bool = True) -> None:
    person.user.is_staff = person.user.is_superuser = is_staff
    person.user.save(update_fields=["is_staff", "is_superuser"])


def become(person: Person, role: str) -> None:
    Membership.objects.filter(pk=person.membership.pk).update(role=role)


def calls(person: Person, report: dict[str, Any], of_run: dict[str, Any] | None = None) -> int:
    found = rows(person, report, of_run=of_run)
    return sum(row["calls"] for row in found) if report["kind"] == "figures" else len(found)


def send(report: dict[str, Any], of_run: dict[str, Any], person: Person) -> None:
    """A link to the run, as the schedule would have sent it."""
    ReportMail.objects.create(
        workspace=person.workspace,
        report_id=report["id"],
        run_id=of_run["id"],
        user=person.user,
        mailed_at=timezone.now(),
    )


def listed(person: Person) -> list[str]:
    return sorted(row["name"] for row in person.get(REPORTS).json()["results"])


@pytest.mark.parametrize("kind", ["figures", "calls"])
def test_members_report_on_themselves_admins_on_the_workspace_staff_on_all(used: Cast, dora: Person, kind: str) -> None:
    alice, bob, charlie = used
    employ(charlie)
    for person, count in ((alice, 3), (dora, 3), (bob, 2), (charlie, 7)):
        report = made(person, name=f"{kind} of {person.user.name}", kind=kind)
        assert calls(person, report) == calls(person, report, run(person, report)) == count
    narrow = made(charlie, name="One", kind=kind, definition={"workspace": "acme"})
    assert calls(charlie, narrow) == 3


def test_everybody_lists_their_own_and_admins_all(used: Cast, dora: Person) -> None:
    alice, bob, charlie = used
    made(alice, name="A"), made(bob, name="B"), made(charlie, name="C")
    assert listed(alice) == listed(dora) == ["A", "B"]
    assert (listed(bob), listed(charlie)) == (["B"], ["C"])
    employ(charlie)
    made(charlie, name="All")
    assert listed(charlie) == ["All", "C"]
    employ(charlie, is_staff=False)
    erin = join(charlie.workspace, "erin", Membership.Role.OWNER)
    assert listed(erin) == ["C"]  # what reaches beyond the workspace is for staff
    assert listed(charlie) == ["All", "C"]


def test_what_is_not_ones_to_see_is_not_there(used: Cast) -> None:
    alice, bob, charlie = used
    report = made(alice)
    ran = run(alice, report)
    where = f"{REPORTS}/{report['id']}"
    for person in (bob, charlie):
        for path in (where, f"{where}/download", f"{where}/runs", f"{where}/runs/{ran['id']}/download"):
            error_of(person.get(path), 404, "not_found")
        error_of(person.post(f"{where}/run"), 404, "not_found")
        error_of(person.patch(where, {"name": "Mine"}), 404, "not_found")
        error_of(person.delete(where), 404, "not_found")
    own = made(charlie)
    error_of(charlie.get(f"{REPORTS}/{own['id']}/runs/{ran['id']}/download"), 404, "not_found")


def test_viewers_read_and_change_nothing(used: Cast) -> None:
    bob = used.bob
    report = made(bob)
    become(bob, "viewer")
    assert calls(bob, report) == 2
    error_of(bob.post(REPORTS, {"name": "X", "kind": "calls", "period": "today"}), 403, "permission_denied")
    error_of(bob.post(f"{REPORTS}/{report['id']}/run"), 403, "permission_denied")
    error_of(bob.delete(f"{REPORTS}/{report['id']}"), 403, "permission_denied")


def test_an_admin_reads_a_members_report_and_may_delete_it_but_not_change_it(used: Cast) -> None:
    alice, bob, _ = used
    report = made(bob)
    ran = run(alice, report)
    assert calls(alice, report) == calls(alice, report, ran) == 2  # Bob's, not the workspace's
    where = f"{REPORTS}/{report['id']}"
    error_of(alice.patch(where, {"name": "Mine"}), 403, "permission_denied")
    assert alice.delete(where).status_code == 204
    assert not Report.objects.filter(workspace=alice.workspace).exists()
    assert not ReportRun.objects.filter(workspace=alice.workspace).exists()


def test_who_is_sent_a_report_sees_their_own_part_of_it(used: Cast, dora: Person) -> None:
    alice, bob, _ = used
    report = made(alice)
    ran = run(alice, report)
    assert ran["rows"] == 1
    error_of(bob.get(f"{REPORTS}/{report['id']}"), 404, "not_found")
    send(report, ran, bob)
    assert (calls(bob, report, ran), calls(bob, report), calls(dora, report, ran)) == (2, 2, 3)
    (seen,) = bob.get(f"{REPORTS}/{report['id']}/runs").json()["results"]
    assert seen["rows"] is None  # how many others have is not for Bob
    error_of(bob.delete(f"{REPORTS}/{report['id']}"), 403, "permission_denied")
    about_alice = made(alice, name="Me", definition={"user": "me"})
    ran = run(alice, about_alice)
    send(about_alice, ran, bob)
    error_of(bob.get(f"{REPORTS}/{about_alice['id']}/runs/{ran['id']}/download"), 403, "permission_denied")


def test_a_demoted_admins_report_narrows(used: Cast, dora: Person) -> None:
    alice = used.alice
    write([Call(NOON, dora, LLM.objects.first())])
    report = made(dora, kind="calls")
    before = run(dora, report)
    assert (before["rows"], calls(dora, report, before)) == (4, 4)
    become(dora, "member")
    after = run(dora, report)
    assert (after["rows"], calls(dora, report, after), calls(dora, report)) == (1, 1, 1)
    assert calls(dora, report, before) == 1  # the old run as well
    assert calls(alice, report, after) == 1
    become(dora, "admin")
    assert calls(dora, report, after) == 1  # what was narrow when it ran stays so
    assert calls(dora, report, before) == 4


def test_staff_who_leave_the_house_see_their_workspace_again(used: Cast) -> None:
    charlie = used.charlie
    employ(charlie)
    report, of_acme = made(charlie), made(charlie, name="Acme", definition={"workspace": "acme"})
    ran, ran_acme = run(charlie, report), run(charlie, of_acme)
    assert (calls(charlie, report, ran), calls(charlie, of_acme, ran_acme)) == (7, 3)
    employ(charlie, is_staff=False)
    assert (calls(charlie, report), calls(charlie, report, ran)) == (4, 4)
    error = error_of(charlie.get(f"{REPORTS}/{of_acme['id']}/runs/{ran_acme['id']}/download"), 409, "report_outdated")
    assert set(error["details"]) == {"workspace"}
    failed = run(charlie, of_acme)
    assert failed["state"] == "failed"
    assert failed["error"].endswith("workspace: There is no such workspace.")


def test_whoever_left_leaves_reports_that_nobody_can_run(used: Cast) -> None:
    alice, bob, _ = used
    report = made(bob)
    ran = run(bob, report)
    Membership.objects.filter(pk=bob.membership.pk).delete()
    for path in ("download", f"runs/{ran['id']}/download"):
        error_of(alice.get(f"{REPORTS}/{report['id']}/{path}"), 403, "permission_denied")
    failed = run(alice, report)
    assert failed["state"] == "failed"
    error = error_of(alice.get(f"{REPORTS}/{report['id']}/runs/{failed['id']}/download"), 409, "run_failed")
    assert "no longer in the workspace" in error["message"]


# --- Who may be sent what ---------------------------------------------------------------------------------------------


def test_recipients_are_members_who_may_see_some_of_it(used: Cast, dora: Person) -> None:
    alice, bob, charlie = used

    def sent(person: Person, *to: Person, **fields: Any) -> Any:
        body = {
            "name": f"R{Report.objects.filter(workspace=person.workspace).count()}",
            "kind": "calls",
            **DAY,
            **fields,
        }
        return person.post(REPORTS, {**body, "recipients": [str(one.user.pk) for one in to]})

    assert sent(alice, alice, bob, dora).status_code == 201
    assert sent(bob, bob, alice, dora).status_code == 201
    assert sent(alice, bob, bob).json()["recipients"] == [str(bob.user.pk)]
    assert_invalid(sent(alice, charlie), "recipients")
    assert_invalid(sent(alice, bob, definition={"user": "me"}), "recipients")
    erin = join(alice.workspace, "erin", Membership.Role.MEMBER)
    assert_invalid(sent(bob, erin), "recipients")
    employ(alice)
    assert_invalid(sent(alice, dora), "recipients")  # of all workspaces
    assert sent(alice, dora, definition={"workspace": "acme"}).status_code == 201


def test_a_run_is_the_same_whenever_it_is_read(used: Cast, llm: LLM) -> None:
    alice = used.alice
    report = made(alice, kind="calls", format="csv")
    ran = run(alice, report)
    where = f"{REPORTS}/{report['id']}/runs/{ran['id']}/download"
    before = content(alice.get(where))
    alice.patch(f"{REPORTS}/{report['id']}", {"period": "today", "definition": {"status": "lost"}, "kind": "figures"})
    write([Call(NOON.replace(day=26), alice, llm)])
    assert content(alice.get(where)) == before
