"""Trying a provider key that somebody brought: a real call, as small as can be, on exactly that key.

It takes the road of every message, so it is metered like any other call on an own key: its tokens are its owner's, and
nothing is charged for it but the platform's fee, where there is one.
"""

from __future__ import annotations

from conversations import chat
from conversations.admission import Admitted
from conversations.asks import Ask
from conversations.models import Message
from conversations.tries import whose_key
from llm import own_keys
from llm.errors import ProviderAuthenticationError, ProviderNotConfigured
from llm.models import LLM
from llm.types import ChatMessage, Credentials
from synapscale.common.errors import Conflict, Refusal, Unprocessable
from workspaces.models import AccessToken, Membership, UserVariable

PROMPT = "Reply with the word OK."
MAX_TOKENS = 64
"""Enough for a model that can't do without thinking to come to an end."""


class KeyUnusable(Exception):
    """No call can be made on the key, and it says why: ``code`` and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def admit(
    *, key: UserVariable, membership: Membership, access_token: AccessToken | None, idempotency_key: str = ""
) -> Admitted:
    """The call to try ``key`` with: the cheapest model of its provider that the workspace and the token, if there is one,
    allow.

    Blocking. Raises KeyUnusable, or a Refusal when the call can't be made for another reason: a Conflict when
    ``idempotency_key`` says that it was made already.
    """
    source = "user" if key.user_id else "workspace"
    named = f"{key.name}: {whose_key(Credentials(provider=key.name, api_key='', source=source, hint=key.hint))}"
    if not key.is_active:
        raise KeyUnusable("key_inactive", f"{named} is switched off.")
    if own_keys.is_expired(key):
        raise KeyUnusable("key_expired", f"{named} has expired.")
    models = LLM.objects.callable_in(membership.workspace, access_token=access_token)
    llm = models.filter(provider=key.name).cheapest()
    if llm is None:
        raise Unprocessable(
            f"You may call no model of {key.name} that has a price, so there is nothing to try the key with.",
            code="no_model_to_test",
        )
    ask = Ask(
        content=PROMPT,
        llm=str(llm),
        max_tokens=MAX_TOKENS,
        metadata={"key_test": key.name},
        turns=(ChatMessage(role="user", content=PROMPT),),
        options={"reasoning_effort": "none"},
        provider=key.name,
        key_source=source,
    )
    try:
        admitted = chat.admit(
            user=membership.user,
            workspace=membership.workspace,
            membership=membership,
            conversation_id=None,
            ask=ask,
            idempotency_key=idempotency_key,
            access_token=access_token,
        )
    except Refusal as refusal:
        if refusal.code == ProviderNotConfigured.code:  # it can't be decrypted, or has just been taken away
            raise KeyUnusable(refusal.code, refusal.message) from None
        raise
    if not isinstance(admitted, Admitted):
        raise Conflict("This call was made already.", code="key_tested_already")
    return admitted


def why_it_failed(admitted: Admitted, answer: Message) -> str:
    """What became of the call, naming the provider and the key."""
    if answer.error_code == ProviderAuthenticationError.code:
        return answer.error_message
    return f"{admitted.credentials.provider}, on {whose_key(admitted.credentials)}: {answer.error_message}"
