"""``manage.py discover_models`` as an operator meets it."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from llm.models import LLM, ProviderConnection
from llm.types import Usage
from tests.catalogue import make_llm
from tests.hosting import HOST_KEY, make_connection
from tests.providers.standins import StandIn, refusal

pytestmark = pytest.mark.django_db
PRICED = ("--context-window", "100000", "--max-output-tokens", "8000", "--input", "0.10", "--output", "0.20")


@pytest.fixture
def lab(provider: StandIn) -> ProviderConnection:
    provider.answer(models=["meta/llama", "gpt", "old"])
    return make_connection(provider)


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("discover_models", *arguments, stdout=out)
    return out.getvalue()


def failure(*arguments: str) -> str:
    with pytest.raises(CommandError) as error:
        run(*arguments)
    assert error.value.returncode == 1
    return str(error.value)


def test_it_prints_what_a_host_offers(lab: ProviderConnection) -> None:
    make_llm("private", "lab/gpt", connection=lab)
    make_llm("private", "lab/old", connection=lab, is_active=False)
    assert run("lab").splitlines() == [
        "gpt         private/lab/gpt",
        "meta/llama  -",
        "old         private/lab/old (retired)",
        "discover_models: 3 found, 2 in the catalogue",
    ]


def test_the_llama_host(house_keys: StandIn) -> None:
    assert run("llama").splitlines()[-1] == "discover_models: 2 found, 0 in the catalogue"
    assert run("llama", "--import", "model-1", *PRICED) == "discover_models: imported llama/model-1\n"


def test_it_imports_one_model(lab: ProviderConnection) -> None:
    options = ("--supports", "vision", "--supports", "reasoning", "--cached-input", "0.01", "--request-fee", "0.5")
    told = run("lab", "--import", "meta/llama", "--display-name", "Llama", *PRICED, *options)
    assert told == "discover_models: imported private/lab/meta/llama\n"
    llm = LLM.objects.get()
    assert (llm.display_name, llm.connection, llm.context_window, llm.max_output_tokens) == (
        "Llama", lab, 100_000, 8_000
    )  # fmt: skip
    assert (llm.supports_streaming, llm.supports_vision, llm.supports_reasoning) == (True, True, True)
    assert not llm.supports_function_calling
    cost = llm.cost_of(Usage(input=1_000_000, cached_input=1_000_000, output=1_000_000))
    assert cost == Decimal("0.81")


def test_a_price_is_never_guessed(lab: ProviderConnection) -> None:
    assert failure("lab", "--import", "gpt", *PRICED[:6]) == "An import needs --output."
    assert failure("lab", "--import", "gpt") == (
        "An import needs --context-window, --max-output-tokens, --input, --output."
    )
    assert not LLM.objects.exists()
    run("lab", "--import", "gpt", *PRICED[:4], "--input", "0", "--output", "0")
    assert LLM.objects.get().cost_of(Usage(input=1_000)) == 0


def test_what_it_can_not_import(lab: ProviderConnection) -> None:
    assert failure("lab", "--import", "gpt-7", *PRICED) == "The host does not offer “gpt-7”."
    assert failure("lab", "--import", "gpt", *PRICED, "--input", "-1").startswith("--input: ")
    assert failure("lab", "--import", "gpt", *PRICED, "--max-output-tokens", "100001") == (
        "--max-output-tokens: An answer has at least one token, and fits the context window."
    )
    with pytest.raises(CommandError, match="invalid amount value: 'cheap'"):
        run("lab", "--import", "gpt", "--input", "cheap")
    assert not LLM.objects.exists()
    run("lab", "--import", "gpt", *PRICED)
    assert failure("lab", "--import", "gpt", *PRICED) == "--import: private/lab/gpt is in the catalogue already."


def test_hosts_that_can_not_be_asked(lab: ProviderConnection, provider: StandIn) -> None:
    assert failure("nowhere") == "There is no host nowhere. Known are: llama, lab."
    assert failure("llama") == "The host did not list its models. No key is configured for llama."
    provider.always(refusal(401, code="invalid_api_key", message="Incorrect API key provided: {key}"))
    told = failure("lab")
    assert told == "The host did not list its models. The provider refused the key."
    assert HOST_KEY not in told
    ProviderConnection.objects.update(base_url="http://127.0.0.1:9/v1")
    assert failure("lab") == "The host did not list its models. The connection to the provider failed."
    ProviderConnection.objects.update(base_url="http://169.254.169.254/v1")
    assert failure("lab") == (
        "The host did not list its models. The host lab can't be called. The host's address is neither public nor of a "
        "private network; link-local, metadata and reserved addresses are never called."
    )
