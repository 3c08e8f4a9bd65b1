"""
The cost of a call that succeeds.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks import peers
from benchmarks.results import Result, overhead
from benchmarks.samples import abare, one_each, sample, stacked
from benchmarks.stopwatch import Case
from resilient import Registry, circuit, timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.stopwatch import Stopwatch

__all__ = ["QUESTION", "ask"]

QUESTION = "success"


def _cases(*, is_async: bool) -> Iterator[tuple[Case, str | None]]:
    """
    Yield each case with the name of its bound.
    """
    colour = "async" if is_async else "sync"

    def case(name: str, call: Callable[..., object]) -> Case:
        return Case(f"{name}, {colour}", call, is_async)

    fn = sample(is_async=is_async)
    registry = Registry("success")
    for name, decorator in one_each(registry).items():
        yield case(name, decorator(fn)), "one policy"
    yield case("all five", stacked(fn, registry)), "five policies"
    heard = Registry("heard")
    heard.on(print)
    yield case("all five, somebody listens", stacked(fn, heard)), "five policies"
    timed = circuit(registry=registry, window="60s", slow_call=1.0, slow_call_rate=0.5)
    yield case("@circuit, time window and slow calls", timed(fn)), f"time window, {colour}"
    counted = circuit(registry=registry, window=100, failure_rate=0.5)
    yield case("@circuit, rate of the last 100 calls", counted(fn)), None
    if is_async:
        # No bound: a timer for each call costs what it costs, and this tells how much of it is ours.
        yield case("asyncio.timeout, around the bare call", _limited), None
        yield case("@timeout", timeout(_LONG, registry=registry)(fn)), None
        yield case("all five over @timeout", stacked(timeout(_LONG, registry=registry)(fn), registry)), None


# Seconds that no call takes.
_LONG = 3600.0


async def _limited(value: int) -> int:
    async with asyncio.timeout(_LONG):
        return await abare(value)


def ask(watch: Stopwatch, *, with_peers: bool) -> list[Result]:
    """
    Measure each decorator alone, all five stacked, and circuits that learn from successes.
    """
    results = []
    for is_async in (False, True):
        colour = "async" if is_async else "sync"
        ours = list(_cases(is_async=is_async))
        theirs = list(peers.success(is_async=is_async)) if with_peers else []
        race = watch.race(f"success, {colour}", [*(case for case, _ in ours), *(case for _, case in theirs)])
        results += [overhead(race, case, bound=bound) for case, bound in ours]
        quiet, heard = (race.seconds[f"all five{tail}, {colour}"] for tail in ("", ", somebody listens"))
        added = heard - quiet
        results.append(
            Result(f"what a listener adds, {colour}", added / race.unit[is_async], seconds=added, bound="listener")
        )
        results += [overhead(race, case, who=who) for who, case in theirs]
    return results
