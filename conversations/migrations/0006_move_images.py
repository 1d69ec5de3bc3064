"""The data of the images that are there already moves into its table; each message keeps what describes them."""

from __future__ import annotations

import base64
from typing import Any

from django.db import migrations


def move(apps: Any, schema_editor: Any) -> None:
    """One message at a time: a few of them may have more data than fits into memory together."""
    messages, images = apps.get_model("conversations", "Message"), apps.get_model("conversations", "MessageImage")
    with_some = messages.objects.exclude(attachments=[]).order_by("pk")
    for workspace_id, message_id in list(with_some.values_list("workspace_id", "pk")):
        rows = messages.objects.filter(workspace_id=workspace_id, pk=message_id)
        attachments, described = rows.values_list("attachments", flat=True).get(), []
        for position, item in enumerate(attachments):
            data = base64.b64decode(item.pop("data"))
            images.objects.create(workspace_id=workspace_id, message_id=message_id, position=position, data=data)
            described.append({**item, "bytes": len(data), "position": position})
        rows.update(attachments=described)


def move_back(apps: Any, schema_editor: Any) -> None:
    messages, images = apps.get_model("conversations", "Message"), apps.get_model("conversations", "MessageImage")
    for workspace_id, message_id in list(images.objects.values_list("workspace_id", "message_id").distinct()):
        rows = messages.objects.filter(workspace_id=workspace_id, pk=message_id)
        attachments = rows.values_list("attachments", flat=True).get()
        own = images.objects.filter(workspace_id=workspace_id, message_id=message_id)
        data = {image.position: base64.b64encode(image.data).decode() for image in own}
        for item in attachments:
            item["data"] = data[item.pop("position")]
            item.pop("bytes")
        rows.update(attachments=attachments)
        own.delete()


class Migration(migrations.Migration):
    dependencies = [("conversations", "0005_message_images")]

    operations = [migrations.RunPython(move, move_back)]
