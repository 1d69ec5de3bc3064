"""Tags that come with calls of the vendors' SDKs: in ``metadata.tags`` and in a header."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from conversations.models import Message
from tagging.models import Tag, TagLink
from tests.compat.clients import Clients, code_of
from tests.people import Person
from tests.providers.standins import StandIn


@pytest.fixture
def vendor() -> str:
    """One is enough: nothing here depends on whose model it is."""
    return "openai"


@pytest.fixture(autouse=True)
def _tags(alice: Person) -> None:
    for name, value in (("customer", "acme"), ("project", "x"), ("urgent", "")):
        Tag.objects.create(workspace=alice.workspace, name=name, value=value)
    Tag.objects.create(workspace=alice.workspace, name="has", value="code", is_system=True)


def carried(person: Person) -> list[list[str]]:
    """The tags of every message, in order."""
    rows = Message.objects.filter(workspace=person.workspace).order_by("id")
    links = TagLink.objects.filter(workspace=person.workspace, target_type="message")
    return [sorted(links.filter(target_id=row.pk).values_list("tag__label", flat=True)) for row in rows]


@pytest.mark.parametrize(
    ("fields", "tags"),
    [
        ({"metadata": {"tags": ["customer:acme", "urgent"]}}, ["customer:acme", "urgent"]),
        ({"metadata": {"tags": "customer=acme, urgent"}}, ["customer:acme", "urgent"]),
        ({"extra_headers": {"x-synapscale-tags": "Customer:Acme, project=x"}}, ["customer:acme", "project:x"]),
        (
            {
                "metadata": {"tags": ["urgent"], "trace": "t"},
                "extra_headers": {"x-synapscale-tags": "urgent,project:x"},
            },
            ["project:x", "urgent"],
        ),
        ({"metadata": {"tags": []}, "extra_headers": {"x-synapscale-tags": ""}}, []),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_brings_tags(
    clients: Clients, alice: Person, model: str, sdk: str, paid: StandIn, fields: Any, tags: list[str], stream: bool
) -> None:
    answer = clients.ask(sdk, alice, model, stream=stream, **fields)
    if stream:
        assert list(answer)
    assert carried(alice) == [tags, tags]
    question = Message.objects.filter(workspace=alice.workspace).order_by("id")[0]
    assert "tags" not in question.metadata  # they are tags, and no note
    sent = paid.requests[0].body
    assert "metadata" not in sent


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_header_has_letters_of_any_language(
    clients: Clients, alice: Person, model: str, paid: StandIn, encoding: str
) -> None:
    """Headers are bytes: curl sends those of UTF-8, other clients those of Latin-1."""
    Tag.objects.create(workspace=alice.workspace, name="região", value="são paulo")
    response = httpx2.post(
        f"{clients.url}/v1/chat/completions",
        json={"model": model, "messages": [{"role": "user", "content": "Hi"}]},
        headers={**alice.headers, "x-synapscale-tags": "Região=São Paulo".encode(encoding)},  # type: ignore[dict-item]
        timeout=30,
    )
    assert response.status_code == 200, response.text
    assert carried(alice) == [["região:são paulo"]] * 2


@pytest.mark.parametrize(
    ("fields", "kind", "code", "says"),
    [
        ({"metadata": {"tags": ["customer:nobody"]}}, "BadRequestError", "unknown_tag", "customer:nobody"),
        ({"extra_headers": {"x-synapscale-tags": "vip"}}, "BadRequestError", "unknown_tag", "vip"),
        ({"metadata": {"tags": ["has:code"]}}, "PermissionDeniedError", "system_tag", "has:code"),
        ({"metadata": {"tags": [1]}}, "BadRequestError", "invalid", "metadata.tags"),
        ({"metadata": {"tags": {"a": "b"}}}, "BadRequestError", "invalid", "metadata.tags"),
    ],
)
def test_a_tag_that_can_not_be_set_is_refused_by_name(
    clients: Clients, alice: Person, model: str, sdk: str, paid: StandIn, fields: Any, kind: str, code: str, says: str
) -> None:
    error = clients.refused(kind, sdk, alice, model, **fields)
    assert says in str(error)
    if sdk == "openai":
        assert code_of(error) == code
    assert Message.objects.filter(workspace=alice.workspace).count() == 0
    assert paid.requests == []
