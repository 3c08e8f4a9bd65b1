"""
The cost of a call that fails: classified, recorded, and counted by a closed circuit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import peers
from benchmarks.results import Result, whole
from benchmarks.samples import Refused, failing, forever_closed
from benchmarks.stopwatch import Case
from resilient import Registry, fallback_chain, retry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.stopwatch import Stopwatch

__all__ = ["QUESTION", "ask"]

QUESTION = "failure"

_COUNT = 200


def _none(_: int) -> None:
    """
    Stand for a result.
    """


def _cases(*, is_async: bool) -> Iterator[tuple[Case, str | None]]:
    """
    Yield each case with the name of its bound.
    """
    colour = "async" if is_async else "sync"
    bound = f"failure, {colour}"

    def case(name: str, call: Any, raises: type[Exception] | None = Refused) -> Case:
        return Case(f"{name}, {colour}", call, is_async, raises, _COUNT)

    fn = failing(is_async=is_async)
    registry = Registry("failure")
    yield case("the failing call alone", fn), None
    # A count of consecutive failures makes the next call a planned one; a time window does not.
    yield case("closed circuit, first failure", forever_closed(registry, window="60s")(fn)), bound
    yield case("closed circuit, failure after failure", forever_closed(registry)(fn)), bound
    yield case("@retry, one attempt", retry(max_attempts=1, registry=registry)(fn)), None
    yield case("@fallback_chain, first fallback", fallback_chain(_none, registry=registry)(fn), None), None


def ask(watch: Stopwatch, *, with_peers: bool) -> list[Result]:
    """
    Measure failing calls; nobody listens, and logging is not configured.
    """
    results = []
    for is_async in (False, True):
        ours = list(_cases(is_async=is_async))
        theirs = list(peers.failure(is_async=is_async)) if with_peers else []
        race = watch.race(f"failure {is_async}", [*(case for case, _ in ours), *(case for _, case in theirs)])
        results += [whole(race, case, bound=bound) for case, bound in ours]
        results += [whole(race, case, who=who) for who, case in theirs]
    return results
