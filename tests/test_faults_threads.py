"""
Faults 8, 25 and 48: many threads in one breaker (8), results that come late (25), event loops of every kind (48).
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import suppress

import pytest

from resilient import (
    CircuitBreakerOpenError,
    CircuitState,
    Registry,
    circuit,
    degradable,
    fallback_chain,
    recoverable,
    resilience_of,
    retry,
)
from resilient.events import CallSucceeded, CircuitOpened
from resilient.playbooks import single_flight
from resilient.testing import capture_events
from tests.harness import PATIENCE, in_thread, run_threads, script, stack, state

# -- row 8: threads --------------------------------------------------

MODES = {
    "quiet": {},
    "listening": {},
    "timed": {"window": "60s", "slow_call": 1.0},
    "probing": {"half_open_max_calls": 32, "success_threshold": 32},
}


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_row_08_32_threads_are_inside_one_breaker_at_once(colour, registry, mode, fails):
    """
    Nobody waits for anybody's lock, however long calls take: all 32 are under way together.
    """
    together = threading.Barrier(32, timeout=20)

    def work(**kwargs):
        together.wait()
        if fails:
            raise LookupError

    fn = stack(colour.of(work), registry, **MODES[mode])
    if mode == "listening":
        registry.on(lambda _: None, CallSucceeded)
    if mode == "probing":
        registry.circuits["c"].state = "half_open"

    def run():
        with suppress(LookupError, threading.BrokenBarrierError):
            colour.call(fn)

    run_threads(*[run] * 32)

    assert not together.broken
    stats = fn.resilience.stats()
    assert (32, 32 * fails) == (stats.calls, stats.failures)
    assert ("open" if mode == "probing" and fails else "closed") == state(registry)["state"]


async def test_row_08_32_tasks_are_inside_one_breaker_at_once(registry):
    """
    The same for tasks of one loop.
    """
    together = asyncio.Barrier(32)

    async def work(**kwargs):
        return await together.wait()

    fn = stack(work, registry)

    assert set(range(32)) == set(await asyncio.gather(*(fn() for _ in range(32))))


# -- row 25: a late result --------------------------------------------------------------------------------


def _open(registry):
    registry.circuit("api").state = "open"


def _half_open(registry):
    breaker = registry.circuit("api")
    breaker.state = "open"
    breaker.state = "half_open"


def _closed_again(registry):
    _half_open(registry)
    registry.circuit("api").state = "closed"


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("listens", [False, True])
@pytest.mark.parametrize("meanwhile", [_open, _half_open, _closed_again])
def test_row_25_a_late_result_is_dropped(colour, registry, meanwhile, listens, fails):
    """
    A call from before a circuit's change of state returns or raises as itself, and changes neither state nor counts.
    """

    @circuit("api", failure_threshold=1, success_threshold=1, registry=registry)
    @colour.of
    def slow():
        meanwhile(registry)
        slow.seen = breaker.snapshot()
        if fails:
            raise ConnectionError
        return "late"

    breaker = registry.circuit("api")
    if listens:
        registry.on(lambda event: None)
    result = "raised"
    with suppress(ConnectionError):
        result = colour.call(slow)

    assert breaker.snapshot() == {**slow.seen, "late": 1}
    assert result == ("raised" if fails else "late")


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("meanwhile", [_open, _half_open, _closed_again])
def test_row_25_an_outcome_that_comes_late_is_dropped(colour, registry, meanwhile, fails):
    """
    The same where the call is asked for its outcome.
    """

    @circuit("api", failure_threshold=1, success_threshold=1, registry=registry)
    @colour.of
    def slow():
        meanwhile(registry)
        slow.seen = breaker.snapshot()
        if fails:
            raise ConnectionError
        return "late"

    breaker = registry.circuit("api")
    outcome = colour.outcome(slow)

    assert breaker.snapshot() == {**slow.seen, "late": 1}
    assert (outcome.value, type(outcome.error)) == ((None, ConnectionError) if fails else ("late", type(None)))


@pytest.mark.parametrize("fails", [False, True])
def test_row_25_a_quiet_call_that_ends_late_is_dropped(colour, registry, fails):
    """
    The same holds for a call on the fast path, while another call of the function trips the circuit.
    """

    @circuit("api", failure_threshold=1, registry=registry)
    @colour.of
    def call(inner=None):
        if inner is not None:
            inner()
            if not fails:
                return "late"
        raise ConnectionError

    def trip():
        # In a thread: the outer call may be running an event loop.
        assert type(in_thread(colour.call, call)) is ConnectionError

    breaker = registry.circuit("api")
    with capture_events(registry) as events:
        outcome = "raised"
        try:
            outcome = colour.call(call, trip)
        except ConnectionError:
            pass

    assert outcome == ("raised" if fails else "late")
    assert (breaker.state, breaker.late) == (CircuitState.OPEN, 1)
    assert [type(event) for event in events].count(CircuitOpened) == 1


# -- row 48: event loops ---------------------------------------------------------------------------------------------


def looping(registry):
    """
    Return an async function that fails now and then, under a stack of all kinds.
    """
    count = iter(range(1_000_000))

    @degradable(registry=registry)
    @fallback_chain(script("stand-in"))
    @recoverable
    @retry(max_attempts=2, initial_delay=0.0001, jitter=False)
    @circuit("api", failure_threshold=5, success_threshold=1, open_for=0.001, half_open_max_calls=2)
    async def call(quality=1.0):
        await asyncio.sleep(0)
        if next(count) % 3:
            raise ConnectionError
        return "own"

    return call


def numbered(registry):
    """
    Return an async function that fails the first time it is called with a number, and then returns it.
    """
    failed = set()

    @recoverable(registry=registry)
    @retry(max_attempts=2, initial_delay=0.0001)
    @circuit("numbered", failure_threshold=1000)
    async def call(number):
        await asyncio.sleep(0)
        if number not in failed:
            failed.add(number)
            raise ConnectionError
        return number

    return call


async def many(call, number=40):
    """
    Make some calls at once.
    """
    return set(await asyncio.gather(*(call() for _ in range(number))))


def test_row_48_event_loops_one_after_the_other():
    """
    Breakers, scopes, playbooks and functions outlive any number of event loops.
    """
    registry = Registry()
    call = looping(registry)
    told = set()
    for _ in range(40):
        told |= asyncio.run(many(call, 5))

    assert told == {"own", "stand-in"}
    assert resilience_of(call).stats().calls == 200
    call = numbered(registry)
    assert list(range(20)) == [asyncio.run(call(number)) for number in range(20)]


def test_row_48_event_loops_at_once_in_threads():
    """
    Two loops in two threads share one breaker, with sync calls beside them.
    """
    registry = Registry()
    call = looping(registry)
    sync = circuit("api", registry=registry)(script("sync"))
    told = []

    def sync_calls():
        for _ in range(200):
            try:
                told.append({sync()})
            except CircuitBreakerOpenError:
                told.append({"rejected"})

    run_threads(*[lambda: told.append(asyncio.run(many(call, 100)))] * 2, sync_calls)

    assert set().union(*told) <= {"own", "stand-in", "sync", "rejected"}
    assert resilience_of(call).stats().calls == 200
    assert registry.circuit("api").state in CircuitState


def test_row_48_event_loops_at_once_each_get_their_own_results():
    """
    No result, retry or wait of one loop's calls is taken for another's.
    """
    call = numbered(Registry())
    told = {}

    def run(name):
        async def main():
            return await asyncio.gather(*(call((name, number)) for number in range(20)))

        told[name] = asyncio.run(main())

    run_threads(lambda: run("one"), lambda: run("two"))

    assert told == {name: [(name, number) for number in range(20)] for name in ("one", "two")}
    assert (call.resilience.stats().calls, call.resilience.stats().attempts) == (40, 80)


def test_row_48_one_shared_recovery_for_two_loops(monkeypatch):
    """
    A shared step that runs on one loop is waited for on the other, and serves both.
    """
    registry = Registry()
    runs, told, failed = [], [], set()
    both = threading.Barrier(2)

    waited_for = threading.Event()

    class Watched(Future):
        def add_done_callback(self, fn):
            super().add_done_callback(fn)
            waited_for.set()

    monkeypatch.setattr(single_flight, "Future", Watched)

    @registry.playbooks.step("memory", name="once", before="clear_cache", scope="shared", timeout=PATIENCE)
    async def once(ctx):
        runs.append(threading.get_ident())
        return await asyncio.to_thread(waited_for.wait, PATIENCE)

    @recoverable(registry=registry)
    async def call():
        me = threading.get_ident()
        if me not in failed:
            failed.add(me)
            await asyncio.to_thread(both.wait, PATIENCE)
            raise MemoryError
        return "well"

    run_threads(*[lambda: told.append(asyncio.run(call()))] * 2)

    assert told == ["well", "well"]
    assert len(runs) == 1


def test_row_48_a_loop_within_a_sync_call_within_a_loop():
    """
    A guarded sync function may run an event loop of its own, on a thread beside the loop that awaits it.
    """
    registry = Registry()
    call = looping(registry)

    @retry(max_attempts=2, registry=registry)
    def inner(awaitable):
        return asyncio.run(awaitable)

    @retry(max_attempts=2, registry=registry)
    async def outer(awaitable):
        return await asyncio.to_thread(inner, awaitable)

    assert asyncio.run(outer(many(call, 5))) <= {"own", "stand-in"}
    before = registry.analytics.generate_report()["incidents"]
    assert asyncio.run(outer(numbered(registry)(7))) == 7
    assert registry.analytics.generate_report()["incidents"] == before + 1


def test_row_48_uvloop():
    """
    The event loop of uvloop is one like any other.
    """
    uvloop = pytest.importorskip("uvloop")
    registry = Registry()
    call = looping(registry)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        told = runner.run(many(call))
        call_numbered = numbered(registry)
        assert [runner.run(call_numbered(number)) for number in (1, 2)] == [1, 2]
    told |= asyncio.run(many(call))

    assert told == {"own", "stand-in"}


def test_row_48_trio():
    """
    A function that was called under asyncio waits under trio, too.
    """
    trio = pytest.importorskip("trio")
    registry = Registry()
    left = []

    @retry(max_attempts=3, initial_delay=0.0001, registry=registry)
    @circuit("api", success_threshold=1)
    async def call():
        if left.pop():
            raise ConnectionError
        return "well"

    told = []
    for run in (lambda: asyncio.run(call()), lambda: trio.run(call), lambda: asyncio.run(call())):
        left[:] = [False, True, True]
        told.append(run())

    assert told == ["well"] * 3
