"""
What a circuit tells: events, and pybreaker's listeners.

Everything is queued while the circuit's lock is held, and delivered after it is
free: in the order in which it happened, and never under the lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilient.errorinfo import ErrorInfo
from resilient.events import CircuitOpened, Event
from resilient.text import safe_str, type_name

if TYPE_CHECKING:
    from resilient.adapters.pybreaker import Foreign
    from resilient.hub import Hub
    from resilient.operation import Operation
    from resilient.policies.base import Raised

__all__ = ["queue_call", "queue_event"]


def queue_event(
    hub: Hub, kind: type[Event], fields: dict[str, Any], op: Operation | None, outcome: Raised | None
) -> None:
    """
    Queue an event.

    Args:
        hub: Who delivers it.
        kind: The event's class.
        fields: What it tells.
        op: The operation that it happened in, where there is one.
        outcome: The failure behind it, where there is one.
    """
    if op is not None:
        # Read from this thread's stack; another thread may deliver.
        op.surroundings()

    def tell() -> None:
        if not (hub.wants(kind) if op is None else op.told(kind)):
            return
        if kind is CircuitOpened and outcome is not None:
            fields["error"] = _info(hub, outcome) if op is None else op.info(outcome)
        if op is None:
            hub.emit(kind, **fields)
        else:
            op.emit(kind, **fields)

    hub.queue(tell)


def _info(hub: Hub, outcome: Raised) -> ErrorInfo:
    verdict = outcome.verdict or hub.classifier.classify(outcome.error)
    return ErrorInfo(
        timestamp=hub.clock.now(),
        error_type=type_name(outcome.error),
        error_message=safe_str(outcome.error),
        category=verdict.category,
        severity=verdict.severity,
    )


def queue_call(hub: Hub, breaker: Foreign, method: str, *args: Any, **kwargs: Any) -> None:
    """
    Queue a call of *method* of each listener of *breaker*.
    """
    listeners = breaker.listeners

    def tell() -> None:
        for listener in listeners:
            try:
                getattr(listener, method)(breaker, *args, **kwargs)
            except Exception as error:  # noqa: BLE001 - a listener never harms a call
                hub.report(f"{method} of listener {type(listener).__qualname__}", error)

    hub.queue(tell)
