"""
The one place that reads time, sleeps and draws chance.

Everything that decides takes a `Clock`, so that tests drive time by hand and a
wall clock that jumps changes nothing.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

__all__ = ["SYSTEM_CLOCK", "SYSTEM_RNG", "Clock", "Rng", "SystemClock", "blocks_event_loop", "runs_on_trio"]


class Clock(Protocol):
    """
    Time, as policies see it.
    """

    def monotonic(self) -> float:
        """
        Return seconds on a clock that never steps; only differences mean something.
        """
        ...

    def now(self) -> datetime:
        """
        Return the time of day in UTC, for people; nothing is decided by it.
        """
        ...

    def sleep(self, seconds: float, /) -> None:
        """
        Block this thread for *seconds*.
        """
        ...

    async def asleep(self, seconds: float, /) -> None:
        """
        Suspend this task for *seconds*.
        """
        ...


class Rng(Protocol):
    """
    Chance, as jitter needs it; the module `random` and `random.Random` are such.
    """

    def uniform(self, a: float, b: float, /) -> float:
        """
        Return a number between *a* and *b*.
        """
        ...


class SystemClock:
    """
    The machine's monotonic clock, and sleeps under asyncio and trio.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def monotonic(self) -> float:
            """
            Return seconds on a clock that never steps.
            """
            ...

        def sleep(self, seconds: float, /) -> None:
            """
            Block this thread for *seconds*.
            """
            ...
    else:
        # The C functions themselves: a call costs no frame.
        monotonic = staticmethod(time.monotonic)
        sleep = staticmethod(time.sleep)

    def now(self) -> datetime:
        """
        Return the time of day in UTC.
        """
        return datetime.now(UTC)

    async def asleep(self, seconds: float, /) -> None:
        """
        Suspend this task for *seconds*, on whichever event loop runs it.
        """
        if runs_on_trio():
            await sys.modules["trio"].sleep(seconds)
        else:
            await asyncio.sleep(seconds)

    def __repr__(self) -> str:
        return "SystemClock()"


def runs_on_trio() -> bool:
    """
    Tell whether the caller is a trio task.

    trio is looked up among the loaded modules, never imported: code that runs
    on it has loaded it.
    """
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_task()


def blocks_event_loop() -> bool:
    """
    Tell whether a sync wait would hold up an event loop that this thread runs.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return runs_on_trio()
    return True


SYSTEM_CLOCK = SystemClock()

# The module and not an instance of Random: Python reseeds it in a forked child,
# so that siblings do not retry in step.
SYSTEM_RNG: Rng = random
