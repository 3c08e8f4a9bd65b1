"""
`Outcome`: what one call came to, and how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from resilient.events import (
    AttemptFailed,
    CallRejected,
    CircuitEvent,
    FallbackUsed,
    RecoveryRun,
    RetriesExhausted,
    RetryScheduled,
)
from resilient.light import dataclass
from resilient.redaction import readable
from resilient.text import safe_repr, safe_str, type_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resilient.events import Event
    from resilient.levels import DegradationLevel

__all__ = ["Outcome"]

T_co = TypeVar("T_co", covariant=True)

_VALUE_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T_co]):
    """
    What one call came to. ``str()`` of it tells the incident, attempt by attempt.

    Texts in ``str()`` and ``repr()`` are redacted; `value` and `error` are as they are.

    Args:
        value: What was returned; None where it failed.
        error: The exception, or None.
        route: ``"first try"``, ``"retry"``, ``"recovery:<step>"``,
            ``"fallback:<entry>"``, ``"failed"`` or ``"rejected"``.
        attempts: Calls of the function itself.
        level: The service level that the call was made at.
        changes: Parameter to (before, after), for what a level or a recovery changed.
        elapsed: Seconds, waits included.
        events: What happened, in order.
    """

    value: T_co | None
    error: Exception | None
    route: str
    attempts: int
    level: DegradationLevel
    changes: Mapping[str, tuple[Any, Any]]
    elapsed: float
    events: tuple[Event, ...]

    @property
    def ok(self) -> bool:
        """
        Whether the call returned.
        """
        return self.error is None

    def __str__(self) -> str:
        lines = [line for event in self.events if (line := _told(event))]
        if self.changes:
            changed = ", ".join(
                f"{readable(name)} {safe_repr(old, _VALUE_LIMIT)} -> {safe_repr(new, _VALUE_LIMIT)}"
                for name, (old, new) in self.changes.items()
            )
            lines.insert(0, f"level {self.level.label}: {readable(changed)}")
        lines.append(self._came_to())
        return "\n".join(lines)

    def __repr__(self) -> str:
        # As redacted as `str`: outcomes are printed, logged and shown by failing tests.
        value = "" if self.error is not None else f": {readable(safe_repr(self.value, _VALUE_LIMIT))}"
        return f"<Outcome: {self._came_to()}{value}>"

    def _came_to(self) -> str:
        times = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        after = f"{readable(self.route)} after {times}, {self.elapsed:.3g} s"
        if self.error is None:
            return f"returned by {after}"
        return f"{after}: {readable(f'{type_name(self.error)}: {safe_str(self.error)}')}"


def _told(event: Event) -> str:  # noqa: PLR0911 - one line for each kind of event
    match event:
        case AttemptFailed():
            what = readable(f"{event.error.error_type}: {event.error.error_message}")
            return f"attempt {event.attempt} raised {what}"
        case RetryScheduled():
            return f"  next attempt in {event.delay:.3g} s"
        case RetriesExhausted():
            return f"  gave up after {event.attempts}"
        case CallRejected():
            return f"circuit {readable(event.circuit)} did not admit the call ({event.reason})"
        case CircuitEvent():
            return f"circuit {readable(event.circuit)}: {event.name.partition('.')[2].replace('_', ' ')}"
        case RecoveryRun():
            came = {True: "helped", False: "did not help", None: "does not apply"}[event.success]
            return f"recovery step {readable(event.step)} {came}"
        case FallbackUsed():
            return f"fallback {readable(event.entry)} {'returned' if event.success else 'failed'}"
        case _:
            return ""
