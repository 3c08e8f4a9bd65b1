"""
The errors that can be recorded in a second.
"""

from __future__ import annotations

import threading
from itertools import cycle
from typing import TYPE_CHECKING

from benchmarks.results import Result
from benchmarks.stopwatch import Case
from resilient import ErrorAnalytics, ErrorCategory, ErrorSeverity

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.stopwatch import Stopwatch

__all__ = ["QUESTION", "ask"]

QUESTION = "recording"

_COUNT = 2_000
_THREADS = 4


def _recorder(analytics: ErrorAnalytics) -> Callable[[int], None]:
    """
    Return what records an error, of one of twelve functions and three types.
    """
    functions = cycle([f"engine:render_{number}" for number in range(12)])
    types = cycle(["ConnectionError", "TimeoutError", "ValueError"])

    def record(_: int) -> None:
        analytics.record(
            next(functions), next(types), "the renderer refused", ErrorCategory.NETWORK, ErrorSeverity.MEDIUM
        )

    return record


def _crowd(_: int) -> None:
    """
    Record as many errors as one sample does, from several threads.
    """
    analytics = ErrorAnalytics()

    def work() -> None:
        record = _recorder(analytics)
        for _ in range(_COUNT // _THREADS):
            record(1)

    threads = [threading.Thread(target=work) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def ask(watch: Stopwatch, *, with_peers: bool) -> list[Result]:  # noqa: ARG001 - every question is asked alike
    """
    Measure `ErrorAnalytics.record`, as every failed attempt calls it.
    """
    alone = Case("one thread", _recorder(ErrorAnalytics()), count=_COUNT)
    crowd = Case(f"{_THREADS} threads", _crowd, count=1)
    race = watch.race("recording", [alone, crowd])
    taken = {"one thread": race.seconds[alone.name], crowd.name: race.seconds[crowd.name] / _COUNT}
    return [
        Result(
            f"an error recorded, {name}",
            seconds / race.unit[False],
            seconds=seconds,
            bound="recording" if name == alone.name else None,
            detail=f"{1 / seconds:,.0f} a second",
        )
        for name, seconds in taken.items()
    ]
