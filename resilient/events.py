"""
What policies report: frozen records, handed to listeners one at a time.

An event is built only when somebody listens for its type. Each class has a
stable dotted ``name``, which is also its name in the logs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from resilient.light import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from resilient.errorinfo import ErrorInfo
    from resilient.levels import DegradationLevel

__all__ = [
    "AttemptFailed",
    "CallRejected",
    "CallSucceeded",
    "CircuitClosed",
    "CircuitHalfOpened",
    "CircuitOpened",
    "CircuitWouldOpen",
    "Event",
    "FallbackUsed",
    "LevelChanged",
    "OperationFailed",
    "OperationRecovered",
    "RecoveryRun",
    "RetriesExhausted",
    "RetryScheduled",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """
    What all events tell.

    Args:
        at: The time of day in UTC, for people; nothing is decided by it.
        operation: The id of the operation that this happened in, where known.
        parent: The id of the decorated operation around that one, where there is one.
        function: The function's name, ``module:qualname``, where known.

    Attributes:
        name: Its name in the log, without the ``resilient.`` before it.
        log_level: How loud an event of a policy of a user's own is in the log: ``"debug"``, ``"info"``,
            ``"warning"`` or ``"error"``.
    """

    name: ClassVar[str] = "event"
    log_level: ClassVar[str] = "info"

    at: datetime
    operation: str | None = None
    parent: str | None = None
    function: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSucceeded(Event):
    """
    A decorated call returned. Only for listeners that name it in ``events=``.
    """

    name: ClassVar[str] = "call.succeeded"

    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed(Event):
    """
    One call of the function raised an `Exception`; ``attempt`` counts from 1.
    """

    name: ClassVar[str] = "attempt.failed"

    attempt: int
    error: ErrorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled(Event):
    """
    Another attempt follows in ``delay`` seconds.

    ``error`` is None where a returned value asked for the retry.
    """

    name: ClassVar[str] = "retry.scheduled"

    attempt: int
    delay: float
    error: ErrorInfo | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetriesExhausted(Event):
    """
    A retry gave up after ``attempts``, ``elapsed`` seconds after the first failure.
    """

    name: ClassVar[str] = "retry.exhausted"

    attempts: int
    elapsed: float
    error: ErrorInfo | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitEvent(Event):
    """
    Something that happened to the circuit named ``circuit``.
    """

    circuit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitOpened(CircuitEvent):
    """
    A circuit opened.

    ``reason`` is ``"failures"``, ``"failure rate"``, ``"slow"``, ``"probe"``,
    ``"isolated"``, ``"manual"`` or ``"restored"``; ``rate`` (of slow calls
    where the reason is ``"slow"``) and ``calls`` tell what a window held,
    ``failures`` what the trip rule looked at; ``retry_after`` is the
    seconds until it may be probed, None where time will not do it.
    """

    name: ClassVar[str] = "circuit.opened"

    reason: str
    previous: str
    error: ErrorInfo | None = None
    failures: int = 0
    rate: float | None = None
    calls: int | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitWouldOpen(CircuitEvent):
    """
    A circuit in mode ``metrics_only`` would have opened; told once until it is reset.
    """

    name: ClassVar[str] = "circuit.would_open"

    reason: str
    failures: int = 0
    rate: float | None = None
    calls: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitHalfOpened(CircuitEvent):
    """
    A circuit admits probes.
    """

    name: ClassVar[str] = "circuit.half_opened"

    previous: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitClosed(CircuitEvent):
    """
    A circuit admits every call again; ``reason`` is ``"probes"``, ``"manual"``, ``"reset"`` or ``"restored"``.
    """

    name: ClassVar[str] = "circuit.closed"

    reason: str
    previous: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRejected(CircuitEvent):
    """
    A circuit did not admit a call; ``retry_after`` as on `CircuitBreakerOpenError`.
    """

    name: ClassVar[str] = "call.rejected"

    reason: str
    retry_after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackUsed(Event):
    """
    An entry of a fallback chain was called; ``success`` tells whether it returned.
    """

    name: ClassVar[str] = "fallback.used"

    entry: str
    success: bool
    error: ErrorInfo | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelChanged(Event):
    """
    A service level changed; ``by`` is ``"hand"`` or ``"trigger"``, ``changes`` the signals that asked for it.
    """

    name: ClassVar[str] = "level.changed"

    scope: str
    previous: DegradationLevel
    level: DegradationLevel
    reason: str
    by: str
    changes: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryRun(Event):
    """
    A recovery step ran.

    ``applied`` tells whether it changed, freed or proved something, ``success``
    whether the call made after it returned (None: no call was made), and
    ``changes`` which arguments it changed, name to (before, after).
    """

    name: ClassVar[str] = "recovery.run"

    step: str
    applied: bool
    success: bool | None
    error: ErrorInfo | None
    changes: Mapping[str, tuple[Any, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationFailed(Event):
    """
    An operation raised to its caller, after ``attempts`` calls of the function.
    """

    name: ClassVar[str] = "operation.failed"

    attempts: int
    error: ErrorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRecovered(Event):
    """
    An operation in which an attempt had failed returned all the same.

    ``by`` is the route: ``"retry"``, ``"recovery:<step>"`` or ``"fallback:<entry>"``.
    """

    name: ClassVar[str] = "operation.recovered"

    attempts: int
    by: str
