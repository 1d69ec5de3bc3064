"""Calls without a provider: admitted and settled as the product does it, with an outcome made up by the test.

With ``make_llm()``'s price ($1 per million tokens in, $2 out), “Hello” with at most 100 tokens of answer holds
$0.000219 (19 tokens in at worst, 100 out), and its prompt is estimated at 10 tokens.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from billing.models import BillingEvent, Hold, HoldIncident, Wallet
from conversations import admission, settling
from conversations.admission import Admitted
from conversations.asks import Ask
from conversations.fallbacks import FallBack
from conversations.models import Conversation, Message, UsageLog
from conversations.outcomes import Outcome
from llm.types import Usage
from tests.people import Person
from workspaces.models import AccessToken, UserVariable

HELD = "0.000219"
SECOND_HELD, THIRD_HELD = Decimal("0.000438"), Decimal("0.000657")
"""The same at two and at three times the price."""
PROMPT_TOKENS = 10


def times(factor: int) -> dict[str, Decimal]:
    """The rates of a model that is so many times as dear as ``make_llm()``'s."""
    return {"input_usd_per_mtok": Decimal(factor), "output_usd_per_mtok": Decimal(2 * factor)}


def fall_back_to(person: Person, *names: str) -> None:
    """Let the workspace's calls fall back to these models."""
    person.workspace.fallback_models = list(names)
    person.workspace.save(update_fields=["fallback_models"])


def own_key(person: Person, provider: str = "openai") -> UserVariable:
    row = UserVariable(user=person.user, category="api_key", name=provider)
    row.set_value(f"sk-{provider}-0123456789")
    row.save()
    return row


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


def fall_back(admitted: Admitted, outcome: Outcome | None = None) -> Admitted | None:
    """The call by the next model, after this one has failed; None when there is none."""
    return FallBack(admitted, outcome or failed()).make()


def followed(admitted: Admitted, outcome: Outcome | None = None) -> Admitted:
    following = fall_back(admitted, outcome)
    assert following is not None
    return following


def settle(admitted: Admitted, outcome: Outcome) -> Message:
    answer = admitted.answer
    return settling.settle(workspace_id=answer.workspace_id, message_id=answer.pk, outcome=outcome)


def settle_spooled(admitted: Admitted, outcome: Outcome) -> Message:
    """As a call that has ended does it: the outcome goes to disk, then from there into the database."""
    answer = admitted.answer
    settling.spool(workspace_id=answer.workspace_id, message_id=answer.pk, outcome=outcome)
    return settling.settle_from_spool(workspace_id=answer.workspace_id, message_id=answer.pk, outcome=outcome)


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


def answer_of(admitted: Admitted) -> Message:
    return Message.objects.get(workspace_id=admitted.answer.workspace_id, pk=admitted.answer.pk)


def states(person: Person) -> list[tuple[str, Decimal, Decimal | None]]:
    """Every hold, in order: its state, amount, and what was charged."""
    rows = Hold.objects.filter(workspace=person.workspace).order_by("id")
    return [(hold.state, hold.amount, hold.charged) for hold in rows]


def wallet(person: Person) -> Wallet:
    return Wallet.objects.get(workspace=person.workspace)


def events(person: Person) -> list[BillingEvent]:
    return list(BillingEvent.objects.filter(workspace=person.workspace).order_by("seq"))


def incidents(person: Person) -> list[HoldIncident]:
    return list(HoldIncident.objects.filter(workspace=person.workspace).order_by("id"))


def logs(person: Person) -> list[UsageLog]:
    return list(UsageLog.objects.filter(workspace=person.workspace).order_by("id"))
