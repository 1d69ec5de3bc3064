from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import ledger
from synapscale.common.errors import Refusal
from synapscale.common.money import usd_text
from workspaces.models import Workspace


class Command(BaseCommand):
    help = "Credit a workspace's wallet. The same reference again credits nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="The workspace.")
        parser.add_argument("amount", help="In USD, for example 25 or 12.50.")
        parser.add_argument("--reference", required=True, help="What the money is for; posted once per workspace.")
        parser.add_argument("--description", default="")

    def handle(self, *args: Any, slug: str, amount: str, reference: str, description: str, **options: Any) -> None:
        workspace = Workspace.objects.filter(slug=slug).first()
        if workspace is None:
            raise CommandError(f"There is no workspace {slug}.")
        try:
            usd = Decimal(amount)
        except InvalidOperation:
            raise CommandError(f"“{amount}” is not an amount.") from None
        try:
            event, is_new = ledger.credit(
                workspace=workspace, amount=usd, reference=reference, description=description or "Top-up"
            )
        except Refusal as refusal:
            raise CommandError(refusal.message) from None
        wallet = ledger.wallet_of(workspace.pk)
        what = "credited" if is_new else "was credited before, nothing done:"
        self.stdout.write(
            f"{slug}: {what} {usd_text(event.amount_usd)} USD ({reference}), balance {usd_text(wallet.balance)} USD"
        )
