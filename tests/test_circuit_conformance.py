"""
Forty-one scenarios of how a circuit breaker behaves, each along every way into it, sync and async.
"""

# ruff: noqa: SLF001 - whether a lock is held can only be seen from inside

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import json
import logging
import math
import pickle
import threading
import warnings
from datetime import timedelta

import pytest

from resilient import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerOpenError,
    CircuitState,
    Registry,
    circuit,
)
from resilient.events import CircuitClosed, CircuitHalfOpened, CircuitOpened, CircuitWouldOpen
from resilient.testing import FakeClock
from tests.harness import PATIENCE, held, in_fork, may_fork, needs_fork, run_threads

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


# -- ways into a circuit: each makes a function that does some work through it ---


def through_decorator(name, registry, **options):
    """
    A decorated function.
    """

    @circuit(name, registry=registry, **options)
    def fn(work):
        return work()

    return fn


def through_async_decorator(name, registry, **options):
    """
    A decorated async function.
    """

    @circuit(name, registry=registry, **options)
    async def fn(work):
        return await work()

    return fn


def by_hand(way):
    """
    Make *way*, a function of a breaker, one of a registry.
    """

    def through(name, registry, **options):
        config = CircuitBreakerConfig(**options) if options else None
        return way(registry.circuit(name, config))

    through.__name__ = way.__name__
    return through


@by_hand
def through_call(breaker):
    """
    The method `call`.
    """
    return breaker.call


@by_hand
def through_execute(breaker):
    """
    The method `execute`.
    """
    return breaker.execute


@by_hand
def through_with(breaker):
    """
    A block.
    """

    def fn(work):
        with breaker:
            return work()

    return fn


@by_hand
def through_async_with(breaker):
    """
    An async block.
    """

    async def fn(work):
        async with breaker:
            return await work()

    return fn


@by_hand
def through_permit(breaker):
    """
    A permit, taken and given back.
    """

    def fn(work):
        permit = breaker.acquire()
        try:
            value = work()
        except BaseException as error:
            permit.failure(error)
            raise
        permit.success()
        return value

    return fn


@by_hand
def through_async_permit(breaker):
    """
    A permit, taken and given back by async code.
    """

    async def fn(work):
        permit = breaker.acquire()
        try:
            value = await work()
        except BaseException as error:
            permit.failure(error)
            raise
        permit.success()
        return value

    return fn


# -- calls that a test can hold in flight ------------------------------------------


class ThreadCall:
    """
    A sync call, held in flight on a thread of its own.
    """

    def __init__(self, fn):
        self._reached = threading.Event()
        self._go = threading.Event()
        self._outcome = None
        self._result = None
        self._thread = threading.Thread(target=self._run, args=(fn,))
        self._thread.start()
        assert self._reached.wait(PATIENCE)
        if self._result is not None:
            self._answer()

    def _run(self, fn):
        try:
            self._result = fn(self._work), None
        except BaseException as error:
            self._result = None, error
        finally:
            self._reached.set()

    def _work(self):
        self._reached.set()
        assert self._go.wait(PATIENCE)
        return act(self._outcome)

    def finish(self, outcome="value"):
        """
        Let the call come to *outcome*: a value to return, an exception to raise, or a function to call.
        """
        self._outcome = outcome
        self._go.set()
        return self._answer()

    def _answer(self):
        self._thread.join(PATIENCE)
        value, error = self._result
        if error is not None:
            raise error
        return value

    def cancel(self):
        """
        End the call as cancelled.
        """
        with pytest.raises(asyncio.CancelledError):
            self.finish(asyncio.CancelledError())

    def end(self):
        """
        Let nothing of the call be left.
        """
        self._go.set()
        self._thread.join(PATIENCE)


class Pause:
    """
    An awaitable that gives control back to the test once.
    """

    def __await__(self):
        yield


class CoroutineCall:
    """
    An async call, held in flight as a coroutine that the test drives by hand, in a context of its own.
    """

    def __init__(self, fn):
        self._outcome = None
        self._context = contextvars.copy_context()
        self._coroutine = fn(self._work)
        try:
            self._context.run(self._coroutine.send, None)
        except StopIteration:  # pragma: no cover - the work always pauses
            pytest.fail("the call ended before its work did")

    async def _work(self):
        await Pause()
        return act(self._outcome)

    def finish(self, outcome="value"):
        """
        Let the call come to *outcome*: a value to return, an exception to raise, or a function to call.
        """
        self._outcome = outcome
        try:
            self._context.run(self._coroutine.send, None)
        except StopIteration as stop:
            return stop.value
        pytest.fail("the call did not end")

    def cancel(self):
        """
        Cancel the call, as a task is cancelled.
        """
        with pytest.raises(asyncio.CancelledError):
            self._context.run(self._coroutine.throw, asyncio.CancelledError())

    def end(self):
        """
        Let nothing of the call be left.
        """
        self._context.run(self._coroutine.close)


def act(outcome):
    """
    Do what *outcome* says.
    """
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome() if callable(outcome) else outcome


class Ways:
    """
    One way into circuits, with a registry and a clock of its own.
    """

    def __init__(self, through, in_flight):
        self.through = through
        self.in_flight = in_flight
        self.clock = FakeClock(start=1000.0)
        self.registry = Registry(clock=self.clock)
        self.events = []
        # Not of successes: a listener for them keeps calls from being quiet.
        self.deafen = self.registry.on(self.events.append)
        self._calls = []

    def make(self, name="c", **options):
        """
        Return a circuit.
        """
        fn = self.through(name, self.registry, **options)
        return Circuit(self, fn, self.registry.circuits[name])

    def hold(self, fn):
        """
        Begin a call.
        """
        call = self.in_flight(fn)
        self._calls.append(call)
        return call

    def forget(self):
        """
        Let go of the calls in flight.
        """
        self._calls.clear()

    def end(self):
        """
        End what is still in flight.
        """
        for call in self._calls:
            call.end()


class Circuit:
    """
    A circuit, and a function that works through it.
    """

    def __init__(self, ways, fn, breaker):
        self.ways = ways
        self.clock = ways.clock
        self.fn = fn
        self.breaker = breaker

    @property
    def state(self):
        return self.breaker.state

    @property
    def failures(self):
        return self.breaker.get_state()["failure_count"]

    def begin(self):
        """
        Begin a call and return it, in flight.
        """
        return self.ways.hold(self.fn)

    def call(self, outcome="value"):
        """
        Make a call that comes to *outcome*.
        """
        if self.ways.in_flight is ThreadCall:
            return self.fn(lambda: act(outcome))

        async def work():
            return act(outcome)

        try:
            contextvars.copy_context().run(self.fn(work).send, None)
        except StopIteration as stop:
            return stop.value
        pytest.fail("the call did not end")

    def fail(self, times=1, error=OSError):
        """
        Make calls that fail.
        """
        for _ in range(times):
            with pytest.raises(error):
                self.call(error("down"))

    def succeed(self, times=1):
        """
        Make calls that succeed.
        """
        for _ in range(times):
            assert self.call() == "value"

    def open(self):
        """
        Let the circuit open by failures.
        """
        self.fail(self.breaker.options["failure_threshold"])
        assert self.state is OPEN

    def half_open(self):
        """
        Let the circuit open, and its open time pass.
        """
        self.open()
        self.clock.advance(self.breaker.options["open_for"])
        assert self.breaker.can_execute()
        assert self.state is HALF_OPEN

    def rejected(self):
        """
        Return the error of a call that is not admitted.
        """
        with pytest.raises(CircuitBreakerOpenError) as caught:
            self.call(lambda: pytest.fail("the function was called"))
        return caught.value

    def told(self, *kinds):
        """
        Return the events of *kinds*; without any, the transitions.
        """
        kinds = kinds or (CircuitOpened, CircuitHalfOpened, CircuitClosed)
        events = [event for event in self.ways.events if isinstance(event, kinds)]
        return [event for event in events if event.circuit == self.breaker.name]


EVERY_WAY = [
    pytest.param((through, in_flight), id=through.__name__.removeprefix("through_"))
    for through, in_flight in (
        (through_decorator, ThreadCall),
        (through_async_decorator, CoroutineCall),
        (through_call, ThreadCall),
        (through_execute, CoroutineCall),
        (through_with, ThreadCall),
        (through_async_with, CoroutineCall),
        (through_permit, ThreadCall),
        (through_async_permit, CoroutineCall),
    )
]


@pytest.fixture(params=EVERY_WAY)
def ways(request, caplog):
    """
    Every way into a circuit.
    """
    caplog.set_level(logging.CRITICAL, "resilient")
    ways = Ways(*request.param)
    yield ways
    ways.end()


# -- closed ------------------------------------------------------------------------


def test_01_fresh_breaker_has_no_counts_and_an_undefined_rate(ways):
    """
    A fresh breaker is closed and has counted nothing; its rate is undefined, and not 0 %, below the minimum.
    """
    c = ways.make(window=10, failure_rate=0.5, min_calls=3)
    fresh = c.breaker.get_state()
    c.succeed(2)
    below = c.breaker.get_state()
    c.succeed()

    assert (fresh["state"], fresh["failure_count"], fresh["success_count"], fresh["calls"]) == ("closed", 0, 0, 0)
    assert fresh["rate"] is None
    assert below["rate"] is None
    assert c.breaker.get_state()["rate"] == 0.0


def test_02_fewer_failures_than_the_minimum_keep_it_closed(ways):
    """
    A circuit whose calls all fail stays closed while there are fewer than the minimum.
    """
    c = ways.make(window=100, failure_rate=0.5, min_calls=10)
    c.fail(9)
    closed = c.state
    c.fail()

    assert closed is CLOSED
    assert c.state is OPEN


def test_02_success_between_two_failures_ends_the_row(ways):
    """
    Only failures in a row open: a success that ends between two of them resets the count, whenever it began.
    """
    c = ways.make(failure_threshold=3)
    c.fail()
    c.succeed()
    after_success = c.failures
    early = c.begin()
    c.fail(2)
    early.finish()
    after_early = c.failures
    c.fail(2)
    closed = c.state
    c.fail()

    assert (after_success, after_early) == (0, 0)
    assert closed is CLOSED
    assert c.state is OPEN


def test_03_rate_exactly_at_the_threshold_opens_once(ways):
    """
    A rate that reaches its threshold opens the circuit, and one event tells rate and counts.
    """
    c = ways.make(window=100, failure_rate=0.5, min_calls=10)
    c.succeed(5)
    c.fail(4)
    closed = c.state
    c.fail()
    [event] = c.told()

    assert closed is CLOSED
    assert c.state is OPEN
    assert (event.reason, event.previous, event.retry_after) == ("failure rate", "closed", 60.0)
    assert (event.rate, event.calls, event.failures) == (0.5, 10, 5)
    assert (event.error.error_type, event.error.error_message) == ("OSError", "down")


def test_04_rate_reached_by_a_success_opens(ways):
    """
    The rule is looked at after a success, too: the one that meets the minimum opens.
    """
    c = ways.make(window=100, failure_rate=0.5, min_calls=10)
    c.fail(5)
    c.succeed(4)
    closed = c.state
    c.succeed()

    assert closed is CLOSED
    assert c.state is OPEN
    assert c.told()[0].error is None


def test_05_slow_successes_open(ways):
    """
    Enough slow successes open the circuit, with the reason "slow".
    """
    c = ways.make(window=10, slow_call=1.0, slow_call_rate=0.5, min_calls=4)
    took = [1.0, 0.5, 1.5, 2.0]
    states = []
    for seconds in took:
        c.call(lambda seconds=seconds: c.clock.advance(seconds))
        states.append(c.state)
    [event] = c.told()

    assert states == [CLOSED, CLOSED, CLOSED, OPEN]
    assert (event.reason, event.rate, event.calls, event.failures) == ("slow", 0.5, 4, 0)


def test_06_count_window_forgets_the_oldest_exactly_once(ways):
    """
    Result N+1 pushes the oldest result out of a window of N, once.
    """
    c = ways.make(window=4, failure_rate=1.0)
    seen = []
    for failed in (True, True, False, False, False, False, False, True):
        c.fail() if failed else c.succeed()
        state = c.breaker.get_state()
        seen.append((state["calls"], state["failure_count"]))

    assert seen == [(1, 1), (2, 2), (3, 2), (4, 2), (4, 1), (4, 0), (4, 0), (4, 1)]


@pytest.mark.parametrize("options", [{"failure_threshold": 3}, {"failure_rate": 0.1, "min_calls": 3}], ids=str)
def test_07_time_window_forgets_while_idle(ways, options):
    """
    A lone failure after a time longer than the window does not open the circuit.
    """
    c = ways.make(window=timedelta(seconds=10), **options)
    c.fail(2)
    c.clock.advance(10.1)
    idle = c.failures
    c.fail()
    lone = c.failures, c.state
    c.fail(2)

    assert idle == 0
    assert lone == (1, CLOSED)
    assert c.state is OPEN


# -- open --------------------------------------------------------------------------


def test_08_open_circuit_rejects_without_calling(ways):
    """
    An open circuit rejects, counts that apart from failures, and says when to come back and what was wrong.
    """
    c = ways.make(failure_threshold=2)
    c.open()
    before = c.breaker.get_state()
    c.clock.advance(20.0)
    error = c.rejected()
    state = c.breaker.get_state()

    assert (error.name, error.retry_after, error.last_error) == ("c", 40.0, "OSError: down")
    assert (before["rejected"], state["rejected"]) == (0, 1)
    assert state["failure_count"] == before["failure_count"] == 2


def test_09_rejection_does_not_grow(ways):
    """
    However often a call is rejected, the error's traceback and its chain stay as long as at first.
    """
    c = ways.make(failure_threshold=1)
    c.open()
    ways.deafen()

    def depth(error):
        frames, at = 0, error.__traceback__
        while at is not None:
            frames, at = frames + 1, at.tb_next
        return frames

    first = c.rejected()
    for _ in range(10_000):
        try:
            c.call()
        except CircuitBreakerOpenError as error:
            last = error

    assert last is not first
    assert depth(last) == depth(first)
    assert (last.__cause__, last.__context__) == (None, None)
    assert c.breaker.rejected == 10_001


def test_10_racing_threads_take_no_more_permits_than_there_are(ways):
    """
    Of many threads that race when the open time is over, exactly the permitted number probes, after one event.
    """
    c = ways.make(failure_threshold=1, half_open_max_calls=3)
    c.open()
    c.clock.advance(60.0)
    barrier = threading.Barrier(16)
    admitted, turned_away = [], []

    def race():
        barrier.wait(PATIENCE)
        try:
            admitted.append(c.begin())
        except CircuitBreakerOpenError as error:
            turned_away.append(error)

    run_threads(*[race] * 16)

    assert (len(admitted), len(turned_away)) == (3, 13)
    assert len(c.told(CircuitHalfOpened)) == 1


def test_11_open_stays_open_until_somebody_asks(ways):
    """
    When its open time is over a circuit stays open while nobody calls; its state and health say that a probe is due.
    """
    c = ways.make(failure_threshold=1)
    c.open()
    waiting = c.breaker.get_state()["probe_due"]
    c.clock.advance(3600.0)
    health = ways.registry.health().circuits["c"]

    assert not waiting
    assert c.state is OPEN
    assert c.breaker.get_state()["probe_due"]
    assert (health["state"], health["probe_due"], health["retry_after"]) == ("open", True, 0.0)


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
def test_12_wall_clock_decides_nothing(ways, jump):
    """
    A wall clock that is set back or forth neither opens nor closes anything.
    """
    c = ways.make(failure_threshold=2, window=timedelta(seconds=100))
    c.fail()
    c.clock.jump_wall(jump)
    c.fail()
    opened = c.state
    c.clock.jump_wall(jump)
    rejection = c.rejected()
    c.clock.advance(60.0)

    assert opened is OPEN
    assert rejection.retry_after == 60.0
    assert c.call() == "value"


@pytest.mark.parametrize("open_for", [math.inf, 1e308, timedelta.max], ids=str)
def test_13_huge_open_time_stays_open(ways, open_for):
    """
    A circuit whose open time is endless, or nearly so, stays open, and nothing overflows.
    """
    c = ways.make(failure_threshold=1, open_for=open_for, reopen_factor=1e300, max_timeout=math.inf)
    c.open()
    c.clock.advance(1e9)
    first = c.rejected()
    c.breaker.state = HALF_OPEN
    c.fail()
    c.clock.advance(1e9)
    again = c.rejected()

    assert (first.retry_after is None) == (open_for == math.inf)
    assert again.retry_after is None or again.retry_after > 1e9
    assert json.loads(json.dumps(c.breaker.snapshot()))["state"] == "open"
    assert c.state is OPEN


# -- half-open ---------------------------------------------------------------------


def test_14_one_probe_more_than_permitted_is_rejected(ways):
    """
    While all permits are out a further call is rejected, and counts for nothing.
    """
    c = ways.make(failure_threshold=1, half_open_max_calls=2)
    c.half_open()
    probes = [c.begin(), c.begin()]
    before = c.breaker.get_state()
    error = c.rejected()
    after = c.breaker.get_state()

    assert error.retry_after == 60.0
    assert (before.pop("rejected"), after.pop("rejected")) == (0, 1)
    assert before == after
    assert [probe.finish() for probe in probes] == ["value", "value"]
    assert c.state is CLOSED


def test_15_successful_probes_close_and_forget(ways):
    """
    When all probes succeed the circuit closes, with an empty window and its first open time.
    """
    c = ways.make(failure_rate=0.5, window=4, min_calls=2, success_threshold=3, reopen_factor=2.0)
    c.fail(2)
    c.clock.advance(60.0)
    c.fail()
    c.clock.advance(120.0)
    c.succeed(2)
    nearly = c.state
    c.succeed()
    closed = c.breaker.get_state()
    c.fail(2)

    assert nearly is HALF_OPEN
    assert (closed["state"], closed["calls"], closed["failure_count"], closed["last_error"]) == ("closed", 0, 0, None)
    assert c.state is OPEN
    assert [event.retry_after for event in c.told(CircuitOpened)] == [60.0, 120.0, 60.0]
    assert c.told(CircuitClosed)[0].reason == "probes"


def test_16_successes_before_a_failed_probe_are_forgotten(ways):
    """
    After reopening, the circuit closes only when as many probes as ever have succeeded.
    """
    c = ways.make(failure_threshold=1, success_threshold=2)
    c.half_open()
    c.succeed()
    c.fail()
    c.clock.advance(60.0)
    c.succeed()
    half_open = c.state
    c.succeed()

    assert half_open is HALF_OPEN
    assert c.state is CLOSED


@pytest.mark.parametrize(("factor", "waits"), [(1.0, [60.0, 60.0, 60.0, 60.0]), (2.0, [60.0, 120.0, 240.0, 300.0])])
def test_16_failed_probe_reopens(ways, factor, waits):
    """
    A probe that fails opens the circuit again, for longer only with a factor, and up to the maximum.
    """
    c = ways.make(failure_threshold=1, reopen_factor=factor)
    c.open()
    for wait in waits[:-1]:
        c.clock.advance(wait)
        c.fail()
    opened = c.told(CircuitOpened)

    assert c.state is OPEN
    assert [event.retry_after for event in opened] == waits
    assert [event.reason for event in opened[1:]] == ["probe"] * 3
    assert opened[1].error.error_message == "down"
    assert c.rejected().retry_after == waits[-1]


def test_17_first_failed_probe_reopens_at_once(ways):
    """
    Of several probes in flight the first that fails opens the circuit, without waiting for the others.
    """
    c = ways.make(failure_threshold=1, half_open_max_calls=3)
    c.half_open()
    probes = [c.begin(), c.begin(), c.begin()]
    with pytest.raises(OSError, match="still"):
        probes[1].finish(OSError("still down"))

    assert c.state is OPEN
    assert c.rejected().last_error == "OSError: still down"


def test_18_other_probes_change_nothing_after_reopening(ways):
    """
    Further failures of other probes neither tell nor extend anything.
    """
    c = ways.make(failure_threshold=1, half_open_max_calls=3, reopen_factor=2.0)
    c.half_open()
    probes = [c.begin(), c.begin(), c.begin()]
    for probe in probes:
        with pytest.raises(OSError, match="down"):
            probe.finish(OSError("down"))
        c.clock.advance(10.0)

    assert len(c.told(CircuitOpened)) == 2
    assert c.rejected().retry_after == 90.0
    assert c.breaker.late == 2


def test_19_cancelled_probe_gives_its_permit_back(ways):
    """
    A probe that its caller cancels is neither success nor failure.
    """
    c = ways.make(failure_threshold=1, success_threshold=1)
    c.half_open()
    probe = c.begin()
    full = c.breaker.can_execute()
    probe.cancel()

    assert not full
    assert (c.state, c.breaker.get_state()["success_count"]) == (HALF_OPEN, 0)
    assert c.breaker.can_execute()


def test_20_probe_with_an_ignored_error_gives_its_permit_back(ways):
    """
    A probe that raises what is ignored, or not counted, is neither success nor failure.
    """
    c = ways.make(failure_threshold=1, success_threshold=1, counts=OSError, ignore=FileNotFoundError)
    c.half_open()
    c.fail(error=FileNotFoundError)
    c.fail(error=ValueError)

    assert (c.state, c.breaker.get_state()["success_count"]) == (HALF_OPEN, 0)
    assert c.breaker.can_execute()


@pytest.mark.parametrize("lease", [None, 10.0])
def test_21_silent_probe_loses_its_lease(ways, lease):
    """
    When a probe's lease is over the next one is admitted, and not before.
    """
    c = ways.make(failure_threshold=1, probe_lease=lease)
    c.half_open()
    c.begin()
    length = 60.0 if lease is None else lease
    c.clock.advance(length - 1.0)
    early = c.rejected()
    c.clock.advance(1.0)
    c.succeed()

    assert early.retry_after == 1.0
    assert (c.state, c.breaker.get_state()["success_count"]) == (HALF_OPEN, 1)


def test_21_result_after_the_lease_still_counts(ways):
    """
    A result that comes after its lease, in the same generation, counts like any other.
    """
    c = ways.make(failure_threshold=1, success_threshold=2)
    c.half_open()
    slow = c.begin()
    c.clock.advance(60.0)
    c.succeed()
    half_open = c.state
    slow.finish()

    assert half_open is HALF_OPEN
    assert c.state is CLOSED
    assert c.breaker.late == 0


def test_21_forgotten_probe_gives_its_permit_back(ways):
    """
    A probe whose coroutine is garbage-collected gives its permit back at once; what cannot be told so, after its lease.
    """
    c = ways.make(failure_threshold=1)
    c.half_open()
    if ways.in_flight is ThreadCall:
        c.breaker.acquire()
    else:
        c.begin()
        ways.forget()
    gc.collect()
    free_at_once = c.breaker.can_execute()
    c.clock.advance(60.0)

    assert free_at_once is (ways.through in {through_async_decorator, through_execute, through_async_permit})
    assert c.breaker.can_execute()
    assert (c.state, c.breaker.get_state()["success_count"]) == (HALF_OPEN, 0)


def test_22_probe_stopped_by_an_inner_circuit_is_no_result(ways):
    """
    A probe that an inner circuit rejects leaves the outer one half-open, with its permit given back.
    """
    c, inner = ways.make(failure_threshold=1, success_threshold=1), ways.make("inner", failure_threshold=1)
    c.half_open()
    inner.breaker.isolate()
    with pytest.raises(CircuitBreakerOpenError) as caught:
        c.call(inner.breaker.acquire)

    assert caught.value.name == "inner"
    assert (c.state, c.breaker.get_state()["success_count"]) == (HALF_OPEN, 0)
    assert c.breaker.can_execute()


# -- late --------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["value", OSError("late")], ids=["success", "failure"])
def test_23_late_result_started_closed_ends_open_is_ignored(ways, outcome):
    """
    A result that comes when the circuit has opened reaches its caller, and changes nothing but the count of late ones.
    """
    c = ways.make(failure_threshold=1)
    call = c.begin()
    c.open()
    c.clock.advance(10.0)
    if outcome == "value":
        assert call.finish(outcome) == "value"
    else:
        with pytest.raises(OSError, match="late") as caught:
            call.finish(outcome)
        assert caught.value is outcome

    assert len(c.told()) == 1
    assert c.rejected().retry_after == 50.0
    assert c.rejected().last_error == "OSError: down"
    assert c.breaker.get_state()["late"] == 1


def test_24_late_success_started_closed_ends_half_open_is_ignored(ways):
    """
    A success from before the circuit opened does not help to close it.
    """
    c = ways.make(failure_threshold=1, success_threshold=1)
    call = c.begin()
    c.half_open()

    assert call.finish() == "value"
    assert (c.state, c.breaker.get_state()["success_count"]) == (HALF_OPEN, 0)
    assert c.breaker.late == 1


def test_25_late_failure_started_closed_ends_half_open_is_ignored(ways):
    """
    A failure from before the circuit opened does not open it again.
    """
    c = ways.make(failure_threshold=1)
    call = c.begin()
    c.half_open()
    with pytest.raises(OSError, match="late"):
        call.finish(OSError("late"))

    assert c.state is HALF_OPEN
    assert c.breaker.late == 1


@pytest.mark.parametrize("end", ["finish", "cancel"])
def test_26_late_release_frees_no_probe(ways, end):
    """
    A call from before the circuit opened has no probe's permit to give back.
    """
    c = ways.make(failure_threshold=1, success_threshold=1)
    call = c.begin()
    c.half_open()
    probe = c.begin()
    getattr(call, end)()
    c.rejected()

    assert probe.finish() == "value"
    assert c.state is CLOSED


@pytest.mark.parametrize("failed", [False, True])
def test_27_late_result_across_two_generations_is_ignored(ways, failed):
    """
    A result of a call that began before the circuit opened and closed again counts for nothing.
    """
    c = ways.make(failure_threshold=2, success_threshold=1)
    call = c.begin()
    c.half_open()
    c.succeed()
    c.fail()
    if failed:
        with pytest.raises(OSError, match="late"):
            call.finish(OSError("late"))
    else:
        call.finish()

    assert (c.state, c.failures) == (CLOSED, 1)
    assert c.breaker.late == 1


# -- by hand -----------------------------------------------------------------------


def test_28_isolated_circuit_rejects_until_closed(ways):
    """
    An isolated circuit rejects everything, whatever the time and late results say, until it is closed.
    """
    c = ways.make(failure_threshold=1)
    call = c.begin()
    c.breaker.isolate()
    c.clock.advance(1e6)
    rejection = c.rejected()
    call.finish()
    isolated = c.breaker.get_state()
    c.breaker.close()

    assert rejection.retry_after is None
    assert "release its isolation" in str(rejection)
    assert (isolated["state"], isolated["isolated"], isolated["probe_due"]) == ("open", True, False)
    assert [event.reason for event in c.told()] == ["isolated", "manual"]
    assert c.call() == "value"


def test_29_every_isolation_counts(ways):
    """
    A circuit that two have isolated stays so when one of them releases it, however often.
    """
    c = ways.make()
    one, other = c.breaker.isolate(), c.breaker.isolate()
    one.release()
    one.release()
    c.rejected()
    still = c.breaker.get_state()["isolated"]
    other.release()

    assert still
    assert c.call() == "value"
    assert len(c.told(CircuitOpened)) == len(c.told(CircuitClosed)) == 1


def test_30_disabled_circuit_admits_all(ways):
    """
    A disabled circuit admits everything, isolated too, and records nothing.
    """
    c = ways.make(failure_threshold=1, mode="disabled")
    c.fail(10)
    c.breaker.isolate()
    c.succeed()

    assert c.failures == 0
    assert c.breaker.can_execute()


def test_30_metrics_only_circuit_admits_all_and_tells_once(ways):
    """
    A circuit in mode metrics_only admits everything, records, and tells once that it would have opened.
    """
    c = ways.make(window=10, failure_rate=0.5, min_calls=2, mode="metrics_only")
    c.fail(5)
    state = c.breaker.get_state()
    [event] = c.told(CircuitWouldOpen)
    c.breaker.reset()
    c.fail(5)

    assert (event.reason, event.rate, event.calls, event.failures) == ("failure rate", 1.0, 2, 2)
    assert (state["state"], state["calls"], state["failure_count"], state["rejected"]) == ("closed", 5, 5, 0)
    assert len(c.told(CircuitWouldOpen)) == 2
    assert c.told() == []


@pytest.mark.parametrize("state", CircuitState)
def test_31_reset_closes_and_zeroes_in_any_state(ways, state):
    """
    After a reset a circuit is closed and has counted nothing, and calls in flight belong to the past.
    """
    c = ways.make(failure_threshold=2, half_open_max_calls=2)
    if state is HALF_OPEN:
        c.half_open()
    call = c.begin()
    if state is OPEN:
        c.open()
        c.rejected()
    elif state is CLOSED:
        c.fail()
    before = c.state
    c.breaker.reset()
    with pytest.raises(OSError, match="late"):
        call.finish(OSError("late"))
    now = c.breaker.get_state()

    assert before is state
    assert (now["state"], now["failure_count"], now["success_count"], now["rejected"]) == ("closed", 0, 0, 0)
    assert (now["last_error"], now["last_failure_time"], now["late"]) == (None, None, 1)
    assert [event.reason for event in c.told(CircuitClosed)] == ([] if state is CLOSED else ["reset"])


@pytest.mark.parametrize("state", CircuitState)
def test_32_transition_to_its_own_state_is_none(ways, state):
    """
    Moving a circuit to the state that it is in changes and tells nothing.
    """
    c = ways.make(failure_threshold=2)
    c.fail()
    c.breaker.state = state
    told, before = len(c.told()), c.breaker.snapshot()
    c.clock.advance(10.0)
    for _ in range(3):
        c.breaker.state = state
        {CLOSED: c.breaker.close, OPEN: c.breaker.pybreaker.open, HALF_OPEN: c.breaker.pybreaker.half_open}[state]()
    after = c.breaker.snapshot()

    assert len(c.told()) == told
    assert after["state"] == before["state"]
    assert after["failures"] == before["failures"]
    assert c.breaker.get_state()["retry_after"] == (50.0 if state is OPEN else None)


# -- user code ---------------------------------------------------------------------


class Listener:
    """
    A pybreaker listener that does something at every call.
    """

    def __init__(self, act):
        self.act = act
        self.told = []

    def before_call(self, cb, func, *args, **kwargs):
        self.act("before_call")

    def failure(self, cb, exc):
        self.act("failure")

    def success(self, cb):
        self.act("success")

    def state_change(self, cb, old_state, new_state):
        self.told.append((old_state.name, new_state.name))
        self.act("state_change")


@pytest.mark.parametrize("deed", ["raises", "reads", "calls"])
def test_33_listeners_cannot_harm(ways, deed):
    """
    A listener that raises, reads the breaker's state or calls it neither harms nor blocks it, and is told in order.
    """
    # Each of the listener's calls is told to the listener: some time it has to stop.
    budget = iter(range(8))

    def do(method=None):
        held.append(c.breaker._lock._is_owned())
        if deed == "raises":
            raise RuntimeError(method)
        if deed == "reads":
            c.breaker.get_state()
        elif next(budget, None) is not None:
            try:
                c.call()
            except CircuitBreakerOpenError:
                pass

    held = []
    listener = Listener(do)
    ways.registry.on(do, [CircuitOpened, CircuitHalfOpened, CircuitClosed])
    c = ways.make(failure_threshold=2, listeners=listener, success_threshold=4)
    with warnings.catch_warnings():
        # A logger may tell that the listener raises.
        warnings.simplefilter("ignore")
        for _ in range(2):
            while c.state is CLOSED:
                with pytest.raises((OSError, CircuitBreakerOpenError)):
                    c.call(OSError("down"))
            c.clock.advance(60.0)
            for _ in range(6):
                c.succeed()

    assert c.state is CLOSED
    assert held.count(True) == 0
    moves = [(event.previous, type(event).__name__) for event in c.told()]
    assert moves == [("closed", "CircuitOpened"), ("open", "CircuitHalfOpened"), ("half_open", "CircuitClosed")] * 2
    assert listener.told == [("closed", "open"), ("open", "half-open"), ("half-open", "closed")] * 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_34_what_is_no_exception_passes_through(ways, error):
    """
    A BaseException that is no Exception reaches the caller, gives the permit back and counts for nothing.
    """
    c = ways.make(failure_threshold=1, success_threshold=1)
    raised = error("stop")
    with pytest.raises(error) as caught:
        c.begin().finish(raised)
    closed = c.state
    c.half_open()
    with pytest.raises(error):
        c.begin().finish(error("stop"))

    assert caught.value is raised
    assert closed is CLOSED
    assert (c.state, c.breaker.get_state()["success_count"]) == (HALF_OPEN, 0)
    assert c.breaker.can_execute()


@pytest.mark.parametrize("option", ["counts", "ignore"])
def test_35_predicate_that_raises_leaves_the_outcome_alone(ways, option, caplog):
    """
    What a predicate raises is reported and replaces nothing; the permit is given back, and nothing is counted.
    """

    def predicate(error):
        raise ZeroDivisionError

    caplog.set_level(logging.ERROR, "resilient")
    c = ways.make(failure_threshold=1, success_threshold=1, **{option: predicate})
    c.fail(2)
    closed = c.state
    c.breaker.state = HALF_OPEN
    c.fail()
    reports = [record.getMessage() for record in caplog.records if "ZeroDivisionError" in record.getMessage()]

    assert closed is CLOSED
    assert c.state is HALF_OPEN
    assert c.breaker.can_execute()
    assert len(reports) == 1
    assert "circuit 'c'" in reports[0]


def test_36_ignore_wins_over_counts(ways):
    """
    An error that both options match is ignored: neither failure nor success.
    """
    c = ways.make(failure_threshold=2, counts=OSError, ignore=OSError)
    c.fail(5)
    ignored = c.failures, c.state
    d = ways.make("d", failure_threshold=2, counts=OSError, ignore="validation")
    d.fail()
    d.fail(error=TypeError)

    assert ignored == (0, CLOSED)
    assert (d.failures, d.state) == (1, CLOSED)


@pytest.mark.parametrize("permits", [1, 2])
def test_37_reentrant_call_has_a_permit_of_its_own(ways, permits):
    """
    A call through a circuit from within one through it does not deadlock, and needs a permit of its own.
    """
    c = ways.make(failure_threshold=1, half_open_max_calls=permits)

    def recurse():
        return f"outer {c.call('inner')}"

    closed = c.call(recurse)
    c.half_open()
    if permits == 1:
        with pytest.raises(CircuitBreakerOpenError):
            c.call(recurse)

        assert c.state is HALF_OPEN
        assert c.breaker.can_execute()
    else:
        assert c.call(recurse) == "outer inner"
        assert c.state is CLOSED
    assert closed == "outer inner"


# -- saved, changed, shared --------------------------------------------------------


@pytest.mark.parametrize("window", [None, 10, timedelta(seconds=30)], ids=str)
@pytest.mark.parametrize("state", CircuitState)
def test_38_snapshot_restores_state_and_counts(ways, state, window):
    """
    What was saved comes back with the seconds that remained; HALF_OPEN comes back as OPEN and due.
    """
    rate = {} if window is None else {"failure_rate": 0.9, "min_calls": 4}
    c = ways.make(window=window, **rate)
    c.fail(2)
    c.succeed()
    c.fail(2)
    if state is not CLOSED:
        c.breaker.state = OPEN
        c.clock.advance(20.0)
        c.rejected()
    if state is HALF_OPEN:
        c.clock.advance(40.0)
        assert c.breaker.can_execute()
    saved = json.loads(json.dumps(c.breaker.snapshot()))
    d = ways.make("d", window=window, **rate)
    c.clock.advance(5000.0)
    d.breaker.restore(saved)
    was, now = c.breaker.get_state(), d.breaker.get_state()
    ignored = {"name", "generation", "retry_after", "probe_due", "last_failure_time", "state"}
    if isinstance(window, timedelta):
        ignored |= {"calls", "rate", "failure_count"}

        assert now["calls"] == (5 if state is not HALF_OPEN else 0)

    assert {key: now[key] for key in now.keys() - ignored} == {key: was[key] for key in was.keys() - ignored}
    assert d.state is (CLOSED if state is CLOSED else OPEN)
    if state is OPEN:
        assert d.rejected().retry_after == 40.0
    elif state is HALF_OPEN:
        assert now["probe_due"]
        assert d.call() == "value"


@pytest.mark.parametrize(("remaining", "wait"), [(1e9, 60.0), (None, 60.0), (0.0, 0.0), (12.5, 12.5)])
def test_38_remaining_seconds_are_clamped(ways, remaining, wait):
    """
    What remains of the open time is at most the whole of it.
    """
    c = ways.make()
    c.breaker.restore({**c.breaker.snapshot(), "state": "open", "remaining": remaining})

    assert c.breaker.get_state()["retry_after"] == wait
    assert c.breaker.get_state()["probe_due"] == (wait == 0.0)


def test_39_new_options_apply_while_open(ways):
    """
    New options are in force at once; state and counts stay.
    """
    c = ways.make(failure_threshold=2)
    c.open()
    c.clock.advance(10.0)
    c.breaker.configure(CircuitBreakerConfig(failure_threshold=3, success_threshold=1, open_for=20.0))
    state = c.breaker.get_state()
    c.clock.advance(10.0)
    c.succeed()
    closed = c.state
    c.fail(2)

    assert (state["state"], state["failure_count"], state["retry_after"]) == ("open", 2, 10.0)
    assert closed is CLOSED
    assert c.state is CLOSED
    c.fail()
    assert c.state is OPEN


def test_40_threads_and_event_loops_share_one_state(registry):
    """
    Sync and async callers on several threads and event loops are all counted, and none runs under the lock.
    """
    config = CircuitBreakerConfig(window=10_000, failure_rate=1.0, mode="metrics_only")
    breaker = registry.circuit("shared", config)
    barrier = threading.Barrier(6)
    held = []

    def work(number):
        held.append(breaker._lock._is_owned())
        if number % 4 == 0:
            raise OSError

    @circuit("shared", registry=registry)
    def sync_work(number):
        work(number)

    @circuit("shared", registry=registry)
    async def async_work(number):
        await asyncio.sleep(0)
        work(number)

    def on_a_thread():
        barrier.wait(PATIENCE)
        for number in range(100):
            with contextlib.suppress(OSError):
                sync_work(number)

    async def main():
        barrier.wait(PATIENCE)
        await asyncio.gather(*map(async_work, range(100)), return_exceptions=True)

    def on_a_loop():
        asyncio.run(main())

    run_threads(*(on_a_thread, on_a_loop) * 3)
    state = breaker.get_state()

    assert (state["calls"], state["failure_count"], state["rate"]) == (600, 150, 0.25)
    assert (len(held), any(held)) == (600, False)


def test_41_unpickled_copy_starts_afresh(ways):
    """
    A pickled breaker keeps its name and options; its state starts anew.
    """
    c = ways.make(failure_threshold=1, open_for=5.0)
    c.open()
    copy = pickle.loads(pickle.dumps(c.breaker))

    assert isinstance(copy, CircuitBreaker)
    assert (copy.name, copy.state, copy.options) == ("c", CLOSED, c.breaker.options)
    assert copy.call(lambda: "value") == "value"


@needs_fork
@may_fork
def test_41_fork_keeps_state_with_fresh_locks(ways):
    """
    A forked child has the state that the parent had, even while another thread of the parent held the lock.
    """
    c = ways.make(failure_threshold=1)
    c.open()

    def child():
        c.clock.advance(60.0)
        c.succeed(2)
        return c.state

    with held(c.breaker._lock):
        told = in_fork(child)

    assert told == str(CLOSED)
    assert c.state is OPEN
