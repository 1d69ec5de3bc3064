"""The next model's turn: a failed attempt is metered and another is admitted, in one transaction.

Every attempt has its own hold, price and key, sized for its model; the message moves on from one to the next. So at
every instant a pending answer has one open hold, and a crash is repaired as if there had been one attempt only.
"""

from __future__ import annotations

from dataclasses import replace

from django.db import transaction
from django.utils import timezone

from billing import ledger
from conversations.admission import Admitted, next_offer, place_hold, reserve
from conversations.metering import meter_failed_attempt
from conversations.models import Message
from conversations.outcomes import Outcome
from synapscale.common.db import retry_transaction


class _NoneLeft(Exception):
    """No other model can be called: what was done is rolled back."""


def fall_back(admitted: Admitted, outcome: Outcome) -> Admitted | None:
    """The call by the next model that can answer, its money reserved; None when there is none, and nothing is changed.

    ``outcome`` is how the attempt before it ended. Raises ``holds.HoldGone`` when somebody else has finished the call.
    """
    if not admitted.plan.fallbacks:
        return None
    try:
        return retry_transaction(_fall_back, admitted, outcome.storable())
    except _NoneLeft:
        return None


def _fall_back(admitted: Admitted, outcome: Outcome) -> Admitted:
    workspace = admitted.asker.workspace
    with transaction.atomic(durable=True):
        answer = Message.objects.select_for_update(of=("self",)).get(workspace=workspace, pk=admitted.answer.pk)
        if answer.is_final:
            raise _NoneLeft
        meter_failed_attempt(answer, outcome)
        wallet = ledger.wallet_of(workspace.pk)  # with what the failed attempt gave back
        offer = next_offer(
            admitted.plan,
            asker=admitted.asker,
            ask=admitted.ask,
            conversation=admitted.conversation,
            question=admitted.question,
            wallet=wallet,
            now=timezone.now(),
            is_last_resort=True,
        )
        if offer is None:
            raise _NoneLeft
        offer = replace(offer, terms=replace(offer.terms, rate_tokens=0))
        # Dispatched: the request leaves as soon as this is committed.
        answer.hold = hold = place_hold(offer, asker=admitted.asker, wallet=wallet, is_dispatched=True)
        answer.attempt += 1
        offer.on(answer)
        answer.save()
        reserve(offer, hold=hold, wallet=wallet)
    return replace(admitted, answer=answer, request=offer.request, credentials=offer.credentials, plan=offer.plan)
