"""What a host offers, and taking one of its models into the catalogue."""

from __future__ import annotations

import asyncio
import logging
import traceback
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from llm import discovery
from llm.errors import (
    ProviderAuthenticationError,
    ProviderError,
    ProviderHostForbidden,
    ProviderModelNotFound,
    ProviderNotConfigured,
    ProviderTimeout,
    ProviderUnavailable,
)
from llm.models import LLM, LLMPrice, ProviderConnection
from llm.types import Usage
from tests.catalogue import make_llm
from tests.hosting import HOST_KEY, make_connection
from tests.providers.standins import StandIn, answer, fault, refusal
from tests.resolver import Resolver, resolver

__all__ = ["resolver"]
pytestmark = pytest.mark.django_db

MODEL: dict[str, Any] = {
    "model_id": "meta-llama/Llama-4",
    "display_name": "Llama 4",
    "context_window": 100_000,
    "max_output_tokens": 8_000,
    "capabilities": ["streaming", "vision"],
    "input_usd_per_mtok": Decimal("0.10"),
    "output_usd_per_mtok": Decimal("0.20"),
}


@pytest.fixture
def lab(provider: StandIn) -> ProviderConnection:
    return make_connection(provider)


# --- Listing --------------------------------------------------------------------------------------------------------


def test_the_models_of_a_private_host(lab: ProviderConnection, provider: StandIn) -> None:
    provider.answer(models=["zephyr", "meta-llama/Llama-4", "apertus"])
    known = make_llm("private", "lab/meta-llama/Llama-4", connection=lab, is_active=False)
    found = discovery.list_models_now(lab)
    assert [(model.id, model.name, model.llm, model.is_imported) for model in found] == [
        ("apertus", "lab/apertus", None, False),
        ("meta-llama/Llama-4", "lab/meta-llama/Llama-4", known, True),  # retired, but there
        ("zephyr", "lab/zephyr", None, False),
    ]
    (seen,) = provider.requests
    assert (seen.method, seen.path, seen.key) == ("GET", "/v1/models", HOST_KEY)


def test_a_model_of_another_host_or_vendor_is_another_model(lab: ProviderConnection, provider: StandIn) -> None:
    provider.answer(models=["gpt"])
    make_llm("openai", "gpt")
    make_llm("private", "other/gpt", connection=make_connection(provider, "other"))
    assert [model.is_imported for model in discovery.list_models_now(lab)] == [False]


def test_the_models_of_the_llama_host(house_keys: StandIn, settings: Any) -> None:
    house_keys.answer(models=["llama-4", "llama-5"])
    known = make_llm("llama", "llama-4")
    assert [(model.name, model.llm) for model in discovery.list_models_now("llama")] == [
        ("llama-4", known),
        ("llama-5", None),
    ]
    assert house_keys.requests[0].key == settings.PROVIDERS["llama"]["api_key"]
    settings.PROVIDERS = {"llama": {"api_key": "", "base_url": house_keys.openai_url}}
    with pytest.raises(ProviderNotConfigured, match="No key is configured for llama"):
        discovery.list_models_now("llama")


@pytest.mark.django_db(transaction=True)
def test_a_coroutine_can_ask_as_well(lab: ProviderConnection, provider: StandIn) -> None:
    from llm import client

    async def run() -> list[discovery.Found]:
        try:
            return await discovery.list_models(lab)
        finally:
            await client.aclose_all()

    assert [model.id for model in asyncio.run(run())] == ["model-1", "model-2"]


def test_what_is_no_id_is_left_out(lab: ProviderConnection, provider: StandIn) -> None:
    odd: list[Any] = ["ok", "", " ", "a b", "a\nb", "a\x00", "\u202egpt", "x" * 151, 5, None, {"a": 1}, "ok"]
    provider.answer(models=[*odd, "y" * 150])
    assert [model.id for model in discovery.list_models_now(lab)] == ["ok", "y" * 150]


def test_a_list_without_end_is_cut(lab: ProviderConnection, provider: StandIn) -> None:
    provider.answer(models=[f"m-{number:05}" for number in range(10_500)])
    found = discovery.list_models_now(lab)
    assert (len(found), found[0].id, found[-1].id) == (10_000, "m-00000", "m-09999")


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (
            refusal(401, code="invalid_api_key", message="Incorrect API key provided: {key}"),
            ProviderAuthenticationError,
        ),
        (refusal(404), ProviderModelNotFound),
        (refusal(500, message="{key}"), ProviderUnavailable),
        (answer(status=307, headers={"location": "http://127.0.0.1:9/v1/models"}), ProviderError),
        (fault("malformed"), ProviderError),
        (fault("gzip_bomb"), ProviderError),
        (fault("huge_line"), ProviderError),
        (fault("cut"), ProviderUnavailable),
        (fault("hang"), ProviderTimeout),
    ],
)
def test_a_host_that_does_not_list_its_models(
    lab: ProviderConnection,
    provider: StandIn,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    behaviour: Any,
    expected: type[ProviderError],
) -> None:
    settings.LLM_TOTAL_TIMEOUT = 2
    provider.always(behaviour)
    with caplog.at_level(logging.DEBUG), pytest.raises(ProviderError) as caught:
        discovery.list_models_now(lab)
    assert type(caught.value) is expected
    assert len(provider.requests) == 1
    shown = "".join(traceback.TracebackException.from_exception(caught.value).format())
    assert HOST_KEY not in shown + caplog.text


def test_a_host_that_is_not_there_or_not_allowed(
    lab: ProviderConnection, provider: StandIn, resolver: Resolver
) -> None:
    resolver.answer("models.example", ["169.254.169.254"])
    for url, expected in (
        ("http://127.0.0.1:9/v1", ProviderUnavailable),
        ("http://nowhere.example/v1", ProviderUnavailable),
        ("http://models.example/v1", ProviderHostForbidden),
        ("http://169.254.169.254/v1", ProviderHostForbidden),
    ):
        lab.base_url = url
        with pytest.raises(expected):
            discovery.list_models_now(lab)
    lab.is_active = False
    with pytest.raises(ProviderNotConfigured, match="switched off"):
        discovery.list_models_now(lab)
    assert provider.requests == []


# --- Importing ------------------------------------------------------------------------------------------------------


def test_a_model_is_imported_with_its_price(lab: ProviderConnection) -> None:
    before = timezone.now()
    llm = discovery.import_model(source=lab, **MODEL, cached_input_usd_per_mtok=Decimal("0.01"))
    stored = LLM.objects.get()
    assert stored == llm
    assert str(stored) == "private/lab/meta-llama/Llama-4"
    assert (stored.connection, stored.upstream_name, stored.is_active) == (lab, "meta-llama/Llama-4", True)
    assert (stored.display_name, stored.context_window, stored.max_output_tokens) == ("Llama 4", 100_000, 8_000)
    assert (stored.supports_streaming, stored.supports_vision) == (True, True)
    assert not (stored.supports_function_calling or stored.supports_reasoning or stored.supports_prompt_caching)
    price = stored.prices.get()
    assert before <= price.effective_from <= timezone.now()
    assert price.effective_to is None
    assert price.source == "Entered at the import from lab."
    cost = stored.cost_of(Usage(input=1_000, cached_input=100, output=10))
    assert cost == Decimal("0.000103")  # 0.0001 + 0.000001 + 0.000002


def test_a_model_of_the_llama_host_is_one_of_llamas(house_keys: StandIn) -> None:
    llm = discovery.import_model(source="llama", **MODEL, request_fee_usd=Decimal("0.5"))
    assert (str(llm), llm.connection, llm.upstream_name) == (
        "llama/meta-llama/Llama-4", None, "meta-llama/Llama-4"
    )  # fmt: skip
    assert llm.cost_of(Usage()) == Decimal("0.5")


def test_two_hosts_may_have_a_model_of_the_same_id(lab: ProviderConnection, provider: StandIn) -> None:
    other = make_connection(provider, "other")
    discovery.import_model(source=lab, **MODEL)
    discovery.import_model(source=other, **MODEL)
    assert LLM.objects.unknown_names(["private/lab/meta-llama/Llama-4", "private/other/meta-llama/Llama-4"]) == []


def test_free_must_be_said(lab: ProviderConnection) -> None:
    for missing in ("input_usd_per_mtok", "output_usd_per_mtok"):
        with pytest.raises(ValidationError) as refusal:
            discovery.import_model(source=lab, **{**MODEL, missing: None})
        assert refusal.value.message_dict == {missing: ["A price is required; free is 0."]}
    assert not LLM.objects.exists()
    free = {"input_usd_per_mtok": Decimal(0), "output_usd_per_mtok": Decimal(0)}
    assert discovery.import_model(source=lab, **{**MODEL, **free}).cost_of(Usage(input=5, output=5)) == 0


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"model_id": ""}, "model_id"),
        ({"model_id": "a b"}, "model_id"),
        ({"model_id": "x" * 151}, "model_id"),
        ({"display_name": ""}, "display_name"),
        ({"display_name": "x" * 201}, "display_name"),
        ({"context_window": 0}, "max_output_tokens"),
        ({"context_window": "many"}, "context_window"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": 100_001}, "max_output_tokens"),
        ({"capabilities": ["streaming", "flying"]}, "capabilities"),
        ({"input_usd_per_mtok": Decimal("-1")}, "input_usd_per_mtok"),
        ({"output_usd_per_mtok": Decimal("0.0000001")}, "output_usd_per_mtok"),
        ({"output_usd_per_mtok": 0.2}, "output_usd_per_mtok"),
        ({"cached_input_usd_per_mtok": Decimal("NaN")}, "cached_input_usd_per_mtok"),
        ({"request_fee_usd": Decimal("-0.1")}, "request_fee_usd"),
    ],
)
def test_what_can_not_be_stored_is_named_and_nothing_is(
    lab: ProviderConnection, wrong: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValidationError) as refusal:
        discovery.import_model(source=lab, **{**MODEL, **wrong})
    assert list(refusal.value.message_dict) == [field]
    assert not LLM.objects.exists()
    assert not LLMPrice.objects.exists()


def test_a_model_is_imported_once(lab: ProviderConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    discovery.import_model(source=lab, **MODEL)
    told = {"model_id": ["private/lab/meta-llama/Llama-4 is in the catalogue already."]}
    with pytest.raises(ValidationError) as refusal:
        discovery.import_model(source=lab, **MODEL)
    assert refusal.value.message_dict == told
    # Two operators at once: the other one's is not there yet when this one looks.
    monkeypatch.setattr(discovery, "_check", lambda llm: None)
    with pytest.raises(ValidationError) as refusal:
        discovery.import_model(source=lab, **MODEL)
    assert refusal.value.message_dict == told
    assert (LLM.objects.count(), LLMPrice.objects.count()) == (1, 1)
