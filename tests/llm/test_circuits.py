"""Circuits: who is skipped, for how long, and who may try again first."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from llm import errors
from llm.circuits import CIRCUITS, MAX_PAUSE_SECONDS, Circuits
from llm.types import Credentials

FAILURES, PAUSE = 3, 10
COUNTED = (errors.ProviderUnavailable, errors.ProviderTimeout, errors.StreamInterrupted)
NOT_COUNTED = (
    errors.ProviderAuthenticationError,
    errors.ProviderPermissionError,
    errors.ProviderModelNotFound,
    errors.ProviderRequestRefused,
    errors.ContextLengthExceeded,
    errors.ProviderRateLimited,
    errors.ProviderQuotaExhausted,
    errors.ProviderNotConfigured,
    errors.ProviderError,
)


@pytest.fixture(autouse=True)
def _limits(settings: Any) -> None:
    settings.CIRCUIT_FAILURES, settings.CIRCUIT_PAUSE_SECONDS = FAILURES, PAUSE


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuits(clock: Clock) -> Circuits:
    return Circuits(clock=clock)


def at(provider: str = "openai", base_url: str = "", key: str = "sk-1") -> Credentials:
    return Credentials(provider=provider, api_key=key, base_url=base_url)


def down() -> errors.ProviderError:
    return errors.ProviderUnavailable(provider="openai")


def fail(circuits: Circuits, times: int = FAILURES, credentials: Credentials | None = None) -> None:
    for _ in range(times):
        circuits.record(credentials or at(), down())


# --- One thing at a time ----------------------------------------------------------------------------------------------


def test_a_provider_nobody_has_called_is_called(circuits: Circuits) -> None:
    assert circuits.lets_through(at())
    assert circuits.state("openai") == "closed"


@pytest.mark.parametrize("kind", COUNTED)
def test_failures_in_a_row_open_it(circuits: Circuits, kind: type[errors.ProviderError]) -> None:
    for _ in range(FAILURES - 1):
        circuits.record(at(), kind())
        assert circuits.lets_through(at())
    circuits.record(at(), kind())
    assert not circuits.lets_through(at())
    assert circuits.state("openai") == "open"


@pytest.mark.parametrize("kind", NOT_COUNTED)
def test_what_a_key_or_a_request_did_wrong_never_opens_it(circuits: Circuits, kind: type[errors.ProviderError]) -> None:
    for _ in range(FAILURES * 10):
        circuits.record(at(), kind())
    assert circuits.lets_through(at())
    assert circuits.state("openai") == "closed"


def test_what_does_not_count_does_not_forgive_either(circuits: Circuits) -> None:
    fail(circuits, FAILURES - 1)
    circuits.record(at(), errors.ProviderRequestRefused())
    fail(circuits, 1)
    assert not circuits.lets_through(at())


def test_a_success_in_between_starts_the_count_anew(circuits: Circuits) -> None:
    for _ in range(5):
        fail(circuits, FAILURES - 1)
        circuits.record(at(), None)
    assert circuits.lets_through(at())


def test_after_the_pause_one_is_let_through_and_the_others_wait_for_it(circuits: Circuits, clock: Clock) -> None:
    fail(circuits)
    clock.now += PAUSE - 0.001
    assert not circuits.lets_through(at())
    clock.now += 0.001
    assert circuits.state("openai") == "half_open"
    assert [circuits.lets_through(at()) for _ in range(4)] == [True, False, False, False]


def test_a_probe_that_is_answered_closes_it(circuits: Circuits, clock: Clock) -> None:
    fail(circuits)
    clock.now += PAUSE
    assert circuits.lets_through(at())
    circuits.record(at(), None)
    assert [circuits.lets_through(at()) for _ in range(3)] == [True, True, True]
    fail(circuits, FAILURES - 1)
    assert circuits.lets_through(at())
    fail(circuits, 1)
    clock.now += PAUSE  # the first pause again, not a doubled one
    assert circuits.lets_through(at())


def test_each_probe_that_fails_doubles_the_pause_up_to_a_limit(circuits: Circuits, clock: Clock) -> None:
    fail(circuits)
    for pause in (10, 20, 40, 80, 160, 300, 300, 300):
        clock.now += pause - 0.001
        assert not circuits.lets_through(at())
        clock.now += 0.001
        assert circuits.lets_through(at())
        circuits.record(at(), down())
    assert MAX_PAUSE_SECONDS == 300


def test_fifty_calls_that_fail_at_once_are_one_failure_of_the_provider(circuits: Circuits, clock: Clock) -> None:
    """They had begun before it was opened: the pause is the first one, not the longest."""
    fail(circuits, 50)
    clock.now += PAUSE
    assert circuits.lets_through(at())


def test_calls_made_all_the_same_do_not_keep_it_open(circuits: Circuits, clock: Clock) -> None:
    """Where no other model can answer, the provider is called although it is skipped elsewhere."""
    fail(circuits)
    for _ in range(PAUSE):
        clock.now += 1
        fail(circuits, 1)
    assert not circuits.lets_through(at())  # the last of them came after the pause: as good as a probe
    clock.now += 2 * PAUSE
    assert circuits.lets_through(at())


@pytest.mark.parametrize("kind", NOT_COUNTED)
def test_a_probe_refused_for_its_own_fault_lets_the_next_one_try(
    circuits: Circuits, clock: Clock, kind: type[errors.ProviderError]
) -> None:
    fail(circuits)
    clock.now += PAUSE
    assert circuits.lets_through(at())
    circuits.record(at(), kind())
    assert circuits.state("openai") == "half_open"
    assert [circuits.lets_through(at()) for _ in range(2)] == [True, False]


def test_a_probe_that_is_not_made_after_all_lets_the_next_one_try(circuits: Circuits, clock: Clock) -> None:
    fail(circuits)
    clock.now += PAUSE
    assert circuits.lets_through(at())
    circuits.release(at())
    assert [circuits.lets_through(at()) for _ in range(2)] == [True, False]


def test_a_probe_that_is_never_heard_of_again_is_forgotten(circuits: Circuits, clock: Clock) -> None:
    fail(circuits)
    clock.now += PAUSE
    assert circuits.lets_through(at())
    clock.now += PAUSE - 0.001
    assert not circuits.lets_through(at())
    clock.now += 0.001
    assert circuits.lets_through(at())


def test_letting_go_of_what_was_never_held_is_nothing(circuits: Circuits) -> None:
    circuits.release(at())
    fail(circuits)
    circuits.release(at())
    assert not circuits.lets_through(at())


def test_hosts_are_apart_and_keys_are_not(circuits: Circuits) -> None:
    fail(circuits, credentials=at(base_url="https://a.test", key="sk-1"))
    assert not circuits.lets_through(at(base_url="https://a.test", key="sk-2"))
    assert circuits.lets_through(at(base_url="https://b.test"))
    assert circuits.lets_through(at("anthropic", base_url="https://a.test"))
    assert (circuits.state("openai"), circuits.state("anthropic")) == ("open", "closed")


def test_the_state_of_a_provider_is_that_of_its_worst_host(circuits: Circuits, clock: Clock) -> None:
    fail(circuits, credentials=at(base_url="https://a.test"))
    clock.now += PAUSE
    assert circuits.state("openai") == "half_open"
    fail(circuits, credentials=at(base_url="https://b.test"))
    assert circuits.state("openai") == "open"


def test_a_reset_forgets_everything(circuits: Circuits) -> None:
    fail(circuits)
    circuits.reset()
    assert circuits.lets_through(at())


def test_one_probe_also_when_many_threads_ask_at_once(circuits: Circuits, clock: Clock) -> None:
    fail(circuits)
    clock.now += PAUSE
    barrier, let_through = threading.Barrier(16), []

    def ask() -> None:
        barrier.wait()
        for _ in range(200):
            if circuits.lets_through(at()):
                let_through.append(1)
            circuits.state("openai")

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(let_through) == 1


def test_the_process_has_one_set_of_them_and_tests_start_without_any_open() -> None:
    assert CIRCUITS.state("openai") == "closed"


# --- Anything in any order --------------------------------------------------------------------------------------------


@dataclass
class Paper:
    """One provider's circuit on a sheet of paper."""

    failures: int = 0
    pauses: int = 0
    skipped_until: float = 0
    probe_until: float = 0


class Whatever(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.circuits = Circuits(clock=self.clock)
        self.paper = {name: Paper() for name in ("openai", "anthropic")}

    names = st.sampled_from(["openai", "anthropic"])

    @rule(seconds=st.sampled_from([0.5, 3, PAUSE - 0.5, PAUSE, 5 * PAUSE, MAX_PAUSE_SECONDS]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(name=names)
    def ask(self, name: str) -> None:
        paper, now = self.paper[name], self.clock.now
        is_expected = paper.pauses == 0 or (now >= paper.skipped_until and now >= paper.probe_until)
        assert self.circuits.lets_through(at(name)) == is_expected
        if is_expected and paper.pauses:
            paper.probe_until = now + PAUSE

    @rule(name=names, kind=st.sampled_from(COUNTED), times=st.integers(1, FAILURES + 1))
    def fail(self, name: str, kind: type[errors.ProviderError], times: int) -> None:
        paper = self.paper[name]
        for _ in range(times):
            self.circuits.record(at(name), kind(provider=name))
            paper.failures += 1
            if self.clock.now >= paper.skipped_until and (paper.pauses or paper.failures >= FAILURES):
                paper.skipped_until = self.clock.now + min(PAUSE * 2**paper.pauses, MAX_PAUSE_SECONDS)
                paper.pauses += 1
                paper.probe_until = 0

    @rule(name=names, kind=st.sampled_from(NOT_COUNTED))
    def refuse(self, name: str, kind: type[errors.ProviderError]) -> None:
        self.circuits.record(at(name), kind(provider=name))
        self.paper[name].probe_until = 0

    @rule(name=names)
    def give_up(self, name: str) -> None:
        self.circuits.release(at(name))
        self.paper[name].probe_until = 0

    @rule(name=names)
    def succeed(self, name: str) -> None:
        self.circuits.record(at(name), None)
        self.paper[name] = Paper()

    @invariant()
    def the_state_is_as_on_paper(self) -> None:
        for name, paper in self.paper.items():
            is_open = self.clock.now < paper.skipped_until
            assert self.circuits.state(name) == ("open" if is_open else "half_open" if paper.pauses else "closed")


def test_whatever_happens_to_two_providers_in_whatever_order() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Whatever, settings=given_settings(max_examples=200, stateful_step_count=40, deadline=None)
    )
