"""
What a pipeline counts: every call by one atomic step, everything else under a lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from resilient.ticks import Ticks

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from resilient.operation import Operation

__all__ = ["Counts", "Stats"]


class Stats:
    """
    What a pipeline has counted.

    Args:
        calls: Calls made, those in flight included.
        attempts: Calls of the function itself.
        retries: Attempts that a retry asked for.
        failures: Calls that raised to their caller.
        rejected: Calls of the function that a circuit did not admit.
        recovered: Calls that returned although an attempt had failed.
        fallbacks: Calls of fallback entries.
    """

    __slots__ = ("attempts", "calls", "failures", "fallbacks", "recovered", "rejected", "retries")

    def __init__(
        self,
        calls: int = 0,
        attempts: int = 0,
        retries: int = 0,
        failures: int = 0,
        *,
        rejected: int = 0,
        recovered: int = 0,
        fallbacks: int = 0,
    ) -> None:
        self.calls: int = calls
        self.attempts: int = attempts
        self.retries: int = retries
        self.failures: int = failures
        self.rejected: int = rejected
        self.recovered: int = recovered
        self.fallbacks: int = fallbacks

    def to_dict(self) -> dict[str, int]:
        """
        Return the counts by name.
        """
        return {name: getattr(self, name) for name in self.__slots__}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stats) and self.to_dict() == other.to_dict()

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # counts change

    def __repr__(self) -> str:
        return f"Stats({', '.join(f'{name}={value}' for name, value in self.to_dict().items())})"


# What most functions have to add; never changed.
_NOTHING = Stats()


class Counts:
    """
    The counts of one pipeline.

    A quiet call takes a number of `ticks` and nothing else, a call that an open
    circuit turned away at once also one of `rejections`, and one whose only
    attempt failed one of `lost`, both made at the first of their calls; what
    other operations have to count is added under a lock when they end.

    Args:
        ticks: Where calls take their numbers from.
        lock: The pipeline's.
    """

    __slots__ = ("_added", "_forgotten", "_lock", "_lost", "_planned", "rejections", "ticks")

    def __init__(self, ticks: Ticks, lock: AbstractContextManager[Any]) -> None:
        self.ticks: Ticks = ticks
        self.renew_lock(lock)
        self._zero()

    def renew_lock(self, lock: AbstractContextManager[Any]) -> None:
        """
        Take the pipeline's fresh lock.
        """
        self._lock = lock

    def _zero(self) -> None:
        # Numbers go on after a reset, for ids are made of them. First, for `add`
        # takes a look at it after it has taken what it counts in.
        self._forgotten = self.ticks.taken
        self.rejections: Ticks | None = None
        self._lost: Ticks | None = None
        self._added = _NOTHING
        self._planned = 0

    def first_rejection(self) -> Ticks:
        """
        Return `rejections`, made now if there were none.
        """
        ticks = Ticks()
        with self._lock:
            # In one step: a signal handler may have made them.
            made = self.rejections = self.rejections or ticks
        return made

    def _first_lost(self) -> Ticks:
        ticks = Ticks()
        with self._lock:
            made = self._lost = self._lost or ticks
        return made

    def add(self, op: Operation, *, failed: bool, recovered: bool) -> None:
        """
        Add an operation that has ended.
        """
        if failed and op.attempts == 1 and not (op.retries or op.rejected or op.fallbacks):
            lost = self._lost or self._first_lost()
            if op.number > self._forgotten:
                next(lost)
            return
        with self._lock:
            if op.number <= self._forgotten:
                # It began before the counts were zeroed.
                return
            added = self._added
            if added is _NOTHING:
                added = self._added = Stats()
            self._planned += 1
            added.attempts += op.attempts
            added.retries += op.retries
            added.rejected += op.rejected
            added.fallbacks += op.fallbacks
            added.failures += failed
            added.recovered += recovered

    def reset(self) -> None:
        """
        Zero everything.
        """
        with self._lock:
            self._zero()

    def lay_aside(self) -> Callable[[], None]:
        """
        Zero everything; return what brings the old counts back, as if nothing had been counted since.
        """
        with self._lock:
            rejections, lost, added, planned = self.rejections, self._lost, self._added, self._planned
            calls = self.ticks.taken - self._forgotten
            self._zero()

        def bring_back() -> None:
            with self._lock:
                self._forgotten = self.ticks.taken - calls
                self.rejections, self._lost, self._added, self._planned = rejections, lost, added, planned

        return bring_back

    @property
    def quiet(self) -> int:
        """
        How many calls made no operation: they returned at once, or are still under way.
        """
        with self._lock:
            turned_away, lost = _taken(self.rejections), _taken(self._lost)
            return self.ticks.taken - self._forgotten - self._planned - lost - turned_away

    def stats(self) -> Stats:
        """
        Return the counts so far.
        """
        with self._lock:
            added = self._added
            calls = self.ticks.taken - self._forgotten
            turned_away, lost = _taken(self.rejections), _taken(self._lost)
            # What is in none is quiet, or still under way: one attempt each, as a lost call had.
            return Stats(
                calls,
                added.attempts + calls - self._planned - turned_away,
                added.retries,
                added.failures + lost + turned_away,
                rejected=added.rejected + turned_away,
                recovered=added.recovered,
                fallbacks=added.fallbacks,
            )


def _taken(ticks: Ticks | None) -> int:
    return 0 if ticks is None else ticks.taken
