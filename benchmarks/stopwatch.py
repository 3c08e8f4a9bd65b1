"""
A stopwatch for calls: interleaved rounds, the best of each, garbage collector off.

Other programs only ever make a sample slower, so the fastest of several is the
nearest to what the code costs. The cases of a race take turns, so that a slow
moment of the machine meets all of them and not the last one.
"""

from __future__ import annotations

import asyncio
import gc
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

from benchmarks.samples import closure, sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Case", "Race", "Stopwatch"]

_BARE = "bare"
_CLOSURE = "closure"


def _nothing() -> None:
    """
    Prepare nothing.
    """


@dataclass(frozen=True, slots=True)
class Case:
    """
    A call to be timed.

    Args:
        name: Its name, unique within its race.
        call: What is called, with 1 as its only argument.
        is_async: Whether what it returns is awaited.
        raises: What every call raises; None: it returns.
        count: Calls in one sample; a sample of a millisecond or two often fits
            between two interruptions, a longer one never does.
        samples: Samples in one round.
        prepare: Called before each sample, outside of the time taken.
    """

    name: str
    call: Callable[[int], Any]
    is_async: bool = False
    raises: type[Exception] | None = None
    count: int = 5_000
    samples: int = 5
    prepare: Callable[[], object] = _nothing


@dataclass(frozen=True, slots=True)
class Race:
    """
    The best times so far.

    Args:
        seconds: Per call, by the cases' names.
        bare: What a call of the bare function takes, by colour (is it async?).
        unit: What one plain closure adds to that, by colour.
    """

    seconds: dict[str, float]
    bare: dict[bool, float]
    unit: dict[bool, float]


def _references() -> dict[bool, tuple[Case, Case]]:
    pairs = {}
    for is_async in (False, True):
        fn = sample(is_async=is_async)
        wrapped = closure(fn, is_async=is_async)
        pairs[is_async] = (Case(_BARE, fn, is_async), Case(_CLOSURE, wrapped, is_async))
    return pairs


class Stopwatch:
    """
    Takes times, and remembers the best of each case.

    A race run again under the same name adds rounds to those it has had. The
    bare call and the plain closure run in every race, so that the unit is of
    the same minute as what is measured in it.

    Args:
        rounds: How often the cases of a race take turns; the garbage is
            collected between rounds.
        timer: Returns seconds.
        references: By colour: the bare call, and the same in a plain closure.
    """

    def __init__(
        self,
        rounds: int = 3,
        *,
        timer: Callable[[], float] = time.perf_counter,
        references: dict[bool, tuple[Case, Case]] | None = None,
    ) -> None:
        self.rounds = rounds
        self._timer = timer
        self._references = _references() if references is None else references
        self._best: dict[tuple[str, str], float] = {}
        self._runner = asyncio.Runner()

    def close(self) -> None:
        """
        Give the event loop back.
        """
        self._runner.close()

    def race(self, name: str, cases: Sequence[Case]) -> Race:
        """
        Sample *cases* in turns, and return the best time of each.

        Args:
            name: The race's name.
            cases: Who takes part.
        """
        colours = sorted({case.is_async for case in cases})
        field = [(f"{colour}", one) for colour in colours for one in self._references[colour]]
        field += [(name, case) for case in cases]
        with _without_collector():
            for _ in range(self.rounds):
                gc.collect()
                for turn in range(max(case.samples for _, case in field)):
                    for owner, case in field:
                        if turn < case.samples:
                            taken = self._sample(case)
                            key = (owner, case.name)
                            self._best[key] = min(self._best.get(key, math.inf), taken)
        seconds = {case.name: self._best[name, case.name] for case in cases}
        bare = {colour: self._best[f"{colour}", _BARE] for colour in colours}
        unit = {colour: self._best[f"{colour}", _CLOSURE] - bare[colour] for colour in colours}
        return Race(seconds, bare, unit)

    def unit(self, *, is_async: bool) -> float:
        """
        Return the seconds that one plain closure has added so far; NaN before the first race of that colour.
        """
        best = [self._best.get((f"{is_async}", name), math.nan) for name in (_CLOSURE, _BARE)]
        return best[0] - best[1]

    def _sample(self, case: Case) -> float:
        """
        Return the seconds that one call of *case* takes.
        """
        case.prepare()
        turns = repeat(None, case.count)
        if case.is_async:
            aloop = _awaited if case.raises is None else _awaited_failures
            taken = self._runner.run(aloop(case.call, turns, self._timer, case.raises))
        else:
            loop = _called if case.raises is None else _called_failures
            taken = loop(case.call, turns, self._timer, case.raises)
        return taken / case.count


# Four loops and not one with switches: each holds nothing but the call.


def _called(call: Any, turns: Any, timer: Any, _: Any) -> float:
    began = timer()
    for _ in turns:
        call(1)
    return float(timer() - began)


def _called_failures(call: Any, turns: Any, timer: Any, error: Any) -> float:
    began = timer()
    for _ in turns:
        try:
            call(1)
        except error:
            pass
    return float(timer() - began)


async def _awaited(call: Any, turns: Any, timer: Any, _: Any) -> float:
    began = timer()
    for _ in turns:
        await call(1)
    return float(timer() - began)


async def _awaited_failures(call: Any, turns: Any, timer: Any, error: Any) -> float:
    began = timer()
    for _ in turns:
        try:
            await call(1)
        except error:
            pass
    return float(timer() - began)


@contextmanager
def _without_collector() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
