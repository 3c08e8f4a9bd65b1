"""
The event hub: who listens, and who looks again when that changes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from resilient.clock import SYSTEM_CLOCK, SYSTEM_RNG
from resilient.delivery import Delivery, known_events
from resilient.errors import PolicyError
from resilient.events import CallSucceeded, Event
from resilient.forks import survives_fork
from resilient.policies.options import describe, is_async
from resilient.watchers import Watchers

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilient.analytics.recorder import ErrorAnalytics
    from resilient.classify import Classifier
    from resilient.clock import Clock, Rng
    from resilient.counting import Counts
    from resilient.operation import Operation
    from resilient.policies.base import Raised

__all__ = ["Hub"]

# How many pipelines may be gone before their counts are added up.
_DEPARTED = 16


class Hub(Delivery):
    """
    Listeners, clock, chance and error reports of one registry.

    Args:
        clock: Where time comes from.
        rng: Where chance comes from.
        classifier: Tells what kind of error an exception is.
        analytics: Where errors are recorded; None records nothing.
    """

    listeners: dict[type[Event], tuple[Callable[[Event], object], ...]]

    def __init__(
        self,
        *,
        classifier: Classifier,
        clock: Clock = SYSTEM_CLOCK,
        rng: Rng = SYSTEM_RNG,
        analytics: ErrorAnalytics | None = None,
    ) -> None:
        super().__init__(clock)
        self.rng = rng
        self.classifier = classifier
        self.analytics = analytics
        # Called after each failed attempt: the service level may have to follow.
        self.evaluate: Callable[[], None] = _nothing
        # Takes the seconds of each call that returned; None: nobody wants to know.
        self.observe: Callable[[float], None] | None = None
        # Told of each operation that failed in the end, and how; None: nobody wants to know.
        self.unresolved: Callable[[Operation, Raised], None] | None = None
        self._watchers: Watchers[Any] = Watchers()
        # Who listens, and for what; None: for all but `CallSucceeded`.
        self._subscribed: tuple[tuple[Callable[[Event], object], tuple[type[Event], ...] | None], ...] = ()
        self._kinds = known_events()
        # Counts of pipelines that are gone, until somebody adds them to the sum: (calls, failures).
        self.departed: deque[Counts] = deque()
        self._retired = 0, 0
        survives_fork(self)

    def _renew_locks(self) -> None:
        super()._renew_locks()
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
        given: tuple[type[Event], ...] | None = None
        if events is not None:
            given = tuple(events) if isinstance(events, Iterable) else (events,)
            wrong = [one for one in given if not _is_event(one)]
            if wrong:
                msg = f"on(): events= takes classes from resilient.events, got {describe(wrong[0])}"
                raise PolicyError(msg)
        # A box of its own, so that the same callable may listen twice.
        box = [listener]

        def deliver(event: Event) -> None:
            box[0](event)

        deliver.__qualname__ = getattr(listener, "__qualname__", type(listener).__qualname__)
        with self._lock:
            self._subscribed = (*self._subscribed, (deliver, given))
        self._relist()

        def unsubscribe() -> None:
            with self._lock:
                self._subscribed = tuple(one for one in self._subscribed if one[0] is not deliver)
            self._relist()

        return unsubscribe

    def _relist(self) -> None:
        with self._lock:
            before = self.generation
            self._kinds = known_events()
            table = {kind: tuple(one for one, given in self._subscribed if _hears(given, kind)) for kind in self._kinds}
            self.listeners = {kind: listeners for kind, listeners in table.items() if listeners}
            changed = self.generation != before
        if changed:
            self._refresh()

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
        if self._kinds is not known_events():
            # A policy of a user's own has brought events of its own.
            self._relist()
        self._watchers.add(owner)

    def detach(self, owner: Any) -> None:
        """
        Forget *owner*.
        """
        self._watchers.discard(owner)

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
        return self._watchers.living()

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


def _hears(given: tuple[type[Event], ...] | None, kind: type[Event]) -> bool:
    return kind is not CallSucceeded if given is None else issubclass(kind, given)


def _is_event(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Event)


def _nothing() -> None:
    """
    Stand for a service level that nothing follows.
    """
