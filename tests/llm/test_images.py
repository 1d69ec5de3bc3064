"""How many tokens images take: examples of the vendors' documentation, and what must hold of any formula."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm import images


@pytest.mark.parametrize(
    ("provider", "size", "tokens"),
    [
        ("openai", (1024, 1024), 2520),  # a small older model's 2.46 x 1,024 patches
        ("openai", (4032, 3024), 14364),  # as measured at GPT-6
        ("anthropic", (1092, 1092), 1590),  # the example in Anthropic's documentation
        ("anthropic", (1920, 1080), 2765),
        ("anthropic", (8000, 8000), 4784),
        ("google", (256, 256), 1120),
        ("google", (4032, 3024), 6192),
        ("grok", (448, 448), 512),
        ("grok", (4000, 4000), 1792),
        ("llama", (560, 560), 1601),
        ("llama", (561, 560), 3202),
        ("llama", (4000, 4000), 6404),
        ("private", (10, 10), 6404),
        ("private", (4032, 3024), 15552),  # 144 x 108 patches of 28 px
        ("private", (10_000, 1), 6404),
    ],
)
def test_image_tokens(provider: str, size: tuple[int, int], tokens: int) -> None:
    assert images.image_tokens(provider, *size) == tokens


VENDORS = ["openai", "anthropic", "google", "grok", "llama"]


@given(st.sampled_from([*VENDORS, "private"]), st.integers(1, 9000), st.integers(1, 9000))
def test_image_tokens_do_not_depend_on_the_orientation_and_never_shrink(provider: str, width: int, height: int) -> None:
    needed = images.image_tokens(provider, width, height)
    assert needed == images.image_tokens(provider, height, width) > 0
    assert images.image_tokens(provider, width + 1, height) >= needed


@given(st.integers(1, 9000), st.integers(1, 9000))
def test_an_image_at_a_private_host_is_reserved_as_at_the_dearest_vendor(width: int, height: int) -> None:
    needed = images.image_tokens("private", width, height)
    assert needed >= max(images.image_tokens(vendor, width, height) for vendor in VENDORS)


def test_an_image_without_a_known_price_is_refused() -> None:
    assert all(images.knows(provider) for provider in (*VENDORS, "private"))
    for provider in ("deepseek", "demo"):
        assert not images.knows(provider)
        with pytest.raises(ValueError, match="no known price"):
            images.image_tokens(provider, 10, 10)
    with pytest.raises(ValueError, match="one pixel"):
        images.image_tokens("openai", 0, 10)
