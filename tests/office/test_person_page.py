"""The page of a person leads to their workspaces and to who pays there."""

from __future__ import annotations

import html
import re

from django.contrib.auth.models import Permission

from billing.models import Wallet
from office import person_panel
from tests.admin.rows import Office
from tests.people import Cast, fund, join, make_workspace
from workspaces.models import User, Workspace


def places(office: Office, person: User) -> str:
    page = office.open(person)
    assert page.status_code == 200
    inner = page.text.partition('id="places"')[2].partition("</section>")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", inner)).split()[1:])


def test_the_way_from_an_e_mail_address_to_the_wallet(office: Office, cast: Cast) -> None:
    fund(cast.alice.workspace, "5")
    join(cast.charlie.workspace, "alice", "viewer")
    Workspace.objects.filter(pk=cast.charlie.workspace.pk).update(status="suspended")

    assert places(office, cast.alice.user) == (
        "Workspaces Rival Viewer Suspended Wallet: $0.00 Acme Owner Wallet: $5.00"
    )
    page = office.open(cast.alice.user).text
    for workspace in (cast.alice.workspace, cast.charlie.workspace):
        assert f"/admin/workspaces/workspace/{workspace.pk}/change/" in page
        assert f"/admin/billing/wallet/{Wallet.objects.get(workspace=workspace).pk}/change/" in page


def test_somebody_without_a_workspace(office: Office, root: User) -> None:
    assert places(office, root) == "Workspaces A member of no workspace."


def test_the_newest_of_very_many(office: Office, cast: Cast) -> None:
    for number in range(person_panel.SHOWN):
        join(make_workspace(f"w{number}"), "alice", "member")

    shown = places(office, cast.alice.user)

    assert shown.count("Wallet: $0.00") == person_panel.SHOWN
    assert "Acme" not in shown
    assert shown.endswith("All memberships")
    assert f"/admin/workspaces/membership/?user__id__exact={cast.alice.user.pk}" in office.open(cast.alice.user).text


def test_who_may_not_see_wallets_is_shown_none(clerk: User, clerks_office: Office, cast: Cast) -> None:
    clerk.user_permissions.set(Permission.objects.filter(codename="view_user"))
    assert places(clerks_office, cast.alice.user) == ""

    clerk.user_permissions.set(
        Permission.objects.filter(codename__in=["view_user", "view_workspace", "view_membership"])
    )
    assert places(clerks_office, cast.alice.user) == "Workspaces Acme Owner"
