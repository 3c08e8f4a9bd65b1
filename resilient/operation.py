"""
One call through a pipeline, from its first failure on.

A quiet success never makes an `Operation`. Everything that is told about a call
- its id, what surrounds it, what happened in it - is worked out here, when there
is something to tell.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from resilient.errorinfo import ErrorInfo
from resilient.errors import CircuitBreakerOpenError
from resilient.events import AttemptFailed, CallSucceeded, OperationFailed, OperationRecovered
from resilient.levels import DegradationLevel
from resilient.policies.base import Call, Outcome, Plan, Raised, Returned
from resilient.text import safe_str, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType

    from resilient.classify import Classification
    from resilient.events import Event
    from resilient.pipeline import Gate, Pipeline, Token
    from resilient.policies.adjusting import Adjuster

__all__ = ["CARRIERS", "Operation", "attempt"]

# The code objects whose frames carry an operation in their variables
# ``pipeline`` and ``number``: see `surroundings`.
CARRIERS: set[CodeType] = set()

# Deeper stacks are not searched for surrounding operations: a frame costs about 30 ns.
_DEPTH = 200

_MARK = "_resilient_operation"


class Operation:
    """
    What is known of one call.

    Args:
        pipeline: The pipeline it goes through.
        number: Which call of that pipeline this is; with it, its id.
        fn: The function that attempts call.
        function: Its name, for people.
    """

    __slots__ = (
        "_surroundings",
        "adjusted",
        "attempts",
        "changes",
        "clock",
        "failures",
        "fallbacks",
        "fn",
        "function",
        "hub",
        "is_async",
        "level",
        "level_override",
        "number",
        "pipeline",
        "rejected",
        "replayed",
        "retries",
        "route",
        "started",
        "ticket",
        "trace",
    )

    def __init__(self, pipeline: Pipeline, number: int, fn: Callable[..., Any], function: str) -> None:
        self.pipeline = pipeline
        self.hub = pipeline.hub
        self.clock = pipeline.hub.clock
        self.number = number
        self.fn = fn
        self.function = function
        self.attempts = 0
        self.failures = 0
        self.retries = 0
        self.rejected = 0
        self.fallbacks = 0
        self.route = "first try"
        self.level = DegradationLevel.FULL
        # A level that a recovery step asks for, for the rest of this operation.
        self.level_override: DegradationLevel | None = None
        # What adjusts this call to a level, and the arguments as they were before.
        self.adjusted: tuple[Adjuster, tuple[Any, ...], Mapping[str, Any]] | None = None
        self.is_async = False
        self.changes: dict[str, tuple[Any, Any]] = {}
        self.trace: list[Event] | None = None
        # The failure of a quiet call, in a box that its first attempt empties,
        # and the generations of the gates that the call had passed.
        self.replayed: list[Exception] | None = None
        self.ticket: Token | None = None
        # Monotonic seconds at the start, where a policy needs them.
        self.started: float | None = None
        self._surroundings: tuple[tuple[int, int] | None, tuple[int, int]] | None = None

    # -- ids ---------------------------------------------------------------

    @property
    def key(self) -> tuple[int, int]:
        """
        The pipeline's number and the call's: unique in this process.
        """
        return self.pipeline.uid, self.number

    @property
    def id(self) -> str:
        """
        The id that events carry.
        """
        return _id(self.key)

    @property
    def parent(self) -> str | None:
        """
        The id of the decorated operation around this one, if there is one.
        """
        parent = self.surroundings()[0]
        return None if parent is None else _id(parent)

    def surroundings(self) -> tuple[tuple[int, int] | None, tuple[int, int]]:
        """
        Return the keys of the operation around this one and of the outermost one.

        Read from the stack's frames, so that a quiet call need not announce
        itself anywhere. What runs in another thread or task stands alone.
        """
        known = self._surroundings
        if known is None:
            own = self.key
            parent = None
            root = own
            frame = sys._getframe(1)  # noqa: SLF001 - the documented way to the caller's frame
            for _ in range(_DEPTH):
                if frame.f_code in CARRIERS:
                    names = frame.f_locals
                    root = names["pipeline"].uid, names["number"]
                    if parent is None and root != own:
                        parent = root
                if frame.f_back is None:
                    break
                frame = frame.f_back
            known = self._surroundings = parent, root
        return known

    def admitted(self, gate: Gate) -> int | None:
        """
        Return the generation in which *gate* let this operation's quiet call pass.

        None once that call has been dealt with: later attempts ask the gate.
        """
        if self.ticket is None:
            return None
        for passed, generation in self.ticket:
            if passed is gate:
                return generation
        # The gate came into force while the call was under way.
        generation = gate.generation
        return -1 if generation is None else generation

    # -- telling -----------------------------------------------------------

    def emit(self, kind: type[Event], **fields: Any) -> None:
        """
        Build an event of this operation and deliver it, if anybody wants to know.
        """
        if self.trace is None and not self.hub.wants(kind):
            return
        event = kind(
            at=self.clock.now(), operation=self.id, parent=self.parent, function=self.function, **fields
        )
        if self.trace is not None:
            self.trace.append(event)
        self.hub.deliver(event)

    def told(self, kind: type[Event]) -> bool:
        """
        Tell whether an event of *kind* would reach anybody.
        """
        return self.trace is not None or self.hub.wants(kind)

    def verdict(self, outcome: Raised) -> Classification:
        """
        Return how *outcome*'s error is classified; asked once for each outcome.
        """
        verdict = outcome.verdict
        if verdict is None:
            verdict = outcome.verdict = self.hub.classifier.classify(outcome.error)
        return verdict

    def info(self, outcome: Raised) -> ErrorInfo:
        """
        Return what is kept of *outcome*'s error.
        """
        verdict = self.verdict(outcome)
        return ErrorInfo(
            timestamp=self.clock.now(),
            error_type=type_name(outcome.error),
            error_message=safe_str(outcome.error),
            category=verdict.category,
            severity=verdict.severity,
            context={"function": self.function},
        )

    # -- what happened -----------------------------------------------------

    def attempt_failed(self, outcome: Raised) -> None:
        """
        Record that an attempt raised, and tell.
        """
        self.record(outcome)
        if self.told(AttemptFailed):
            self.emit(AttemptFailed, attempt=self.attempts, error=self.info(outcome))

    def record(self, outcome: Raised) -> None:
        """
        Record that a call of user code raised.

        An exception object is recorded once, by the innermost decorated
        function; a rejection by an inner circuit is no error.
        """
        self.failures += 1
        error = outcome.error
        analytics = self.hub.analytics
        if analytics is not None and not isinstance(error, CircuitBreakerOpenError) and not self._known(error):
            verdict = self.verdict(outcome)
            analytics.record(self.function, type_name(error), safe_str(error), verdict.category, verdict.severity)
            _mark(error, (*self.key, self.surroundings()[1]))
        self.hub.evaluate()

    def _known(self, error: Exception) -> bool:
        """
        Tell whether an operation inside this one has recorded *error* already.
        """
        mark = _marked(error)
        if mark is None:
            return False
        uid, number, root = mark
        if uid != self.pipeline.uid:
            return True
        # Marked by this very function: by a recursive call below this one, or
        # it is one instance raised again and again, each a failure of its own.
        return bool(number != self.number and root == self.surroundings()[1])

    def finish(self, outcome: Outcome) -> None:
        """
        Count the operation and tell how it ended.
        """
        pipeline = self.pipeline
        if type(outcome) is Returned:
            pipeline.count(self, failed=False, recovered=self.failures > 0)
            if self.failures:
                self._incident(resolved=True)
                self.emit(OperationRecovered, attempts=self.attempts, by=self.route)
            self.emit(CallSucceeded, attempts=self.attempts)
            if self.started is not None:
                self.hub.succeeded(0, self.clock.monotonic() - self.started)
        elif isinstance(outcome.error, Exception):
            pipeline.count(self, failed=True, recovered=False)
            self.route = "failed" if self.failures else "rejected"
            if self.failures:
                self._incident(resolved=False)
            if _marked(outcome.error) is None:
                _mark(outcome.error, (*self.key, self.surroundings()[1]))
            if self.told(OperationFailed):
                self.emit(OperationFailed, attempts=self.attempts, error=self.info(outcome))
        else:
            # Ctrl-C, cancellation and their kind are neither failure nor success.
            pipeline.count(self, failed=False, recovered=False)

    def _incident(self, *, resolved: bool) -> None:
        analytics = self.hub.analytics
        if analytics is not None:
            parent, root = self.surroundings()
            analytics.incident(root, resolved=resolved, final=parent is None)


def attempt(op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Plan:
    """
    Make one attempt: the innermost plan of every pipeline.
    """
    op.attempts += 1
    box = op.replayed
    if box is None:
        outcome = yield Call(op.fn, args, kwargs)
    else:
        # The call was made already, quietly, and every gate was passed.
        op.replayed = op.ticket = None
        outcome = Raised(box.pop())
        del box
    if type(outcome) is Raised:
        op.attempt_failed(outcome)
    return outcome


def _id(key: tuple[int, int]) -> str:
    return f"{key[0]}-{key[1]}"


def _mark(error: BaseException, mark: tuple[int, int, tuple[int, int]]) -> None:
    try:
        # Not setattr(): the class may define one that raises.
        BaseException.__setattr__(error, _MARK, mark)
    except Exception:  # noqa: BLE001, S110 - then a surrounding function records it once more
        pass


def _marked(error: BaseException) -> Any:
    try:
        return BaseException.__getattribute__(error, "__dict__").get(_MARK)
    except Exception:  # noqa: BLE001 - a class may hide its __dict__
        return None
