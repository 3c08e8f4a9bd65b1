"""
A circuit as people operate it: move, isolate, reset and configure it, look at it, save it.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from resilient.adapters.pybreaker import STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN
from resilient.circuits.core import NO_REJECTIONS
from resilient.circuits.machine import CircuitMachine
from resilient.circuits.snapshots import checked
from resilient.configs import CircuitBreakerConfig
from resilient.errors import PolicyError
from resilient.policies.circuit import CircuitState
from resilient.policies.options import describe
from resilient.policies.tripping import open_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

__all__ = ["Isolation", "OperatedCircuit"]

_TO_FOREIGN = {
    CircuitState.CLOSED: STATE_CLOSED,
    CircuitState.OPEN: STATE_OPEN,
    CircuitState.HALF_OPEN: STATE_HALF_OPEN,
}


class Isolation:
    """
    One hold on an isolated circuit; the circuit stays shut until all are released.

    A context manager: leaving the block releases it.
    """

    __slots__ = ("_circuit",)

    def __init__(self, circuit: OperatedCircuit) -> None:
        self._circuit = circuit

    def release(self) -> None:
        """
        Give this hold up; the last one closes the circuit. A second call does nothing.
        """
        self._circuit.end_isolation(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()

    def __repr__(self) -> str:
        state = "" if self._circuit.is_held_by(self) else ", released"
        return f"<Isolation of circuit {self._circuit.name!r}{state}>"


class OperatedCircuit(CircuitMachine):
    """
    What can be done to a circuit by hand.
    """

    late: int
    last_error: str | None

    def __repr__(self) -> str:
        state = self.get_state()
        shown = [f"{'isolated' if state['isolated'] else state['state']}, failures {state['failure_count']}"]
        if state["retry_after"] is not None:
            shown.append("probe due" if state["probe_due"] else f"probe in {state['retry_after']:.3g} s")
        if state["mode"] != "on":
            shown.append(f"mode {state['mode']}")
        return f"<{type(self).__name__} {self.name!r}: {', '.join(shown)}>"

    # -- moving --------------------------------------------------------------

    @property
    def state(self) -> CircuitState:
        """
        The state, settable by hand. OPEN stays OPEN until somebody asks to be admitted.

        Closing it by hand ends its isolations; so does HALF_OPEN.
        """
        return super().state

    @state.setter
    def state(self, state: CircuitState | str) -> None:
        try:
            wanted = CircuitState(state)
        except ValueError:
            names = ", ".join(repr(one.value) for one in CircuitState)
            msg = f"state of circuit {self.name!r} must be a CircuitState or one of {names}, got {describe(state)}"
            raise PolicyError(msg) from None
        self.move_to(_TO_FOREIGN[wanted])

    def close(self) -> None:
        """
        Close the circuit and end all isolations.
        """
        self.move_to(STATE_CLOSED)

    def reset(self) -> None:
        """
        Close the circuit, zero its counts, and let calls in flight belong to the past.
        """
        with self._lock:
            self._begin_anew(STATE_CLOSED, reason="reset")
            self._rejections = NO_REJECTIONS
            self.late = 0
            self._last_failure = None
        self.hub.drain()

    def _begin_anew(self, state: str, **because: Any) -> None:
        """
        Move to *state*, with nothing counted and a generation of its own even if that is the state already.
        """
        self._clear()
        if self._ledger.current == state:
            self._ledger.generation += 1
            self.relisted()
        else:
            self._transit(state, **because)

    def isolate(self) -> Isolation:
        """
        Reject every call until the returned hold, and all others, are released, or `close` is called.
        """
        hold = Isolation(self)
        with self._lock:
            self._holds = (*self._holds, hold)
            if self._ledger.current == STATE_OPEN:
                self.relisted()
            else:
                self._transit(STATE_OPEN, reason="isolated")
        self.hub.drain()
        return hold

    def end_isolation(self, hold: Isolation) -> None:
        """
        Take *hold* off; the last one closes the circuit.
        """
        with self._lock:
            if self.is_held_by(hold):
                self._holds = tuple(one for one in self._holds if one is not hold)
                if not self._holds:
                    self._transit(STATE_CLOSED)
        self.hub.drain()

    def is_held_by(self, hold: Isolation) -> bool:
        """
        Tell whether *hold* keeps the circuit isolated.
        """
        return hold in self._holds

    # -- configuring -----------------------------------------------------------

    def configure(self, config: CircuitBreakerConfig) -> None:
        """
        Put other options in force, whatever is declared; state and counts stay.
        """
        if not isinstance(config, CircuitBreakerConfig):
            msg = f"configure() of circuit {self.name!r} takes a CircuitBreakerConfig, got {describe(config)}"
            raise PolicyError(msg)
        self.adopt(config.given, {})

    def adopt(self, given: Mapping[str, Any], declared: Mapping[str, tuple[int, Any]] | None = None) -> None:
        """
        Put checked options in force; see `configure`.

        Args:
            given: The options.
            declared: What is declared over them, each with the rank of its layer; None: what is now.
        """
        with self._lock:
            if declared is not None:
                self.declared = declared
            now = self.hub.clock.monotonic()
            old = self._whole_rule()
            self._put_in_force(given)
            # A window that has seen failures only would make a rate of 1.
            if old.timed or not self._rule.timed:
                self._rule.load(old.dump(now), now)
            self._set_due()
            self.relisted()

    # -- looking at it -----------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """
        Return what health shows, JSON-ready.

        ``rate`` is None while fewer than ``min_calls`` calls are in the window;
        ``probe_due`` says that an open circuit waits for somebody to ask.
        """
        with self._lock:
            now = self.hub.clock.monotonic()
            ledger, rule = self._ledger, self._whole_rule()
            wait = self._wait(now) if ledger.current == STATE_OPEN else None
            return {
                "name": self.name,
                "state": self.state.value,
                "failure_count": rule.failures(now, ledger.failures),
                "success_count": ledger.successes,
                "last_failure_time": self._wall_time(self._last_failure, now),
                "last_error": self.last_error,
                "probe_due": wait == 0.0,
                "retry_after": wait,
                "isolated": bool(self._holds),
                "critical": self.options["critical"],
                "mode": self.options["mode"],
                "rate": rule.rate(now),
                "calls": rule.calls(now),
                "rejected": self.rejected,
                "late": self.late,
                "generation": ledger.generation,
            }

    def _wall_time(self, moment: float | None, now: float) -> str | None:
        if moment is None:
            return None
        return (self.hub.clock.now() - timedelta(seconds=now - moment)).isoformat()

    # -- saving ------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """
        Return state and counts, JSON-ready, for `restore`; times as seconds that remain.
        """
        with self._lock:
            now = self.hub.clock.monotonic()
            ledger = self._ledger
            remaining = self._remaining(now) if ledger.current == STATE_OPEN else 0.0
            return {
                "name": self.name,
                "state": self.state.value,
                "failures": ledger.failures,
                "successes": ledger.successes,
                "remaining": None if remaining == math.inf else remaining,
                "reopenings": self._reopenings,
                "isolated": bool(self._holds),
                "last_error": self.last_error,
                "last_failure_age": None if self._last_failure is None else now - self._last_failure,
                "rejected": self.rejected,
                "late": self.late,
                "window": self._whole_rule().dump(now),
            }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """
        Take over what `snapshot` returned; HALF_OPEN comes back as OPEN and due.

        Calls in flight belong to the past.

        Raises:
            PolicyError: *snapshot* is not what `snapshot` returns.
        """
        saved = checked(f"restore() of circuit {self.name!r}", snapshot)
        was = CircuitState(saved["state"])
        isolated = saved["isolated"] and was is CircuitState.OPEN
        with self._lock:
            now = self.hub.clock.monotonic()
            if was is CircuitState.CLOSED:
                self._begin_anew(STATE_CLOSED, reason="restored")
            else:
                open_for = open_time(self.options, saved["reopenings"])
                left = math.inf if saved["remaining"] is None else saved["remaining"]
                left = 0.0 if was is CircuitState.HALF_OPEN else min(left, open_for)
                wait = None if isolated or left == math.inf else left
                self._begin_anew(STATE_OPEN, reason="restored", retry_after=wait)
                self._due = now + left
                self._ledger.opened_monotonic = now - (0.0 if open_for == math.inf else open_for - left)
            self._holds = (Isolation(self),) if isolated else ()
            self._reopenings = saved["reopenings"]
            self._ledger.failures = saved["failures"]
            self._rule.load(list(saved["window"]), now)
            self.last_error = saved["last_error"]
            age = saved["last_failure_age"]
            self._last_failure = None if age is None else now - age
            self._rejections = saved["rejected"], None
            self.late = saved["late"]
            self.relisted()
        self.hub.drain()
