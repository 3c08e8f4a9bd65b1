"""
A circuit's machine: who is admitted, and what counts.

A *generation* is the number of state changes so far. A result counts only in
the generation in which its call was admitted; whatever arrives later is late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilient.adapters.pybreaker import STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN
from resilient.adapters.tenacity import TryAgain
from resilient.circuits.core import CircuitCore
from resilient.circuits.permits import Permit
from resilient.circuits.telling import queue_call
from resilient.errors import CallRejectedError, CircuitBreakerOpenError
from resilient.events import CallRejected, CircuitWouldOpen
from resilient.policies.tripping import lease_time, open_time
from resilient.redaction import readable
from resilient.text import cut, escape, safe_str, type_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resilient.operation import Operation
    from resilient.policies.base import Raised
    from resilient.policies.tripping import Lull

__all__ = ["CircuitMachine"]

_CAUSE_LIMIT = 200
_NO_FAILURES = (CallRejectedError, TryAgain)


class CircuitMachine(CircuitCore):
    """
    Admission and counting of one circuit.
    """

    late: int
    lull: Lull | None
    last_error: str | None

    @property
    def rejected(self) -> int:
        """
        Calls that were not admitted.
        """
        earlier, ticks = self._rejections
        return earlier if ticks is None else earlier + ticks.taken

    # -- admission -----------------------------------------------------------

    def admit(
        self, op: Operation | None = None, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Permit | CircuitBreakerOpenError:
        """
        Return a permit, or the error that says why there is none.
        """
        with self._lock:
            permit = self._admit_locked()
            reason = "isolated" if self._holds else self.state.value
            if isinstance(permit, CircuitBreakerOpenError):
                next(self._rejection_ticks())
            elif self._listening and op is not None and self.options["mode"] != "disabled":
                queue_call(self.hub, self.pybreaker, "before_call", op.fn, *args, **(kwargs or {}))
        self.hub.drain()
        if isinstance(permit, CircuitBreakerOpenError):
            emit = self.hub.emit if op is None else op.emit
            emit(CallRejected, circuit=self.name, reason=reason, retry_after=permit.retry_after)
            if op is not None:
                op.rejected += 1
        return permit

    def _admit_locked(self) -> Permit | CircuitBreakerOpenError:
        options, ledger = self.options, self._ledger
        if options["mode"] == "disabled" or (ledger.current == STATE_CLOSED and not self._rule.timed):
            return Permit(self, ledger.generation)
        now = self.hub.clock.monotonic()
        self._probe_if_due(now)
        if ledger.current == STATE_CLOSED or options["mode"] == "metrics_only":
            return Permit(self, ledger.generation, now)
        open_for = open_time(options, self._reopenings)
        if ledger.current == STATE_OPEN:
            return CircuitBreakerOpenError(self.name, self._wait(now), self.last_error)
        self._probes = self._in_flight(now)
        if not self._has_room():
            left = min(probe.expires for probe in self._probes) - now
            return CircuitBreakerOpenError(self.name, min(left, open_for), self.last_error)
        permit = Permit(self, ledger.generation, now, now + lease_time(options, open_for))
        self._probes = (*self._probes, permit)
        return permit

    def has_room(self) -> bool:
        """
        Tell whether a call would be admitted now; a due OPEN becomes HALF_OPEN.
        """
        with self._lock:
            now = self.hub.clock.monotonic()
            self._probe_if_due(now)
            self._probes = self._in_flight(now)
            state = self._ledger.current
            admitted = state == STATE_CLOSED or (state == STATE_HALF_OPEN and self._has_room())
        self.hub.drain()
        return admitted or self.options["mode"] != "on"

    def _probe_if_due(self, now: float) -> None:
        if self._ledger.current == STATE_OPEN and self._wait(now) == 0.0:
            self._transit(STATE_HALF_OPEN)

    def _in_flight(self, now: float) -> tuple[Permit, ...]:
        """
        Return the probes that were not given back, and whose lease is not over.
        """
        return tuple(probe for probe in self._probes if not probe.used and probe.expires > now)

    def _has_room(self) -> bool:
        return len(self._probes) < int(self.options["half_open_max_calls"])

    # -- results -------------------------------------------------------------

    def record(self, permit: Permit, outcome: Raised | None, op: Operation | None = None) -> None:
        """
        Take *permit* back and count what came of its call; None means it returned.
        """
        if outcome is not None and not self._counts(outcome, op):
            permit.release()
            return
        elapsed = None if permit.started is None else self.hub.clock.monotonic() - permit.started
        self._result(permit, outcome is not None, outcome, elapsed, op)

    def _counts(self, outcome: Raised, op: Operation | None) -> bool:
        """
        Tell whether an error is a failure; what is none is no success either.
        """
        # By its real type: `isinstance` would ask `__class__`, which may raise.
        error = outcome.error
        if issubclass(type(error), _NO_FAILURES):
            return False
        if self._counts_all:
            return True
        if self.options["mode"] == "disabled":
            return False
        ignore, counts = self.options["ignore"], self.options["counts"]

        def verdict() -> Any:
            return self.hub.classifier.classify(error) if op is None else op.verdict(outcome)

        try:
            return bool(not (ignore and ignore.matches(error, verdict)) and counts.matches(error, verdict))
        except Exception as problem:  # noqa: BLE001 - a predicate that raises must not replace the error
            self.hub.report(f"counts= or ignore= of circuit {self.name!r}", problem)
            return False

    def _result(
        self,
        permit: Permit,
        failed: bool,  # noqa: FBT001 - keywords would cost time on every failure
        outcome: Raised | None = None,
        elapsed: float | None = None,
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
            counted = self._take_locked(permit.generation, failed, outcome, elapsed, op)
            generation = self._ledger.generation
        if counted:
            self._counted(permit.generation, generation, outcome)

    def failed(self, generation: int, outcome: Raised, op: Operation) -> None:
        """
        Count the failure of a call that passed quietly in *generation*.
        """
        if not self._counts(outcome, op):
            return
        elapsed = None if op.started is None else self.hub.clock.monotonic() - op.started
        with self._lock:
            counted = self._take_locked(generation, True, outcome, elapsed, op)  # noqa: FBT003 - as `_result`
            now = self._ledger.generation
        if counted:
            self._counted(generation, now, outcome)

    def _counted(self, before: int, generation: int, outcome: Raised | None) -> None:
        """
        Do what a result has brought about and no lock is held for.
        """
        if outcome is not None and generation != before:
            self._name_cause(outcome.error, generation)
        if self.hub.waiting:
            self.hub.drain()

    def _take_locked(
        self,
        generation: int,
        failed: bool,  # noqa: FBT001 - as `_result`
        outcome: Raised | None,
        elapsed: float | None,
        op: Operation | None,
    ) -> bool:
        """
        Count a result of a call admitted in *generation*, if it counts at all.
        """
        ledger = self._ledger
        if self.options["mode"] == "disabled":
            return False
        if generation != ledger.generation:
            self.late += 1
            return False
        # As pybreaker does: a failure is told before the transition that it causes, a success after.
        if failed and self._listening:
            queue_call(self.hub, self.pybreaker, "failure", outcome and outcome.error)
        self._by = op, outcome
        try:
            self._count_locked(failed, elapsed)
        finally:
            self._by = None, None
        if not failed and self._listening:
            queue_call(self.hub, self.pybreaker, "success")
        return True

    def _count_locked(self, failed: bool, elapsed: float | None) -> None:  # noqa: FBT001 - as `_result`
        ledger, rule = self._ledger, self._rule if self.lull is None else self._whole_rule()
        now = self.hub.clock.monotonic()
        if failed:
            self._last_failure = now
        if ledger.current == STATE_HALF_OPEN:
            if failed:
                self._trip("probe", now)
                return
            ledger.successes += 1
            if ledger.successes >= self.options["success_threshold"]:
                self._transit(STATE_CLOSED, reason="probes")
        elif ledger.current == STATE_CLOSED:
            had_failures = ledger.failures > 0
            in_a_row = ledger.failures + 1 if failed else 0
            reason, ledger.failures = rule.count(now, in_a_row, failed, elapsed)
            if reason is not None:
                self._trip(reason, now)
            if rule.consecutive and had_failures != failed:
                self.relisted()
            if rule.timed:
                # Once more: a signal handler may have begun a lull that this result does not allow.
                self._whole_rule()

    def _name_cause(self, error: Exception, generation: int) -> None:
        """
        Add the error's text to its type; not under the lock, for the error's own code makes it.
        """
        # Redacted and escaped at once, for it is shown in rejections; cut after that, or half a secret would be left.
        text = cut(readable(f"{type_name(error)}: {safe_str(error)}"), _CAUSE_LIMIT)
        with self._lock:
            if self._ledger.generation == generation and self._ledger.current == STATE_OPEN:
                self.last_error = text

    def _trip(self, reason: str, now: float) -> None:
        because: dict[str, Any] = {
            "reason": reason,
            "failures": self._rule.failures(now, self._ledger.failures),
            "rate": None if reason == "probe" else self._rule.rate(now, reason),
            "calls": None if reason == "probe" else self._rule.calls(now),
        }
        if self.options["mode"] == "metrics_only":
            if not self._would_have_opened:
                self._would_have_opened = True
                self._queue_event(CircuitWouldOpen, because)
            return
        if reason == "probe":
            self._reopenings += 1
        outcome = self._by[1]
        if outcome is not None:
            self.last_error = escape(type_name(outcome.error))
        self._transit(STATE_OPEN, **because)

    def succeeded(self, generation: int, elapsed: float | None) -> None:
        """
        Count a quiet call's success.
        """
        with self._lock:
            counted = self._take_locked(generation, False, None, elapsed, None)  # noqa: FBT003 - as `_result`
            if counted and self._rule.timed:
                self._begin_lull()
        if counted:
            self.hub.drain()

    def _begin_lull(self) -> None:
        lull = self._rule.lull()
        # In one step: a signal handler may have begun one.
        self.lull = self.lull or lull
        # Last: whatever a handler has changed meanwhile has ended this lull.
        lull.until = self._rule.lull_until()

    def has_counted(self, lull: Lull, number: int) -> bool:
        """
        Tell whether the success that took *number* in *lull*, which is over, was still counted.
        """
        with self._lock:
            return number < lull.total

    def quiet_permit(self, generation: int, started: float | None) -> Permit:
        """
        Return the permit of a call that passed quietly in *generation*.
        """
        return Permit(self, generation, started)
