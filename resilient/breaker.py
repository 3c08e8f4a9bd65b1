"""
`CircuitBreaker`: a circuit to hold in one's hands.

The same object guards decorated functions and is called directly; what decides
is the machine beneath (`resilient.machine`).
"""

from __future__ import annotations

import math
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from resilient.adapters.pybreaker import STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN
from resilient.classify import Classifier
from resilient.clock import SYSTEM_CLOCK
from resilient.configs import CircuitBreakerConfig
from resilient.errors import CircuitBreakerOpenError, PolicyError
from resilient.hub import Hub
from resilient.machine import CircuitMachine, Permit
from resilient.pipeline import Pipeline
from resilient.policies.circuit import CIRCUIT_OPTIONS, CircuitPolicy, CircuitState, make_window
from resilient.policies.options import describe, text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from resilient.clock import Clock
    from resilient.registry import Registry

__all__ = ["CircuitBreaker", "Isolation", "Permit"]

P = ParamSpec("P")
T = TypeVar("T")

_FROM_STATE = {
    CircuitState.CLOSED: STATE_CLOSED,
    CircuitState.OPEN: STATE_OPEN,
    CircuitState.HALF_OPEN: STATE_HALF_OPEN,
}
_TO_STATE = {foreign: state for state, foreign in _FROM_STATE.items()}

# The permits of `with breaker:` blocks that this thread or task is in, innermost last.
_entered: ContextVar[tuple[Permit, ...]] = ContextVar("resilient_entered", default=())


class Isolation:
    """
    One hold on an isolated circuit; the circuit stays shut until all are released.

    A context manager: leaving the block releases it.
    """

    __slots__ = ("_breaker", "_epoch", "_released")

    def __init__(self, breaker: CircuitBreaker, epoch: int) -> None:
        self._breaker = breaker
        self._epoch = epoch
        self._released = False

    def release(self) -> None:
        """
        Give this hold up; the last one closes the circuit. A second call does nothing.
        """
        if not self._released:
            self._released = True
            self._breaker._end_isolation(self._epoch)  # noqa: SLF001 - two halves of one thing

    def __enter__(self) -> Isolation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<Isolation of circuit {self._breaker.name!r}{', released' if self._released else ''}>"


class CircuitBreaker(CircuitMachine):
    """
    A circuit breaker, for decorated functions and for direct use.

    Args:
        name: Its name.
        config: Its options; None: the defaults.
        registry: Whose clock, classifier and listeners it uses; None: it stands
            alone. The registry does not learn of it: ask
            ``registry.circuit(name)`` for one that it knows.
        clock: Where time comes from, where it stands alone.

    Raises:
        PolicyError: *name* or *config* is something else.
    """

    def __init__(
        self,
        name: str,
        config: CircuitBreakerConfig | None = None,
        registry: Registry | None = None,
        clock: Clock | None = None,
    ) -> None:
        try:
            text(name)
        except ValueError as error:
            msg = f"CircuitBreaker(): name {error}, got {describe(name)}"
            raise PolicyError(msg) from None
        if config is not None and not isinstance(config, CircuitBreakerConfig):
            msg = f"CircuitBreaker({name!r}): config must be a CircuitBreakerConfig or None, got {describe(config)}"
            raise PolicyError(msg)
        hub = registry.hub if registry is not None else Hub(clock=clock or SYSTEM_CLOCK, classifier=Classifier())
        #: The options that were given, and so not left to their defaults.
        self.given: dict[str, Any] = dict(config.given) if config is not None else {}
        self._epoch = 0
        self._pipeline: Pipeline | None = None
        super().__init__(name, {**CIRCUIT_OPTIONS.defaults(), **self.given}, hub)

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.name!r}: {self.state.value}, failures {self.failure_count}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy in another process starts afresh: state does not travel.
        return _rebuilt, (self.name, self.given)

    # -- calling -----------------------------------------------------------

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Call *fn* through the circuit.

        Raises:
            CircuitBreakerOpenError: The circuit does not admit it.
        """
        pipeline = self._direct()
        number = pipeline.ticks.__next__()
        return pipeline.enter(number, args, kwargs, op=pipeline.operation_of(number, fn))  # type: ignore[no-any-return]

    async def execute(self, fn: Callable[P, Awaitable[T] | T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Call *fn* through the circuit, and await what it returns if that can be awaited.

        Raises:
            CircuitBreakerOpenError: The circuit does not admit it.
        """
        pipeline = self._direct()
        number = pipeline.ticks.__next__()
        op = pipeline.operation_of(number, fn)
        return await pipeline.aenter(number, args, kwargs, op=op)  # type: ignore[no-any-return]

    def _direct(self) -> Pipeline:
        pipeline = self._pipeline
        if pipeline is None or pipeline.hub is not self.hub:
            pipeline = Pipeline(None, self.name)
            pipeline.install((CircuitPolicy(self),), self.hub)
            self._pipeline = pipeline
        return pipeline

    def __enter__(self) -> CircuitBreaker:
        self._enter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._exit(error)

    async def __aenter__(self) -> CircuitBreaker:
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
        permit = next(one for one in reversed(entered) if one.machine is self)
        _entered.set(tuple(one for one in entered if one is not permit))
        if error is None:
            permit.success()
        elif isinstance(error, Exception):
            permit.failure(error)
        else:
            permit.release()

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
        self._result(self.quiet_permit(self._ledger.generation, None), failed=False, elapsed=None)
        self.hub.drain()

    def record_failure(self, error: Exception | None = None) -> None:
        """
        Count a failure of a call made elsewhere, whatever its type.
        """
        self._result(self.quiet_permit(self._ledger.generation, None), failed=True, elapsed=None, error=error)
        self.hub.drain()

    # -- state -----------------------------------------------------------------

    @property
    def state(self) -> CircuitState:
        """
        The state, settable by hand. OPEN stays OPEN until somebody asks to be admitted.
        """
        return _TO_STATE[self._ledger.state]

    @state.setter
    def state(self, state: CircuitState | str) -> None:
        try:
            wanted = CircuitState(state)
        except ValueError:
            names = ", ".join(repr(one.value) for one in CircuitState)
            msg = f"state of circuit {self.name!r} must be a CircuitState or one of {names}, got {describe(state)}"
            raise PolicyError(msg) from None
        with self._lock:
            if self.state is not wanted:
                self._transit(_FROM_STATE[wanted])
        self.hub.drain()

    def close(self) -> None:
        """
        Close the circuit and end all isolations.
        """
        with self._lock:
            self._isolations = 0
            self._epoch += 1
            if self._ledger.state != STATE_CLOSED:
                self._transit(STATE_CLOSED)
        self.hub.drain()

    def reset(self) -> None:
        """
        Close the circuit, zero its counts, and let calls in flight belong to the past.
        """
        with self._lock:
            self._isolations = 0
            self._epoch += 1
            if self._ledger.state == STATE_CLOSED:
                self._ledger.generation += 1
                self._clear_locked()
                self._refresh_locked()
            else:
                self._transit(STATE_CLOSED, reason="reset")
            self.rejected = self.late = 0
            self._last_failure = None
        self.hub.drain()

    def isolate(self) -> Isolation:
        """
        Reject every call until the returned hold, and all others, are released, or `close` is called.
        """
        with self._lock:
            self._isolations += 1
            if self._ledger.state != STATE_OPEN:
                self._transit(STATE_OPEN, reason="isolated")
            hold = Isolation(self, self._epoch)
        self.hub.drain()
        return hold

    def _end_isolation(self, epoch: int) -> None:
        with self._lock:
            if epoch == self._epoch and self._isolations:
                self._isolations -= 1
                if not self._isolations:
                    self._transit(STATE_CLOSED)
        self.hub.drain()

    def configure(self, config: CircuitBreakerConfig) -> None:
        """
        Put other options in force; state and counts stay.
        """
        if not isinstance(config, CircuitBreakerConfig):
            msg = f"configure() of circuit {self.name!r} takes a CircuitBreakerConfig, got {describe(config)}"
            raise PolicyError(msg)
        self.adopt(config.given)

    def adopt(self, given: Mapping[str, Any]) -> None:
        """
        Put checked options in force; see `configure`.
        """
        options = {**CIRCUIT_OPTIONS.defaults(), **given}
        with self._lock:
            now = self.hub.clock.monotonic()
            if options["window"] != self.options["window"]:
                old, self._window = self._window, make_window(options)
                if old is not None and self._window is not None and type(old) is type(self._window):
                    self._window.load(old.dump(now), now)
            self.given = dict(given)
            self.options = options
            self._settle_options()
            self._refresh_locked()

    # -- looking at it -----------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """
        Return what health shows, JSON-ready.

        ``rate`` is None while fewer than ``min_calls`` calls are in the window;
        ``probe_due`` says that an open circuit waits for somebody to ask.
        """
        with self._lock:
            now = self.hub.clock.monotonic()
            is_open = self._ledger.state == STATE_OPEN
            remaining = self._remaining(now) if is_open and not self._isolations else None
            totals = self._totals()
            return {
                "name": self.name,
                "state": self.state.value,
                "failure_count": self.failure_count,
                "success_count": self._ledger.success_counter,
                "last_failure_time": self._wall_time(self._last_failure, now),
                "last_error": self.last_error,
                "probe_due": remaining == 0.0,
                "retry_after": None if remaining == math.inf else remaining,
                "isolated": self._isolations > 0,
                "critical": self.options["critical"],
                "mode": self.options["mode"],
                "rate": self._rate(totals.calls, totals.failures),
                "calls": totals.calls if self._window is not None else None,
                "rejected": self.rejected,
                "late": self.late,
                "generation": self._ledger.generation,
            }

    def _rate(self, calls: int, failures: int) -> float | None:
        return failures / calls if self.rate_is_defined(calls) else None

    def _wall_time(self, moment: float | None, now: float) -> str | None:
        if moment is None:
            return None
        at: datetime = self.hub.clock.now() - timedelta(seconds=now - moment)
        return at.isoformat()

    def snapshot(self) -> dict[str, Any]:
        """
        Return state and counts, JSON-ready, for `restore`; times as seconds that remain.
        """
        with self._lock:
            now = self.hub.clock.monotonic()
            remaining = self._remaining(now) if self._ledger.state == STATE_OPEN else 0.0
            return {
                "name": self.name,
                "state": self.state.value,
                "failures": self._ledger.counter,
                "successes": self._ledger.success_counter,
                "remaining": None if math.isinf(remaining) else remaining,
                "reopenings": self._reopenings,
                "isolated": self._isolations > 0,
                "last_error": self.last_error,
                "window": [] if self._window is None else self._window.dump(now),
            }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """
        Take over what `snapshot` returned; HALF_OPEN comes back as OPEN and due.

        Raises:
            PolicyError: *snapshot* is not what `snapshot` returns.
        """
        try:
            state = CircuitState(snapshot["state"])
            failures, reopenings = int(snapshot["failures"]), int(snapshot["reopenings"])
            remaining = snapshot["remaining"]
            remaining = math.inf if remaining is None else max(0.0, float(remaining))
            window, last_error = list(snapshot["window"]), snapshot["last_error"]
            isolated = bool(snapshot["isolated"])
        except (KeyError, TypeError, ValueError) as error:
            msg = f"restore() of circuit {self.name!r} takes what snapshot() returned; {type(error).__name__}: {error}"
            raise PolicyError(msg) from None
        with self._lock:
            now = self.hub.clock.monotonic()
            if self._ledger.state != STATE_CLOSED:
                self._transit(STATE_CLOSED, reason="restored")
            ledger = self._ledger
            ledger.generation += 1
            for _ in range(max(0, failures - ledger.counter)):
                ledger.increment_counter()
            if self._window is not None:
                self._window.load(window, now)
            self._reopenings = max(0, reopenings)
            self._isolations = int(isolated)
            if state is not CircuitState.CLOSED:
                due = 0.0 if state is CircuitState.HALF_OPEN else min(remaining, self._open_time())
                self._transit(STATE_OPEN, reason="restored")
                ledger.opened_monotonic = now + due - self._open_time() if math.isfinite(self._open_time()) else now
            self.last_error = last_error
            self._refresh_locked()
        self.hub.drain()


def _rebuilt(name: str, given: dict[str, Any]) -> CircuitBreaker:
    breaker = CircuitBreaker(name)
    breaker.adopt(given)
    return breaker
