"""
`FallbackChain`: a fallback chain to hold in one's hands.
"""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING, Any

from resilient.classify import Classifier
from resilient.clock import SYSTEM_CLOCK
from resilient.errors import PolicyError, ResilientWarning
from resilient.hub import Hub
from resilient.pipeline import Pipeline
from resilient.policies.fallback import Fallback, FallbackPolicy, as_fallback
from resilient.policies.options import describe, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from resilient.policies.matching import Errors
    from resilient.registry import Registry

__all__ = ["FallbackChain"]

# More entries than this are a sign of entries that are added again at every call.
_MANY = 32


class FallbackChain:
    """
    An ordered list of functions that stand in for each other.

    Args:
        name: Its name.
        entries: Functions or `Fallback` objects.
        registry: Whose clock, classifier and listeners it uses; None: it stands alone.

    Raises:
        PolicyError: *name* or an entry is something else.
    """

    def __init__(self, name: str, entries: Iterable[object] = (), registry: Registry | None = None) -> None:
        try:
            text(name)
        except ValueError as error:
            msg = f"FallbackChain(): name {error}, got {describe(name)}"
            raise PolicyError(msg) from None
        self.name = name
        self.hub = registry.hub if registry is not None else Hub(clock=SYSTEM_CLOCK, classifier=Classifier())
        # Replaced whole: calls in flight go on with the entries they began with.
        self.entries: tuple[Fallback, ...] = ()
        self._renew_locks()
        self._zero()
        for entry in entries:
            self._add(as_fallback(entry))

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()

    def _zero(self) -> None:
        self._counts: dict[str, list[int]] = {}
        self._primary_counts = [0, 0]
        self._runs = 0
        self._successes = 0
        self._last: str | None = None

    def __repr__(self) -> str:
        return f"<FallbackChain {self.name!r}: {' -> '.join(entry.name for entry in self.entries) or 'empty'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return FallbackChain, (self.name, self.entries)

    # -- building ----------------------------------------------------------

    def add_fallback(
        self,
        func: Callable[..., Any] | Fallback,
        config: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        on: Errors = Exception,
        when: Callable[[], object] | None = None,
        expected_quality: float | None = None,
    ) -> FallbackChain:
        """
        Add an entry at the end; adding an equal one again changes nothing.

        Args:
            func: What is called, or a whole `Fallback`.
            config: Keyword arguments added to the call's.
            name: Its name; None: the function's.
            on: Which errors it stands in for.
            when: Asked at call time whether the entry is offered.
            expected_quality: How good its result is, from 0 to 1.

        Returns:
            The chain itself.

        Raises:
            PolicyError: With everything that cannot be meant, at once.
        """
        if isinstance(func, Fallback):
            self._add(func)
        else:
            self._add(Fallback(func, name, on, when, expected_quality, config))
        return self

    def _add(self, entry: Fallback) -> None:
        with self._lock:
            if entry in self.entries:
                return
            self.entries = (*self.entries, entry)
            many = len(self.entries) == _MANY + 1
        if many:
            msg = (
                f"fallback chain {self.name!r} has more than {_MANY} entries; is one added at every call?"
                " Add entries once, where the chain is made"
            )
            warnings.warn(msg, ResilientWarning, stacklevel=3)

    # -- calling -----------------------------------------------------------

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """
        Call the first entry, then each in order until one returns.

        Raises:
            FallbackChainExhaustedError: All that were offered have failed.
            PolicyError: The chain is empty, or an entry is async.
        """
        first, pipeline = self._direct()
        for entry in (first, *self.entries[1:]):
            if entry.is_async:
                msg = f"fallback chain {self.name!r}: entry {entry.name!r} is async; use `await chain.execute(...)`"
                raise PolicyError(msg)
        number = pipeline.ticks.__next__()
        return pipeline.enter(number, args, _with(first, kwargs), op=pipeline.operation_of(number, first.func))

    async def execute(self, *args: Any, **kwargs: Any) -> Any:
        """
        Do what `call` does, and await what can be awaited.
        """
        first, pipeline = self._direct()
        number = pipeline.ticks.__next__()
        op = pipeline.operation_of(number, first.func)
        return await pipeline.aenter(number, args, _with(first, kwargs), op=op)

    def _direct(self) -> tuple[Fallback, Pipeline]:
        entries = self.entries
        if not entries:
            msg = f"fallback chain {self.name!r} is empty; add an entry with add_fallback(function)"
            raise PolicyError(msg)
        first = entries[0]
        pipeline = Pipeline(None, self.name)
        pipeline.install((FallbackPolicy(_Rest(self, first, entries[1:]), first.on),), self.hub)  # type: ignore[arg-type]
        return first, pipeline

    # -- counting ----------------------------------------------------------

    def count_primary(self, *, succeeded: bool) -> None:
        """
        Count a call of what the chain stands in for.
        """
        with self._lock:
            self._primary_counts[succeeded] += 1
            if succeeded:
                self._runs += 1
                self._successes += 1

    def count_entry(self, name: str, *, succeeded: bool) -> None:
        """
        Count a call of the entry *name*.
        """
        with self._lock:
            counts = self._counts.setdefault(name, [0, 0])
            counts[succeeded] += 1

    def count_run(self, winner: str | None) -> None:
        """
        Count a run that the primary could not serve; *winner* is the entry that did.
        """
        with self._lock:
            self._runs += 1
            if winner is not None:
                self._successes += 1
                self._last = winner

    def get_stats(self) -> dict[str, dict[str, int]]:
        """
        Return attempts, successes and failures by entry; ``"primary"`` is what a decorated chain stands in for.
        """
        with self._lock:
            stats = {name: _stats(counts) for name, counts in self._counts.items()}
            if any(self._primary_counts):
                stats = {"primary": _stats(self._primary_counts), **stats}
        for entry in self.entries:
            stats.setdefault(entry.name, _stats([0, 0]))
        return stats

    def get_statistics(self) -> dict[str, Any]:
        """
        Return ``last_successful_fallback`` (a name or None) and ``overall_success_rate`` per run (1.0 before the first).
        """
        with self._lock:
            rate = self._successes / self._runs if self._runs else 1.0
            return {"last_successful_fallback": self._last, "overall_success_rate": rate}

    def reset(self) -> None:
        """
        Zero the counts; entries stay.
        """
        with self._lock:
            self._zero()


class _Rest:
    """
    A chain seen from its first entry, which is called as the primary.
    """

    def __init__(self, chain: FallbackChain, first: Fallback, entries: tuple[Fallback, ...]) -> None:
        self._chain = chain
        self._first = first
        self.name = chain.name
        self.entries = entries
        self.count_entry = chain.count_entry
        self.count_run = chain.count_run

    def count_primary(self, *, succeeded: bool) -> None:
        self._chain.count_entry(self._first.name, succeeded=succeeded)
        if succeeded:
            self._chain.count_run(self._first.name)


def _with(entry: Fallback, kwargs: dict[str, Any]) -> dict[str, Any]:
    return kwargs if entry.kwargs is None else {**kwargs, **entry.kwargs}


def _stats(counts: list[int]) -> dict[str, int]:
    failures, successes = counts
    return {"attempts": failures + successes, "successes": successes, "failures": failures}
