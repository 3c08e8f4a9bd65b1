"""
Permits: the right to make one call through a circuit.

Some are leases: a probe that has not reported when its time is up no longer
keeps others from probing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from resilient.policies.base import Raised

if TYPE_CHECKING:
    from resilient.circuits.machine import CircuitMachine

__all__ = ["Permit"]


class Permit:
    """
    The right to make one call through a circuit; to be given back exactly once.

    What is given back a second time counts for nothing.

    Args:
        machine: Whose permit it is.
        generation: The generation that it was given in.
        started: Monotonic seconds at admission, where slow calls count.
        expires: Monotonic seconds at which another probe may take this one's place.
    """

    __slots__ = ("expires", "generation", "machine", "started", "used")

    def __init__(
        self, machine: CircuitMachine, generation: int, started: float | None = None, expires: float = math.inf
    ) -> None:
        self.machine: CircuitMachine = machine
        self.generation: int = generation
        self.started: float | None = started
        self.expires: float = expires
        self.used: bool = False

    def success(self) -> None:
        """
        Give the permit back: the call succeeded.
        """
        self.machine.record(self, None)

    def failure(self, error: BaseException) -> None:
        """
        Give the permit back: the call raised *error*, which counts as the options say.

        What is no `Exception` - Ctrl-C, cancellation - never counts.
        """
        if issubclass(type(error), Exception):
            self.machine.record(self, Raised(error))
        else:
            self.release()

    def release(self) -> None:
        """
        Give the permit back: the call has neither succeeded nor failed.
        """
        # Without a lock: it may come from a signal handler or the garbage collector.
        self.used = True

    def __repr__(self) -> str:
        kind = "call" if self.expires == math.inf else "probe"
        return f"<Permit for a {kind} through {self.machine.name!r}{', given back' if self.used else ''}>"
