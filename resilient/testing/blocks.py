"""
Blocks of code under test conditions, and the ones that turn the switches of `resilient.modes`.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from resilient.errors import PolicyError
from resilient.modes import switched
from resilient.policies.checks import integer
from resilient.policies.options import describe

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType

__all__ = ["Block", "attempts", "disabled", "no_waits"]

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


class Block(Generic[T]):
    """
    A stretch of code under test conditions: ``with``, ``async with``, or a decorator.

    Args:
        name: What makes it, for people.
        enter: Makes the context manager of one entry.
    """

    def __init__(self, name: str, enter: Callable[[], AbstractContextManager[T]]) -> None:
        self._name = name
        self._enter = enter
        self._entered: list[AbstractContextManager[T]] = []

    def __repr__(self) -> str:
        return f"<{self._name}{', entered' if self._entered else ''}>"

    def __enter__(self) -> T:
        manager = self._enter()
        value = manager.__enter__()
        self._entered.append(manager)
        return value

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._entered.pop().__exit__(kind, error, tb)

    async def __aenter__(self) -> T:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, tb)

    def __call__(self, fn: Callable[P, R]) -> Callable[P, R]:
        """
        Return *fn* with each of its calls in this block.
        """
        if inspect.iscoroutinefunction(fn):

            @functools.wraps(fn)
            async def awithin(*args: Any, **kwargs: Any) -> Any:
                with self._enter():
                    return await fn(*args, **kwargs)

            return awithin  # type: ignore[return-value]

        @functools.wraps(fn)
        def within(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._enter():
                return fn(*args, **kwargs)

        return within


def no_waits() -> Block[None]:
    """
    Let every retry follow at once, in the whole process.
    """
    return Block("no_waits()", lambda: switched("no_waits", True))  # noqa: FBT003 - a switch's value


def disabled() -> Block[None]:
    """
    Call raw functions only, in the whole process, as ``RESILIENT_DISABLED=1`` does.
    """
    return Block("disabled()", lambda: switched("disabled", True))  # noqa: FBT003 - a switch's value


def attempts(n: int) -> Block[None]:
    """
    Let *n* stand for every retry's ``max_attempts``, in the whole process.

    Raises:
        PolicyError: *n* is no integer of at least 1.
    """
    try:
        integer(minimum=1)(n)
    except ValueError as error:
        msg = f"attempts(): n {error}, got {describe(n)}"
        raise PolicyError(msg) from None
    return Block(f"attempts({n})", lambda: switched("attempts", n))
