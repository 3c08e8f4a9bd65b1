"""
What a call takes, it gives back: permits, and everything that only so many may have.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from resilient.testing.battery.check import promise
from resilient.testing.battery.interruption import KINDS, WAYS, Hanging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resilient.testing.battery.trial import Flight, Trial

__all__ = ["CHECKS", "room"]

# In a row: what one takes away shows.
_MANY = 100

# How often, and after how many seconds each time, a call is made to see whether calls are admitted again.
_TRIES = 8
_LONG = 100_000.0

# As many calls at once as anybody looks for.
_ROOM = 128


def room(trial: Trial, fn: Any) -> int:
    """
    Return how many calls of *fn* are admitted at once, as far as anybody looks.
    """
    flights: list[Flight] = []
    while len(flights) < _ROOM:
        flights.append(trial.flight(fn))
        if not flights[-1].calls:
            break
    for flight in flights:
        flight.close()
    return sum(flight.calls for flight in flights)


@promise("a hundred interrupted calls in a row take nothing away that a later call needs")
def permits_are_given_back(trial: Trial) -> None:
    """
    Interrupt, cancel and close calls, and look for the room that as many successes leave.
    """
    usual = trial.function(lambda *_args, **_kwargs: "done")
    for _ in range(_MANY):
        trial.call(usual)
    after_successes = trial.call(usual), room(trial, usual)
    for way, fn in _interrupted(trial):
        # First, for a call may wait for ever for what was taken away.
        left = room(trial, fn)
        if left < after_successes[1]:
            trial.broken(
                f"after {_MANY} calls that ended by {way}, {left} calls were admitted at once, and"
                f" {after_successes[1]} after as many successes"
            )
        ending = trial.call(fn)
        if ending.refused and not after_successes[0].refused:
            trial.broken(f"after {_MANY} calls that ended by {way}, there was {ending}")


def _interrupted(trial: Trial) -> Iterator[tuple[str, Any]]:
    """
    Yield functions whose calls were interrupted, each in another way.
    """
    for kind in KINDS:
        fn = trial.function(_interruption(kind))
        for _ in range(_MANY):
            trial.call(fn)
        yield kind.__name__, fn
    for name, order in (("first", 1), ("last", -1)):
        fn = trial.function(lambda *_args, **_kwargs: "done")
        for _ in range(_MANY // 4):
            # The last of them may wait for what the others have.
            flights = [trial.flight(fn) for _ in range(4)]
            for flight in flights[::order]:
                flight.close()
        yield f"closing the plan, the oldest {name}", fn
    if trial.is_async:
        for way, cancel in WAYS.items():

            async def cancelled(cancel: Callable[[Hanging], Any] = cancel) -> Any:
                hanging = Hanging(trial)
                for _ in range(_MANY):
                    hanging.reached.clear()
                    await cancel(hanging)
                hanging.hangs = False
                return hanging.fn

            yield way, trial.run(cancelled())


def _interruption(kind: type[BaseException]) -> Callable[..., str]:
    left = itertools.repeat(kind, _MANY)

    def body(*_args: Any, **_kwargs: Any) -> str:
        for one in left:
            raise one
        return "done"

    return body


@promise("a call that is refused is counted as rejected")
def refusals_are_counted(trial: Trial) -> None:
    """
    Begin many calls at once, and make failing ones in a row.
    """
    fn = trial.function(lambda *_args, **_kwargs: "done")
    flights: list[Flight] = []
    while len(flights) < _ROOM and not (flights and flights[-1].command is None):
        flights.append(trial.flight(fn))
    last = flights[-1]
    for flight in flights:
        flight.close()
    if last.refused and not last.op.rejected:
        trial.broken(f"of {len(flights)} calls at once the last was refused, and op.rejected was 0")

    def failing(*_args: Any, **_kwargs: Any) -> None:
        raise ConnectionError

    fn = trial.function(failing)
    refused = sum(trial.call(fn).refused for _ in range(_MANY))
    counted = fn.resilience.stats().rejected
    if refused != counted:
        trial.broken(f"of {_MANY} failing calls {refused} were refused, and {counted} counted")


@promise("a hundred failing calls in a row take nothing away for ever")
def failures_are_survived(trial: Trial) -> None:
    """
    Fail, let time pass, and look whether calls are admitted again; an error may say that time alone will not do.
    """
    fails = True

    def body(*_args: Any, **_kwargs: Any) -> str:
        if fails:
            raise ConnectionError
        return "done"

    fn = trial.function(body)
    if trial.call(fn).refused:
        return
    for _ in range(_MANY):
        trial.call(fn)
    fails = False
    clock: Any = trial.registry.hub.clock
    for _ in range(_TRIES):
        clock.advance(_LONG)
        ending = trial.call(fn)
        if not ending.refused or getattr(ending.error, "retry_after", 0.0) is None:
            return
    trial.broken(f"{_TRIES} calls after {_MANY} failing ones, each {_LONG:g} s after the other, were refused")


CHECKS = (permits_are_given_back, refusals_are_counted, failures_are_survived)
