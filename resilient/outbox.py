"""
What is done after a lock is free, in order, and by one thread at a time.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LIMIT", "Outbox"]

LIMIT = 1000
"""How many actions may be put in by those that are done, before who does them goes on its way."""


_ENDLESS = f"what they are told of makes them cause more of it, {LIMIT} times by now; the rest is told next time"


class Outbox:
    """
    Actions that wait until no lock is held.

    Who changes something under a lock puts in what follows from it, and drains
    when the lock is free; whoever finds nobody draining drains for all.

    Args:
        maxlen: How many may wait; the oldest go first. None: any number.

    Attributes:
        waiting: What waits.
    """

    __slots__ = ("_caused", "_draining", "_thread", "waiting")

    def __init__(self, maxlen: int | None = None) -> None:
        self.waiting: deque[Callable[[], None]] = deque(maxlen=maxlen)
        # Who is draining, and how many more actions those have put in that it has done.
        self._thread = 0
        self._caused = 0
        self.renew_lock()

    def renew_lock(self) -> None:
        """
        Take a fresh lock, in a forked child.
        """
        self._draining = threading.Lock()

    def put(self, action: Callable[[], None]) -> None:
        """
        Note something to be done.
        """
        if self._thread == threading.get_ident():
            self._caused += 1
        self.waiting.append(action)

    def drain(self) -> RecursionError | None:
        """
        Do what waits, in order, unless somebody is doing so already.

        Returns:
            None, or what is to be reported: actions have put in `LIMIT` others,
            and what is left waits for the next one to drain.
        """
        queue = self.waiting
        while queue:
            # Kept by hand: an action may fork, and the child has another one then.
            draining = self._draining
            if not draining.acquire(blocking=False):
                return None
            self._caused = 0
            self._thread = threading.get_ident()
            try:
                while queue:
                    if self._caused >= LIMIT:
                        return RecursionError(_ENDLESS)
                    queue.popleft()()
            finally:
                self._thread = 0
                draining.release()
        return None
