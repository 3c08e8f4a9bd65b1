"""
What arrives at the caller: results, errors, and their tracebacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilient.testing.battery.check import promise
from resilient.text import safe_repr, type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilient.testing.battery.trial import Ending, Trial

__all__ = ["CHECKS"]

# Two of a frame of ours for each time that an error is raised: the wrapper's and the pipeline's.
_FRAMES = 2


class _OddError(Exception):
    """
    An error that no policy knows of.
    """


class _UntoldError(Exception):
    """
    An error that cannot be told.
    """

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class _UntoldNetworkError(_UntoldError, ConnectionError):
    """
    One that is worth another attempt.
    """


class _Contrary:
    """
    A value that refuses to be looked at.
    """

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise ValueError("neither true nor false")

    def __eq__(self, other: object) -> bool:
        raise ValueError("equal to nothing")


@promise("a result arrives as the very object that the function returned")
def results_arrive(trial: Trial) -> None:
    """
    Return objects of all kinds, None and an exception among them.
    """
    for value in (object(), [], None, 0, "", ValueError("a value"), _Contrary(), int):
        ending = trial.call(trial.function(_returns(value)))
        if not ending.refused and (ending.error is not None or ending.value is not value):
            trial.broken(f"where it returned {safe_repr(value, 80)}, there was {ending}")


def _returns(value: object) -> Callable[..., object]:
    return lambda *_args, **_kwargs: value


def _raising(trial: Trial, *kinds: type[Exception]) -> list[tuple[Ending, list[Exception]]]:
    """
    Return what calls came to that raise these errors, and the errors that each has raised.
    """
    found: list[tuple[Ending, list[Exception]]] = []
    for kind in kinds:
        raised: list[Exception] = []

        def body(*_args: Any, kind: type[Exception] = kind, raised: list[Exception] = raised, **_kwargs: Any) -> None:
            raised.append(kind("down"))
            raise raised[-1]

        found.append((trial.call(trial.function(body)), raised))
    return found


def _changed(ending: Ending, raised: list[Exception]) -> bool:
    # A result stands in for it, and an error of ours tells of it.
    error = ending.error
    return not (error is None or ending.ours or any(one is error for one in raised))


def _expect(trial: Trial, *kinds: type[Exception]) -> None:
    for (ending, raised), kind in zip(_raising(trial, *kinds), kinds, strict=True):
        if _changed(ending, raised):
            trial.broken(f"where it raised {kind.__name__}, there was {ending}")


_USUAL = (ConnectionError, TimeoutError, ValueError, KeyError, _OddError)


@promise("an Exception arrives as itself, or as a ResilientError, or is stood in for by a result")
def errors_arrive(trial: Trial) -> None:
    """
    Raise errors that are worth another attempt, and such that are not.
    """
    _expect(trial, *_USUAL)


@promise("StopIteration and StopAsyncIteration, raised by the function, arrive as themselves")
def stop_iterations_arrive(trial: Trial) -> None:
    """
    Raise what would end a generator that it is thrown into, or raised in.
    """
    # Python itself turns the first one into a RuntimeError where a coroutine function raises it.
    _expect(trial, StopAsyncIteration, *(() if trial.is_async else (StopIteration,)))


@promise("an exception whose __str__ and __repr__ raise arrives as itself")
def errors_without_text_arrive(trial: Trial) -> None:
    """
    Raise errors that raise where somebody wants to tell of them.
    """
    _expect(trial, _UntoldError, _UntoldNetworkError)


@promise("an error that arrives as itself has at most two frames of ours in its traceback")
def tracebacks_are_short(trial: Trial) -> None:
    """
    Count the frames between the caller's and the function's.
    """
    for ending, raised in _raising(trial, *_USUAL):
        # An error of ours, or another one, has a traceback of its own.
        frames = trial.frames(ending.error) if any(one is ending.error for one in raised) else 0  # type: ignore[arg-type]
        if frames > _FRAMES:
            trial.broken(f"{type_name(raised[-1])} had {frames}")


CHECKS = (results_arrive, errors_arrive, stop_iterations_arrive, errors_without_text_arrive, tracebacks_are_short)
