"""
When a circuit opens, and for how long: the rules, as arithmetic.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Protocol

from resilient.policies.window import CountWindow, TimeWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Lull", "TripRule", "Window", "lease_time", "open_time"]

# The least that a lease defaults to, in seconds.
_LEASE = 30.0


class Window(Protocol):
    """
    What trip rules need of a window. Times are monotonic seconds.

    Attributes:
        calls: The calls in it, as of the latest `record` or `expire`.
        failures: How many of them failed.
        slow: How many of them were slow.
    """

    calls: int
    failures: int
    slow: int

    def record(self, now: float, *, failed: bool, slow: bool) -> None:
        """
        Add a result.
        """

    def expire(self, now: float) -> None:
        """
        Drop what is too old at *now*.
        """

    @property
    def until(self) -> float:
        """
        Up to when results that are neither failed nor slow change nothing but how many calls there are.
        """
        ...

    def add(self, calls: int) -> None:
        """
        Add results that are neither failed nor slow to where the latest went.
        """

    def clear(self) -> None:
        """
        Empty the window.
        """

    def dump(self, now: float) -> list[Any]:
        """
        Return the contents, JSON-ready, for `load`.
        """
        ...

    def load(self, contents: list[Any], now: float) -> None:
        """
        Take over what `dump` of the same kind has returned; of the other kind, nothing.
        """


class Lull:
    """
    A time in which a success that is not slow changes nothing but the number of calls.

    So a success takes a number and is done. That is one step: no other thread
    can come in between.

    Args:
        slow: Seconds above which a call is slow.

    Attributes:
        until: Monotonic seconds up to which it lasts, unless something ends it.
        tick: Counts one success; returns how many were counted before it.
        total: Once it is over, how many were counted.
    """

    __slots__ = ("slow", "tick", "total", "until")

    def __init__(self, slow: float) -> None:
        self.slow: float = slow
        self.until: float = -math.inf
        self.tick: Callable[[], int] = itertools.count().__next__
        self.total: int = 0

    def end(self) -> int:
        """
        Return how many successes were counted; who ticks later is not among them.
        """
        self.total = self.tick()
        return self.total


class TripRule:
    """
    What opens a closed circuit.

    ==========================  ==================================================
    options                     it opens at
    ==========================  ==================================================
    no window, or one of calls  ``failure_threshold`` failures in a row
    a window of time            ``failure_threshold`` failures within it
    ``failure_rate``            this fraction of failures in the window
    ``slow_call``               any of these, or ``slow_call_rate`` of the window
    ==========================  ==================================================

    Rates are undefined below ``min_calls`` calls, and reached at their threshold.

    Args:
        options: A value for every row of `CIRCUIT_OPTIONS`.

    Attributes:
        consecutive: Whether a success ends a row of failures.
        timed: Whether successes have to be recorded, with the seconds they took.
    """

    __slots__ = ("_least", "_rate", "_slow_call", "_slow_rate", "_threshold", "_window", "consecutive", "timed")

    def __init__(self, options: Mapping[str, Any]) -> None:
        span = options["window"]
        calls = isinstance(span, int)
        self._threshold: int = options["failure_threshold"]
        self._rate: float | None = options["failure_rate"]
        self._slow_call: float | None = options["slow_call"]
        self._slow_rate: float = options["slow_call_rate"]
        # The default of 10 must not make a smaller window useless.
        self._least: int = min(options["min_calls"], span) if calls else options["min_calls"]
        self.timed: bool = span is not None and (self._rate is not None or self._slow_call is not None)
        self.consecutive: bool = self._rate is None and (span is None or calls)
        self._window: Window | None = None
        if calls and self.timed:
            self._window = CountWindow(span)
        elif span is not None and not calls:
            self._window = TimeWindow(span.total_seconds())

    def count(self, now: float, in_a_row: int, failed: bool, elapsed: float | None) -> tuple[str | None, int]:  # noqa: FBT001 - keywords would cost time on every failure
        """
        Count a result; return why the circuit has to open now, or None, and the failures that the rule looks at.

        Args:
            now: Monotonic seconds.
            in_a_row: The latest failures without a success between them, this one included.
            failed: Whether the call failed.
            elapsed: Seconds it took, where a clock was read.
        """
        window = self._window
        if window is None:
            return "failures" if in_a_row >= self._threshold else None, in_a_row
        if failed or self.timed:
            slow = elapsed is not None and self._slow_call is not None and elapsed > self._slow_call
            window.record(now, failed=failed, slow=slow)
        else:
            window.expire(now)
        return self._reached(window, window.calls, in_a_row), in_a_row if self.consecutive else window.failures

    def _reached(self, window: Window, calls: int, in_a_row: int) -> str | None:
        """
        Return which threshold is reached if the window holds *calls* in all, or None.
        """
        enough = calls >= self._least
        if self._rate is not None:
            if enough and window.failures / calls >= self._rate:
                return "failure rate"
        elif (in_a_row if self.consecutive else window.failures) >= self._threshold:
            return "failures"
        if enough and self._slow_call is not None and window.slow / calls >= self._slow_rate:
            return "slow"
        return None

    def lull(self) -> Lull:
        """
        Return a lull, not begun yet: see `lull_until`.
        """
        return Lull(math.inf if self._slow_call is None else self._slow_call)

    def lull_until(self) -> float:
        """
        Return until when successes that are not slow change nothing but the number of calls.

        They make rates smaller, but for one thing: with the next of them there may be enough calls for a rate.
        """
        window = self._window
        if window is None or self._reached(window, max(window.calls, self._least), 0) is not None:
            return -math.inf
        return window.until

    def add(self, calls: int) -> None:
        """
        Count the successes of a lull.
        """
        if self._window is not None:
            self._window.add(calls)

    def failures(self, now: float, in_a_row: int) -> int:
        """
        Return the failures that the rule looks at.
        """
        if self._window is None or self.consecutive:
            return in_a_row
        self._window.expire(now)
        return self._window.failures

    def calls(self, now: float) -> int | None:
        """
        Return how many calls the window holds; None where it does not hold all of them.
        """
        if self._window is None or not self.timed:
            return None
        self._window.expire(now)
        return self._window.calls

    def rate(self, now: float, reason: str | None = None) -> float | None:
        """
        Return the fraction of failures, or of slow calls where that is the *reason*; None while it is undefined.
        """
        calls = self.calls(now)
        if self._window is None or calls is None or calls < self._least:
            return None
        return (self._window.slow if reason == "slow" else self._window.failures) / calls

    def clear(self) -> None:
        """
        Empty the window.
        """
        if self._window is not None:
            self._window.clear()

    def dump(self, now: float) -> list[Any]:
        """
        Return what the window holds, JSON-ready, for `load`.
        """
        return [] if self._window is None else self._window.dump(now)

    def load(self, contents: list[Any], now: float) -> None:
        """
        Fill the window with what `dump` has returned; contents of the other kind of window leave it empty.
        """
        if self._window is not None:
            self._window.load(contents, now)

    def __repr__(self) -> str:
        return f"<TripRule over {self._window or 'failures in a row'}>"


def open_time(options: Mapping[str, Any], reopenings: int) -> float:
    """
    Return the seconds that a circuit stays open after *reopenings* failed probes in a row.
    """
    base: float = options["open_for"]
    if not reopenings or math.isinf(base):
        return base
    try:
        stretched = base * options["reopen_factor"] ** reopenings
    except OverflowError:
        stretched = math.inf
    return float(min(stretched, max(base, options["max_timeout"])))


def lease_time(options: Mapping[str, Any], opened_for: float) -> float:
    """
    Return the seconds after which a silent probe gives its permit back.
    """
    lease: float | None = options["probe_lease"]
    if lease is not None:
        return lease
    return _LEASE if math.isinf(opened_for) else max(_LEASE, opened_for)
