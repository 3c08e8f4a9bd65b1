"""
What a method costs more than a function.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.results import Result
from benchmarks.samples import one_each, sample, stacked
from benchmarks.stopwatch import Case
from resilient import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.stopwatch import Stopwatch

__all__ = ["QUESTION", "ask"]

QUESTION = "methods"


class _Bare:
    """
    An object with bare methods.
    """

    def method(self, value: int, quality: float = 1.0) -> int:  # noqa: ARG002 - what is decorated has both
        """
        Return at once.
        """
        return value

    async def amethod(self, value: int, quality: float = 1.0) -> int:  # noqa: ARG002 - as above
        """
        Return at once, async.
        """
        return value


def _bound(decorate: Callable[[Callable[..., object]], object], *, is_async: bool) -> Callable[[int], object]:
    """
    Return the decorated method of an object, bound anew at each call.
    """
    raw = _Bare.amethod if is_async else _Bare.method
    one = type("Engine", (), {"method": decorate(raw)})()
    if is_async:

        async def acall(value: int) -> object:
            return await one.method(value)

        return acall

    def call(value: int) -> object:
        return one.method(value)

    return call


def ask(watch: Stopwatch, *, with_peers: bool) -> list[Result]:  # noqa: ARG001 - every question is asked alike
    """
    Measure what policies add to a bound method, next to what they add to a function.
    """
    results = []
    for is_async in (False, True):
        colour = "async" if is_async else "sync"
        registry = Registry("methods")
        stacks: dict[str, Callable[..., Any]] = {
            "@circuit": one_each(registry)["@circuit"],
            "all five": partial(stacked, registry=registry),
        }
        fn = sample(is_async=is_async)
        cases = [Case("bare method", _bound(lambda raw: raw, is_async=is_async), is_async)]
        for name, decorate in stacks.items():
            cases.append(Case(f"function, {name}", decorate(fn), is_async))
            cases.append(Case(f"method, {name}", _bound(decorate, is_async=is_async), is_async))
        race = watch.race(f"methods {is_async}", cases)
        seconds, unit = race.seconds, race.unit[is_async]
        for name in stacks:
            method = seconds[f"method, {name}"] - seconds["bare method"]
            more = method - (seconds[f"function, {name}"] - race.bare[is_async])
            results.append(Result(f"{name} on a method, {colour}", method / unit, seconds=method))
            difference = f"{name}, more than on a function, {colour}"
            results.append(Result(difference, more / unit, seconds=more, bound="method"))
    return results
