"""A workspace is born with its wallet, so that no call ever finds none."""

from typing import Any

from django.db.models.signals import post_save

from billing.models import Wallet
from workspaces.models import Workspace


def open_wallet(sender: type[Workspace], instance: Workspace, created: bool, raw: bool, **kwargs: Any) -> None:
    if created and not raw:
        Wallet.objects.create(workspace=instance)


def connect() -> None:
    post_save.connect(open_wallet, sender=Workspace, dispatch_uid="billing.open_wallet")
