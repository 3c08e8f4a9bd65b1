"""
`CircuitBreaker`: a circuit to hold in one's hands.

The same object guards decorated functions and is called directly; what decides
is the machine beneath (`resilient.circuits`).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, overload

from resilient.circuits.operating import Isolation, OperatedCircuit
from resilient.circuits.permits import Permit
from resilient.classify import Classifier
from resilient.clock import SYSTEM_CLOCK
from resilient.configs import CircuitBreakerConfig
from resilient.errors import CircuitBreakerOpenError, PolicyError
from resilient.hub import Hub
from resilient.pipeline import Pipeline
from resilient.policies.base import Raised
from resilient.policies.checks import text
from resilient.policies.circuit import CircuitPolicy
from resilient.policies.options import describe, is_async

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from resilient.clock import Clock
    from resilient.registry import Registry

__all__ = ["CircuitBreaker", "Isolation", "Permit"]

P = ParamSpec("P")
T = TypeVar("T")

# The permits of `with breaker:` blocks that this thread or task is in, innermost last.
_entered: ContextVar[tuple[Permit, ...]] = ContextVar("resilient_entered", default=())


class CircuitBreaker(OperatedCircuit):
    """
    A circuit breaker, for decorated functions and for direct use.

    A context manager, sync and async: the block is the call.

    Args:
        name: Its name.
        config: Its options; None: the defaults.
        registry: Whose clock, classifier and listeners it uses; None: it stands
            alone. The registry does not learn of it: ask
            ``registry.circuit(name)`` for one that it knows.
        clock: Where time comes from, where it stands alone.

    Raises:
        PolicyError: With everything that cannot be meant, at once.
    """

    def __init__(
        self,
        name: str,
        config: CircuitBreakerConfig | None = None,
        registry: Registry | None = None,
        clock: Clock | None = None,
    ) -> None:
        _check(name, config, registry, clock)
        hub = Hub(clock=clock or SYSTEM_CLOCK, classifier=Classifier()) if registry is None else registry.hub
        self._pipeline: Pipeline | None = None
        super().__init__(name, config.given if config is not None else {}, hub)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy in another process starts afresh: state does not travel.
        return _rebuilt, (self.name, self.given)

    # -- calling -----------------------------------------------------------

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Call *fn* through the circuit.

        Raises:
            CircuitBreakerOpenError: The circuit does not admit it.
            PolicyError: *fn* cannot be called, or is async: nothing that it does would be counted.
        """
        self._check_callable(fn, "call")
        if is_async(fn):
            msg = f"circuit {self.name!r}: {describe(fn)} is async; use `await breaker.execute(function)`"
            raise PolicyError(msg)
        pipeline = self._direct()
        number = pipeline.ticks.__next__()
        return pipeline.enter(number, args, kwargs, op=pipeline.operation_of(number, fn))  # type: ignore[no-any-return]

    @overload
    async def execute(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

    @overload
    async def execute(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

    async def execute(self, fn: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """
        Call *fn* through the circuit, and await what it returns if that can be awaited.

        Raises:
            CircuitBreakerOpenError: The circuit does not admit it.
            PolicyError: *fn* cannot be called.
        """
        self._check_callable(fn, "execute")
        pipeline = self._direct()
        number = pipeline.ticks.__next__()
        op = pipeline.operation_of(number, fn)
        return await pipeline.aenter(number, args, kwargs, op=op)

    def _check_callable(self, fn: object, method: str) -> None:
        # A mistake in the program is no failure of what the circuit guards.
        if not callable(fn):
            msg = (
                f"circuit {self.name!r}: {method}() takes a function and its arguments, as in {method}(fetch, url);"
                f" got {describe(fn)}"
            )
            raise PolicyError(msg)

    def _direct(self) -> Pipeline:
        pipeline = self._pipeline
        if pipeline is None:
            pipeline = Pipeline(None, self.name)
            pipeline.install((CircuitPolicy(self),), self.hub)
            self._pipeline = pipeline
        return pipeline

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._exit(error)

    async def __aenter__(self) -> Self:
        self._enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._exit(error)

    def _enter(self) -> None:
        _entered.set((*_entered.get(), self.acquire()))

    def _exit(self, error: BaseException | None) -> None:
        entered = _entered.get()
        permit = next((one for one in reversed(entered) if one.machine is self), None)
        if permit is None:
            # Left in another context than it was entered in, as exit stacks and
            # fixtures may do: a result all the same.
            permit = self.quiet_permit(self._ledger.generation, None)
        _entered.set(tuple(one for one in entered if one is not permit))
        if error is None:
            permit.success()
        else:
            permit.failure(error)

    # -- two steps -----------------------------------------------------------

    def acquire(self) -> Permit:
        """
        Return a permit for one call, to be given back by its ``success``, ``failure`` or ``release``.

        Raises:
            CircuitBreakerOpenError: The circuit does not admit a call now.
        """
        permit = self.admit()
        if isinstance(permit, CircuitBreakerOpenError):
            raise permit
        return permit

    def can_execute(self) -> bool:
        """
        Tell whether a call would be admitted now, without taking a permit.

        A circuit whose open time is over becomes HALF_OPEN by this.
        """
        return self.has_room()

    def record_success(self) -> None:
        """
        Count a success of a call made elsewhere.
        """
        self._result(self.quiet_permit(self._ledger.generation, None), failed=False)

    def record_failure(self, error: Exception | None = None) -> None:
        """
        Count a failure of a call made elsewhere, whatever its type.
        """
        outcome = None if error is None else Raised(error)
        self._result(self.quiet_permit(self._ledger.generation, None), failed=True, outcome=outcome)


def _rebuilt(name: str, given: Mapping[str, Any]) -> CircuitBreaker:
    breaker = CircuitBreaker(name)
    breaker.adopt(given)
    return breaker


def _check(name: object, config: object, registry: object, clock: object) -> None:
    """
    Raise one error with everything that no breaker can be made with.
    """
    problems, where = [], "CircuitBreaker()"
    try:
        where = f"CircuitBreaker({text(name)!r})"
    except ValueError as error:
        problems.append(f"name {error}, got {describe(name)}")
    if config is not None and not isinstance(config, CircuitBreakerConfig):
        problems.append(f"config must be a CircuitBreakerConfig or None, got {describe(config)}")
    if registry is not None and not isinstance(getattr(registry, "hub", None), Hub):
        problems.append(f"registry must be a Registry or None, got {describe(registry)}")
    if clock is not None and not callable(getattr(clock, "monotonic", None)):
        problems.append(f"clock must be a Clock, such as resilient.testing.FakeClock(), or None, got {describe(clock)}")
    if problems:
        raise PolicyError(where, problems)
