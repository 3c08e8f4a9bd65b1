"""
The cost of three attempts, of which two fail, without waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import peers
from benchmarks.results import Result, whole
from benchmarks.samples import flaky, forever_closed
from benchmarks.stopwatch import Case
from resilient import Registry, retry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.stopwatch import Stopwatch

__all__ = ["QUESTION", "ask"]

QUESTION = "retry_storm"

_COUNT = 100


def _cases(*, is_async: bool) -> Iterator[tuple[Case, str | None]]:
    """
    Yield each case with the name of its bound.
    """
    colour = "async" if is_async else "sync"

    def case(name: str, call: Any) -> Case:
        return Case(f"{name}, {colour}", call, is_async, count=_COUNT)

    registry = Registry("storm")
    at_once = retry(max_attempts=3, initial_delay=0.0, registry=registry)
    yield case("@retry", at_once(flaky(is_async=is_async))), f"retry storm, {colour}"
    yield case("@retry over @circuit", at_once(forever_closed(registry)(flaky(is_async=is_async)))), None


def ask(watch: Stopwatch, *, with_peers: bool) -> list[Result]:
    """
    Measure calls whose third attempt succeeds; tenacity decides, and all is recorded.
    """
    results = []
    for is_async in (False, True):
        ours = list(_cases(is_async=is_async))
        theirs = list(peers.retry_storm(is_async=is_async)) if with_peers else []
        with peers.no_sleeps():
            race = watch.race(f"storm {is_async}", [*(case for case, _ in ours), *(case for _, case in theirs)])
        results += [whole(race, case, bound=bound) for case, bound in ours]
        results += [whole(race, case, who=who) for who, case in theirs]
    return results
