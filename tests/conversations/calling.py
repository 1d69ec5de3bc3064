"""Calls without a provider: admitted and settled as the product does it, with an outcome made up by the test.

With ``make_llm()``'s price ($1 per million tokens in, $2 out), “Hello” with at most 100 tokens of answer holds
$0.000219 (19 tokens in at worst, 100 out), and its prompt is estimated at 10 tokens.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from billing.models import BillingEvent, Hold, HoldIncident, Wallet
from conversations import admission, settling
from conversations.admission import Admitted
from conversations.asks import Ask
from conversations.models import Conversation, Message, UsageLog
from conversations.outcomes import Outcome
from llm.types import Usage
from tests.people import Person
from workspaces.models import AccessToken

HELD = "0.000219"
PROMPT_TOKENS = 10


def make_conversation(person: Person, **fields: Any) -> Conversation:
    return Conversation.objects.create(workspace=person.workspace, user=person.user, **fields)


def ask(
    person: Person,
    conversation: Conversation | None,
    content: str = "Hello",
    *,
    access_token: AccessToken | None = None,
    **fields: Any,
) -> Admitted:
    """An admitted call: its money is reserved, its answer pending. Without a conversation: a one-shot call's."""
    fields = {"llm": "openai/openai-test", "max_tokens": 100, **fields}
    admitted = admission.admit(
        user=person.user,
        workspace=person.workspace,
        membership=person.membership,
        conversation_id=conversation.pk if conversation else None,
        ask=Ask(content=content, **fields),
        access_token=access_token,
    )
    assert isinstance(admitted, Admitted)
    return admitted


def sent(content: str = "Hi", *, usage: dict[str, int] | None = None, **fields: Any) -> Outcome:
    """A finished call; 10 tokens in and 20 out, $0.00005, unless said otherwise."""
    counted = Usage(**({"input": 10, "output": 20} if usage is None else usage))
    return Outcome(**{"status": "sent", "content": content, "finish_reason": "stop", "usage": counted, **fields})


def failed(**fields: Any) -> Outcome:
    return Outcome(**{"status": "error", "error_code": "provider_error", "error_message": "It failed.", **fields})


def settle(admitted: Admitted, outcome: Outcome) -> Message:
    answer = admitted.answer
    return settling.settle(workspace_id=answer.workspace_id, message_id=answer.pk, outcome=outcome)


def answered(
    person: Person, conversation: Conversation, *, usage: dict[str, int] | None = None, **fields: Any
) -> Message:
    """A call from the question to the settled answer."""
    return settle(ask(person, conversation, **fields), sent(usage=usage))


def checkpoint(admitted: Admitted, content: str, **noted: Any) -> None:
    """What a running call writes every couple of seconds."""
    answer = admitted.answer
    call = {**answer.call, "checkpoint": {"seen_usage": None, "latency_ms": 7, "time_to_first_token_ms": 3, **noted}}
    Message.objects.filter(workspace_id=answer.workspace_id, pk=answer.pk).update(
        content=content, status=Message.Status.STREAMING, call=call
    )


def lapse(admitted: Admitted, *, seconds: int = 1) -> None:
    """Let the call's lease run out."""
    answer = admitted.answer
    Hold.objects.filter(workspace_id=answer.workspace_id, pk=answer.hold_id).update(
        lease_until=timezone.now() - timedelta(seconds=seconds)
    )


def hold_of(admitted: Admitted) -> Hold:
    return Hold.objects.get(workspace_id=admitted.answer.workspace_id, pk=admitted.answer.hold_id)


def wallet(person: Person) -> Wallet:
    return Wallet.objects.get(workspace=person.workspace)


def events(person: Person) -> list[BillingEvent]:
    return list(BillingEvent.objects.filter(workspace=person.workspace).order_by("seq"))


def incidents(person: Person) -> list[HoldIncident]:
    return list(HoldIncident.objects.filter(workspace=person.workspace).order_by("id"))


def logs(person: Person) -> list[UsageLog]:
    return list(UsageLog.objects.filter(workspace=person.workspace).order_by("id"))
