"""
Single flight: one does the work, the others wait for its result.
"""

# ruff: noqa: SLF001 - whether somebody waits can only be seen from inside

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading

import pytest

from resilient.clock import SYSTEM_CLOCK
from resilient.drivers import arun, run
from resilient.playbooks.single_flight import _ABOARD, SingleFlight
from resilient.policies.base import Call, Raised, Returned


def unlimited():
    """
    Set no limit to waiting.
    """


def doing(fn, *args):
    """
    Return work that calls *fn*.
    """

    def work():
        outcome = yield Call(fn, args)
        if isinstance(outcome, Raised):
            raise outcome.error
        return outcome.value

    return work


def joining(flights, work, *, key="k", is_async, remaining=unlimited):
    """
    Return a plan that joins a flight and ends in an outcome.
    """
    try:
        result = yield from flights.join(key, work, remaining=remaining, is_async=is_async)
    except Exception as error:
        return Raised(error)
    return Returned(result)


def join(flights, work, **options):
    """
    Join a flight from sync code; return the result or raise.
    """
    return answer(run(joining(flights, work, is_async=False, **options), SYSTEM_CLOCK))


async def ajoin(flights, work, **options):
    """
    Join a flight from async code; return the result or raise.
    """
    return answer(await arun(joining(flights, work, is_async=True, **options), SYSTEM_CLOCK))


def answer(outcome):
    """
    Return what the outcome returned or raise what it raised.
    """
    if isinstance(outcome, Raised):
        raise outcome.error
    return outcome.value


def wait_until(condition):
    """
    Let other threads run until *condition* holds.
    """
    tick = threading.Event()
    for _ in range(5000):
        if condition():
            return
        tick.wait(0.001)
    pytest.fail("it did not happen within five seconds")


@pytest.mark.parametrize("result", [True, False])
def test_one_caller_gets_the_result_of_its_own_work(result):
    """
    Whoever comes alone does the work and gets its result.
    """
    flights = SingleFlight()

    assert result is join(flights, doing(lambda: result))
    assert repr(flights) == "SingleFlight(0 in flight)"


def test_a_context_forgets_the_flights_it_was_part_of():
    """
    A long-lived thread does not gather the flights it has run.
    """
    flights = SingleFlight()
    aboard = []
    for _ in range(2):
        join(flights, doing(lambda: aboard.append(len(_ABOARD.get()))))

    assert aboard == [1, 1]
    assert _ABOARD.get() == ()


def test_nobody_who_waits_can_cancel_the_flight():
    """
    The future that others wait for is running: it cannot be cancelled.
    """
    flights = SingleFlight()
    cancelled = []
    join(flights, doing(lambda: cancelled.append(flights._flights["k"].done.cancel())))

    assert cancelled == [False]


@pytest.mark.parametrize("result", [True, False])
async def test_tasks_share_one_run(result):
    """
    Of many tasks one does the work, and all get its result.
    """
    flights = SingleFlight()
    runs = []
    go = asyncio.Event()

    async def work():
        runs.append(1)
        await go.wait()
        return result

    tasks = [asyncio.ensure_future(ajoin(flights, doing(work))) for _ in range(5)]
    await asyncio.sleep(0)
    assert repr(flights) == "SingleFlight(1 in flight)"
    go.set()

    assert [result] * 5 == await asyncio.gather(*tasks)
    assert runs == [1]


def test_threads_and_event_loops_share_one_run():
    """
    A thread and the tasks of another thread's loop wait for the work of a third.
    """
    flights = SingleFlight()
    started, go = threading.Event(), threading.Event()
    runs, results = [], []

    def work():
        runs.append(1)
        started.set()
        go.wait(5)
        return True

    def refuse():
        runs.append(2)

    def waiting(call):
        thread = threading.Thread(target=lambda: results.append(call()))
        thread.start()
        return thread

    def loop():
        return asyncio.run(ajoin(flights, doing(refuse)))

    threads = [waiting(lambda: join(flights, doing(work)))]
    started.wait(5)
    flight = flights._flights["k"]
    threads += [waiting(lambda: join(flights, doing(refuse))), waiting(loop)]
    wait_until(lambda: flight.done._condition._waiters and flight.done._done_callbacks)
    go.set()
    for thread in threads:
        thread.join(5)

    assert results == [True, True, True]
    assert runs == [1]


async def test_different_keys_do_not_wait_for_each_other():
    """
    Work under another key is other work.
    """
    flights = SingleFlight()

    async def inner():
        return await ajoin(flights, doing(lambda: True), key="other")

    assert await ajoin(flights, doing(inner))


async def test_an_error_reaches_its_runner_and_is_a_no_for_the_others():
    """
    Work that raises did not apply for those who waited.
    """
    flights = SingleFlight()
    go = asyncio.Event()

    async def work():
        await go.wait()
        raise OSError("no")

    tasks = [asyncio.ensure_future(ajoin(flights, doing(work))) for _ in range(2)]
    await asyncio.sleep(0)
    go.set()
    first, second = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(first, OSError)
    assert second is False
    assert flights._flights == {}


async def test_a_cancelled_runner_hands_the_work_on():
    """
    When the runner is cancelled, one of those who wait does the work.
    """
    flights = SingleFlight()
    runs = []
    never = asyncio.Event()

    async def first():
        runs.append("first")
        await never.wait()

    async def second():
        runs.append("second")
        return True

    runner = asyncio.ensure_future(ajoin(flights, doing(first)))
    await asyncio.sleep(0)
    waiter = asyncio.ensure_future(ajoin(flights, doing(second)))
    await asyncio.sleep(0)
    runner.cancel()

    assert await waiter
    assert runs == ["first", "second"]
    assert runner.cancelled()
    assert flights._flights == {}


async def test_a_cancelled_waiter_leaves_the_others_alone():
    """
    Cancelling one who waits stops neither the work nor the others.
    """
    flights = SingleFlight()
    go = asyncio.Event()

    async def work():
        await go.wait()
        return True

    tasks = [asyncio.ensure_future(ajoin(flights, doing(work))) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.sleep(0)
    go.set()
    first, second, third = await asyncio.gather(*tasks, return_exceptions=True)

    assert (first, third) == (True, True)
    assert isinstance(second, asyncio.CancelledError)


def test_ctrl_c_in_the_work_leaves_at_once_and_frees_the_key():
    """
    KeyboardInterrupt passes through and the next one does the work.
    """
    flights = SingleFlight()

    def work():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        join(flights, doing(work))

    assert join(flights, doing(lambda: True))


def test_a_runner_that_is_thrown_away_frees_the_key():
    """
    A plan that nobody finishes lands when it is collected, in whichever context.
    """
    flights = SingleFlight()
    plan = joining(flights, doing(lambda: True), is_async=True)
    asyncio.run(arun_first(plan))
    del plan
    gc.collect()

    assert join(flights, doing(lambda: True))


async def arun_first(plan):
    """
    Begin *plan* in a context of its own, and leave it there.
    """
    next(plan)


async def test_waiting_ends_with_the_time():
    """
    Who has no time left gets a TimeoutError; the work goes on.
    """
    flights = SingleFlight()
    go = asyncio.Event()

    async def work():
        await go.wait()
        return True

    runner = asyncio.ensure_future(ajoin(flights, doing(work)))
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await ajoin(flights, doing(work), remaining=lambda: 0.0)
    go.set()

    assert await runner


def test_sync_work_that_joins_itself_gets_a_no():
    """
    Sync work that asks for itself does not wait for ever.
    """
    flights = SingleFlight()
    inner = []

    def work():
        inner.append(join(flights, doing(lambda: True)))
        inner.append(asyncio.run(ajoin(flights, doing(lambda: True))))
        return True

    assert join(flights, doing(work))
    assert inner == [False, False]


async def test_async_work_that_joins_itself_gets_a_no():
    """
    Async work that asks for itself does not wait for ever, from its own task or from one it started.
    """
    flights = SingleFlight()
    inner = []

    async def work():
        inner.append(await ajoin(flights, doing(lambda: True)))
        inner.append(await asyncio.create_task(ajoin(flights, doing(lambda: True))))
        return True

    assert await ajoin(flights, doing(work))
    assert inner == [False, False]


async def test_two_that_would_wait_for_each_other_do_not():
    """
    A circle of waiting is not closed: the one who would close it gets a no.
    """
    flights = SingleFlight()
    ready = asyncio.Event()
    got = {}

    async def first():
        await ready.wait()
        got["first"] = await ajoin(flights, doing(lambda: True), key="b")
        return True

    async def second():
        ready.set()
        await asyncio.sleep(0)
        got["second"] = await ajoin(flights, doing(lambda: True), key="a")
        return True

    both = await asyncio.gather(ajoin(flights, doing(first), key="a"), ajoin(flights, doing(second), key="b"))

    assert both == [True, True]
    assert got == {"first": True, "second": False}


async def test_sync_code_on_an_event_loop_does_not_wait():
    """
    A sync operation on a thread with a running loop gets a no instead of blocking the loop.
    """
    flights = SingleFlight()
    started, go = threading.Event(), threading.Event()

    def work():
        started.set()
        return go.wait(5)

    runner = asyncio.ensure_future(asyncio.to_thread(join, flights, doing(work)))
    await asyncio.to_thread(started.wait, 5)
    got = join(flights, doing(lambda: True))
    go.set()

    assert got is False
    assert await runner


def test_sync_code_does_not_wait_for_its_own_thread():
    """
    A signal handler that asks for the work its thread is doing gets a no.
    """
    flights = SingleFlight()
    runner = joining(flights, doing(lambda: True), is_async=False)
    context = contextvars.copy_context()
    context.run(next, runner)

    assert join(flights, doing(lambda: True)) is False
    context.run(runner.close)


def test_on_trio_sync_code_does_not_wait_and_async_code_does():
    """
    A trio task counts as an event loop.
    """
    trio = pytest.importorskip("trio")
    flights = SingleFlight()
    got = []

    async def work():
        got.append(join(flights, doing(lambda: True)))
        return True

    async def main():
        got.append(await ajoin(flights, doing(work)))

    trio.run(main)

    assert got == [False, True]


async def test_a_sync_stranger_on_trio_is_not_kept_waiting():
    """
    A sync operation in a trio task gets a no for work that another thread does.
    """
    trio = pytest.importorskip("trio")
    flights = SingleFlight()
    started, go = threading.Event(), threading.Event()

    def work():
        started.set()
        return go.wait(5)

    thread = threading.Thread(target=lambda: join(flights, doing(work)))
    thread.start()
    started.wait(5)

    async def main():
        return join(flights, doing(lambda: True))

    got = await asyncio.to_thread(trio.run, main)
    go.set()
    thread.join(5)

    assert got is False


def test_a_forked_child_begins_afresh():
    """
    With fresh locks nobody waits for flights of threads that are not there.
    """
    flights = SingleFlight()
    runner = joining(flights, doing(lambda: True), is_async=True)
    context = contextvars.copy_context()
    context.run(next, runner)
    flights._lock.acquire()
    flights._renew_locks()
    got = []
    thread = threading.Thread(target=lambda: got.append(join(flights, doing(lambda: True))))
    thread.start()
    thread.join(5)

    assert got == [True]
    context.run(runner.close)
