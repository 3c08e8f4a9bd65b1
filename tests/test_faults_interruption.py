"""
Faults 1 to 4: Ctrl-C and its kind (1, 2), cancellation under asyncio (3), and under trio and anyio (4).

Each without a limit of time, and below and above one that is far away.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import signal
import sys
import threading
import traceback
import types

import anyio
import pytest
import trio

from resilient import (
    CallTimeoutError,
    Fallback,
    Registry,
    circuit,
    degradable,
    fallback_chain,
    recoverable,
    retry,
    timeout,
)
from resilient.events import AttemptFailed, OperationFailed, RetryScheduled
from resilient.testing import FakeClock
from tests.harness import PATIENCE, Colour, caught, run_threads, script, stack, state

limits = pytest.mark.parametrize("limited", [False, True], ids=["no limit", "limits"])
pytestmark = pytest.mark.filterwarnings("ignore:.*@timeout above:resilient.PolicyOrderWarning")

# -- rows 1, 2: what is no Exception --------------------------------------------------


class Stop(BaseException):
    """
    A framework's own way to leave.
    """


class Interrupted(FakeClock):
    """
    A clock in whose waits somebody presses Ctrl-C.
    """

    error = None

    def sleep(self, seconds):
        raise self.error

    async def asleep(self, seconds):
        if seconds >= FAR:
            # Not a wait of the call's: somebody else looks whether its limit is reached.
            await super().asleep(seconds)
        raise self.error


FAR = 50.0
"""Seconds: a limit that is not reached."""


PLACES = ["attempt", "second attempt", "probe", "wait", "predicate", "on_result", "playbook", "shared step", "fallback"]
PLACES += ["second fallback", "when", "listener"]


def paused(fn):
    """
    Return a coroutine function that is suspended once before it does what *fn* does.
    """

    async def work(*args, **kwargs):
        await asyncio.sleep(0)
        return fn(*args, **kwargs)

    return work


def interrupted(colour, where, error, *, limited=False):
    """
    Return a registry, a stack that *error* hits in one place, and its function.
    """
    clock = Interrupted()
    clock.error = error
    registry = Registry(clock=clock)
    here = {"registry": registry}

    def stop(*args, **kwargs):
        raise error

    first = {"attempt": [error], "probe": [error], "second attempt": [ConnectionError(), error], "on_result": []}
    first["paused attempt"] = [error]
    work = script(*first[where], "done") if where in first else script(ConnectionError())
    fn = colour.of(work) if where != "paused attempt" else paused(work)
    limit = functools.partial(timeout, in_thread=not colour.is_async, **here)
    fn = circuit("c", success_threshold=1, **here)(limit(FAR)(fn) if limited else fn)
    options = {"predicate": {"on": stop}, "on_result": {"on_result": stop}}.get(where, {})
    fn = retry(max_attempts=2, initial_delay=1.0 if where == "wait" else 0.0, **options, **here)(fn)
    fn = recoverable(max_runs=1, **here)(fn)
    if where in {"playbook", "shared step"}:
        scope = "shared" if where == "shared step" else "call"
        registry.playbooks.step("network", name="stop", before="retry_connection", scope=scope)(colour.of(stop))
    failing = script(ConnectionError())
    chains = {"fallback": [stop], "second fallback": [failing, stop], "when": [Fallback(failing, when=stop)]}
    fn = fallback_chain(*chains.get(where, [failing]), **here)(fn)
    fn = degradable(rules={"quality": lambda value, _level: value}, **here)(limit(2 * FAR)(fn) if limited else fn)
    if where == "probe":
        registry.circuits["c"].state = "half_open"
    if where == "listener":
        registry.on(stop, AttemptFailed)
    return registry, fn, work


def check_interrupted(colour, where, error, *, limited=False):
    """
    Check that *error* leaves at once, and nothing is left behind.
    """
    registry, fn, work = interrupted(colour, where, error, limited=limited)
    told = []
    registry.on(told.append, OperationFailed)
    with pytest.raises(type(error)) as raised:
        colour.call(fn)
    once = {"attempt", "paused attempt", "probe", "wait", "predicate", "on_result", "listener"}
    expected = 1 if where in once else 2

    assert raised.value is error
    assert error.__cause__ is None
    assert not hasattr(error, "__notes__")
    assert expected == work.calls
    assert told == []
    assert fn.resilience.stats().failures == 0
    assert ("half_open" if where == "probe" else "closed") == state(registry)["state"]
    assert registry.circuits["c"].can_execute()
    return registry, fn, work


@limits
@pytest.mark.parametrize("where", PLACES)
def test_row_01_ctrl_c_leaves_at_once(colour, where, limited):
    """
    ``KeyboardInterrupt`` is itself, unwrapped, from wherever it hits; nothing is called after it.
    """
    check_interrupted(colour, where, KeyboardInterrupt(), limited=limited)


def test_row_01_a_real_signal_in_a_probe(colour, registry, interruptible):
    """
    SIGINT in the middle of a probe leaves, and the next caller gets the probe's permit.
    """
    signals = [signal.SIGINT]

    def work(**kwargs):
        if signals:
            signal.raise_signal(signals.pop())
        return "done"

    fn = stack(colour.of(work), registry, script("done"))
    registry.circuits["c"].state = "half_open"
    with pytest.raises(KeyboardInterrupt):
        colour.drive(fn)

    assert colour.call(fn) == "done"
    assert state(registry)["state"] == "closed"


@limits
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, Stop])
def test_row_02_what_is_no_exception_leaves_at_once(colour, where, kind, limited):
    """
    ``SystemExit``, ``GeneratorExit`` and a framework's own: as Ctrl-C.
    """
    check_interrupted(colour, where, kind("leave"), limited=limited)


@limits
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, Stop])
def test_row_02_what_is_no_exception_leaves_after_a_pause(kind, limited):
    """
    Nor does it matter that its coroutine has been suspended before.
    """
    check_interrupted(Colour("async"), "paused attempt", kind("leave"), limited=limited)


@limits
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, Stop])
def test_row_02_the_next_caller_gets_the_permit_of_an_interrupted_probe(colour, kind, limited):
    """
    Its call is a probe that closes the circuit.
    """
    registry, fn, work = check_interrupted(colour, "probe", kind("leave"), limited=limited)

    assert colour.call(fn) == "done"
    assert (state(registry)["state"], work.calls) == ("closed", 2)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("opened", ["closed", "half_open"])
def test_row_02_a_coroutine_that_is_closed_gives_its_permit_back(registry, opened, fails):
    """
    ``close()`` in the middle of an attempt runs ``finally`` once, and counts nothing.
    """
    finals = []

    @types.coroutine
    def pause():
        yield

    async def work(**kwargs):
        if fails and opened == "closed" and not finals:
            finals.append("failed")
            raise ConnectionError
        try:
            await pause()
        finally:
            finals.append("closed")

    fn = stack(work, registry, script("done"))
    registry.circuits["c"].state = opened
    coroutine = fn()
    coroutine.send(None)
    coroutine.close()

    assert finals.count("closed") == 1
    assert len(finals) - 1 == state(registry)["failure_count"]
    assert (opened, 0) == (state(registry)["state"], fn.resilience.stats().failures)
    assert registry.circuits["c"].can_execute()


# -- rows 3, 4: cancellation --------------------------------------------------

STUCK = ["attempt", "probe", "second attempt", "wait", "playbook", "shared step", "fallback"]


class Stuck:
    """
    An async stack of five decorators that waits for ever in one place.
    """

    def __init__(self, where, *, limited=False):
        self.where = where
        self.reached = []
        self.finals = []
        self.calls = 0
        self.registry = registry = Registry(clock=FakeClock(manual=True))
        if where in {"playbook", "shared step"}:
            scope = "shared" if where == "shared step" else "call"
            step = registry.playbooks.step("network", name="stuck", before="retry_connection", scope=scope, timeout=1e6)
            step(self.hang)
        work = timeout(1e7, registry=registry)(self.work) if limited else self.work
        self.fn = stack(
            work, registry, self.hang, delay=1.0 if where == "wait" else 0.0, attempts=2 if where != "wait" else 3
        )
        if limited:
            self.fn = timeout(1e8)(self.fn)
        if where == "probe":
            registry.circuits["c"].state = "half_open"
        if where == "wait":
            registry.on(self.reached.append, RetryScheduled)

    async def hang(self, *args, **kwargs):
        try:
            self.reached.append(True)
            await anyio.sleep_forever()
        finally:
            self.finals.append(True)

    async def work(self, **kwargs):
        self.calls += 1
        if self.where in {"attempt", "probe"} or (self.where == "second attempt" and self.calls > 1):
            return await self.hang()
        raise ConnectionError

    async def until_stuck(self):
        for turn in itertools.count():
            await anyio.lowlevel.checkpoint()
            if self.reached and turn > 20:
                return

    def check(self):
        calls = 1 if self.where in {"attempt", "probe", "wait"} else 2
        assert calls == self.calls
        assert ([] if self.where == "wait" else [True]) == self.finals
        failed = calls - (self.where in {"attempt", "probe", "second attempt"})
        assert failed == state(self.registry)["failure_count"]
        assert self.fn.resilience.stats().failures == 0
        assert self.registry.circuits["c"].can_execute()
        assert failed == self.registry.analytics.total_errors


@limits
@pytest.mark.parametrize("where", STUCK)
async def test_row_03_a_cancelled_task(where, limited):
    """
    ``CancelledError`` arrives unchanged with its message; ``finally`` runs once, and the permit is free.
    """
    stuck = Stuck(where, limited=limited)
    task = asyncio.create_task(stuck.fn())
    await stuck.until_stuck()
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough") as raised:
        await task

    assert raised.type is asyncio.CancelledError
    assert task.cancelling() == 1
    stuck.check()


@limits
@pytest.mark.parametrize("where", STUCK)
async def test_row_03_a_timeout_around(where, limited):
    """
    ``asyncio.timeout`` around the call ends in its own TimeoutError, and leaves no cancellation behind.
    """
    stuck = Stuck(where, limited=limited)
    loop = asyncio.get_running_loop()

    async def limited():
        async with asyncio.timeout(None) as scope:
            watch = asyncio.create_task(stuck.until_stuck())
            watch.add_done_callback(lambda _: scope.reschedule(loop.time()))
            await stuck.fn()

    with pytest.raises(TimeoutError):
        await limited()

    assert asyncio.current_task().cancelling() == 0
    stuck.check()


@limits
@pytest.mark.parametrize("where", STUCK)
async def test_row_03_a_sibling_fails(where, limited):
    """
    In a TaskGroup the sibling's error is the only one.
    """
    stuck = Stuck(where, limited=limited)

    async def sibling():
        await stuck.until_stuck()
        raise LookupError

    async def together():
        async with asyncio.TaskGroup() as group:
            group.create_task(stuck.fn())
            group.create_task(sibling())

    with pytest.raises(ExceptionGroup) as raised:
        await together()

    assert [LookupError] == [type(error) for error in raised.value.exceptions]
    stuck.check()


async def test_row_03_a_timeout_within_is_a_failure(registry):
    """
    The function's own timeout is an error like any other, and retried.
    """
    calls = []

    @retry(max_attempts=2, registry=registry)
    async def work():
        calls.append(True)
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await work()

    assert len(calls) == 2


async def test_row_03_a_cancelled_waiter_leaves_a_shared_step_to_the_others():
    """
    Of two calls that wait for one shared step one is cancelled, and the other is recovered.
    """
    stuck = Stuck("shared step")
    one, two = asyncio.create_task(stuck.fn()), asyncio.create_task(stuck.fn())
    await stuck.until_stuck()
    two.cancel()
    with pytest.raises(asyncio.CancelledError):
        await two
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one

    assert stuck.finals == [True]
    assert stuck.fn.resilience.stats().failures == 0


@limits
@pytest.mark.parametrize("where", STUCK)
def test_row_04_a_trio_cancel_scope(where, limited):
    """
    The scope swallows what it has cancelled, and nothing is counted.
    """
    stuck = Stuck(where, limited=limited)
    scopes = []

    async def run():
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await stuck.fn()

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await stuck.until_stuck()
            scopes[0].cancel()

    trio.run(main)

    assert scopes[0].cancelled_caught
    stuck.check()


@limits
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("where", STUCK)
def test_row_04_an_anyio_cancel_scope(where, backend, limited):
    """
    The same through anyio, on both of its backends.
    """
    stuck = Stuck(where, limited=limited)
    scopes = []

    async def run():
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await stuck.fn()

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await stuck.until_stuck()
            scopes[0].cancel()

    anyio.run(main, backend=backend)

    assert scopes[0].cancelled_caught
    stuck.check()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_row_04_waits_and_retries_run_on_either_backend(backend, clock, registry):
    """
    A retry waits with whatever loop the caller runs on.
    """
    work = script(ConnectionError(), ConnectionError(), "done")

    @retry(initial_delay=1, jitter=False, registry=registry)
    async def fn():
        await anyio.lowlevel.checkpoint()
        return work()

    assert anyio.run(fn, backend=backend) == "done"
    assert (work.calls, clock.monotonic()) == (3, 3.0)


# -- rows 1, 3, 48: limits of their own --------------------------------------------------


def stack_of(thread):
    """
    Return the names of the functions that *thread* is in.
    """
    return [frame.name for frame in traceback.extract_stack(sys._current_frames()[thread.ident])]  # noqa: SLF001 - the documented way to another thread's frames


def test_row_01_a_real_signal_while_the_caller_waits_for_a_thread(registry, interruptible):
    """
    Ctrl-C leaves at once, the thread is counted as left behind, and the circuit's permit is free.
    """
    let_go = threading.Event()

    def hang():
        while "_await_future" not in stack_of(threading.main_thread()):
            let_go.wait(0.001)
        os.kill(os.getpid(), signal.SIGINT)
        let_go.wait(PATIENCE)

    fn = circuit("c", success_threshold=1, registry=registry)(timeout(60, in_thread=True)(hang))
    registry.circuits["c"].state = "half_open"
    try:
        error = caught(fn)
        frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]

        assert type(error) is KeyboardInterrupt
        assert sum("/resilient/" in name for name in frames) == 2
        assert fn.resilience.policies[1].abandoned() == 1
        assert registry.circuits["c"].can_execute()
        assert fn.resilience.stats().failures == 0
    finally:
        let_go.set()


def test_row_48_a_limited_function_runs_on_two_loops_in_two_threads_at_once():
    """
    Each loop's limit is its own, on the machine's clock.
    """
    both = threading.Barrier(2, timeout=PATIENCE)
    ended = []

    @timeout(0.01, registry=Registry())
    async def fn():
        both.wait()
        await asyncio.Event().wait()

    def run():
        ended.append(type(caught(asyncio.run, fn())))

    run_threads(run, run)

    assert ended == [CallTimeoutError, CallTimeoutError]


def test_row_48_a_limited_function_runs_on_one_loop_after_the_other(registry):
    """
    ``asyncio.run`` many times, with trio in between: nothing of one loop is kept for the next.
    """

    @timeout(5, registry=registry)
    async def fn(fails):
        if fails:
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
        return "done"

    for _ in range(10):
        for backend in ("asyncio", "trio"):
            assert type(caught(anyio.run, fn, True, backend=backend)) is CallTimeoutError
            assert anyio.run(fn, False, backend=backend) == "done"


def test_row_48_a_limit_holds_where_tasks_begin_at_once(registry):
    """
    Under Python's eager tasks, too.
    """
    if not hasattr(asyncio, "eager_task_factory"):
        pytest.skip("Python 3.12 has them")

    @timeout(5, registry=registry)
    async def fn():
        await asyncio.Event().wait()

    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        with pytest.raises(CallTimeoutError):
            await asyncio.create_task(fn())

    asyncio.run(main())
