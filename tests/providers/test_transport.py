"""Hosts that are not a vendor's: a call goes to the address that was checked, under the name that was meant."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.utils import translation

from llm.errors import ProviderError, ProviderHostForbidden, ProviderNotConfigured, ProviderTimeout, ProviderUnavailable
from llm.providers import Timeouts, adapter_for, transport
from llm.providers.pool import POOL
from llm.types import CallRequest, CallResult, Credentials
from tests.providers import certificates
from tests.providers.calling import KEY, request
from tests.providers.standins import StandIn, answer
from tests.resolver import Resolver, resolver

__all__ = ["resolver"]

NAME = "models.example"
LOOPBACK, METADATA = ["127.0.0.1"], ["169.254.169.254"]


def at(server: StandIn, name: str = NAME, *, guard: str = "private", **fields: Any) -> Credentials:
    """Credentials for the stand-in under a name."""
    base_url = f"{server.url.partition(':')[0]}://{name}:{server.port}/v1"
    return Credentials("private", **{"api_key": KEY, "base_url": base_url, "guard": guard, **fields})


def call(
    who: Credentials, *calls: CallRequest, is_streamed: bool = False, timeouts: Timeouts | None = None
) -> list[CallResult]:
    """Make the calls, one after the other, on one event loop."""

    async def one(asked: CallRequest) -> CallResult:
        adapter = adapter_for(who.provider, timeouts=timeouts)
        if not is_streamed:
            return await adapter.complete(asked, who)
        events = [event async for event in adapter.stream(asked, who)]
        assert isinstance(events[-1], CallResult)
        return events[-1]

    async def run() -> list[CallResult]:
        try:
            return [await one(asked) for asked in calls or (request(),)]
        finally:
            await POOL.aclose()

    return asyncio.run(run())


def refused(who: Credentials, expected: type[ProviderError] = ProviderHostForbidden, **options: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        call(who, **options)
    assert type(caught.value) is expected, caught.value
    return caught.value


# --- The address ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_private_host_is_called_at_its_address_under_its_name(
    provider: StandIn, resolver: Resolver, is_streamed: bool
) -> None:
    resolver.answer(NAME, LOOPBACK)
    provider.answer(text="Good day.")
    (result,) = call(at(provider), is_streamed=is_streamed)
    assert result.text == "Good day."
    (seen,) = provider.requests
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["host"] == f"{NAME}:{provider.port}"
    assert seen.key == KEY
    assert seen.body["max_tokens"] == 100


def test_a_name_that_means_something_else_when_asked_again(provider: StandIn, resolver: Resolver) -> None:
    """Rebinding: the check sees a good address, and the connection would go to the next answer."""
    resolver.answer(NAME, LOOPBACK, METADATA)
    call(at(provider))
    assert resolver.asked == [NAME]
    assert len(provider.requests) == 1
    refused(at(provider))
    assert len(provider.requests) == 1


def test_a_refused_address_is_told_in_english_whatever_is_spoken(provider: StandIn, resolver: Resolver) -> None:
    """It is stored with the call."""
    resolver.answer(NAME, METADATA)
    with translation.override("pt-br"):
        assert refused(at(provider)).message.startswith("The host's address is neither public nor of a private network")
    assert not provider.requests


def test_every_request_looks_again_even_on_a_connection_that_is_open(provider: StandIn, resolver: Resolver) -> None:
    resolver.answer(NAME, LOOPBACK, LOOPBACK, METADATA)
    with pytest.raises(ProviderHostForbidden):
        call(at(provider), request("1"), request("2"), request("3"))
    assert [seen.body["messages"][0]["content"] for seen in provider.requests] == ["1", "2"]
    assert resolver.asked == [NAME] * 3


@pytest.mark.parametrize(
    ("addresses", "guard"),
    [
        (LOOPBACK, "public"),
        (["10.0.0.1"], "public"),
        (["::1"], "public"),
        (["::ffff:127.0.0.1"], "public"),
        (METADATA, "public"),
        (METADATA, "private"),
        (["fd00:ec2::254"], "private"),
        (["100.100.100.200"], "private"),
        (["127.0.0.1", "169.254.169.254"], "private"),
        (["0.0.0.0"], "private"),
    ],
)
def test_a_forbidden_address_is_not_connected_to(
    provider: StandIn, resolver: Resolver, addresses: list[str], guard: str
) -> None:
    resolver.answer(NAME, addresses)
    error = refused(at(provider, guard=guard))
    assert provider.requests == []
    assert (error.code, error.http_status, error.is_retryable) == ("provider_host_forbidden", 422, False)
    assert error.provider == "private"
    assert not [address for address in [*addresses, NAME] if address in str(error)]
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert KEY not in "".join(shown.format())


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:169.254.169.254]", "2130706433"])
def test_addresses_in_the_url_are_looked_at_too(provider: StandIn, host: str) -> None:
    refused(at(provider, guard="public", base_url=f"https://{host}:{provider.port}/v1"))
    assert provider.requests == []


def test_plain_http_goes_to_private_addresses_alone(provider: StandIn, resolver: Resolver) -> None:
    resolver.answer(NAME, ["8.8.8.8"])
    assert str(refused(at(provider))) == "Plain http:// is for addresses of a private network alone."


def test_ipv6(resolver: Resolver, provider: StandIn) -> None:
    """Written in brackets into the URL of the request; nobody listens there."""
    resolver.answer(NAME, ["::1"])
    refused(at(provider, base_url=f"http://{NAME}:9/v1"), ProviderUnavailable)
    refused(at(provider, base_url="http://[::1]:9/v1"), ProviderUnavailable)


def test_a_name_that_is_not_known_is_an_outage(provider: StandIn, resolver: Resolver) -> None:
    assert refused(at(provider), ProviderUnavailable).is_retryable


def test_a_slow_name_server_counts_towards_the_time_to_connect(
    provider: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()

    def slow(*args: Any, **options: Any) -> Any:
        answers.wait(20)
        raise socket.gaierror

    call(at(provider, "127.0.0.1"))  # import the SDK first
    monkeypatch.setattr(socket, "getaddrinfo", slow)
    try:
        refused(at(provider), ProviderTimeout, timeouts=Timeouts(connect=0.2))
    finally:
        answers.set()


# --- TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[StandIn, list[str | None]]]:
    """A stand-in with a certificate for ``models.example``, and the names that it was asked for."""
    seen: list[str | None] = []
    certificate = certificates.issue(NAME, tmp_path)
    trusting = certificates.client_side(certificate)
    monkeypatch.setattr(transport, "tls", lambda: trusting)
    server = StandIn(tls=certificates.server_side(certificate, seen)).start()
    yield server, seen
    server.stop()


@pytest.mark.parametrize("guard", ["", "private"])
def test_tls_is_spoken_with_the_name_and_not_with_the_address(
    secure: tuple[StandIn, list[str | None]], resolver: Resolver, guard: str
) -> None:
    server, asked_for = secure
    resolver.answer(NAME, LOOPBACK)
    who = at(server, guard=guard)
    # Without a guard as a vendor is called, for comparison.
    assert call(who if guard else replace(who, provider="llama"))[0].text == "Hello from the stand-in."
    assert asked_for == [NAME]
    assert server.requests[0].headers["host"] == f"{NAME}:{server.port}"


@pytest.mark.parametrize("name", ["other.example", "127.0.0.1"])
def test_a_certificate_for_another_name_is_not_taken(
    secure: tuple[StandIn, list[str | None]], resolver: Resolver, name: str
) -> None:
    server, _ = secure
    resolver.answer("other.example", LOOPBACK)
    refused(at(server, name), ProviderUnavailable)
    assert server.requests == []


# --- Where else a request could go ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(provider: StandIn, resolver: Resolver, status: int) -> None:
    resolver.answer(NAME, LOOPBACK)
    elsewhere = f"http://127.0.0.1:{provider.port}/v1/chat/completions"
    provider.script(answer(status=status, headers={"location": elsewhere}))
    refused(at(provider), ProviderError)
    assert len(provider.requests) == 1


def test_proxies_of_the_environment_are_not_asked(
    provider: StandIn, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver.answer(NAME, LOOPBACK)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    call(at(provider))
    assert len(provider.requests) == 1


def test_a_guarded_call_does_not_use_a_connection_without_a_guard(provider: StandIn) -> None:
    """Same key, same base URL: the guard is part of what connections are kept by."""
    free = Credentials("llama", KEY, provider.openai_url)
    guarded = Credentials("llama", KEY, provider.openai_url, guard="public")

    async def run() -> None:
        try:
            await adapter_for("llama").complete(request(), free)
            await adapter_for("llama").complete(request(), guarded)
        finally:
            await POOL.aclose()

    with pytest.raises(ProviderHostForbidden):
        asyncio.run(run())
    assert len(provider.requests) == 1


@pytest.mark.parametrize("missing", [{"base_url": ""}, {"guard": ""}])
@pytest.mark.parametrize("is_streamed", [False, True])
def test_without_a_host_or_a_guard_nothing_is_called(
    provider: StandIn, missing: dict[str, str], is_streamed: bool
) -> None:
    """Above all not OpenAI, whose address the SDK would fill in."""
    refused(at(provider, "127.0.0.1", **missing), ProviderNotConfigured, is_streamed=is_streamed)
    assert provider.requests == []


def test_vendors_are_called_as_ever(provider: StandIn, resolver: Resolver) -> None:
    """An operator's own base URL in the environment needs no guard, wherever it leads."""
    call(Credentials("openai", KEY, provider.openai_url))
    assert len(provider.requests) == 1


def test_no_key_and_no_address_in_the_log(
    provider: StandIn, resolver: Resolver, caplog: pytest.LogCaptureFixture
) -> None:
    resolver.answer(NAME, LOOPBACK, METADATA)
    with caplog.at_level(logging.DEBUG):
        call(at(provider))
        refused(at(provider))
    assert KEY not in caplog.text
    assert METADATA[0] not in caplog.text
