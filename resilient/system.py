"""
`ErrorHandlingSystem`: the registry for code that prefers calls to decorators.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

from resilient.bound import BoundDecorators
from resilient.errors import PolicyError
from resilient.execution import Execution, Way
from resilient.mechanism import RetryMechanism
from resilient.policies.options import describe
from resilient.registry import Registry, default_registry
from resilient.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from resilient.analytics.recorder import ErrorAnalytics
    from resilient.breaker import CircuitBreaker
    from resilient.chain import FallbackChain
    from resilient.classify import Classification
    from resilient.configs import CircuitBreakerConfig, RetryConfig
    from resilient.control.degradation import GracefulDegradation
    from resilient.errorinfo import ErrorCategory, ErrorSeverity
    from resilient.playbooks.procedure import RecoveryProcedure

__all__ = ["ErrorHandlingSystem"]

T = TypeVar("T")


class ErrorHandlingSystem(BoundDecorators):
    """
    One object that calls functions under policies, and reads what became of them.

    It holds no state of its own but its way to retry: circuits, chains, levels,
    playbooks and analytics are the registry's, shared with decorated functions.

    Args:
        registry: The registry that it wraps. None: the default one. A mapping
            makes an own one, with any of these keys: ``"name"`` (the registry's
            name), ``"retry"`` (options of `retry`, or a `RetryConfig`, for the
            `retry_mechanism`), ``"circuit"`` (options of `circuit`, or a
            `CircuitBreakerConfig`, for circuits that this system makes and
            nobody gives options) and ``"triggers"`` (the thresholds of
            ``configure_triggers``, and beside them its times).
        auto_degrade: Whether a memory failure that nothing resolved lowers the
            service level by one step, at most once a minute.

    Raises:
        PolicyError: With everything that cannot be meant, at once.
    """

    def __init__(self, registry: Registry | Mapping[str, Any] | None = None, *, auto_degrade: bool = True) -> None:
        problems: list[str] = []
        if not isinstance(auto_degrade, bool):
            problems.append(f"auto_degrade must be True or False, got {describe(auto_degrade)}")
        settings = Settings(registry, problems)
        if problems:
            where = "ErrorHandlingSystem()"
            raise PolicyError(where, problems)
        if isinstance(registry, Mapping):
            registry = Registry(settings.name)
            if settings.thresholds or settings.times:
                registry.degradation.configure_triggers(settings.thresholds, **settings.times)
        #: The registry that it wraps.
        self.registry: Registry = default_registry() if registry is None else registry
        self._circuit_defaults = settings.circuit.given
        self.retry_mechanism = RetryMechanism(settings.retry, self.registry)
        if auto_degrade:
            # Knows nothing of the system, and goes with it.
            weakref.finalize(self, self.registry.lower_after_memory_failures()).atexit = False

    def __repr__(self) -> str:
        return f"<ErrorHandlingSystem on {self.registry!r}>"

    # -- calls ---------------------------------------------------------------

    @overload
    async def execute_with_resilience(
        self,
        func: Callable[..., Awaitable[T]],
        /,
        *args: Any,
        circuit_breaker_name: str | None = ...,
        fallback_chain_name: str | None = ...,
        enable_retry: bool = ...,
        enable_recovery: bool = ...,
        retry_config: RetryConfig | None = ...,
        **kwargs: Any,
    ) -> T: ...

    @overload
    async def execute_with_resilience(
        self,
        func: Callable[..., T],
        /,
        *args: Any,
        circuit_breaker_name: str | None = ...,
        fallback_chain_name: str | None = ...,
        enable_retry: bool = ...,
        enable_recovery: bool = ...,
        retry_config: RetryConfig | None = ...,
        **kwargs: Any,
    ) -> T: ...

    async def execute_with_resilience(
        self,
        func: Callable[..., Any],
        /,
        *args: Any,
        circuit_breaker_name: str | None = None,
        fallback_chain_name: str | None = None,
        enable_retry: bool = True,
        enable_recovery: bool = True,
        retry_config: RetryConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """
        Call *func* under policies, and await what it returns if that can be awaited.

        From the outside in: fallback chain, recovery, retry, circuit, function.
        A sync function runs inline, on the event loop's thread.

        Args:
            func: The function: an ``async def``, or a sync one.
            args: Its positional arguments.
            circuit_breaker_name: The circuit it is called through; made if there is none. None: no circuit.
            fallback_chain_name: The chain that stands in for it, with *func*
                as its first entry; an empty one changes nothing. None: no chain.
            enable_retry: Whether it is retried.
            enable_recovery: Whether the playbook for its error is walked.
            retry_config: How it is retried; None: as `retry_mechanism` says.
            kwargs: Its keyword arguments.

        Raises:
            PolicyError: With everything that cannot be meant, at once.
            CircuitBreakerOpenError: The circuit did not admit the call.
            FallbackChainExhaustedError: All that the chain offered has failed.
        """
        way = Way(circuit_breaker_name, fallback_chain_name, enable_retry, enable_recovery, retry_config)
        op = self._execution.begin("execute_with_resilience", func, way)
        return await op.pipeline.aenter(op.number, args, kwargs, op=op)

    def execute_with_resilience_sync(
        self,
        func: Callable[..., T],
        /,
        *args: Any,
        circuit_breaker_name: str | None = None,
        fallback_chain_name: str | None = None,
        enable_retry: bool = True,
        enable_recovery: bool = True,
        retry_config: RetryConfig | None = None,
        **kwargs: Any,
    ) -> T:
        """
        Do what `execute_with_resilience` does, for a sync function outside of event loops.

        Raises:
            PolicyError: With everything that cannot be meant, at once; an async
                function or entry is such a thing.
            CircuitBreakerOpenError: The circuit did not admit the call.
            FallbackChainExhaustedError: All that the chain offered has failed.
        """
        where = "execute_with_resilience_sync"
        way = Way(circuit_breaker_name, fallback_chain_name, enable_retry, enable_recovery, retry_config)
        op = self._execution.begin(where, func, way)
        self._execution.refuse_async(where, op)
        return op.pipeline.enter(op.number, args, kwargs, op=op)  # type: ignore[no-any-return]

    @property
    def retry_mechanism(self) -> RetryMechanism:
        """
        How this system retries. Setting it affects later calls of this system, never decorated functions.
        """
        return self._execution.mechanism

    @retry_mechanism.setter
    def retry_mechanism(self, mechanism: RetryMechanism) -> None:
        if not isinstance(mechanism, RetryMechanism):
            msg = f"retry_mechanism must be a RetryMechanism, got {describe(mechanism)}; write RetryMechanism(config)"
            raise PolicyError(msg)
        self.registry.reset_with(mechanism.counts)
        self._execution = Execution(self.registry, mechanism, self.get_circuit_breaker)

    # -- what it is made of --------------------------------------------------

    def get_circuit_breaker(self, name: str, config: CircuitBreakerConfig | None = None) -> CircuitBreaker:
        """
        Return the circuit called *name*, always the same one, made now if there is none.

        Args:
            name: Its name; decorated functions may share it.
            config: Its options; None: whatever it has.

        Raises:
            PolicyError: *config* contradicts the options that it was given before.
        """
        return self.registry.circuit(name, config, defaults=self._circuit_defaults)

    def get_fallback_chain(self, name: str) -> FallbackChain:
        """
        Return the fallback chain called *name*, always the same one, made now if there is none.
        """
        return self.registry.chain(name)

    @property
    def circuit_breakers(self) -> Mapping[str, CircuitBreaker]:
        """
        The registry's circuits by name.
        """
        return self.registry.circuits

    @property
    def fallback_chains(self) -> Mapping[str, FallbackChain]:
        """
        The registry's fallback chains by name.
        """
        return self.registry.chains

    @property
    def graceful_degradation(self) -> GracefulDegradation:
        """
        The registry's service levels.
        """
        return self.registry.degradation

    @property
    def error_analytics(self) -> ErrorAnalytics:
        """
        What the registry knows of errors.
        """
        return self.registry.analytics

    @property
    def recovery_procedure(self) -> RecoveryProcedure:
        """
        The registry's playbooks.
        """
        return self.registry.playbooks

    # -- what it tells -------------------------------------------------------

    def categorize_error(self, error: BaseException) -> ErrorCategory:
        """
        Return what kind of thing has failed.

        Raises:
            PolicyError: *error* is no exception.
        """
        return self._classify("categorize_error", error).category

    def assess_severity(self, error: BaseException) -> ErrorSeverity:
        """
        Return how bad an error is.

        Raises:
            PolicyError: *error* is no exception.
        """
        return self._classify("assess_severity", error).severity

    def _classify(self, where: str, error: BaseException) -> Classification:
        if not isinstance(error, BaseException):
            msg = f"{where}() takes an exception object, got {describe(error)}"
            raise PolicyError(msg)
        return self.registry.classifier.classify(error)

    def get_system_health(self) -> dict[str, Any]:
        """
        Return the state of everything as a JSON-ready dict.

        ``status``, ``degradation_level``, ``error_rate`` (a minute),
        ``failure_ratio``, ``recovery_rate``, ``circuit_breakers``,
        ``retry_stats``, ``fallback_stats`` and ``functions`` (each by name),
        and what else `HealthSnapshot` has.
        """
        health = self.registry.health().to_dict()
        health["circuit_breakers"] = health.pop("circuits")
        health["fallback_stats"] = health.pop("chains")
        health["retry_stats"] = self.retry_mechanism.get_stats()
        return health

    def generate_resilience_report(self) -> dict[str, Any]:
        """
        Return ``system_health``, ``error_analytics``, ``recovery_history`` and ``timestamp``, JSON-ready.
        """
        return {
            "timestamp": self.registry.hub.clock.now().isoformat(),
            "system_health": self.get_system_health(),
            "error_analytics": self.error_analytics.generate_report(),
            "recovery_history": [
                {**run, "timestamp": run["timestamp"].isoformat()}  # type: ignore[union-attr]  # a datetime
                for run in self.recovery_procedure.get_recovery_history()
            ],
        }
