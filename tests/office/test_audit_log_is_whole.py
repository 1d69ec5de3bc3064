"""Nothing that is noted whoever changes it is changed without an entry, whichever statement changes it."""

from __future__ import annotations

from typing import Any

import pytest

from analytics.models import AlertRule, WebhookEndpoint
from llm import connections
from llm.models import ProviderConnection
from tests.admin.rows import Office
from tests.analytics.alerting import make_endpoint, make_rule
from tests.audited import changes, entries, notes
from tests.people import Cast
from workspaces.models import AccessToken, Membership, UserVariable

pytestmark = pytest.mark.django_db
REPLACED = "The secret was replaced or removed."


@pytest.fixture(name="key")
def make_key(cast: Cast) -> UserVariable:
    key = UserVariable(workspace=cast.alice.workspace, category="api_key", name="openai")
    key.set_value("sk-one-0123456789-wxyz")
    key.save()
    return key


@pytest.mark.parametrize("secret", ["sk-two-9876543210-wxyz", "sk-three-9876543210-abcd"])
def test_a_key_that_is_replaced_by_an_operator(office: Office, key: UserVariable, secret: str) -> None:
    """One entry, also where the new one ends like the old one."""
    assert office.save(key, value=secret).status_code == 302
    assert notes(key) == [REPLACED if secret.endswith("wxyz") else "Changed."]


def test_a_key_of_a_host(office: Office) -> None:
    host = ProviderConnection(slug="ours", name="Ours", base_url="https://models.example/v1")
    connections.set_key(host, "short-one")
    host.save()
    assert office.save(host, key="short-two").status_code == 302
    assert notes(host) == [REPLACED]
    assert office.save(host, key="", forgets_key="on").status_code == 302
    assert notes(host) == [REPLACED, REPLACED]
    assert office.save(host, name="Theirs").status_code == 302
    assert notes(host)[2:] == ["Changed."]


def test_a_token_that_is_revoked_through_the_api(cast: Cast) -> None:
    token, _ = AccessToken.issue(user=cast.alice.user, workspace=cast.alice.workspace, name="other")
    for _again in range(2):
        assert cast.alice.delete(f"access-tokens/{token.pk}").status_code == 204
    (entry,) = entries(token)
    assert (entry.actor, entry.additional_data["what"], entry.changes["revoked_at"][0]) == (
        cast.alice.user, "Revoked.", "None",
    )  # fmt: skip


def test_the_tokens_of_who_leaves(office: Office, cast: Cast) -> None:
    token = AccessToken.objects.get(user=cast.bob.user)
    url = office.url(Membership, "delete", cast.bob.membership.pk)
    assert office.client.post(url, {"post": "yes"}).status_code == 302
    assert (notes(kind=Membership), notes(token)) == (["Deleted."], ["Revoked."])


def test_rules_and_webhooks_that_are_deleted_and_a_secret_that_is_made_anew(cast: Cast) -> None:
    alice = cast.alice
    rule = make_rule(alice.workspace)
    hook, _ = make_endpoint(alice.workspace, "https://hooks.example.com/ours", allows_private_addresses=False)
    assert alice.post(f"analytics/webhooks/{hook.pk}/rotate").status_code == 200
    assert notes(hook) == [REPLACED]
    deleted: list[tuple[Any, str]] = [(rule, "alert-rules"), (hook, "webhooks")]
    for row, where in deleted:
        assert alice.delete(f"analytics/{where}/{row.pk}").status_code == 204
        assert (notes(row)[-1], entries(row)[-1].actor) == ("Deleted.", alice.user)
    assert changes(rule)["name"] == ["Cost", "None"]
    assert (AlertRule.objects.filter(pk=rule.pk).count(), WebhookEndpoint.objects.count()) == (0, 0)
    assert "ciphertext" not in changes(hook)
