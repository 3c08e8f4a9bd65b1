"""
What is no Exception: Ctrl-C, cancellation and their kind, which close the plan.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from resilient.testing.battery.check import promise
from resilient.text import type_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resilient.testing.battery.trial import Trial

__all__ = ["CHECKS", "KINDS", "WAYS", "Hanging"]

KINDS = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)
"""What is no Exception."""


@promise("what is no Exception leaves at once and unchanged: the function is called once, and no failure is counted")
def interruptions_leave_at_once(trial: Trial) -> None:
    """
    Interrupt the first attempt, and a second one, where there is one.
    """
    for kind in KINDS:
        for first in (0, 1):
            told: list[str] = []
            error = kind("leave")

            def body(
                *_args: Any, first: int = first, told: list[str] = told, error: BaseException = error, **_kwargs: Any
            ) -> None:
                told.append("call")
                if len(told) <= first:
                    told.append("failed")
                    raise ConnectionError
                try:
                    raise error
                finally:
                    told.append("finally")

            fn = trial.function(body)
            ending = trial.call(fn)
            if told.count("finally") == 0:
                # It was refused, or the failed attempt was the last.
                continue
            if ending.error is not error:
                trial.broken(f"where {kind.__name__} was raised, there was {ending}")
            if error.__cause__ is not None or hasattr(error, "__notes__"):
                trial.broken(f"{kind.__name__} had got a cause or a note")
            if told[2 * first :] != ["call", "finally"]:
                trial.broken(f"after {kind.__name__}, the function was called again")
            if failures := fn.resilience.stats().failures:
                trial.broken(f"after {kind.__name__}, failures were {failures}")


# -- cancellation in the midst of a call ---------------------------------------------


class Hanging:
    """
    A function that waits for ever, under the policy, as long as it ``hangs``.
    """

    def __init__(self, trial: Trial) -> None:
        self.told: list[str] = []
        self.reached: asyncio.Event = asyncio.Event()
        self.hangs = True
        self.fn: Any = trial.put_on(self._function())

    def _function(self) -> Callable[..., Awaitable[None]]:
        async def work(*_args: Any, **_kwargs: Any) -> None:
            self.told.append("call")
            self.reached.set()
            try:
                if self.hangs:
                    await asyncio.Event().wait()
            finally:
                self.told.append("finally")

        return work

    async def until_reached(self, task: asyncio.Future[Any]) -> None:
        """
        Wait until the function is called, or *task*, which calls it, has ended without.
        """
        reached = asyncio.ensure_future(self.reached.wait())
        try:
            await asyncio.wait({task, reached}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reached.cancel()


async def _by_task(hanging: Hanging) -> str:
    task = asyncio.ensure_future(hanging.fn())
    await hanging.until_reached(task)
    task.cancel("enough")
    try:
        await task
    except asyncio.CancelledError as error:
        return "" if error.args == ("enough",) and type(error) is asyncio.CancelledError else "another CancelledError"
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        return type_name(error)
    return "a result"


async def _by_timeout(hanging: Hanging) -> str:
    here: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]  # it is one
    seen = "a result"
    try:
        async with asyncio.timeout(None) as scope:
            hanging.reached = _Reached(lambda: scope.reschedule(0.0))
            await hanging.fn()
    except TimeoutError:
        seen = f"{here.cancelling()} cancellations left" if here.cancelling() else ""
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        seen = type_name(error)
    hanging.reached = asyncio.Event()
    return seen


class _Reached(asyncio.Event):
    """
    An event that does something when it is set.
    """

    def __init__(self, then: Callable[[], object]) -> None:
        super().__init__()
        self._then = then

    def set(self) -> None:
        self._then()


async def _by_sibling(hanging: Hanging) -> str:
    async def sibling(task: asyncio.Task[Any]) -> None:
        await hanging.until_reached(task)
        raise LookupError

    kinds: list[type[BaseException]] = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(sibling(group.create_task(hanging.fn())))
    except BaseExceptionGroup as error:
        kinds += [type(one) for one in error.exceptions]
    return "" if kinds == [LookupError] else "more than the sibling's error"


async def _by_close(hanging: Hanging) -> str:
    coroutine = hanging.fn()
    try:
        while not hanging.reached.is_set():
            coroutine.send(None)
        coroutine.close()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        return type_name(error)
    return ""


WAYS = {
    "task.cancel()": _by_task,
    "asyncio.timeout()": _by_timeout,
    "a failing sibling in a TaskGroup": _by_sibling,
    "close() of the coroutine": _by_close,
}
"""How a call is cancelled in its midst; each returns what it saw that must not be."""


@promise("cancellation in the midst of a call arrives unchanged, once its finally has run, and is no failure", "async")
def cancellation_leaves_at_once(trial: Trial) -> None:
    """
    Cancel a call in each way that there is.
    """
    for way, cancel in WAYS.items():

        async def cancelled(cancel: Callable[[Hanging], Awaitable[str]] = cancel) -> tuple[Hanging, str]:
            hanging = Hanging(trial)
            return hanging, await cancel(hanging)

        hanging, seen = trial.run(cancelled())
        if not hanging.told:
            continue
        if seen:
            trial.broken(f"after {way}, there was {seen}")
        if hanging.told != ["call", "finally"]:
            trial.broken(f"after {way}, there was {', '.join(hanging.told)}")
        if failures := hanging.fn.resilience.stats().failures:
            trial.broken(f"after {way}, failures were {failures}")


CHECKS = (interruptions_leave_at_once, cancellation_leaves_at_once)
