"""
tenacity's strategy objects decide every wait, every stop and what is retried.

Measured, a ``Retrying`` call costs ten times a failed call of ours, and one
shared object is not safe over threads and tasks. So tenacity is asked only
after a failure, through the strategy objects themselves and a `RetryCallState`
that belongs to one call; it never calls the guarded function.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import tenacity
from tenacity import RetryAction, RetryCallState, TryAgain

from resilient.policies.base import Raised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from resilient.clock import Rng
    from resilient.policies.base import Outcome

__all__ = [
    "Backoff",
    "RetryAction",
    "RetryCallState",
    "Settled",
    "StopBefore",
    "TryAgain",
    "as_delay",
    "looks_at_values",
    "make_retrying",
    "named_types",
    "new_state",
    "retrying_options",
    "settle",
    "stop_strategy",
    "without_counterpart",
]


class Settled:
    """
    The outcome of an attempt, as strategy objects read it.

    tenacity's own ``Future`` builds a lock and a condition; strategies only ask
    for these.
    """

    __slots__ = ("_outcome", "attempt_number")

    def __init__(self, attempt_number: int, outcome: Outcome) -> None:
        self.attempt_number: int = attempt_number
        self._outcome = outcome

    @property
    def failed(self) -> bool:
        """
        Whether the attempt raised.
        """
        return type(self._outcome) is Raised

    def exception(self, timeout: float | None = None) -> Exception | None:  # noqa: ARG002 - the Future's signature
        """
        Return what the attempt raised, or None.
        """
        return self._outcome.error if type(self._outcome) is Raised else None

    def result(self, timeout: float | None = None) -> Any:  # noqa: ARG002 - the Future's signature
        """
        Return what the attempt returned, or raise what it raised.
        """
        if type(self._outcome) is Raised:
            raise self._outcome.error
        return self._outcome.value  # type: ignore[union-attr]  # there are two kinds

    def done(self) -> bool:
        """
        Return True: the attempt is over.
        """
        return True

    def __repr__(self) -> str:
        return f"<attempt #{self.attempt_number}: {'failed' if self.failed else 'returned'}>"


class Backoff(tenacity.wait.wait_base):
    """
    Exponential backoff with jitter, bounded by *maximum*.

    The delay before retry n is ``min(maximum, initial * base ** (n - 1))``.
    `tenacity.wait_exponential` would wait *maximum* where ``base ** (n - 1)``
    overflows, even if *initial* is 0. Jitter then spreads the delay:

    * ``True``: by up to 25 % either way;
    * ``"full"``: evenly from 0 to the delay;
    * ``"decorrelated"``: evenly from *initial* to three times the previous
      delay ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015);
    * ``False``: not at all.

    Args:
        initial: Seconds before the first retry.
        maximum: Seconds at most, jitter included.
        base: What each delay is multiplied by.
        jitter: See above.
        rng: Where chance comes from.
    """

    def __init__(self, initial: float, maximum: float, base: float, *, jitter: bool | str, rng: Rng) -> None:
        self.initial = initial
        self.maximum = maximum
        self.base = base
        self.jitter = jitter
        self.rng = rng

    def __call__(self, retry_state: RetryCallState) -> float:
        """
        Return the seconds to wait before the next attempt.
        """
        initial, maximum, jitter = self.initial, self.maximum, self.jitter
        if not initial:
            return 0.0
        if jitter == "decorrelated":
            previous = max(initial, retry_state.upcoming_sleep)
            return min(maximum, self.rng.uniform(initial, previous * 3))
        try:
            delay = min(maximum, initial * self.base ** (retry_state.attempt_number - 1))
        except OverflowError:
            delay = maximum
        if jitter is True:
            return min(maximum, delay * self.rng.uniform(0.75, 1.25))
        if jitter == "full":
            return self.rng.uniform(0.0, delay)
        return delay

    def __repr__(self) -> str:
        return f"Backoff({self.initial:g}, {self.maximum:g}, {self.base:g}, jitter={self.jitter!r})"


class StopBefore(tenacity.stop.stop_base):
    """
    Stop where the next wait would end *seconds* after the start, or later.

    As `tenacity.stop_before_delay`, which the oldest tenacity that we work with
    does not have.

    Args:
        seconds: For all attempts and waits.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, retry_state: RetryCallState) -> bool:
        """
        Tell whether to give up.
        """
        return cast("float", retry_state.seconds_since_start) + retry_state.upcoming_sleep >= self.seconds

    def __repr__(self) -> str:
        return f"StopBefore({self.seconds:g})"


def make_retrying(
    *,
    wait: Callable[[RetryCallState], Any],
    stop: Callable[[RetryCallState], Any],
    retry: Callable[[RetryCallState], Any] | None,
    before_sleep: Callable[[RetryCallState], Any] | None,
    is_retryable: Callable[[Any], bool],
) -> tenacity.Retrying:
    """
    Return what strategies find as ``retry_state.retry_object``; nothing in it changes.

    Args:
        wait: Seconds before the next attempt.
        stop: Whether to give up.
        retry: Whether an outcome asks for another attempt; None: *is_retryable*.
        before_sleep: Told before each wait.
        is_retryable: Whether an exception asks for another attempt.
    """
    judge: Any = tenacity.retry_if_exception(is_retryable) if retry is None else retry
    return tenacity.Retrying(wait=wait, stop=stop, retry=judge, before_sleep=before_sleep)


def stop_strategy(attempts: int, max_duration: float | None) -> Callable[[RetryCallState], bool]:
    """
    Return the strategy that stops after *attempts*, or before a wait that would overrun *max_duration* seconds.
    """
    after = tenacity.stop_after_attempt(attempts)
    return after if max_duration is None else tenacity.stop_any(after, StopBefore(max_duration))


def new_state(
    retrying: tenacity.BaseRetrying,
    fn: Callable[..., Any] | None,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    started: float,
) -> RetryCallState:
    """
    Return the state of one call, as strategy objects see it.

    Args:
        retrying: What strategies find as ``retry_object``.
        fn: The guarded function.
        args: The call's positional arguments.
        kwargs: The call's keyword arguments.
        started: Monotonic seconds when the call began.
    """
    state = RetryCallState(retrying, fn, args, dict(kwargs))
    state.start_time = started
    # Older tenacities have no such attribute, and newer strategies read it.
    state.upcoming_sleep = 0.0
    return state


def settle(state: RetryCallState, outcome: Outcome, now: float) -> None:
    """
    Put the outcome of an attempt into *state*.
    """
    state.outcome = Settled(state.attempt_number, outcome)  # type: ignore[assignment]  # it reads as a Future
    state.outcome_timestamp = now


def as_delay(value: object) -> float:
    """
    Return what a wait strategy answered as seconds to wait: never negative, never NaN.

    Raises:
        TypeError: *value* is no number.
        ValueError: *value* is text of no number.
    """
    delay = float(value)  # type: ignore[arg-type]
    return delay if delay > 0 and not math.isnan(delay) else 0.0


# -- reading strategies ------------------------------------------------------


def _leaves(strategy: object) -> Iterator[object]:
    """
    Yield *strategy*, or the strategies that ``|`` and ``&`` have put together in it.
    """
    if isinstance(strategy, tenacity.retry_any | tenacity.retry_all):
        for one in strategy.retries:
            yield from _leaves(one)
    else:
        yield strategy


def looks_at_values(strategy: object) -> bool:
    """
    Tell whether a retry strategy may ask for another attempt after a value.

    Those that test the exception alone say no to every value, so calls that
    return need not be shown to them.
    """
    of_errors = tenacity.retry_if_exception.__call__
    return any(type(one).__call__ is not of_errors for one in _leaves(strategy))


def named_types(strategy: object) -> tuple[type[BaseException], ...]:
    """
    Return the exception types that a retry strategy names.
    """
    named: list[object] = []
    for one in _leaves(strategy):
        if isinstance(one, tenacity.retry_if_exception_type):
            types = one.exception_types
            named += types if isinstance(types, tuple) else [types]
    return tuple(one for one in named if isinstance(one, type))


# -- reading Retrying objects ------------------------------------------------

# What a Retrying object can be told that has no place in a policy, and what to
# do instead.
_ELSEWHERE = {
    "sleep": "give the registry a clock: Registry(clock=...)",
    "before": "listen with registry.on(...)",
    "after": "listen with registry.on(...)",
    "retry_error_cls": "the last error is raised as itself",
    "retry_error_callback": "write @fallback_chain above @retry",
    "enabled": "leave @retry out",
}


def retrying_options(retrying: tenacity.BaseRetrying) -> dict[str, Any]:
    """
    Return the options that a `tenacity.Retrying` or `AsyncRetrying` object stands for.
    """
    options: dict[str, Any] = {"wait": retrying.wait, "stop": retrying.stop, "retry": retrying.retry}
    if not callable(options["wait"]):
        # None and 0 mean no wait to tenacity, and our backoff to us.
        options["wait"] = tenacity.wait_none()
    if retrying.before_sleep is not None:
        options["before_sleep"] = retrying.before_sleep
    return options


def without_counterpart(retrying: tenacity.BaseRetrying) -> list[str]:
    """
    Return one sentence for each thing that *retrying* was told and that would be ignored.
    """
    plain = tenacity.AsyncRetrying() if isinstance(retrying, tenacity.AsyncRetrying) else tenacity.Retrying()
    return [
        f"{name}= of a {type(retrying).__name__} has no place here; {instead}"
        for name, instead in _ELSEWHERE.items()
        # Older tenacities do not know all of them.
        if getattr(retrying, name, None) is not getattr(plain, name, None)
    ]
