"""
Retry: which outcomes ask for another attempt, how long to wait, when to give up.

tenacity's strategy objects decide; this module asks them, in tenacity's order
(retry, wait, stop, before_sleep), and only after a failure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from resilient import modes
from resilient.adapters.tenacity import (
    AtLeast,
    Backoff,
    RetryAction,
    Strategies,
    TryAgain,
    as_delay,
    new_state,
    settle,
    stop_strategy,
)
from resilient.classification.retry_after import retry_after
from resilient.classify import Transient
from resilient.errorinfo import ErrorCategory
from resilient.errors import CircuitBreakerOpenError
from resilient.events import RetriesExhausted, RetryScheduled
from resilient.policies.base import Call, Outcome, Plan, Raised, Returned, Sleep
from resilient.policies.matching import Matcher, matcher
from resilient.policies.options import Option, OptionTable, callable_or_none, choice, integer, number, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    import tenacity

    from resilient.hub import Hub
    from resilient.operation import Operation

__all__ = ["RETRY_OPTIONS", "STANDS_FOR", "RetryPolicy", "check_together", "note"]

RETRY_OPTIONS = OptionTable(
    "retry",
    Option(
        "on",
        lambda value: None if value is None else matcher(value),
        None,
        "what is retried: exception types, a predicate or category names; None: what the classifier calls transient",
        aliases=("retryable_exceptions",),
    ),
    Option("max_attempts", integer(minimum=1), 3, "calls in all, the first included"),
    Option("initial_delay", seconds(), 1.0, "seconds before the first retry"),
    Option("max_delay", seconds(), 60.0, "seconds that no delay exceeds, jitter included"),
    Option("exponential_base", number(minimum=1.0), 2.0, "what each delay is multiplied by"),
    Option("jitter", choice(True, False, "full", "decorrelated"), True, "how delays are spread"),  # noqa: FBT003 - an option's values
    Option("max_duration", seconds(zero=False, optional=True), None, "seconds for all attempts and waits"),
    Option("on_result", callable_or_none, None, "predicate on the returned value that asks for another attempt"),
    Option("wait", callable_or_none, None, "a tenacity wait strategy"),
    Option("stop", callable_or_none, None, "a tenacity stop strategy"),
    Option("retry", callable_or_none, None, "a tenacity retry strategy"),
    Option("before_sleep", callable_or_none, None, "a tenacity callback before each wait"),
)

# What each strategy object stands for, and so cannot be given beside.
STANDS_FOR = {
    "wait": ("initial_delay", "max_delay", "exponential_base", "jitter"),
    "stop": ("max_attempts", "max_duration"),
    "retry": ("on", "on_result"),
}

_NOTE = "resilient: "


def check_together(given: Mapping[str, Any]) -> list[str]:
    """
    Return one sentence for each pair of retry options that contradict each other.
    """
    problems = []
    for strategy, names in STANDS_FOR.items():
        if given.get(strategy) is not None:
            problems += [
                f"{name} and {strategy}= exclude each other, got both; {strategy}= decides alone, so leave {name} out"
                for name in names
                if given.get(name) is not None
            ]
    initial = given.get("initial_delay", RETRY_OPTIONS.options["initial_delay"].default)
    maximum = given.get("max_delay", RETRY_OPTIONS.options["max_delay"].default)
    if "initial_delay" in given and maximum < initial:
        problems.append(f"max_delay must be at least initial_delay ({initial:g} s), got {maximum:g}; raise it")
    return problems


class RetryPolicy:
    """
    Retry, at its place in one pipeline.

    Args:
        options: A value for every row of `RETRY_OPTIONS`.
        hub: Where time, chance and the classifier come from.
    """

    kind = "retry"
    gate = None

    def __init__(self, options: Mapping[str, Any], hub: Hub) -> None:
        self.options = options
        self.hub = hub
        self.on: Matcher | None = options["on"]
        self.on_result: Callable[[Any], object] | None = options["on_result"]
        foreign = frozenset(name for name in ("wait", "stop", "retry", "before_sleep") if options[name] is not None)
        # Only then is it worth a clock read per call to know when it began.
        self.timed = options["max_duration"] is not None or bool(foreign)
        # A strategy may look at returned values, so they have to be asked about.
        self.judges_results = self.on_result is not None or options["retry"] is not None
        maximum = options["max_delay"]
        wait: Callable[[tenacity.RetryCallState], Any] = options["wait"] or AtLeast(
            Backoff(options["initial_delay"], maximum, options["exponential_base"], options["jitter"], hub.rng),
            self._wish,
            maximum,
        )
        self.strategies = Strategies(
            wait=wait,
            stop=options["stop"] or stop_strategy(options["max_attempts"], options["max_duration"]),
            retry=options["retry"] or self._asks,
            before_sleep=options["before_sleep"],
            foreign=foreign,
        )

    def __repr__(self) -> str:
        return RETRY_OPTIONS.show(self.options)

    # -- the plan ----------------------------------------------------------

    def plan(self, op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], inner: Callable[..., Plan]) -> Plan:
        """
        Call what is below until it succeeds, is not worth another attempt, or attempts run out.
        """
        state: tenacity.RetryCallState | None = None
        first_failure = 0.0
        while True:
            outcome = yield from inner(op, args, kwargs)
            if type(outcome) is Returned and not self.judges_results:
                if state is not None:
                    op.route = "retry"
                return outcome
            now = op.clock.monotonic()
            if state is None:
                first_failure = now
                state = new_state(self.strategies, op.fn, args, kwargs, now if op.started is None else op.started)
            if type(outcome) is Raised:
                settle(state, None, outcome.error, now)
            else:
                settle(state, outcome.value, None, now)
            if not (yield from self._retries(state, outcome, op)):
                if state.attempt_number > 1 and type(outcome) is Returned:
                    op.route = "retry"
                self._declined(op, outcome, state.attempt_number, now - first_failure)
                return outcome
            state.upcoming_sleep = as_delay((yield from self._ask("wait", state, op, math.inf)))
            if state.upcoming_sleep == math.inf or (yield from self._stops(state, op)):
                self._gave_up(op, outcome, state.attempt_number, now - first_failure)
                return outcome
            delay = 0.0 if modes.no_waits else state.upcoming_sleep
            if self.strategies.before_sleep is not None:
                state.next_action = RetryAction(delay)
                yield from self._ask("before_sleep", state, op, None)
            op.retries += 1
            if op.told(RetryScheduled):
                error = op.info(outcome) if type(outcome) is Raised else None
                op.emit(RetryScheduled, attempt=state.attempt_number, delay=delay, error=error)
            # Everything that holds the failed call's frames has to go now.
            del outcome
            state.prepare_for_next_attempt()
            if delay > 0:
                state.idle_for += delay
                yield Sleep(delay)

    def _retries(self, state: tenacity.RetryCallState, outcome: Outcome, op: Operation) -> Any:
        """
        Ask whether *outcome* wants another attempt.
        """
        if type(outcome) is Raised:
            error = outcome.error
            if isinstance(error, TryAgain):
                return True
            if isinstance(error, CircuitBreakerOpenError) and not self._named(error):
                # Whoever retries an open circuit hammers it.
                return False
            if self.options["retry"] is None:
                return self.is_retryable(error, lambda: op.verdict(outcome))
        elif self.options["retry"] is None:
            asked = yield Call(self.on_result, (outcome.value,))  # type: ignore[arg-type]
            if type(asked) is Raised:
                self.hub.report(f"on_result of @retry on {op.function}", asked.error)
                return False
            return bool(asked.value)  # type: ignore[union-attr]
        return bool((yield from self._ask("retry", state, op, False)))  # noqa: FBT003 - the answer when it cannot say

    def _stops(self, state: tenacity.RetryCallState, op: Operation) -> Any:
        if modes.attempts is not None:
            return state.attempt_number >= modes.attempts
        return bool((yield from self._ask("stop", state, op, True)))  # noqa: FBT003 - the answer when it cannot say

    def _ask(self, name: str, state: tenacity.RetryCallState, op: Operation, default: Any) -> Any:
        """
        Ask one strategy; a user's own as user code, which may be async and may raise.
        """
        strategy = getattr(self.strategies, name)
        if name not in self.strategies.foreign:
            return strategy(state)
        answer = yield Call(strategy, (state,))
        if type(answer) is Raised:
            self.hub.report(f"{name}= of @retry on {op.function}", answer.error)
            return default
        return answer.value  # type: ignore[union-attr]

    # -- decisions ---------------------------------------------------------

    def is_retryable(self, error: Exception, verdict: Callable[[], Any] | None = None) -> bool:
        """
        Tell whether *error* asks for another attempt, attempts permitting.
        """

        def classify() -> Any:
            return self.hub.classifier.classify(error) if verdict is None else verdict()

        if isinstance(error, CircuitBreakerOpenError) and not self._named(error):
            return False
        on = self.on
        try:
            if on is None:
                return bool(classify().transient is Transient.YES)
            if not on.matches(error, classify):
                return False
        except Exception as problem:  # noqa: BLE001 - a predicate that raises must not replace the error
            self.hub.report("on= of @retry", problem)
            return False
        # A category means its errors that are not plainly permanent.
        by_category = on.categories and not isinstance(error, on.types) and classify().category in on.categories
        return not (by_category and classify().transient is Transient.NO)

    def _named(self, error: Exception) -> bool:
        strategy_types = getattr(self.options["retry"], "exception_types", None)
        if strategy_types is not None:
            return matcher(strategy_types).names(error)
        return self.on is not None and self.on.names(error)

    def _asks(self, state: tenacity.RetryCallState) -> bool:
        """
        Stand for ``retry`` where strategy objects look at ``retry_state.retry_object``.
        """
        outcome = state.outcome
        return outcome is not None and outcome.failed and self.is_retryable(outcome.exception())  # type: ignore[arg-type]

    def _wish(self, error: Exception) -> float | None:
        return retry_after(error, self.hub.clock)

    def calculate_delay(self, attempt: int) -> float:
        """
        Return the seconds before retry ``attempt + 1``: attempt 0 is the first wait.
        """
        state = new_state(self.strategies, calculate_delay, (), {}, 0.0)
        state.attempt_number = attempt + 1
        return as_delay(self.strategies.wait(state))

    # -- the end -----------------------------------------------------------

    def _declined(self, op: Operation, outcome: Outcome, attempts: int, elapsed: float) -> None:
        if type(outcome) is not Raised:
            return
        error = outcome.error
        unknown = self.on is None and self.options["retry"] is None and not isinstance(error, CircuitBreakerOpenError)
        if unknown and op.verdict(outcome).category is ErrorCategory.UNKNOWN:
            name = type(error).__name__
            note(
                error,
                f"not retried: {name} is not known as transient; name it in on=, or tell the registry with"
                f" classifier.add({name}, ...) (attempts: {attempts})",
            )
        elif attempts > 1:
            note(error, f"gave up after {attempts} attempts, {elapsed:.3g} s after the first failure")

    def _gave_up(self, op: Operation, outcome: Outcome, attempts: int, elapsed: float) -> None:
        if op.told(RetriesExhausted):
            error = op.info(outcome) if type(outcome) is Raised else None
            op.emit(RetriesExhausted, attempts=attempts, elapsed=elapsed, error=error)
        if type(outcome) is Raised:
            plural = "attempt" if attempts == 1 else "attempts"
            note(outcome.error, f"gave up after {attempts} {plural}, {elapsed:.3g} s after the first failure")
        elif attempts > 1:
            op.route = "retry"


def calculate_delay() -> None:
    """
    Stand for the guarded function where only a delay is asked for.
    """


def note(error: BaseException, text: str) -> None:
    """
    Put *text* into *error*'s notes, in place of the note that an earlier attempt left.
    """
    try:
        notes = [one for one in getattr(error, "__notes__", ()) if not str(one).startswith(_NOTE)]
        BaseException.__setattr__(error, "__notes__", [*notes, _NOTE + text])
    except Exception:  # noqa: BLE001, S110 - a note is a courtesy
        pass
