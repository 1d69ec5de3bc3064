"""Who keeps trying wrong access tokens, by client address, in this process's memory.

It only turns further refusals into 429: a good token is accepted from any address, so nobody can lock out others that share
one with them.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict

logger = logging.getLogger(__name__)

PER_MINUTE = 30
MAX_ADDRESSES = 10_000
"""Of more than so many, those are forgotten that have been quiet for longest."""

clock = time.monotonic
_lock = threading.Lock()
_counts: OrderedDict[str, tuple[float, int]] = OrderedDict()
"""When a minute began, and how many have come from that address since."""


def note(address: str) -> int:
    """Note a wrong token. The seconds that this address should wait, 0 while it has not tried too often."""
    with _lock:
        now = clock()
        began, count = _counts.get(address, (now, 0))
        if now - began >= 60:
            began, count = now, 0
        count += 1
        _counts[address] = began, count
        _counts.move_to_end(address)
        if len(_counts) > MAX_ADDRESSES:
            _counts.popitem(last=False)
    if count <= PER_MINUTE:
        return 0
    if count == PER_MINUTE + 1:
        logger.warning("more than %s wrong access tokens within a minute from %s", PER_MINUTE, address)
    return math.ceil(60 - (now - began))


def forget() -> None:
    with _lock:
        _counts.clear()
