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
    from collections.abc import Callable, Mapping

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
    "make_retrying",
    "new_state",
    "settle",
    "stop_strategy",
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
