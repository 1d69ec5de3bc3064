"""/llm/estimate: what stands in the way of a call, and what is no request. The reason is the error that the call meets."""

from __future__ import annotations

from typing import Any

import pytest

from llm.models import LLM
from tests.api.asking import Api, assert_invalid, change_workspace, error_of, set_wallet
from tests.api.estimating import ADD, ESTIMATE, HELLO, IMAGE, estimated, own_key, the_row
from tests.catalogue import make_llm
from tests.people import Person
from tests.providers.standins import StandIn
from workspaces.models import AccessToken, Workspace

REFUSED = {"expected_cost": None, "worst_case": None, "is_affordable": False}


# --- What stands in the way -------------------------------------------------------------------------------------------


def assert_refused(api: Api, person: Person, llm: LLM, status: int, code: str, **body: Any) -> dict[str, Any]:
    """The reason in the row is the error that a call meets."""
    row = the_row(api, person, models=[str(llm)], **body)
    assert row["reason"] == code
    error_of(api.post(person, "llm/generate", {**HELLO, **body, "llm": str(llm)}), status, code)
    return row


def test_a_model_without_a_price(api: Api, alice: Person, paid: StandIn) -> None:
    free = LLM.objects.create(
        provider="openai", name="free", display_name="Free", context_window=1000, max_output_tokens=1000
    )
    assert assert_refused(api, alice, free, 422, "no_price") == {
        "model": "openai/free",
        "input_tokens": 10,
        "output_tokens": 990,
        **REFUSED,
        "fits": True,
        "is_available": False,
        "key_source": None,
        "reason": "no_price",
    }


def test_a_provider_without_a_key(api: Api, alice: Person, paid: StandIn, settings: Any) -> None:
    settings.PROVIDERS = {**settings.PROVIDERS, "openai": {"api_key": "", "base_url": ""}}
    row = assert_refused(api, alice, make_llm("openai"), 503, "provider_not_configured")
    assert row == {**row, **REFUSED, "fits": True, "is_available": False, "key_source": None}
    demo = make_llm("demo", "demo-1")
    assert the_row(api, alice, models=[str(demo)])["is_available"] is True


def test_who_lets_no_call_be_paid_for(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    alice.user.allows_paid_fallback = False
    alice.user.save()
    row = assert_refused(api, alice, llm, 403, "paid_fallback_forbidden")
    assert row == {**row, **REFUSED, "is_available": False}
    own_key(user=alice.user)
    assert the_row(api, alice)["key_source"] == "user"


@pytest.mark.parametrize(
    ("capability", "body"),
    [("supports_vision", {"attachments": [IMAGE]}), ("supports_function_calling", {"tools": [ADD]})],
)
def test_what_a_model_does_not_support(
    api: Api, alice: Person, paid: StandIn, capability: str, body: dict[str, Any]
) -> None:
    row = assert_refused(api, alice, make_llm(**{capability: False}), 422, "not_supported_by_model", **body)
    assert row == {**row, **REFUSED, "input_tokens": None, "output_tokens": None, "fits": False, "is_available": False}


def test_a_vendor_whose_images_nobody_can_price(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    blind = make_llm("deepseek", supports_vision=True)
    rows = estimated(api, alice, attachments=[IMAGE])
    assert [(row["model"], row["reason"]) for row in rows] == [
        (str(llm), None),
        (str(blind), "not_supported_by_model"),
    ]


def test_a_prompt_that_does_not_fit(api: Api, alice: Person, paid: StandIn) -> None:
    narrow = make_llm(context_window=100, max_output_tokens=100)
    row = assert_refused(api, alice, narrow, 422, "context_length_exceeded", prompt="x" * 4 * 92)
    assert row == {
        **row,
        **REFUSED,
        "input_tokens": 100,
        "output_tokens": None,
        "fits": False,
        "is_available": True,
        "key_source": "global",
    }
    row = the_row(api, alice, prompt="x" * 4 * 91)
    assert (row["fits"], row["input_tokens"], row["output_tokens"]) == (True, 99, 1)


def test_models_that_are_named_and_may_not_be_called(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    change_workspace(alice, allowed_models=["openai/other"])
    row = assert_refused(api, alice, llm, 403, "model_not_allowed")
    assert row == {**row, **REFUSED, "is_available": False}
    change_workspace(alice, allowed_models=[])
    AccessToken.objects.filter(user=alice.user).update(allowed_models=["openai/other"])
    assert_refused(api, alice, llm, 403, "model_not_allowed")
    AccessToken.objects.filter(user=alice.user).update(allowed_models=[])
    LLM.objects.filter(pk=llm.pk).update(is_active=False)
    assert_refused(api, alice, llm, 422, "model_retired")


def test_suspended_ones(api: Api, alice: Person, llm: LLM, paid: StandIn) -> None:
    set_wallet(alice.workspace, status="suspended")
    row = assert_refused(api, alice, llm, 403, "wallet_suspended", max_tokens=1000)
    assert (row["worst_case"], row["is_affordable"], row["is_available"]) == ("0.002019", False, True)
    set_wallet(alice.workspace, status="open")
    change_workspace(alice, status=Workspace.Status.SUSPENDED)
    row = assert_refused(api, alice, llm, 403, "workspace_suspended")
    assert row == {**row, **REFUSED, "is_available": False}


# --- Who, and what not ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "prompt"),
        ({"prompt": " "}, "prompt"),
        ({**HELLO, "messages": [{"role": "user", "content": "x"}]}, "prompt"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ({**HELLO, "llm": "openai/openai-test"}, "llm"),
        ({**HELLO, "stream": False}, "stream"),
        ({**HELLO, "temperature": 1}, "temperature"),
        ({**HELLO, "response_schema": {"type": "object"}}, "response_schema"),
        ({**HELLO, "output_tokens": -1}, "output_tokens"),
        ({**HELLO, "output_tokens": 1.5}, "output_tokens"),
        ({**HELLO, "output_tokens": True}, "output_tokens"),
        ({**HELLO, "output_tokens": 10_000_001}, "output_tokens"),
        ({**HELLO, "max_tokens": 0}, "max_tokens"),
        ({**HELLO, "tools": [ADD, ADD]}, "tools"),
        ({**HELLO, "nothing": 1}, "nothing"),
    ],
)
def test_a_wrong_request_is_refused_by_field(
    api: Api, alice: Person, llm: LLM, body: dict[str, Any], field: str
) -> None:
    assert_invalid(api.post(alice, ESTIMATE, body), field)
