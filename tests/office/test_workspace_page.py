"""The page of a workspace: who is in it, its rules, its money, its usage, its keys and what is wrong, each for those who
may see it, in a few queries.
"""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from analytics import rollups
from billing.models import Wallet
from conversations.models import Conversation
from llm.models import LLM
from synapscale.common.errors import Forbidden
from synapscale.common.history import what
from tests import full
from tests.admin.rows import answer_in
from tests.analytics.usage import Call, write
from tests.audited import entries
from tests.catalogue import make_llm
from tests.house import house  # noqa: F401
from tests.people import Cast, Person, fund
from workspaces.models import AccessToken, User, UserVariable, Workspace

pytestmark = pytest.mark.django_db
TITLE = "a title, which a customer wrote"


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def clerk(*codenames: str) -> Client:
    user = User.objects.create_user("clerk@example.org", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_workspace", *codenames]))
    return signed_in(user)


@pytest.fixture
def root(db: None) -> Client:
    return signed_in(User.objects.create_superuser("root@example.org"))


def page_of(client: Client, workspace: Workspace) -> str:
    response = client.get(f"/admin/workspaces/workspace/{workspace.pk}/change/")
    assert response.status_code == 200, response
    return str(response.text)


def panel(page: str) -> str:
    """The text between the heading and the form."""
    inner = page.partition('class="office-panel"')[2].partition("<form")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", inner)).split())


def furnish(cast: Cast, llm: LLM) -> None:
    """Something of everything in Alice's workspace, and something of Charlie's that is none of it."""
    fund(cast.alice.workspace, "5")
    fund(cast.charlie.workspace, "90")
    other, now = make_llm("anthropic"), timezone.now()
    write(
        [
            Call(at=now - timedelta(hours=1), person=cast.alice, llm=llm, charged=1_400_000),
            Call(at=now - timedelta(hours=2), person=cast.bob, llm=other, status="error"),
            Call(at=now - timedelta(days=5), person=cast.bob, llm=other, charged=2_100_000),
            Call(at=now - timedelta(days=31), person=cast.bob, llm=other, charged=100_000),
            Call(at=now - timedelta(hours=1), person=cast.charlie, llm=llm, charged=77_000_000),
        ]
    )
    for owner, name, days in (("workspace", "openai", 10), ("workspace", "google", 40), ("workspace", "grok", -1)):
        key = UserVariable(category="api_key", name=name, expires_at=now + timedelta(days=days))
        setattr(key, owner, cast.alice.workspace)
        key.set_value("sk-secret-0123456789-wxyz")
        key.save()
    AccessToken.objects.filter(user=cast.bob.user).update(expires_at=now + timedelta(days=3))
    AccessToken.issue(user=cast.bob.user, workspace=cast.alice.workspace, name="old", expires_at=now)
    full.alert(cast.alice)
    full.alert(cast.charlie)
    Conversation.objects.create(workspace=cast.alice.workspace, user=cast.bob.user, title=TITLE)


@pytest.mark.parametrize("is_summed", [True, False])
def test_it_shows_what_there_is_of_this_workspace_alone(root: Client, cast: Cast, llm: LLM, is_summed: bool) -> None:
    furnish(cast, llm)
    if is_summed:
        rollups.roll_up()
    page = page_of(root, cast.alice.workspace)
    text = panel(page)

    assert "Charged in 24 hours $1.40 2 calls, 60 tokens" in text
    assert "Failed in 24 hours 1 50.0 % of the calls" in text
    assert "Charged in 30 days $3.50 3 calls, 90 tokens" in text
    assert "Failed in 30 days 1 33.3 % of the calls" in text
    assert "Balance $1.40 Held for calls under way $0.00 Available $1.40 Status Open" in text
    assert "Top up Adjust Suspend" in text
    assert "2 valid access tokens 1 to expire within 14 days 1 expired" in text
    assert "2 provider keys in use 1 to expire within 14 days 1 expired" in text
    assert "Cost Warning, Acknowledged alice@example.org" in text
    assert "Model Charged Calls Tokens anthropic/anthropic-test $2.10 2 60 openai/openai-test $1.40 1 30" in text
    assert "Member Charged Calls Tokens bob@example.org $2.10 2 60 alice@example.org $1.40 1 30" in text
    assert "bob@example.org · Chat · 0 messages, $0.00" in text
    assert TITLE not in page
    assert "charlie" not in text
    assert "77" not in text
    assert "Members Ledger Monthly statement Usage Usage report" in text
    for address in (f"statements/{cast.alice.workspace.pk}/", f"usage-report/?workspace={cast.alice.workspace.slug}"):
        assert f'href="/admin/{address}"' in page
        assert root.get(f"/admin/{address}").status_code == 200
    for url in re.findall(r'href="(/admin/[^"]*workspace__id__exact[^"]*)"', page):
        assert root.get(html.unescape(url)).status_code == 200, url


def test_it_makes_the_same_few_queries_however_much_there_is(cast: Cast, llm: LLM) -> None:
    names = [
        "change_workspace", "view_membership", "change_membership", "add_membership", "view_usagelog", "view_wallet",
        "top_up_wallet", "view_accesstoken", "view_uservariable", "view_alert", "view_conversation",
    ]  # fmt: skip
    client = clerk(*names)

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            page_of(client, cast.alice.workspace)
        return len(queries)

    furnish(cast, llm)
    page_of(client, cast.alice.workspace)  # content types are remembered
    few = count()
    for number in range(8):
        made = make_llm("openai", f"gpt-{number}")
        write(Call(at=timezone.now(), person=person, llm=made) for person in (cast.alice, cast.bob))

    assert count() == few == 15


@pytest.mark.parametrize(
    ("codename", "seen"),
    [
        ("view_usagelog", "Top models, 30 days"),
        ("view_wallet", "Held for calls under way"),
        ("view_accesstoken", "valid access token"),
        ("view_uservariable", "provider keys in use"),
        ("view_alert", "Open alerts"),
        ("view_conversation", "Last conversations"),
    ],
)
def test_each_part_is_for_those_who_may_see_its_rows(cast: Cast, llm: LLM, codename: str, seen: str) -> None:
    furnish(cast, llm)
    client = clerk()
    assert seen not in page_of(client, cast.alice.workspace)
    user = User.objects.get(email="clerk@example.org")
    user.user_permissions.add(Permission.objects.get(codename=codename))

    page = page_of(client, cast.alice.workspace)

    assert seen in page
    assert TITLE not in page
    assert "/top-up/" not in page


def test_an_empty_workspace_says_so(root: Client, cast: Cast) -> None:
    text = panel(page_of(root, cast.charlie.workspace))

    assert "Nothing is firing here." in text
    assert "No calls in the last 30 days." in text
    assert "Nobody has begun a conversation here." in text
    assert "Failed in 24 hours 0 – of the calls" in text


def test_a_suspended_wallet_is_offered_to_be_opened(root: Client, cast: Cast) -> None:
    wallet = Wallet.objects.get(workspace=cast.alice.workspace)
    assert f"wallet/{wallet.pk}/suspend/" in page_of(root, cast.alice.workspace)
    Wallet.objects.filter(workspace=wallet.workspace, pk=wallet.pk).update(status="suspended")

    page = page_of(root, cast.alice.workspace)

    assert f"wallet/{wallet.pk}/suspend/" not in page
    assert f"wallet/{wallet.pk}/reopen/" in page


def again(person: Person) -> Person:
    """With the workspace as it is stored now."""
    return replace(person, workspace=Workspace.objects.get(pk=person.workspace.pk))


def said(client: Client, response: Any) -> str:
    return " ".join(map(str, client.get(response["Location"]).context["messages"]))


def test_it_is_suspended_and_opened_again_with_a_reason(root: Client, cast: Cast, llm: LLM) -> None:
    workspace = cast.alice.workspace
    url = f"/admin/workspaces/workspace/{workspace.pk}"
    assert f"{url}/suspend/" in page_of(root, workspace)
    assert f"{url}/reopen/" not in page_of(root, workspace)

    assert "reason" in root.post(f"{url}/suspend/", {"typed": "1", "confirmed": "1"}).context["form"].errors
    shown = root.post(f"{url}/suspend/", {"typed": "1", "reason": "Unpaid bill"})
    assert "refused from now on, with status 403 and code workspace_suspended" in shown.text
    assert Workspace.objects.get(pk=workspace.pk).is_open
    form = {"typed": "1", "confirmed": "1", "reason": "Unpaid bill"}
    assert said(root, root.post(f"{url}/suspend/", form)) == "Suspended."
    (entry,) = entries(workspace)
    assert (what(entry), entry.changes, entry.additional_data["reason"]) == (
        "Suspended.", {"status": ["active", "suspended"]}, "Unpaid bill",
    )  # fmt: skip
    with pytest.raises(Forbidden, match="The workspace is suspended"):
        answer_in(Conversation.objects.create(workspace=workspace, user=cast.alice.user), again(cast.alice), llm)
    assert cast.alice.get("conversations").status_code == 200
    assert "There was nothing left to do" in said(root, root.post(f"{url}/suspend/", form))

    assert f"{url}/suspend/" not in page_of(root, workspace)
    assert said(root, root.post(f"{url}/reopen/", {**form, "reason": "Paid"})) == "Opened again."
    assert Workspace.objects.get(pk=workspace.pk).is_open


def test_only_who_may_change_workspaces_suspends_them(cast: Cast) -> None:
    client, url = clerk(), f"/admin/workspaces/workspace/{cast.alice.workspace.pk}/suspend/"

    assert "suspend/" not in page_of(client, cast.alice.workspace)
    assert client.get(url).status_code == 403
    assert client.post(url, {"typed": "1", "confirmed": "1", "reason": "x"}).status_code == 403
    assert Client().get(url).status_code == 302
    assert Workspace.objects.get(pk=cast.alice.workspace.pk).is_open
    User.objects.get(email="clerk@example.org").user_permissions.add(
        Permission.objects.get(codename="change_workspace")
    )
    assert client.get(url).status_code == 200
