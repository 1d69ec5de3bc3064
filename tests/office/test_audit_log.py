"""Who changed what: of every row that can be changed here, before and after, for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from auditlog.models import LogEntry
from auditlog.registry import auditlog
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.core import serializers
from django.core.management import call_command
from django.test import Client, RequestFactory

from billing.models import Wallet
from conversations.models import Agent, Conversation
from llm.models import LLM
from tests.admin.rows import SECRET, Office, conversation_of, make_workplace, newest
from tests.audited import changes, entries
from tests.catalogue import make_llm
from tests.people import Cast, join
from workspaces.models import AccessToken, Membership, User, UserVariable, Workspace

pytestmark = pytest.mark.django_db


def test_everything_that_has_a_form_is_tracked(rf: RequestFactory) -> None:
    request = rf.get("/admin/")
    request.user = User.objects.create_superuser("root@example.org")
    editable = {
        model
        for model, model_admin in admin.site._registry.items()
        if model_admin.has_change_permission(request) or model_admin.has_add_permission(request)
    }
    assert editable - set(auditlog.get_models()) == set()


def test_a_change_has_its_actor_its_address_and_its_request(office: Office, cast: Cast, root: User) -> None:
    workspace = cast.alice.workspace
    response = office.client.post(
        office.url(Workspace, "change", workspace.pk), {}, headers={"X-Request-ID": "night-shift-1"}
    )
    assert response.status_code == 200  # with errors: nothing changed, nothing noted
    assert entries(workspace) == []
    assert office.save(cast.bob.membership, role="viewer").status_code == 302
    (entry,) = entries(cast.bob.membership)
    assert (entry.actor, entry.actor_email, entry.remote_addr) == (root, "root@example.org", "127.0.0.1")
    assert entry.cid
    assert entry.changes == {"role": ["member", "viewer"]}


@pytest.mark.parametrize("given", ["", "unix:", "203.0.113.7:4711", "<b>"])
def test_an_address_that_is_none_keeps_nothing_from_being_noted(office: Office, cast: Cast, given: str) -> None:
    url = office.url(Membership, "change", cast.bob.membership.pk)
    assert office.client.post(url, {"role": "viewer"}, REMOTE_ADDR=given).status_code == 302
    (entry,) = entries(cast.bob.membership)
    assert (entry.remote_addr, entry.changes) == (None, {"role": ["member", "viewer"]})


def test_the_api_is_noted_for_what_all_tenants_share(cast: Cast, llm: LLM) -> None:
    """Members and tokens; what customers do with agents and conversations of their own is theirs."""
    alice = cast.alice
    url = f"/api/v1/workspaces/{alice.workspace.pk}/members/{cast.bob.membership.pk}/"
    response = Client().patch(
        url, {"role": "viewer"}, content_type="application/json", headers={"Authorization": f"Bearer {alice.token}"}
    )
    assert response.status_code == 200, response.content
    (entry,) = entries(cast.bob.membership)
    assert (entry.actor, entry.changes) == (alice.user, {"role": ["member", "viewer"]})
    Agent.objects.create(workspace=alice.workspace, name="Mine", llm=llm, created_by=alice.user)
    conversation_of(alice, title="Mine")
    assert entries(kind=Agent) == entries(kind=Conversation) == []


def test_a_command_is_nobody_and_a_fixture_is_no_change(tmp_path: Path, cast: Cast) -> None:
    llm = make_llm("demo")
    LLM.objects.filter(pk=llm.pk).get().save()
    before = LogEntry.objects.count()
    fixture = tmp_path / "llms.json"
    fixture.write_text(serializers.serialize("json", [llm]).replace('"demo"', '"other"'))
    call_command("loaddata", str(fixture), verbosity=0)
    assert LogEntry.objects.count() == before
    llm.display_name = "Renamed"
    llm.save()
    entry = LogEntry.objects.latest("pk")
    assert (entry.actor, entry.changes["display_name"][1]) == (None, "Renamed")


def test_counters_and_stamps_are_no_news(llm: LLM, cast: Cast, django_assert_num_queries: Any) -> None:
    token = AccessToken.objects.filter(user=cast.alice.user).get()
    with django_assert_num_queries(1):
        token.save(update_fields=["last_used_at"])


def test_the_log_is_in_english_and_read_in_the_readers_language(office: Office, cast: Cast) -> None:
    wallet = Wallet.objects.get(workspace=cast.alice.workspace)
    office.client.cookies[settings.LANGUAGE_COOKIE_NAME] = "pt-br"
    assert office.save(wallet, markup_bps="100").status_code == 302
    (entry,) = entries(wallet)
    assert entry.object_repr == "Wallet of Acme: $0.00"
    assert "Alteração." in office.client.get(office.url(Wallet, "history", wallet.pk)).text


@pytest.mark.parametrize(("language", "shown"), [("en", "Support"), ("pt-br", "Suporte")])
def test_roles_are_noted_by_name(office: Office, cast: Cast, language: str, shown: str) -> None:
    """In English whoever gives them, and in the reader's language on pages."""
    bob, support = cast.bob.user, Group.objects.get(name="Support")
    office.client.cookies[settings.LANGUAGE_COOKIE_NAME] = language
    office.save(bob, groups=[support.pk], is_staff="on")
    added = next(entry for entry in entries(bob) if "groups" in entry.changes)
    assert added.changes["groups"] == {"type": "m2m", "operation": "add", "objects": ["Support"]}
    page = office.client.get(office.url(User, "history", bob.pk)).text
    assert f"<ins><bdi>{shown}</bdi></ins>" in page
    office.save(bob, groups=[], is_staff="on")
    (removed,) = [entry for entry in entries(bob) if entry.changes.get("groups", {}).get("operation") == "delete"]
    assert removed.changes["groups"]["objects"] == ["Support"]


def test_what_a_role_may_do_is_noted_in_english(office: Office) -> None:
    """Its name and its permissions, which are called in the language of whoever gives them."""
    role, permission = Group.objects.get(name="Support"), Permission.objects.get(codename="view_llmprice")
    role.permissions.remove(permission)
    office.client.cookies[settings.LANGUAGE_COOKIE_NAME] = "pt-br"
    kept = [*role.permissions.values_list("pk", flat=True), permission.pk]
    assert office.save(role, permissions=kept).status_code == 302
    entry = entries(role)[-1]
    assert (entry.object_repr, entry.changes["permissions"]["operation"]) == ("Support", "add")
    assert entry.changes["permissions"]["objects"] == [str(permission)]


def test_no_secret_and_nothing_customers_wrote_is_in_it(office: Office, cast: Cast, llm: LLM) -> None:
    variable = {"workspace": cast.alice.workspace.pk, "category": "api_key", "name": "openai", "value": SECRET}
    assert office.add(UserVariable, **variable).status_code == 302
    office.save(newest(UserVariable), value=SECRET + "2")
    agent = Agent.objects.create(
        workspace=cast.alice.workspace,
        name="A",
        llm=llm,
        created_by=cast.alice.user,
        system_prompt="my old secret plan",
    )
    assert office.save(agent, system_prompt="my new secret plan").status_code == 302
    talk = conversation_of(cast.alice, title="my old secret plan")
    assert office.save(talk, title="my new secret plan").status_code == 302
    assert office.client.post(
        f"/admin/workspaces/user/{cast.bob.user.pk}/password/",
        {"password1": "my new secret plan", "password2": "my new secret plan", "usable_password": "true"},
    ).status_code == 302  # fmt: skip

    assert changes(agent) == {"system_prompt": ["•••", "•••"]}
    assert changes(cast.bob.user) == {"password": ["•••", "•••"]}
    assert entries(talk)[-1].object_repr == f"conversation {talk.pk}"
    everything = str(list(LogEntry.objects.values()))
    assert "secret plan" not in everything
    assert SECRET not in everything
    assert UserVariable.objects.get().ciphertext.hex() not in everything


def test_the_history_of_a_row_is_what_the_log_says(office: Office, cast: Cast, llm: LLM) -> None:
    agent = Agent.objects.create(workspace=cast.alice.workspace, name="A", llm=llm, created_by=cast.alice.user)
    dora = join(cast.alice.workspace, "dora", "member")
    nothing = office.client.get(office.url(Membership, "history", dora.membership.pk))
    assert "Created." in nothing.text
    assert "nobody in particular" in nothing.text
    office.save(agent, name="<b>Ace</b>")
    page = office.client.get(office.url(Agent, "history", agent.pk)).text
    assert "Changed." in page
    assert "root@example.org" in page
    assert "&lt;b&gt;Ace&lt;/b&gt;" in page
    assert "<b>Ace</b>" not in page


def test_the_log_is_read_and_searched_and_never_edited(office: Office, django_assert_num_queries: Any) -> None:
    owner = make_workplace(1)
    make_workplace(2)
    wallet = Wallet.objects.get(workspace=owner.workspace)
    assert office.save(wallet, markup_bps="100").status_code == 302
    (entry,) = entries(wallet)
    assert office.found(LogEntry, q=str(wallet.pk)) == {entry.pk}
    assert office.found(LogEntry, q="root@example.org") == {entry.pk}
    assert office.found(LogEntry, kind="billing.wallet") == {entry.pk}
    assert office.found(LogEntry, kind="nonsense") == set()
    page = office.open(entry)
    assert "markup bps" in page.text.lower()
    assert 'name="_save"' not in page.text
    assert office.client.post(office.url(LogEntry, "change", entry.pk), {"action": "0"}).status_code == 403
    assert office.client.post(office.url(LogEntry, "delete", entry.pk), {"post": "yes"}).status_code == 403
