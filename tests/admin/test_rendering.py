"""What people write is text in every list, row and form; ``tests/browser/test_rendering.py`` looks at it in a browser."""

from __future__ import annotations

import re
from html import unescape

import pytest

from conversations.models import Agent
from synapscale.common.tenancy import fleet_wide
from tagging.models import Tag
from tests.admin.hostile import HIDDEN, SHOWN, TEXT, make_hostile, pages_of_no_row
from tests.admin.rows import Office, again, our_models, shown
from tests.admin.talks import Talk, url_of

UNSEEN = re.compile(f"[{re.escape(''.join(sign for sign in HIDDEN if not sign.isprintable()))}]")
CONTROLS = re.compile(r"<textarea\b[^>]*>.*?</textarea>|<input\b[^>]*>", re.S)


@pytest.fixture
def talk(db: None) -> Talk:
    return make_hostile()


def judge(page: str) -> None:
    assert "<script>window" not in page
    assert "<img src=x" not in page
    assert "<img/src=x" not in page
    assert "<svg onload" not in page
    assert '<a href="javascript:' not in page
    assert not UNSEEN.search(CONTROLS.sub("", page))


def test_lists_rows_and_histories_of_every_model(office: Office, talk: Talk) -> None:
    found = set()
    for model in our_models():
        with fleet_wide():
            rows = list(model._default_manager.all()[:8])
        pages = [office.list(model)]
        for row in rows:
            pages += [office.open(row), office.client.get(office.url(model, "history", row.pk))]
        for page in pages:
            assert page.status_code == 200
            judge(page.text)
            if SHOWN in page.text:
                found.add(model.__name__)
    assert {"Workspace", "User", "Agent", "Conversation", "Message", "UsageLog", "MessageFeedback", "TagRule"} <= found


def test_pages_of_no_row(office: Office, talk: Talk) -> None:
    for path in pages_of_no_row(talk):
        page = office.client.get(path)
        assert page.status_code == 200, path
        judge(page.text)
    judge(office.client.get("/admin/nothing/").text)


def test_a_transcript(office: Office, talk: Talk) -> None:
    page = office.client.get(url_of(talk.conversation)).text
    judge(page)

    assert page.count("&lt;script&gt;window.pwned=1&lt;/script&gt;") > 12
    assert "{{ 7|add:7 }} {% debug %} ${7*7}" in page
    assert "javascript:window.pwned=1 &lt;a href=&quot;javascript:window.pwned=1&quot;&gt;" in page


def test_choices(office: Office, talk: Talk) -> None:
    def texts(model: str, field: str) -> list[str]:
        query = {"app_label": "conversations", "model_name": model, "field_name": field, "term": ""}
        return [row["text"] for row in office.client.get("/admin/autocomplete/", query).json()["results"]]

    for found in (texts("conversation", "workspace"), texts("conversation", "agent")):
        assert any(SHOWN in text for text in found)
        assert not [text for text in found if UNSEEN.search(text)]


def test_a_form_sends_back_what_was_written(office: Office, talk: Talk) -> None:
    """A form that is saved does not turn what was written into signs."""
    agent = again(talk.conversation).agent
    page = office.open(agent).text
    judge(page)

    [box] = re.findall(r'<textarea name="system_prompt"[^>]*>\s*(.*?)</textarea>', page, re.S)
    assert unescape(box) == TEXT
    assert "</title></style>" not in box
    [value] = re.findall(r'<input type="text" name="name" value="([^"]*)"', page)
    assert unescape(value) == agent.name
    assert office.save(agent, is_active="").status_code == 302
    stored = again(agent)
    assert (stored.name, stored.system_prompt, stored.is_active) == (agent.name, agent.system_prompt, False)


def test_what_is_done_to_it_is_told_in_text(office: Office, talk: Talk) -> None:
    tag = Tag.objects.get(workspace_id=talk.conversation.workspace_id, label__startswith="<script>")
    judge(office.client.get(office.url(Tag, "delete", tag.pk)).text)

    agent = again(talk.conversation).agent
    typed = shown(office.open(agent).context["adminform"].form)
    said = office.client.post(office.url(Agent, "change", agent.pk), typed, follow=True).text
    assert "was changed successfully" in said
    assert SHOWN in said
    judge(said)
