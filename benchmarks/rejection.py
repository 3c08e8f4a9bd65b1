"""
The cost of a rejection by an open circuit, raised and caught.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import peers
from benchmarks.results import Result, whole
from benchmarks.samples import raising, sample
from benchmarks.stopwatch import Case
from resilient import CircuitBreakerOpenError, Registry, circuit, retry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.stopwatch import Stopwatch

__all__ = ["QUESTION", "ask"]

QUESTION = "rejection"

_COUNT = 1_000
_YEAR = 31_536_000.0


def _cases(*, is_async: bool) -> Iterator[tuple[Case, str | None]]:
    """
    Yield each case with the name of its bound.
    """
    colour = "async" if is_async else "sync"
    bound = f"rejection, {colour}"

    def case(name: str, call: Any) -> Case:
        return Case(f"{name}, {colour}", call, is_async, CircuitBreakerOpenError, _COUNT)

    fn = sample(is_async=is_async)
    registry = Registry("rejection")
    floor = raising(CircuitBreakerOpenError("floor", 1.0, "text"), is_async=is_async)
    yield case("the error alone, raised and caught", floor), None
    through = circuit("opened", registry=registry, open_for=_YEAR)
    opened, retried = through(fn), retry(through(fn))
    registry.circuits["opened"].state = "open"
    yield case("open circuit", opened), bound
    yield case("open circuit under @retry", retried), None
    isolated = circuit("isolated", registry=registry)(fn)
    registry.circuits["isolated"].isolate()
    yield case("isolated circuit", isolated), bound


def ask(watch: Stopwatch, *, with_peers: bool) -> list[Result]:
    """
    Measure calls that an open circuit does not admit.
    """
    results = []
    for is_async in (False, True):
        ours = list(_cases(is_async=is_async))
        theirs = list(peers.rejection(is_async=is_async)) if with_peers else []
        race = watch.race(f"rejection {is_async}", [*(case for case, _ in ours), *(case for _, case in theirs)])
        results += [whole(race, case, bound=bound) for case, bound in ours]
        results += [whole(race, case, who=who) for who, case in theirs]
    return results
