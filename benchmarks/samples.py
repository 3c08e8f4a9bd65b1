"""
The functions that are timed, bare, in a plain closure, and under policies.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

from resilient import circuit, degradable, fallback_chain, recoverable, retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilient import Registry

__all__ = [
    "Refused",
    "bare",
    "closure",
    "failing",
    "flaky",
    "forever_closed",
    "one_each",
    "placeholder",
    "raising",
    "sample",
    "stacked",
]

# One that the classifier knows as transient, as a network raises it.
Refused = ConnectionRefusedError

# No benchmark fails that often: a circuit with this threshold stays closed.
_NEVER = 1_000_000


def bare(value: int, quality: float = 1.0) -> int:  # noqa: ARG001 - @degradable needs something to adjust
    """
    Return at once: what is timed is what lies around it.
    """
    return value


async def abare(value: int, quality: float = 1.0) -> int:  # noqa: ARG001 - as `bare`
    """
    Do the same, async.
    """
    return value


def sample(*, is_async: bool) -> Callable[..., Any]:
    """
    Return the bare function of a colour.
    """
    return abare if is_async else bare


def closure(fn: Callable[..., Any], *, is_async: bool) -> Callable[..., Any]:
    """
    Return *fn* in the simplest wrapper there is: its overhead is the unit.
    """
    if is_async:

        @functools.wraps(fn)
        async def awrapper(*args: Any, **kwargs: Any) -> Any:
            return await fn(*args, **kwargs)

        return awrapper

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return wrapper


def failing(*, is_async: bool) -> Callable[..., Any]:
    """
    Return a function that always fails.
    """
    if is_async:

        async def arefused(value: int) -> int:
            raise Refused("the renderer refused frame " + str(value))

        return arefused

    def refused(value: int) -> int:
        raise Refused("the renderer refused frame " + str(value))

    return refused


def flaky(*, is_async: bool) -> Callable[..., Any]:
    """
    Return a function that fails twice, then returns, and so on.
    """
    fails = itertools.cycle((True, True, False))
    if is_async:

        async def aflaky(value: int) -> int:
            if next(fails):
                raise Refused("the renderer refused")
            return value

        return aflaky

    def flaky(value: int) -> int:
        if next(fails):
            raise Refused("the renderer refused")
        return value

    return flaky


def placeholder(value: int, quality: float = 1.0) -> int:  # noqa: ARG001 - fallbacks take the call's arguments
    """
    Stand for a result.
    """
    return -value


def one_each(registry: Registry) -> dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]]:
    """
    Return each decorator alone, by name.
    """
    return {
        "@retry": retry(registry=registry),
        "@circuit": circuit(registry=registry),
        "@fallback_chain": fallback_chain(placeholder, registry=registry),
        "@degradable": degradable(registry=registry),
        "@recoverable": recoverable(registry=registry),
    }


def stacked(fn: Callable[..., Any], registry: Registry, **circuit_options: Any) -> Callable[..., Any]:
    """
    Return *fn* under all five decorators, in the recommended order.
    """
    # One by one, as `@` does it: what a decorator was put on is gone when the next one is.
    for decorator in (
        circuit(registry=registry, **circuit_options),
        retry,
        recoverable,
        fallback_chain(placeholder),
        degradable,
    ):
        fn = decorator(fn)
    return fn


def forever_closed(registry: Registry, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """
    Return a circuit decorator that no benchmark opens.
    """
    return circuit(registry=registry, failure_threshold=_NEVER, **options)


def raising(error: Exception, *, is_async: bool) -> Callable[..., Any]:
    """
    Return a function that raises a new error of the type and arguments of *error*: the floor under every rejection.
    """
    kind, arguments = type(error), error.args
    if is_async:

        async def araises(_: int) -> None:
            raise kind(*arguments)

        return araises

    def raises(_: int) -> None:
        raise kind(*arguments)

    return raises
