"""The ASGI application: Django, the static files of the back office, and the server's own life cycle."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any

import django
from django.core.handlers.asgi import ASGIHandler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "synapscale.settings")
django.setup(set_prefix=False)

from django.conf import settings  # noqa: E402
from django.db import DatabaseError  # noqa: E402
from servestatic import ServeStaticASGI  # noqa: E402

from conversations import autotagging, calls, feedback_alerts, sweeper  # noqa: E402
from llm import client  # noqa: E402
from llm.providers import warm_up  # noqa: E402
from synapscale.common.db import in_db  # noqa: E402

logger = logging.getLogger(__name__)


class _Handler(ASGIHandler):
    def create_request(self, scope: Any, body_file: Any) -> Any:
        """Say how long a body is that came in chunks: without a length, Django REST framework takes it for none."""
        request, refusal = super().create_request(scope, body_file)
        if request is not None and "CONTENT_LENGTH" not in request.META:
            request.META["CONTENT_LENGTH"] = str(body_file.seek(0, os.SEEK_END))
            body_file.seek(0)
        return request, refusal


_django = _Handler()


async def _regularly(job: Callable[[], Awaitable[Any]], *, name: str, seconds: int) -> None:
    """Run ``job`` at start-up, then every few seconds, whatever becomes of it."""
    while True:
        try:
            await job()
        except DatabaseError as error:
            logger.warning("%s failed, will try again: %s", name, type(error).__name__)
        except Exception:
            logger.exception("%s failed, will try again", name)
        await asyncio.sleep(seconds)


async def _sweep() -> None:
    """Finish calls of processes that died."""
    await in_db(sweeper.sweep)


def _background() -> list[asyncio.Task[None]]:
    """What the server does by itself. A job with 0 seconds is left to cron."""
    jobs: list[tuple[str, Callable[[], Awaitable[Any]], int]] = [
        ("sweep", _sweep, settings.SWEEP_SECONDS),
        ("tagging", autotagging.run_due, settings.AUTOTAG_SECONDS),
        ("feedback alerts", feedback_alerts.send_due, settings.FEEDBACK_ALERT_SECONDS),
    ]
    return [asyncio.create_task(_regularly(job, name=name, seconds=every)) for name, job, every in jobs if every]


async def _lifespan(receive: Any, send: Any) -> None:
    await receive()
    # Importing the vendors' SDKs takes seconds, which the first customer should not have to wait for.
    await asyncio.to_thread(warm_up, [name for name, house in settings.PROVIDERS.items() if house["api_key"]])
    background = _background()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    for task in background:
        task.cancel()
    await calls.drain(seconds=settings.SHUTDOWN_GRACE_SECONDS)
    await client.aclose_all()
    await send({"type": "lifespan.shutdown.complete"})


async def _dispatch(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    else:
        await _django(scope, receive, send)


settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
application = ServeStaticASGI(_dispatch, root=str(settings.STATIC_ROOT), prefix=settings.STATIC_URL)
