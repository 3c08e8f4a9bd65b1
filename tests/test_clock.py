"""
The machine's own clock.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import trio

from resilient.clock import SYSTEM_CLOCK, blocks_event_loop, runs_on_trio


def test_system_clock_is_the_machines():
    """
    It reads the machine's monotonic clock, tells the time of day in UTC, and says what it is.
    """
    before = time.monotonic()
    now = SYSTEM_CLOCK.monotonic()

    assert before <= now <= time.monotonic()
    assert SYSTEM_CLOCK.now().utcoffset() == timedelta(0)
    assert repr(SYSTEM_CLOCK) == "SystemClock()"


def test_sleeps_suit_the_event_loop():
    """
    An async sleep is the loop's own, under asyncio and trio; a sync one would block either.
    """

    async def look():
        await SYSTEM_CLOCK.asleep(0)
        return blocks_event_loop(), runs_on_trio()

    SYSTEM_CLOCK.sleep(0)

    assert asyncio.run(look()) == (True, False)
    assert trio.run(look) == (True, True)
    assert not blocks_event_loop()
