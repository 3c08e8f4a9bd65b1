"""
The event hub: who listens, and how events reach them.

Delivery is synchronous, in order, and outside every lock. Whatever changes
under a lock queues its event there (`Hub.queue`) and delivers afterwards
(`Hub.drain`); whoever finds nobody draining drains for all.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections import deque
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from resilient import events as event_types
from resilient.clock import SYSTEM_CLOCK, SYSTEM_RNG
from resilient.errors import PolicyError, ResilientWarning
from resilient.events import CallSucceeded, Event
from resilient.policies.options import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from resilient.analytics.recorder import ErrorAnalytics
    from resilient.classify import Classifier
    from resilient.clock import Clock, Rng

__all__ = ["SLOW_LISTENER", "Hub", "Listener"]

Listener = "Callable[[Event], object]"

# Seconds after which a listener is called slow, once.
SLOW_LISTENER = 0.1

_ALL = frozenset(
    one
    for one in vars(event_types).values()
    if isinstance(one, type) and issubclass(one, Event) and one.name != Event.name
)
_BY_DEFAULT = _ALL - {CallSucceeded}

_log = logging.getLogger("resilient")
_log.addHandler(logging.NullHandler())


class Hub:
    """
    Listeners, clock, chance and error reports of one registry.

    Args:
        clock: Where time comes from.
        rng: Where chance comes from.
        classifier: Tells what kind of error an exception is.
        analytics: Where errors are recorded; None records nothing.
    """

    def __init__(
        self,
        *,
        classifier: Classifier,
        clock: Clock = SYSTEM_CLOCK,
        rng: Rng = SYSTEM_RNG,
        analytics: ErrorAnalytics | None = None,
    ) -> None:
        self.clock = clock
        self.rng = rng
        self.classifier = classifier
        self.analytics = analytics
        # Called after each failed attempt: the service level may have to follow.
        self.evaluate: Callable[[], None] = _nothing
        # Takes the seconds of each call that returned; None: nobody wants to know.
        self.observe: Callable[[float], None] | None = None
        # Replaced whole, never changed: read without a lock on failure paths.
        self._listeners: dict[type[Event], tuple[Callable[[Event], object], ...]] = {}
        self._watchers: WeakSet[Any] = WeakSet()
        self._reported: set[str] = set()
        self._queue: deque[Callable[[], None]] = deque()
        self._renew_locks()

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()
        self._draining = threading.Lock()

    # -- listening ---------------------------------------------------------

    def on(
        self, listener: Callable[[Event], object], events: Iterable[type[Event]] | type[Event] | None = None
    ) -> Callable[[], None]:
        """
        Call *listener* with each event of the given types; return how to stop that.

        Args:
            listener: A plain callable that takes one event.
            events: Event classes; None: all but `CallSucceeded`.

        Raises:
            PolicyError: *listener* is not callable, or *events* holds something else.
        """
        if not callable(listener):
            msg = f"on(): a listener must be callable with one event, got {describe(listener)}"
            raise PolicyError(msg)
        if events is None:
            wanted: frozenset[type[Event]] = _BY_DEFAULT
        else:
            given = (events,) if isinstance(events, type) else tuple(events)
            wrong = [one for one in given if not (isinstance(one, type) and issubclass(one, Event))]
            if wrong:
                msg = f"on(): events= takes classes from resilient.events, got {describe(wrong[0])}"
                raise PolicyError(msg)
            wanted = frozenset(kind for kind in _ALL if issubclass(kind, given))
        # A box of its own, so that the same callable may listen twice.
        box = [listener]

        def deliver(event: Event) -> None:
            box[0](event)

        deliver.__qualname__ = getattr(listener, "__qualname__", type(listener).__qualname__)
        self._relist(lambda kind, old: (*old, deliver) if kind in wanted else old)

        def unsubscribe() -> None:
            self._relist(lambda _kind, old: tuple(one for one in old if one is not deliver))

        return unsubscribe

    def _relist(self, change: Callable[[type[Event], tuple[Any, ...]], tuple[Any, ...]]) -> None:
        with self._lock:
            had = self.wants(CallSucceeded)
            table = {kind: change(kind, self._listeners.get(kind, ())) for kind in _ALL}
            self._listeners = {kind: listeners for kind, listeners in table.items() if listeners}
            watchers = list(self._watchers) if self.wants(CallSucceeded) != had else []
        for watcher in watchers:
            watcher.refresh()

    def wants(self, kind: type[Event]) -> bool:
        """
        Tell whether anybody listens for events of *kind*.
        """
        return kind in self._listeners

    # -- the gate: a listener for successes makes every call a planned one --

    @property
    def timed(self) -> bool:
        """
        Whether somebody wants to know how long calls take.
        """
        return self.observe is not None

    @property
    def generation(self) -> int | None:
        """
        0 while nobody listens for successes, else None: calls must not be quiet.
        """
        return None if CallSucceeded in self._listeners else 0

    def attach(self, owner: Any) -> None:
        """
        Call ``owner.refresh()`` whenever `generation` changes; held weakly.
        """
        self._watchers.add(owner)

    def detach(self, owner: Any) -> None:
        """
        Forget *owner*.
        """
        self._watchers.discard(owner)

    def pipelines(self) -> list[Any]:
        """
        Return every pipeline that reports here.
        """
        return list(self._watchers)

    def succeeded(self, generation: int, elapsed: float | None) -> None:
        """
        Tell how long a call took, where a clock was read.
        """
        if elapsed is not None and self.observe is not None:
            self.observe(elapsed)

    def watch_latency(self, observe: Callable[[float], None] | None) -> None:
        """
        Hand the seconds of each call that returns to *observe*; None: no longer.
        """
        if self.observe is not observe:
            self.observe = observe
            for watcher in self.pipelines():
                watcher.refresh()

    # -- delivery ----------------------------------------------------------

    def emit(self, kind: type[Event], **fields: Any) -> None:
        """
        Build an event of *kind* and deliver it now, if anybody listens.
        """
        if kind in self._listeners:
            self.deliver(kind(at=self.clock.now(), **fields))

    def deliver(self, event: Event) -> None:
        """
        Hand *event* to its listeners; what they raise harms nobody.
        """
        clock = self.clock
        for listener in self._listeners.get(type(event), ()):
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
        self._queue.append(action)

    def drain(self) -> None:
        """
        Do what is queued, in order, unless somebody is doing so already.
        """
        queue = self._queue
        while queue:
            if not self._draining.acquire(blocking=False):
                return
            try:
                while queue:
                    queue.popleft()()
            finally:
                self._draining.release()

    # -- reports -----------------------------------------------------------

    def report(self, what: str, error: Exception) -> None:
        """
        Log once per *what* that user code raised where it must not harm a call.
        """
        if self._first_time(what):
            try:
                _log.error("%s raised %s; it is ignored from now on", what, type(error).__name__, exc_info=error)
            except Exception:  # noqa: BLE001, S110 - a broken log handler must not harm the call either
                pass

    def _slow(self, what: str, took: float) -> None:
        if self._first_time(f"slow {what}"):
            msg = f"listener {what} took {took:.2g} s and delayed the call that it was told of; hand work to a thread"
            warnings.warn(msg, ResilientWarning, stacklevel=2)

    def _first_time(self, what: str) -> bool:
        with self._lock:
            if what in self._reported or len(self._reported) >= 1024:
                return False
            self._reported.add(what)
            return True


def _nothing() -> None:
    """
    Stand for a service level that nothing follows.
    """
