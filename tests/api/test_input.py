"""Bodies that are not what they should be."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from rest_framework import serializers

from conversations.models import Conversation
from synapscale.common.parsing import StrictFields, StrictModelSerializer
from tests.api.asking import assert_invalid, error_of, make_conversation
from tests.people import Person

COMPUTED = [
    "id",
    "user",
    "kind",
    "message_count",
    "total_tokens",
    "total_cost",
    "last_message_at",
    "created_at",
    "updated_at",
]


def nested(depth: int, opening: str, closing: str, core: str = "") -> str:
    return '{"title": ' + opening * depth + core + closing * depth + "}"


@pytest.mark.parametrize(
    "body",
    [
        "nonsense",
        "{",
        "[]",
        '[{"title": "x"}]',
        '"title"',
        "null",
        "1",
        " ",
        '{"title": NaN}',
        '{"title": Infinity}',
        '{"title": -Infinity}',
        '{"settings": {"temperature": 1e999}}',
        '{"settings": {"tools": [{"name": "f", "parameters": {"maximum": -1e999}}]}}',
        '{"title": "a", "title": "b"}',
        '{"settings": {"stop": ["a"], "stop": ["b"]}}',
        '{"title": "\\u0000"}',
        '{"title": "\\ud800"}',
        '{"\\u0000": 1}',
        '{"settings": {"stop": ["\\udfff"]}}',
        '{"title": "x"} {}',
        '{"title": ' + "9" * 5000 + "}",
        "\ufeff{}",
        nested(200, "[", "]"),
        nested(200, '{"a":', "}", "1"),
        nested(400, "[", "]"),
        nested(2000, "[", "]"),
        nested(100_000, "[", "]"),
    ],
    ids=lambda body: body[:40],
)
def test_what_is_not_a_plain_json_object_is_refused(alice: Person, body: str) -> None:
    error_of(alice.post("conversations", body), 400, "bad_request")
    assert not Conversation.objects.filter(workspace=alice.workspace).exists()


def test_bytes_that_are_not_utf8_are_refused(alice: Person) -> None:
    response = Client().post(
        "/api/v1/conversations", b'{"title": "\xff"}', headers=alice.headers, content_type="application/json"
    )
    error_of(response, 400, "bad_request")


def test_an_empty_body_is_an_empty_object(alice: Person) -> None:
    assert alice.post("conversations", "").status_code == 201


def test_pairs_of_surrogates_are_letters(alice: Person) -> None:
    response = alice.post("conversations", '{"title": "\\ud83d\\ude00"}')
    assert response.status_code == 201
    assert response.json()["title"] == "😀"


@pytest.mark.parametrize(
    "name", ["nothing", "Title", "workspace", "workspace_id", "user_id", "_connector", "pk", "__class__"]
)
def test_unknown_fields_are_refused_by_name(alice: Person, name: str) -> None:
    response = alice.post("conversations", {name: "x", "title": "y"})
    assert_invalid(response, name)
    assert response.json()["error"]["details"][name] == ["Unknown field."]


@pytest.mark.parametrize("name", COMPUTED)
def test_computed_fields_cannot_be_written(alice: Person, name: str) -> None:
    chat = make_conversation(alice)
    before = Conversation.objects.filter(workspace=alice.workspace).values().get()
    for response in (alice.post("conversations", {name: 1}), alice.patch(f"conversations/{chat.pk}", {name: 1})):
        assert_invalid(response, name)
        assert response.json()["error"]["details"][name] == ["This field is read-only."]
    assert Conversation.objects.filter(workspace=alice.workspace).values().get() == before


def test_every_wrong_field_is_named(alice: Person) -> None:
    response = alice.post("conversations", {"title": "x" * 201, "status": "deleted", "is_shared": "maybe"})
    assert_invalid(response, "title", "status", "is_shared")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", "x" * 201),
        ("title", None),
        ("title", {}),
        ("title", []),
        ("title", True),
        ("title", 5),
        ("title", 1.5),
        ("status", "deleted"),
        ("status", "nonsense"),
        ("status", None),
        ("status", ["active"]),
        ("is_shared", "maybe"),
        ("is_shared", None),
        ("is_shared", 2),
        ("is_shared", 1),
        ("is_shared", 0),
        ("is_shared", "true"),
        ("is_shared", "yes"),
        ("is_shared", {}),
        ("context", None),
        ("context", []),
        ("context", 5),
        ("agent", "nonsense"),
        ("agent", 1),
        ("agent", -1),
        ("agent", True),
        ("agent", {"id": 1}),
        ("agent", ["x"]),
        ("settings", None),
        ("settings", []),
        ("settings", "x"),
        ("settings", {"nothing": 1}),
    ],
)
def test_a_wrong_value_is_refused_by_field(alice: Person, field: str, value: Any) -> None:
    chat = make_conversation(alice)
    assert_invalid(alice.post("conversations", {field: value}), field)
    assert_invalid(alice.patch(f"conversations/{chat.pk}", {field: value}), field)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 0),
        ("max_tokens", -1),
        ("max_tokens", 1.0),
        ("max_tokens", 1.5),
        ("max_tokens", True),
        ("max_tokens", "100"),
        ("max_tokens", 10_000_001),
        ("max_tokens", 10**400),
        ("max_tokens", [1]),
        ("temperature", -0.01),
        ("temperature", 2.01),
        ("temperature", 1e300),
        ("temperature", True),
        ("temperature", "0.5"),
        ("temperature", 0.123),
        ("temperature", []),
        ("tools", {}),
        ("tools", ["f"]),
        ("tools", [{}]),
        ("tools", [{"name": ""}]),
        ("tools", [{"name": "x" * 65}]),
        ("tools", [{"name": "f", "extra": 1}]),
        ("tools", [{"name": "f", "parameters": []}]),
        ("tools", [{"name": "f", "description": 1}]),
        ("tools", [{"name": "f"}, {"name": "f"}]),
        ("tools", [{"name": str(i)} for i in range(129)]),
        ("response_schema", {}),
        ("response_schema", []),
        ("response_schema", "x"),
        ("stop", "x"),
        ("stop", [""]),
        ("stop", [None]),
        ("stop", [5]),
        ("stop", ["1", "2", "3", "4", "5"]),
        ("stop", ["x" * 101]),
        ("tool_choice", {"type": "auto"}),
        ("tool_choice", 5),
        ("tool_choice", "x" * 65),
    ],
)
def test_a_wrong_setting_is_refused_by_name(alice: Person, name: str, value: Any) -> None:
    response = alice.post("conversations", {"settings": {name: value}})
    assert_invalid(response, "settings")
    assert set(response.json()["error"]["details"]["settings"]) == {name}


def test_a_tool_choice_must_be_one_of_the_tools(alice: Person) -> None:
    settings = {"tools": [{"name": "f"}], "tool_choice": "g"}
    assert_invalid(alice.post("conversations", {"settings": settings}), "settings")


def test_good_settings_come_back_as_they_were_sent(alice: Person) -> None:
    settings = {
        "temperature": 0.25,
        "max_tokens": 100,
        "tools": [{"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}],
        "tool_choice": "f",
        "response_schema": {"type": "object"},
        "stop": [" END\n"],
    }
    created = alice.post("conversations", {"settings": settings})
    assert created.json()["settings"] == settings
    pk = created.json()["id"]
    again = alice.patch(f"conversations/{pk}", {"settings": created.json()["settings"]})
    assert again.json()["settings"] == settings


def strict_serializers() -> list[Any]:
    import_module(settings.ROOT_URLCONF)  # and with it all that is served
    found, kinds = [], [StrictFields]
    while kinds:
        kinds += (kind := kinds.pop()).__subclasses__()
        found.append(kind)
    return [kind for kind in found if issubclass(kind, serializers.Serializer) and "tests" not in kind.__module__]


def test_no_serializer_takes_a_number_for_a_text_or_a_word_for_a_truth() -> None:
    """Whatever they are: a field that is added later must be strict as well."""
    lax = {serializers.CharField, serializers.SlugField, serializers.BooleanField, serializers.IntegerField}
    checked = 0
    for kind in strict_serializers():
        if kind in {StrictModelSerializer}:
            continue
        for name, field in kind().fields.items():
            parts = [field, getattr(field, "child", field)]
            assert field.read_only or not lax & {type(part) for part in parts}, f"{kind.__name__}.{name}"
            checked += not field.read_only
    assert checked >= 40


def test_tools_in_the_wrapping_of_openai_are_unwrapped(alice: Person) -> None:
    wrapped = {"type": "function", "function": {"name": "f"}}
    created = alice.post("conversations", json.dumps({"settings": {"tools": [wrapped]}}))
    assert created.json()["settings"]["tools"] == [
        {"name": "f", "description": "", "parameters": {"type": "object", "properties": {}}}
    ]
