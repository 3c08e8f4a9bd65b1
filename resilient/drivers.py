"""
The drivers: the only code that calls, awaits and sleeps for a plan.

`run` and `arun` are the whole difference between sync and async. An outcome is
sent back into the plan, never thrown: a ``StopIteration`` of the user's would
turn into a ``RuntimeError`` inside a generator.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any, TypeVar

from resilient.clock import SYSTEM_CLOCK, runs_on_trio
from resilient.policies.base import Await, Call, Command, Outcome, Plan, Raised, Returned, Sleep, traceback_of
from resilient.policies.options import describe

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from concurrent.futures import Future

    from resilient.clock import Clock

__all__ = ["arun", "perform", "run", "stripped"]

_E = TypeVar("_E", bound=BaseException)

_OURS = globals()

_set_traceback = BaseException.__dict__["__traceback__"].__set__


def stripped(error: _E) -> _E:
    """
    Return *error* without the frame that caught it.

    Called in the ``except`` clause: there the first entry of the traceback is
    the catching frame, ours. Python would keep one for each attempt, and with
    it everything that the frame refers to.
    """
    # Through the slots: a class may define a __getattribute__ or a __setattr__ that raises.
    traceback = traceback_of(error)
    if traceback is not None:
        _set_traceback(error, traceback.tb_next)
    return error


def _cleared(error: _E) -> _E:
    """
    Return *error* without the frames of this module that it has passed on its way out of the call.
    """
    traceback = traceback_of(error)
    while traceback is not None and traceback.tb_frame.f_globals is _OURS:
        traceback = traceback.tb_next
    _set_traceback(error, traceback)
    return error


def perform(call: Call) -> Outcome:
    """
    Make *call* here and now, without its limit; whatever is no `Exception` is raised.
    """
    try:
        return Returned(call.fn(*call.args, **call.kwargs))
    except Exception as error:  # noqa: BLE001 - the plan decides about every Exception
        return Raised(stripped(error))


def run(plan: Plan, clock: Clock) -> Outcome:
    """
    Run *plan* on this thread and return its outcome.

    A `BaseException` that is no `Exception` closes the plan, which gives its
    permits back, and becomes the outcome at once.
    """
    answer: Any = None
    try:
        while True:
            try:
                command: Command | None = plan.send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            # The plan has seen it; a reference kept here would keep the failed
            # call's frames alive during the next attempt.
            answer = None
            if type(command) is Call:
                try:
                    value = command.fn(*command.args, **command.kwargs)
                except Exception as error:  # noqa: BLE001 - the plan decides about every Exception
                    answer = Raised(stripped(error))
                else:
                    answer = Returned(value)
                    del value
            elif type(command) is Sleep:
                clock.sleep(command.seconds)
                answer = _DONE
            else:
                answer = _await_future(_awaited(command), clock)
    except BaseException as error:  # noqa: BLE001 - raised again by the caller, two frames higher
        return Raised(_cleared(error))
    finally:
        # The failed call's frame has this one as its caller: an error kept here would keep itself.
        answer = command = None
        plan.close()


async def arun(plan: Plan, clock: Clock) -> Outcome:
    """
    Run *plan* in this task and return its outcome; see `run`.
    """
    answer: Any = None
    try:
        while True:
            try:
                command: Command | None = plan.send(answer)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            answer = None
            if type(command) is Call:
                if command.timeout is not None:
                    answer = await _limited(command, command.timeout, clock)
                    continue
                try:
                    value = command.fn(*command.args, **command.kwargs)
                    if hasattr(type(value), "__await__"):
                        value = await value
                except Exception as error:  # noqa: BLE001 - the plan decides about every Exception
                    answer = Raised(stripped(error))
                else:
                    answer = Returned(value)
                    del value
            elif type(command) is Sleep:
                await clock.asleep(command.seconds)
                answer = _DONE
            else:
                answer = await _aawait_future(_awaited(command))
    except BaseException as error:  # noqa: BLE001 - raised again by the caller, two frames higher
        return Raised(_cleared(error))
    finally:
        # The failed call's frame has this one as its caller: an error kept here would keep itself.
        answer = command = None
        plan.close()


_DONE = Returned(None)


def _awaited(command: object) -> Await:
    """
    Return *command*, which is neither a call nor a sleep, if it is one at all.
    """
    if type(command) is not Await:
        msg = f"a plan has yielded {describe(command)}; yield a Call, a Sleep or an Await"
        raise TypeError(msg)
    return command


# Seconds between two looks at a clock that tests move.
_A_MOMENT = 0.001


def _await_future(command: Await, clock: Clock) -> Outcome:
    future, seconds = command.future, command.timeout
    try:
        if seconds is not None and clock is not SYSTEM_CLOCK:
            _look_at_both(future, seconds, clock, command.until)
            seconds = 0.0
        return Returned(future.result(seconds))
    except Exception as error:  # noqa: BLE001 - the plan decides about every Exception
        return Raised(_cleared(error))


def _look_at_both(future: Future[Any], seconds: float, clock: Clock, until: float | None) -> None:
    """
    Wait until *future* is done, *seconds* have passed, or *clock* stands at *until*; None: *seconds* from now.

    No clock can be asked to wake somebody who waits for a thread; one that tests move is looked at now and then.
    """
    ends = SYSTEM_CLOCK.monotonic() + seconds
    if until is None:
        until = clock.monotonic() + seconds
    while (left := min(ends - SYSTEM_CLOCK.monotonic(), until - clock.monotonic())) > 0:
        if wait((future,), min(left, _A_MOMENT)).done:
            return


async def _aawait_future(command: Await) -> Outcome:
    try:
        if runs_on_trio():
            return Returned(await _on_trio(command.future, command.timeout))
        # shield: a waiter that is cancelled or times out leaves the future to the others.
        waiter = asyncio.shield(asyncio.wrap_future(command.future))
        return Returned(await asyncio.wait_for(waiter, command.timeout))
    except Exception as error:  # noqa: BLE001 - the plan decides about every Exception
        return Raised(stripped(error))


async def _on_trio(future: Future[Any], seconds: float | None) -> Any:
    """
    Wait for *future* in this trio task; no thread waits with it, for those are what others may need to get it done.
    """
    trio = sys.modules["trio"]
    token, done = trio.lowlevel.current_trio_token(), trio.Event()

    def tell(_future: Future[Any]) -> None:
        # The run may have ended meanwhile: then nobody waits.
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(done.set)

    future.add_done_callback(tell)
    with trio.move_on_after(math.inf if seconds is None else seconds):
        await done.wait()
    return future.result(0.0)


# -- calls with a limit --------------------------------------------------------


async def _limited(call: Call, seconds: float, clock: Clock) -> Outcome:
    """
    Make *call*; what it awaits is cancelled after *seconds* on *clock*, and its cleanup awaited.

    Whoever swallows the cancellation has its result, or its error, count.
    """
    answer: Any = perform(call)
    try:
        if type(answer) is Raised or not hasattr(type(answer.value), "__await__"):
            return answer  # type: ignore[no-any-return]
        within = _trio_within if runs_on_trio() else _asyncio_within
        answer = await within(answer.value, seconds, clock)
        if answer is not None:
            return answer  # type: ignore[no-any-return]
    finally:
        # As in `run`: an error kept here would keep itself.
        answer = None
    call.expired = True
    # Until this task is suspended once more, its event loop holds the cancellation, and with it the call's frames.
    await SYSTEM_CLOCK.asleep(0.0)
    return Raised(TimeoutError(f"it took longer than {seconds:g} s"))


async def _outcome(awaitable: Awaitable[Any]) -> Outcome:
    try:
        return Returned(await awaitable)
    except Exception as error:  # noqa: BLE001 - the plan decides about every Exception
        return Raised(stripped(error))


async def _asyncio_within(awaitable: Awaitable[Any], seconds: float, clock: Clock) -> Outcome | None:
    # It keeps its own cancellation apart from all others.
    scope = asyncio.timeout(seconds if clock is SYSTEM_CLOCK else None)
    watching = None
    try:
        async with scope:
            if clock is not SYSTEM_CLOCK:
                watching = asyncio.ensure_future(_end(scope, seconds, clock))
            return await _outcome(awaitable)
    except TimeoutError:
        # Its own: errors of the call's are outcomes by now.
        return None
    finally:
        if watching is not None:
            watching.cancel()


async def _end(scope: asyncio.Timeout, seconds: float, clock: Clock) -> None:
    await clock.asleep(seconds)
    scope.reschedule(asyncio.get_running_loop().time())


async def _trio_within(awaitable: Awaitable[Any], seconds: float, clock: Clock) -> Outcome | None:
    trio = sys.modules["trio"]
    scope, watching = trio.CancelScope(), trio.CancelScope()

    async def end() -> None:
        with watching:
            await clock.asleep(seconds)
            scope.cancel()

    if clock is SYSTEM_CLOCK:
        scope.deadline = trio.current_time() + seconds
    else:
        trio.lowlevel.spawn_system_task(end)
    try:
        with scope:
            return await _outcome(awaitable)
        return None
    finally:
        watching.cancel()
