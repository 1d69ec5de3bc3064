"""Back office: the page on which a conversation is read. ``conversations.transcript`` finds what it shows."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from conversations import attachments, transcript
from conversations.admin.content import address, may_open_transcripts
from conversations.models import Conversation, Message, MessageFeedback, UsageLog
from conversations.transcript import Page, Turn
from synapscale.common import audit, stored_words
from synapscale.common.admin import OperatorAdmin, as_uuid
from synapscale.common.amounts import dollars, milliseconds, whole

FOLDED = 1500
"""Characters from which on a text is folded,"""
FOLDED_LINES = 25
"""and lines."""
BEGINNING = 300
"""What a folded text shows of itself."""
PLACES = {"start": "from", "after": "after", "before": "before"}
"""What an address may say of where to begin, with the id of a message."""

Facts = list[tuple[str, Any]]


def transcript_page(model_admin: OperatorAdmin, request: HttpRequest, key: uuid.UUID) -> TemplateResponse:
    """Show the transcript of the conversation ``key``, which is noted first: if that fails, nothing is shown."""
    if not may_open_transcripts(request):
        raise PermissionDenied
    conversation = Conversation.objects.select_related("workspace", "user", "agent").filter(pk=key).first()
    if conversation is None:
        raise Http404
    wanted = {name: _key(request, given) for name, given in PLACES.items()}
    audit.record_reading(request, conversation)
    page = transcript.page(conversation, **wanted, is_last="last" in request.GET)
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "original": conversation,
        "title": _("Transcript"),
        "conversation": conversation,
        "totals": _totals(conversation),
        "models": _models(conversation),
        "context_text": _folded(conversation.context),
        "tags": page.tags,
        "turns": _turns(request, page),
        "pages": _pages(conversation, page),
        "is_of_calls": conversation.kind == Conversation.Kind.API,
    }
    return TemplateResponse(request, "admin/conversations/conversation/transcript.html", context)


def _key(request: HttpRequest, name: str) -> uuid.UUID | None:
    given = request.GET.get(name)
    if given is None:
        return None
    key = as_uuid(given)
    if key is None:
        raise Http404
    return key


# --- The conversation -----------------------------------------------------------------------------------------------


def _totals(conversation: Conversation) -> Facts:
    return [
        (_("Messages"), whole(conversation.message_count)),
        (_("Tokens"), whole(conversation.total_tokens)),
        (_("Charged"), dollars(conversation.total_cost)),
    ]


def _models(conversation: Conversation) -> list[dict[str, Any]]:
    return [
        {
            "name": str(row.llm),
            "answers": whole(row.message_count),
            "input": whole(row.input_tokens),
            "output": whole(row.output_tokens),
            "charged": dollars(row.total_cost),
        }
        for row in transcript.models_of(conversation)
    ]


def _pages(conversation: Conversation, page: Page) -> dict[str, str]:
    """Where the neighbours of a page are; empty where there are none."""
    url = address(conversation.pk)
    found: dict[str, str] = {}
    if page.turns and page.has_earlier:
        found |= {"first": url, "earlier": f"{url}?before={page.turns[0].message.pk}"}
    if page.turns and page.has_later:
        found |= {"later": f"{url}?after={page.turns[-1].message.pk}", "last": f"{url}?last=1"}
    return found


# --- A message ------------------------------------------------------------------------------------------------------


def _turns(request: HttpRequest, page: Page) -> list[dict[str, Any]]:
    links = {
        name: request.user.has_perm(f"conversations.view_{name}") for name in ("message", "usagelog", "messagefeedback")
    }
    here = {turn.message.pk for turn in page.turns}
    tools = {
        call.get("id"): str(call.get("name", ""))
        for turn in page.turns
        for call in turn.message.tool_calls
        if call.get("id")
    }
    return [_turn(turn, links=links, here=here, tools=tools) for turn in page.turns]


def _turn(turn: Turn, *, links: dict[str, bool], here: set[uuid.UUID], tools: dict[str, str]) -> dict[str, Any]:
    message = turn.message
    return {
        "key": message.pk,
        "role": message.role,
        "heading": _heading(message, tools),
        "who": str(message.user),
        "at": message.created_at,
        "model": message.model_used,
        "status": "" if message.status == Message.Status.SENT else message.get_status_display(),
        "is_failed": message.status == Message.Status.ERROR or bool(message.is_failure_of_tool),
        "error": " · ".join(part for part in (message.error_code, stored_words.said(message, "error_message")) if part),
        "text": _folded(turn.text),
        "is_cut": turn.is_cut,
        "length": whole(message.length),
        "is_kept": turn.is_kept,
        "is_empty": not (turn.text or message.attachments or message.tool_calls),
        "is_final": message.is_final,
        "attachments": [_attachment(item) for item in message.attachments],
        "calls": [_call(call) for call in message.tool_calls],
        "reply_to": _reply_to(message, here),
        "facts": _facts(turn),
        "attempts": [_attempt(log, may_open=links["usagelog"]) for log in turn.attempts],
        "is_tried_again": len(turn.attempts) > 1,
        "opinions": [_opinion(opinion, may_open=links["messagefeedback"]) for opinion in turn.opinions],
        "tags": turn.tags,
        "url": reverse("admin:conversations_message_change", args=[message.pk]) if links["message"] else "",
    }


def _heading(message: Message, tools: dict[str, str]) -> str:
    if message.role == Message.Role.TOOL and message.tool_call_id in tools:
        return _("Result of the tool “%(name)s”") % {"name": tools[message.tool_call_id]}
    return {
        Message.Role.SYSTEM: _("Instructions"),
        Message.Role.USER: _("Question"),
        Message.Role.ASSISTANT: _("Answer"),
        Message.Role.TOOL: _("Result of a tool"),
    }[Message.Role(message.role)]


def _reply_to(message: Message, here: set[uuid.UUID]) -> dict[str, str]:
    if message.reply_to_id is None or message.role != Message.Role.ASSISTANT:
        return {}
    is_here = message.reply_to_id in here
    anchor = f"#message-{message.reply_to_id}"
    return {"url": anchor if is_here else address(message.conversation_id, message.reply_to_id)}


def _facts(turn: Turn) -> Facts:
    """What an answer took; nothing for what was never metered."""
    log = turn.last
    if log is None:
        return []
    facts: Facts = [
        (_("Tokens in"), whole(_tokens_in(log))),
        (_("Tokens out"), whole(_tokens_out(log))),
        (_("Cost"), dollars(turn.cost)),
        (_("Charged"), dollars(turn.charged)),
        (pgettext("duration", "Time"), milliseconds(log.latency_ms)),
    ]
    if log.time_to_first_token_ms is not None:
        facts.append((_("First token after"), milliseconds(log.time_to_first_token_ms)))
    if log.is_estimate:
        facts.append((_("Tokens are"), _("estimated: the provider reported none")))
    return facts


def _attempt(log: UsageLog, *, may_open: bool) -> dict[str, Any]:
    return {
        "number": log.attempt,
        "model": str(log.llm),
        "status": log.get_status_display(),
        "is_failed": log.status == UsageLog.Status.ERROR,
        "error": " · ".join(part for part in (log.error_code, stored_words.said(log, "error_message")) if part),
        "key": log.get_key_source_display(),
        "input": whole(_tokens_in(log)),
        "output": whole(_tokens_out(log)),
        "cost": dollars(log.cost_usd),
        "charged": dollars(log.charged_usd),
        "time": milliseconds(log.latency_ms),
        "url": reverse("admin:conversations_usagelog_change", args=[log.pk]) if may_open else "",
    }


def _opinion(opinion: MessageFeedback, *, may_open: bool) -> dict[str, Any]:
    parts = [opinion.get_thumb_display(), opinion.get_category_display()]
    if opinion.stars is not None:
        parts.insert(
            1, ngettext("%(count)d star of 5", "%(count)d stars of 5", opinion.stars) % {"count": opinion.stars}
        )
    return {
        "who": str(opinion.user),
        "judgement": " · ".join(str(part) for part in parts if part),
        "is_negative": opinion.is_negative,
        "text": opinion.text,
        "suggestion": opinion.suggestion,
        "url": reverse("admin:conversations_messagefeedback_change", args=[opinion.pk]) if may_open else "",
    }


def _attachment(item: dict[str, Any]) -> str:
    """What it is, without its megabytes."""
    what = attachments.summary(item)
    return _("Image, %(type)s, %(width)s × %(height)s pixels") % {
        "type": what["media_type"],
        "width": whole(what["width"]),
        "height": whole(what["height"]),
    }


def _call(call: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": call.get("name", ""),
        "key": call.get("id", ""),
        "arguments": _folded(_indented(call.get("arguments"))),
    }


def _indented(arguments: Any) -> str:
    """A tool's arguments, JSON in lines of its own; a model may have written something else."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    if len(text) > transcript.MAX_TEXT:
        return text[: transcript.MAX_TEXT] + "…"
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


# --- Texts and numbers ----------------------------------------------------------------------------------------------


def _folded(text: str) -> dict[str, str]:
    """A text, and its beginning where it is long."""
    is_long = len(text) > FOLDED or text.count("\n") >= FOLDED_LINES
    beginning = "\n".join(text[:BEGINNING].split("\n")[:5]) if is_long else ""
    return {"whole": text, "beginning": beginning, "length": whole(len(text))}


def _tokens_in(log: UsageLog) -> int:
    return log.input_tokens + log.cached_input_tokens + log.cache_write_5m_tokens + log.cache_write_1h_tokens


def _tokens_out(log: UsageLog) -> int:
    return log.output_tokens + log.reasoning_tokens
