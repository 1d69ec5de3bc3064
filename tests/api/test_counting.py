"""/llm/count-tokens: how long a prompt is, before it is sent; free of charge, and nothing of it is kept."""

from __future__ import annotations

from typing import Any

import pytest

from llm.models import LLM
from tests.api.asking import Api, assert_invalid, error_of, picture
from tests.api.test_tenancy import everything
from tests.catalogue import make_llm
from tests.people import Cast, Person
from tests.providers.standins import StandIn, fault, refusal
from workspaces.models import AccessToken, UserVariable, Workspace

COUNT = "llm/count-tokens"
PARAMETERS = {"type": "object", "properties": {"a": {"type": "number"}}}
ADD = {"name": "add", "description": "Adds.", "parameters": PARAMETERS}
TURNS: list[dict[str, Any]] = [
    {"role": "system", "content": "In Latin."},
    {"role": "user", "content": "What is it?", "attachments": [{"type": "image", "data": picture()}]},
    {"role": "assistant", "content": "", "tool_calls": [{"id": "call_1", "name": "add", "arguments": '{"a": 1}'}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "2"},
]


def counted(api: Api, person: Person, path: str = COUNT, **body: Any) -> dict[str, Any]:
    """The answer, after making sure that nothing has changed anywhere."""
    before = everything()
    response = api.post(person, path, body)
    assert response.status_code == 200, response.text
    assert everything() == before
    found: dict[str, Any] = response.json()
    return found


# --- By the vendor --------------------------------------------------------------------------------------------------


def test_anthropic_counts(api: Api, alice: Person, house_keys: StandIn) -> None:
    llm = make_llm("anthropic")
    house_keys.answer(prompt_tokens=1234)
    found = counted(api, alice, llm=str(llm), messages=TURNS, system="Be brief.", tools=[ADD])
    assert found == {"model": "anthropic/anthropic-test", "input_tokens": 1234, "is_estimate": False}
    [sent] = house_keys.requests
    assert (sent.path, sent.key) == ("/v1/messages/count_tokens", "sk-house-anthropic-0123456789abcdef")
    image = {"type": "base64", "media_type": "image/png", "data": picture()}
    assert sent.body == {
        "model": "anthropic-test",
        "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "In Latin."}],
        "tools": [{"name": "add", "description": "Adds.", "input_schema": PARAMETERS}],
        "messages": [
            {"role": "user", "content": [{"type": "image", "source": image}, {"type": "text", "text": "What is it?"}]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "call_1", "name": "add", "input": {"a": 1}}],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "2"}]},
        ],
    }


def test_google_counts(api: Api, alice: Person, house_keys: StandIn) -> None:
    llm = make_llm("google")
    house_keys.answer(prompt_tokens=7)
    found = counted(api, alice, llm=str(llm), prompt="Hello", system="Be brief.")
    assert found == {"model": "google/google-test", "input_tokens": 7, "is_estimate": False}
    [sent] = house_keys.requests
    assert (sent.path, sent.key) == (
        "/v1beta/models/google-test:countTokens",
        "sk-house-google-0123456789abcdef",
    )
    assert sent.body["generateContentRequest"] == {
        "model": "models/google-test",
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
    }


def test_the_demo_counts(api: Api, alice: Person, house_keys: StandIn) -> None:
    """As it would bill: nine bytes and five, a token per four of each."""
    llm = make_llm("demo", "demo-1")
    found = counted(api, alice, llm=str(llm), prompt="Hello", system="Be brief.")
    assert found == {"model": "demo/demo-1", "input_tokens": 5, "is_estimate": False}


def test_ones_own_key_asks_the_vendor(api: Api, alice: Person, house_keys: StandIn, settings: Any) -> None:
    settings.PROVIDERS = {**settings.PROVIDERS, "anthropic": {**settings.PROVIDERS["anthropic"], "api_key": ""}}
    variable = UserVariable(user=alice.user, category="api_key", name="anthropic")
    variable.set_value("sk-own-0123456789")
    variable.save()
    assert counted(api, alice, llm=str(make_llm("anthropic")), prompt="Hello")["is_estimate"] is False
    assert house_keys.requests[0].key == "sk-own-0123456789"


# --- By an estimate -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vendor", ["openai", "grok", "deepseek", "llama"])
def test_vendors_without_a_count_of_their_own(api: Api, alice: Person, house_keys: StandIn, vendor: str) -> None:
    """Two tokens for “Hello”, three for the instructions, eight around the turn."""
    llm = make_llm(vendor)
    found = counted(api, alice, llm=str(llm), prompt="Hello", system="Be brief.")
    assert found == {"model": str(llm), "input_tokens": 13, "is_estimate": True}
    assert house_keys.requests == []


def test_without_a_key_it_is_an_estimate(api: Api, alice: Person, provider: StandIn) -> None:
    llm = make_llm("anthropic")
    assert counted(api, alice, llm=str(llm), prompt="Hello") == {
        "model": "anthropic/anthropic-test",
        "input_tokens": 10,
        "is_estimate": True,
    }
    assert provider.requests == []


def test_who_lets_no_call_be_paid_for_gets_an_estimate(api: Api, alice: Person, house_keys: StandIn) -> None:
    alice.user.allows_paid_fallback = False
    alice.user.save()
    assert counted(api, alice, llm=str(make_llm("anthropic")), prompt="Hello")["is_estimate"] is True
    assert house_keys.requests == []


@pytest.mark.parametrize(
    "behaviour", [refusal(401, vendor="anthropic"), refusal(500, vendor="anthropic"), fault("cut"), fault("malformed")]
)
def test_a_vendor_that_does_not_count(api: Api, alice: Person, house_keys: StandIn, behaviour: Any) -> None:
    house_keys.script(behaviour)
    found = counted(api, alice, llm=str(make_llm("anthropic")), prompt="Hello")
    assert (found["input_tokens"], found["is_estimate"]) == (10, True)


# --- One provider ---------------------------------------------------------------------------------------------------


def test_at_the_address_of_a_provider(api: Api, alice: Person, house_keys: StandIn) -> None:
    llm, other = make_llm("anthropic"), make_llm("openai")
    for name in ("anthropic-test", str(llm), str(llm.pk)):
        found = counted(api, alice, "llm/anthropic/count-tokens", llm=name, prompt="Hello")
        assert found == {"model": str(llm), "input_tokens": 42, "is_estimate": False}
    path = "llm/anthropic/count-tokens/"
    error_of(api.post(alice, path, {"llm": str(other), "prompt": "Hello"}), 422, "other_provider")
    assert_invalid(api.post(alice, path, {"llm": "openai-test", "prompt": "Hello"}), "llm")
    assert_invalid(api.post(alice, COUNT, {"llm": "anthropic-test", "prompt": "Hello"}), "llm")


# --- Who, and what not ----------------------------------------------------------------------------------------------


def test_who_may(api: Api, cast: Cast, victor: Person, llm: LLM, house_keys: StandIn) -> None:
    for person in cast:
        assert counted(api, person, llm=str(llm), prompt="Hello")["input_tokens"] == 10
    error_of(api.post(victor, COUNT, {"llm": str(llm), "prompt": "Hello"}), 403, "permission_denied")
    Workspace.objects.filter(pk=cast.alice.workspace.pk).update(allowed_models=["openai/other"])
    error_of(api.post(cast.bob, COUNT, {"llm": str(llm), "prompt": "Hello"}), 403, "model_not_allowed")
    assert counted(api, cast.charlie, llm=str(llm), prompt="Hello")["input_tokens"] == 10
    AccessToken.objects.filter(user=cast.charlie.user).update(allowed_models=["openai/other"])
    error_of(api.post(cast.charlie, COUNT, {"llm": str(llm), "prompt": "Hello"}), 403, "model_not_allowed")


def test_what_a_call_would_be_refused_for(api: Api, alice: Person, house_keys: StandIn) -> None:
    llm = make_llm(supports_function_calling=False, supports_vision=False)
    body = {"llm": str(llm), "prompt": "Hello"}
    for name, value in (("tools", [ADD]), ("attachments", TURNS[1]["attachments"])):
        error = error_of(api.post(alice, COUNT, {**body, name: value}), 422, "not_supported_by_model")
        assert set(error["details"]) == {name}
    LLM.objects.filter(pk=llm.pk).update(is_active=False)
    error_of(api.post(alice, COUNT, body), 422, "model_retired")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"llm": None, "prompt": "x"}, "llm"),
        ({"llm": "openai/nothing", "prompt": "x"}, "llm"),
        ({}, "prompt"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": "x", "messages": [{"role": "user", "content": "x"}]}, "prompt"),
        ({"attachments": [], "messages": [{"role": "user", "content": "x"}]}, "attachments"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        ({"prompt": "x", "max_tokens": 1}, "max_tokens"),
        ({"prompt": "x", "stream": True}, "stream"),
        ({"prompt": "x", "temperature": 1}, "temperature"),
        ({"prompt": "x", "metadata": {}}, "metadata"),
        ({"prompt": "x", "tools": [ADD, ADD]}, "tools"),
        ({"prompt": "x", "nothing": 1}, "nothing"),
    ],
)
def test_a_wrong_request_is_refused_by_field(
    api: Api, alice: Person, llm: LLM, house_keys: StandIn, body: dict[str, Any], field: str
) -> None:
    assert_invalid(api.post(alice, COUNT, {"llm": str(llm), **body}), field)


def test_the_model_must_be_named(api: Api, alice: Person, llm: LLM) -> None:
    Workspace.objects.filter(pk=alice.workspace.pk).update(default_model=str(llm))
    assert_invalid(api.post(alice, COUNT, {"prompt": "x"}), "llm")
