"""
pybreaker holds a circuit's state and makes its transitions.

The `Ledger` is the storage that a real `pybreaker.CircuitBreaker` reads and
writes, and the only copy of a circuit's state and counters. Admission, counting
rules, probes and time are `resilient.breaker`'s; nothing of the user's runs
inside pybreaker, whose own ``call`` holds its lock around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pybreaker
from pybreaker import STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from resilient.clock import Clock

__all__ = ["STATE_CLOSED", "STATE_HALF_OPEN", "STATE_OPEN", "Ledger", "make_breaker"]


class Ledger(pybreaker.CircuitBreakerStorage):
    """
    The one copy of a circuit's state and counters.

    Args:
        clock: Where monotonic time comes from.
        moved: Told of each change of state, with the old and the new one, as
            pybreaker names them.
    """

    def __init__(self, clock: Clock, moved: Callable[[str, str], None]) -> None:
        super().__init__("resilient")
        self._clock = clock
        self._moved = moved
        self._state = STATE_CLOSED
        self._failures = 0
        self._successes = 0
        self._opened_wall: datetime | None = None
        self._opened_at = 0.0
        # How often the state has changed: results of an earlier one do not count.
        self.generation = 0

    @property
    def state(self) -> str:
        """
        ``"closed"``, ``"open"`` or ``"half-open"``.
        """
        return self._state

    @state.setter
    def state(self, state: str) -> None:
        previous, self._state = self._state, state
        if previous != state:
            self.generation += 1
            self._moved(previous, state)

    @property
    def counter(self) -> int:
        """
        Consecutive failures.
        """
        return self._failures

    def increment_counter(self) -> None:
        """
        Count a failure.
        """
        self._failures += 1

    def reset_counter(self) -> None:
        """
        Forget the failures.
        """
        self._failures = 0

    @property
    def success_counter(self) -> int:
        """
        Successful probes.
        """
        return self._successes

    def increment_success_counter(self) -> None:
        """
        Count a successful probe.
        """
        self._successes += 1

    def reset_success_counter(self) -> None:
        """
        Forget the successful probes.
        """
        self._successes = 0

    @property
    def opened_at(self) -> datetime | None:
        """
        When the circuit opened, by the wall clock; for people.
        """
        return self._opened_wall

    @opened_at.setter
    def opened_at(self, value: datetime) -> None:
        # pybreaker passes the time of day, which may step; ours counts.
        self._opened_wall = value
        self._opened_at = self._clock.monotonic()

    @property
    def opened_monotonic(self) -> float:
        """
        When the circuit opened, in monotonic seconds.
        """
        return self._opened_at

    @opened_monotonic.setter
    def opened_monotonic(self, value: float) -> None:
        self._opened_at = value


def make_breaker(name: str, ledger: Ledger) -> pybreaker.CircuitBreaker:
    """
    Return the real pybreaker breaker over *ledger*.
    """
    return pybreaker.CircuitBreaker(name=name, state_storage=ledger, throw_new_error_on_trip=False)
