"""What a server's memory is spared."""

from __future__ import annotations

import gc

from django.urls import get_resolver


def keep_what_is_there() -> None:
    """Spare the garbage collector what the start has made: half a million objects that stay for good.

    Otherwise a request that makes tens of thousands of objects (a table of figures) waits while all of those are looked
    through again.
    """
    get_resolver().url_patterns  # noqa: B018 - all views, which else the first request would load
    gc.collect()
    gc.freeze()
