"""A final assistant message is metered in the transaction that saves it."""

from typing import Any

from django.db.models.signals import post_save

from conversations.metering import meter_message
from conversations.models import Message


def meter_final_message(sender: type[Message], instance: Message, raw: bool, **kwargs: Any) -> None:
    if not raw and instance.role == Message.Role.ASSISTANT and instance.is_final:
        meter_message(instance)


def connect() -> None:
    post_save.connect(meter_final_message, sender=Message, dispatch_uid="conversations.meter_final_message")
