"""/llm/{provider}/generate and /llm/{provider}/models: nobody but one provider."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from billing.models import Hold
from conversations.models import Message, UsageLog
from llm.models import LLM, ProviderConnection, ProviderName
from tests.api.asking import Api, assert_invalid, balance, change_workspace, error_of, make_agent
from tests.catalogue import make_llm
from tests.hosting import HOST_KEY, make_connection
from tests.people import Person
from tests.providers.standins import StandIn, refusal
from workspaces.models import AccessToken

HELLO = {"prompt": "Hello"}


def answered_by(api: Api, person: Person, provider: str, **body: Any) -> str:
    """The model that answers “Hello”."""
    response = api.post(person, f"llm/{provider}/generate", {**HELLO, **body})
    assert response.status_code == 201, response.text
    return str(response.json()["message"]["model_used"])


def priced(provider: str, name: str, per_mtok: str) -> LLM:
    rate = Decimal(per_mtok)
    return make_llm(provider, name, price={"input_usd_per_mtok": rate, "output_usd_per_mtok": rate})


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "google", "grok", "deepseek", "llama"])
def test_every_provider_has_its_address(api: Api, alice: Person, paid: StandIn, vendor: str) -> None:
    for name in ("openai", "anthropic", "google", "grok", "deepseek", "llama"):
        make_llm(name)
    assert answered_by(api, alice, vendor) == f"{vendor}/{vendor}-test"
    assert paid.requests[0].key == f"sk-house-{vendor}-0123456789abcdef"
    assert balance(alice.workspace) == Decimal("0.99998")


def test_the_demo_has_one_too(api: Api, alice: Person, paid: StandIn) -> None:
    make_llm("demo", "demo-1")
    assert answered_by(api, alice, "demo") == "demo/demo-1"
    assert paid.requests == []


def test_private_hosts_have_one(api: Api, alice: Person, paid: StandIn) -> None:
    host = make_connection(paid)
    make_llm("private", "lab/small", connection=host)
    make_llm("private", "lab/meta/large", connection=host, price={"output_usd_per_mtok": Decimal(9)})
    assert answered_by(api, alice, "private") == "private/lab/small"
    assert answered_by(api, alice, "private", llm="lab/meta/large") == "private/lab/meta/large"
    assert [(request.body["model"], request.key) for request in paid.requests] == [
        ("small", HOST_KEY),
        ("meta/large", HOST_KEY),
    ]
    ProviderConnection.objects.update(is_active=False)
    error_of(api.post(alice, "llm/private/generate", HELLO), 422, "no_model")
    error_of(api.post(alice, "llm/private/generate", {**HELLO, "llm": "lab/small"}), 422, "model_retired")


def test_a_host_whose_address_could_not_have_been_entered(api: Api, alice: Person, paid: StandIn) -> None:
    """It came there around the form, or before the rules were what they are."""
    make_llm("private", "lab/small", connection=make_connection(paid))
    ProviderConnection.objects.update(base_url="http://169.254.169.254/v1")
    before = balance(alice.workspace)
    error_of(api.post(alice, "llm/private/generate", HELLO), 422, "provider_host_forbidden")
    assert balance(alice.workspace) == before
    assert (Hold.objects.filter(workspace=alice.workspace).count(), paid.requests) == (0, [])

    counted = api.post(alice, "llm/count-tokens", {"llm": "private/lab/small", "prompt": "Hello"})
    assert (counted.status_code, counted.json()["is_estimate"]) == (200, True)


def test_a_model_may_be_named_by_its_name_alone(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    slashed = make_llm("openai", "meta/with-slash")
    for name in ("openai-test", "openai/openai-test", str(llm.pk)):
        assert answered_by(api, alice, "openai", llm=name) == "openai/openai-test"
    for name in ("meta/with-slash", "openai/meta/with-slash", str(slashed.pk)):
        assert answered_by(api, alice, "openai", llm=name) == "openai/meta/with-slash"


def test_a_name_that_another_provider_has_as_well(api: Api, alice: Person, paid: StandIn) -> None:
    """“openai/gpt” is in full a model of OpenAI, and at another provider the bare name of one of theirs."""
    make_llm("openai", "gpt")
    make_llm("openai", "openai/gpt")
    make_llm("llama", "openai/gpt")
    assert answered_by(api, alice, "llama", llm="openai/gpt") == "llama/openai/gpt"
    assert answered_by(api, alice, "openai", llm="openai/gpt") == "openai/gpt"
    assert answered_by(api, alice, "openai", llm="openai/openai/gpt") == "openai/openai/gpt"


def test_a_model_of_another_provider(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    other = make_llm("anthropic")
    for name in (str(other), str(other.pk)):
        error = error_of(api.post(alice, "llm/openai/generate", {**HELLO, "llm": name}), 422, "other_provider")
        assert set(error["details"]) == {"llm"}
    assert_invalid(api.post(alice, "llm/openai/generate", {**HELLO, "llm": "anthropic-test"}), "llm")
    assert_invalid(api.post(alice, "llm/openai/generate", {**HELLO, "llm": "openai/nothing"}), "llm")
    assert paid.requests == []


def test_without_a_name_the_default_of_the_provider_or_the_cheapest(api: Api, alice: Person, paid: StandIn) -> None:
    priced("openai", "dear", "9")
    cheap, default = priced("openai", "cheap", "1"), priced("openai", "default", "5")
    other = priced("anthropic", "other", "0.1")
    assert answered_by(api, alice, "openai") == "openai/cheap"
    change_workspace(alice, default_model=str(other))
    assert answered_by(api, alice, "openai") == "openai/cheap"
    change_workspace(alice, default_model=str(default))
    assert answered_by(api, alice, "openai") == "openai/default"
    agent = make_agent(alice, other, is_default=True)
    assert answered_by(api, alice, "openai") == "openai/default"
    agent.llm = cheap
    agent.save()
    assert answered_by(api, alice, "openai", llm=None) == "openai/cheap"
    assert answered_by(api, alice, "anthropic") == "anthropic/other"


def test_the_cheapest_that_may_be_called(api: Api, alice: Person, paid: StandIn) -> None:
    priced("openai", "forbidden", "1")
    priced("openai", "not-for-the-token", "2")
    allowed, dearer = priced("openai", "allowed", "3"), priced("openai", "dearer", "4")
    LLM.objects.filter(pk=priced("openai", "retired", "0").pk).update(is_active=False)
    LLM.objects.create(provider="openai", name="free", display_name="F", context_window=1000, max_output_tokens=10)
    change_workspace(alice, allowed_models=["openai/free", "openai/not-for-the-token", str(allowed), str(dearer)])
    AccessToken.objects.filter(user=alice.user).update(allowed_models=["openai/forbidden", str(allowed), str(dearer)])
    assert answered_by(api, alice, "openai") == "openai/allowed"


def test_a_provider_without_a_model(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    LLM.objects.create(provider="google", name="free", display_name="F", context_window=1000, max_output_tokens=10)
    for provider in ("anthropic", "google", "private"):
        error = error_of(api.post(alice, f"llm/{provider}/generate", HELLO), 422, "no_model")
        assert set(error["details"]) == {"llm"}
    assert not Message.objects.filter(workspace=alice.workspace).exists()


def test_fallbacks_stay_with_the_provider(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    elsewhere, second = make_llm("anthropic"), make_llm("openai", "second")
    change_workspace(alice, fallback_models=[str(elsewhere), str(second)])
    paid.script(refusal(500), refusal(500))
    error_of(api.post(alice, "llm/openai/generate", {**HELLO, "llm": str(llm)}), 503, "provider_unavailable")
    tried = UsageLog.objects.filter(workspace=alice.workspace).order_by("attempt")
    assert [str(log.llm) for log in tried.select_related("llm")] == [str(llm), str(second)]
    paid.script(refusal(500))
    assert answered_by(api, alice, "openai", llm=str(llm)) == str(second)
    paid.script(refusal(500))
    response = api.post(alice, "llm/generate", {**HELLO, "llm": str(llm)})
    assert response.json()["message"]["model_used"] == str(elsewhere)
    assert balance(alice.workspace) == Decimal("0.99996")


@pytest.mark.parametrize("name", ["nobody", "OpenAI", "models", "generate", "00000000-0000-0000-0000-000000000000"])
@pytest.mark.parametrize("job", ["generate", "count-tokens", "models"])
def test_a_provider_that_there_is_not(api: Api, alice: Person, name: str, job: str) -> None:
    path = f"llm/{name}/{job}"
    response = api.get(alice, path) if job == "models" else api.post(alice, path, {"nonsense": 1})
    error_of(response, 404, "not_found")


# --- Its models -----------------------------------------------------------------------------------------------------


def listed(person: Person, provider: str, **query: Any) -> Any:
    response = person.get(f"llm/{provider}/models", **query)
    assert response.status_code == 200, response.content
    return response.json()


def names(page: Any) -> list[str]:
    return [row["model"] for row in page["results"]]


@pytest.mark.parametrize("role", ["alice", "bob", "victor", "charlie"])
def test_the_models_of_a_provider(request: pytest.FixtureRequest, llm: LLM, house_keys: StandIn, role: str) -> None:
    person: Person = request.getfixturevalue(role)
    make_llm("anthropic")
    LLM.objects.filter(pk=make_llm("openai", "retired").pk).update(is_active=False)
    assert listed(person, "openai") == person.get("llm/models", provider="openai").json()
    assert names(listed(person, "openai")) == ["openai/openai-test"]
    assert names(person.get("llm/anthropic/models/").json()) == ["anthropic/anthropic-test"]
    assert [names(listed(person, provider)) for provider in ("google", "private", "demo")] == [[], [], []]
    error_of(person.post("llm/openai/models", {}), 405, "method_not_allowed")


def test_only_allowed_models_are_shown(alice: Person, llm: LLM) -> None:
    other = make_llm("openai", "other")
    change_workspace(alice, allowed_models=[str(other)])
    assert names(listed(alice, "openai")) == ["openai/other"]


def test_its_pages_and_filters(alice: Person) -> None:
    for n in range(3):
        make_llm("openai", f"model-{n}", supports_vision=n > 0)
    page = listed(alice, "openai", limit=2)
    rest = alice.get("llm/openai/models?" + page["next"].partition("?")[2]).json()
    assert [*names(page), *names(rest)] == ["openai/model-2", "openai/model-1", "openai/model-0"]
    assert rest["next"] is None
    assert names(listed(alice, "openai", supports_vision="false")) == ["openai/model-0"]
    assert set(ProviderName.values) >= {row["provider"] for row in page["results"]}
