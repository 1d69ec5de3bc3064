"""Estimates as tests ask for them."""

from __future__ import annotations

from typing import Any

from tests.api.asking import Api, picture
from tests.api.test_tenancy import everything
from tests.people import Person
from workspaces.models import UserVariable

ESTIMATE = "llm/estimate"
HELLO = {"prompt": "Hello"}
ADD = {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {}}}
IMAGE = {"type": "image", "data": picture(800, 600)}


def estimated(api: Api, person: Person, **body: Any) -> list[dict[str, Any]]:
    """The rows, after making sure that nothing has changed anywhere."""
    before = everything()
    response = api.post(person, ESTIMATE, {**({} if "messages" in body else HELLO), **body})
    assert response.status_code == 200, response.text
    assert everything() == before
    assert set(response.json()) == {"results"}
    rows: list[dict[str, Any]] = response.json()["results"]
    return rows


def the_row(api: Api, person: Person, **body: Any) -> dict[str, Any]:
    [row] = estimated(api, person, **body)
    return row


def own_key(name: str = "openai", **owner: Any) -> None:
    variable = UserVariable(category="api_key", name=name, **owner)
    variable.set_value("sk-own-0123456789")
    variable.save()
