"""
The registry: what all decorated functions share, in one place.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakValueDictionary

from resilient.analytics.recorder import ErrorAnalytics
from resilient.breaker import CircuitBreaker
from resilient.chain import FallbackChain
from resilient.classify import Classifier
from resilient.clock import SYSTEM_CLOCK, SYSTEM_RNG
from resilient.control.degradation import GracefulDegradation
from resilient.control.signals import LatencyWindow, OperationRatio
from resilient.errors import PolicyError
from resilient.events import LevelChanged
from resilient.forks import survives_fork
from resilient.health import HealthSnapshot, take_snapshot
from resilient.hub import Hub
from resilient.playbooks.procedure import RecoveryProcedure
from resilient.policies.options import describe, same, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from resilient.clock import Clock, Rng
    from resilient.configs import CircuitBreakerConfig
    from resilient.events import Event
    from resilient.resilience import Resilience

__all__ = ["Registry", "default_registry", "health", "swap_default"]

T = TypeVar("T")


class _Named(Mapping[str, T], Generic[T]):
    """
    A read-only view of what has a name: what is kept, and what lives as long as its function.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.kept: dict[str, T] = {}
        self.weak: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()

    def __getitem__(self, name: str) -> T:
        try:
            return self.kept[name]
        except KeyError:
            return self.weak[name]  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[str]:
        return iter([*self.kept.copy(), *self.weak.copy()])

    def __len__(self) -> int:
        return len(self.kept) + len(self.weak)

    def __repr__(self) -> str:
        return f"{{{', '.join(repr(name) for name in self)}}}"

    def free_name(self, name: str) -> str:
        """
        Return *name*, or ``name#2`` and so on where it is taken.
        """
        if name not in self:
            return name
        number = 2
        while f"{name}#{number}" in self:
            number += 1
        return f"{name}#{number}"


class Registry:
    """
    Analytics, playbooks, service levels, circuits, chains and functions that belong together.

    Safe for any number of threads and event loops.

    Args:
        name: Its name, for people.
        clock: Where time comes from; None: the machine's monotonic clock.
        rng: Where jitter's chance comes from; None: the module `random`.

    Raises:
        PolicyError: *name* is not a string with something in it.
    """

    def __init__(self, name: str = "default", clock: Clock | None = None, rng: Rng | None = None) -> None:
        try:
            self.name = text(name)
        except ValueError as error:
            msg = f"Registry(): name {error}, got {describe(name)}"
            raise PolicyError(msg) from None
        clock = clock or SYSTEM_CLOCK
        self.analytics = ErrorAnalytics(clock=clock)
        self.classifier = Classifier(clock=clock, report=self._report)
        self.hub = Hub(clock=clock, rng=rng or SYSTEM_RNG, classifier=self.classifier, analytics=self.analytics)
        self.playbooks = RecoveryProcedure(clock=clock, registry=self)
        self.functions: _Named[Resilience[..., Any]] = _Named()
        self.circuits: _Named[CircuitBreaker] = _Named()
        self.chains: _Named[FallbackChain] = _Named()
        self._ratio = OperationRatio(clock, self._count_operations, self._count_failed)
        self.latency = LatencyWindow(clock)
        self.degradation = GracefulDegradation(
            clock=clock,
            emit=self.hub.deliver,
            wants=lambda: self.hub.wants(LevelChanged),
            report=self._report,
            error_rate=self.analytics.get_error_rate,
            failure_ratio=self.failure_ratio,
            latency_p95=self.latency.p95,
            watch_latency=lambda watched: self.hub.watch_latency(self.latency.observe if watched else None),
        )
        self.hub.evaluate = self.degradation.evaluate
        survives_fork(self)

    def __repr__(self) -> str:
        return (
            f"<Registry {self.name!r}: {len(self.functions)} functions, {len(self.circuits)} circuits,"
            f" {len(self.chains)} chains, {self.analytics.total_errors} errors>"
        )

    def _report(self, what: str, error: Exception) -> None:
        self.hub.report(what, error)

    def _renew_locks(self) -> None:
        for part in (self.analytics, self.hub, self.playbooks, self.functions, self.circuits, self.chains):
            part._renew_locks()  # noqa: SLF001 - one convention, all the way down
        self.degradation.renew_locks()
        for one in (*self.circuits.values(), *self.chains.values()):
            one._renew_locks()  # noqa: SLF001 - as above

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
        return take_snapshot(self)

    def failure_ratio(self) -> float | None:
        """
        Return operations that failed / operations, over five minutes; None while there was none.
        """
        return self._ratio.ratio()

    def _count_operations(self) -> int:
        return sum(one.stats().calls for one in self.hub.pipelines())

    def _count_failed(self) -> int:
        return sum(one.stats().failures for one in self.hub.pipelines())

    def reset(self) -> None:
        """
        Zero all counts, close all circuits, set every level to FULL; registrations stay.
        """
        self.analytics.reset()
        self.playbooks.reset()
        self.degradation.reset()
        self.latency.reset()
        for circuit in self.circuits.values():
            circuit.reset()
        for chain in self.chains.values():
            chain.reset()
        for function in self.functions.values():
            function.reset()
        self._ratio.reset()

    # -- circuits and chains by name -------------------------------------------

    def circuit(self, name: str, config: CircuitBreakerConfig | None = None) -> CircuitBreaker:
        """
        Return the circuit called *name*, made now if there is none.

        Args:
            name: Its name.
            config: Its options. A circuit first named without options takes
                the first that are given.

        Raises:
            PolicyError: *config* contradicts the options that it was given before.
        """
        return self.claim_circuit(name, {} if config is None else config.given, f"circuit {name!r}")

    def claim_circuit(self, name: str, given: Mapping[str, Any], where: str) -> CircuitBreaker:
        """
        Return the shared circuit called *name* under the checked options *given*.
        """
        with self.circuits._lock:  # noqa: SLF001 - the registry's own shelf
            breaker = self.circuits.kept.get(name)
            if breaker is None:
                breaker = self._new_circuit(name, given)
                self.circuits.kept[name] = breaker
                return breaker
        if given and not breaker.given:
            breaker.adopt(given)
        problems = [
            f"{option}={value!r} contradicts {option}={breaker.options[option]!r}, which circuit {name!r} was given"
            " before; give the same, or leave the options to one place"
            for option, value in given.items()
            if not same(value, breaker.options[option])
        ]
        if problems:
            raise PolicyError(where, problems)
        return breaker

    def own_circuit(self, name: str, given: Mapping[str, Any], *, replace: bool) -> CircuitBreaker:
        """
        Return a new circuit that lives as long as its function.

        Args:
            name: The function's name; a number is added where it is taken.
            given: Its checked options.
            replace: Whether it takes the place of one of the same name.
        """
        with self.circuits._lock:  # noqa: SLF001 - the registry's own shelf
            if not replace:
                name = self.circuits.free_name(name)
            breaker = self._new_circuit(name, given)
            self.circuits.weak[name] = breaker
            return breaker

    def _new_circuit(self, name: str, given: Mapping[str, Any]) -> CircuitBreaker:
        breaker = CircuitBreaker(name, registry=self)
        breaker.adopt(given)
        return breaker

    def drop_circuit(self, breaker: CircuitBreaker) -> None:
        """
        Forget a circuit that nobody goes through.
        """
        with self.circuits._lock:  # noqa: SLF001 - the registry's own shelf
            if not breaker.used and self.circuits.kept.get(breaker.name) is breaker:
                del self.circuits.kept[breaker.name]

    def chain(self, name: str) -> FallbackChain:
        """
        Return the fallback chain called *name*, made now if there is none.
        """
        with self.chains._lock:  # noqa: SLF001 - the registry's own shelf
            chain = self.chains.kept.get(name)
            if chain is None:
                chain = self.chains.kept[name] = FallbackChain(name, registry=self)
            return chain


_default = Registry()


def default_registry() -> Registry:
    """
    Return the registry that decorators use when they are given none.
    """
    return _default


def swap_default(registry: Registry) -> Registry:
    """
    Make *registry* the default one, and return the one that was.
    """
    global _default  # noqa: PLW0603 - the one shared thing there is
    previous, _default = _default, registry
    return previous


def health() -> HealthSnapshot:
    """
    Return the state of the default registry.
    """
    return _default.health()
