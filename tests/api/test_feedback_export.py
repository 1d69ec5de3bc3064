"""/feedback/export and `manage.py export_feedback`: lines of JSON, and words only where the workspace lets them out."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from conversations import feedback, feedback_export
from conversations.models import Conversation, Message, MessageFeedback
from llm.models import LLM
from tests.api.asking import Api, change, error_of, make_agent, make_answer, make_conversation
from tests.conversations.calling import answered
from tests.people import Cast, Person, fund
from tests.providers.standins import StandIn
from workspaces.models import AccessToken

EXPORT = "feedback/export"
WORDS = {"system_prompt", "context", "question", "answer", "text", "suggestion"}


def let_out(person: Person) -> None:
    person.workspace.exports_feedback_content = True
    person.workspace.save(update_fields=["exports_feedback_content"])


def text_of(response: Any) -> str:
    assert response.status_code == 200, response.content
    return b"".join(response.streaming_content).decode()


def rows_of(person: Person, **query: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text_of(person.get(EXPORT, **query)).splitlines()]


@pytest.fixture
def answer(alice: Person, llm: LLM, house_keys: StandIn) -> Message:
    """The answer of an agent, charged for, with feedback in words."""
    fund(alice.workspace, "1")
    agent = make_agent(alice, llm, system_prompt="Count.")
    chat = make_conversation(alice, agent=agent, context="In German.")
    answer = answered(alice, chat, llm=None, content="Two and two?\u2028", max_tokens=100)
    feedback.give(message=answer, user=alice.user, stars=1, category="wrong", text="No.", suggestion="Vier.")
    return answer


def test_a_line(alice: Person, answer: Message) -> None:
    response = alice.get(EXPORT)
    assert response["Content-Type"] == "application/x-ndjson"
    assert response["Content-Disposition"].startswith('attachment; filename="feedback-acme-')
    assert response["Cache-Control"] == "no-store"
    (line,) = [json.loads(line) for line in text_of(response).splitlines()]
    stored = MessageFeedback.objects.get(workspace=alice.workspace)
    assert line == {
        "id": str(stored.pk),
        "message": str(answer.pk),
        "conversation": str(answer.conversation_id),
        "user": str(alice.user.pk),
        "model": "openai/openai-test",
        "agent": str(answer.conversation.agent_id),
        "thumb": "",
        "stars": 1,
        "category": "wrong",
        "is_public": False,
        "is_negative": True,
        "created_at": line["created_at"],
        "updated_at": line["updated_at"],
        "input_tokens": 10,
        "output_tokens": 20,
        "total_tokens": 30,
        "latency_ms": line["latency_ms"],
        "cost": "0.00005",
        "provider_cost": "0.00005",
        "content": False,
    }


def test_words_are_in_it_only_where_the_workspace_says_so(alice: Person, answer: Message) -> None:
    for secret in ("Two and two", "Count.", "German", "Vier", "No."):
        assert secret not in text_of(alice.get(EXPORT))
    let_out(alice)
    (line,) = rows_of(alice)
    assert line["content"] is True
    assert {name: line[name] for name in WORDS} == {
        "system_prompt": "Count.",
        "context": "In German.",
        "question": "Two and two?\u2028",
        "answer": answer.content,
        "text": "No.",
        "suggestion": "Vier.",
    }
    change(answer.conversation, status="deleted")  # its user has taken it back
    (line,) = rows_of(alice)
    assert (line["content"], line["stars"], WORDS & set(line)) == (False, 1, set())


def test_it_is_for_those_who_run_the_workspace(cast: Cast, dora: Person, victor: Person, answer: Message) -> None:
    assert len(rows_of(dora)) == 1
    for person in (cast.bob, victor):
        error_of(person.get(EXPORT), 403, "permission_denied")
    assert rows_of(cast.charlie) == []
    tokens = AccessToken.objects.filter(user=cast.alice.user)
    tokens.update(scopes=["chat"])
    error_of(cast.alice.get(EXPORT), 403, "scope_missing")
    tokens.update(scopes=["read"])
    assert len(rows_of(cast.alice)) == 1


def three(person: Person) -> list[str]:
    chat = make_conversation(person)
    said = [{"stars": 5}, {"stars": 1}, {"thumb": "up"}]
    given = [feedback.give(message=make_answer(chat), user=person.user, **words) for words in said]
    return [str(row.pk) for row in given]


def test_filters(alice: Person) -> None:
    keys = three(alice)
    assert [row["id"] for row in rows_of(alice)] == keys
    assert [row["id"] for row in rows_of(alice, negative="true")] == keys[1:2]
    assert rows_of(alice, end="2020-01-01") == []


def test_batches(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback_export, "_BATCH", 2)
    keys = three(cast.alice)
    three(cast.charlie)
    rows = MessageFeedback.objects.filter(workspace=cast.alice.workspace)
    with CaptureQueriesContext(connection) as captured:
        batches = list(feedback_export.lines(rows, workspace=cast.alice.workspace))
    assert [len(batch.splitlines()) for batch in batches] == [2, 1]
    assert [json.loads(line)["id"] for line in b"".join(batches).splitlines()] == keys
    assert len(captured) == 5  # two for each, and a look whether there is more


def test_content_costs_no_query_a_row(alice: Person, llm: LLM) -> None:
    let_out(alice)
    chat = make_conversation(alice, agent=make_agent(alice, llm))
    question = make_answer(chat, "Why?", role="user")

    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert all(row["question"] == "Why?" for row in rows_of(alice))
        return len(captured)

    def give() -> None:
        feedback.give(message=make_answer(chat, reply_to=question), user=alice.user, stars=3)

    give()
    count()  # which notes the use of the token
    few = count()
    give(), give()
    assert count() == few


def test_by_the_server(api: Api, alice: Person, chat: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamed, batch by batch, by the loop and the database threads."""
    monkeypatch.setattr(feedback_export, "_BATCH", 2)
    keys = three(alice)
    response = api.get(alice, EXPORT)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/x-ndjson"
    assert [json.loads(line)["id"] for line in response.text.splitlines()] == keys


def test_the_command(cast: Cast, tmp_path: Path) -> None:
    keys = three(cast.alice)
    three(cast.charlie)

    def run(*arguments: str) -> list[str]:
        out = io.StringIO()
        call_command("export_feedback", "--workspace", "acme", *arguments, stdout=out)
        return [json.loads(line)["id"] for line in out.getvalue().splitlines()]

    assert run() == keys
    assert run("--since", "2020-01-01") == keys
    assert run("--since", "2120-01-01") == []
    assert run("--output", str(tmp_path / "out.jsonl")) == []
    written = tmp_path / "out.jsonl"
    assert [json.loads(line)["id"] for line in written.read_text().splitlines()] == keys
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    with pytest.raises(CommandError, match="There is no workspace nowhere"):
        call_command("export_feedback", "--workspace", "nowhere")
    with pytest.raises(CommandError, match="can't be written"):
        run("--output", str(tmp_path / "nowhere" / "out.jsonl"))
