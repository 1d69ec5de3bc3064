"""/llm/models and /llm/providers: what a workspace may call, and what it costs now."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from llm.models import LLM, LLMPrice
from tests.api.asking import assert_invalid, error_of
from tests.catalogue import SINCE, make_llm
from tests.people import Person
from tests.providers.standins import StandIn
from workspaces.models import UserVariable, Workspace


def names(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [row["model"] for row in response.json()["results"]]


def allow(person: Person, *models: str) -> None:
    Workspace.objects.filter(pk=person.workspace.pk).update(allowed_models=list(models))


def test_a_model_and_its_price(alice: Person, settings: Any) -> None:
    price = {
        "input_usd_per_mtok": Decimal("1.25"),
        "cached_input_usd_per_mtok": Decimal("0.125"),
        "output_usd_per_mtok": Decimal("10"),
        "request_fee_usd": Decimal("0.000001"),
        "tiers": [{"above_input_tokens": 1000, "input": "2", "cached_input": "0.2", "output": "20"}],
    }
    llm = make_llm("openai", "gpt-x", price=price, version="7")
    shown = alice.get(f"llm/models/{llm.pk}").json()
    assert shown == {
        "id": str(llm.pk),
        "model": "openai/gpt-x",
        "provider": "openai",
        "name": "gpt-x",
        "display_name": "gpt-x",
        "version": "7",
        "context_window": 100_000,
        "max_output_tokens": 8192,
        "supports_streaming": True,
        "supports_function_calling": True,
        "supports_vision": True,
        "supports_structured_output": True,
        "supports_reasoning": False,
        "supports_prompt_caching": False,
        "price": {
            "id": str(llm.prices.get().pk),
            "input_usd_per_mtok": "1.25",
            "cached_input_usd_per_mtok": "0.125",
            "cache_write_5m_usd_per_mtok": None,
            "cache_write_1h_usd_per_mtok": None,
            "output_usd_per_mtok": "10.00",
            "request_fee_usd": "0.000001",
            "tiers": price["tiers"],
            "windows": [],
            "effective_from": SINCE.isoformat().replace("+00:00", "Z"),
        },
        "is_available": False,
    }
    assert alice.get("llm/models").json()["results"] == [shown]


def test_a_large_price_has_no_exponent(alice: Person) -> None:
    llm = make_llm(price={"input_usd_per_mtok": Decimal("100000")})
    assert alice.get(f"llm/models/{llm.pk}").json()["price"]["input_usd_per_mtok"] == "100000.00"


def test_the_price_is_that_of_now(alice: Person, llm: LLM) -> None:
    now = timezone.now()
    rates = {"input_usd_per_mtok": Decimal(3), "output_usd_per_mtok": Decimal(4)}
    LLMPrice.supersede(llm=llm, effective_from=now - timedelta(days=1), **rates)
    rates = {"input_usd_per_mtok": Decimal(5), "output_usd_per_mtok": Decimal(6)}
    LLMPrice.supersede(llm=llm, effective_from=now + timedelta(days=1), **rates)
    assert alice.get(f"llm/models/{llm.pk}").json()["price"]["input_usd_per_mtok"] == "3.00"


def test_a_model_without_a_price(alice: Person, house_keys: StandIn) -> None:
    llm = LLM.objects.create(
        provider="openai", name="free", display_name="Free", context_window=1000, max_output_tokens=1000
    )
    shown = alice.get(f"llm/models/{llm.pk}").json()
    assert (shown["price"], shown["is_available"]) == (None, False)


def test_a_model_is_available_with_a_key_of_the_house(alice: Person, llm: LLM, house_keys: StandIn) -> None:
    assert alice.get(f"llm/models/{llm.pk}").json()["is_available"] is True


def test_a_model_is_available_with_a_key_of_ones_own(alice: Person, bob: Person, llm: LLM) -> None:
    variable = UserVariable(user=bob.user, category="api_key", name="openai")
    variable.set_value("sk-own-0123456789")
    variable.save()
    assert bob.get(f"llm/models/{llm.pk}").json()["is_available"] is True
    assert alice.get(f"llm/models/{llm.pk}").json()["is_available"] is False


def test_a_retired_model_is_not_shown(alice: Person, llm: LLM) -> None:
    LLM.objects.filter(pk=llm.pk).update(is_active=False)
    assert names(alice.get("llm/models")) == []
    error_of(alice.get(f"llm/models/{llm.pk}"), 404, "not_found")


def test_only_allowed_models_are_shown(alice: Person, charlie: Person, llm: LLM) -> None:
    other = make_llm("anthropic", "claude/with-slash")
    make_llm("openai", "claude/with-slash")
    allow(alice, "anthropic/claude/with-slash", "google/gone")
    assert names(alice.get("llm/models")) == ["anthropic/claude/with-slash"]
    assert alice.get(f"llm/models/{other.pk}").status_code == 200
    error_of(alice.get(f"llm/models/{llm.pk}"), 404, "not_found")
    assert len(names(charlie.get("llm/models"))) == 3


@pytest.mark.parametrize("role", ["bob", "victor", "dora"])
def test_everybody_reads_and_nobody_writes(request: pytest.FixtureRequest, llm: LLM, role: str) -> None:
    person: Person = request.getfixturevalue(role)
    assert names(person.get("llm/models")) == ["openai/openai-test"]
    for response in (
        person.post("llm/models", {}),
        person.patch(f"llm/models/{llm.pk}", {"name": "x"}),
        person.delete(f"llm/models/{llm.pk}"),
        person.post("llm/providers", {}),
    ):
        error_of(response, 405, "method_not_allowed")


def test_filters(alice: Person) -> None:
    make_llm("openai", "sees")
    make_llm("anthropic", "blind", supports_vision=False)
    assert names(alice.get("llm/models", provider="anthropic")) == ["anthropic/blind"]
    assert names(alice.get("llm/models", supports_vision="true")) == ["openai/sees"]
    assert names(alice.get("llm/models", name="sees")) == ["openai/sees"]
    assert_invalid(alice.get("llm/models", provider="nobody"), "provider")


def test_the_list_takes_five_queries_however_long(alice: Person, django_assert_num_queries: Any) -> None:
    alice.get("llm/models")
    for count in (1, 20):
        for n in range(count):
            make_llm("openai", f"model-{count}-{n}")
        with django_assert_num_queries(5):  # token, membership, prices, keys, models
            alice.get("llm/models")


def test_providers(alice: Person, settings: Any, llm: LLM) -> None:
    settings.PROVIDERS = {**settings.PROVIDERS, "openai": {"api_key": "sk-house", "base_url": ""}}
    make_llm("openai", "second")
    LLM.objects.filter(pk=make_llm("openai", "third").pk).update(is_active=False)
    response = alice.get("llm/providers")
    assert response.json() == {
        "results": [
            {"name": "openai", "display_name": "OpenAI", "models": 2, "is_configured": True, "circuit": "closed"},
            {
                "name": "anthropic",
                "display_name": "Anthropic",
                "models": 0,
                "is_configured": False,
                "circuit": "closed",
            },
            {"name": "google", "display_name": "Google", "models": 0, "is_configured": False, "circuit": "closed"},
            {"name": "grok", "display_name": "xAI Grok", "models": 0, "is_configured": False, "circuit": "closed"},
            {"name": "deepseek", "display_name": "DeepSeek", "models": 0, "is_configured": False, "circuit": "closed"},
            {"name": "llama", "display_name": "Meta Llama", "models": 0, "is_configured": False, "circuit": "closed"},
        ]
    }
    assert "sk-house" not in response.content.decode()


def test_providers_count_only_allowed_models(alice: Person, llm: LLM) -> None:
    make_llm("openai", "second")
    make_llm("anthropic")
    allow(alice, "openai/second")
    counts = {row["name"]: row["models"] for row in alice.get("llm/providers").json()["results"]}
    assert (counts["openai"], counts["anthropic"]) == (1, 0)


def test_the_demo_is_a_provider_where_it_has_a_model(alice: Person) -> None:
    make_llm("demo")
    assert alice.get("llm/providers").json()["results"][-1] == {
        "name": "demo",
        "display_name": "Demo (offline)",
        "models": 1,
        "is_configured": True,
        "circuit": "closed",
    }
