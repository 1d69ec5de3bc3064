"""How many tokens an image takes, at most: the vendors' published formulas. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Callable


def _cells(width: int, height: int, size: int) -> int:
    return -(-width // size) * -(-height // size)


def _openai_image(width: int, height: int) -> int:
    # developers.openai.com/api/docs/guides/images-vision. GPT-6: 32 px patches x 1.2, at detail "auto" without a limit
    # (as measured up to 12 megapixels); small older models: at most 1,536 patches x 2.46; GPT-4o and GPT-5: 85 + 170
    # per 512 px tile, at most 4 x 2 tiles.
    patches, tiles = _cells(width, height, 32), _cells(width, height, 512)
    return max(-(-patches * 12 // 10), -(-min(patches, 1536) * 246 // 100), 85 + 170 * min(tiles, 8))


def _anthropic_image(width: int, height: int) -> int:
    # platform.claude.com/docs/en/build-with-claude/vision. Claude 5: 28 px patches, scaled down to at most 4,784;
    # older ones: width x height / 750, scaled down to about 1,600.
    return min(max(_cells(width, height, 28), -(-width * height // 750)), 4784)


def _google_image(width: int, height: int) -> int:
    # ai.google.dev/gemini-api/docs/media-resolution: 1,120 from Gemini 3 on, at the default resolution;
    # ai.google.dev/gemini-api/docs/tokens: 258 per 768 px tile before.
    return max(1120, 258 * _cells(width, height, 768))


def _grok_image(width: int, height: int) -> int:
    # docs.x.ai, image understanding: 256 for each 448 px tile, at most six, and for one more of the whole.
    return 256 * (min(_cells(width, height, 448), 6) + 1)


def _llama_image(width: int, height: int) -> int:
    # Llama 3.2 (transformers' MllamaVisionConfig): 1,601 per 560 px tile, at most four. Llama 4 needs less:
    # 144 per 336 px tile, at most 16, and for one more of the whole.
    return 1601 * min(_cells(width, height, 560), 4)


def _private_image(width: int, height: int) -> int:
    # Nobody knows what a private host runs: the dearest of all. Besides the vendors' (it may be a gateway to them) these
    # are Llama 3.2's four tiles, more than LLaVA-NeXT (2,928), Pixtral (4,160) and InternVL (3,328) ever take, and the
    # 28 px patches of Qwen2-VL, which only the host's own settings limit.
    vendors = (_openai_image, _anthropic_image, _google_image, _grok_image, _llama_image)
    return max(4 * 1601, _cells(width, height, 28), *(tokens(width, height) for tokens in vendors))


_IMAGE_TOKENS: dict[str, Callable[[int, int], int]] = {
    "openai": _openai_image,
    "anthropic": _anthropic_image,
    "google": _google_image,
    "grok": _grok_image,
    "llama": _llama_image,
    "private": _private_image,
}


def knows(provider: str) -> bool:
    """Whether the provider publishes a formula, so that its models can be sent images."""
    return provider in _IMAGE_TOKENS


def image_tokens(provider: str, width: int, height: int) -> int:
    """The most input tokens one image of ``width`` x ``height`` pixels can take at any model of ``provider``.

    Raises ValueError for a provider that publishes no formula: its models can't be sent images.
    """
    if provider not in _IMAGE_TOKENS:
        raise ValueError(f"{provider} has no known price for images")
    if width < 1 or height < 1:
        raise ValueError("an image is at least one pixel wide and high")
    return _IMAGE_TOKENS[provider](width, height)
