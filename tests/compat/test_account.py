"""``/v1/models``, ``/v1/key`` and the dashboards, as the SDKs and older clients read them; and who may see what."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from django.db.models import Sum
from django.urls import get_resolver
from django.utils import timezone

from conversations.compat import account
from conversations.models import UsageLog
from llm.models import LLM
from tests.api.asking import set_wallet
from tests.compat.clients import HELLO, Clients, set_own_key
from tests.people import Cast, Person, fund
from tests.providers.standins import StandIn
from workspaces.models import AccessToken, Workspace

GETS = ("models", "models/openai/openai-test", "key", "dashboard/billing/subscription", "dashboard/billing/usage")


def token_of(person: Person) -> AccessToken:
    return AccessToken.objects.get(workspace=person.workspace, user=person.user)


# models --------------------------------------------------------------------------------------------------------------


def test_models_in_openais_sdk(clients: Clients, alice: Person, models: dict[str, LLM]) -> None:
    listed = clients.openai(alice).models.list()
    assert [model.id for model in listed] == sorted(map(str, models.values()))
    one = clients.openai(alice).models.retrieve("openai/openai-test")
    assert (one.id, one.object, one.owned_by) == ("openai/openai-test", "model", "openai")
    assert one.created == int(models["openai"].created_at.timestamp())
    assert one in listed.data


def test_models_in_anthropics_sdk(clients: Clients, alice: Person, models: dict[str, LLM]) -> None:
    listed = list(clients.anthropic(alice).models.list(limit=2))
    assert [model.id for model in listed] == sorted(map(str, models.values()))
    one = clients.anthropic(alice).models.retrieve("google/google-test")
    assert (one.id, one.type, one.display_name, one.lifecycle) == (
        "google/google-test",
        "model",
        "google-test",
        "active",
    )
    assert (one.created_at, one.max_input_tokens, one.max_tokens) == (models["google"].created_at, 100_000, 8192)


def test_a_model_by_its_short_name(clients: Clients, alice: Person, models: dict[str, LLM]) -> None:
    assert clients.openai(alice).models.retrieve("grok-test").id == "grok/grok-test"


def test_only_what_may_be_called_is_listed(clients: Clients, alice: Person, models: dict[str, LLM]) -> None:
    Workspace.objects.filter(pk=alice.workspace.pk).update(allowed_models=["openai/openai-test", "google/google-test"])
    AccessToken.objects.filter(pk=token_of(alice).pk).update(allowed_models=["openai/openai-test", "grok/grok-test"])
    assert [model.id for model in clients.openai(alice).models.list()] == ["openai/openai-test"]
    with pytest.raises(openai.NotFoundError):
        clients.openai(alice).models.retrieve("google/google-test")
    with pytest.raises(anthropic.NotFoundError) as caught:
        clients.anthropic(alice).models.retrieve("nobody/nothing")
    assert caught.value.error_code == "model_not_found"


# the key -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def used(clients: Clients, cast: Cast, models: dict[str, LLM], paid: StandIn) -> None:
    """Alice's token was used on the house's key and on her own, Bob's and Charlie's on the house's."""
    fund(cast.charlie.workspace, "1")
    set_wallet(cast.alice.workspace, markup_bps=250, own_key_fee_bps=1000)
    set_own_key(cast.alice, "google")
    for person, count in ((cast.alice, 3), (cast.bob, 1), (cast.charlie, 1)):
        for _ in range(count):
            clients.ask("openai", person, str(models["openai"]))
    for _ in range(2):
        clients.ask("anthropic", cast.alice, str(models["google"]))


def sums(token: AccessToken, since: datetime | None) -> tuple[str, str]:
    """What the rows say: charges on the house's key, and what calls on own keys cost at the provider."""
    logs = UsageLog.objects.filter(workspace=token.workspace, access_token=token)
    if since:
        logs = logs.filter(created_at__gte=since)
    charged = sum((log.charged_usd for log in logs if log.key_source == "global"), start=Decimal("0.00"))
    own = sum((log.cost_usd for log in logs if log.key_source != "global"), start=Decimal("0.00"))
    return format(charged.normalize(), "f"), format(own.normalize(), "f")


def test_what_a_key_has_used(clients: Clients, alice: Person, used: None) -> None:
    token = token_of(alice)
    data = clients.get(alice, "key").json()["data"]
    today = datetime.combine(timezone.now().date(), time(), tzinfo=UTC)
    starts = {
        "": None,
        "_daily": today,
        "_weekly": today - timedelta(days=today.weekday()),
        "_monthly": today.replace(day=1),
    }
    for suffix, since in starts.items():
        assert (data[f"usage{suffix}"], data[f"byok_usage{suffix}"]) == sums(token, since)
    # Three calls at $0.00002 with 2.5 % on top; two on her own key, at the provider's price.
    assert (data["usage"], data["byok_usage"]) == ("0.0000615", "0.00004")
    assert data["label"] == f"sk-syn-{token.prefix}…"
    assert (data["name"], data["limit"], data["limit_remaining"], data["limit_reset"]) == (
        "alice's token",
        None,
        None,
        None,
    )
    assert (data["include_byok_in_limit"], data["is_free_tier"], data["expires_at"]) == (False, False, None)
    assert data["scopes"] == ["chat", "read", "billing", "keys", "admin"]
    assert alice.token not in str(data)


def test_the_periods_move_on(alice: Person, clients: Clients, used: None) -> None:
    """Seen from forty days later, nothing was used this month; in all it was."""
    token = token_of(alice)
    later = account._usage(token, timezone.now() + timedelta(days=40))
    assert (later["usage"], later["byok_usage"]) == (Decimal("0.0000615"), Decimal("0.00004"))
    assert {amount for name, amount in later.items() if "ly" in name} == {Decimal(0)}


def test_a_key_with_a_limit(clients: Clients, alice: Person, models: dict[str, LLM], paid: StandIn) -> None:
    AccessToken.objects.filter(pk=token_of(alice).pk).update(spend_limit_usd=Decimal("0.5"), spend_period="month")
    clients.ask("openai", alice, str(models["openai"]))
    data = clients.get(alice, "key").json()["data"]
    assert (data["limit"], data["limit_remaining"], data["limit_reset"]) == ("0.50", "0.49998", "monthly")


# dashboards ----------------------------------------------------------------------------------------------------------


def test_what_older_clients_show_as_left(clients: Clients, alice: Person, used: None) -> None:
    """``hard_limit_usd`` less ``total_usage`` cents, as numbers with all their digits."""
    subscription = clients.get(alice, "dashboard/billing/subscription")
    usage = clients.get(alice, "dashboard/billing/usage?start_date=2026-01-01&end_date=2026-12-31")
    assert set(subscription.json()) == {
        *("object", "has_payment_method", "soft_limit_usd", "hard_limit_usd", "system_hard_limit_usd", "access_until"),
    }
    import json

    limit = json.loads(subscription.text, parse_float=Decimal)["hard_limit_usd"]
    cents = json.loads(usage.text, parse_float=Decimal)
    charged = UsageLog.objects.filter(workspace=alice.workspace, access_token=token_of(alice))
    # The platform's fee of her own calls is charged as well.
    assert cents["total_usage"] == charged.aggregate(sum=Sum("charged_usd"))["sum"] * 100
    everything = UsageLog.objects.filter(workspace=alice.workspace).aggregate(sum=Sum("charged_usd"))["sum"]
    assert limit - cents["total_usage"] / 100 == 1 - everything
    assert (subscription.json()["object"], usage.json()["object"]) == ("billing_subscription", "list")


def test_what_is_left_of_a_limited_key(clients: Clients, alice: Person, paid: StandIn) -> None:
    expires = timezone.now() + timedelta(days=1)
    AccessToken.objects.filter(pk=token_of(alice).pk).update(spend_limit_usd=Decimal("0.25"), expires_at=expires)
    body = clients.get(alice, "dashboard/billing/subscription").json()
    assert (body["hard_limit_usd"], body["access_until"]) == (0.25, int(expires.timestamp()))


def test_an_untracked_wallet_never_ends(clients: Clients, alice: Person, paid: StandIn) -> None:
    set_wallet(alice.workspace, mode="untracked")
    assert clients.get(alice, "dashboard/billing/subscription").json()["hard_limit_usd"] == 100_000_000


# who -----------------------------------------------------------------------------------------------------------------


def test_every_address_is_tried_here() -> None:
    """One that is added later must be added to the tests of who may see what."""
    patterns = next(part for part in get_resolver().url_patterns if str(part.pattern) == "v1/").url_patterns
    assert {pattern.name for pattern in patterns} == {
        *("v1-models", "v1-model", "v1-key", "v1-subscription", "v1-usage"),
        *("v1-chat-completions", "v1-messages", "v1-count-tokens", "v1-nowhere"),
    }


@pytest.mark.parametrize("path", GETS)
def test_everybody_sees_what_is_theirs(
    clients: Clients, cast: Cast, victor: Person, models: dict[str, LLM], path: str
) -> None:
    for person in (*cast, victor):
        assert clients.get(person, path).status_code == 200
    assert clients.get(cast.alice, f"{path}/").status_code == 200


@pytest.mark.parametrize("path", [*GETS, "chat/completions", "messages", "messages/count_tokens"])
@pytest.mark.parametrize("token", ["", "sk-syn-nobody", "sk-proj-of-another-house"])
def test_nobody_without_a_token(clients: Clients, models: dict[str, LLM], path: str, token: str) -> None:
    method, headers = "GET" if path in GETS else "POST", {"Authorization": f"Bearer {token}"} if token else {}
    response = httpx2.request(method, f"{clients.url}/v1/{path}", json={"messages": HELLO}, headers=headers, timeout=30)
    assert response.status_code == 401
    assert response.json()["error"]["type"] == "authentication_error"


def test_a_key_tells_of_itself_alone(clients: Clients, cast: Cast, used: None) -> None:
    figures: dict[str, Any] = {}
    for person in cast:
        data = clients.get(person, "key").json()["data"]
        figures[data["name"]] = (data["usage"], data["byok_usage"])
    assert figures == {
        "alice's token": ("0.0000615", "0.00004"),
        "bob's token": ("0.0000205", "0.00"),
        "charlie's token": ("0.00002", "0.00"),
    }


def test_a_viewer_may_look_but_not_call(
    clients: Clients, victor: Person, models: dict[str, LLM], paid: StandIn
) -> None:
    for sdk in ("openai", "anthropic"):
        for streams in (False, True):
            clients.refused("PermissionDeniedError", sdk, victor, str(models["openai"]), stream=streams)
    with pytest.raises(anthropic.PermissionDeniedError):
        clients.anthropic(victor).messages.count_tokens(model=str(models["openai"]), messages=HELLO)
    assert paid.requests == []
