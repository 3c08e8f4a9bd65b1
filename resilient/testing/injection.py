"""
Failures on demand: what the attempts of a decorated function come to.
"""

from __future__ import annotations

import functools
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from resilient.errors import PolicyError
from resilient.policies.options import describe
from resilient.resilience import Resilience, resilience_of
from resilient.testing.blocks import Block

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

__all__ = ["inject", "ok", "returns"]


class _Ok:
    """
    The outcome of the real function.
    """

    def __repr__(self) -> str:
        return "ok"


ok: Final = _Ok()
"""
Among the outcomes of `inject`: call the real function.
"""


class returns:  # noqa: N801 - reads as a verb: inject(f, [returns(3)])
    """
    Among the outcomes of `inject`: return *value* without a call of the real function.

    Args:
        value: Anything.
    """

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value: object = value

    def __call__(self, *_args: object, **_kwargs: object) -> object:
        """
        Return the value, whatever the call's arguments.
        """
        return self.value

    def __repr__(self) -> str:
        return f"returns({self.value!r})"


def inject(fn: Callable[..., Any], outcomes: Iterable[Any]) -> Block[deque[Any]]:
    """
    Let the attempts of a decorated function have these outcomes first, then the real ones.

    The block hands over the outcomes that are left, in a deque that gets shorter.
    An injection into a method holds for all instances; blocks nest, and then the
    outer one's outcomes follow on the inner one's.

    Args:
        fn: A decorated function, sync or async, or a method.
        outcomes: In order: an exception class or object, which is raised; `ok`,
            which calls the real function; ``returns(value)``; or a function that is
            called in place of the real one, with its arguments.

    Raises:
        PolicyError: *fn* carries no policies, or an outcome is something else.
    """
    resilience = resilience_of(fn)
    # Behind a foreign decorator there may be more policies, nearer to the real function.
    while isinstance(inner := getattr(resilience.pipeline.fn, "resilience", None), Resilience):
        resilience = inner
    script = tuple(outcomes)
    problems = [problem for number, one in enumerate(script, 1) if (problem := _problem(number, one)) is not None]
    if problems:
        where = f"inject() into {resilience.name}"
        raise PolicyError(where, problems)
    return Block(f"inject() into {resilience.name}", lambda: _injected(resilience, script))


def _problem(number: int, outcome: Any) -> str | None:
    if isinstance(outcome, type) and issubclass(outcome, BaseException):
        try:
            outcome()
        except TypeError:
            return f"outcome {number}: {outcome.__name__} cannot be made without arguments; give an exception object"
    elif not callable(outcome) and not isinstance(outcome, BaseException | _Ok):
        return (
            f"outcome {number} must be an exception, ok, returns(value) or a function, got {describe(outcome)};"
            f" to have it returned, write returns({outcome!r})"
        )
    return None


@contextmanager
def _injected(resilience: Resilience[..., Any], script: tuple[Any, ...]) -> Generator[deque[Any]]:
    pipeline = resilience.pipeline
    previous = pipeline.override
    real: Callable[..., Any] = previous or pipeline.fn  # type: ignore[assignment]  # a decorated function has one
    left = deque(script)

    def upcoming() -> Callable[..., Any]:
        """
        Return what is called in place of the real function, or raise.
        """
        try:
            outcome = left.popleft()
        except IndexError:
            return real
        if isinstance(outcome, BaseException) or (isinstance(outcome, type) and issubclass(outcome, BaseException)):
            raise outcome
        return real if outcome is ok else outcome

    def injected(*args: Any, **kwargs: Any) -> Any:
        return upcoming()(*args, **kwargs)

    async def ainjected(*args: Any, **kwargs: Any) -> Any:
        function = upcoming()
        result = function(*args, **kwargs)
        return await result if hasattr(result, "__await__") and not isinstance(function, returns) else result

    def override(function: Callable[..., Any] | None) -> None:
        pipeline.override = function
        pipeline.refresh()

    # Policies look at the function's parameters and name.
    override(functools.update_wrapper(ainjected if resilience.is_async else injected, real, updated=()))
    try:
        yield left
    finally:
        override(previous)
