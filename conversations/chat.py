"""The way of a message: admit, call, settle, reply. Views call this and nothing else."""

from __future__ import annotations

import uuid

from conversations import admission
from conversations.admission import Admitted, Known
from conversations.asks import Ask
from conversations.calls import Call
from synapscale.common.db import retry_transaction
from workspaces.models import AccessToken, Membership, User, Workspace


def admit(
    *,
    user: User,
    workspace: Workspace,
    membership: Membership,
    conversation_id: uuid.UUID | None,
    ask: Ask,
    idempotency_key: str = "",
    access_token: AccessToken | None = None,
) -> Admitted | Known:
    """Decide about a message and reserve its money, or find the answer its idempotency key already has.

    Blocking, one short transaction. Raises a ``Refusal`` that changed nothing.
    """
    return retry_transaction(
        admission.admit,
        user=user,
        workspace=workspace,
        membership=membership,
        conversation_id=conversation_id,
        ask=ask,
        idempotency_key=idempotency_key,
        access_token=access_token,
    )


def start(admitted: Admitted, *, streams: bool) -> Call:
    """Call the provider in a task of the server's own. Runs on the event loop; the caller may go away afterwards."""
    call = Call(admitted, streams=streams)
    call.start()
    return call
