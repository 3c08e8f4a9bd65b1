"""
Windows: how many of the latest calls failed or were slow.

Both kinds take constant memory. A result leaves its window exactly once.
"""

from __future__ import annotations

import math
from typing import Any

__all__ = ["MAX_CALLS", "CountWindow", "TimeWindow", "contents"]

MAX_CALLS = 100_000
"""The most calls that a window holds; one byte each."""

_FAILED = 1
_SLOW = 2
_BOTH = _FAILED | _SLOW

# A result leaves a time window up to one bucket early, never late.
_BUCKETS = 50

# What is saved of a bucket: age, calls, failures, slow.
_FIELDS = 4


class CountWindow:
    """
    The last *size* calls: a ring of one byte each.
    """

    __slots__ = ("_next", "_ring", "calls", "failures", "size", "slow")

    def __init__(self, size: int) -> None:
        self.size: int = size
        self.clear()

    def clear(self) -> None:
        """
        Empty the window.
        """
        self._hold(bytearray())

    def _hold(self, results: bytearray) -> None:
        """
        Hold *results*, the oldest first, as far as they fit.
        """
        ring = self._ring = results[-self.size :]
        self._next = 0
        self.calls: int = len(ring)
        self.failures: int = ring.count(_FAILED) + ring.count(_BOTH)
        self.slow: int = ring.count(_SLOW) + ring.count(_BOTH)

    def _held(self) -> bytearray:
        return self._ring[self._next :] + self._ring[: self._next]

    def record(self, now: float, *, failed: bool, slow: bool) -> None:  # noqa: ARG002 - as for a `TimeWindow`
        """
        Add a result; the oldest one leaves where the window is full.
        """
        result = failed * _FAILED | slow * _SLOW
        if self.calls < self.size:
            self._ring.append(result)
            self.calls += 1
        else:
            place = self._next
            oldest = self._ring[place]
            self._ring[place] = result
            self._next = (place + 1) % self.size
            self.failures -= oldest & _FAILED
            self.slow -= oldest >> 1
        self.failures += failed
        self.slow += slow

    def expire(self, now: float) -> None:
        """
        Do nothing: calls leave as others come.
        """

    @property
    def until(self) -> float:
        """
        Infinity while the results that will leave are like those that come, else minus infinity.
        """
        return -math.inf if self.failures or self.slow else math.inf

    def add(self, calls: int) -> None:
        """
        Add results that are neither failed nor slow.
        """
        self._hold(self._held() + bytes(min(calls, self.size)))

    def dump(self, now: float) -> list[Any]:  # noqa: ARG002 - as for a `TimeWindow`
        """
        Return one number per call, the oldest first: 1 for failed, 2 for slow, their sum for both.
        """
        return list(self._held())

    def load(self, contents: list[Any], now: float) -> None:  # noqa: ARG002 - as for a `TimeWindow`
        """
        Take over what `dump` returned; of more calls than fit, the latest.
        """
        self._hold(bytearray(result for result in contents if isinstance(result, int)))

    def __repr__(self) -> str:
        return f"<CountWindow of {self.size} calls: {_shown(self)}>"


class TimeWindow:
    """
    The last *seconds*: a ring of buckets, counted from the first result on.
    """

    __slots__ = (
        "_began",
        "_calls",
        "_failures",
        "_latest",
        "_slow",
        "_width",
        "calls",
        "failures",
        "seconds",
        "slow",
        "until",
    )

    def __init__(self, seconds: float) -> None:
        self.seconds: float = seconds
        self._width = seconds / _BUCKETS
        self.clear()

    def clear(self) -> None:
        """
        Empty the window.
        """
        self._calls = [0] * _BUCKETS
        self._failures = [0] * _BUCKETS
        self._slow = [0] * _BUCKETS
        # When the bucket numbered 0 began, None while there is nothing in any,
        # and the number of the latest bucket.
        self._began: float | None = None
        self._latest = 0
        # The last moment of the latest bucket; always over where there is none.
        self.until: float = -math.inf
        self.calls: int = 0
        self.failures: int = 0
        self.slow: int = 0

    def record(self, now: float, *, failed: bool, slow: bool) -> None:
        """
        Add a result.
        """
        if now > self.until:
            self.expire(now)
            if self._began is None:
                self._begin(now)
        slot = self._latest % _BUCKETS
        self._calls[slot] += 1
        self.calls += 1
        if failed:
            self._failures[slot] += 1
            self.failures += 1
        if slow:
            self._slow[slot] += 1
            self.slow += 1

    def add(self, calls: int) -> None:
        """
        Add results that are neither failed nor slow to the latest bucket.
        """
        self._calls[self._latest % _BUCKETS] += calls
        self.calls += calls

    def _begin(self, now: float) -> None:
        self._began = now
        self._latest = 0
        self._look_ahead(now)

    def _look_ahead(self, began: float) -> None:
        """
        Work out until when the latest bucket lasts, as `expire` rounds it.
        """
        until = began + (self._latest + 1) * self._width
        while int((until - began) / self._width) > self._latest:
            until = math.nextafter(until, -math.inf)
        self.until = until

    def _add(self, now: float, calls: int, failures: int, slow: int) -> None:
        self.expire(now)
        if self._began is None:
            self._begin(now)
        slot = self._latest % _BUCKETS
        self._calls[slot] += calls
        self._failures[slot] += failures
        self._slow[slot] += slow
        self.calls += calls
        self.failures += failures
        self.slow += slow

    def expire(self, now: float) -> None:
        """
        Drop what is too old at *now*.
        """
        if now <= self.until or self._began is None:
            return
        current = int((now - self._began) / self._width)
        # After a long time, every bucket is emptied once.
        for index in range(max(self._latest + 1, current - _BUCKETS + 1), current + 1):
            slot = index % _BUCKETS
            self.calls -= self._calls[slot]
            self.failures -= self._failures[slot]
            self.slow -= self._slow[slot]
            self._calls[slot] = self._failures[slot] = self._slow[slot] = 0
        self._latest = current
        if self.calls:
            self._look_ahead(self._began)
        else:
            # The next result begins a bucket of its own.
            self._began = None
            self._latest = 0
            self.until = -math.inf

    def dump(self, now: float) -> list[Any]:
        """
        Return ``[age in seconds, calls, failures, slow]`` for each bucket that holds any, the oldest first.
        """
        self.expire(now)
        if self._began is None:
            return []
        found: list[Any] = []
        for index in range(max(0, self._latest - _BUCKETS + 1), self._latest + 1):
            slot = index % _BUCKETS
            if self._calls[slot]:
                age = max(0.0, now - self._began - index * self._width)
                found.append([age, self._calls[slot], self._failures[slot], self._slow[slot]])
        return found

    def load(self, contents: list[Any], now: float) -> None:
        """
        Take over what `dump` returned; what is too old for this window is left out.
        """
        self.clear()
        for one in contents:
            if isinstance(one, list) and one[0] < self.seconds:
                age, calls, failures, slow = one
                self._add(now - age, calls, failures, slow)
        self.expire(now)

    def __repr__(self) -> str:
        return f"<TimeWindow of {self.seconds:g} s: {_shown(self)}>"


def _shown(window: CountWindow | TimeWindow) -> str:
    return f"{window.calls} in it, {window.failures} failed, {window.slow} slow"


def contents(value: object) -> list[Any]:
    """
    Check for what a window's ``dump`` returns.

    Raises:
        ValueError: *value* is something else.
    """
    if not isinstance(value, list) or len(value) > MAX_CALLS or not all(map(_is_saved, value)):
        msg = "must be the list that a window's contents were saved as"
        raise ValueError(msg)
    # Buckets go in by their age, the oldest first; calls stay in their order.
    return sorted(value, key=_age, reverse=True)


def _age(one: Any) -> float:
    return one[0] if isinstance(one, list) else 0.0


def _is_saved(one: object) -> bool:
    if type(one) is int:
        return 0 <= one <= _BOTH
    if not isinstance(one, list) or len(one) != _FIELDS:
        return False
    age, *counts = one
    if type(age) not in {int, float} or not 0 <= age < math.inf or any(type(count) is not int for count in counts):
        return False
    calls, failures, slow = counts
    return bool(0 <= failures <= calls and 0 <= slow <= calls)
