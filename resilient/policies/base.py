"""
The commands that a policy's plan may yield, and the outcomes that it is sent for them.

A policy is written once, for sync and async alike. Its plan is a generator; the
drivers (`resilient.drivers`) run the commands it yields, and send back what came
of each. Plans nest with ``yield from``.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future
    from types import TracebackType

    from resilient.classify import Classification

__all__ = ["Await", "Call", "Command", "Outcome", "Plan", "Raised", "Returned", "Sleep", "free_frames", "traceback_of"]

# How many errors behind and within one have their frames freed.
_ERRORS = 64

# C getters that no property or __getattribute__ of an error's class can stand in front of.
traceback_of: Callable[[BaseException], TracebackType | None] = BaseException.__dict__["__traceback__"].__get__
_cause_of: Callable[[BaseException], BaseException | None] = BaseException.__dict__["__cause__"].__get__
_context_of: Callable[[BaseException], BaseException | None] = BaseException.__dict__["__context__"].__get__
_members_of: Callable[[BaseException], tuple[BaseException, ...]] = BaseExceptionGroup.__dict__["exceptions"].__get__


def free_frames(error: BaseException) -> None:
    """
    Drop the variables of the frames that *error* holds, itself and by the errors that it was raised from or is made of.
    """
    errors = [error]
    for _ in range(_ERRORS):
        if not errors:
            return
        one = errors.pop()
        traceback.clear_frames(traceback_of(one))
        if issubclass(type(one), BaseExceptionGroup):
            errors += _members_of(one)
        cause = _cause_of(one)
        # Not `or`: an error may be false, or refuse to tell.
        inner = _context_of(one) if cause is None else cause
        if inner is not None:
            errors.append(inner)


class Call:
    """
    Call user code; awaited where it returns an awaitable to an async driver.

    Args:
        fn: What to call.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        timeout: Seconds after which an async call is cancelled and, its cleanup
            done, answered with ``Raised(TimeoutError)``; a sync one cannot be
            stopped and runs on. None: no limit.

    Attributes:
        expired: Whether *timeout* is why it failed: an error of the same type may
            come out of what was called.
    """

    __slots__ = ("args", "expired", "fn", "kwargs", "timeout")

    def __init__(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> None:
        self.fn: Callable[..., Any] = fn
        self.args: tuple[Any, ...] = args
        self.kwargs: Mapping[str, Any] = {} if kwargs is None else kwargs
        self.timeout: float | None = timeout
        self.expired: bool = False


class Sleep:
    """
    Wait *seconds* on the registry's clock. Answered with ``Returned(None)``.
    """

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds: float = seconds


class Await:
    """
    Wait for another thread's or task's future, without blocking an event loop.

    Answered with the future's result or error, or ``Raised(TimeoutError)``.

    Args:
        future: What to wait for; it is never cancelled from here.
        timeout: Seconds to wait at most, as the machine counts them; None: no limit.
        until: When that is on the registry's clock, in monotonic seconds; None: *timeout* from when the wait begins.
            A sync wait ends at whichever comes first.
    """

    __slots__ = ("future", "timeout", "until")

    def __init__(self, future: Future[Any], timeout: float | None = None, until: float | None = None) -> None:
        self.future: Future[Any] = future
        self.timeout: float | None = timeout
        self.until: float | None = until


class Returned:
    """
    The outcome of something that returned *value*.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value: Any = value


class Raised:
    """
    The outcome of something that raised *error*.

    Plans only ever see an `Exception`: anything else closes them.

    Args:
        error: The exception. Whoever starts another attempt drops this object
            first: the traceback keeps the failed call's frames alive.
        verdict: How it was classified, once somebody has asked.

    Attributes:
        recorded: Whether an operation has recorded the error, this one or one within it.
    """

    __slots__ = ("error", "recorded", "verdict")

    def __init__(self, error: Any, verdict: Classification | None = None) -> None:
        self.error: Any = error
        self.verdict: Classification | None = verdict
        self.recorded: bool = False


Command: TypeAlias = Call | Sleep | Await
Outcome: TypeAlias = Returned | Raised
Plan: TypeAlias = Generator[Command, Outcome, Outcome]
