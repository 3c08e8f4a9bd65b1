"""
Faults 9 and 32: calls within calls (9), and whatever calls at any time: signals, finalizers, collector, logs (32).
"""

from __future__ import annotations

import functools
import gc
import logging
import signal
import sys
import threading
import time
import weakref
from contextlib import suppress

import pytest

from resilient import CallTimeoutError, CircuitBreakerOpenError, circuit, fallback_chain, retry
from resilient.events import AttemptFailed, CallSucceeded
from tests.harness import PATIENCE, Colour, Hang, in_thread, script, stack, state
from tests.workshop import EXPECTED, Workshop, locks

needs_timers = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers on this platform")


# -- row 9: recursion --------------------------------------------------

MODES = {
    "quiet": {},
    "listening": {},
    "timed": {"window": "60s", "slow_call": 1.0},
    "probing": {"half_open_max_calls": 32, "success_threshold": 32},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("error", [None, ConnectionError])
def test_row_09_a_stack_that_calls_itself(colour, registry, mode, error):
    """
    Recursion through all five policies, down to a success or a failure.
    """

    def down(depth, **kwargs):
        if depth:
            return 1 + down.again(depth - 1)
        if error:
            raise error
        return 0

    async def adown(depth, **kwargs):
        return (1 + await down.again(depth - 1)) if depth else down(0)

    options = dict(MODES[mode], half_open_max_calls=32) if mode == "probing" else MODES[mode]
    fn = down.again = stack(adown if colour.is_async else down, registry, attempts=1, **options)
    if mode == "listening":
        registry.on(lambda _: None, CallSucceeded)
    if mode == "probing":
        registry.circuits["c"].state = "half_open"
    result = in_thread(colour.call, fn, 10)

    assert type(result) is error if error else result == 10
    assert fn.resilience.stats().calls == 11
    assert bool(error) == registry.analytics.total_errors


def test_row_09_a_limited_function_that_calls_itself(colour, registry, hanging):
    """
    Each call has its own limit; one that hangs at the bottom ends them all, and nothing stays locked.
    """
    work = hanging.of(Hang(5))

    def down(depth):
        return down.again(depth - 1) if depth else work()

    async def adown(depth):
        return await (down.again(depth - 1) if depth else work())

    fn = down.again = circuit("c", failure_threshold=50, registry=registry)(
        hanging.limit(5)(adown if colour.is_async else down)
    )
    error = in_thread(colour.call, fn, 8)

    assert type(error) is CallTimeoutError
    assert (fn.resilience.stats().calls, work.calls()) == (9, 1)
    assert registry.circuits["c"].can_execute()


def test_row_09_endless_recursion_is_a_recursion_error(registry, monkeypatch):
    """
    It arrives as itself, nothing stays locked, and the function works afterwards.
    """
    # Where the stack ends, finalizers of anybody's fail too, and so does pytest's report of them.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)

    def down(depth, **kwargs):
        return down.again(depth + 1) if depth else "done"

    fn = down.again = stack(down, registry, attempts=1)
    result = in_thread(fn, 1)

    assert type(result) is RecursionError
    registry.reset()
    assert in_thread(fn, 0) == "done"


@pytest.mark.parametrize("inner_fails", [False, True])
@pytest.mark.parametrize("opened", ["closed", "half_open"])
def test_row_09_breaker_a_inside_a(colour, registry, opened, inner_fails):
    """
    Each call counts for itself; a probe inside a probe needs a permit of its own.
    """
    here = {"registry": registry}
    inner = circuit("c", success_threshold=1, **here)(colour.of(script(ConnectionError() if inner_fails else "done")))

    def outer():
        return inner()

    async def aouter():
        return await inner()

    fn = circuit("c", **here)(aouter if colour.is_async else outer)
    if opened == "half_open":
        registry.circuits["c"].state = "half_open"
    result = in_thread(colour.call, fn)
    expected = str if not inner_fails else ConnectionError
    if opened == "half_open":
        expected = CircuitBreakerOpenError

    assert expected is type(result)
    assert (2 if inner_fails and opened == "closed" else 0) == state(registry)["failure_count"]
    assert opened == state(registry)["state"]
    assert registry.circuits["c"].can_execute()


@pytest.mark.parametrize("mode", ["quiet", "listening"])
def test_row_09_functions_and_calls_of_one_breaker_within_each_other(colour, registry, mode):
    """
    Recursion, another function of the same circuit, and a direct call of the breaker within both.
    """
    if mode == "listening":
        registry.on(lambda _: None, CallSucceeded)

    @circuit("c", registry=registry)
    def down(depth):
        return depth and down(depth - 1) + direct()

    @circuit("c", registry=registry)
    def direct():
        return registry.circuits["c"].call(lambda: 1)

    @circuit("c", registry=registry)
    async def adown(depth):
        return depth and await adown(depth - 1) + direct()

    assert in_thread(colour.call, adown if colour.is_async else down, 5) == 5
    assert (state(registry)["state"], state(registry)["failure_count"]) == ("closed", 0)


@pytest.mark.parametrize("where", ["listener", "fallback", "predicate", "rule", "step", "block"])
def test_row_09_user_code_beside_a_call_may_call_it(colour, registry, where):
    """
    A listener, a fallback, a predicate, a classifier's rule or a step that calls the guarded function does not hang.
    """
    inside = []

    def again(*args, **kwargs):
        if not inside:
            inside.append(True)
            with suppress(ConnectionError), registry.circuits["c"]:
                sync()
        return "again" if where == "fallback" else False

    work = script(ConnectionError())
    sync = circuit("c", registry=registry)(work)
    if where == "listener":
        registry.on(again)
    elif where == "rule":
        registry.classifier.add(again, "network")
    elif where == "step":
        registry.playbooks.step("network", before="retry_connection")(again)
    fallbacks = [again] if where == "fallback" else []
    on = again if where == "predicate" else None

    def fails(**kwargs):
        if where == "block":
            again()
        return work()

    fn = stack(colour.of(fails), registry, *fallbacks, attempts=1, on=on)
    result = in_thread(colour.call, fn)

    assert result == "again" if where == "fallback" else type(result) is ConnectionError
    assert inside == [True]


# -- row 32: code that runs in between -------------------------------------------------------------------


class Tripwire:
    """
    A lock that runs code whenever it was taken, and again before it is given back.
    """

    def __init__(self, lock, code):
        self.lock = lock
        self.code = code

    def acquire(self, blocking=True, timeout=-1):
        # What would block for ever is a deadlock: one thread is all there is.
        taken = self.lock.acquire(blocking=blocking, timeout=5.0 if blocking else -1)
        if blocking and not taken:
            # No `Exception`: that would be swallowed where listeners' errors are.
            pytest.fail("deadlock")
        if taken:
            self.code()
        return taken

    def release(self):
        self.code()
        self.lock.release()

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *error):
        self.release()


def colourless(registry):
    """
    Decorate a function, and call it.
    """
    return circuit(registry=registry)(script(1))()


def test_row_32_a_call_within_every_locked_section(colour, registry):
    """
    Whatever lock a thread holds when a signal handler, a finalizer or the collector calls: that call ends.
    """
    workshop = Workshop(colour, registry)
    workshop.work()
    interrupts = []
    inside = [False]

    def interrupt():
        if inside[0] or len(interrupts) >= 400:
            return
        inside[0] = True
        try:
            # A handler runs where no event loop does, or in the midst of one; a thread would hide a deadlock.
            interrupts.append(sync.work())
        finally:
            inside[0] = False

    sync = Workshop(Colour("sync"), registry)
    sync.work = lambda: [act() for act in acts]
    acts = [
        functools.partial(sync.functions[0], True),
        # The very function that is interrupted; no event loop runs it, for one may be running.
        functools.partial(colour.drive, workshop.functions[0], True),
        registry.health,
        lambda: [stop() for stop in (registry.on(print), registry.on(print, events=AttemptFailed))],
        lambda: registry.circuit("api").isolate().release(),
        lambda: registry.degradation.degrade("now") and registry.degradation.restore(),
        lambda: registry.analytics.total_errors >= 0,
        lambda: colourless(registry),
        lambda: logging.getLogger("resilient").warning("in between"),
    ]
    workshop.work()
    replaced = locks()
    for owner, name, lock in replaced:
        setattr(owner, name, Tripwire(lock, interrupt))
    try:
        told = workshop.work()
    finally:
        for owner, name, lock in replaced:
            setattr(owner, name, lock)

    assert len(interrupts) > 50
    assert told == EXPECTED


@needs_timers
def test_row_32_a_signal_handler_that_calls_at_any_time(colour, registry, switches, untraced, monkeypatch):
    """
    A handler that makes guarded calls, logs and reads the registry strikes hundreds of times: all calls end.
    """
    # Each entry asks for the current task's name, and CPython 3.13.0 crashes where a handler
    # interrupts the first Task.get_name() and asks the same task: that frees what the first still reads.
    monkeypatch.setattr(logging, "logAsyncioTasks", False, raising=False)
    workshop, own = Workshop(Colour("sync"), registry), Workshop(colour, registry)
    handled = []

    def handler(signum, frame):
        # A handler that takes longer than its interval would leave no time for the rest.
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        handled.append(workshop.functions[0](True))
        # The very function that it may have interrupted; no event loop runs it, for one may be running.
        handled.append(colour.drive(own.functions[0], True))
        logging.getLogger("resilient").warning("in a handler")
        registry.health()
        signal.setitimer(signal.ITIMER_REAL, 0.0005)

    before = signal.signal(signal.SIGALRM, handler)
    stop = threading.Event()
    other = threading.Thread(target=lambda: [workshop.functions[0](True) for _ in iter(stop.is_set, True)], daemon=True)
    other.start()
    told = set()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005)
        ends = time.monotonic() + 0.25
        while time.monotonic() < ends:
            told.add(colour.call(own.functions[0], True))
            told.add(colour.call(own.functions[2]))
    finally:
        strikes_no_more(before)
        stop.set()
        other.join(PATIENCE)

    assert not other.is_alive()
    assert told == {"unnamed", "named"}
    assert set(handled) == {"unnamed"}
    assert len(handled) > 4


def strikes_no_more(before):
    """
    Stop the timer, and put the handler *before* back.

    In this order: a handler that still runs sets the timer once more, and nobody's signal ends the process.
    """
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


@needs_timers
def test_row_32_a_signal_handler_may_call_what_it_interrupts(colour, registry, untraced):
    """
    Its circuit opens and is probed all the time, and a listener reads the registry: each call has its own result.
    """

    @fallback_chain(script("instead"), name="chain", registry=registry)
    @retry(max_attempts=2, initial_delay=0)
    @circuit("c", failure_threshold=3, open_for=0.0, window=20)
    @colour.of
    def work(number):
        if number % 3:
            raise ConnectionError
        return number

    registry.on(lambda _: registry.health())
    handled = []

    def handler(signum, frame):
        # No event loop runs it, for one may be running.
        handled.append(colour.drive(work, 1))
        registry.health()
        # Only now: a handler that is interrupted by the next one, and so on, would never end.
        signal.setitimer(signal.ITIMER_REAL, 0.0005)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    ends = time.monotonic() + PATIENCE
    number = 0
    try:
        while len(handled) < 100 and time.monotonic() < ends:
            number += 1
            assert colour.call(work, number) in {number, "instead"}
    finally:
        strikes_no_more(before)

    assert set(handled) == {"instead"}
    assert len(handled) >= 100


def test_row_32_the_collector_calls_at_any_time(colour, registry):
    """
    `__del__`, weakref callbacks and collector callbacks that make guarded calls strike within guarded calls.
    """
    workshop = Workshop(colour, registry)
    sync = Workshop(Colour("sync"), registry)
    struck = {"del": 0, "weakref": 0, "gc": 0}
    inside = [False]
    refs = []

    def strike(what):
        if not inside[0]:
            inside[0] = True
            try:
                assert sync.functions[0](True) == "unnamed"
                registry.circuit("api").get_state()
                struck[what] += 1
            finally:
                inside[0] = False

    class Cycle:
        def __init__(self):
            self.me = self

        def __del__(self):
            strike("del")

    class Watched:
        def __init__(self):
            self.me = self

    def collected(phase, info):
        strike("gc")
        if len(refs) < 500:
            Cycle()
            refs.append(weakref.ref(Watched(), lambda ref: strike("weakref")))

    thresholds = gc.get_threshold()
    gc.callbacks.append(collected)
    try:
        gc.set_threshold(7, 3, 100_000)
        told = [colour.call(workshop.functions[0], True) for _ in range(10)]
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(collected)

    assert set(told) == {"unnamed"}
    assert min(struck.values()) > 5, struck


def test_row_32_a_log_handler_that_calls_within_a_delivery(colour, registry, caplog):
    """
    A log handler that is under policies itself, and fails, neither recurses nor deadlocks.
    """
    calls = []

    @retry(max_attempts=2, initial_delay=0.0, registry=registry)
    @circuit("log", failure_threshold=1)
    def send(record):
        calls.append(record.getMessage())
        raise ConnectionError

    class Handler(logging.Handler):
        def emit(self, record):
            send(record)

    handler = Handler()
    logger = logging.getLogger("resilient")
    logger.addHandler(handler)
    try:
        call = circuit("api", failure_threshold=1, registry=registry)(colour.of(script(TimeoutError())))
        told = [type(colour.outcome(call).error) for _ in range(2)]
    finally:
        logger.removeHandler(handler)

    assert told == [TimeoutError, CircuitBreakerOpenError]
    assert len(calls) == 1
