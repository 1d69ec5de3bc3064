"""The only writer of balances.

Every movement is one event and one wallet update that agree: ``seq`` goes up by one, ``balance_after`` is the new
balance. The wallet is the most contended row of a workspace, so callers touch it last, right before they commit. The
order of locks everywhere is: message, hold, statistics, wallet.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from billing.models import BillingEvent, Hold, HoldIncident, Wallet
from synapscale.common.amounts import digits
from synapscale.common.errors import Conflict, InsufficientBalance, NotFound, Refusal, Unprocessable
from synapscale.common.models import new_id
from synapscale.common.money import MAX_USD, ZERO, UsdField
from workspaces.models import User, Workspace

MAX_CREDIT = Decimal(1_000_000)
"""The largest single credit, in USD."""
_USD = UsdField()


class NotCovered(Exception):
    """The wallet's guard refused the movement: it would overdraw, or the wallet is not there."""


@dataclass(frozen=True, slots=True)
class Posting:
    """A movement as it was written."""

    seq: int
    balance_after: Decimal


def wallet_of(workspace_id: uuid.UUID) -> Wallet:
    """The workspace's wallet; opened here should it have none yet."""
    wallet, _ = Wallet.objects.get_or_create(workspace_id=workspace_id)
    return wallet


def charge(
    *,
    wallet_id: uuid.UUID,
    workspace_id: uuid.UUID,
    amount: Decimal,
    reference: str,
    user_id: uuid.UUID | None,
    hold: Hold | None = None,
    event_id: uuid.UUID | None = None,
    event_type: str = BillingEvent.Type.USAGE,
    description: str = "",
    metadata: dict[str, Any] | None = None,
) -> Posting:
    """Take ``amount`` (USD, positive) from the wallet, and give back ``hold`` in the same statement.

    The hold must have been resolved in this transaction. Raises NotCovered when the wallet does not cover it.
    """
    return _post(
        wallet_id=wallet_id,
        workspace_id=workspace_id,
        amount=-amount,
        unhold=hold.amount if hold else ZERO,
        hold_id=hold.pk if hold else None,
        event_id=event_id,
        event_type=event_type,
        reference=reference,
        user_id=user_id,
        description=description,
        metadata=metadata,
    )


def credit(
    *,
    workspace: Workspace,
    amount: Decimal,
    reference: str,
    description: str = "",
    actor: User | None = None,
    payment_provider: str = "",
    payment_transaction_id: str = "",
    invoice_id: str = "",
) -> tuple[BillingEvent, bool]:
    """Add ``amount`` (USD, positive, at most MAX_CREDIT); the event and whether it is new.

    The same reference again returns the first event and moves nothing; with another amount it is a Conflict.
    """
    amount = _amount(amount)
    if not ZERO < amount <= MAX_CREDIT:
        raise Unprocessable(
            _("A credit is more than 0 and at most %(amount)s USD.") % {"amount": digits(MAX_CREDIT)},
            code="invalid_amount",
        )
    return _post_once(
        workspace=workspace,
        amount=amount,
        event_type=BillingEvent.Type.CREDIT,
        reference=reference,
        description=description,
        actor=actor,
        payment_provider=payment_provider,
        payment_transaction_id=payment_transaction_id,
        invoice_id=invoice_id,
    )


def adjust(
    *,
    workspace: Workspace,
    amount: Decimal,
    reference: str,
    description: str,
    actor: User | None,
    original: BillingEvent | None = None,
) -> tuple[BillingEvent, bool]:
    """Correct a balance by a signed ``amount`` (USD). A reason is required; ``original`` is the movement that was wrong."""
    amount = _amount(amount)
    if amount == 0 or abs(amount) > MAX_CREDIT:
        raise Unprocessable(_("An adjustment is not 0 and at most 1,000,000 USD."), code="invalid_amount")
    if not description.strip():
        raise Unprocessable(_("An adjustment needs a reason."), code="reason_required")
    if original is not None and original.workspace_id != workspace.pk:
        raise Unprocessable(_("The original is a movement of another wallet."), code="foreign_original")
    return _post_once(
        workspace=workspace,
        amount=amount,
        event_type=BillingEvent.Type.ADJUSTMENT,
        reference=reference,
        description=description,
        actor=actor,
        original=original,
        user=original.user if original else None,
    )


@transaction.atomic
def refund(
    *, original: BillingEvent, amount: Decimal, reference: str, description: str, actor: User | None
) -> tuple[BillingEvent, bool]:
    """Give back ``amount`` (USD, positive) of a charge: all refunds of it together never exceed it."""
    amount = _amount(amount)
    workspace = original.workspace
    # Refunds of one wallet one after another, so that two of them can't both see the same remainder.
    Wallet.objects.select_for_update(no_key=True).get(workspace=workspace, pk=original.wallet_id)
    known = BillingEvent.objects.filter(workspace=workspace, reference=reference).first()
    if known is None:
        if original.amount_usd >= 0:
            raise Unprocessable(_("Only a charge can be refunded."), code="not_a_charge")
        refunded = original.corrections.filter(event_type=BillingEvent.Type.REFUND).aggregate(s=Sum("amount_usd"))["s"]
        left = -original.amount_usd - (refunded or ZERO)
        if not ZERO < amount <= left:
            raise Unprocessable(
                _("At most %(amount)s USD of this charge can be refunded.") % {"amount": digits(left)},
                code="refund_exceeds_charge",
            )
    return _post_once(
        workspace=workspace,
        amount=amount,
        event_type=BillingEvent.Type.REFUND,
        reference=reference,
        description=description,
        actor=actor,
        original=original,
        user=original.user,
    )


def record_incident(*, hold: Hold, kind: str, amount: Decimal, detail: str) -> None:
    """Note money the house bears, once per hold and kind."""
    HoldIncident.objects.get_or_create(
        workspace_id=hold.workspace_id, hold=hold, kind=kind, defaults={"amount": amount, "detail": detail[:300]}
    )


def _amount(amount: Decimal) -> Decimal:
    from django.core.exceptions import ValidationError

    try:
        exact = _USD.to_python(amount)
    except ValidationError as error:
        raise Unprocessable(" ".join(error.messages), code="invalid_amount") from None
    if exact is None:
        raise Unprocessable(_("An amount is required."), code="invalid_amount")
    return exact


def _post_once(
    *,
    workspace: Workspace,
    amount: Decimal,
    event_type: str,
    reference: str,
    description: str,
    actor: User | None,
    original: BillingEvent | None = None,
    user: User | None = None,
    payment_provider: str = "",
    payment_transaction_id: str = "",
    invoice_id: str = "",
) -> tuple[BillingEvent, bool]:
    if not reference.strip() or len(reference) > 200:
        raise Unprocessable(_("A reference of 1 to 200 characters is required."), code="invalid_reference")
    event_id = new_id()
    events = BillingEvent.objects.filter(workspace=workspace)
    known = events.filter(reference=reference).first()
    if known is None:
        wallet = wallet_of(workspace.pk)
        try:
            with transaction.atomic():
                _post(
                    wallet_id=wallet.pk,
                    workspace_id=workspace.pk,
                    amount=amount,
                    event_id=event_id,
                    event_type=event_type,
                    reference=reference,
                    user_id=user.pk if user else None,
                    actor_id=actor.pk if actor else None,
                    original_id=original.pk if original else None,
                    description=description[:300],
                    payment_provider=payment_provider,
                    payment_transaction_id=payment_transaction_id,
                    invoice_id=invoice_id,
                )
        except IntegrityError as error:
            if "wallets_bounded" in str(error):
                raise Unprocessable(
                    _("A wallet's balance is %(amount)s USD at most.") % {"amount": digits(MAX_USD)},
                    code="balance_out_of_bounds",
                ) from None
            # Somebody posted the same reference in the meantime; anything else is a real error.
            known = events.filter(reference=reference).first()
            if known is None:
                raise
        except NotCovered:
            raise _refusal(amount) from None
        else:
            return events.get(pk=event_id), True
    is_same = (known.amount_usd, known.event_type, known.original_id) == (
        amount,
        event_type,
        original.pk if original else None,
    )
    if not is_same:
        raise Conflict(
            _("The reference “%(reference)s” was already used for another movement.") % {"reference": reference},
            code="reference_used",
        )
    return known, False


def _refusal(amount: Decimal) -> Refusal:
    if amount < 0:
        return InsufficientBalance("The balance does not cover this.")
    return NotFound("The workspace has no wallet.")


_COLUMNS = (
    "id, created_at, workspace_id, wallet_id, user_id, event_type, amount_usd, seq, balance_after, reference, "
    "description, hold_id, original_id, invoice_id, payment_provider, payment_transaction_id, status, metadata, "
    "actor_id, processed_at"
)
_GUARD = (
    "workspace_id = %(workspace)s AND id = %(wallet)s AND held >= %(unhold)s "
    # Money may always come in and holds be settled; what goes out must be covered.
    "AND (mode = 'untracked' OR %(amount)s + %(unhold)s >= 0 "
    "OR balance + %(amount)s + credit_limit >= held - %(unhold)s)"
)
_VALUES = (
    "%(id)s, %(now)s, %(workspace)s, {wallet}.id, %(user)s, %(type)s, %(amount)s, {seq}, {balance}, %(reference)s, "
    "%(description)s, %(hold)s, %(original)s, %(invoice_id)s, %(payment_provider)s, %(payment_transaction_id)s, "
    "'posted', %(metadata)s, %(actor)s, %(now)s"
)
# One round trip while the wallet's row is locked.
_POSTGRESQL = (
    "WITH w AS (UPDATE wallets SET balance = balance + %(amount)s, held = held - %(unhold)s, seq = seq + 1 "
    f"WHERE {_GUARD} RETURNING id, seq, balance) "
    f"INSERT INTO billing_events ({_COLUMNS}) SELECT "
    + _VALUES.format(wallet="w", seq="w.seq", balance="w.balance")
    + " FROM w RETURNING seq, balance_after"
)
# SQLite has no data-modifying CTE. The event goes first: the wallet's trigger asks for it.
_SQLITE_EVENT = (
    f"INSERT INTO billing_events ({_COLUMNS}) SELECT "
    + _VALUES.format(wallet="wallets", seq="wallets.seq + 1", balance="wallets.balance + %(amount)s")
    + f" FROM wallets WHERE {_GUARD} RETURNING seq, balance_after"
)
_SQLITE_WALLET = (
    "UPDATE wallets SET balance = balance + %(amount)s, held = held - %(unhold)s, seq = seq + 1 "
    "WHERE workspace_id = %(workspace)s AND id = %(wallet)s"
)


def _post(
    *,
    wallet_id: uuid.UUID,
    workspace_id: uuid.UUID,
    amount: Decimal,
    event_type: str,
    reference: str,
    user_id: uuid.UUID | None,
    unhold: Decimal = ZERO,
    event_id: uuid.UUID | None = None,
    hold_id: uuid.UUID | None = None,
    original_id: uuid.UUID | None = None,
    actor_id: uuid.UUID | None = None,
    description: str = "",
    invoice_id: str = "",
    payment_provider: str = "",
    payment_transaction_id: str = "",
    metadata: dict[str, Any] | None = None,
) -> Posting:
    """Write one event and the wallet it moves. Raises NotCovered, and IntegrityError for a reference used before."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("Money moves only inside a transaction.")

    def key(value: uuid.UUID | None) -> Any:
        return value if value is None or connection.vendor == "postgresql" else value.hex

    now: Any = timezone.now()
    if connection.vendor != "postgresql":
        now = connection.ops.adapt_datetimefield_value(now)
    values = {
        "id": key(event_id or new_id()),
        "now": now,
        "workspace": key(workspace_id),
        "wallet": key(wallet_id),
        "user": key(user_id),
        "type": event_type,
        "amount": _USD.to_scaled(amount),
        "unhold": _USD.to_scaled(unhold),
        "reference": reference,
        "description": description,
        "hold": key(hold_id),
        "original": key(original_id),
        "invoice_id": invoice_id,
        "payment_provider": payment_provider,
        "payment_transaction_id": payment_transaction_id,
        "metadata": json.dumps(metadata or {}),
        "actor": key(actor_id),
    }
    with connection.cursor() as cursor:
        cursor.execute(_POSTGRESQL if connection.vendor == "postgresql" else _SQLITE_EVENT, values)
        row = cursor.fetchone()
        if row is None:
            raise NotCovered
        if connection.vendor != "postgresql":
            cursor.execute(_SQLITE_WALLET, values)
    return Posting(seq=row[0], balance_after=_USD.from_scaled(row[1]))
