"""
Whether threads stand in each other's way at a circuit that they share.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from benchmarks import peers
from benchmarks.results import OURS, Result, duration
from benchmarks.stopwatch import Case
from resilient import Registry, circuit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.stopwatch import Stopwatch

__all__ = ["QUESTION", "ask"]

QUESTION = "threads"

_THREADS = 8
_CALLS = 20
_SECONDS = 0.01


def _waits(_: int) -> None:
    time.sleep(_SECONDS)


def _crowd(call: Callable[[int], object]) -> Callable[[int], None]:
    """
    Return what makes the calls of all threads, and waits for them.
    """

    def work() -> None:
        for _ in range(_CALLS):
            call(1)

    def run(_: int) -> None:
        threads = [threading.Thread(target=work) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return run


def ask(watch: Stopwatch, *, with_peers: bool) -> list[Result]:
    """
    Measure the wall time of many threads that wait inside one circuit, over the same without it.
    """
    registry = Registry("threads")
    crowds: Sequence[tuple[str, str, Callable[[int], object]]] = [
        (OURS, "@circuit, closed", circuit("shared", registry=registry)(_waits)),
        (OURS, "@circuit, time window and slow calls", circuit(window="60s", slow_call=1.0, registry=registry)(_waits)),
        *(peers.threads(_waits) if with_peers else ()),
    ]
    cases = [Case("no circuit", _crowd(_waits), count=1, samples=1)]
    cases += [Case(name, _crowd(call), count=1, samples=1) for _, name, call in crowds]
    race = watch.race("threads", cases)
    alone = race.seconds["no circuit"]
    return [
        Result(
            f"{name}: {_THREADS} x {_CALLS} x {duration(_SECONDS)}",
            race.seconds[name] / alone,
            "x",
            race.seconds[name],
            "threads" if who == OURS else None,
            who,
        )
        for who, name, _ in crowds
    ]
