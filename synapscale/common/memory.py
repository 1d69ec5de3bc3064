"""What the garbage collector is spared."""

from __future__ import annotations

import gc

from django.urls import get_resolver


def keep_what_is_there() -> None:
    """Spare the garbage collector what the start has made: half a million objects that stay for good.

    Otherwise whatever makes tens of thousands of objects waits while all of those are looked through again and again: a
    request for a table of figures, and migrations, which make every model anew a hundred times (a third of their time).
    """
    get_resolver().url_patterns  # noqa: B018 - all views, which else the first request would load
    gc.collect()
    gc.freeze()
