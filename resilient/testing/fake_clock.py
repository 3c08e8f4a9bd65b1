"""
`FakeClock`: time for tests, moved by waits or by hand.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import sys
import threading
from bisect import insort
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from resilient.clock import runs_on_trio
from resilient.errors import PolicyError
from resilient.forks import survives_fork
from resilient.policies.options import describe

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FakeClock"]

# What `now` tells when the clock starts.
_START = datetime(2025, 1, 1, tzinfo=UTC)

# How often an event loop gets to run all that is ready before time moves on: enough
# for a task that was just woken to await a few things and to fall asleep again.
_TURNS = 10


class _Sleeper:
    """
    A task that waits for its time.

    Args:
        wake: When it wakes, in monotonic seconds.
        order: Tells sleepers apart that wake at the same time.
    """

    __slots__ = ("event", "home", "order", "soon", "wake")

    def __init__(self, wake: float, order: int) -> None:
        self.wake = wake
        self.order = order
        self.home: Any
        self.soon: Callable[..., object]
        self.event: Any
        # The loop that it runs on, the loop's way to be called from any thread, and what it waits for.
        if runs_on_trio():
            trio = sys.modules["trio"]
            self.home = trio.lowlevel.current_trio_token()
            self.soon = self.home.run_sync_soon
            self.event = trio.Event()
        else:
            self.home = asyncio.get_running_loop()
            self.soon = self.home.call_soon_threadsafe
            self.event = asyncio.Event()

    def __lt__(self, other: _Sleeper) -> bool:
        return (self.wake, self.order) < (other.wake, other.order)

    def call_soon(self, function: Callable[..., object], *args: object) -> None:
        """
        Call *function* on this sleeper's loop, unless that is closed.
        """
        try:
            self.soon(function, *args)
        except RuntimeError:
            # Nobody is left there to wake. (trio's RunFinishedError is one, too.)
            pass


class FakeClock:
    """
    A `Clock` that stands still until somebody waits on it, or moves it.

    Sync waits return at once and move the clock by what they would have taken.
    Async waits move it when nothing else is ready to run on their event loop:
    tasks that are asleep at once wake in the order of their times, as they would
    in truth. With ``manual=True`` async waits stay until `advance` or `aadvance`
    reaches them; sync waits move the clock in both modes, for nobody else could.

    Everything may be called from any thread and event loop, asyncio's and trio's.
    Time that others measure - ``asyncio.timeout``, sockets - is not touched.

    Args:
        start: What `monotonic` tells at first, in seconds.
        manual: Whether async waits stay until the clock is moved by hand.

    Raises:
        PolicyError: *start* is no finite number.
    """

    def __init__(self, start: float = 0.0, *, manual: bool = False) -> None:
        self.manual = manual
        self._start = self._time = _number("start", start, at_least=-math.inf)
        self._wall_offset = 0.0
        self._order = itertools.count()
        # By event loop, each in the order of waking; a loop is held only while something sleeps on it.
        self._asleep: dict[Any, list[_Sleeper]] = {}
        self._renew_locks()
        survives_fork(self)

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        asleep = sum(len(line) for line in self._asleep.values())
        return f"<FakeClock at {self._time:g} s{', manual' if self.manual else ''}, {asleep} asleep>"

    # -- reading -----------------------------------------------------------

    def monotonic(self) -> float:
        """
        Return the seconds that this clock stands at.
        """
        return self._time

    def now(self) -> datetime:
        """
        Return the time of day in UTC: it starts with 2025 and moves along with `monotonic`.
        """
        return _START + timedelta(seconds=self._time - self._start + self._wall_offset)

    # -- waiting -----------------------------------------------------------

    def sleep(self, seconds: float, /) -> None:
        """
        Move the clock by *seconds* and return at once.
        """
        self.advance(seconds)

    async def asleep(self, seconds: float, /) -> None:
        """
        Suspend this task until the clock has moved by *seconds*.
        """
        seconds = _number("seconds", seconds)
        with self._lock:
            sleeper = _Sleeper(self._time + seconds, next(self._order))
            rests = sleeper.wake > self._time
            if rests:
                insort(self._asleep.setdefault(sleeper.home, []), sleeper)
        if not rests:
            await _turn()
            return
        try:
            self._jump_to(sleeper, _TURNS)
            await sleeper.event.wait()
        finally:
            self._rise(sleeper)

    def _jump_to(self, sleeper: _Sleeper, turns: int) -> None:
        """
        Move the clock to when *sleeper* wakes, after *turns* of its event loop.

        Given up as soon as another one of that loop wakes earlier, or time is
        moved by hand. Loops do not wait for each other: one may be blocked by
        what the other waits for.
        """
        with self._lock:
            first = self._asleep.get(sleeper.home, [None])[0]
        if self.manual or first is not sleeper:
            return
        if turns:
            sleeper.call_soon(self._jump_to, sleeper, turns - 1)
        else:
            self._move_to(sleeper.wake)

    def _rise(self, sleeper: _Sleeper) -> None:
        """
        Take *sleeper* out of its line; now the next one may wake.
        """
        with self._lock:
            line = self._asleep[sleeper.home]
            line.remove(sleeper)
            if not line:
                del self._asleep[sleeper.home]
        if line:
            self._jump_to(line[0], _TURNS)

    # -- moving ------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """
        Move the clock by *seconds* and wake, in order, whoever's time has come.

        What wakes runs when its event loop gets to it; within a task,
        ``await aadvance(seconds)`` lets it run while time passes.

        Raises:
            PolicyError: *seconds* is negative or no finite number.
        """
        seconds = _number("seconds", seconds)
        with self._lock:
            self._move_to(self._time + seconds)

    async def aadvance(self, seconds: float) -> None:
        """
        Move the clock by *seconds*, stopping at each sleeper's time for its task to run.

        Raises:
            PolicyError: *seconds* is negative or no finite number.
        """
        seconds = _number("seconds", seconds)
        # A task that was just created has to fall asleep first.
        await _settle()
        end = self._time + seconds
        while (wake := self._next_wake(end)) is not None:
            self._move_to(wake)
            await _settle()
        self._move_to(end)
        await _settle()

    def jump_wall(self, seconds: float) -> None:
        """
        Let the time of day jump by *seconds*, as when somebody sets the wall clock; `monotonic` does not notice.

        Raises:
            PolicyError: *seconds* is no finite number.
        """
        seconds = _number("seconds", seconds, at_least=-math.inf)
        with self._lock:
            self._wall_offset += seconds

    def _next_wake(self, end: float) -> float | None:
        with self._lock:
            times = [one.wake for line in self._asleep.values() for one in line if self._time < one.wake <= end]
        return min(times, default=None)

    def _move_to(self, time: float) -> None:
        with self._lock:
            self._time = max(self._time, time)
            due = sorted(one for line in self._asleep.values() for one in line if one.wake <= self._time)
        for sleeper in due:
            sleeper.call_soon(sleeper.event.set)


def _number(name: str, value: Any, at_least: float = 0.0) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < at_least:
        limit = " of at least 0" if at_least == 0.0 else ""
        msg = f"FakeClock: {name} must be a finite number of seconds{limit}, got {describe(value)}"
        raise PolicyError(msg)
    return float(value)


async def _turn() -> None:
    """
    Let everything run once that is ready to.
    """
    if runs_on_trio():
        await sys.modules["trio"].lowlevel.checkpoint()
    else:
        await asyncio.sleep(0)


async def _settle() -> None:
    for _ in range(_TURNS):
        await _turn()
