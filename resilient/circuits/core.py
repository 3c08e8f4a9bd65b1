"""
A circuit's core: its state, its transitions, and the gate that it is.

::

    CLOSED --- trip rule ---> OPEN --- time is up, and somebody asks ---> HALF_OPEN
       ^                       ^                                            |   |
       |                       +------------- a probe fails ----------------+   |
       +---------------------- enough probes succeed ---------------------------+

pybreaker's breaker holds the state and makes each transition (see
`resilient.adapters.pybreaker`). Everything happens under one lock, for a few
lines of arithmetic, and no user code runs inside it.
"""

from __future__ import annotations

import math
import threading
import weakref
from typing import TYPE_CHECKING, Any

from resilient.adapters.pybreaker import (
    STATE_CLOSED,
    STATE_HALF_OPEN,
    STATE_OPEN,
    Foreign,
    Ledger,
    state_of,
    transit,
)
from resilient.circuits.telling import queue_call, queue_event
from resilient.errors import CircuitBreakerOpenError
from resilient.events import CircuitClosed, CircuitHalfOpened, CircuitOpened, Event
from resilient.forks import survives_fork
from resilient.gates import ROUNDING, Shut
from resilient.policies.circuit import CIRCUIT_OPTIONS, CircuitState
from resilient.policies.tripping import Lull, TripRule, open_time
from resilient.ticks import Ticks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resilient.circuits.permits import Permit
    from resilient.gates import Stack
    from resilient.hub import Hub
    from resilient.operation import Operation
    from resilient.policies.base import Raised

__all__ = ["NO_REJECTIONS", "CircuitCore"]

_STATES = {
    STATE_CLOSED: CircuitState.CLOSED,
    STATE_OPEN: CircuitState.OPEN,
    STATE_HALF_OPEN: CircuitState.HALF_OPEN,
}
_EVENTS: dict[str, type[Event]] = {
    STATE_CLOSED: CircuitClosed,
    STATE_OPEN: CircuitOpened,
    STATE_HALF_OPEN: CircuitHalfOpened,
}

# Shared by all circuits that were given no options of their own; without a window a rule has no state.
_DEFAULTS = CIRCUIT_OPTIONS.filled({})
_DEFAULT_RULE = TripRule(_DEFAULTS)

# Nobody turned away, and nothing to count it yet.
NO_REJECTIONS = 0, None

# Nothing given, and nothing told; never changed.
_NOTHING: Mapping[str, Any] = {}


class CircuitCore:
    """
    The state of one circuit.

    Args:
        name: The circuit's name.
        given: The checked options that were given; the others are the defaults.
        hub: Where time comes from and events go to.

    Attributes:
        given: The options that were given, by decorators or by hand.
        declared: Those that declarations put over them, each with the rank of its layer; replaced whole.
        options: A value for every row of `CIRCUIT_OPTIONS`.
        late: Results that came in a later generation than their call's.
        last_error: Text of the error that opened the circuit.
    """

    declared: Mapping[str, tuple[int, Any]] = _NOTHING

    def __init__(self, name: str, given: Mapping[str, Any], hub: Hub) -> None:
        self.name = name
        self.hub = hub
        self.late: int = 0
        self.last_error: str | None = None
        self._ledger = Ledger(hub.clock, self)
        self._foreign: Foreign | None = None
        # The permits of a half-open circuit, and who holds it isolated.
        self._probes: tuple[Permit, ...] = ()
        self._holds: tuple[object, ...] = ()
        self._owners: tuple[weakref.ref[Stack], ...] = ()
        # Monotonic seconds at which an open circuit may be probed.
        self._due = math.inf
        # Published, to be read without the lock: that all calls are turned away, and
        # that successes are to be counted here and not in the window.
        self.shut: Shut | None = None
        self.lull: Lull | None = None
        # How many there were, and what counts them from then on: made when it is needed,
        # and replaced whole, for a call turned away before a reset does not count after.
        self._rejections: tuple[int, Ticks | None] = NO_REJECTIONS
        self._reopenings = 0
        self._last_failure: float | None = None
        self._would_have_opened = False
        self._renew_locks()
        self.given: Mapping[str, Any] = _NOTHING
        self.options: Mapping[str, Any] = _DEFAULTS
        self._put_in_force(given)
        survives_fork(self)

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()
        if self._foreign is not None:
            self._foreign.renew_lock(self._lock)
        # What the transition that is being made tells about itself.
        self._because = _NOTHING
        self._by: tuple[Operation | None, Raised | None] = None, None

    def _put_in_force(self, given: Mapping[str, Any]) -> None:
        before = self.options
        self.given = dict(given) if given else _NOTHING
        over = {option: value for option, (_, value) in self.declared.items()}
        self.options = CIRCUIT_OPTIONS.filled({**given, **over} if over else given)
        self._rule = TripRule(self.options) if given or over else _DEFAULT_RULE
        # Whether every error is a failure, as it is by default.
        self._counts_all = self.options["counts"].types == (Exception,) and not self.options["ignore"]
        if self._foreign is not None:
            self._foreign.follow(self.options, before)
        self._listening = self._has_listeners()

    @property
    def pybreaker(self) -> Foreign:
        """
        The real pybreaker breaker beneath, made when it is first asked for or makes its first transition.

        Its transitions and its listeners are the circuit's; its ``call`` would
        hold its lock around the function, and knows none of the options.
        """
        return self._foreign or self._make_foreign()

    def _make_foreign(self) -> Foreign:
        with self._lock:
            foreign = Foreign(self.name, self._ledger, self, self._lock, self.options)
            # In one step: another thread, or a signal handler, may have made one.
            made = self._foreign = self._foreign or foreign
        return made

    def _has_listeners(self) -> bool:
        return bool(self.options["listeners"] if self._foreign is None else self._foreign.listeners)

    # -- the gate (see `resilient.pipeline.Gate`) ----------------------------

    @property
    def generation(self) -> int | None:
        """
        The generation while every call may pass, else None.
        """
        ledger = self._ledger
        if self.options["mode"] == "disabled":
            return ledger.generation
        return None if ledger.current != STATE_CLOSED or self._listening else ledger.generation

    @property
    def timed(self) -> bool:
        """
        Whether every success is waited for, with the seconds it took: for a rate, or to end a row of failures.
        """
        rule = self._rule
        waits = rule.timed or (rule.consecutive and self._ledger.failures > 0)
        return waits and self.options["mode"] != "disabled"

    def attach(self, owner: Stack) -> None:
        """
        Tell *owner*, held weakly, whenever `generation`, `timed` or `shut` may have changed.
        """
        with self._lock:
            self.detach(owner)
            # The reference that all its gates share.
            ref = weakref.ref(owner)
            self._owners = (*self._owners, ref)

    def detach(self, owner: Stack) -> None:
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

    def relisted(self) -> None:
        """
        Look for listeners, and tell all owners to look at this gate again.
        """
        with self._lock:
            self._whole_rule()
            self._listening = self._has_listeners()
            self.shut = self._shut_now()
            for ref in self._owners:
                owner = ref()
                if owner is not None:
                    owner.refresh()

    def _shut_now(self) -> Shut | None:
        if self._ledger.current != STATE_OPEN or self.options["mode"] != "on":
            return None
        until = None if self._holds or self._due == math.inf else self._due
        return Shut(self, CircuitBreakerOpenError, self._rejection_ticks(), until)

    # -- reading -------------------------------------------------------------

    @property
    def state(self) -> CircuitState:
        """
        What the circuit does with calls. OPEN stays OPEN until somebody asks to be admitted.
        """
        return _STATES[self._ledger.current]

    def _rejection_ticks(self) -> Ticks:
        """
        Return what counts rejections; under the lock.
        """
        before = self._rejections
        if before[1] is not None:
            return before[1]
        ticks = Ticks()
        made = before[0], ticks
        # In one step: a signal handler may have been here.
        self._rejections = made if self._rejections is before else self._rejections
        return self._rejections[1] or ticks

    @property
    def failure_count(self) -> int:
        """
        The failures that the trip rule looks at.
        """
        with self._lock:
            return self._whole_rule().failures(self.hub.clock.monotonic(), self._ledger.failures)

    def _whole_rule(self) -> TripRule:
        """
        Return the trip rule with all successes counted in it; the lull, if there is one, is over.
        """
        # In one step: a signal handler may come here too.
        lull, self.lull = self.lull, None
        if lull is not None:
            self._rule.add(lull.end())
        return self._rule

    def _remaining(self, now: float) -> float:
        """
        Return the seconds that an open circuit has to stay open.
        """
        remaining = self._due - now
        return remaining if remaining > ROUNDING else 0.0

    def _wait(self, now: float) -> float | None:
        """
        Return the seconds until an open circuit may be probed; None where time alone will not do it.
        """
        remaining = self._remaining(now)
        return None if self._holds or remaining == math.inf else remaining

    # -- transitions ---------------------------------------------------------

    def _transit(self, state: str, **because: Any) -> None:
        """
        Let pybreaker make a transition; `moved` hears of it.
        """
        self._because = because
        try:
            transit(self.pybreaker, state)
        finally:
            self._because = _NOTHING

    def move_to(self, state: str, **because: Any) -> None:
        """
        Make a transition by hand; one to the circuit's own state is none.
        """
        with self._lock:
            if self._ledger.current != state:
                self._transit(state, **because)
        self.hub.drain()

    def moved(self, previous: str, state: str) -> None:
        """
        Follow a transition that pybreaker has made: forget what belonged to the old state, and tell.
        """
        because: dict[str, Any] = {"reason": "manual"}
        self._probes = ()
        self._ledger.successes = 0
        if state == STATE_OPEN:
            self._set_due()
            because["retry_after"] = self._wait(self._ledger.opened_monotonic)
        else:
            self._holds = ()
        if state == STATE_CLOSED:
            self._clear()
        because = {**because, **self._because, "previous": _STATES[previous].value}
        if state == STATE_HALF_OPEN:
            del because["reason"]
        self._queue_event(_EVENTS[state], because)
        if self._listening:
            foreign = self.pybreaker
            queue_call(self.hub, foreign, "state_change", state_of(foreign, previous), state_of(foreign, state))
        self.relisted()

    def _set_due(self) -> None:
        self._due = self._ledger.opened_monotonic + open_time(self.options, self._reopenings)

    def _clear(self) -> None:
        """
        Zero everything that a closed circuit starts without.
        """
        self._ledger.failures = 0
        self._whole_rule().clear()
        self._reopenings = 0
        self._would_have_opened = False
        self.last_error = None

    def _queue_event(self, kind: type[Event], fields: dict[str, Any]) -> None:
        queue_event(self.hub, kind, {"circuit": self.name, **fields}, *self._by)
