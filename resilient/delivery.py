"""
How events reach those who listen.

Delivery is synchronous, in order, and outside every lock. Whatever changes
under a lock queues its event there (`Delivery.queue`) and delivers afterwards
(`Delivery.drain`); whoever finds nobody draining drains for all.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from resilient import events
from resilient.callers import warn_caller
from resilient.events import CallRejected, OperationFailed
from resilient.logs import hook_failed, know, load_structlog, log_event, wanted
from resilient.outbox import Outbox

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from resilient.clock import Clock
    from resilient.events import Event

__all__ = ["SLOW_LISTENER", "Delivery", "add_event", "known_events"]

# Seconds after which a listener is called slow, once.
SLOW_LISTENER = 0.1

# How many different things are reported at most; each is kept as a text.
_REPORTS = 1024


_known: tuple[type[Event], ...] = tuple(
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, events.Event) and kind.name != events.Event.name
)


def known_events() -> tuple[type[Event], ...]:
    """
    Return every kind of event that may be listened for; another tuple as soon as there are more.
    """
    return _known


def add_event(kind: type[Event]) -> None:
    """
    Let *kind*, an event of a policy of a user's own, be listened for and logged.
    """
    global _known  # noqa: PLW0603 - replaced whole, read without a lock
    if kind not in _known:
        _known = (*_known, kind)
    know(kind)


class Delivery:
    """
    Events on their way to listeners and to the log, and what user code raises beside a call.

    Args:
        clock: Where time comes from.

    Attributes:
        listeners: Who hears of which events.
        waiting: What is queued.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        # Replaced whole, never changed: read without a lock on failure paths.
        self.listeners: dict[type[Event], tuple[Callable[[Event], object], ...]] = {}
        self._reported: set[str] = set()
        self._outbox = Outbox()
        # Its queue: where nothing waits, nobody has to drain.
        self.waiting: deque[Callable[[], None]] = self._outbox.waiting
        self._lock = threading.RLock()

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()
        self._outbox.renew_lock()

    def wants(self, kind: type[Event]) -> bool:
        """
        Tell whether anybody listens for events of *kind*, the log included.
        """
        return kind in self.listeners or wanted(kind)

    def hears_rejections(self) -> bool:
        """
        Tell whether anybody but the caller hears of a call that was not admitted.
        """
        listeners = self.listeners
        # Of the log: who takes rejections takes failures, which are louder.
        if listeners and (CallRejected in listeners or OperationFailed in listeners):
            return True
        return wanted(OperationFailed)

    def emit(self, kind: type[Event], **fields: Any) -> None:
        """
        Build an event of *kind* and deliver it now, if anybody listens.
        """
        if self.wants(kind):
            self.deliver(kind(at=self.clock.now(), **fields))

    def deliver(self, event: Event) -> None:
        """
        Hand *event* to its listeners and to the log; what they raise harms nobody.
        """
        clock = self.clock
        listeners = self.listeners.get(type(event), ())
        if wanted(type(event)):
            # Before the clock is read: the first entry would import it, and the log pass for slow.
            load_structlog()
            listeners = (*listeners, log_event)
        for listener in listeners:
            began = clock.monotonic()
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - a listener never harms a call
                self.report(f"listener {listener.__qualname__}", error)
            took = clock.monotonic() - began
            if took > SLOW_LISTENER:
                self._slow(listener.__qualname__, took)

    def queue(self, action: Callable[[], None]) -> None:
        """
        Note something to be done after the current lock is free; see `drain`.
        """
        self._outbox.put(action)

    def drain(self) -> None:
        """
        Do what is queued, in order, unless somebody is doing so already.
        """
        if self.waiting and (endless := self._outbox.drain()) is not None:
            self.report("listeners of circuits", endless)

    # -- reports -----------------------------------------------------------

    def report(self, what: str, error: Exception) -> None:
        """
        Log once per *what* that user code raised where it must not harm a call.
        """
        if self._first_time(what):
            try:
                hook_failed(what, error, self.clock.now())
            except Exception:  # noqa: BLE001, S110 - a broken log handler must not harm the call either
                pass

    def _slow(self, what: str, took: float) -> None:
        if self._first_time(f"slow {what}"):
            msg = f"listener {what} took {took:.2g} s and delayed the call that it was told of; hand work to a thread"
            try:
                warn_caller(msg)
            except Exception as error:  # noqa: BLE001 - where warnings are errors, or nobody can print them
                self.report(f"slow listener {what}", error)

    def _first_time(self, what: str) -> bool:
        with self._lock:
            if what in self._reported or len(self._reported) >= _REPORTS:
                return False
            self._reported.add(what)
            return True
