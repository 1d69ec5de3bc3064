"""Books in which everything has happened, for the auditor."""

from __future__ import annotations

from decimal import Decimal

import pytest

from billing import ledger
from conversations import admission, audit
from conversations.asks import Ask
from conversations.models import Conversation
from llm.models import LLM
from tests.books import assert_clean
from tests.catalogue import make_llm
from tests.conversations.calling import answered, ask, failed, followed, make_conversation, sent, settle
from tests.people import Cast, fund
from tests.unguarded import settle_constraints
from workspaces.models import AccessToken, Workspace

ACME = "(SELECT id FROM workspaces WHERE slug = 'acme')"
OF_ACME = f"workspace_id = {ACME}"
NAMES = [name for name, _, _ in audit._SQL] + ["recomputed"]


@pytest.fixture
def books(cast: Cast, llm: LLM) -> Conversation:
    """A workspace in which everything has happened: an answer, a refund of half of it, an overrun, a failure, a call
    under way; and a second one beside it, with an answer by a fallback and a call under way, both on a token with a limit.
    """
    alice, charlie = cast.alice, cast.charlie
    fund(alice.workspace, "1")
    fund(charlie.workspace, "1")
    conversation = make_conversation(alice)
    message = answered(alice, conversation)
    (charge,) = message.billing_events
    ledger.refund(original=charge, amount=Decimal("0.000025"), reference="r", description="Sorry", actor=alice.user)
    answered(alice, conversation, usage={"input": 1000, "output": 100})
    settle(ask(alice, conversation), failed())
    admission.admit(
        user=alice.user,
        workspace=alice.workspace,
        membership=alice.membership,
        conversation_id=conversation.pk,
        ask=Ask(content="Hello", llm="openai/openai-test", max_tokens=100),
        idempotency_key="k1",
    )
    token = AccessToken.objects.get(workspace=charlie.workspace, user=charlie.user)
    token.spend_limit_usd = Decimal("0.5")
    token.save()
    make_llm(name="second")
    Workspace.objects.filter(pk=charlie.workspace.pk).update(fallback_models=["openai/second"])
    charlie.workspace.refresh_from_db()
    chat = make_conversation(charlie)
    settle(followed(ask(charlie, chat, access_token=token)), sent())
    ask(charlie, chat, access_token=token)
    settle_constraints()
    assert_clean()
    return conversation
