"""
Counts whose memory is bounded: over a sliding hour, and by name.

Neither has a lock: whoever holds them lets one thread at a time in.
"""

from __future__ import annotations

from array import array

from resilient.text import cut, escape

__all__ = ["HOUR", "MINUTE", "OTHER", "NamedCounts", "SlidingCount"]

MINUTE = 60.0
HOUR = 3600.0

OTHER = "__other__"
"""The name under which everything is counted that came after the last free place."""

_NAME_LIMIT = 200

# One more than an hour has: the second in which a window begins counts whole.
_KEPT = 3601

# Forgives what subtracting large floats loses: what happens just when a second
# begins is not taken to happen in the second before.
_ROUNDING = 1e-6


class SlidingCount:
    """
    Counts things over the last hour, to the second; 29 KB, however many there are.

    What is kept is the running total at the start of each second, so that
    counting costs the same at one error an hour and at a million a minute, and
    reading is one subtraction, whatever the window.

    Args:
        origin: The monotonic time at which counting starts, in seconds.
    """

    __slots__ = ("_before", "_origin", "_second", "total", "until")

    def __init__(self, origin: float) -> None:
        self._origin = origin
        self._second = 0
        # When the next second begins: until then, to count is to add one to the total.
        self.until: float = origin + 1 - _ROUNDING
        # _before[s % _KEPT]: the total when second s began.
        self._before = array("Q", bytes(8 * _KEPT))
        self.total: int = 0

    def add(self, now: float) -> None:
        """
        Count one at the monotonic time *now*; a time before the latest one counts as the latest.
        """
        if now >= self.until:
            self._advance(int(now - self._origin + _ROUNDING))
        self.total += 1

    def per_minute(self, window: float, now: float) -> float:
        """
        Return how many there were a minute.

        Args:
            window: Seconds to look back on: an hour, *window* or the time since
                the start, whichever is shorter, but at least a minute.
            now: The monotonic time.
        """
        period = max(min(window, now - self._origin, HOUR), MINUTE)
        return (self.total - self._total_at(now - period)) * MINUTE / period

    def by_minute(self, now: float) -> list[int]:
        """
        Return the counts of the last sixty minutes before *now*, the latest first.

        Minutes that ended before the start are left out; the latest is always there.
        """
        known = min(max(int((now - self._origin - _ROUNDING) // MINUTE) + 1, 1), 60)
        totals = [self.total, *(self._total_at(now - MINUTE * minute) for minute in range(1, known + 1))]
        return [totals[minute] - totals[minute + 1] for minute in range(known)]

    def _total_at(self, moment: float) -> int:
        second = int(moment - self._origin + _ROUNDING)
        if second > self._second:
            return self.total
        return self._before[max(second, self._second - _KEPT + 1, 0) % _KEPT]

    def _advance(self, second: int) -> None:
        for passed in range(max(self._second + 1, second - _KEPT + 1), second + 1):
            self._before[passed % _KEPT] = self.total
        self._second = second
        self.until = self._origin + second + 1 - _ROUNDING

    def __repr__(self) -> str:
        return f"<SlidingCount: {self.total} in all>"


class NamedCounts(dict[str, int]):
    """
    Counts by name, for a bounded number of names.

    A dict, so that a hot path may count a known name by itself
    (``counts[name] += 1``) and needs `add` only after a KeyError.

    Args:
        limit: How many names are counted apart, `OTHER` not included.
    """

    __slots__ = ("limit",)

    def __init__(self, limit: int = 1024) -> None:
        super().__init__()
        self.limit: int = limit

    def add(self, name: str) -> bool:
        """
        Count one for *name*; return whether it had to be counted as `OTHER`.
        """
        name = cut(name, _NAME_LIMIT)
        full = name not in self and len(self) - (OTHER in self) >= self.limit
        if full:
            name = OTHER
        self[name] = self.get(name, 0) + 1
        return full

    def ranked(self) -> list[tuple[str, int]]:
        """
        Return names, escaped, and counts: the highest count first, equal ones by name.
        """
        return sorted(((escape(name), count) for name, count in self.items()), key=lambda one: (-one[1], one[0]))
