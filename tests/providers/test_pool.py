"""The pool of SDK clients: bounded, per event loop, and never closing what is in use."""

from __future__ import annotations

import asyncio
from typing import Any

from llm.providers.pool import ClientPool, PoolKey


def key(name: str) -> PoolKey:
    return PoolKey("openai", name, "http://127.0.0.1:9", 1.0)


def client_of(http: Any) -> Any:
    """A client that is its own HTTP client, so that tests can see whether it was closed."""
    return http


async def use(pool: ClientPool, name: str) -> Any:
    async with pool.lease(key(name), client_of) as client:
        return client


def test_a_client_is_used_again_and_keys_do_not_share() -> None:
    async def run() -> None:
        pool = ClientPool()
        first = await use(pool, "a")
        assert await use(pool, "a") is first
        assert await use(pool, "b") is not first
        assert len(pool) == 2
        await pool.aclose()
        assert (first.is_closed, len(pool)) == (True, 0)

    asyncio.run(run())


def test_the_least_recently_used_is_let_go() -> None:
    async def run() -> None:
        pool = ClientPool(max_clients=2)
        a, b = await use(pool, "a"), await use(pool, "b")
        await use(pool, "a")
        await use(pool, "c")
        assert (a.is_closed, b.is_closed, len(pool)) == (False, True, 2)
        await pool.aclose()

    asyncio.run(run())


def test_a_client_in_use_is_never_closed() -> None:
    async def run() -> None:
        pool = ClientPool(max_clients=1)
        async with pool.lease(key("a"), client_of) as a:
            await use(pool, "b")
            await use(pool, "c")
            assert not a.is_closed
            async with pool.lease(key("a"), client_of) as again:
                assert again is a
        await use(pool, "d")
        assert (a.is_closed, len(pool)) == (True, 1)
        await pool.aclose()

    asyncio.run(run())


def test_idle_clients_are_let_go_with_their_keys() -> None:
    async def run() -> None:
        pool = ClientPool(max_idle=0.0)
        a = await use(pool, "a")
        await use(pool, "b")
        assert (a.is_closed, len(pool)) == (True, 1)
        await pool.aclose()

    asyncio.run(run())


def test_event_loops_do_not_share_and_closed_ones_are_forgotten() -> None:
    pool = ClientPool()
    first = asyncio.run(use(pool, "a"))

    async def run() -> None:
        assert await use(pool, "a") is not first
        assert len(pool) == 1
        await pool.aclose()

    asyncio.run(run())


def test_keys_do_not_show() -> None:
    assert "sk-secret" not in repr(key("sk-secret"))


def test_one_providers_clients_can_be_closed_alone() -> None:
    async def run() -> None:
        pool = ClientPool()
        ours = await use(pool, "a")
        async with pool.lease(PoolKey("google", "a", "http://127.0.0.1:9", 1.0), client_of) as other:
            await pool.aclose("openai")
        assert (ours.is_closed, other.is_closed) == (True, False)
        await pool.aclose()

    asyncio.run(run())
