"""
What grows with the number of functions, and with the depth of the stack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.results import Result, overhead, whole
from benchmarks.samples import Refused, failing, forever_closed, sample, stacked
from benchmarks.stopwatch import Case
from resilient import Registry, circuit

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.stopwatch import Stopwatch

__all__ = ["QUESTION", "ask"]

QUESTION = "scale"

_MANY = 1000


def _fresh(number: int) -> Callable[..., Any]:
    def render(value: int, quality: float = 1.0) -> float:
        return value * quality

    render.__qualname__ = f"render_{number}"
    return render


def _under(fn: Callable[[int], Any], frames: int) -> Callable[[int], Any]:
    """
    Return *fn*, called below so many frames more.
    """

    def descend(value: int, left: int) -> Any:
        return descend(value, left - 1) if left else fn(value)

    return lambda value: descend(value, frames)


def ask(watch: Stopwatch, *, with_peers: bool) -> list[Result]:  # noqa: ARG001 - every question is asked alike
    """
    Measure one function among many, deep stacks, shared circuits, and decoration itself.
    """
    fn = sample(is_async=False)
    alone, crowded = Registry("alone"), Registry("crowded")
    kept = [stacked(_fresh(number), crowded) for number in range(_MANY)]
    quiet = [
        Case("a success, the only decorated function", stacked(fn, alone)),
        Case("a success, one of 1,000 decorated functions", stacked(fn, crowded)),
    ]
    refused = failing(is_async=False)
    below = {depth: Registry(f"below {depth}") for depth in (0, 100, 1000 // 5)}
    fails = [
        Case(f"{what} below {depth} frames", _under(call, depth), raises=Refused, count=50)
        for depth, registry in below.items()
        for what, call in (("a bare failure", refused), ("a failure", forever_closed(registry)(refused)))
    ]
    sharing = [circuit("shared", registry=crowded)(_fresh(-number)) for number in range(1, 101)]
    shared = crowded.circuits["shared"]

    def flip(_: int) -> None:
        shared.isolate().release()

    changes = [
        Case("a circuit of 100 functions opened and closed", flip, count=10),
        Case("all five decorators put on a function", lambda number: stacked(_fresh(number), alone), count=5),
    ]
    race = watch.race("scale", [*quiet, *fails, *changes])
    del kept, sharing
    return [*(overhead(race, case) for case in quiet), *(whole(race, case) for case in (*fails, *changes))]
