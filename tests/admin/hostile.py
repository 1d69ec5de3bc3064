"""A workspace whose people wrote whatever might be taken for anything but text, wherever something can be written."""

from __future__ import annotations

from typing import Any

from django.db import connection

from analytics.models import Alert, AlertRule, Report
from conversations.models import Conversation
from llm.models import ProviderConnection
from synapscale.common.tenancy import fleet_wide
from tagging.models import Tag, TagRule
from tests import full
from tests.admin.talks import Talk, make_talk
from tests.people import join, make_workspace
from workspaces.models import AccessToken, UserVariable

MARKUP = '<script>window.pwned=1</script><img src=x onerror="window.pwned=1">'
HIDDEN = "\u202egnp\u202c\u2066\u200f\u200b\x1b[31m\x07\x9b"
SHOWN = "[U+202E]gnp[U+202C][U+2066][U+200F][U+200B][U+001B][31m[U+0007][U+009B]"
"""The same, as a page shows it."""
NAME = f"</a>{MARKUP}{HIDDEN}"
"""Fits into a hundred characters: what names, titles and tags may have."""
LONG = "W" * 3000
TEXT = "\n".join(
    [
        NAME,
        "</textarea></title></style>--><svg onload=window.pwned=1><b x-data x-init=\"window.pwned=1\" @click='window.pwned=1'>",
        "{{ 7|add:7 }} {% debug %} ${7*7} {{constructor.constructor('window.pwned=1')()}} &lt;b&gt; &amp;",
        'javascript:window.pwned=1 <a href="javascript:window.pwned=1">x</a> [x](javascript:window.pwned=1)',
        "שלום, עולם (1) مرحبا بالعالم",
        '<iframe src="https://elsewhere.example/"></iframe><link rel=stylesheet href=//elsewhere.example/x.css>',
        LONG,
    ]
)
TITLE = (NAME + "שלום" + "W" * 200)[:200]
ERROR = (NAME + "\n" + "W" * 500)[:500]


def make_hostile() -> Talk:
    """The conversation of its owner."""
    owner = join(make_workspace("hostile"), "owner", "owner")
    words = dict.fromkeys(("context", "question", "answer", "result", "text", "suggestion", "prompt"), TEXT)
    talk = make_talk(owner, {**words, "title": TITLE, "error": ERROR, "arguments": TEXT})
    workspace, user = owner.workspace, owner.user
    workspace.name, user.name = (NAME + "W" * 150)[:150], (NAME + "W" * 150)[:150]
    workspace.save(), user.save()
    with fleet_wide():
        _rename(talk.conversation.agent, name=(NAME + "W" * 150)[:150], description=(NAME + "W" * 500)[:500])
        Tag.objects.filter(workspace=workspace, name="party").update(**_tag())
        _rename(TagRule.objects.get(workspace=workspace), name=NAME)
        full.alert(owner)
        full.report(owner)
        for row in [*AlertRule.objects.all(), *Report.objects.all(), *AccessToken.objects.all()]:
            _rename(row, name=NAME)
        Alert.objects.update(subject_label=NAME)
    ProviderConnection.objects.create(slug="hostile", name=NAME, base_url="https://models.example/v1")
    variable = UserVariable(workspace=workspace, category="api_key", name=NAME)
    variable.set_value("sk-live-0123456789")
    variable.save()
    if connection.vendor == "sqlite":  # PostgreSQL takes none
        rows = Conversation.objects.filter(workspace=workspace, pk=talk.conversation.pk)
        rows.update(context="before\x00after" + TEXT)
    return talk


def _rename(row: Any, **names: str) -> None:
    """Past forms and validators, which refuse some of it."""
    type(row)._default_manager.filter(pk=row.pk).update(**names)


def _tag() -> dict[str, str]:
    name = "<script>window.pwned</script>\u202egnp"
    value = "<img/src=x/onerror=window.pwned=1>\u200b"
    return {"name": name, "value": value, "label": f"{name}:{value}"}


def pages_of_no_row(talk: Talk) -> list[str]:
    workspace = talk.conversation.workspace_id
    return [
        *("/admin/", "/admin/workspaces/", "/admin/conversations/", "/admin/statements/"),
        f"/admin/statements/{workspace}/",
        *(f"/admin/usage-report/?by={by}" for by in ("workspace", "user", "tag", "model")),
    ]
