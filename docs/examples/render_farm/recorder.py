"""
Note what the registry reports, as marks on the timeline.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from docs.examples.render_farm.results import Mark
from resilient.events import (
    AttemptFailed,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    FallbackUsed,
    LevelChanged,
    RecoveryRun,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from docs.examples.render_farm.farm import Outage
    from resilient.events import Event

__all__ = ["Recorder"]

_STATES = {CircuitOpened: "open", CircuitHalfOpened: "half_open", CircuitClosed: "closed"}


class Recorder:
    """
    A listener for `Registry.on`, and a signal for the service level.

    Args:
        monotonic: Returns the time in seconds; the timeline begins at the first reading.
        window: How many seconds `recent_errors` looks back.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, window: float = 2.0) -> None:
        self._monotonic = monotonic
        self._window = window
        self._start = monotonic()
        self._errors: deque[float] = deque(maxlen=1000)
        self._marks: list[Mark] = []

    def __call__(self, event: Event) -> None:
        """
        Turn *event* into a mark.
        """
        at = self._monotonic() - self._start
        match event:
            case CircuitOpened() | CircuitHalfOpened() | CircuitClosed():
                mark = Mark(at, "circuit", event.circuit, _STATES[type(event)])
            case LevelChanged():
                mark = Mark(at, "level", event.scope, event.level.label, f"{event.reason} (by {event.by})")
            case AttemptFailed():
                self._errors.append(at)
                text = f"{event.error.error_type}: {event.error.error_message}"
                mark = Mark(at, "error", _short(event.function), event.error.category.value, text)
            case RecoveryRun(applied=True):
                mark = Mark(
                    at, "recovery", event.step, _short(event.function), "helped" if event.success else "in vain"
                )
            case FallbackUsed(success=True):
                mark = Mark(at, "fallback", event.entry, _short(event.function))
            case _:
                return
        self._marks.append(mark)

    def recent_errors(self) -> float:
        """
        Return how many attempts failed within the window that ends now.
        """
        since = self._monotonic() - self._start - self._window
        return float(sum(at >= since for at in tuple(self._errors)))

    def marks(self, outages: tuple[Outage, ...] = ()) -> tuple[Mark, ...]:
        """
        Return all marks in the order of time, with those of servers that were down.
        """
        servers = []
        for outage in outages:
            servers.append(Mark(outage.start - self._start, "down", outage.server, "down", "killed"))
            if outage.end is not None:
                servers.append(Mark(outage.end - self._start, "up", outage.server, "up", "started again"))
        return tuple(sorted((*self._marks, *servers), key=lambda mark: mark.at))

    def __repr__(self) -> str:
        return f"Recorder({len(self._marks)} marks)"


def _short(function: str | None) -> str:
    return (function or "?").rpartition(":")[2]
