"""
The decisions of retry: which outcomes ask for another attempt, how long to wait, when to give up.

They are tenacity's strategy objects', asked in tenacity's order: retry, wait, stop.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from resilient import modes
from resilient.adapters.retrying import looks_at_values, named_types
from resilient.adapters.tenacity import (
    Backoff,
    RetryCallState,
    TryAgain,
    as_delay,
    make_retrying,
    new_state,
    settle,
    stop_strategy,
)
from resilient.classification.rules import Transient
from resilient.errors import ResilientError
from resilient.policies.base import Call, Command, Outcome, Raised

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from tenacity import BaseRetrying

    from resilient.classification.rules import Classification
    from resilient.hub import Hub
    from resilient.operation import Operation
    from resilient.policies.matching import Matcher

    # A plan's part that puts questions to the driver and comes to an answer.
    _T = TypeVar("_T")
    Asking: TypeAlias = Generator[Command, Outcome, _T]

__all__ = ["RetryRules"]

# What no option decides about.
_SPECIAL = (TryAgain, ResilientError)


class RetryRules:
    """
    What one retry policy decides by. Nothing in it belongs to a call.

    Args:
        options: A value for every row of `RETRY_OPTIONS`.
        hub: Where time, chance and the classifier come from.

    Attributes:
        retrying: What strategy objects find as ``retry_state.retry_object``.
        every_call: Whether a returned value may ask for another attempt.
        named: Errors of ours that are retried, because they were asked for by name.
        consults: Whether code of the user's has a say: then `consult` decides, else `decide`.
    """

    def __init__(self, options: Mapping[str, Any], hub: Hub) -> None:
        self.options = options
        self.hub = hub
        self.on: Matcher | None = options["on"]
        strategy = options["retry"]
        # Strategies that the user brought: they may be async, and are asked as user code is.
        brought = (name for name in ("wait", "stop", "retry", "before_sleep") if options[name] is not None)
        self.foreign: frozenset[str] = frozenset(brought)
        self.consults: bool = bool(self.foreign) or options["on_result"] is not None
        judges = strategy is not None and looks_at_values(strategy)
        self.every_call: bool = judges or options["on_result"] is not None
        self.wait: Callable[[RetryCallState], Any] = options["wait"] or Backoff(
            options["initial_delay"],
            options["max_delay"],
            options["exponential_base"],
            jitter=options["jitter"],
            rng=hub.rng,
        )
        self.stop: Callable[[RetryCallState], Any] = options["stop"] or stop_strategy(
            options["max_attempts"], options["max_duration"]
        )
        self.retrying: BaseRetrying = make_retrying(
            wait=self.wait,
            stop=self.stop,
            retry=strategy,
            before_sleep=options["before_sleep"],
            is_retryable=self.is_retryable,
        )
        types = named_types(strategy) if self.on is None else self.on.types
        ours = (one for one in types if issubclass(one, ResilientError) and one is not ResilientError)
        self.named: tuple[type[BaseException], ...] = tuple(ours)

    # -- in a plan -----------------------------------------------------------

    def decide(self, state: RetryCallState, outcome: Raised, op: Operation) -> float | None:
        """
        Return the seconds before another attempt, None where none is wanted, ``inf`` where there is to be none.
        """
        verdict = outcome.verdict or op.verdict(outcome)
        if self.on is None and not issubclass(type(outcome.error), _SPECIAL):
            # What `_wants` comes to for nearly every error.
            if verdict.transient is not Transient.YES:
                return None
        elif not self._wants(outcome.error, verdict, op.function):
            return None
        delay = self.wait(state) if verdict.retry_after is None else self._delay(state, verdict)
        state.upcoming_sleep = delay
        stops = self.stop(state) if modes.attempts is None else self._stops(state)
        return math.inf if stops else delay

    def consult(self, state: RetryCallState, outcome: Outcome, op: Operation) -> Asking[float | None]:
        """
        Decide as `decide` does, where code of the user's has a say.
        """
        if not (yield from self._judge(state, outcome, op)):
            return None
        if "wait" in self.foreign:
            delay = yield from self.ask("wait", state, op, convert=as_delay, default=math.inf)
        else:
            delay = self._delay(state, op.verdict(outcome) if type(outcome) is Raised else None)
        state.upcoming_sleep = delay
        if "stop" in self.foreign and modes.attempts is None:
            stops = yield from self.ask("stop", state, op, convert=bool, default=True)
        else:
            stops = self._stops(state)
        return math.inf if stops else delay

    def _judge(self, state: RetryCallState, outcome: Outcome, op: Operation) -> Asking[bool]:
        """
        Tell whether *outcome* asks for another attempt.
        """
        if type(outcome) is Raised:
            if "retry" not in self.foreign:
                return self._wants(outcome.error, op.verdict(outcome), op.function)
            settled = self._settled(outcome.error)
            if settled is not None:
                return settled
        elif "retry" not in self.foreign:
            value = outcome.value  # type: ignore[union-attr]  # there are two kinds
            return (yield from self.ask("on_result", value, op, convert=bool, default=False))
        return (yield from self.ask("retry", state, op, convert=bool, default=False))

    def ask(self, name: str, argument: Any, op: Operation, *, convert: Callable[[Any], _T], default: _T) -> Asking[_T]:
        """
        Ask the option *name* as user code, which may be async; where it raises or answers nonsense, it is *default*.
        """
        answer = yield Call(self.options[name], (argument,))
        if type(answer) is Raised:
            problem = answer.error
        else:
            try:
                return convert(answer.value)  # type: ignore[union-attr]  # there are two kinds
            except Exception as error:  # noqa: BLE001 - a strategy that fails must not replace the outcome
                problem = error
        self.hub.report(f"{name}= of @retry on {op.function}", problem)
        return default

    def _settled(self, error: Exception) -> bool | None:
        """
        Return what no option decides about, else None: ``TryAgain`` is retried, and an error of ours never.
        """
        # By their real type: `isinstance` would ask `__class__`, which may raise.
        kind = type(error)
        if not issubclass(kind, _SPECIAL) or issubclass(kind, self.named):
            return None
        if issubclass(kind, ResilientError):
            return None if kind.is_failure else False
        return True

    def _wants(self, error: Exception, verdict: Classification, function: str) -> bool:
        """
        Tell whether *error* asks for another attempt, by ``on``.
        """
        settled = self._settled(error)
        if settled is not None:
            return settled
        if self.on is None:
            return verdict.transient is Transient.YES
        try:
            # A category stands for its errors that are not plainly permanent.
            return self.on.matches(error, lambda: verdict, permanent=False)
        except Exception as problem:  # noqa: BLE001 - a predicate that raises must not replace the error
            self.hub.report(f"on= of @retry on {function}", problem)
            return False

    def _delay(self, state: RetryCallState, verdict: Classification | None) -> float:
        """
        Return the backoff, or what the server asked for where that is longer.
        """
        delay: float = self.wait(state)
        if verdict is not None and verdict.retry_after is not None and verdict.retry_after > delay:
            maximum: float = self.options["max_delay"]
            return min(verdict.retry_after, maximum)
        return delay

    def _stops(self, state: RetryCallState) -> bool:
        if modes.attempts is not None:
            return state.attempt_number >= modes.attempts
        return bool(self.stop(state))

    # -- from outside --------------------------------------------------------

    def is_retryable(self, error: Exception) -> bool:
        """
        Tell whether *error* asks for another attempt, attempts permitting.
        """
        if "retry" not in self.foreign:
            return self._wants(error, self.hub.classifier.classify(error), "is_retryable()")
        settled = self._settled(error)
        if settled is not None:
            return settled
        now = self.hub.clock.monotonic()
        state = new_state(self.retrying, None, (), {}, now)
        settle(state, Raised(error), now)
        return bool(self.options["retry"](state))

    def calculate_delay(self, attempt: int) -> float:
        """
        Return the seconds before retry ``attempt + 1``: attempt 0 is the first wait.
        """
        state = new_state(self.retrying, None, (), {}, 0.0)
        state.attempt_number = attempt + 1
        return as_delay(self.wait(state))
