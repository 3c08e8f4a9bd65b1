"""
What a function keeps: some things are made when they are first needed, and others are shared.
"""
# ruff: noqa: SLF001 - what is kept can only be seen from within

from __future__ import annotations

import gc
import threading

import pybreaker
import pytest

from resilient import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerOpenError,
    circuit,
    counting,
    fallback_chain,
    recoverable,
    resilience_of,
    retry,
)
from resilient.circuits import core
from resilient.policies.circuit import CircuitState
from resilient.ticks import Ticks
from tests.harness import caught


def refuse():
    """
    Fail.
    """
    raise ConnectionRefusedError


def interrupting(monkeypatch, module, name, handler):
    """
    Let *handler* run once right after *module* has called *name*, as a signal handler may.
    """
    original = getattr(module, name)
    handlers = [handler]

    def interrupted(*args):
        made = original(*args)
        if handlers:
            handlers.pop()()
        return made

    monkeypatch.setattr(module, name, interrupted)


# -- pybreaker's breaker -------------------------------------------------------


def test_pybreakers_breaker_is_made_when_it_is_needed(clock):
    """
    A circuit that has never left CLOSED has none; its first transition is made by one, and that is the one people see.
    """
    breaker = CircuitBreaker("c", CircuitBreakerConfig(failure_threshold=2), clock=clock)
    breaker.call(int)
    caught(breaker.call, refuse)
    breaker.get_state()
    before = breaker._foreign
    caught(breaker.call, refuse)
    made = breaker._foreign

    assert before is None
    assert made is breaker.pybreaker
    assert isinstance(made.state, pybreaker.CircuitOpenState)
    assert (made.name, made.current_state, made.fail_counter, made.fail_max) == ("c", "open", 2, 2)


def test_pybreakers_breaker_shows_options_from_before_and_after_it_was_made(clock):
    """
    Whether options are given before or after somebody asks for it, it shows those in force.
    """
    listener = pybreaker.CircuitBreakerListener()
    breaker = CircuitBreaker("c", clock=clock)
    breaker.configure(CircuitBreakerConfig(failure_threshold=3, open_for=7.0, listeners=listener))
    foreign = breaker.pybreaker
    first = foreign.fail_max, foreign.reset_timeout, foreign.listeners
    breaker.configure(CircuitBreakerConfig(failure_threshold=4, success_threshold=6))

    assert first == (3, 7.0, (listener,))
    assert (foreign.fail_max, foreign.success_threshold, foreign.reset_timeout) == (4, 6, 60.0)
    assert foreign.listeners == ()


def test_listeners_among_the_options_make_calls_heard_before_there_is_a_breaker(registry):
    """
    A circuit with listeners is not quiet, although nothing has asked for pybreaker's breaker yet.
    """
    fn = circuit(listeners=pybreaker.CircuitBreakerListener(), registry=registry)(lambda: None)

    assert resilience_of(fn).pipeline.quiet is None


def test_all_who_ask_at_once_get_the_same_breaker(clock, monkeypatch):
    """
    A signal handler that asks for pybreaker's breaker while it is being made gets the one that everybody gets.
    """
    breaker = CircuitBreaker("c", clock=clock)
    seen = []
    interrupting(monkeypatch, core, "Foreign", lambda: seen.append(breaker.pybreaker))
    seen.append(breaker.pybreaker)

    assert seen[0] is seen[1] is breaker.pybreaker


def test_threads_that_ask_at_once_get_the_same_breaker(clock):
    """
    Of eight threads that ask for pybreaker's breaker, all get one and the same.
    """
    breaker = CircuitBreaker("c", clock=clock)
    together = threading.Barrier(8)
    seen = []

    def ask():
        together.wait()
        seen.append(breaker.pybreaker)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {id(one) for one in seen} == {id(breaker.pybreaker)}


# -- counters --------------------------------------------------------------------


def test_a_rejection_in_the_midst_of_the_first_one_is_counted(registry, clock, monkeypatch):
    """
    Where a signal handler's call is turned away while the first rejection is being counted, both count.
    """
    # Not even pytest's own log handler want to hear of it.
    monkeypatch.setattr("resilient.delivery.wanted", lambda _: False)
    fn = circuit("c", registry=registry)(refuse)
    registry.circuits["c"].state = CircuitState.OPEN
    interrupting(monkeypatch, counting, "Ticks", lambda: caught(fn))
    error = caught(fn)

    assert type(error) is CircuitBreakerOpenError
    assert (resilience_of(fn).stats().rejected, registry.circuits["c"].rejected) == (2, 2)


def test_a_failure_in_the_midst_of_the_first_one_is_counted(registry, monkeypatch):
    """
    Where a signal handler's call fails while the function's first failure is being counted, both count.
    """
    fn = circuit("c", registry=registry)(refuse)
    interrupting(monkeypatch, counting, "Ticks", lambda: caught(fn))
    caught(fn)

    assert resilience_of(fn).stats().failures == 2


@pytest.mark.parametrize(("act", "rejected"), [("acquire", 7), ("reset", 0)])
def test_a_circuits_first_rejection_may_be_interrupted(registry, monkeypatch, act, rejected):
    """
    What a signal handler does to a circuit while its first rejection is being counted holds: another one, or a reset.
    """
    breaker = CircuitBreaker("c", registry=registry)
    breaker.restore({"state": "closed", "rejected": 5})
    breaker.state = CircuitState.HALF_OPEN
    breaker.acquire()
    interrupting(monkeypatch, core, "Ticks", lambda: caught(getattr(breaker, act)))
    caught(breaker.acquire)

    assert breaker.rejected == rejected


def test_nothing_turned_away_counts_as_zero(registry):
    """
    Before anything has failed or was turned away, and after a reset, there is nothing that counts it, and zero is told.
    """
    fn = circuit("c", registry=registry)(refuse)
    caught(fn)
    registry.circuits["c"].state = CircuitState.OPEN
    caught(fn)
    counted = resilience_of(fn).stats()
    registry.reset()
    after = resilience_of(fn).stats()

    assert (counted.failures, counted.rejected, registry.circuits["c"].rejected) == (2, 1, 0)
    assert (after.failures, after.rejected, resilience_of(fn).pipeline.counts.quiet) == (0, 0, 0)


def test_ticks_hold_nothing_but_their_number():
    """
    Counters have no attributes of their own: each function has several.
    """
    assert not hasattr(Ticks(), "__dict__")


# -- what is shared ----------------------------------------------------------------


def test_decorators_that_are_given_nothing_but_a_registry_share_what_they_leave(registry):
    """
    What a decorator was given is one object for all functions that were given nothing.
    """
    for decorator in (retry, circuit, recoverable):
        one = decorator(registry=registry)(lambda: None)
        other = decorator(lambda: None)

        assert resilience_of(one).specs[0] is resilience_of(other).specs[0]


def test_circuits_forget_what_decorators_have_replaced(registry):
    """
    Of the functions that a stack of decorators has replaced, a circuit remembers the last one at most.
    """
    fn = circuit("c", registry=registry)(lambda: None)
    for decorator in (retry, recoverable, fallback_chain(int)):
        fn = decorator(fn)
    gc.collect()

    assert len(registry.circuits["c"]._owners) <= 2
