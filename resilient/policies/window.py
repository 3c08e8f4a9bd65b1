"""
Windows: how many of the latest calls failed or were slow.

Both kinds take constant memory. A result leaves its window exactly once.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

__all__ = ["CountWindow", "TimeWindow", "Totals", "Window"]

_FAILED = 1
_SLOW = 2

# A result leaves a time window up to one bucket early, never late.
_BUCKETS = 50


class Totals(NamedTuple):
    """
    What a window holds: calls, and how many of them failed or were slow.
    """

    calls: int = 0
    failures: int = 0
    slow: int = 0


class Window(Protocol):
    """
    What trip rules need of a window. Times are monotonic seconds.
    """

    def record(self, now: float, *, failed: bool, slow: bool) -> None:
        """
        Add a result.
        """

    def totals(self, now: float) -> Totals:
        """
        Return what the window holds at *now*.
        """

    def clear(self) -> None:
        """
        Empty the window.
        """

    def dump(self, now: float) -> list[Any]:
        """
        Return the contents, JSON-ready, for `load`.
        """

    def load(self, contents: list[Any], now: float) -> None:
        """
        Take over what `dump` returned.
        """


class CountWindow:
    """
    The last *size* calls: a ring of one byte each.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.clear()

    def clear(self) -> None:
        """
        Empty the window.
        """
        self._ring = bytearray()
        self._next = 0
        self._failures = 0
        self._slow = 0

    def record(self, now: float, *, failed: bool, slow: bool) -> None:  # noqa: ARG002 - `Window`'s signature
        """
        Add a result; the oldest one leaves where the window is full.
        """
        result = failed * _FAILED | slow * _SLOW
        if len(self._ring) < self.size:
            self._ring.append(result)
        else:
            oldest = self._ring[self._next]
            self._failures -= oldest & _FAILED
            self._slow -= oldest >> 1
            self._ring[self._next] = result
            self._next = (self._next + 1) % self.size
        self._failures += failed
        self._slow += slow

    def totals(self, now: float) -> Totals:  # noqa: ARG002 - `Window`'s signature
        """
        Return what the window holds.
        """
        return Totals(len(self._ring), self._failures, self._slow)

    def dump(self, now: float) -> list[Any]:  # noqa: ARG002 - `Window`'s signature
        """
        Return one number per call, the oldest first: 1 for failed, 2 for slow, their sum for both.
        """
        return list(self._ring[self._next :] + self._ring[: self._next])

    def load(self, contents: list[Any], now: float) -> None:
        """
        Take over what `dump` returned; of more calls than fit, the latest.
        """
        self.clear()
        for result in contents[-self.size :]:
            self.record(now, failed=bool(result & _FAILED), slow=bool(result & _SLOW))

    def __repr__(self) -> str:
        return f"<CountWindow of {self.size} calls: {self.totals(0.0)}>"


class TimeWindow:
    """
    The last *seconds*: a ring of buckets, counted from the first result on.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._width = seconds / _BUCKETS
        self.clear()

    def clear(self) -> None:
        """
        Empty the window.
        """
        self._calls = [0] * _BUCKETS
        self._failures = [0] * _BUCKETS
        self._slow = [0] * _BUCKETS
        self._began: float | None = None
        self._latest = 0
        self._sums = Totals()

    def record(self, now: float, *, failed: bool, slow: bool) -> None:
        """
        Add a result.
        """
        self._add(now, 1, int(failed), int(slow))

    def _add(self, now: float, calls: int, failures: int, slow: int) -> None:
        self._expire(now)
        if self._began is None:
            self._began = now
            self._latest = 0
        slot = self._latest % _BUCKETS
        self._calls[slot] += calls
        self._failures[slot] += failures
        self._slow[slot] += slow
        sums = self._sums
        self._sums = Totals(sums.calls + calls, sums.failures + failures, sums.slow + slow)

    def totals(self, now: float) -> Totals:
        """
        Return what the window holds at *now*.
        """
        self._expire(now)
        return self._sums

    def _expire(self, now: float) -> None:
        if self._began is None:
            return
        current = int((now - self._began) / self._width)
        passed = current - self._latest
        if passed <= 0:
            return
        if passed >= _BUCKETS:
            # Nothing is left: the next result starts the buckets afresh.
            self.clear()
            return
        calls, failures, slow = self._sums
        for index in range(self._latest + 1, current + 1):
            slot = index % _BUCKETS
            calls -= self._calls[slot]
            failures -= self._failures[slot]
            slow -= self._slow[slot]
            self._calls[slot] = self._failures[slot] = self._slow[slot] = 0
        self._latest = current
        self._sums = Totals(calls, failures, slow)
        if calls == 0:
            self._began = None
            self._latest = 0

    def dump(self, now: float) -> list[Any]:
        """
        Return ``[age in seconds, calls, failures, slow]`` for each bucket that holds any, the oldest first.
        """
        self._expire(now)
        if self._began is None:
            return []
        contents = []
        for index in range(max(0, self._latest - _BUCKETS + 1), self._latest + 1):
            slot = index % _BUCKETS
            if self._calls[slot]:
                age = max(0.0, now - self._began - index * self._width)
                contents.append([age, self._calls[slot], self._failures[slot], self._slow[slot]])
        return contents

    def load(self, contents: list[Any], now: float) -> None:
        """
        Take over what `dump` returned.
        """
        self.clear()
        for age, calls, failures, slow in contents:
            self._add(now - age, calls, failures, slow)
        self._expire(now)

    def __repr__(self) -> str:
        return f"<TimeWindow of {self.seconds:g} s: {self._sums}>"
