"""Posting to webhook endpoints, signed as Standard Webhooks has it (standardwebhooks.com).

An endpoint's address is a customer's word, so it is treated like a private host's (docs/adr/0007): https only, looked up
once, connected to at the address that was checked; no redirect is followed, no proxy of the environment is used, and of an
answer nothing but its status is read.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from django.utils.translation import gettext_noop
from django.views.decorators.debug import sensitive_variables

from analytics.models import WebhookEndpoint
from analytics.models_delivery import SECRET_PREFIX
from llm import hosts
from workspaces.crypto import CannotDecrypt

TIMEOUT_SECONDS = 10.0
"""For all of it: looking the name up, connecting, sending, and the head of the answer."""
_CONNECT_SECONDS = 5.0
NO_ANSWER = gettext_noop("No answer came within %(seconds)s seconds.")
STATUS = gettext_noop("It answered with status %(status)s.")


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a post. ``error`` is empty where it arrived; it repeats neither the address nor the answer."""

    status: int | None = None
    error: str = ""


def check_url(url: str, *, allows_private: bool) -> None:
    """Raises ``hosts.HostForbidden``, which says what is wrong."""
    hosts.check_url(url, allows_private=allows_private)


@sensitive_variables("secret")
def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """``v1,<base64 of HMAC-SHA256 of id.timestamp.body>``; the key is what ``secret`` has after ``whsec_``."""
    key = b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return f"v1,{b64encode(hmac.new(key, signed, sha256).digest()).decode()}"


@sensitive_variables("secret")
async def post(endpoint: WebhookEndpoint, payload: dict[str, Any], *, message_id: str) -> Answer:
    """Post ``payload`` now. Never raises for what the other side does, nor for where it is."""
    try:
        check_url(endpoint.url, allows_private=endpoint.allows_private_addresses)
        secret = endpoint.get_secret()
    except hosts.HostForbidden as fault:
        return Answer(error=str(fault)[:200])
    except CannotDecrypt:
        return Answer(error=gettext_noop("The secret can't be read: rotate it."))
    body, timestamp = json.dumps(payload, ensure_ascii=False).encode(), int(time.time())
    headers = {
        "content-type": "application/json",
        "user-agent": "SynapScale",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, message_id, timestamp, body),
    }
    guard = hosts.PRIVATE if endpoint.allows_private_addresses else hosts.PUBLIC
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return _judged(await _status(endpoint.url, body, headers, guard))
    except hosts.HostForbidden as fault:
        return Answer(error=str(fault)[:200])
    except TimeoutError:
        return Answer(error=NO_ANSWER % {"seconds": f"{TIMEOUT_SECONDS:.0f}"})


def _judged(status: int | None) -> Answer:
    if status is None:
        return Answer(error=gettext_noop("The connection failed."))
    if 300 <= status < 400:
        return Answer(status, gettext_noop("It redirects, which is not followed."))
    return Answer(status, "" if status < 300 else STATUS % {"status": status})


async def _status(url: str, body: bytes, headers: dict[str, str], guard: str) -> int | None:
    """The status of the answer; None where none came. Raises HostForbidden and TimeoutError."""
    import httpx2  # with what it needs, a tenth of a second that only senders should wait for

    from llm.providers.failures import ResponseTooLargeError
    from llm.providers.transport import new_http_client

    try:
        async with new_http_client(connect_timeout=_CONNECT_SECONDS, guard=guard) as client:
            request = client.build_request("POST", url, content=body, headers=headers)
            answer = await client.send(request, stream=True)
            await answer.aclose()
            return answer.status_code
    except ResponseTooLargeError:
        return 200  # it arrived, and the answer came compressed, which is refused of good ones alone
    except httpx2.TimeoutException:
        raise TimeoutError from None
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return None
