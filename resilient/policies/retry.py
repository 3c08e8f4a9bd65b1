"""
Retry: call again, wait in between, and tell how it ended.

What is retried, and when, `resilient.policies.retry_rules` decides, and only after a failure.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from resilient import modes
from resilient.adapters.tenacity import RetryAction, new_state, settle
from resilient.callers import warn_caller
from resilient.clock import blocks_event_loop
from resilient.errorinfo import ErrorCategory
from resilient.errors import BlockingWaitWarning, CircuitBreakerOpenError
from resilient.events import RetriesExhausted, RetryScheduled
from resilient.policies.base import Outcome, Plan, Raised, Returned, Sleep
from resilient.policies.policy import Policy
from resilient.policies.retry_options import RETRY_OPTIONS, check_colour
from resilient.policies.retry_rules import RetryRules
from resilient.policies.spec import above_fallbacks, adjusted_anew
from resilient.text import escape, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from resilient.adapters.tenacity import RetryCallState
    from resilient.errorinfo import ErrorInfo
    from resilient.hub import Hub
    from resilient.operation import Operation
    from resilient.policies.spec import Site, Spec

__all__ = ["RETRY_OPTIONS", "RetryPolicy", "note"]

_NOTE = "resilient: "


class RetryPolicy(RetryRules, Policy):
    """
    Retry, at its place in one pipeline.

    Args:
        options: A value for every row of `RETRY_OPTIONS`.
        hub: Where time, chance and the classifier come from.
    """

    table = RETRY_OPTIONS

    def __init__(self, options: Mapping[str, Any], hub: Hub) -> None:
        super().__init__(options, hub)
        # Only then is it worth a clock read per call to know when it began.
        self.timed: bool = bool(self.foreign) or options["max_duration"] is not None
        # Whether an open circuit's rejection goes through it as it is.
        self.passes_rejections: bool = not issubclass(CircuitBreakerOpenError, self.named)
        # The pipelines of functions that were warned about.
        self._warned: frozenset[int] = frozenset()

    @classmethod
    def bind(cls, given: Mapping[str, Any], site: Site) -> Policy:
        """
        Return the retry policy at *site*.
        """
        hub = site.registry.hub
        if given:
            return cls(RETRY_OPTIONS.filled(given), hub)
        # Nothing in it belongs to a function: all that are retried plainly share one.
        return site.registry.plain(cls.kind, lambda: cls(RETRY_OPTIONS.filled({}), hub))

    @classmethod
    def check_function(cls, given: Mapping[str, Any], name: str, *, is_async: bool) -> list[str]:
        """
        Refuse async strategies around a sync function.
        """
        return [] if is_async else check_colour(given, name)

    @classmethod
    def misplaced(cls, given: Mapping[str, Any], below: Sequence[Spec]) -> str | None:  # noqa: ARG003
        """
        Return why it is misplaced above what is *below*.
        """
        why = above_fallbacks(cls.kind, below)
        if why is None and any(one.kind == "recoverable" for one in below):
            return "@recoverable below @retry recovers at every attempt; put @recoverable above @retry"
        return why or adjusted_anew(cls.kind, below)

    def plan(self, op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], inner: Callable[..., Plan]) -> Plan:
        """
        Call what is below until it succeeds, is not worth another attempt, or attempts run out.
        """
        clock = op.clock
        # What began quietly began when its operation did.
        started = clock.monotonic() if self.timed and op.replayed is None else op.started
        state: RetryCallState | None = None
        first_failure = 0.0
        while True:
            outcome = yield from inner(op, args, kwargs)
            if type(outcome) is Returned and not self.every_call:
                if state is not None:
                    op.route = "retry"
                return outcome
            now = clock.monotonic()
            if state is None:
                state = new_state(self.retrying, op.fn, args, kwargs, now if started is None else started)
                first_failure = now
            settle(state, outcome, now)
            if self.consults:
                delay = yield from self.consult(state, outcome, op)
            else:
                delay = self.decide(state, outcome, op)  # type: ignore[arg-type]  # without judging results, it has raised
            if delay is None or delay == math.inf:
                self._finish(op, outcome, state.attempt_number, now - first_failure, gave_up=delay is not None)
                return outcome
            delay = 0.0 if modes.no_waits else delay
            state.idle_for += delay
            if "before_sleep" in self.foreign:
                state.next_action = RetryAction(delay)
                yield from self.ask("before_sleep", state, op, convert=bool, default=False)
            op.retries += 1
            if op.told(RetryScheduled):
                op.emit(RetryScheduled, attempt=state.attempt_number, delay=delay, error=_info(op, outcome))
            # Everything that holds the failed call's frames has to go now.
            del outcome
            state.prepare_for_next_attempt()
            if delay:
                self._look_around(op)
                yield Sleep(delay)

    def _finish(self, op: Operation, outcome: Outcome, attempts: int, elapsed: float, *, gave_up: bool) -> None:
        """
        Tell that there is no further attempt: in the error's note, and to listeners.
        """
        if gave_up and op.told(RetriesExhausted):
            op.emit(RetriesExhausted, attempts=attempts, elapsed=elapsed, error=_info(op, outcome))
        if type(outcome) is Raised:
            text = self._last_words(op, outcome, attempts, elapsed, gave_up=gave_up)
            if text:
                note(outcome.error, text)
        elif attempts > 1:
            op.route = "retry"

    def _last_words(self, op: Operation, outcome: Raised, attempts: int, elapsed: float, *, gave_up: bool) -> str:
        told = []
        if gave_up or attempts > 1:
            times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
            told.append(f"gave up after {times}, {elapsed:.3g} s after the first failure")
        by_default = self.on is None and "retry" not in self.foreign
        if not gave_up and by_default and op.verdict(outcome).category is ErrorCategory.UNKNOWN:
            name = escape(type_name(outcome.error))
            told.append(
                f"not retried: {name} is not known as transient; name it in on=, or tell the registry with"
                f" classifier.add({name}, ...)"
            )
        return "; ".join(told)

    def _look_around(self, op: Operation) -> None:
        """
        Warn, once for each function, before a sync wait that holds up an event loop.
        """
        uid = op.pipeline.uid
        if op.is_async or uid in self._warned or not blocks_event_loop():
            return
        self._warned |= {uid}
        msg = (
            f"{op.function} is sync and waits between attempts on a thread whose event loop is running, so the whole"
            " loop stands still; make it async, or call it in a thread (asyncio.to_thread)"
        )
        warn_caller(msg, BlockingWaitWarning)


def _info(op: Operation, outcome: Outcome) -> ErrorInfo | None:
    return op.info(outcome) if type(outcome) is Raised else None


def note(error: BaseException, text: str) -> None:
    """
    Put *text* into *error*'s notes, in place of the note that an earlier attempt left.
    """
    try:
        notes = [one for one in getattr(error, "__notes__", ()) if not str(one).startswith(_NOTE)]
        # Not setattr(): the class may define one that raises.
        BaseException.__setattr__(error, "__notes__", [*notes, _NOTE + text])
    except Exception:  # noqa: BLE001, S110 - a note is a courtesy
        pass
