"""
Calls beside each other, within each other, and with somebody who listens.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import threading
from typing import TYPE_CHECKING, Any

from resilient.events import CallSucceeded
from resilient.testing.battery.check import promise
from resilient.testing.battery.permits import room
from resilient.testing.battery.trial import Ending, Middle
from resilient.testing.fake_clock import FakeClock
from resilient.testing.isolation import isolated_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from resilient.events import Event
    from resilient.testing.battery.trial import Flight, Trial

__all__ = ["CHECKS", "History"]

_THREADS = 32
_TASKS = 16

# Seconds that somebody is given to get as far as the next command.
_GRACE = 5.0

# Commands of one call that anybody looks at.
_STEPS = 12


# -- quiet and planned ---------------------------------------------------------------


class History:
    """
    A function under the policy, what it did in a row of calls, and all that can be seen of it.

    Args:
        trial: The trial.
    """

    # What a call comes to, and after how many seconds.
    _CALLS: tuple[tuple[type[BaseException] | None, float], ...] = (
        *((None, 0.1),) * 4,
        *((ConnectionError, 0.2), (None, 0.1)) * 4,
        *((ConnectionError, 0.2),) * 12,
        (None, 100.0),
        *((None, 0.1), (ValueError, 0.1), (KeyboardInterrupt, 0.1), (asyncio.CancelledError, 0.1)) * 4,
        *((None, 0.1),) * 8,
        (None, 1000.0),
        *((None, 0.1),) * 4,
    )

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._upcoming: tuple[type[BaseException] | None, float] = (None, 0.0)
        self.attempts: int = 0
        self.fn: Any = trial.function(self._body)

    def _body(self, *_args: Any, **_kwargs: Any) -> int:
        self.attempts += 1
        if self._upcoming[0] is not None:
            raise self._upcoming[0]("down")
        return self.attempts

    def play(self, clock: FakeClock) -> list[str]:
        """
        Make all calls, and return what came of them.
        """
        told: list[str] = []
        # Where a policy frees memory, what it finds is to be its own calls'.
        gc.collect()
        for upcoming in self._CALLS:
            self._upcoming = upcoming
            ending = self._trial.call(self.fn)
            told.append(f"{ending} after {self.attempts} attempts at {clock.monotonic():g} s")
            clock.advance(upcoming[1])
        return told


def _facts(event: Event) -> tuple[Any, ...]:
    fields = {one.name: getattr(event, one.name) for one in dataclasses.fields(event)}
    # The pipeline's number differs; and by a success, only who had to be planned has a name to tell.
    left_out = {"operation", "parent", *(("function",) if fields.get("error") is None else ())}
    return type(event), {name: value for name, value in fields.items() if name not in left_out}


def _seen(trial: Trial, *listened: type[Event]) -> dict[str, Any]:
    """
    Return all that can be seen of a history, while somebody listens to such events as well.
    """
    events: list[Event] = []
    clock = FakeClock()
    with isolated_registry(clock, Middle()) as registry:
        registry.on(events.append)
        for kind in listened:
            registry.on(lambda _: None, kind)
        history = History(trial)
        calls = history.play(clock)
        return {
            "calls": calls,
            "counts": history.fn.resilience.stats(),
            "events": [_facts(event) for event in events],
            "health": [policy.health() for policy in history.fn.resilience.policies],
        }


@promise("quiet calls and planned calls cannot be told apart: results, counts and events are the same")
def quiet_and_planned_calls_are_alike(trial: Trial) -> None:
    """
    Make the same calls with and without somebody who listens to successes.
    """
    quiet, planned = _seen(trial), _seen(trial, CallSucceeded)
    for what, found in quiet.items():
        if found != planned[what]:
            trial.broken(f"{what} differ: {_difference(found, planned[what])}")


def _difference(quiet: Any, planned: Any) -> str:
    if isinstance(quiet, list) and len(quiet) == len(planned):
        at = next(at for at, (one, other) in enumerate(zip(quiet, planned, strict=True)) if one != other)
        quiet, planned = quiet[at], planned[at]
    return f"{quiet!s:.200} where quiet, {planned!s:.200} where planned"


# -- calls within and beside calls -----------------------------------------------------


@promise("no lock is held while the function runs: it may be called again meanwhile, from anywhere")
def calls_may_overlap(trial: Trial) -> None:
    """
    Begin calls while another one stands still, within another one, and in many tasks of one event loop.
    """
    _beside(trial)
    _within(trial)
    if trial.is_async:
        ended = trial.run(_in_tasks(trial))
        wrong = [ending for ending in ended if not ending.refused and ending != Ending("done")]
        if wrong:
            trial.broken(f"of {_TASKS} tasks at once, one had {wrong[0]}")


def _beside(trial: Trial) -> None:
    """
    At each command of a call, begin another one on another thread.
    """

    def failing(*_args: Any, **_kwargs: Any) -> None:
        raise ConnectionError

    fn = trial.function(failing)
    flight = trial.flight(fn)
    try:
        for _ in range(_STEPS):
            if flight.command is None:
                return
            thread = threading.Thread(target=lambda: trial.flight(fn).close(), daemon=True)
            thread.start()
            thread.join(_GRACE)
            if thread.is_alive():
                trial.broken(f"another thread's call stood still while one waited for {type(flight.command).__name__}")
            flight.step()
    finally:
        flight.close()


class _Late:
    """
    An object that calls something when it is freed.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call

    def __del__(self) -> None:
        self._call()


def _within(trial: Trial) -> None:
    """
    Let the function call itself, and a finalizer call it, once each.
    """
    if not _has_room(trial):
        return
    ended: list[Ending] = []

    def finalized(*_args: Any, **_kwargs: Any) -> str:
        if not ended:
            ended.append(Ending("done"))
            _Late(lambda: ended.append(trial.call(fn)))
        return "done"

    def work(*_args: Any, **_kwargs: Any) -> str:
        if not ended:
            ended.append(Ending("done"))
            ended.append(trial.call(fn))
        return "done"

    async def awork(*_args: Any, **_kwargs: Any) -> str:
        if not ended:
            ended.append(Ending("done"))
            ended.append(await trial.acall(fn))
        return "done"

    for raw in (awork,) if trial.is_async else (work, finalized):
        ended.clear()
        fn = trial.put_on(raw)
        ended.append(trial.call(fn))
        wrong = [ending for ending in ended if not ending.refused and ending != Ending("done")]
        if wrong:
            trial.broken(f"a call within a call, or around one, had {wrong[0]}")


def _has_room(trial: Trial) -> bool:
    """
    Tell whether a call that waits for another one would not wait for ever, for it was the only one to be admitted.
    """
    return room(trial, trial.function(lambda *_args, **_kwargs: "done")) != 1


async def _in_tasks(trial: Trial) -> Iterable[Ending]:
    fn = trial.function(lambda *_args, **_kwargs: "done")
    return await asyncio.gather(*(trial.acall(fn) for _ in range(_TASKS)))


@promise("calls on many threads and event loops come to an end, each with its own result or a CallRejectedError")
def crowds_keep_apart(trial: Trial) -> None:
    """
    Let two calls overlap in both orders, and then many threads call, each on event loops of its own.
    """
    fn = trial.function(_same)
    for order in (1, -1):
        tokens = object(), object()
        flights = [(trial.flight(fn, token), token) for token in tokens][::order]
        # One that waits may wait for the other.
        for flight, token in sorted(flights, key=_waits):
            _expect(trial, flight.land(), token)
    ended: list[tuple[Ending, object]] = []

    def calls() -> None:
        for _ in range(3):
            if trial.is_async:
                ended.extend(asyncio.run(acalls()))
            else:
                ended.extend(_call(trial, fn) for _ in range(3))

    async def acalls() -> list[tuple[Ending, object]]:
        return [await _acall(trial, fn) for _ in range(2)]

    threads = [threading.Thread(target=calls, daemon=True) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ending, token in ended:
        _expect(trial, ending, token)


def _same(token: object, **_kwargs: Any) -> object:
    return token


def _waits(one: tuple[Flight, object]) -> bool:
    return not one[0].calls


def _call(trial: Trial, fn: Any) -> tuple[Ending, object]:
    token = object()
    return trial.call(fn, token), token


async def _acall(trial: Trial, fn: Any) -> tuple[Ending, object]:
    token = object()
    return await trial.acall(fn, token), token


def _expect(trial: Trial, ending: Ending, token: object) -> None:
    if not ending.refused and (ending.error is not None or ending.value is not token):
        trial.broken(f"one had {ending}, and not its own result")


CHECKS = (quiet_and_planned_calls_are_alike, calls_may_overlap, crowds_keep_apart)
