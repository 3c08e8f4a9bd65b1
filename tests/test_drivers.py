"""
The drivers: what they do with each command, and with what user code raises.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from functools import partial

import pytest
import trio
import trio.testing

from resilient.clock import SYSTEM_CLOCK
from resilient.drivers import arun, run, stripped
from resilient.policies.base import Await, Call, Raised, Returned, Sleep
from resilient.testing import FakeClock

trio_run = trio.run


def run_sync(plan, clock):
    """
    Drive a plan on this thread.
    """
    return run(plan, clock)


def run_asyncio(plan, clock):
    """
    Drive a plan in an asyncio task.
    """
    return asyncio.run(arun(plan, clock))


def run_trio(plan, clock):
    """
    Drive a plan in a trio task.
    """
    return trio.run(arun, plan, clock)


everywhere = pytest.mark.parametrize("drive", [run_sync, run_asyncio, run_trio])
in_loops = pytest.mark.parametrize("drive", [run_asyncio, run_trio])


def plan_of(*commands, log=None):
    """
    Yield each command, and return the last answer.
    """
    answer = None
    try:
        for command in commands:
            answer = yield command
            if log is not None:
                log.append(answer)
    finally:
        if log is not None:
            log.append("closed")
    return answer


def raises(error):
    """
    Raise what is given.
    """
    raise error


async def anap(value):
    """
    Return *value* after a turn of the loop.
    """
    await trio.lowlevel.checkpoint() if in_trio() else await asyncio.sleep(0)
    return value


def in_trio():
    """
    Tell which kind of loop runs this.
    """
    return trio.lowlevel.in_trio_task()


@everywhere
def test_a_call_is_made_with_its_arguments(drive):
    """
    What the function returns is the answer.
    """
    outcome = drive(plan_of(Call(lambda a, *, b: (a, b), (1,), {"b": 2})), FakeClock())

    assert outcome.value == (1, 2)


@everywhere
@pytest.mark.parametrize("error", [ConnectionError("x"), StopIteration("x"), StopAsyncIteration("x")])
def test_what_a_call_raises_is_sent_back(drive, error):
    """
    An exception is an answer, without the driver's own frame.
    """
    outcome = drive(plan_of(Call(raises, (error,))), FakeClock())

    assert outcome.error is error
    assert error.__traceback__.tb_frame.f_code.co_name == "raises"


@everywhere
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_what_is_no_exception_closes_the_plan_and_is_the_outcome(drive, error):
    """
    The plan gives back what it holds, and sees no answer.
    """
    log = []
    outcome = drive(plan_of(Call(raises, (error,)), log=log), FakeClock())

    assert outcome.error is error
    assert log == ["closed"]


@everywhere
def test_an_error_of_the_plan_itself_is_the_outcome(drive):
    """
    Nothing is lost if a policy fails.
    """

    def broken():
        yield Call(len, ("abc",))
        raise LookupError

    assert LookupError is type(drive(broken(), FakeClock()).error)


@everywhere
def test_a_sleep_waits_on_the_clock(drive):
    """
    Waits are answered when they are over.
    """
    clock = FakeClock()
    log = []
    drive(plan_of(Sleep(2.5), log=log), clock)

    assert clock.monotonic() == 2.5
    assert Returned is type(log[0])


@in_loops
def test_an_awaitable_is_awaited_once(drive):
    """
    A coroutine's value is the answer; what is no awaitable is taken as it is.
    """

    class Proxy:
        def __getattr__(self, name):
            return name

    proxy = Proxy()

    assert drive(plan_of(Call(anap, (5,))), FakeClock()).value == 5
    assert proxy is drive(plan_of(Call(lambda: proxy)), FakeClock()).value


def test_a_sync_driver_hands_awaitables_on():
    """
    Whoever calls a sync function that returns a coroutine gets the coroutine.
    """
    coroutine = anap(1)
    outcome = run(plan_of(Call(lambda: coroutine)), FakeClock())
    coroutine.close()

    assert coroutine is outcome.value


@in_loops
def test_an_async_call_is_cancelled_at_its_timeout(drive):
    """
    What takes longer is answered with a TimeoutError; what is quicker is not disturbed.
    """
    stopped = []

    async def sleeps():
        try:
            if in_trio():
                await trio.sleep_forever()
            await asyncio.Event().wait()
        finally:
            stopped.append(True)

    late = drive(plan_of(Call(sleeps, timeout=0.001)), FakeClock())
    early = drive(plan_of(Call(anap, ("early",), timeout=60.0)), FakeClock())

    assert TimeoutError is type(late.error)
    assert stopped == [True]
    assert early.value == "early"


def done(value=None, error=None):
    """
    Return a future that is done.
    """
    future = Future()
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
    return future


@everywhere
def test_a_future_of_another_thread_is_awaited(drive):
    """
    Its result, its error, or the timeout is the answer, and it is never cancelled.
    """
    pending = Future()

    assert drive(plan_of(Await(done(3))), FakeClock()).value == 3
    assert LookupError is type(drive(plan_of(Await(done(error=LookupError()))), FakeClock()).error)
    assert TimeoutError is type(drive(plan_of(Await(pending, 0.001)), FakeClock()).error)
    assert not pending.cancelled()


@everywhere
def test_a_future_may_be_set_while_it_is_awaited(drive):
    """
    The thread that sets it wakes whoever waits.
    """
    future = Future()
    timer = threading.Timer(0.01, partial(future.set_result, "late"))
    timer.start()

    assert drive(plan_of(Await(future, 60.0)), FakeClock()).value == "late"
    timer.join()


async def test_a_cancelled_task_closes_its_plan():
    """
    Cancellation arrives unchanged, during a call, a wait and an awaited future alike.
    """
    for command in (Call(asyncio.Event().wait), Sleep(60.0), Await(Future())):
        log = []
        task = asyncio.create_task(arun(plan_of(command, log=log), FakeClock(manual=True)))
        await asyncio.sleep(0)  # One turn of the loop: the task has begun, and waits.
        task.cancel("why")
        outcome = await task

        assert Raised is type(outcome)
        assert outcome.error.args == ("why",)
        assert asyncio.CancelledError is type(outcome.error)
        assert log == ["closed"]


def test_stripping_takes_off_one_frame():
    """
    The frame that caught an error goes, the others stay; an error without traceback stays as it is.
    """
    try:
        raises(KeyError())
    except KeyError as error:
        caught = stripped(error)

    assert caught.__traceback__.tb_frame.f_code.co_name == "raises"
    assert stripped(KeyError()).__traceback__ is None


def test_who_waits_on_trio_takes_no_thread():
    """
    More than there are threads for may wait for what one of these is to do.
    """
    futures = [Future() for _ in range(100)]

    def plan(future):
        return (yield Await(future))

    async def main():
        found = []

        async def wait(future):
            found.append(await arun(plan(future), FakeClock()))

        async with trio.open_nursery() as nursery:
            for future in futures:
                nursery.start_soon(wait, future)
            await trio.testing.wait_all_tasks_blocked()
            for number, future in enumerate(futures):
                await trio.to_thread.run_sync(future.set_result, number)
        return found

    assert sorted(one.value for one in trio.run(main)) == list(range(100))


def test_a_future_that_is_done_after_trio_has_ended_tells_nobody():
    """
    Nobody is left there to wait for it.
    """
    future = Future()

    def plan():
        return (yield Await(future, timeout=0.001))

    assert type(trio.run(arun, plan(), SYSTEM_CLOCK).error) is TimeoutError
    future.set_result(None)
