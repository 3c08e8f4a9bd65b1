"""
The time that a health snapshot takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results import Result, whole
from benchmarks.stopwatch import Case
from resilient import Registry

if TYPE_CHECKING:
    from benchmarks.stopwatch import Stopwatch

__all__ = ["QUESTION", "ask"]

QUESTION = "snapshot"


def _registry(circuits: int, chains: int) -> Registry:
    registry = Registry("snapshot")
    for number in range(circuits):
        registry.circuit(f"circuit {number}")
    for number in range(chains):
        registry.chain(f"chain {number}")
    return registry


def ask(watch: Stopwatch, *, with_peers: bool) -> list[Result]:  # noqa: ARG001 - every question is asked alike
    """
    Measure `Registry.health` with many circuits and chains.
    """
    some, many = _registry(100, 50), _registry(1000, 0)
    bounds = {
        Case("100 circuits and 50 chains", lambda _: some.health(), count=2): "snapshot",
        Case("1,000 circuits", lambda _: many.health(), count=1): "large snapshot",
        Case("as JSON-ready dict, 100 circuits and 50 chains", lambda _: some.health().to_dict(), count=2): None,
    }
    race = watch.race("snapshot", list(bounds))
    return [whole(race, case, bound=bound) for case, bound in bounds.items()]
