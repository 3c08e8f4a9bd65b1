"""
pybreaker holds a circuit's state and makes its transitions.

The `Ledger` is the storage that a real `pybreaker.CircuitBreaker` reads and
writes, and the only copy of a circuit's state and counters. `Foreign` is that
breaker. Admission, counting rules, probes and time are ours; nothing of the
user's runs inside pybreaker, whose own ``call`` holds its lock around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pybreaker
from pybreaker import STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from resilient.clock import Clock

__all__ = ["STATE_CLOSED", "STATE_HALF_OPEN", "STATE_OPEN", "Foreign", "Ledger", "Machine", "state_of", "transit"]


class Machine(Protocol):
    """
    What a circuit does about what happens to its pybreaker breaker.
    """

    def moved(self, previous: str, state: str) -> None:
        """
        Follow a change of state, as pybreaker names them; called under the lock.
        """

    def move_to(self, state: str) -> None:
        """
        Make a transition by hand.
        """

    def relisted(self) -> None:
        """
        Follow a change of the breaker's listeners.
        """


class Ledger(pybreaker.CircuitBreakerStorage):
    """
    The one copy of a circuit's state and counters.

    Args:
        clock: Where monotonic time comes from.
        machine: Told of each change of state.

    pybreaker reads and writes properties; the circuit uses the plain attributes
    behind them, which cost nothing.

    Attributes:
        current: The state, as pybreaker names it.
        failures: Consecutive failures; where a window decides, the failures in it.
        successes: Successful probes.
        generation: How often the state has changed: results of an earlier one do not count.
        opened_monotonic: When the circuit opened, in monotonic seconds.
    """

    # `_name` is pybreaker's: with a place of its own it needs no dictionary.
    __slots__ = (
        "_clock",
        "_machine",
        "_name",
        "_opened_wall",
        "current",
        "failures",
        "generation",
        "opened_monotonic",
        "successes",
    )

    def __init__(self, clock: Clock, machine: Machine) -> None:
        super().__init__("resilient")
        self._clock = clock
        self._machine = machine
        self._opened_wall: datetime | None = None
        self.current: str = STATE_CLOSED
        self.failures: int = 0
        self.successes: int = 0
        self.opened_monotonic: float = 0.0
        self.generation: int = 0

    @property
    def state(self) -> str:
        """
        ``"closed"``, ``"open"`` or ``"half-open"``.
        """
        return self.current

    @state.setter
    def state(self, state: str) -> None:
        previous, self.current = self.current, state
        self.generation += 1
        self._machine.moved(previous, state)

    @property
    def counter(self) -> int:
        """
        Consecutive failures; where a window decides, the failures in it.
        """
        return self.failures

    def increment_counter(self) -> None:
        """
        Count a failure.
        """
        self.failures += 1

    def reset_counter(self) -> None:
        """
        Forget the failures.
        """
        self.failures = 0

    @property
    def success_counter(self) -> int:
        """
        Successful probes.
        """
        return self.successes

    def increment_success_counter(self) -> None:
        """
        Count a successful probe.
        """
        self.successes += 1

    def reset_success_counter(self) -> None:
        """
        Forget the successful probes.
        """
        self.successes = 0

    @property
    def opened_at(self) -> datetime | None:
        """
        When the circuit opened, by the wall clock; for people.
        """
        return self._opened_wall

    @opened_at.setter
    def opened_at(self, datetime: datetime) -> None:
        # pybreaker passes the time of day, which may step; ours counts.
        self._opened_wall = datetime
        self.opened_monotonic = self._clock.monotonic()


class Foreign(pybreaker.CircuitBreaker):
    """
    The real pybreaker breaker beneath a circuit.

    Its transitions and its listeners are the circuit's: whoever opens it opens
    the circuit, and who listens to it is told outside of its lock.

    Args:
        name: The circuit's name.
        ledger: Its state and counters.
        machine: The circuit.
        lock: The circuit's.
        options: The circuit's.
    """

    def __init__(self, name: str, ledger: Ledger, machine: Machine, lock: Any, options: Mapping[str, Any]) -> None:
        super().__init__(name=name, state_storage=ledger, throw_new_error_on_trip=False)
        self._machine = machine
        self.renew_lock(lock)
        self.follow(options)

    def renew_lock(self, lock: Any) -> None:
        """
        Share *lock* with the circuit: with two, both orders of taking them would occur.
        """
        self._lock = lock

    def _create_new_state(self, new_state: str, prev_state: Any = None, notify: bool = False) -> Any:  # noqa: ARG002, FBT001, FBT002 - pybreaker's signature
        # With notify=True pybreaker calls listeners under its lock, where one
        # that raises undoes the transition; the circuit tells them instead.
        return super()._create_new_state(new_state, prev_state)

    def open(self) -> bool:
        """
        Open the circuit, unless it is open.
        """
        self._machine.move_to(STATE_OPEN)
        return False

    def half_open(self) -> None:
        """
        Let the circuit admit probes.
        """
        self._machine.move_to(STATE_HALF_OPEN)

    def close(self) -> None:
        """
        Close the circuit; this ends its isolations.
        """
        self._machine.move_to(STATE_CLOSED)

    def add_listener(self, listener: Any) -> None:
        """
        Tell *listener*, a pybreaker listener, of calls and transitions from now on.
        """
        super().add_listener(listener)
        self._machine.relisted()

    def remove_listener(self, listener: Any) -> None:
        """
        Stop telling *listener*.
        """
        super().remove_listener(listener)
        self._machine.relisted()

    def follow(self, options: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> None:
        """
        Show a circuit's *options*, in place of those of *before*; listeners that were added by hand stay.
        """
        gone = set() if before is None else {id(one) for one in before["listeners"]}
        self._listeners = [*options["listeners"], *(one for one in self._listeners if id(one) not in gone)]
        self.fail_max = options["failure_threshold"]
        self.success_threshold = options["success_threshold"]
        self.reset_timeout = options["open_for"]


# pybreaker's own methods: they make the transition, and tell nobody.
_TRANSITIONS: dict[str, Callable[[pybreaker.CircuitBreaker], object]] = {
    STATE_CLOSED: pybreaker.CircuitBreaker.close,
    STATE_OPEN: pybreaker.CircuitBreaker.open,
    STATE_HALF_OPEN: pybreaker.CircuitBreaker.half_open,
}

_STATES = {
    STATE_CLOSED: pybreaker.CircuitClosedState,
    STATE_OPEN: pybreaker.CircuitOpenState,
    STATE_HALF_OPEN: pybreaker.CircuitHalfOpenState,
}


def transit(breaker: Foreign, state: str) -> None:
    """
    Let pybreaker make a transition; the ledger tells the circuit.
    """
    _TRANSITIONS[state](breaker)


def state_of(breaker: Foreign, state: str) -> object:
    """
    Return the object that stands for *state* where pybreaker's listeners are told of it.
    """
    return _STATES[state](breaker, None)
