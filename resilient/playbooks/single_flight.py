"""
Single flight: of all who want the same work done, one does it and the others wait for its result.

It holds for threads, tasks and event loops together: those who wait are handed
a `concurrent.futures.Future` to wait for (`resilient.policies.base.Await`),
and nothing here blocks, calls user code under the lock or knows an event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import Future
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

from resilient.clock import runs_on_trio
from resilient.policies.base import Await, Command, Outcome, Returned

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable

__all__ = ["Decision", "SingleFlight"]

# A plan that ends in yes or no instead of an outcome.
Decision: TypeAlias = "Generator[Command, Outcome, bool]"


class _Flight:
    """
    Work that is being done now.

    ``waits_for`` are the flights that its runner itself waits for: the edges in
    which a circle of waiting shows before it closes.
    """

    __slots__ = ("done", "result", "thread", "waits_for")

    def __init__(self) -> None:
        self.done: Future[None] = Future()
        # Running: one who waits and is cancelled cannot cancel it for the others.
        self.done.set_running_or_notify_cancel()
        # None: the runner left without one.
        self.result: bool | None = None
        self.thread = threading.get_ident()
        self.waits_for: list[_Flight] = []

    def leads_to(self, others: tuple[_Flight, ...]) -> bool:
        """
        Tell whether one of *others* is this flight, or has to land before it can.
        """
        seen: set[_Flight] = {self}
        ahead: list[_Flight] = [self]
        while ahead:
            flight = ahead.pop()
            if flight in others:
                return True
            fresh = [one for one in flight.waits_for if one not in seen]
            seen.update(fresh)
            ahead.extend(fresh)
        return False


# The flights that the code running now is part of. A context variable and not
# the thread's id: a step may await, start tasks or call asyncio.run.
_ABOARD: ContextVar[tuple[_Flight, ...]] = ContextVar("resilient_flights", default=())


class SingleFlight:
    """
    The flights of one owner, by key.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._flights: dict[Hashable, _Flight] = {}

    def join(
        self,
        key: Hashable,
        work: Callable[[], Decision],
        *,
        remaining: Callable[[], float | None],
        is_async: bool,
    ) -> Decision:
        """
        Do *work*, or wait for the one who is doing it, and return its result.

        A runner that raises lands the flight with False; one that is cancelled,
        interrupted or thrown away hands it to one of those who wait. Waiting
        that could never end is not begun: the answer is False at once for work
        that waits for itself, directly or through others.

        Args:
            key: Equal keys are the same work.
            work: Makes the plan that does it.
            remaining: Seconds left to wait; None: no limit.
            is_async: Whether an async driver runs this plan. A sync one does
                not wait on a thread that runs an event loop, nor for a runner
                on its own thread: the answer is False.

        Raises:
            TimeoutError: The time was over before the runner was done.
        """
        own = _Flight()
        # From here on in one `try`: Ctrl-C may strike between any two lines, and
        # a flight that nobody lands would keep everyone waiting.
        try:
            while True:
                flight = self._board(key, own, is_async=is_async)
                if flight is None:
                    return False
                if flight is own:
                    own.result = yield from _fly(own, work)
                    return own.result
                result = yield from self._wait(flight, remaining)
                if result is not None:
                    return result
        except Exception:
            own.result = False
            raise
        finally:
            self._land(key, own)

    def _board(self, key: Hashable, own: _Flight, *, is_async: bool) -> _Flight | None:
        """
        Return *own* where it may fly, else the flight to wait for, or None where waiting could never end.
        """
        aboard = _ABOARD.get()
        with self._lock:
            flight = self._flights.setdefault(key, own)
            if flight is own:
                return own
            if flight.leads_to(aboard):
                return None
            if not is_async and (flight.thread == own.thread or _runs_event_loop()):
                return None
            # In the same hold of the lock as the look ahead: of two who are
            # about to wait for each other, the second one sees the first.
            for mine in aboard:
                mine.waits_for.append(flight)
            return flight

    def _wait(self, flight: _Flight, remaining: Callable[[], float | None]) -> Generator[Command, Outcome, bool | None]:
        aboard = _ABOARD.get()
        try:
            outcome = yield Await(flight.done, remaining())
        finally:
            with self._lock:
                for mine in aboard:
                    mine.waits_for.remove(flight)
        if isinstance(outcome, Returned):
            return flight.result
        try:
            raise outcome.error
        finally:
            # The traceback holds this frame; the frame must not hold the error.
            del outcome

    def _land(self, key: Hashable, own: _Flight) -> None:
        with self._lock:
            if self._flights.get(key) is own:
                del self._flights[key]
        own.done.set_result(None)

    def _renew_locks(self) -> None:
        """
        Begin afresh in a forked child: the threads that ran the flights are not there.
        """
        self._lock = threading.RLock()
        self._flights = {}

    def __repr__(self) -> str:
        return f"SingleFlight({len(self._flights)} in flight)"


def _fly(own: _Flight, work: Callable[[], Decision]) -> Decision:
    token = _ABOARD.set((*_ABOARD.get(), own))
    try:
        return (yield from work())
    finally:
        # A plan that was thrown away is closed wherever the collector runs.
        with contextlib.suppress(ValueError):
            _ABOARD.reset(token)


def _runs_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return runs_on_trio()
    return True
