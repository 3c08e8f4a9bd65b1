"""
tenacity's strategy objects decide every wait, every stop and what is retried.

Measured, a ``Retrying`` call costs ten times a failed call of ours, and one
shared object is not safe over threads and tasks. So tenacity is asked only
after a failure, through the strategy objects themselves and a `RetryCallState`
that belongs to one call; it never calls the guarded function.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import tenacity
from tenacity import RetryAction, RetryCallState, TryAgain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from resilient.clock import Rng

__all__ = [
    "AtLeast",
    "Backoff",
    "RetryAction",
    "Settled",
    "Strategies",
    "TryAgain",
    "as_delay",
    "new_state",
    "retrying_options",
    "settle",
    "stop_strategy",
]



class Settled:
    """
    The outcome of an attempt, as strategy objects read it.

    tenacity's own ``Future`` builds a lock and a condition; strategies only ask
    for these.
    """

    __slots__ = ("_error", "_value", "attempt_number")

    def __init__(self, attempt_number: int, value: Any, error: Exception | None) -> None:
        self.attempt_number = attempt_number
        self._value = value
        self._error = error

    @property
    def failed(self) -> bool:
        """
        Whether the attempt raised.
        """
        return self._error is not None

    def exception(self, timeout: float | None = None) -> Exception | None:  # noqa: ARG002 - the Future's signature
        """
        Return what the attempt raised, or None.
        """
        return self._error

    def result(self, timeout: float | None = None) -> Any:  # noqa: ARG002 - the Future's signature
        """
        Return what the attempt returned, or raise what it raised.
        """
        if self._error is not None:
            raise self._error
        return self._value

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

    The delay before retry n is ``min(maximum, initial * base ** (n - 1))``, as
    `tenacity.wait_exponential` computes it. Jitter then spreads it:

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

    def __init__(self, initial: float, maximum: float, base: float, jitter: bool | str, rng: Rng) -> None:
        self.initial = initial
        self.maximum = maximum
        self.jitter = jitter
        self.rng = rng
        self._exponential = tenacity.wait_exponential(multiplier=initial, exp_base=base, max=maximum)

    def __call__(self, retry_state: RetryCallState) -> float:
        """
        Return the seconds to wait before the next attempt.
        """
        if self.jitter == "decorrelated":
            previous = retry_state.upcoming_sleep or self.initial
            return min(self.maximum, self.rng.uniform(self.initial, max(self.initial, previous * 3)))
        delay = self._exponential(retry_state)
        if self.jitter is True:
            return min(self.maximum, delay * self.rng.uniform(0.75, 1.25))
        if self.jitter == "full":
            return self.rng.uniform(0.0, delay)
        return delay


class AtLeast(tenacity.wait.wait_base):
    """
    A wait strategy that honours a server's wish: at least that long, at most *maximum*.

    Args:
        wait: The strategy underneath.
        wish: Returns the seconds that an error asks for, or None.
        maximum: Seconds at most.
    """

    def __init__(
        self, wait: Callable[[RetryCallState], float], wish: Callable[[Exception], float | None], maximum: float
    ) -> None:
        self.wait = wait
        self.wish = wish
        self.maximum = maximum

    def __call__(self, retry_state: RetryCallState) -> float:
        """
        Return the seconds to wait before the next attempt.
        """
        delay = self.wait(retry_state)
        outcome = retry_state.outcome
        if outcome is not None and outcome.failed:
            wished = self.wish(outcome.exception())  # type: ignore[arg-type]
            if wished is not None and wished > delay:
                return min(wished, self.maximum)
        return delay


class Strategies:
    """
    The strategy objects of one retry policy.

    Args:
        wait: Seconds before the next attempt.
        stop: Whether to give up.
        retry: Whether the outcome asks for another attempt.
        before_sleep: Told before each wait.
        foreign: The names of those that the user brought: they may be async,
            and they are asked as user code is.
    """

    __slots__ = ("before_sleep", "foreign", "retry", "retrying", "stop", "wait")

    def __init__(
        self,
        *,
        wait: Callable[[RetryCallState], Any],
        stop: Callable[[RetryCallState], Any],
        retry: Callable[[RetryCallState], Any],
        before_sleep: Callable[[RetryCallState], Any] | None,
        foreign: frozenset[str],
    ) -> None:
        self.wait = wait
        self.stop = stop
        self.retry = retry
        self.before_sleep = before_sleep
        self.foreign = foreign
        # What strategy objects find as `retry_state.retry_object`; nothing in it changes.
        self.retrying = tenacity.Retrying(wait=wait, stop=stop, retry=retry, before_sleep=before_sleep)


def stop_strategy(attempts: int, max_duration: float | None) -> Callable[[RetryCallState], bool]:
    """
    Return tenacity's strategy that stops after *attempts*, or before a wait would overrun *max_duration* seconds.
    """
    after: Any = tenacity.stop_after_attempt(attempts)
    if max_duration is None:
        return after  # type: ignore[no-any-return]
    return after | tenacity.stop_before_delay(max_duration)  # type: ignore[no-any-return]


def new_state(
    strategies: Strategies, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], started: float
) -> RetryCallState:
    """
    Return the state of one call, as strategy objects see it.

    Args:
        strategies: Whose call it is.
        fn: The guarded function.
        args: The call's positional arguments.
        kwargs: The call's keyword arguments.
        started: Monotonic seconds when the call began.
    """
    state = RetryCallState(strategies.retrying, fn, args, dict(kwargs))
    state.start_time = started
    return state


def settle(state: RetryCallState, value: Any, error: Exception | None, now: float) -> None:
    """
    Put the outcome of an attempt into *state*.
    """
    state.outcome = Settled(state.attempt_number, value, error)  # type: ignore[assignment]
    state.outcome_timestamp = now


def retrying_options(retrying: tenacity.BaseRetrying) -> dict[str, Any]:
    """
    Return the options that a `tenacity.Retrying` or `AsyncRetrying` object stands for.
    """
    options: dict[str, Any] = {"wait": retrying.wait, "stop": retrying.stop, "retry": retrying.retry}
    if retrying.before_sleep is not None:
        options["before_sleep"] = retrying.before_sleep
    return options


def as_delay(value: object) -> float:
    """
    Return what a wait strategy answered as seconds to wait: never negative, never NaN.
    """
    delay = float(value)  # type: ignore[arg-type]
    return delay if delay > 0 and not math.isnan(delay) else 0.0
