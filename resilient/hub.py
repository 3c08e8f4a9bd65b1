"""
The event hub: who listens, and how events reach them.

Delivery is synchronous, in order, and outside every lock. Whatever changes
under a lock queues its event there (`Hub.queue`) and delivers afterwards
(`Hub.drain`); whoever finds nobody draining drains for all.
"""

from __future__ import annotations

import threading
import warnings
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from resilient import events as event_types
from resilient.clock import SYSTEM_CLOCK, SYSTEM_RNG
from resilient.errors import PolicyError, ResilientWarning
from resilient.events import CallRejected, CallSucceeded, Event, OperationFailed
from resilient.forks import survives_fork
from resilient.logs import hook_failed, log_event, wanted
from resilient.outbox import Outbox
from resilient.policies.options import describe, is_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilient.analytics.recorder import ErrorAnalytics
    from resilient.classify import Classifier
    from resilient.clock import Clock, Rng
    from resilient.counting import Counts
    from resilient.operation import Operation
    from resilient.policies.base import Raised

__all__ = ["SLOW_LISTENER", "Hub", "Listener"]

Listener = "Callable[[Event], object]"

# Seconds after which a listener is called slow, once.
SLOW_LISTENER = 0.1

# How many different things are reported at most; each is kept as a text.
_REPORTS = 1024

# How many pipelines may be gone before their counts are added up.
_DEPARTED = 64

_ALL = frozenset(
    one
    for one in vars(event_types).values()
    if isinstance(one, type) and issubclass(one, Event) and one.name != Event.name
)
_BY_DEFAULT = _ALL - {CallSucceeded}


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
        # Told of each operation that failed in the end, and how; None: nobody wants to know.
        self.unresolved: Callable[[Operation, Raised], None] | None = None
        # Replaced whole, never changed: read without a lock on failure paths.
        self.listeners: dict[type[Event], tuple[Callable[[Event], object], ...]] = {}
        # By id. Not a WeakSet: that cannot be read while another thread adds to it.
        self._watchers: WeakValueDictionary[int, Any] = WeakValueDictionary()
        # Counts of pipelines that are gone, until somebody adds them to the sum: (calls, failures).
        self.departed: deque[Counts] = deque()
        self._retired = 0, 0
        self._reported: set[str] = set()
        self._outbox = Outbox()
        # Its queue: where nothing waits, nobody has to drain.
        self.waiting = self._outbox.waiting
        self._renew_locks()
        survives_fork(self)

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()
        self._outbox.renew_lock()
        for counts in self.departed:
            counts.renew_lock(threading.RLock())
        for pipeline in self.pipelines():
            pipeline.renew_locks()

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
        if is_async(listener):
            msg = f"on(): a listener must be a plain function: nobody would await {describe(listener)}"
            raise PolicyError(msg)
        if events is None:
            wanted: frozenset[type[Event]] = _BY_DEFAULT
        else:
            given = tuple(events) if isinstance(events, Iterable) else (events,)
            wrong = [one for one in given if not _is_event(one)]
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
            before = self.generation
            table = {kind: change(kind, self.listeners.get(kind, ())) for kind in _ALL}
            self.listeners = {kind: listeners for kind, listeners in table.items() if listeners}
            changed = self.generation != before
        if changed:
            self._refresh()

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
        return None if CallSucceeded in self.listeners else 0

    def attach(self, owner: Any) -> None:
        """
        Call ``owner.refresh()`` whenever `generation` changes; held weakly.
        """
        if len(self.departed) > _DEPARTED:
            self.retired()
        self._watchers[id(owner)] = owner

    def detach(self, owner: Any) -> None:
        """
        Forget *owner*.
        """
        self._watchers.pop(id(owner), None)

    def retired(self) -> tuple[int, int]:
        """
        Return the calls and failures of pipelines that are gone.
        """
        with self._lock:
            while self.departed:
                stats = self.departed.popleft().stats()
                self._retired = self._retired[0] + stats.calls, self._retired[1] + stats.failures
            return self._retired

    def forget_retired(self) -> None:
        """
        Zero what `retired` returns.
        """
        with self._lock:
            self.departed.clear()
            self._retired = 0, 0

    def pipelines(self) -> list[Any]:
        """
        Return every pipeline that reports here.
        """
        return [owner for ref in self._watchers.valuerefs() if (owner := ref()) is not None]

    def _refresh(self) -> None:
        for owner in self.pipelines():
            owner.refresh()

    def succeeded(self, generation: int, elapsed: float | None) -> None:  # noqa: ARG002 - a gate's signature
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
            self._refresh()

    # -- delivery ----------------------------------------------------------

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
            import structlog  # noqa: F401  # pyright: ignore[reportUnusedImport]

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
                warnings.warn(msg, ResilientWarning, stacklevel=2)
            except Exception as error:  # noqa: BLE001 - where warnings are errors, or nobody can print them
                self.report(f"slow listener {what}", error)

    def _first_time(self, what: str) -> bool:
        with self._lock:
            if what in self._reported or len(self._reported) >= _REPORTS:
                return False
            self._reported.add(what)
            return True


def _is_event(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Event)


def _nothing() -> None:
    """
    Stand for a service level that nothing follows.
    """
