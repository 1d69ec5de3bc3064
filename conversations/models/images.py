"""Images that came with a message."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from conversations.models.chats import Message
from synapscale.common.models import TenantFK, TenantModel


class MessageImage(TenantModel):
    """The data of an image, apart from its message: whoever lists messages does not read megabytes."""

    message = TenantFK(Message, related_name="images")
    position = models.PositiveSmallIntegerField(help_text=_("Among the message's attachments, from 0."))
    data = models.BinaryField()

    class Meta:
        db_table = "message_images"
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["workspace", "message", "position"], name="message_images_once"),
        ]

    def __str__(self) -> str:
        return _("Image %(position)s of %(message)s") % {"position": self.position, "message": self.message_id}
