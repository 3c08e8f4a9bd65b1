"""
The bounds: what each thing may cost at most.

Times are bounded as multiples of the unit - what one plain closure adds to a
call - that was measured in the same run, so that a slower machine does not fail
and a faster one does not hide a loss. Where a target was set as a time, it is
divided by the unit of the machine it was set on.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BOUNDS", "REFERENCE_UNIT", "Bound", "target"]

# What one plain closure adds on the machine that the targets were set on, CPython 3.11.
REFERENCE_UNIT = {False: 68e-9, True: 109e-9}


@dataclass(frozen=True, slots=True)
class Bound:
    """
    A bound.

    Args:
        at_most: The target.
        told: The target as it was set, where that was a time.
        held: Where the target is missed today: what must not be exceeded
            meanwhile, so that it does not get worse unseen.
    """

    at_most: float
    told: str = ""
    held: float | None = None


def target(microseconds: float, *, is_async: bool = False, held: float | None = None) -> Bound:
    """
    Return the bound of a time, in units.
    """
    told = f"{microseconds:g} us" if microseconds < 100 else f"{microseconds / 1000:g} ms"
    return Bound(microseconds * 1e-6 / REFERENCE_UNIT[is_async], told, held)


# Whoever reaches a target takes its `held` away: the table tells when.
BOUNDS = {
    # A success that nobody has to hear of, in units over the bare call.
    "one policy": Bound(1.8),
    "five policies": Bound(2.0),
    "method": Bound(0.3),
    "listener": Bound(0.1),
    "time window, sync": Bound(6.0),
    "time window, async": Bound(6.0),
    # Whole calls, raising and catching included.
    "rejection, sync": target(0.8),
    # Held: met, but with nothing to spare; a fourth of it asks whether anybody listens.
    "rejection, async": target(0.8, is_async=True, held=8.0),
    # Held: some 35 calls of functions classify, record, mark and count. The largest parts
    # that are left: the circuit's rule and window (15 units), analytics (8), the look up
    # the caller's frames (0.8 for each); the two locks in them are 2 each.
    "failure, sync": target(5.0, held=125.0),
    "failure, async": target(5.0, is_async=True, held=95.0),
    # Held: as above, for each failed attempt, and tenacity's objects (4 for a call's state).
    "retry storm, sync": target(10.0, held=220.0),
    "retry storm, async": target(12.0, is_async=True, held=170.0),
    # Wall time of 8 threads with 20 calls each, over the same without a circuit.
    "threads": Bound(1.05),
    # KiB.
    "function": Bound(4.0),
    "window": Bound(1.0),
    "errors": Bound(500.0),
    # The decorators, over importing wrapt, tenacity and pybreaker.
    "import": Bound(1.3),
    "snapshot": target(500.0),
    "large snapshot": target(5000.0),
    # 250,000 a second.
    "recording": target(4.0),
}
