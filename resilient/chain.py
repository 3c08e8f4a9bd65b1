"""
`FallbackChain`: a fallback chain to hold in one's hands.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from resilient.callers import warn_caller
from resilient.classify import Classifier
from resilient.clock import SYSTEM_CLOCK
from resilient.errors import FallbackChainExhaustedError, PolicyError
from resilient.hub import Hub
from resilient.pipeline import Pipeline
from resilient.policies.base import Plan, Raised, Returned
from resilient.policies.checks import text
from resilient.policies.fallback import Fallback, FallbackPolicy, as_fallbacks, offer, offered
from resilient.policies.options import describe, same

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from resilient.operation import Operation
    from resilient.policies.matching import Errors
    from resilient.registry import Registry

__all__ = ["FallbackChain"]

# More entries than this are a sign of entries that are added again at every call.
_MANY = 32

# What a decorated function is counted as.
_PRIMARY = "primary"


# Nothing counted yet; never changed.
_NONE: dict[str, list[int]] = {}


class FallbackChain:
    """
    An ordered list of functions that stand in for each other.

    It counts under its hub's lock.

    Args:
        name: Its name.
        entries: Functions or `Fallback` objects.
        registry: Whose clock, classifier and listeners it uses; None: it stands alone.

    Raises:
        PolicyError: With everything that cannot be meant, at once.
    """

    __slots__ = (
        "__weakref__",
        "_counts",
        "_given",
        "_last",
        "_pipeline",
        "_primary_failures",
        "_primary_successes",
        "_runs",
        "_successes",
        "entries",
        "hub",
        "name",
    )

    def __init__(self, name: str, entries: Iterable[object] = (), registry: Registry | None = None) -> None:
        fallbacks = _checked(name, entries, registry)
        self.name: str = name
        self.hub: Hub = registry.hub if registry is not None else Hub(clock=SYSTEM_CLOCK, classifier=Classifier())
        # Replaced whole: calls in flight go on with the entries they began with.
        self.entries: tuple[Fallback, ...] = ()
        # The same as they were given, some of them under other names.
        self._given: tuple[Fallback, ...] = ()
        # What `call` and `execute` go through, made when first used.
        self._pipeline: Pipeline | None = None
        self._zero()
        for entry in fallbacks:
            self._add(entry)
        if len(self.entries) == len(fallbacks) and all(map(operator.is_, self.entries, fallbacks)):
            # The same tuple that a decorator's spec holds.
            self.entries = self._given = fallbacks

    @property
    def _lock(self) -> AbstractContextManager[Any]:
        return self.hub._lock  # noqa: SLF001 - a lock of its own would be as large as the rest of it

    def _zero(self) -> None:
        self._counts = _NONE
        self._primary_failures = 0
        self._primary_successes = 0
        self._runs = 0
        self._successes = 0
        self._last: str | None = None

    def __repr__(self) -> str:
        return f"<FallbackChain {self.name!r}: {' -> '.join(entry.name for entry in self.entries) or 'empty'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return FallbackChain, (self.name, self._given)

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
        while True:
            given = self._given
            # Functions may be objects with an __eq__ of their own: no user code under the lock.
            if any(same(entry, one) for one in given):
                return
            entries, named = self.entries, self._with_own_name(entry)
            with self._lock:
                if self._given is given:
                    self._given = (*given, entry)
                    # One and the same while no name had to be changed.
                    self.entries = self._given if named is entry and entries is given else (*entries, named)
                    break
        if len(given) == _MANY:
            msg = (
                f"fallback chain {self.name!r} has more than {_MANY} entries; is one added at every call?"
                " Add entries once, where the chain is made"
            )
            warn_caller(msg)

    @property
    def given(self) -> tuple[Fallback, ...]:
        """
        The entries as they were given, some of them under other names than in `entries`.
        """
        return self._given

    def put(self, given: tuple[Fallback, ...]) -> None:
        """
        Let *given*, of which no two are equal, be the entries, in one step; what was counted stays.
        """
        fresh = FallbackChain.__new__(FallbackChain)
        fresh.entries = ()
        for entry in given:
            fresh.entries = (*fresh.entries, fresh._with_own_name(entry))  # noqa: SLF001 - one of this class
        with self._lock:
            self._given, self.entries = given, fresh.entries

    def _with_own_name(self, entry: Fallback) -> Fallback:
        """
        Return *entry*, as ``name#2`` and so on where its name is taken: it is counted by its name.
        """
        taken = {_PRIMARY, *(one.name for one in self.entries)}
        name, number = entry.name, 2
        while name in taken:
            name, number = f"{entry.name}#{number}", number + 1
        return entry if name == entry.name else entry.renamed(name)

    # -- calling -----------------------------------------------------------

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """
        Call the first entry, then each in order until one returns.

        Raises:
            FallbackChainExhaustedError: All that were offered have failed, or none was.
            PolicyError: The chain is empty, or an entry is async.
        """
        for entry in self.entries:
            if entry.is_async:
                msg = f"fallback chain {self.name!r}: entry {entry.name!r} is async; use `await chain.execute(...)`"
                raise PolicyError(msg)
        pipeline = self._direct()
        number = pipeline.ticks.__next__()
        return pipeline.enter(number, args, kwargs, op=pipeline.operation_of(number, _nothing))

    async def execute(self, *args: Any, **kwargs: Any) -> Any:
        """
        Do what `call` does, and await what can be awaited.
        """
        pipeline = self._direct()
        number = pipeline.ticks.__next__()
        return await pipeline.aenter(number, args, kwargs, op=pipeline.operation_of(number, _nothing))

    def _direct(self) -> Pipeline:
        if not self.entries:
            msg = f"fallback chain {self.name!r} is empty; add an entry with add_fallback(function)"
            raise PolicyError(msg)
        pipeline = self._pipeline
        if pipeline is None:
            # Two threads may each make one; both work, and one of them stays.
            pipeline = Pipeline(None, self.name)
            pipeline.install((_FromTheTop(self),), self.hub)
            self._pipeline = pipeline
        return pipeline

    # -- counting ----------------------------------------------------------

    def count_primary(self, *, succeeded: bool) -> None:
        """
        Count a call of what the chain stands in for, which was no quiet one.
        """
        with self._lock:
            if succeeded:
                self._primary_successes += 1
                self._runs += 1
                self._successes += 1
            else:
                self._primary_failures += 1

    def count_entry(self, name: str, *, succeeded: bool) -> None:
        """
        Count a call of the entry *name*.
        """
        with self._lock:
            if name not in self._counts:
                self._counts = {**self._counts, name: [0, 0]}
            self._counts[name][succeeded] += 1

    def count_run(self, winner: str | None) -> None:
        """
        Count a run that the primary could not serve; *winner* is the entry that did.
        """
        with self._lock:
            self._runs += 1
            if winner is not None:
                self._successes += 1
                self._last = winner

    def _quiet(self) -> int:
        """
        Return how many calls of decorated functions returned at once: those count themselves, and tell no chain.
        """
        return sum(
            pipeline.counts.quiet
            for pipeline in self.hub.pipelines()
            for policy in pipeline.policies
            if type(policy) is FallbackPolicy and policy.chain is self
        )

    def get_stats(self) -> dict[str, dict[str, int]]:
        """
        Return attempts, successes and failures by entry; ``"primary"`` is what a decorated chain stands in for.

        A call of a decorated function that is under way counts as returned until it fails.
        """
        quiet = self._quiet()
        with self._lock:
            stats = {name: _stats(counts) for name, counts in self._counts.items()}
            failures, successes = self._primary_failures, self._primary_successes
        if failures or successes or quiet:
            stats = {_PRIMARY: _stats([failures, successes + quiet]), **stats}
        for entry in self.entries:
            stats.setdefault(entry.name, _stats([0, 0]))
        return stats

    def get_statistics(self) -> dict[str, Any]:
        """
        Return ``last_successful_fallback`` (a name or None) and ``overall_success_rate``, of runs (1.0 before any).
        """
        quiet = self._quiet()
        with self._lock:
            runs = self._runs + quiet
            rate = (self._successes + quiet) / runs if runs else 1.0
            return {"last_successful_fallback": self._last, "overall_success_rate": rate}

    def reset(self) -> None:
        """
        Zero the counts; entries stay. Calls that returned at once are zeroed with the functions' own counts.
        """
        with self._lock:
            self._zero()


class _FromTheTop(FallbackPolicy):
    """
    A chain without a primary: the first entry that is offered takes its place.
    """

    def plan(self, op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], inner: Callable[..., Plan]) -> Plan:
        chain = self.chain
        entries = iter(chain.entries)
        for entry in entries:
            if not (yield from offered(entry, None, op)):
                continue
            op.fn = entry.func
            outcome = yield from inner(op, args, entry.adds(kwargs))
            chain.count_entry(entry.name, succeeded=type(outcome) is Returned)
            if type(outcome) is Returned:
                chain.count_run(entry.name)
                return outcome
            return (yield from offer(chain, entries, outcome, op, args, kwargs))  # type: ignore[arg-type]
        chain.count_run(None)
        return Raised(FallbackChainExhaustedError(chain.name))


def _checked(name: object, entries: object, registry: object) -> tuple[Fallback, ...]:
    """
    Return *entries* as `Fallback` objects, or raise one error with everything that no chain can be made with.
    """
    fallbacks: tuple[Fallback, ...] = ()
    problems, where = [], "FallbackChain()"
    try:
        where = f"FallbackChain({text(name)!r})"
    except ValueError as error:
        problems.append(f"name {error}, got {describe(name)}")
    if isinstance(entries, Iterable):
        fallbacks, wrong = as_fallbacks(entries)
        problems += wrong
    else:
        problems.append(f"entries must be a list of functions or Fallback objects, got {describe(entries)}")
    if registry is not None and not isinstance(getattr(registry, "hub", None), Hub):
        problems.append(f"registry must be a Registry or None, got {describe(registry)}")
    if problems:
        raise PolicyError(where, problems)
    return fallbacks


def _nothing() -> None:
    """
    Stand for an entry until one is chosen.
    """


def _stats(counts: list[int]) -> dict[str, int]:
    failures, successes = counts
    return {"attempts": failures + successes, "successes": successes, "failures": failures}
