from __future__ import annotations

import asyncio
import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing import ledger
from conversations import chat, trial
from conversations.admission import Admitted
from conversations.asks import Ask
from conversations.models import Message, UsageLog
from llm.models import LLM
from synapscale.common.errors import Refusal
from synapscale.common.money import usd_text
from workspaces.models import Membership, User, Workspace


class Command(BaseCommand):
    help = "Send one message through the whole road without a server, and print what it used and cost."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("message", nargs="?", default="What does a token cost?")

    def handle(self, *args: Any, message: str, **options: Any) -> None:
        try:
            access = trial.prepare()
        except LLM.DoesNotExist:
            raise CommandError("There is no demo model yet; run “manage.py setup --demo” first.") from None
        workspace = Workspace.objects.get(slug=trial.SLUG)
        user = User.objects.get(email=trial.EMAIL)
        before = ledger.wallet_of(workspace.pk).balance
        try:
            admitted = chat.admit(
                user=user,
                workspace=workspace,
                membership=Membership.objects.get(workspace=workspace, user=user),
                conversation_id=uuid.UUID(access.conversation_id),
                ask=Ask(content=message),
            )
        except Refusal as refusal:
            raise CommandError(refusal.message) from None
        assert isinstance(admitted, Admitted)  # no idempotency key was given
        held = ledger.wallet_of(workspace.pk).held
        answer = asyncio.run(_call(admitted))
        if answer.status != Message.Status.SENT:
            raise CommandError(f"The call failed: {answer.error_message}")
        log = UsageLog.objects.select_related("price").get(workspace=workspace, message=answer)
        price, after = log.price, ledger.wallet_of(workspace.pk).balance
        rows = [
            ("message", message),
            ("answer", answer.content),
            ("model", answer.model_used),
            ("tokens", f"{log.total_tokens} ({log.input_tokens} in, {log.output_tokens} out)"),
            (
                "price",
                f"${price.input_usd_per_mtok.normalize():f} in, ${price.output_usd_per_mtok.normalize():f} out, "
                f"per million tokens, since {price.effective_from:%Y-%m-%d}",
            ),
            ("held", f"${usd_text(held)} while it ran"),
            ("cost", f"${usd_text(log.charged_usd)}"),
            ("balance", f"${usd_text(before)} before, ${usd_text(after)} after"),
        ]
        for name, value in rows:
            self.stdout.write(f"{name:8} {value}")


async def _call(admitted: Admitted) -> Message:
    message, _ = await chat.start(admitted, streams=False).outcome()
    return message
