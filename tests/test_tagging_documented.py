"""docs/tagging.md answers its question as it says: one call, made as it is written there."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.test import Client

from llm.models import LLM
from tagging import links
from tagging.models import Tag
from tests.conversations.calling import answered, make_conversation
from tests.house import house
from tests.people import Person, fund

__all__ = ["house"]
PAGE = (Path(__file__).resolve().parent.parent / "docs/tagging.md").read_text(encoding="utf-8")


@pytest.mark.django_db(transaction=True)
def test_what_customer_acme_cost(alice: Person, llm: LLM) -> None:
    fund(alice.workspace, "1")
    chat = make_conversation(alice)
    acme = Tag.objects.create(workspace=alice.workspace, name="customer", value="acme")
    links.put([acme], [links.Target("conversation", chat.pk)], workspace_id=alice.workspace.pk, user=alice.user)
    answered(alice, chat)
    written = re.search(r'curl -s "(\S+)" \\\n\s+-H "Authorization: Bearer \$TOKEN"', PAGE)
    assert written is not None
    address = urlsplit(written[1])

    response = Client().get(f"{address.path}?{address.query}", headers=alice.headers)
    assert response.status_code == 200, response.content
    found = response.json()
    assert (found["start"], found["end"]) == ("2026-10-01T00:00:00-03:00", "2026-11-01T00:00:00-03:00")
    assert (found["calls"], found["cost"]) == (0, "0.00")  # it is not October any more
    example = PAGE[PAGE.index('{"tag"') : PAGE.index("From `start` on")]
    assert set(found) <= set(re.findall(r'"(\w+)":', example))

    now = Client().get(address.path, headers=alice.headers).json()
    assert (now["calls"], now["cost"], now["models"][0]["model"]) == (1, "0.00005", "openai/openai-test")
