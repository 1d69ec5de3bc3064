"""Images sent with a message: checked and measured once, on the way in."""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from typing import Any

from PIL import Image as Pillow
from rest_framework import serializers

from llm.types import Image

MAX_ATTACHMENTS = 10
MAX_IMAGE_BYTES = 5 * 1024 * 1024
_FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}


def parse(item: Any) -> dict[str, Any]:
    """``{"type": "image", "media_type", "data": base64}`` with its width and height added. Raises ValidationError.

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
    return {"type": "image", "media_type": media_type, "width": width, "height": height, "data": item["data"]}


def as_image(stored: dict[str, Any]) -> Image:
    """A stored attachment as the providers take it."""
    return Image(
        media_type=stored["media_type"],
        data=base64.b64decode(stored["data"]),
        width=stored["width"],
        height=stored["height"],
    )


def summary(stored: dict[str, Any]) -> dict[str, Any]:
    """An attachment without its data, for lists."""
    return {key: value for key, value in stored.items() if key != "data"}
