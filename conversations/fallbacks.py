"""The next model's turn: a failed attempt is metered and another is admitted, in one transaction.

Every attempt has its own hold, price and key, sized for its model; the message moves on from one to the next. So at
every instant a pending answer has one open hold, and a crash is repaired as if there had been one attempt only.
"""

from __future__ import annotations

from dataclasses import replace

from django.db import transaction
from django.utils import timezone

from billing import holds, ledger
from conversations.admission import Admitted, next_offer, place_hold, question_of, reserve, taking
from conversations.metering import meter_failed_attempt
from conversations.models import Message
from conversations.outcomes import CallTerms, Outcome
from synapscale.common.db import retry_transaction
from synapscale.common.errors import Refusal

_TRIES = 5


class _NoneLeft(Exception):
    """No other model can be called: what was done is rolled back."""


class FallBack:
    """From an attempt that failed to the one that follows.

    An object, because it may have to be made again without knowing whether it was made: when the connection breaks
    while it is committed. It remembers, so that no attempt is metered as the one before it.
    """

    def __init__(self, admitted: Admitted, outcome: Outcome) -> None:
        """``outcome`` is how the attempt of ``admitted`` ended."""
        self._admitted = admitted
        self._outcome = outcome.storable()
        self._following: Admitted | None = None

    def make(self) -> Admitted | None:
        """The call by the next model that can answer, its money reserved; None when there is none, and nothing is
        changed.
        """
        if not self._admitted.plan.fallbacks:
            return None
        for _ in range(_TRIES):
            try:
                return retry_transaction(self._make)
            except holds.WalletMoved:
                continue  # another call reserved in between: look at the balance again
            except (_NoneLeft, Refusal):  # nobody can answer, or the wallet was suspended
                return None
        return None

    def _make(self) -> Admitted:
        admitted, workspace = self._admitted, self._admitted.asker.workspace
        with transaction.atomic(durable=True):
            answer = Message.objects.select_for_update(of=("self",)).get(workspace=workspace, pk=admitted.answer.pk)
            if answer.is_final:
                raise _NoneLeft
            if self._following is not None and self._following.answer.hold_id == answer.hold_id:
                return self._following
            assert answer.hold_id == admitted.answer.hold_id, "another attempt is under way"
            rate_tokens = CallTerms(**answer.call["terms"]).rate_tokens
            payment = meter_failed_attempt(answer, self._outcome)
            wallet = payment.ahead(ledger.wallet_of(workspace.pk))
            offer = next_offer(
                admitted.plan,
                asker=admitted.asker,
                ask=admitted.ask,
                conversation=admitted.conversation,
                question=question_of(
                    admitted.ask,
                    asker=admitted.asker,
                    conversation=admitted.conversation,
                    question_id=admitted.question.pk,
                ),
                wallet=wallet,
                now=timezone.now(),
                is_last_resort=True,
            )
            if offer is None:
                raise _NoneLeft
            with taking(offer):
                offer = replace(offer, terms=replace(offer.terms, rate_tokens=rate_tokens))
                # Dispatched: the request leaves as soon as this is committed.
                answer.hold = hold = place_hold(offer, asker=admitted.asker, wallet=wallet, is_dispatched=True)
                answer.attempt += 1
                offer.on(answer)
                answer.save()
                payment.make()  # with the next line last: the wallet's row is the one everybody wants
                reserve(offer, hold=hold, wallet=wallet)
            self._following = replace(
                admitted, answer=answer, request=offer.request, credentials=offer.credentials, plan=offer.plan
            )
        return self._following
