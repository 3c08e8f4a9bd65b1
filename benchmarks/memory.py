"""
The memory that policies and remembered errors take.
"""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING, Any

from benchmarks import peers
from benchmarks.results import OURS, Result
from benchmarks.samples import Refused, stacked
from resilient import ErrorAnalytics, ErrorCategory, ErrorSeverity, Registry, circuit, retry
from resilient.testing import no_waits

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.stopwatch import Stopwatch

__all__ = ["QUESTION", "ask"]

QUESTION = "memory"

_FUNCTIONS = 100
_KIB = 1024
_WINDOW = 100


def _held(make: Callable[[int], Any], count: int) -> float:
    """
    Return the bytes that one of *count* made things keeps.
    """
    # What is made once, at the first of its kind, is not counted.
    kept = [make(-1), make(-2)]
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = [make(number) for number in range(count)]
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del kept
    return (after - before) / count


def _raw(number: int) -> Callable[..., Any]:
    """
    Return a function of its own name.
    """

    def render(quality: float = 1.0) -> float:
        if not quality:
            raise Refused("the renderer refused")
        return quality

    render.__qualname__ = render.__name__ = f"render_{number}"
    return render


def _after(raws: dict[int, Callable[..., Any]], decorate: Callable[..., Any]) -> Callable[[int], Any]:
    return lambda number: decorate(raws[number])


def _failed(fn: Callable[..., Any]) -> Callable[..., Any]:
    """
    Return *fn* after a call that failed and was saved by the fallback.
    """
    fn(0.0)
    return fn


def _filled(fn: Callable[..., Any]) -> Callable[..., Any]:
    """
    Return *fn*, called until its circuit's window is full.
    """
    for _ in range(_WINDOW):
        fn()
    return fn


def _errors(_: int) -> ErrorAnalytics:
    """
    Return analytics that hold 1,000 errors of 100 characters from 50 functions.
    """
    analytics = ErrorAnalytics()
    for number in range(1000):
        function, message = f"engine:render_{number % 50}", f"{number:0100d}"
        analytics.record(function, "ConnectionError", message, ErrorCategory.NETWORK, ErrorSeverity.MEDIUM)
    return analytics


def ask(watch: Stopwatch, *, with_peers: bool) -> list[Result]:  # noqa: ARG001 - every question is asked alike
    """
    Measure what decorated functions and the errors' history keep allocated.
    """
    registry = Registry("memory")
    # Raw functions are the caller's own: they are made before anything is counted.
    raws = {number: _raw(number) for number in range(-2, _FUNCTIONS)}

    def function(decorate: Callable[..., Any]) -> float:
        return _held(_after(raws, decorate), _FUNCTIONS)

    five = function(lambda fn: stacked(fn, registry))
    with no_waits():
        failed = function(lambda fn: _failed(stacked(fn, registry)))
    rate = {"failure_rate": 0.5, "window": _WINDOW}
    counting = function(lambda fn: _filled(stacked(fn, registry, **rate)))
    timing = function(lambda fn: _filled(stacked(fn, registry, failure_rate=0.5, window="60s")))
    single = {
        "@retry": function(retry(registry=registry)),
        "@circuit": function(circuit(registry=registry)),
    }
    sizes: list[tuple[str, str, float, str | None]] = [
        (OURS, "a function with all five policies and its own circuit", five, "function"),
        (OURS, "the same after a call that failed", failed, None),
        (OURS, "more with a window of 100 calls, full", counting - five, "window"),
        (OURS, "more with a time window", timing - five, None),
        *((OURS, f"a function with {name}", size, None) for name, size in single.items()),
        (OURS, "1,000 remembered errors of 100 characters", _held(_errors, 3), "errors"),
    ]
    if with_peers:
        sizes += [(who, name, _held(make, _FUNCTIONS), None) for who, name, make in peers.memory(raws)]
    return [
        Result(name, size / _KIB, "KiB", bound=bound, who=who, detail=f"{size:,.0f} bytes")
        for who, name, size, bound in sizes
    ]
