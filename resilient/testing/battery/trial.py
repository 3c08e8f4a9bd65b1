"""
One policy on trial: functions under it, what comes of their calls, and what is said of a promise that it breaks.
"""

from __future__ import annotations

import asyncio
import contextvars
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from resilient.errors import CallRejectedError, PolicyOrderWarning, ResilientError
from resilient.events import CallSucceeded
from resilient.gates import planned
from resilient.policies.base import Call, Raised, Returned, Sleep, traceback_of
from resilient.resilience import resilience_of
from resilient.text import safe_repr, type_name

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Coroutine

    from resilient.operation import Operation
    from resilient.policies.base import Command, Outcome
    from resilient.registry import Registry

__all__ = ["Ending", "Flight", "Middle", "Trial", "put_on"]


class Ending(NamedTuple):
    """
    What a call came to: its value, or what it raised.
    """

    value: Any
    error: BaseException | None = None

    @property
    def refused(self) -> bool:
        """
        Whether a policy did not admit the call.
        """
        # By its real type: `isinstance` would ask `__class__`, which may raise.
        return issubclass(type(self.error), CallRejectedError)

    @property
    def ours(self) -> bool:
        """
        Whether it is an error of a policy's, about what has happened to the call.
        """
        return issubclass(type(self.error), ResilientError)

    def __str__(self) -> str:
        return f"{safe_repr(self.value, 80)} returned" if self.error is None else f"{type_name(self.error)} raised"


class Middle:
    """
    Chance that always comes out in the middle.
    """

    def uniform(self, a: float, b: float, /) -> float:
        """
        Return the number between *a* and *b*.
        """
        return (a + b) / 2


def put_on(target: Any, *decorators: Callable[..., Any]) -> Any:
    """
    Return *target* under *decorators*, innermost first; whatever order they have is meant.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PolicyOrderWarning)
        for decorator in decorators:
            target = decorator(target)
    return target


class Trial:
    """
    A policy, on a registry of its own, with functions of one colour.

    Args:
        policy: The decorator.
        shown: How it is written.
        is_async: The colour.
        registry: The registry, which is the default one meanwhile.
        hears: Whether somebody listens for successes, so that each call has to be planned.
        promise: What must hold.
    """

    def __init__(
        self,
        policy: Callable[..., Any],
        shown: str,
        *,
        is_async: bool,
        registry: Registry,
        hears: bool,
        promise: str,
    ) -> None:
        self.policy: Callable[..., Any] = policy
        self.shown: str = shown
        self.is_async: bool = is_async
        self.registry: Registry = registry
        self.promise: str = promise
        self._hears = hears
        self.listen(registry)
        self._runner = asyncio.Runner()
        self._codes: set[types.CodeType] = set()

    def listen(self, registry: Registry) -> None:
        """
        Let calls on *registry* be planned, where they are to be.
        """
        if self._hears:
            registry.on(_nothing, CallSucceeded)

    def broken(self, seen: str) -> NoReturn:
        """
        Say that the promise is broken, and what was *seen*.
        """
        colour = "async" if self.is_async else "sync"
        msg = f"{self.promise}; with {colour} functions under {self.shown}, {seen}"
        raise AssertionError(msg)

    def close(self) -> None:
        """
        Close the event loop.
        """
        self._runner.close()

    # -- functions -----------------------------------------------------------

    def raw(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """
        Return a function, or a coroutine function that is suspended once, which does what *body* does.
        """

        def work(*args: Any, **kwargs: Any) -> Any:
            return body(*args, **kwargs)

        async def awork(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return body(*args, **kwargs)

        made = awork if self.is_async else work
        self._codes.add(made.__code__)
        return made

    def put_on(self, target: Any) -> Any:
        """
        Return *target* under the policy.
        """
        return put_on(target, self.policy)

    def function(self, body: Callable[..., Any]) -> Any:
        """
        Return a fresh function that does what *body* does, under the policy.
        """
        return put_on(self.raw(body), self.policy)

    def flight(self, fn: Any, *args: Any) -> Flight:
        """
        Return a call of *fn* that stands at its first command.
        """
        return Flight(self, fn, args)

    # -- calls ---------------------------------------------------------------

    def call(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Ending:
        """
        Call *fn*, and return what came of it, whatever it is.
        """
        if self.is_async:
            return self._runner.run(self.acall(fn, *args, **kwargs))
        try:
            return Ending(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - the check decides what may be raised
            return Ending(None, error)

    @staticmethod
    async def acall(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Ending:
        """
        Do what `call` does, within an event loop.
        """
        try:
            return Ending(await fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - the check decides what may be raised
            return Ending(None, error)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """
        Run *coroutine*, in which calls may be cancelled, on the trial's event loop.
        """
        # On a thread of its own: on some Pythons what traces a thread loses its place when a coroutine is thrown into.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(contextvars.copy_context().run, self._runner.run, coroutine).result()

    def frames(self, error: BaseException) -> int:
        """
        Return how many frames *error* has passed between the function's and that of `call`.
        """
        traceback, count = traceback_of(error), -1
        while traceback is not None and traceback.tb_frame.f_code not in self._codes:
            traceback, count = traceback.tb_next, count + 1
        return count


class Flight:
    """
    A call whose plan stands still between two commands, until somebody moves it.

    Args:
        trial: The trial.
        fn: The decorated function.
        args: The call's arguments.

    Attributes:
        op: The operation.
        command: What the plan waits for; None: it has ended.
        outcome: What came of it, once it has.
    """

    def __init__(self, trial: Trial, fn: Any, args: tuple[Any, ...]) -> None:
        pipeline = resilience_of(fn).pipeline
        self._trial = trial
        self.op: Operation = pipeline.operation(next(pipeline.ticks))
        self.op.is_async = trial.is_async
        self._plan = planned(self.op, args, {})
        self.command: Command | None = None
        self.outcome: Outcome | None = None
        self._send(None)

    def _send(self, answer: Any) -> None:
        try:
            self.command = self._plan.send(answer)
        except StopIteration as stop:
            self.command, self.outcome = None, stop.value

    @property
    def calls(self) -> bool:
        """
        Whether it was admitted, and stands before a call.
        """
        return type(self.command) is Call

    @property
    def refused(self) -> bool:
        """
        Whether it was not admitted.
        """
        return type(self.outcome) is Raised and Ending(None, self.outcome.error).refused

    def step(self) -> None:
        """
        Do what the plan waits for.
        """
        command = self.command
        answer: Outcome
        if type(command) is Call:
            ending = self._trial.call(command.fn, *command.args, **command.kwargs)
            answer = Returned(ending.value) if ending.error is None else Raised(ending.error)
        elif type(command) is Sleep:
            self._trial.registry.hub.clock.sleep(command.seconds)
            answer = Returned(None)
        else:
            answer = Returned(command.future.result(command.timeout))  # type: ignore[union-attr]  # there are three
        self._send(answer)

    def land(self) -> Ending:
        """
        Go on to the end.
        """
        while self.command is not None:
            self.step()
        outcome = self.outcome
        return Ending(None, outcome.error) if type(outcome) is Raised else Ending(outcome.value)  # type: ignore[union-attr]

    def close(self) -> None:
        """
        Close the plan, as an interruption does.
        """
        self._plan.close()


def _nothing(_event: object) -> None:
    """
    Hear of successes, so that each call has to be planned.
    """
