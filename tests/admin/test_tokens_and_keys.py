"""Tokens are revoked and prolonged, keys switched off and on: in two steps, with a reason, by those who may."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from synapscale.common.history import what
from tests.admin.rows import SECRET, Office, again, errors
from tests.audited import changes, entries, notes
from tests.people import Cast
from workspaces.authentication import caller_of
from workspaces.models import AccessToken, User, UserVariable

CONFIRMED = {"typed": "1", "confirmed": "1", "reason": "It leaked"}


@pytest.fixture
def bobs(cast: Cast) -> AccessToken:
    return AccessToken.objects.get(user=cast.bob.user)


@pytest.fixture
def key(cast: Cast) -> UserVariable:
    variable = UserVariable(workspace=cast.alice.workspace, category="api_key", name="openai")
    variable.set_value(SECRET)
    variable.save()
    return variable


def page(row: Any, action: str) -> str:
    return f"/admin/workspaces/{type(row)._meta.model_name}/{row.pk}/{action}/"


def said(office: Office, response: Any) -> str:
    assert response.status_code == 302, response.text
    return " ".join(map(str, office.client.get(response["Location"]).context["messages"]))


def allow(user: User, *codenames: str) -> None:
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))


# --- Tokens -----------------------------------------------------------------------------------------------------------


def test_a_token_is_not_edited(office: Office, bobs: AccessToken) -> None:
    assert office.client.post(office.url(AccessToken, "change", bobs.pk), {"name": "x"}).status_code == 403


def test_a_token_is_revoked_on_its_page(office: Office, cast: Cast, bobs: AccessToken) -> None:
    url = page(bobs, "revoke")
    assert url in office.open(bobs).text
    assert "last used: never" in office.client.get(url).text

    shown = office.client.post(url, {"typed": "1", "reason": "It leaked"})
    assert "refused from now on, with status 401" in shown.text
    assert "reason" in office.client.post(url, {"typed": "1", "confirmed": "1"}).context["form"].errors
    assert caller_of(cast.bob.token) is not None

    assert said(office, office.client.post(url, CONFIRMED)) == "Revoked: 1."
    (entry,) = entries(bobs)
    assert (what(entry), entry.actor.email, entry.additional_data["reason"]) == (
        "Revoked.",
        "root@example.org",
        "It leaked",
    )
    assert entry.changes == {"revoked_at": ["None", str(again(bobs).revoked_at)]}
    assert caller_of(cast.bob.token) is None
    assert caller_of(cast.alice.token) is not None
    when = again(bobs).revoked_at
    assert "There was nothing left to do" in said(office, office.client.post(url, CONFIRMED))
    assert again(bobs).revoked_at == when
    shown = office.open(again(bobs)).text
    assert url not in shown
    assert "revoked " in shown
    assert "It stays so: issue a new one." in shown


def test_tokens_are_revoked_in_the_list(office: Office, cast: Cast, bobs: AccessToken) -> None:
    alices, gone = AccessToken.objects.get(user=cast.alice.user), AccessToken.objects.get(user=cast.charlie.user)
    AccessToken.objects.filter(pk=gone.pk).update(revoked_at=timezone.now())

    asked = office.act(AccessToken, "revoke", bobs, alices, gone)
    assert "2 tokens" in asked.text
    assert "charlie@example.org in Rival" not in asked.text
    assert again(bobs).revoked_at is None
    form = {"action": "revoke", "_selected_action": [str(bobs.pk), str(alices.pk)], **CONFIRMED}
    url = office.url(AccessToken, "changelist")
    assert said(office, office.client.post(url, form)) == "Revoked: 2."
    assert caller_of(cast.alice.token) is caller_of(cast.bob.token) is None
    assert notes(bobs) == notes(alices) == ["Revoked."]
    assert "They are all revoked already." in office.client.post(url, form, follow=True).text


def test_a_tokens_expiry_is_changed_while_it_is_not_revoked(office: Office, cast: Cast, bobs: AccessToken) -> None:
    url = page(bobs, "expiry")
    ends = (timezone.now() + timedelta(days=5)).replace(microsecond=0)
    typed = {"expires_at_0": f"{ends:%Y-%m-%d}", "expires_at_1": f"{ends:%H:%M:%S}"}

    past = office.client.post(url, {**CONFIRMED, "expires_at_0": "2020-01-01", "expires_at_1": "00:00:00"})
    assert list(past.context["form"].errors) == ["expires_at"]
    assert "Never → " in office.client.post(url, {"typed": "1", "reason": "x", **typed}).text.replace("never", "Never")
    assert again(bobs).expires_at is None
    assert "It expires: " in said(office, office.client.post(url, {**CONFIRMED, **typed}))
    assert again(bobs).expires_at == ends
    assert "There was nothing left to do" in said(office, office.client.post(url, {**CONFIRMED, **typed}))
    assert said(office, office.client.post(url, CONFIRMED)) == "It expires: never."
    assert changes(bobs) == {"expires_at": [str(ends), "None"]}

    AccessToken.objects.filter(pk=bobs.pk).update(revoked_at=timezone.now())
    refused = office.client.post(url, {**CONFIRMED, **typed})
    assert "This access token was revoked." in refused.text
    assert again(bobs).expires_at is None


def test_who_has_switched_languages_is_shown_the_effect_once_more(office: Office, bobs: AccessToken) -> None:
    url = page(bobs, "expiry")
    typed = {**CONFIRMED, "expires_at_0": "03/04/2040", "expires_at_1": "12:00"}  # March, or the 3rd of April

    assert "This is what will happen" in office.client.post(url, {**typed, "language": "pt-br"}).text
    assert again(bobs).expires_at is None
    assert "It expires: " in said(office, office.client.post(url, {**typed, "language": "en"}))


def test_tokens_are_found_by_when_they_expire(office: Office, cast: Cast, bobs: AccessToken) -> None:
    now = timezone.now()
    made = {}
    for name, ends, revoked in (
        ("soon", 13.9, None),
        ("later", 14.1, None),
        ("expired", -1, None),
        ("gone", 5, now),
    ):
        token, _ = AccessToken.issue(
            user=cast.bob.user, workspace=cast.bob.workspace, name=name, expires_at=now + timedelta(days=ends)
        )
        AccessToken.objects.filter(pk=token.pk).update(revoked_at=revoked)
        made[name] = token.pk
    for name in ("soon", "later", "expired"):
        assert office.found(AccessToken, expiry=name) == {made[name]}
    assert bobs.pk in office.found(AccessToken, expiry="never")
    text = office.list(AccessToken).text
    for words in ("expires in 13 days", "expired ", "revoked ", "valid"):
        assert words in text


def test_what_is_done_with_tokens_asks_for_the_permission(
    clerks_office: Office, clerk: User, bobs: AccessToken
) -> None:
    allow(clerk, "view_accesstoken")
    for action in ("revoke", "expiry"):
        assert page(bobs, action) not in clerks_office.open(bobs).text
        assert clerks_office.client.get(page(bobs, action)).status_code == 403
        assert clerks_office.client.post(page(bobs, action), CONFIRMED).status_code == 403
        assert Client().get(page(bobs, action)).status_code == 302
    form = {"action": "revoke", "_selected_action": [str(bobs.pk)], **CONFIRMED}
    clerks_office.client.post(clerks_office.url(AccessToken, "changelist"), form)
    assert again(bobs).revoked_at is None

    allow(clerk, "view_accesstoken", "change_accesstoken")
    assert clerks_office.client.post(page(bobs, "revoke"), CONFIRMED).status_code == 302
    assert again(bobs).revoked_at is not None


# --- Keys -------------------------------------------------------------------------------------------------------------


def test_a_key_is_switched_off_and_on(office: Office, key: UserVariable) -> None:
    off, on = page(key, "switch-off"), page(key, "switch-on")
    shown = office.open(key).text
    assert off in shown
    assert on not in shown
    effect = office.client.post(off, {"typed": "1", "reason": "It leaked"})
    assert "run on the next key that there is" in effect.text
    assert again(key).is_active

    assert said(office, office.client.post(off, CONFIRMED)) == "Switched off."
    assert changes(key) == {"is_active": ["True", "False"]}
    assert not again(key).is_active
    assert "There was nothing left to do" in said(office, office.client.post(off, CONFIRMED))
    shown = office.open(again(key)).text
    assert off not in shown
    assert "switched off" in shown
    assert said(office, office.client.post(on, CONFIRMED)) == "Switched on."
    assert again(key).get_value() == SECRET


def test_a_keys_expiry_is_set_in_its_form(office: Office, key: UserVariable) -> None:
    past = {"expires_at_0": "2020-01-01", "expires_at_1": "00:00:00"}
    assert set(errors(office.save(key, **past))) == {"expires_at"}
    ends = timezone.now() + timedelta(days=10)
    typed = {"expires_at_0": f"{ends:%Y-%m-%d}", "expires_at_1": "00:00:00"}
    assert office.save(key, **typed).status_code == 302
    assert office.found(UserVariable, expiry="soon") == {key.pk}
    assert "expires in 9 days" in office.list(UserVariable).text
    UserVariable.objects.filter(pk=key.pk).update(expires_at=timezone.now() - timedelta(days=1))
    assert office.found(UserVariable, expiry="expired") == {key.pk}
    assert office.save(again(key), value="sk-another-0123456789").status_code == 302  # what has passed may stay


def test_what_is_done_with_keys_asks_for_the_permission(clerks_office: Office, clerk: User, key: UserVariable) -> None:
    allow(clerk, "view_uservariable")
    for action in ("switch-off", "switch-on", "test"):
        assert page(key, action) not in clerks_office.open(key).text
        assert clerks_office.client.get(page(key, action)).status_code == 403
        assert clerks_office.client.post(page(key, action), CONFIRMED).status_code == 403
    assert again(key).is_active
    allow(clerk, "view_uservariable", "change_uservariable")
    assert page(key, "test") in clerks_office.open(key).text
    assert clerks_office.client.post(page(key, "switch-off"), CONFIRMED).status_code == 302
