"""Which providers are failing: after several failures in a row a provider is skipped for a while, then probed again.

Kept in the process, not in the database: it is advice about where to try first, and a process learns it again in a few
calls. What a key or a request did wrong says nothing about the provider and does not count.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings

from llm.errors import ProviderError, ProviderTimeout, ProviderUnavailable, StreamInterrupted
from llm.types import Credentials
from synapscale.common import metrics

MAX_PAUSE_SECONDS = 300
_COUNTED = (ProviderUnavailable, ProviderTimeout, StreamInterrupted)


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    """In a row."""
    opened: int = 0
    """How many times in a row it was opened: each pause is twice as long as the one before."""
    skipped_until: float = 0
    """On the monotonic clock."""
    probing_until: float = 0
    """A probe is under way; the others go on skipping until it is over, or this moment has passed."""


class Circuits:
    """The circuits of this process, by provider and host. Calls are chosen on the database threads and end on the event
    loop, so every look at them takes a lock, for microseconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._circuits: dict[tuple[str, str], _Circuit] = {}
        self._lock = threading.Lock()

    def lets_through(self, credentials: Credentials) -> bool:
        """Whether to call this provider now. After a pause, one caller is let through as a probe: what becomes of its
        call is to be recorded, or ``release`` called when there is none.
        """
        with self._lock:
            circuit = self._circuits.get(_key(credentials))
            if circuit is None or circuit.opened == 0:
                return True
            now = self._clock()
            if now < circuit.skipped_until or now < circuit.probing_until:
                return False
            circuit.probing_until = now + settings.CIRCUIT_PAUSE_SECONDS
            return True

    def release(self, credentials: Credentials) -> None:
        """Nothing was learned from a call that was let through: somebody else may probe."""
        with self._lock:
            if circuit := self._circuits.get(_key(credentials)):
                circuit.probing_until = 0

    def record(self, credentials: Credentials, error: ProviderError | None) -> None:
        """How a call went: ``None`` when it was answered."""
        if error is not None and not isinstance(error, _COUNTED):
            self.release(credentials)
            return
        with self._lock:
            if error is None:
                self._circuits.pop(_key(credentials), None)
            else:
                self._fail(self._circuits.setdefault(_key(credentials), _Circuit()))
        state = metrics.CIRCUIT_STATES[self.state(credentials.provider)]
        metrics.CIRCUIT_STATE.labels(credentials.provider).set(state)

    def state(self, provider: str) -> str:
        """``closed`` (all is well), ``open`` (skipped) or ``half_open`` (the next call is a probe), at any host of it."""
        with self._lock:
            now = self._clock()
            circuits = [circuit for (name, _), circuit in self._circuits.items() if name == provider and circuit.opened]
            if any(now < circuit.skipped_until for circuit in circuits):
                return "open"
            return "half_open" if circuits else "closed"

    def reset(self) -> None:
        with self._lock:
            self._circuits.clear()

    def _fail(self, circuit: _Circuit) -> None:
        now = self._clock()
        circuit.failures += 1
        if now < circuit.skipped_until:
            return  # a call that had begun before, or was made all the same: it says nothing new
        if circuit.opened or circuit.failures >= settings.CIRCUIT_FAILURES:
            pause = min(settings.CIRCUIT_PAUSE_SECONDS * 2 ** min(circuit.opened, 30), MAX_PAUSE_SECONDS)
            circuit.opened += 1
            circuit.skipped_until = now + pause
            circuit.probing_until = 0


def _key(credentials: Credentials) -> tuple[str, str]:
    return credentials.provider, credentials.base_url


CIRCUITS = Circuits()
