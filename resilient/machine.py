"""
A circuit's machine: who is admitted, what counts, when it opens and closes.

::

    CLOSED --- trip rule ---> OPEN --- time is up, and somebody asks ---> HALF_OPEN
       ^                       ^                                            |   |
       |                       +------------- a probe fails ----------------+   |
       +---------------------- enough probes succeed ---------------------------+

A *generation* is the number of state changes so far. A result counts only in
the generation in which its call was admitted; whatever arrives later is late.
pybreaker's breaker holds the state and makes each transition (see
`resilient.adapters.pybreaker`); everything here happens under one lock, for a
few lines of arithmetic, and no user code runs inside it.
"""

from __future__ import annotations

import math
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pybreaker

from resilient.adapters.pybreaker import STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN, Ledger, make_breaker
from resilient.adapters.tenacity import TryAgain
from resilient.errors import CircuitBreakerOpenError
from resilient.events import (
    CallRejected,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    CircuitWouldOpen,
    Event,
)
from resilient.policies.base import Raised
from resilient.policies.circuit import (
    CircuitState,
    lease_time,
    make_window,
    min_calls,
    open_time,
)
from resilient.policies.window import TimeWindow, Totals
from resilient.text import safe_str, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from resilient.hub import Hub
    from resilient.operation import Operation
    from resilient.pipeline import Pipeline

__all__ = ["CircuitMachine", "Permit"]

_STATES = {
    STATE_CLOSED: CircuitState.CLOSED,
    STATE_OPEN: CircuitState.OPEN,
    STATE_HALF_OPEN: CircuitState.HALF_OPEN,
}

_FOREIGN_STATES = {
    STATE_CLOSED: pybreaker.CircuitClosedState,
    STATE_OPEN: pybreaker.CircuitOpenState,
    STATE_HALF_OPEN: pybreaker.CircuitHalfOpenState,
}


class Permit:
    """
    The right to make one call through a circuit; to be given back exactly once.

    Args:
        machine: Whose permit it is.
        generation: The generation that it was given in.
        probe: Whether it is one of the few of a half-open circuit.
        started: Monotonic seconds at admission, where slow calls count.
    """

    __slots__ = ("expires", "generation", "machine", "probe", "started", "used")

    def __init__(
        self, machine: CircuitMachine, generation: int, *, probe: bool = False, started: float | None = None
    ) -> None:
        self.machine = machine
        self.generation = generation
        self.probe = probe
        self.started = started
        self.expires = math.inf
        self.used = False

    def success(self) -> None:
        """
        Give the permit back: the call succeeded.
        """
        self.machine.record(self, None)

    def failure(self, error: Exception) -> None:
        """
        Give the permit back: the call raised *error*, which counts as the options say.
        """
        self.machine.record(self, Raised(error))

    def release(self) -> None:
        """
        Give the permit back: the call has neither succeeded nor failed.
        """
        self.machine.release(self)

    def __repr__(self) -> str:
        kind = "probe" if self.probe else "call"
        return f"<Permit for a {kind} through {self.machine.name!r}{', given back' if self.used else ''}>"


class CircuitMachine:
    """
    State, admission and counting of one circuit.

    Args:
        name: The circuit's name.
        options: A value for every row of `CIRCUIT_OPTIONS`.
        hub: Where time comes from and events go to.
    """

    timed = False

    def __init__(self, name: str, options: Mapping[str, Any], hub: Hub) -> None:
        self.name = name
        self.options = options
        self.hub = hub
        self.rejected = 0
        self.late = 0
        self.last_error: str | None = None
        self._ledger = Ledger(hub.clock, self._moved)
        # The real pybreaker breaker: the one holder of state and counters.
        self.pybreaker = make_breaker(name, self._ledger)
        self._window = make_window(options)
        self._probes: list[Permit] = []
        self._owners: tuple[weakref.ref[Pipeline], ...] = ()
        self._isolations = 0
        self._reopenings = 0
        self._last_failure: float | None = None
        self._would_have_opened = False
        # What the transition that is being made tells about itself.
        self._because: dict[str, Any] = {}
        self._by: Operation | None = None
        self._renew_locks()
        self._settle_options()

    def _renew_locks(self) -> None:
        # One lock for both: with two, a transition made on `pybreaker` itself
        # would take them in the opposite order.
        self._lock = self.pybreaker._lock = threading.RLock()  # noqa: SLF001 - pybreaker takes no lock from outside

    def _settle_options(self) -> None:
        """
        Work out what the options mean for the gate.
        """
        options = self.options
        self._by_rate = options["failure_rate"] is not None
        self._consecutive = not self._by_rate and not isinstance(self._window, TimeWindow)
        # A success has to be recorded where a rate is a rate of all calls.
        self.timed = self._window is not None and (self._by_rate or options["slow_call"] is not None)

    # -- the gate (see `resilient.pipeline.Gate`) ----------------------------

    @property
    def generation(self) -> int | None:
        """
        The generation while every call may pass and no success is waited for, else None.
        """
        options = self.options
        ledger = self._ledger
        if options["mode"] == "disabled":
            return ledger.generation
        if options["listeners"] or ledger.state is not STATE_CLOSED:
            return None
        if self._consecutive and ledger.counter:
            return None
        return ledger.generation

    def attach(self, owner: Pipeline) -> None:
        """
        Tell *owner*, held weakly, whenever `generation` comes or goes.
        """
        with self._lock:
            alive = [ref for ref in self._owners if ref() is not None and ref() is not owner]
            self._owners = (*alive, weakref.ref(owner))

    def detach(self, owner: Pipeline) -> None:
        """
        Forget *owner*.
        """
        with self._lock:
            self._owners = tuple(ref for ref in self._owners if ref() is not None and ref() is not owner)

    @property
    def used(self) -> bool:
        """
        Whether any pipeline goes through this circuit.
        """
        return any(ref() is not None for ref in self._owners)

    def _refresh_locked(self) -> None:
        for ref in self._owners:
            owner = ref()
            if owner is not None:
                owner.refresh()

    def succeeded(self, generation: int, elapsed: float | None) -> None:
        """
        Count a quiet call's success.
        """
        permit = Permit(self, generation)
        self._result(permit, failed=False, elapsed=elapsed)
        self.hub.drain()

    def quiet_permit(self, generation: int, started: float | None) -> Permit:
        """
        Return the permit of a call that passed quietly in *generation*.
        """
        return Permit(self, generation, started=started)

    # -- admission -----------------------------------------------------------

    def admit(
        self, op: Operation | None = None, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Permit | CircuitBreakerOpenError:
        """
        Return a permit, or the error that says why there is none.
        """
        with self._lock:
            permit = self._admit_locked()
            if isinstance(permit, Permit):
                listeners = self.options["listeners"]
                if listeners and op is not None:
                    self._tell_listeners("before_call", op.fn, *args, **(kwargs or {}))
            else:
                self.rejected += 1
        if not isinstance(permit, Permit) and op is not None:
            op.rejected += 1
            if op.told(CallRejected):
                state = "isolated" if self._isolations else self._ledger.state
                op.emit(CallRejected, circuit=self.name, reason=state, retry_after=permit.retry_after)
        self.hub.drain()
        return permit

    def _admit_locked(self) -> Permit | CircuitBreakerOpenError:
        ledger = self._ledger
        options = self.options
        if options["mode"] == "disabled":
            return Permit(self, -1)
        now = self.hub.clock.monotonic()
        if ledger.state is STATE_OPEN and not self._isolations and self._remaining(now) <= 0.0:
            self._transit(STATE_HALF_OPEN)
        if ledger.state is STATE_CLOSED:
            return Permit(self, ledger.generation, started=now if self.timed else None)
        if ledger.state is STATE_OPEN:
            wait = None if self._isolations else self._remaining(now)
            return self._rejection(None if wait == math.inf else wait)
        if not self._has_room(now):
            oldest = min(permit.expires for permit in self._probes)
            return self._rejection(max(0.0, min(oldest - now, self._open_time())))
        permit = Permit(self, ledger.generation, probe=True, started=now)
        permit.expires = now + lease_time(options, self._open_time())
        self._probes.append(permit)
        return permit

    def _has_room(self, now: float) -> bool:
        """
        Take back the permits of probes that never reported, and tell whether another may go.
        """
        self._probes = [permit for permit in self._probes if permit.expires > now]
        return len(self._probes) < self.options["half_open_max_calls"]

    def _open_time(self) -> float:
        return open_time(self.options, self._reopenings)

    def _remaining(self, now: float) -> float:
        """
        Return the seconds until probes are admitted.
        """
        return max(0.0, self._ledger.opened_monotonic + self._open_time() - now)

    def _rejection(self, retry_after: float | None) -> CircuitBreakerOpenError:
        return CircuitBreakerOpenError(self.name, retry_after, self.last_error)

    # -- results -------------------------------------------------------------

    def record(self, permit: Permit, outcome: Raised | None, op: Operation | None = None) -> None:
        """
        Take *permit* back and count what came of its call; None means it returned.
        """
        verdict: bool | None = False
        if outcome is not None:
            verdict = self._is_failure(outcome, op)
        if verdict is None:
            self.release(permit)
            return
        elapsed = None if permit.started is None else self.hub.clock.monotonic() - permit.started
        self._result(permit, failed=verdict, elapsed=elapsed, error=outcome.error if outcome else None, op=op)
        self.hub.drain()

    def release(self, permit: Permit) -> None:
        """
        Take *permit* back; its call has neither succeeded nor failed.
        """
        with self._lock:
            permit.used = True
            if permit in self._probes:
                self._probes.remove(permit)

    def _is_failure(self, outcome: Raised, op: Operation | None) -> bool | None:
        """
        Tell whether an error counts; None for what is neither failure nor success.
        """
        error = outcome.error
        if isinstance(error, CircuitBreakerOpenError | TryAgain):
            return None
        ignore, counts = self.options["ignore"], self.options["counts"]

        def verdict() -> Any:
            return self.hub.classifier.classify(error) if op is None else op.verdict(outcome)

        try:
            if ignore and ignore.matches(error, verdict):
                return None
            return True if counts.matches(error, verdict) else None
        except Exception as problem:  # noqa: BLE001 - a predicate that raises must not replace the error
            self.hub.report(f"counts= or ignore= of circuit {self.name!r}", problem)
            return None

    def _result(
        self,
        permit: Permit,
        *,
        failed: bool,
        elapsed: float | None,
        error: Exception | None = None,
        op: Operation | None = None,
    ) -> None:
        """
        Count one result.

        ==========  ==========================================  ===================
        state       success                                     failure
        ==========  ==========================================  ===================
        CLOSED      forget failures; look at the rates          look at the trip rule
        HALF_OPEN   enough of them: CLOSED                      OPEN, for longer
        OPEN        -                                           -
        other gen.  late                                        late
        ==========  ==========================================  ===================
        """
        with self._lock:
            if permit.used:
                return
            permit.used = True
            if permit in self._probes:
                self._probes.remove(permit)
            if self.options["mode"] == "disabled":
                return
            if permit.generation != self._ledger.generation:
                self.late += 1
                return
            self._by = op
            self._count_locked(failed=failed, elapsed=elapsed, error=error)
            self._by = None
            if self.options["listeners"]:
                if failed:
                    self._tell_listeners("failure", error)
                else:
                    self._tell_listeners("success")

    def _count_locked(self, *, failed: bool, elapsed: float | None, error: Exception | None) -> None:
        ledger = self._ledger
        now = self.hub.clock.monotonic()
        if failed:
            self._last_failure = now
        if ledger.state is STATE_HALF_OPEN:
            if failed:
                self._reopenings += 1
                self._trip("probe", error)
                return
            ledger.increment_success_counter()
            if ledger.success_counter >= self.options["success_threshold"]:
                self._transit(STATE_CLOSED, reason="probes")
        elif ledger.state is STATE_CLOSED:
            was = ledger.counter
            if failed:
                ledger.increment_counter()
            else:
                ledger.reset_counter()
            slow = elapsed is not None and self.options["slow_call"] is not None and elapsed > self.options["slow_call"]
            if self._window is not None:
                self._window.record(now, failed=failed, slow=slow)
            reason = self._trip_reason(now)
            if reason is not None:
                self._trip(reason, error)
            elif bool(was) != bool(ledger.counter):
                self._refresh_locked()

    def _trip_reason(self, now: float) -> str | None:
        """
        Return why the circuit has to open now, or None.
        """
        options = self.options
        if self._window is None:
            return "failures" if self._ledger.counter >= options["failure_threshold"] else None
        calls, failures, slow = self._window.totals(now)
        enough = calls >= min_calls(options)
        if self._by_rate:
            if enough and failures / calls >= options["failure_rate"]:
                return "failure rate"
        elif (self._ledger.counter if self._consecutive else failures) >= options["failure_threshold"]:
            return "failures"
        if enough and options["slow_call"] is not None and slow / calls >= options["slow_call_rate"]:
            return "slow"
        return None

    def rate_is_defined(self, calls: int) -> bool:
        """
        Tell whether *calls* in the window are enough for a rate.
        """
        return self._window is not None and calls >= min_calls(self.options)

    def _totals(self) -> Totals:
        return Totals() if self._window is None else self._window.totals(self.hub.clock.monotonic())

    @property
    def failure_count(self) -> int:
        """
        The failures that the trip rule looks at.
        """
        return self._ledger.counter if self._consecutive else self._totals().failures

    # -- transitions ---------------------------------------------------------

    def _trip(self, reason: str, error: Exception | None) -> None:
        totals = self._totals()
        because: dict[str, Any] = {
            "reason": reason,
            "failures": self.failure_count,
            "rate": totals.failures / totals.calls if totals.calls else None,
            "calls": totals.calls if self._window is not None else None,
        }
        if self.options["mode"] == "metrics_only":
            if not self._would_have_opened:
                self._would_have_opened = True
                self._queue_event(CircuitWouldOpen, because)
            self._refresh_locked()
            return
        if error is not None:
            self.last_error = f"{type_name(error)}: {safe_str(error, 200)}"
        self._transit(STATE_OPEN, error=error, **because)

    def _transit(self, state: str, **because: Any) -> None:
        """
        Let pybreaker make a transition; `_moved` hears of it.
        """
        self._because = because
        breaker = self.pybreaker
        if state is STATE_OPEN:
            breaker.open()
        elif state is STATE_CLOSED:
            breaker.close()
        else:
            breaker.half_open()
        self._because = {}

    def _moved(self, previous: str, state: str) -> None:
        """
        Follow a transition that pybreaker has made: forget what belonged to the old state, and tell.
        """
        with self._lock:
            self._probes = []
            self._ledger.reset_success_counter()
            because = {"reason": "manual", **self._because, "previous": _STATES[previous].value}
            kind: type[Event]
            if state == STATE_OPEN:
                kind = CircuitOpened
                wait = self._open_time()
                because["retry_after"] = None if self._isolations or wait == math.inf else wait
            elif state == STATE_CLOSED:
                kind = CircuitClosed
                self._clear_locked()
            else:
                kind = CircuitHalfOpened
                del because["reason"]
            self._queue_event(kind, because)
            if self.options["listeners"]:
                foreign = self.pybreaker
                self._tell_listeners(
                    "state_change", _FOREIGN_STATES[previous](foreign, None), _FOREIGN_STATES[state](foreign, None)
                )
            self._refresh_locked()

    def _clear_locked(self) -> None:
        """
        Zero everything that a closed circuit starts without.
        """
        self._ledger.reset_counter()
        self._ledger.reset_success_counter()
        if self._window is not None:
            self._window.clear()
        self._reopenings = 0
        self._would_have_opened = False
        self.last_error = None

    # -- telling ---------------------------------------------------------------

    def _queue_event(self, kind: type[Event], fields: dict[str, Any]) -> None:
        op = self._by
        if not (self.hub.wants(kind) if op is None else op.told(kind)):
            return
        error = fields.pop("error", None)

        def tell() -> None:
            if error is not None and op is not None:
                fields["error"] = op.info(Raised(error))
            if op is None:
                self.hub.emit(kind, circuit=self.name, **fields)
            else:
                op.emit(kind, circuit=self.name, **fields)

        self.hub.queue(tell)

    def _tell_listeners(self, method: str, *args: Any, **kwargs: Any) -> None:
        def tell() -> None:
            for listener in self.options["listeners"]:
                try:
                    getattr(listener, method)(self.pybreaker, *args, **kwargs)
                except Exception as error:  # noqa: BLE001 - a listener never harms a call
                    self.hub.report(f"{method} of listener {type(listener).__qualname__}", error)

        self.hub.queue(tell)

    def has_room(self) -> bool:
        """
        Tell whether a call would be admitted now; a due OPEN becomes HALF_OPEN.
        """
        with self._lock:
            ledger = self._ledger
            if self.options["mode"] == "disabled":
                return True
            now = self.hub.clock.monotonic()
            if ledger.state is STATE_OPEN and not self._isolations and self._remaining(now) <= 0.0:
                self._transit(STATE_HALF_OPEN)
            admitted = ledger.state is STATE_CLOSED or (ledger.state is STATE_HALF_OPEN and self._has_room(now))
        self.hub.drain()
        return admitted
