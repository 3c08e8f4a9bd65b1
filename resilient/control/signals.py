"""
Where the built-in signals come from: latency, failure ratio, memory and CPU use.

A signal is a number that is read when somebody looks, or None while there is
nothing to read. Nothing here holds a lock: what is shared is replaced whole.
"""

from __future__ import annotations

import math
from itertools import count, pairwise
from typing import TYPE_CHECKING

from resilient.callers import warn_caller

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from resilient.clock import Clock

__all__ = ["INSTALL_HINT", "WINDOW", "LatencyWindow", "OperationRatio", "SystemUse"]

WINDOW = 300.0
"""Seconds that latency and failure ratio look back."""

INSTALL_HINT = "pip install 'resilient-aspects[system]'"

_OBSERVATIONS = 1000
_SAMPLE_EVERY = 5.0
_CPU_EVERY = 1.0


class LatencyWindow:
    """
    How long calls took lately: the last five minutes, at most 1,000 calls.

    Args:
        clock: Where time comes from.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """
        Forget every call.
        """
        # A ring of slots and not a deque: storing into a list and copying it are
        # atomic, so observing needs no lock.
        self._ring: list[tuple[float, float] | None] = [None] * _OBSERVATIONS
        self._next = count()

    def observe(self, seconds: float) -> None:
        """
        Note that a call took *seconds*.
        """
        self._ring[next(self._next) % _OBSERVATIONS] = (self._clock.monotonic(), seconds)

    def p95(self) -> float | None:
        """
        Return the seconds that 95 of 100 calls stayed within, or None without any call.
        """
        since = self._clock.monotonic() - WINDOW
        took = sorted(one[1] for one in self._ring[:] if one is not None and one[0] >= since)
        if not took:
            return None
        # The nearest rank: always a time that some call really took.
        return took[math.ceil(0.95 * len(took)) - 1]

    def __repr__(self) -> str:
        return f"<LatencyWindow p95={self.p95()!r} s>"


class OperationRatio:
    """
    The part of the operations that failed, over the last five minutes.

    It reads two counters for all time and remembers what they showed, at most
    every five seconds; between two samples operations count as evenly spread.

    Args:
        clock: Where time comes from.
        total: Returns how many operations have ended.
        failed: Returns how many of them failed.
    """

    def __init__(self, clock: Clock, total: Callable[[], int], failed: Callable[[], int]) -> None:
        self._clock = clock
        self._total = total
        self._failed = failed
        self.reset()

    def reset(self) -> None:
        """
        Begin anew with what the counters show now.
        """
        self._samples: tuple[tuple[float, int, int], ...] = (self._sample(),)

    def _sample(self) -> tuple[float, int, int]:
        # Failures first: one that comes in between must not look like more
        # failures than operations.
        failed = self._failed()
        return self._clock.monotonic(), self._total(), failed

    def ratio(self) -> float | None:
        """
        Return failed / all operations of the last five minutes, 0 to 1, or None without any.
        """
        now = self._sample()
        samples = self._samples
        last = samples[-1]
        if now[1] < last[1] or now[2] < last[2]:
            # The counters were set back: nothing older can be compared with them.
            self._samples = (now,)
            return None
        since = now[0] - WINDOW
        # Of those before the window only the last is still of use.
        samples = (*(one for one, after in pairwise(samples) if after[0] > since), last)
        if now[0] >= last[0] + _SAMPLE_EVERY:
            samples = (*samples, now)
        self._samples = samples
        total, failed = _counts_at(since, samples, now)
        operations = now[1] - total
        return min((now[2] - failed) / operations, 1.0) if operations > 0 else None

    def __repr__(self) -> str:
        return f"<OperationRatio {len(self._samples)} samples>"


def _counts_at(
    since: float, samples: tuple[tuple[float, int, int], ...], now: tuple[float, int, int]
) -> tuple[float, float]:
    """
    Return what both counters showed at *since*, in proportion between two samples.
    """
    before = samples[0]
    if since <= before[0]:
        return before[1], before[2]
    after = samples[1] if len(samples) > 1 else now
    part = (since - before[0]) / (after[0] - before[0])
    return before[1] + part * (after[1] - before[1]), before[2] + part * (after[2] - before[2])


class SystemUse:
    """
    How much of the machine's memory and CPU is in use, 0 to 1, by psutil.

    Args:
        clock: Where time comes from.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._warned = False
        # When it was read, busy and all CPU seconds so far, and the use as it was then.
        self._cpu: tuple[float, float, float, float | None] | None = None

    def psutil(self) -> ModuleType | None:
        """
        Return psutil; where it is missing, None, and a warning, once, that says how to install it.
        """
        try:
            import psutil
        except ImportError:
            if not self._warned:
                self._warned = True
                warn_caller(f"memory and CPU use cannot be read without psutil; install it with: {INSTALL_HINT}")
            return None
        return psutil

    def memory(self) -> float | None:
        """
        Return the part of the memory that is in use.
        """
        psutil = self.psutil()
        return None if psutil is None else float(psutil.virtual_memory().percent) / 100

    def cpu(self) -> float | None:
        """
        Return the part of all CPUs' time that was used between the last two readings.

        A reading is at least a second long; None until there are two.
        """
        now = self._clock.monotonic()
        last = self._cpu
        if last is not None and now < last[0] + _CPU_EVERY:
            return last[3]
        psutil = self.psutil()
        if psutil is None:
            return None
        # Not `psutil.cpu_percent`: what it compares with is kept per thread and
        # shared with whoever else asks, so a first reading on each thread says 0.
        times = psutil.cpu_times()
        # Linux counts guests' time in user and nice as well.
        spent = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        busy = spent - times.idle - getattr(times, "iowait", 0.0)
        use = None if last is None or spent <= last[2] else min(max((busy - last[1]) / (spent - last[2]), 0.0), 1.0)
        self._cpu = (now, busy, spent, use)
        return use

    def __repr__(self) -> str:
        return "<SystemUse of memory and CPU by psutil>"
