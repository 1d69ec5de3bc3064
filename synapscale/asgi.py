"""The ASGI application: Django, the static files of the back office, and the server's own life cycle."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import django
from django.core.handlers.asgi import ASGIHandler
from django.core.signals import request_finished

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "synapscale.settings")
django.setup(set_prefix=False)

from django.conf import settings  # noqa: E402
from servestatic import ServeStaticASGI  # noqa: E402

from conversations import calls  # noqa: E402
from llm import client  # noqa: E402
from llm.providers import warm_up  # noqa: E402
from synapscale.common import memory, periodic, tracing  # noqa: E402


class _Handler(ASGIHandler):
    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Also a request that breaks off ends: where a stream fails half-way, Django does not close the response, and the
        connection of the request's thread would never come back to the pool. Ten of them, and the server stands still.
        """
        try:
            await super().handle(scope, receive, send)
        except BaseException:
            await request_finished.asend(sender=type(self))
            raise

    def create_request(self, scope: Any, body_file: Any) -> Any:
        """Say how long a body is that came in chunks: without a length, Django REST framework takes it for none."""
        request, refusal = super().create_request(scope, body_file)
        if request is not None and "CONTENT_LENGTH" not in request.META:
            request.META["CONTENT_LENGTH"] = str(body_file.seek(0, os.SEEK_END))
            body_file.seek(0)
        return request, refusal


_django = _Handler()


async def _lifespan(receive: Any, send: Any) -> None:
    await receive()
    # Importing the vendors' SDKs takes seconds, which the first customer should not have to wait for.
    await asyncio.to_thread(warm_up, [name for name, house in settings.PROVIDERS.items() if house["api_key"]])
    await asyncio.to_thread(memory.keep_what_is_there)
    tracing.start()
    background = periodic.start_all()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    for task in background:
        task.cancel()
    await calls.drain(seconds=settings.SHUTDOWN_GRACE_SECONDS)
    await client.aclose_all()
    await asyncio.to_thread(tracing.stop)
    await send({"type": "lifespan.shutdown.complete"})


async def _dispatch(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    else:
        await _django(scope, receive, send)


settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
application = ServeStaticASGI(_dispatch, root=str(settings.STATIC_ROOT), prefix=settings.STATIC_URL)
