"""
The registry: what all decorated functions share, in one place.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol

from resilient.analytics.recorder import ErrorAnalytics
from resilient.classify import Classifier
from resilient.clock import SYSTEM_CLOCK, SYSTEM_RNG
from resilient.control.signals import LatencyWindow, OperationRatio
from resilient.declaring import Declaring
from resilient.errorinfo import ErrorCategory
from resilient.errors import PolicyError
from resilient.events import LevelChanged
from resilient.forks import survives_fork
from resilient.hub import Hub
from resilient.policies.options import describe
from resilient.shelves import Shelves, not_a_text
from resilient.watchers import Watchers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from resilient.clock import Clock, Rng
    from resilient.control.degradation import GracefulDegradation
    from resilient.events import Event
    from resilient.operation import Operation
    from resilient.playbooks.procedure import RecoveryProcedure
    from resilient.policies.base import Raised
    from resilient.policies.policy import Policy
    from resilient.snapshot import HealthSnapshot

__all__ = ["Registry", "default_registry", "health", "swap_default"]


class _Counter(Protocol):
    def reset(self) -> None: ...


class Registry(Declaring, Shelves):
    """
    Analytics, playbooks, service levels, circuits, chains and functions that belong together.

    Safe for any number of threads and event loops.

    Args:
        name: Its name, for people.
        clock: Where time comes from; None: the machine's monotonic clock.
        rng: Where jitter's chance comes from; None: the module `random`.

    Raises:
        PolicyError: With everything that cannot be meant, at once.
    """

    def __init__(self, name: str = "default", clock: Clock | None = None, rng: Rng | None = None) -> None:
        clock = SYSTEM_CLOCK if clock is None else clock
        rng = SYSTEM_RNG if rng is None else rng
        _check(name, clock, rng)
        super().__init__()
        self.name = name
        self.analytics: ErrorAnalytics = ErrorAnalytics(clock=clock)
        self.classifier: Classifier = Classifier(clock=clock, report=self._report)
        self.hub: Hub = Hub(clock=clock, rng=rng, classifier=self.classifier, analytics=self.analytics)
        self._operations = 0
        self._ratio = OperationRatio(clock, lambda: self._operations, self._count_failed)
        self.latency: LatencyWindow = LatencyWindow(clock)
        self._parts: dict[str, Any] = {}
        self._plain: dict[str, Policy] = {}
        self._counters: Watchers[_Counter] = Watchers()
        # Who wants the level to follow memory failures.
        self._lowering: set[object] = set()
        self._lock = threading.RLock()
        survives_fork(self)

    def __repr__(self) -> str:
        return (
            f"<Registry {self.name!r}: {len(self.functions)} functions, {len(self.circuits)} circuits,"
            f" {len(self.chains)} chains, {self.analytics.total_errors} errors>"
        )

    def _report(self, what: str, error: Exception) -> None:
        self.hub.report(what, error)

    def _renew_locks(self) -> None:
        # Its own and its shelves': analytics, hub, circuits, playbooks and levels hear of a fork themselves.
        super()._renew_locks()
        self._lock = threading.RLock()

    # -- parts that not every program uses -----------------------------------

    @property
    def playbooks(self) -> RecoveryProcedure:
        """
        The recovery playbooks, loaded when they are first asked for: by ``@recoverable``, at decoration.
        """
        return self._part("playbooks", self._make_playbooks)  # type: ignore[no-any-return]

    @property
    def degradation(self) -> GracefulDegradation:
        """
        The service levels, loaded when they are first asked for: by ``@degradable``, at decoration.
        """
        return self._part("degradation", self._make_degradation)  # type: ignore[no-any-return]

    def plain(self, kind: str, make: Callable[[], Policy]) -> Policy:
        """
        Return the policy of all functions here whose decorator *kind* was given nothing; *make* makes it.
        """
        policy = self._plain.get(kind)
        return self._plain.setdefault(kind, make()) if policy is None else policy

    def _part(self, name: str, make: Callable[[], Any]) -> Any:
        part = self._parts.get(name)
        if part is None:
            # In one step: of two threads, or of a signal handler and what it interrupts, both go on with the same.
            part = self._parts.setdefault(name, make())
            if name == "degradation":
                self.hub.evaluate = part.evaluate
        return part

    def _make_playbooks(self) -> RecoveryProcedure:
        from resilient.playbooks.procedure import RecoveryProcedure

        return RecoveryProcedure(clock=self.hub.clock, registry=self)

    def _make_degradation(self) -> GracefulDegradation:
        from resilient.control.degradation import GracefulDegradation

        return GracefulDegradation(
            clock=self.hub.clock,
            emit=self.hub.deliver,
            wants=lambda: self.hub.wants(LevelChanged),
            report=self._report,
            error_rate=self.analytics.get_error_rate,
            failure_ratio=self.failure_ratio,
            latency_p95=self.latency.p95,
            watch_latency=lambda watched: self.hub.watch_latency(self.latency.observe if watched else None),
        )

    # -- listening and reading -----------------------------------------------

    def on(
        self, listener: Callable[[Any], object], events: Iterable[type[Event]] | type[Event] | None = None
    ) -> Callable[[], None]:
        """
        Call *listener* with each event; return the function that stops it.

        Args:
            listener: A plain callable that takes one event. It runs on the
                thread of the call that it is told of, outside every lock; what
                it raises is logged once and harms nobody.
            events: Classes from `resilient.events`; None: all but `CallSucceeded`.

        Raises:
            PolicyError: *listener* is not callable, or *events* holds something else.
        """
        return self.hub.on(listener, events)

    def health(self) -> HealthSnapshot:
        """
        Return the state of everything, now.
        """
        # Only who asks for it needs it.
        from resilient.snapshot import take_snapshot

        return take_snapshot(self)

    def failure_ratio(self) -> float | None:
        """
        Return operations that failed / operations, over five minutes; None while there was none.
        """
        return self._ratio.ratio()

    def _count_failed(self) -> int:
        stats = [one.stats() for one in self.hub.pipelines()]
        # One walk for both: `OperationRatio` asks for failures first.
        calls, failures = self.hub.retired()
        self._operations = calls + sum(one.calls for one in stats)
        return int(failures + sum(one.failures for one in stats))

    def reset(self) -> None:
        """
        Zero all counts, close all circuits, set every level to FULL; registrations stay.
        """
        self.analytics.reset()
        for part in list(self._parts.values()):
            part.reset()
        self.latency.reset()
        for circuit in self.circuits.values():
            circuit.reset()
        for function in self.functions.values():
            for _, circuit in function.aside:
                circuit.reset()
        for chain in self.chains.values():
            chain.reset()
        for pipeline in self.hub.pipelines():
            pipeline.reset_stats()
        for counter in self._counters.living():
            counter.reset()
        self.hub.forget_retired()
        self._ratio.reset()

    def reset_with(self, counter: _Counter) -> None:
        """
        Call ``counter.reset()`` as well when the registry is reset; it is held weakly.
        """
        self._counters.add(counter)

    def lower_after_memory_failures(self) -> Callable[[], None]:
        """
        Lower the level by a step, at most once a minute, after a memory failure that nothing resolved.

        Returns:
            What takes this back. However many ask for it, one failure is one step.
        """
        token = object()
        # Now, for a call that runs out of memory is no time to load anything.
        degradation = self.degradation

        def lower(op: Operation, outcome: Raised) -> None:
            # What failed inside of another operation may yet be resolved by that one.
            if op.verdict(outcome).category is ErrorCategory.MEMORY and op.parent is None:
                degradation.lower_for(f"{op.function} ran out of memory, and nothing resolved it")

        with self._lock:
            self._lowering.add(token)
            # Not by listening to `OperationFailed`: somebody who listens makes
            # an open circuit build an event for each call that it rejects.
            self.hub.unresolved = lower

        def take_back() -> None:
            with self._lock:
                self._lowering.discard(token)
                if not self._lowering:
                    self.hub.unresolved = None

        return take_back


def _check(name: object, clock: object, rng: object) -> None:
    """
    Raise one error with everything that no registry can be made with.
    """
    problems = not_a_text("name", name)
    if not all(callable(getattr(clock, method, None)) for method in ("monotonic", "now", "sleep", "asleep")):
        problems.append(
            f"clock must have monotonic(), now(), sleep() and asleep(), such as resilient.testing.FakeClock(),"
            f" got {describe(clock)}"
        )
    if not callable(getattr(rng, "uniform", None)):
        problems.append(f"rng must have uniform(a, b), such as random.Random(1), got {describe(rng)}")
    if problems:
        where = "Registry()"
        raise PolicyError(where, problems)


_default = Registry()
_default._reads_environment = True  # noqa: SLF001 - of all registries the only one


def default_registry() -> Registry:
    """
    Return the registry that decorators use when they are given none.
    """
    return _default


def swap_default(registry: Registry) -> Registry:
    """
    Make *registry* the default one, and return the one that was.
    """
    global _default
    previous, _default = _default, registry
    return previous


def health() -> HealthSnapshot:
    """
    Return the state of the default registry.
    """
    return _default.health()
