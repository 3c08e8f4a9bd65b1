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
from resilient.errors import CallRejectedError
from resilient.events import AttemptFailed, CallSucceeded, OperationFailed, OperationRecovered
from resilient.levels import DegradationLevel
from resilient.logs import wanted
from resilient.policies.base import Call, Outcome, Plan, Raised, Returned
from resilient.policies.options import describe
from resilient.surroundings import Key, Surroundings, mark, marked, surroundings
from resilient.text import safe_str, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from resilient.classify import Classification
    from resilient.clock import Clock
    from resilient.events import Event
    from resilient.gates import Token
    from resilient.hub import Hub
    from resilient.pipeline import Pipeline
    from resilient.policies.adjusting import Adjuster
    from resilient.policies.policy import Gate, Policy

__all__ = ["Operation", "attempt"]


_FULL = DegradationLevel.FULL


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
        "adjusted",
        "around",
        "attempts",
        "changes",
        "clock",
        "failures",
        "fallbacks",
        "fn",
        "function",
        "hub",
        "is_async",
        "key",
        "level",
        "level_override",
        "number",
        "pipeline",
        "policies",
        "rejected",
        "replayed",
        "retries",
        "route",
        "started",
        "ticket",
        "trace",
    )

    def __init__(self, pipeline: Pipeline, number: int, fn: Callable[..., Any], function: str) -> None:
        self.pipeline: Pipeline = pipeline
        # Those in force now: a call goes on under the policies it began with.
        self.policies: tuple[Policy, ...] = pipeline.policies
        self.hub: Hub = pipeline.hub
        self.clock: Clock = pipeline.hub.clock
        self.number: int = number
        # The pipeline's number and the call's: unique in this process.
        self.key: Key = (pipeline.uid, number)
        self.fn: Callable[..., Any] = fn
        self.function: str = function
        self.attempts: int = 0
        self.failures: int = 0
        self.retries: int = 0
        self.rejected: int = 0
        self.fallbacks: int = 0
        self.route: str = "first try"
        self.level: DegradationLevel = _FULL
        # A level that a recovery step asks for, for the rest of this operation.
        self.level_override: DegradationLevel | None = None
        # What adjusts this call to a level, and the arguments as they were before.
        self.adjusted: tuple[Adjuster, tuple[Any, ...], Mapping[str, Any]] | None = None
        self.is_async: bool = False
        self.changes: dict[str, tuple[Any, Any]] = {}
        self.trace: list[Event] | None = None
        # The failure of a quiet call, in a box that its first attempt empties,
        # and the generations of the gates that the call had passed.
        self.replayed: list[Exception] | None = None
        self.ticket: Token | None = None
        # Monotonic seconds at the start, where a policy needs them.
        self.started: float | None = None
        # What `surroundings` has found, or whoever knows a frame from which to look has put here.
        self.around: Surroundings | None = None

    # -- ids ---------------------------------------------------------------

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

    def surroundings(self) -> Surroundings:
        """
        Return the keys of the operation around this one and of the outermost one; looked up once.
        """
        known = self.around
        if known is None:
            known = self.around = surroundings(self.key, sys._getframe(1))  # noqa: SLF001 - the documented way to the caller's frame
        return known

    def admitted(self, gate: Gate) -> int | None:
        """
        Return the generation in which *gate* let this operation's quiet call pass.

        None once that call has been dealt with: later attempts ask the gate.
        """
        if self.ticket is None:
            return None
        gates, generations, _ = self.ticket
        return generations[gates.index(gate)] if gate in gates else None

    # -- telling -----------------------------------------------------------

    def emit(self, kind: type[Event], **fields: Any) -> None:
        """
        Build an event of this operation and deliver it, if anybody wants to know.
        """
        if not self.told(kind):
            return
        event = kind(at=self.clock.now(), operation=self.id, parent=self.parent, function=self.function, **fields)
        if self.trace is not None:
            self.trace.append(event)
        self.hub.deliver(event)

    def told(self, kind: type[Event]) -> bool:
        """
        Tell whether an event of *kind* would reach anybody.
        """
        return self.trace is not None or kind in self.hub.listeners or wanted(kind)

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

    def replay(self) -> Raised:
        """
        Take the quiet call's failure for the first attempt's, once, and return it.
        """
        self.attempts += 1
        outcome = Raised(self.replayed.pop())  # type: ignore[union-attr]  # whoever replays has looked
        self.replayed = None
        self.record(outcome)
        if self.told(AttemptFailed):
            self.emit(AttemptFailed, attempt=self.attempts, error=self.info(outcome))
        return outcome

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
        function; a rejection by an inner policy is no error.
        """
        self.failures += 1
        hub, error = self.hub, outcome.error
        analytics = hub.analytics
        if analytics is not None and not issubclass(type(error), CallRejectedError):
            found = marked(error)
            if found is None or not self._is_inner(found):
                verdict = outcome.verdict = outcome.verdict or hub.classifier.classify(error)
                analytics.record(self.function, type_name(error), safe_str(error), verdict.category, verdict.severity)
                parent, root = self.around or self.surroundings()
                if parent is not None:
                    # What has this one within it may end before this one does.
                    analytics.expect(root)
                mark(error, self.key, root)
            outcome.recorded = True
        hub.evaluate()

    def _is_inner(self, mark: tuple[Key, Key]) -> bool:
        """
        Tell whether an operation inside this one has left *mark* on the error that it recorded.
        """
        key, root = mark
        if key[0] != self.pipeline.uid:
            return True
        # Marked by this very function: by a recursive call below this one, or
        # it is one instance raised again and again, each a failure of its own.
        return key != self.key and root == self.surroundings()[1]

    def finish(self, outcome: Outcome) -> Outcome:
        """
        Count the operation, tell how it ended, and hand *outcome* back.
        """
        counts = self.pipeline.counts
        if type(outcome) is Raised:
            # By its real type: `isinstance` would ask `__class__`, which may raise.
            if issubclass(type(outcome.error), Exception):
                counts.add(self, failed=True, recovered=False)
                self._failed(outcome)
            else:
                # Ctrl-C, cancellation and their kind are neither failure nor success.
                counts.add(self, failed=False, recovered=False)
        elif type(outcome) is Returned:
            counts.add(self, failed=False, recovered=self.failures > 0)
            self._returned()
        else:
            kinds = " ".join(f"@{one.kind}" for one in self.policies)
            msg = (
                f"a plan of {kinds} on {self.function} has returned {describe(outcome)}; return a Returned or a Raised"
            )
            return self.finish(Raised(TypeError(msg)))
        return outcome

    def _failed(self, outcome: Raised) -> None:
        self.route = "rejected"
        if self.failures:
            self.route = "failed"
            analytics = self.hub.analytics
            if analytics is not None:
                parent, root = self.around or self.surroundings()
                analytics.incident(root, resolved=False, final=parent is None)
            if not outcome.recorded and marked(outcome.error) is None:
                # An error of ours, about those that were recorded.
                mark(outcome.error, self.key, self.surroundings()[1])
        if self.told(OperationFailed):
            self.emit(OperationFailed, attempts=self.attempts, error=self.info(outcome))
        if self.failures and self.hub.unresolved is not None:
            self.hub.unresolved(self, outcome)

    def _returned(self) -> None:
        if self.failures:
            analytics = self.hub.analytics
            if analytics is not None:
                parent, root = self.around or self.surroundings()
                analytics.incident(root, resolved=True, final=parent is None)
            if self.told(OperationRecovered):
                self.emit(OperationRecovered, attempts=self.attempts, by=self.route)
        # Not `told`: the log does not take it.
        if self.trace is not None or CallSucceeded in self.hub.listeners:
            self.emit(CallSucceeded, attempts=self.attempts)
        if self.started is not None:
            self.hub.succeeded(0, self.clock.monotonic() - self.started)


def attempt(op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Plan:
    """
    Make one attempt: the innermost plan of every pipeline.
    """
    if op.replayed is not None:
        # The call was made already, quietly, and every gate was passed.
        op.ticket = None
        return op.replay()
    op.attempts += 1
    outcome = yield Call(op.fn, args, kwargs)
    if type(outcome) is Raised:
        op.attempt_failed(outcome)
    return outcome


def _id(key: Key) -> str:
    return f"{key[0]}-{key[1]}"
