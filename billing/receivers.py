"""A workspace is born with its wallet, so that no call ever finds none; and a token's successor inherits what it spent."""

from typing import Any

from django.db.models.signals import post_save

from billing import spending
from billing.models import Wallet
from workspaces.models import AccessToken, Workspace
from workspaces.signals import token_rotated


def open_wallet(sender: type[Workspace], instance: Workspace, created: bool, raw: bool, **kwargs: Any) -> None:
    if created and not raw:
        Wallet.objects.create(workspace=instance)


def carry_spend_over(sender: type[AccessToken], old: AccessToken, new: AccessToken, **kwargs: Any) -> None:
    spending.carry_over(old=old, new=new)


def connect() -> None:
    token_rotated.connect(carry_spend_over, sender=AccessToken, dispatch_uid="billing.carry_spend_over")
    post_save.connect(open_wallet, sender=Workspace, dispatch_uid="billing.open_wallet")
