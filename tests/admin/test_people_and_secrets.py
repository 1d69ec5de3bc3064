"""Users, members, tokens and variables: who may do what, and secrets that go in but never come out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError
from django.test import Client

from llm.models import LLM
from tests.admin.rows import SECRET, Office, again, errors, shown
from tests.audited import notes
from tests.catalogue import make_llm
from tests.people import Cast
from workspaces.authentication import caller_of
from workspaces.models import AccessToken, Membership, User, UserVariable, Workspace

PASSWORD = "correct horse battery staple"


# --- Users ----------------------------------------------------------------------------------------------------------


def test_a_user_is_added_with_a_password(office: Office) -> None:
    typed = {"email": "Dora@Example.org", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    response = office.add(User, **typed)

    assert response.status_code == 302, errors(response)
    dora = User.objects.get(email="dora@example.org")
    assert dora.check_password(PASSWORD)
    assert not dora.is_staff


def test_a_user_is_added_without_a_password(office: Office) -> None:
    assert office.add(User, email="dora@example.org", usable_password="false").status_code == 302
    assert not User.objects.get(email="dora@example.org").has_usable_password()


def test_an_address_belongs_to_one_user_however_it_is_written(office: Office, cast: Cast) -> None:
    assert "email" in errors(office.add(User, email="ALICE@example.org", usable_password="false"))


def test_a_user_is_changed_and_gets_a_new_password(office: Office, cast: Cast) -> None:
    alice = cast.alice.user
    assert office.save(alice, name="Alice A.", is_staff="on", allows_paid_fallback="").status_code == 302
    typed = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    response = office.client.post(f"/admin/workspaces/user/{alice.pk}/password/", typed)

    assert response.status_code == 302
    assert (again(alice).name, again(alice).is_staff, again(alice).allows_paid_fallback) == ("Alice A.", True, False)
    assert Client().login(username="alice@example.org", password=PASSWORD)


def allow(user: User, *codenames: str) -> None:
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))


def test_staff_who_edit_users_gain_nothing_by_it(clerks_office: Office, clerk: User, root: User, cast: Cast) -> None:
    allow(clerk, "view_user", "change_user")
    colleague = User.objects.create_user("colleague@example.org", is_staff=True)

    assert clerks_office.save(cast.alice.user, name="Alice A.", is_superuser="on", is_staff="on").status_code == 302
    alice = again(cast.alice.user)
    assert (alice.name, alice.is_staff, alice.is_superuser) == ("Alice A.", False, False)
    password = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    for who in (root, colleague, clerk):
        assert clerks_office.client.post(clerks_office.url(User, "change", who.pk), {"name": "x"}).status_code == 403
        assert clerks_office.client.post(f"/admin/workspaces/user/{who.pk}/password/", password).status_code == 403


# --- Workspaces and members -----------------------------------------------------------------------------------------


def formset(prefix: str, *rows: dict[str, Any], initial: int = 0) -> dict[str, Any]:
    data = {f"{prefix}-TOTAL_FORMS": len(rows), f"{prefix}-INITIAL_FORMS": initial}
    return data | {f"{prefix}-{number}-{name}": value for number, row in enumerate(rows) for name, value in row.items()}


def members_of(cast: Cast, **bob: Any) -> dict[str, Any]:
    """The members as the page of their workspace sends them, newest first."""
    people = [cast.bob, cast.alice]
    rows = [{"id": p.membership.pk, "workspace": p.workspace.pk, "role": p.membership.role} for p in people]
    rows[0] |= bob
    return formset("memberships", *rows, initial=2)


def test_a_workspace_is_added_and_has_a_wallet(office: Office) -> None:
    nobody = {**formset("memberships"), **formset("memberships-2")}
    response = office.add(Workspace, name="New", slug="new", kind="collaborative", **nobody)

    assert response.status_code == 302, errors(response)
    assert Workspace.objects.get(slug="new").wallets.count() == 1


def test_the_page_of_a_workspace_adds_changes_and_removes_members(office: Office, cast: Cast) -> None:
    workspace, charlie = cast.alice.workspace, cast.charlie.user
    new = formset("memberships-2", {"user": charlie.pk, "workspace": workspace.pk, "role": "viewer"})

    response = office.save(workspace, **members_of(cast, role="admin"), **new)
    assert response.status_code == 302, errors(response)
    assert again(cast.bob.membership).role == "admin"
    assert Membership.objects.get(workspace=workspace, user=charlie).role == "viewer"

    again_new = office.save(workspace, **members_of(cast), **new)
    assert again_new.status_code == 200  # he is a member already
    charlies = Membership.objects.get(workspace=workspace, user=charlie)
    office.client.post(office.url(Membership, "delete", charlies.pk), {"post": "yes"})
    assert office.save(workspace, **members_of(cast, DELETE="on"), **formset("memberships-2")).status_code == 302
    assert [m.user for m in workspace.memberships.all()] == [cast.alice.user]


def test_the_rules_of_a_workspace_are_checked(office: Office, cast: Cast, llm: LLM) -> None:
    unchanged = {**members_of(cast), **formset("memberships-2")}

    for typed in ('{"a": 1}', "[1]", "no json"):
        assert "allowed_models" in errors(office.save(cast.alice.workspace, allowed_models=typed, **unchanged))
        assert "fallback_models" in errors(office.save(cast.alice.workspace, fallback_models=typed, **unchanged))
    assert "max_tokens_cap" in errors(office.save(cast.alice.workspace, max_tokens_cap="0", **unchanged))
    assert "requests_per_minute" in errors(office.save(cast.alice.workspace, requests_per_minute="0", **unchanged))
    rates = {"requests_per_minute": "60", "tokens_per_minute": "90000", "fallback_models": f'["{llm}"]'}
    assert office.save(cast.alice.workspace, **rates, **unchanged).status_code == 302
    stored = again(cast.alice.workspace)
    assert (stored.requests_per_minute, stored.tokens_per_minute, stored.fallback_models) == (60, 90_000, [str(llm)])
    assert office.save(cast.alice.workspace, allowed_models="", **unchanged).status_code == 302
    assert again(cast.alice.workspace).allowed_models == []


def complaints(response: Any) -> list[str]:
    """What is said about the members as a whole."""
    assert response.status_code == 200, response
    formsets = [inline.formset for inline in response.context["inline_admin_formsets"]]
    return [said for formset in formsets for said in formset.non_form_errors()]


@pytest.mark.parametrize("field", ["allowed_models", "default_model"])
def test_the_rules_of_a_workspace_name_models_that_there_are(office: Office, cast: Cast, llm: LLM, field: str) -> None:
    workspace = cast.alice.workspace
    unchanged = {**members_of(cast), **formset("memberships-2")}
    typed = {"allowed_models": '["openai/openai-test", "openai/gone"]', "default_model": "openai/gone"}

    refused = office.save(workspace, **{field: typed[field]}, **unchanged)
    assert errors(refused) == {field: ["There is no model “openai/gone”."]}
    other = str(make_llm("anthropic"))
    rules = {"allowed_models": f'["{other}"]', "default_model": str(llm)}
    refused = office.save(workspace, **rules, **unchanged)
    assert errors(refused) == {"default_model": ["“openai/openai-test” is not one of the allowed models."]}
    assert office.save(workspace, **{**rules, "default_model": other}, **unchanged).status_code == 302
    assert again(workspace).default_model == other


def test_fallback_models_are_models_that_there_are(cast: Cast, llm: LLM) -> None:
    workspace = cast.alice.workspace
    workspace.fallback_models = ["openai/gone", str(llm)]
    with pytest.raises(ValidationError) as refused:
        workspace.full_clean()
    assert refused.value.message_dict == {"fallback_models": ["There is no model “openai/gone”."]}


def test_a_workspace_of_two_does_not_become_individual(office: Office, cast: Cast) -> None:
    workspace = cast.alice.workspace
    unchanged = {**members_of(cast), **formset("memberships-2")}
    refused = office.save(workspace, kind="individual", **unchanged)
    assert errors(refused) == {"kind": ["It has 2 members, and an individual workspace has one."]}
    cast.bob.membership.delete()
    (alice,) = workspace.memberships.all()
    row = {"id": alice.pk, "workspace": workspace.pk, "role": "owner"}
    alone = formset("memberships", row, initial=1)
    assert office.save(workspace, kind="individual", **alone, **formset("memberships-2")).status_code == 302
    assert again(workspace).kind == "individual"


def test_an_individual_workspace_has_one_member(office: Office, cast: Cast) -> None:
    charlie = cast.charlie
    Workspace.objects.filter(pk=charlie.workspace.pk).update(kind="individual")
    row = {"id": charlie.membership.pk, "workspace": charlie.workspace.pk, "role": "owner"}
    new = {"user": cast.bob.user.pk, "workspace": charlie.workspace.pk, "role": "member"}
    only = "An individual workspace has one member."

    refused = office.save(charlie.workspace, **formset("memberships", row, initial=1), **formset("memberships-2", new))
    assert complaints(refused) == [only]
    assert errors(office.add(Membership, **new)) == {"__all__": [only]}
    people = [{"user": person.user.pk, "role": "owner"} for person in cast]
    refused = office.add(
        Workspace,
        name="New",
        slug="new",
        kind="individual",
        **formset("memberships"),
        **formset("memberships-2", *people),
    )
    assert complaints(refused) == [only]
    assert [m.user for m in charlie.workspace.memberships.all()] == [charlie.user]
    assert not Workspace.objects.filter(slug="new").exists()
    one = {**formset("memberships"), **formset("memberships-2", people[0])}
    assert office.add(Workspace, name="New", slug="new", kind="individual", **one).status_code == 302
    assert Membership.objects.get(workspace__slug="new").user == cast.alice.user


def test_a_workspace_keeps_an_owner(office: Office, cast: Cast) -> None:
    """Whether they are demoted or removed, on which page, alone or together with the other one."""
    alice, bob, workspace = cast.alice.membership, cast.bob.membership, cast.alice.workspace
    keeps = "A workspace keeps at least one owner."

    def save(*changes: dict[str, Any]) -> Any:
        people = [bob, alice]
        rows = [{"id": m.pk, "workspace": workspace.pk, "role": again(m).role} for m in people]
        rows = [row | change for row, change in zip(rows, changes, strict=True)]
        return office.save(workspace, **formset("memberships", *rows, initial=2), **formset("memberships-2"))

    def remove(*memberships: Membership) -> Any:
        data = {"action": "delete_selected", "_selected_action": [str(m.pk) for m in memberships], "post": "yes"}
        return office.client.post(office.url(Membership, "changelist"), data)

    assert errors(office.save(alice, role="admin")) == {"role": [keeps]}
    assert complaints(save({}, {"role": "viewer"})) == [keeps]
    assert complaints(save({}, {"DELETE": "on"})) == [keeps]
    assert keeps in office.client.post(office.url(Membership, "delete", alice.pk), {"post": "yes"}).text
    assert keeps in remove(alice, bob).text

    assert office.save(bob, role="owner").status_code == 302
    assert complaints(save({"role": "admin"}, {"role": "admin"})) == [keeps]
    assert complaints(save({"role": "admin"}, {"DELETE": "on"})) == [keeps]
    assert keeps in remove(alice, bob).text
    assert {again(alice).role, again(bob).role} == {"owner"}

    assert save({}, {"role": "viewer"}).status_code == 302
    assert remove(alice).status_code == 302
    assert [(m.user, m.role) for m in workspace.memberships.all()] == [(cast.bob.user, "owner")]


def test_a_member_keeps_user_and_workspace(office: Office, cast: Cast) -> None:
    response = office.save(cast.bob.membership, role="viewer", user=cast.charlie.user.pk)

    assert response.status_code == 302
    assert (again(cast.bob.membership).role, again(cast.bob.membership).user) == ("viewer", cast.bob.user)


@pytest.mark.parametrize("way", ["page", "list", "workspace"])
def test_a_removed_members_token_stays_dead_when_they_come_back(office: Office, cast: Cast, way: str) -> None:
    bob, workspace = cast.bob, cast.alice.workspace
    if way == "page":
        office.client.post(office.url(Membership, "delete", bob.membership.pk), {"post": "yes"})
    elif way == "list":
        data = {"action": "delete_selected", "_selected_action": [str(bob.membership.pk)], "post": "yes"}
        office.client.post(office.url(Membership, "changelist"), data)
    else:
        office.save(workspace, **members_of(cast, DELETE="on"), **formset("memberships-2"))
    assert not Membership.objects.filter(pk=bob.membership.pk).exists()

    assert office.add(Membership, user=bob.user.pk, workspace=workspace.pk, role="member").status_code == 302
    assert caller_of(bob.token) is None
    assert AccessToken.objects.get(user=bob.user).revoked_at is not None
    assert caller_of(cast.alice.token) is not None


# --- Access tokens --------------------------------------------------------------------------------------------------


def test_a_new_token_is_shown_exactly_once_and_works(office: Office, cast: Cast) -> None:
    alice = cast.alice
    url = office.url(AccessToken, "add")
    typed = {"user": alice.user.pk, "workspace": alice.workspace.pk, "name": "Alice's script"}

    form = office.client.get(url).context["adminform"].form
    page = office.client.post(url, {**shown(form), **typed}, follow=True)

    assert page.redirect_chain, errors(page)
    (message,) = [str(m) for m in page.context["messages"] if "sk-syn-" in str(m) and "Copy" in str(m)]
    raw = message.rpartition(" ")[2]
    assert page.text.count(raw) == 1
    caller = caller_of(raw)
    assert caller is not None
    assert (caller.user, caller.token.scopes) == (alice.user, ["chat", "read", "billing", "keys", "admin"])
    token = AccessToken.objects.get(name="Alice's script")
    for later in (office.list(AccessToken), office.open(token), office.client.get("/admin/")):
        assert raw not in later.text
        assert token.digest not in later.text
    assert notes(token) == ["Created."]


def test_a_new_token_has_the_rules_that_were_typed(office: Office, cast: Cast, llm: LLM) -> None:
    bob = cast.bob
    typed = {
        "user": bob.user.pk, "workspace": bob.workspace.pk, "name": "Bob's editor", "scopes": '["chat", "read"]',
        "allowed_models": '["openai/openai-test"]', "requests_per_minute": "10", "tokens_per_minute": "5000",
        "spend_limit_usd": "2.50", "spend_period": "month",
    }  # fmt: skip
    response = office.add(AccessToken, **typed)

    assert response.status_code == 302, errors(response)
    token = AccessToken.objects.get(name="Bob's editor")
    assert (token.scopes, token.allowed_models) == (["chat", "read"], ["openai/openai-test"])
    assert (token.requests_per_minute, token.tokens_per_minute) == (10, 5000)
    assert (token.spend_limit_usd, token.spend_period) == (Decimal("2.5"), "month")
    page = office.open(token).text
    assert "2.50" in page
    assert token.digest not in page


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scopes", "[]"),
        ("scopes", '["everything"]'),
        ("scopes", '"chat"'),
        ("scopes", "[[]]"),
        ("allowed_models", "[1]"),
        ("requests_per_minute", "0"),
        ("tokens_per_minute", "-1"),
        ("spend_limit_usd", "0"),
        ("spend_limit_usd", "-1"),
        ("spend_period", "year"),
    ],
)
def test_a_token_with_a_wrong_rule_is_not_issued(office: Office, cast: Cast, field: str, value: str) -> None:
    typed = {"user": cast.bob.user.pk, "workspace": cast.bob.workspace.pk, "name": "x"}

    assert field in errors(office.add(AccessToken, **typed, **{field: value}))
    assert not AccessToken.objects.filter(name="x").exists()


@pytest.mark.parametrize("who", ["charlie", "nobody"])
def test_a_token_that_would_not_work_is_not_issued(office: Office, cast: Cast, who: str) -> None:
    user = {"charlie": cast.charlie.user.pk, "nobody": ""}[who]
    typed = {"user": user, "workspace": cast.alice.workspace.pk, "name": "x"}

    assert "user" in errors(office.add(AccessToken, **typed))
    past = {"user": cast.bob.user.pk, "expires_at_0": "2020-01-01", "expires_at_1": "00:00:00"}
    assert "expires_at" in errors(office.add(AccessToken, **{**typed, **past}))
    assert not AccessToken.objects.filter(name="x").exists()


# --- Variables ------------------------------------------------------------------------------------------------------


def add_variable(office: Office, **typed: Any) -> Any:
    return office.add(UserVariable, **{"category": "api_key", "name": "openai", "value": SECRET, **typed})


@pytest.mark.parametrize("owner", ["user", "workspace"])
def test_a_value_goes_in_and_does_not_come_out(office: Office, cast: Cast, owner: str) -> None:
    response = add_variable(office, **{owner: getattr(cast.alice, owner).pk})

    assert response.status_code == 302, errors(response)
    variable = UserVariable.objects.get()
    assert variable.get_value() == SECRET
    page = office.open(variable).text
    assert SECRET not in page
    assert "••••wxyz" in page


@pytest.mark.parametrize("name", ["nobody", "demo", "OpenAI", "private"])
def test_a_provider_key_is_of_a_provider_that_takes_keys(office: Office, cast: Cast, name: str) -> None:
    refused = add_variable(office, user=cast.alice.user.pk, name=name)
    assert errors(refused) == {
        "name": [f"“{name}” is none of the providers: anthropic, deepseek, google, grok, llama, openai."]
    }
    assert add_variable(office, user=cast.alice.user.pk, name=name, category="general").status_code == 302


def test_a_value_is_replaced_or_kept(office: Office, cast: Cast) -> None:
    add_variable(office, user=cast.alice.user.pk)
    variable = UserVariable.objects.get()

    assert office.save(variable, is_active="").status_code == 302
    assert (again(variable).is_active, again(variable).get_value()) == (True, SECRET)
    assert office.save(variable, value="another-secret-1234").status_code == 302
    assert (again(variable).get_value(), again(variable).hint) == ("another-secret-1234", "1234")


def test_what_a_value_is_bound_to_stays(office: Office, cast: Cast) -> None:
    add_variable(office, user=cast.alice.user.pk)
    variable = UserVariable.objects.get()

    assert office.save(variable, name="grok", category="general", user=cast.bob.user.pk).status_code == 302
    assert again(variable).get_value() == SECRET
    assert (again(variable).name, again(variable).user) == ("openai", cast.alice.user)


def test_a_variable_has_one_owner_a_value_and_a_name_of_its_own(office: Office, cast: Cast) -> None:
    both = {"user": cast.alice.user.pk, "workspace": cast.alice.workspace.pk}

    assert errors(add_variable(office))
    assert errors(add_variable(office, **both))
    assert "value" in errors(add_variable(office, user=cast.alice.user.pk, value=""))
    assert add_variable(office, user=cast.alice.user.pk).status_code == 302
    assert errors(add_variable(office, user=cast.alice.user.pk))
    assert UserVariable.objects.count() == 1


def test_a_rejected_form_does_not_repeat_the_value(office: Office, cast: Cast) -> None:
    response = add_variable(office)

    assert response.status_code == 200
    assert SECRET not in response.text
