"""Images sent with a message: checked and measured once, on the way in; kept apart from the message, and fetched only for
a prompt that they go into, or for whoever reads that message.
"""

from __future__ import annotations

import base64
import binascii
import io
import uuid
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from django.db.models import Q
from PIL import Image as Pillow
from rest_framework import serializers

from conversations.models import Message, MessageImage
from llm.types import ChatMessage, Image

MAX_ATTACHMENTS = 10
MAX_IMAGE_BYTES = 5 * 1024 * 1024
MAX_PROMPT_IMAGES = 50
MAX_PROMPT_BYTES = 20 * 1024 * 1024
"""Of all images of one prompt, as raw data: they are in memory, several times over, while it is sent."""
_FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}


def parse(item: Any) -> dict[str, Any]:
    """``{"type": "image", "media_type", "data": base64}`` with its measures added. Raises ValidationError.

    Only the header is read: no pixel is decoded, so a decompression bomb stays folded.
    """
    if not isinstance(item, dict) or item.get("type") != "image":
        raise serializers.ValidationError("An attachment is an object of type “image”.")
    if unknown := set(item) - {"type", "media_type", "data"}:
        raise serializers.ValidationError(f"Unknown field “{sorted(unknown)[0]}”.")
    if not isinstance(item.get("data"), str):
        raise serializers.ValidationError("An image needs its “data” in base64.")
    try:
        raw = base64.b64decode(item["data"], validate=True)
    except (binascii.Error, ValueError):
        raise serializers.ValidationError("“data” is not valid base64.") from None
    if len(raw) > MAX_IMAGE_BYTES:
        raise serializers.ValidationError("An image may have at most 5 MB.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            with Pillow.open(io.BytesIO(raw), formats=list(_FORMATS)) as picture:
                media_type, (width, height) = _FORMATS[picture.format or ""], picture.size
    except Exception:  # Pillow raises whatever a broken header provokes
        raise serializers.ValidationError("This is not a PNG, JPEG, GIF or WebP image.") from None
    if item.get("media_type") not in (None, media_type):
        raise serializers.ValidationError(f"The image is {media_type}, not {item['media_type']}.")
    found = {"type": "image", "media_type": media_type, "width": width, "height": height}
    return {**found, "bytes": len(raw), "data": item["data"]}


def as_image(stored: dict[str, Any], *, message_id: uuid.UUID | None = None) -> Image:
    """An attachment as the providers take it. One that is stored with ``message_id`` has its bytes still to come, with
    ``fetched``.
    """
    data, source = stored.get("data"), ""
    if data is None:
        source = _source(message_id, stored["position"])
    return Image(
        media_type=stored["media_type"],
        data=b"" if data is None else base64.b64decode(data),
        width=stored["width"],
        height=stored["height"],
        source=source,
    )


def set_apart(message: Message) -> list[MessageImage]:
    """The data of what is attached to ``message``, as rows to be stored after it; the message keeps what describes it."""
    images = []
    for position, item in enumerate(message.attachments):
        data = base64.b64decode(item["data"])
        images.append(
            MessageImage(workspace_id=message.workspace_id, message_id=message.pk, position=position, data=data)
        )
    message.attachments = [
        {**{name: value for name, value in item.items() if name != "data"}, "position": position}
        for position, item in enumerate(message.attachments)
    ]
    return images


def limit(messages: Iterable[Message], *, besides: Sequence[dict[str, Any]]) -> None:
    """Leave out the attachments of ``messages``, the latest first, that are too much for one prompt ``besides`` others."""
    count = MAX_PROMPT_IMAGES - len(besides)
    size = MAX_PROMPT_BYTES - sum(map(_size, besides))
    for message in messages:
        kept = []
        for item in message.attachments:
            count, size = count - 1, size - _size(item)
            if count >= 0 and size >= 0:
                kept.append(item)
        message.attachments = kept


def fetched(turns: Iterable[ChatMessage], *, workspace_id: uuid.UUID) -> tuple[ChatMessage, ...]:
    """The same turns with the bytes of their images. One query, none where there are none."""
    turns = tuple(turns)
    missing = [image.source for turn in turns for image in turn.images if image.source]
    if not missing:
        return turns
    which = Q()
    for source in missing:
        message_id, _, position = source.partition("/")
        which |= Q(message_id=message_id, position=position)
    rows = MessageImage.objects.filter(which, workspace_id=workspace_id)
    data = {_source(row.message_id, row.position): bytes(row.data) for row in rows}
    return tuple(replace(turn, images=tuple(_filled(turn.images, data))) if turn.images else turn for turn in turns)


def _filled(images: Iterable[Image], data: dict[str, bytes]) -> Iterator[Image]:
    for image in images:
        if not image.source:
            yield image
        elif image.source in data:
            yield replace(image, data=data[image.source], source="")


def _size(stored: dict[str, Any]) -> int:
    """In bytes; that of an image which a server of an older version has stored with its message is not known."""
    size: int = stored.get("bytes", MAX_IMAGE_BYTES)
    return size


def _source(message_id: uuid.UUID | None, position: int) -> str:
    return f"{message_id}/{position}"


def summary(stored: dict[str, Any]) -> dict[str, Any]:
    """An attachment without its data, for lists."""
    return {name: stored[name] for name in ("type", "media_type", "width", "height")}


def with_data(message: Message) -> list[dict[str, Any]]:
    """What is attached to a stored message, with its data in base64. One query, none where there is nothing."""
    if not message.attachments:
        return []
    rows = MessageImage.objects.filter(workspace_id=message.workspace_id, message_id=message.pk)
    data = {row.position: base64.b64encode(row.data).decode() for row in rows}
    return [
        {**summary(item), "data": item.get("data") or data.get(item["position"], "")} for item in message.attachments
    ]
