"""One adapter per vendor, found by name. The vendors' SDKs are heavy, so they are imported when first called."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext_noop

from llm.errors import ProviderNotConfigured
from llm.providers.anthropic import AnthropicProvider
from llm.providers.base import SDKProvider, Timeouts, load_sdk
from llm.providers.demo import DEFAULT_DELAY, DemoProvider
from llm.providers.google import GoogleProvider
from llm.providers.openai import BASE_URLS, OpenAIProvider
from llm.providers.private import PrivateProvider
from llm.types import Provider

PROVIDERS = (*BASE_URLS, "anthropic", "google", "private", "demo")


def adapter_for(provider: str, *, timeouts: Timeouts | None = None, demo_delay: float = DEFAULT_DELAY) -> Provider:
    """The adapter of a provider. Adapters are cheap; the open connections are pooled underneath them.

    Raises ``ProviderNotConfigured`` for a name that is none of ``PROVIDERS``.
    """
    if provider in BASE_URLS:
        return OpenAIProvider(provider, timeouts=timeouts)
    if provider == "anthropic":
        return AnthropicProvider(timeouts=timeouts)
    if provider == "google":
        return GoogleProvider(timeouts=timeouts)
    if provider == "private":
        return PrivateProvider(timeouts=timeouts)
    if provider == "demo":
        return DemoProvider(delay=demo_delay)
    raise ProviderNotConfigured(gettext_noop("There is no such provider."), provider=provider)


__all__ = ["PROVIDERS", "Timeouts", "adapter_for"]


def warm_up(providers: Iterable[str]) -> None:
    """Import the SDKs of ``providers``: it takes seconds, so a server does it while it starts, not in its first call."""
    for sdk in {adapter.sdk for name in providers if isinstance(adapter := adapter_for(name), SDKProvider)}:
        load_sdk(sdk)
