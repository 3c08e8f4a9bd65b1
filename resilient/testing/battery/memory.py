"""
What is kept of a call when it is over, and of an attempt when the next one begins: nothing.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import warnings
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from resilient.testing.battery.check import promise
from resilient.testing.battery.interruption import WAYS, Hanging

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from resilient.testing.battery.trial import Trial

__all__ = ["CHECKS"]

_MANY = 10_000

# Where a policy is slow, as many as it makes in this time: what keeps one thing of each call shows at once.
_SECONDS = 0.15

# How often anybody looks for what is still there, a hundredth of a second apart.
_LOOKS = 10


class _Tensor:
    """
    Something large that a call may hold.
    """


class _Refs:
    """
    What was made, as long as it is there.
    """

    def __init__(self) -> None:
        self.refs: list[weakref.ref[_Tensor]] = []

    def make(self) -> _Tensor:
        """
        Return one more.
        """
        tensor = _Tensor()
        self.refs.append(weakref.ref(tensor))
        return tensor

    def left(self) -> int:
        """
        Return how many are still there.
        """
        return sum(ref() is not None for ref in self.refs)

    def kept(self) -> int:
        """
        Return how many stay: a thread of the policy's may just be on its way out with one.
        """
        for _ in range(_LOOKS):
            if not self.left():
                break
            threading.Event().wait(0.01)
        return self.left()


@contextmanager
def _uncollected() -> Generator[None]:
    """
    Keep the garbage collector from hiding a leak.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@promise("a failed attempt's frame is free before a further attempt, and after the call")
def failed_frames_are_free(trial: Trial) -> None:
    """
    Hold something in the frame of each failed attempt, and look for it.
    """
    for kind in (ConnectionError, ValueError, MemoryError):
        refs, seen = _Refs(), [0]

        def body(
            *_args: Any, kind: type[Exception] = kind, refs: _Refs = refs, seen: list[int] = seen, **_kwargs: Any
        ) -> None:
            seen.append(refs.left())
            tensor = refs.make()
            assert tensor is not None  # noqa: S101 - the frame holds it
            raise kind

        fn = trial.function(body)

        async def acall(fn: Any = fn, refs: _Refs = refs) -> int:
            await trial.acall(fn)
            # Until a task is suspended once more, its event loop may hold the last error.
            await asyncio.sleep(0)
            return refs.kept()

        with _uncollected():
            if trial.is_async:
                left = trial.run(acall())
            else:
                trial.call(fn)
                left = refs.kept()
        if max(seen):
            trial.broken(f"where it raised {kind.__name__}, the frame was there when the function was called again")
        if left:
            trial.broken(f"where it raised {kind.__name__}, the frame was there after the call")


@promise("ten thousand calls keep nothing: neither their arguments nor their results")
def calls_keep_nothing(trial: Trial) -> None:
    """
    Call with something and return something, and look for both.
    """
    given, made = _Refs(), _Refs()
    fn = trial.function(lambda *_args, **_kwargs: made.make())

    async def acalls() -> None:
        until = time.perf_counter() + _SECONDS
        while len(given.refs) < _MANY and time.perf_counter() < until:
            await trial.acall(fn, given.make(), keyword=given.make())

    with _uncollected():
        if trial.is_async:
            trial.run(acalls())
        else:
            until = time.perf_counter() + _SECONDS
            while len(given.refs) < _MANY and time.perf_counter() < until:
                trial.call(fn, given.make(), keyword=given.make())
        arguments, results = given.kept(), made.kept()
    for what, left in (("arguments", arguments), ("results", results)):
        if left:
            trial.broken(f"after {len(given.refs) // 2} calls {left} {what} were still there")


@promise("no coroutine is left that nobody awaits", "async")
def coroutines_are_awaited(trial: Trial) -> None:
    """
    Let calls succeed, fail and be cancelled, and listen for Python's warning.
    """

    def failing(*_args: Any, **_kwargs: Any) -> None:
        raise ConnectionError

    bodies: tuple[Callable[..., Any], ...] = (lambda *_args, **_kwargs: "done", failing)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for body in bodies:
            fn = trial.function(body)
            for _ in range(10):
                trial.call(fn)

        async def cancelled() -> None:
            for cancel in WAYS.values():
                await cancel(Hanging(trial))

        trial.run(cancelled())
        gc.collect()
    left = [one for one in told if "never awaited" in str(one.message)]
    if left:
        trial.broken(f"Python warned {len(left)} times: {left[0].message}")


CHECKS = (failed_frames_are_free, calls_keep_nothing, coroutines_are_awaited)
