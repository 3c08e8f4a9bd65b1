"""
``@timeout`` on async functions: what it cancels, what of it is awaited, and whose cancellation is whose.
"""

from __future__ import annotations

import asyncio

import anyio
import pytest
import trio

from resilient import CallTimeoutError, Registry, retry, timeout
from resilient.clock import SYSTEM_CLOCK
from resilient.testing import FakeClock
from tests.harness import caught

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])
clocks = pytest.mark.parametrize("real", [False, True], ids=["fake clock", "system clock"])


def registry_on(*, real):
    """
    Return a registry on the machine's clock, or on one that moves by itself.
    """
    return Registry(clock=SYSTEM_CLOCK if real else FakeClock())


def limit(seconds=0.001, *, real):
    """
    Return a limit that is soon over, on either clock.
    """
    return timeout(seconds, registry=registry_on(real=real))


# -- what is cancelled --------------------------------------------------


@backends
@clocks
def test_cleanup_is_awaited(backend, real):
    """
    The error is raised when ``finally`` has run to its end, its own waits included.
    """
    told = []

    @limit(real=real)
    async def fn():
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            told.append("cleaned")

    async def main():
        with pytest.raises(CallTimeoutError):
            await fn()
        told.append("raised")

    anyio.run(main, backend=backend)

    assert told == ["cleaned", "raised"]


@backends
@clocks
def test_who_swallows_the_cancellation_has_its_result_count(backend, real):
    """
    The call has returned after all.
    """

    @limit(real=real)
    async def fn():
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            return "partial"

    async def main():
        result = await fn()
        await anyio.lowlevel.checkpoint()  # No cancellation is left behind.
        return result

    assert anyio.run(main, backend=backend) == "partial"
    assert fn.resilience.stats().failures == 0


@backends
@clocks
def test_who_raises_in_its_cleanup_has_its_error_count(backend, real):
    """
    It is the more recent one, and says more; a TimeoutError of its own is no limit of ours.
    """
    for error in (LookupError("cleanup"), TimeoutError("cleanup")):

        @limit(real=real)
        async def fn(error=error):
            try:
                await anyio.sleep_forever()
            finally:
                raise error

        assert caught(anyio.run, fn, backend=backend) is error
        assert fn.resilience.stats().failures == 1


@backends
def test_what_never_waits_cannot_be_cut_off(backend, clock, registry):
    """
    A call that blocks the event loop has its result count.
    """

    @timeout(2, registry=registry)
    async def fn():
        clock.advance(60)
        return "done"

    assert anyio.run(fn, backend=backend) == "done"


@backends
@clocks
def test_an_attempt_begins_anew_after_one_was_cut_off(backend, real):
    """
    No cancellation is left for it.
    """
    calls = []

    @retry(max_attempts=3, initial_delay=0, registry=registry_on(real=real))
    @timeout(0.001)
    async def fn():
        calls.append(True)
        if len(calls) < 3:
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
        return "done"

    assert anyio.run(fn, backend=backend) == "done"


@clocks
async def test_the_count_of_cancellations_is_as_it_was(real):
    """
    ``task.cancelling()`` tells of nobody's cancellation but others'.
    """

    @limit(real=real)
    async def fn():
        await asyncio.Event().wait()

    async def main():
        with pytest.raises(CallTimeoutError):
            await fn()
        return asyncio.current_task().cancelling()

    assert await main() == 0
    # Nor does it take away one that was there.
    task = asyncio.create_task(cancelled_before(fn))
    assert await task == (1, CallTimeoutError)


async def cancelled_before(fn):
    """
    Return how often this task is cancelled after a call of *fn*, having swallowed one cancellation before.
    """
    task = asyncio.current_task()
    task.cancel()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        pass
    try:
        await fn()
    except CallTimeoutError as error:
        return task.cancelling(), type(error)


# -- time --------------------------------------------------


async def turns(count=40):
    """
    Let everything run that is ready to.
    """
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


@backends
def test_time_that_a_clock_moved_by_hand_does_not_reach_ends_nothing(backend):
    """
    A call waits until the clock is moved to its limit, however long that takes.
    """
    clock = FakeClock(manual=True)
    ended = []

    @timeout(5, registry=Registry(clock=clock))
    async def fn():
        await anyio.sleep_forever()

    async def call():
        with pytest.raises(CallTimeoutError):
            await fn()
        ended.append(clock.monotonic())

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await turns()
            await clock.aadvance(4.9)
            await turns()
            assert ended == []
            await clock.aadvance(0.1)

    anyio.run(main, backend=backend)

    assert ended == [5.0]
    assert "0 asleep" in repr(clock)


@backends
def test_a_clock_that_moves_by_itself_stops_where_the_call_ends(backend, clock, registry):
    """
    What the call waits for on it comes before its limit, and nothing is left asleep.
    """

    @timeout(5, registry=registry)
    async def fn():
        await clock.asleep(3)
        return "done"

    async def main():
        result = await fn()
        await turns()
        return result

    assert anyio.run(main, backend=backend) == "done"
    assert clock.monotonic() == 3.0
    assert "0 asleep" in repr(clock)


@backends
@pytest.mark.parametrize("error", [ConnectionError, KeyboardInterrupt])
def test_a_call_that_fails_leaves_nothing_asleep(backend, error):
    """
    Whatever it raises, nobody waits for its limit any more.
    """
    clock = FakeClock(manual=True)

    @timeout(5, registry=Registry(clock=clock))
    async def fn():
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        raise error

    async def main():
        try:
            await fn()
        except error:
            await turns()
            return repr(clock)

    assert "0 asleep" in anyio.run(main, backend=backend)


@backends
@clocks
def test_a_result_in_the_turn_in_which_time_is_up_counts(backend, real):
    """
    The call has returned before it was cancelled.
    """
    clock = FakeClock(manual=True)
    now = []

    @timeout(5, registry=Registry(clock=clock))
    async def fn():
        await turns(3)
        # Time is up, and whoever watches has not been told yet.
        clock.advance(5)
        now.append(clock.monotonic())
        return "done"

    assert anyio.run(fn, backend=backend) == "done"
    assert now == [5.0]


# -- cancellation from elsewhere, at the same moment --------------------------------------------------


class Moment:
    """
    A call that hangs, and its limit, on a clock that is moved by hand: what ends it comes when it is told to.
    """

    def __init__(self):
        self.clock = FakeClock(manual=True)
        self.registry = Registry(clock=self.clock)
        self.calls = 0
        self.cleaned = 0
        self.fn = retry(max_attempts=3, initial_delay=0, registry=self.registry)(timeout(5)(self.hang))

    async def hang(self):
        self.calls += 1
        try:
            await anyio.sleep_forever()
        finally:
            self.cleaned += 1

    async def when_it_hangs(self, *ends):
        await turns()
        for end in ends:
            end()

    def time_is_up(self):
        self.clock.advance(5)

    def check(self):
        assert (self.calls, self.cleaned) == (1, 1)
        stats = self.fn.resilience.stats()
        assert (stats.failures, stats.retries, self.registry.analytics.total_errors) == (0, 0, 0)


orders = pytest.mark.parametrize("ours_first", [True, False], ids=["ours first", "theirs first"])


def in_order(ours, theirs, *, ours_first):
    """
    Return both in the order of the test.
    """
    return (ours, theirs) if ours_first else (theirs, ours)


@orders
async def test_a_cancelled_task_is_cancelled_though_time_is_up(ours_first):
    """
    The cancellation passes unchanged, counted once, and nothing is retried.
    """
    one = Moment()
    task = asyncio.create_task(one.fn())
    await one.when_it_hangs(*in_order(one.time_is_up, lambda: task.cancel("enough"), ours_first=ours_first))
    with pytest.raises(asyncio.CancelledError):
        await task

    assert task.cancelled()
    assert task.cancelling() == 1
    one.check()


@orders
async def test_a_timeout_around_ends_it_though_time_is_up(ours_first):
    """
    ``asyncio.timeout`` raises its own error, and leaves the count as it found it.
    """
    one = Moment()
    loop = asyncio.get_running_loop()

    async def limited():
        async with asyncio.timeout(None) as scope:
            theirs = lambda: scope.reschedule(loop.time())  # noqa: E731 - said once
            watch = asyncio.create_task(one.when_it_hangs(*in_order(one.time_is_up, theirs, ours_first=ours_first)))
            try:
                await one.fn()
            finally:
                await watch

    with pytest.raises(TimeoutError) as raised:
        await limited()

    assert raised.type is TimeoutError
    assert asyncio.current_task().cancelling() == 0
    one.check()


@orders
async def test_a_sibling_fails_though_time_is_up(ours_first):
    """
    The group has the sibling's error only.
    """
    one = Moment()

    async def sibling():
        await turns()
        if ours_first:
            one.time_is_up()
        raise LookupError

    async def together():
        async with asyncio.TaskGroup() as group:
            group.create_task(one.fn())
            group.create_task(sibling()).add_done_callback(lambda _: one.clock.advance(0 if ours_first else 5))

    with pytest.raises(ExceptionGroup) as raised:
        await together()

    assert [LookupError] == [type(error) for error in raised.value.exceptions]
    one.check()


async def test_wait_for_around_ends_it():
    """
    ``asyncio.wait_for`` raises a TimeoutError that is not ours.
    """
    one = Moment()
    with pytest.raises(TimeoutError) as raised:
        await asyncio.wait_for(one.fn(), 0.001)

    assert raised.type is TimeoutError
    one.check()


@orders
def test_a_trio_cancel_scope_ends_it_though_time_is_up(ours_first):
    """
    The scope swallows what it has cancelled.
    """
    one = Moment()
    scope = trio.CancelScope()

    async def run():
        with scope:
            await one.fn()

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await one.when_it_hangs(*in_order(one.time_is_up, scope.cancel, ours_first=ours_first))

    trio.run(main)

    assert scope.cancelled_caught
    one.check()


@backends
@orders
def test_an_anyio_cancel_scope_ends_it_though_time_is_up(backend, ours_first):
    """
    On both of its backends.
    """
    one = Moment()
    scopes = []

    async def run():
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await one.fn()

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await turns()
            await one.when_it_hangs(*in_order(one.time_is_up, scopes[0].cancel, ours_first=ours_first))

    anyio.run(main, backend=backend)

    assert scopes[0].cancelled_caught
    one.check()


@clocks
async def test_a_timeout_within_is_an_error_of_the_call(real):
    """
    The function's own ``asyncio.timeout`` is told apart from ours, though both are up.
    """

    @limit(60, real=True)
    async def own():
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    @limit(real=real)
    async def both():
        async with asyncio.timeout(60):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError) as raised:
        await own()
    assert raised.type is TimeoutError
    with pytest.raises(CallTimeoutError):
        await both()


GAPS = range(12)


@pytest.mark.parametrize("gap", GAPS)
async def test_a_cancellation_is_never_lost_however_soon_after_ours_it_comes(gap):
    """
    In the same turn of the loop or in one of the next: the task is cancelled, once, and no later attempt goes on.
    """
    one = Moment()
    task = asyncio.create_task(one.fn())
    await one.when_it_hangs(one.time_is_up)
    await turns(gap)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (task.cancelled(), task.cancelling()) == (True, 1)
    assert one.calls == one.cleaned
    assert one.fn.resilience.stats().failures == 0


@pytest.mark.parametrize("gap", GAPS)
async def test_a_timeout_around_is_never_lost_however_soon_after_ours_it_comes(gap):
    """
    It raises its own error, and leaves the count as it found it.
    """
    one = Moment()
    loop = asyncio.get_running_loop()

    async def end(scope):
        await one.when_it_hangs(one.time_is_up)
        await turns(gap)
        scope.reschedule(loop.time())

    async def limited():
        async with asyncio.timeout(None) as scope:
            watch = asyncio.create_task(end(scope))
            try:
                await one.fn()
            finally:
                await watch

    with pytest.raises(TimeoutError) as raised:
        await limited()

    assert raised.type is TimeoutError
    assert asyncio.current_task().cancelling() == 0
    assert one.calls == one.cleaned


@backends
@pytest.mark.parametrize("gap", GAPS)
def test_a_cancel_scope_is_never_lost_however_soon_after_ours_it_comes(backend, gap):
    """
    It swallows what it has cancelled, on both of anyio's backends.
    """
    one = Moment()
    scopes = []

    async def run():
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await one.fn()

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await one.when_it_hangs(one.time_is_up)
            await turns(gap)
            scopes[0].cancel()

    anyio.run(main, backend=backend)

    assert scopes[0].cancelled_caught
    assert one.calls == one.cleaned
    assert one.fn.resilience.stats().failures == 0
