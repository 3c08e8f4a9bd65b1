"""
Where a policy may stand: among others, on methods, on another registry, and switched off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resilient.decorators import circuit, retry
from resilient.testing.battery.calls import History
from resilient.testing.battery.check import promise
from resilient.testing.battery.trial import Ending, Middle, put_on
from resilient.testing.blocks import disabled
from resilient.testing.fake_clock import FakeClock
from resilient.testing.isolation import isolated_registry
from resilient.text import safe_repr

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilient.events import Event
    from resilient.testing.battery.trial import Trial

__all__ = ["CHECKS"]

_STATUSES = ("pass", "warn", "fail")

_ATTEMPTS = 7


@promise("a stack is one wrapper around the raw function, and its order is as written")
def stacks_fuse(trial: Trial) -> None:
    """
    Put it above and below @retry, @circuit and itself.
    """
    own = trial.policy
    kind = trial.function(_nothing).resilience.specs[0].kind
    kinds = {own: kind, retry: "retry", circuit: "circuit"}
    for stack in ((own, retry, circuit), (circuit, own, retry), (retry, circuit, own), (own, own), (retry, own)):
        raw = trial.raw(lambda *_args, **_kwargs: "done")
        fn = put_on(raw, *stack[::-1])
        expected = [kinds[one] for one in stack]
        found = [policy.kind for policy in fn.resilience.policies]
        if found != expected or fn.__wrapped__ is not raw:
            trial.broken(f"{', '.join(expected)}, outermost first, had become {', '.join(found)}")
        ending = trial.call(fn)
        if not ending.refused and ending != Ending("done"):
            trial.broken(f"a call through {', '.join(expected)} had {ending}")


@promise("what stands below runs by its own plan")
def plans_below_run(trial: Trial) -> None:
    """
    Put it above @retry, and count the attempts at a call that always fails.
    """
    attempts = 0

    def failing(*_args: Any, **_kwargs: Any) -> None:
        nonlocal attempts
        attempts += 1
        raise ConnectionError

    fn = put_on(trial.raw(failing), retry(max_attempts=_ATTEMPTS, initial_delay=0.0), trial.policy)
    trial.call(fn)
    if attempts % _ATTEMPTS:
        trial.broken(f"above @retry(max_attempts={_ATTEMPTS}) there were {attempts} attempts")


def _nothing(*_args: Any, **_kwargs: Any) -> None:
    """
    Do nothing.
    """


@promise("methods, classmethods and staticmethods may be decorated: each call is the instance's own")
def methods_are_bound(trial: Trial) -> None:
    """
    Decorate a method of each kind, the built-in decorator above and below, and call it on two instances.
    """

    def kinds(decorate: Callable[[Any], Any], place: str) -> dict[str, Any]:
        body = trial.raw(lambda *args, **_kwargs: args)
        if place == "below":
            return {"cls": classmethod(decorate(body)), "static": staticmethod(decorate(trial.raw(_echo)))}
        return {"cls": decorate(classmethod(body)), "static": decorate(staticmethod(trial.raw(_echo)))}

    for place in ("below", "above"):
        method = trial.function(_echo)
        owner: Any = type("Owner", (), {"method": method, **kinds(trial.put_on, place)})
        first, second = owner(), owner()
        calls: list[tuple[Any, tuple[Any, ...]]] = [(one.method, (one, "x")) for one in (first, second, first)]
        calls += [(one.cls, (owner, "x")) for one in (owner, second)]
        calls += [(one.static, ("x",)) for one in (owner, first)]
        for bound, expected in calls:
            ending = trial.call(bound, "x")
            if not ending.refused and ending != Ending(expected):
                trial.broken(f"{bound.__name__} of {safe_repr(expected[0], 80)} had {ending}")


def _echo(*args: Any, **_kwargs: Any) -> tuple[Any, ...]:
    return args


@promise("on another registry the policy begins afresh, and speaks to that registry only")
def registries_are_apart(trial: Trial) -> None:
    """
    Play a history on one registry, and the same one, of the same function, on another.
    """
    here: list[Event] = []
    trial.registry.on(here.append)
    history = History(trial)
    clock: Any = trial.registry.hub.clock
    before = history.play(clock)
    heard = [type(event) for event in here]
    here.clear()
    there: list[Event] = []
    other_clock = FakeClock()
    with isolated_registry(other_clock, Middle()) as other:
        trial.listen(other)
        other.on(there.append)
        history.attempts = 0
        after = history.play(other_clock)
        if history.fn.resilience.registry is not other:
            trial.broken("the function had stayed on the first one")
    if here:
        trial.broken(f"the first one heard of {type(here[0]).__name__} from calls on the second")
    if after != before:
        different = next((one, two) for one, two in zip(before, after, strict=True) if one != two)
        trial.broken(f"a call had {different[0]} on the first one, and {different[1]} on the second")
    if [type(event) for event in there] != heard:
        trial.broken(f"there were {len(heard)} events on the first one, and {len(there)} on the second")


@promise("inside disabled() the raw function is called, and nothing else happens")
def disabled_is_raw(trial: Trial) -> None:
    """
    Call, succeeding and failing, what was decorated before and within.
    """
    calls: list[BufferError] = []
    events: list[Event] = []
    trial.registry.on(events.append)

    def failing(*_args: Any, **_kwargs: Any) -> None:
        calls.append(BufferError())
        raise calls[-1]

    def functions() -> tuple[Any, Any]:
        return trial.function(failing), trial.function(lambda *_args, **_kwargs: "done")

    before = functions()
    trial.call(before[0])
    with disabled():
        for fails, works in (before, functions()):
            calls.clear()
            events.clear()
            ending = trial.call(fails)
            if len(calls) != 1 or ending.error is not calls[0] or events:
                trial.broken(f"{len(calls)} calls and {len(events)} events ended in {ending}")
            ending = trial.call(works)
            if ending != Ending("done"):
                trial.broken(f"a call had {ending}")


@promise("what health() tells is None, or JSON-ready with a status: pass, warn or fail")
def health_is_told(trial: Trial) -> None:
    """
    Ask before any call, in the midst of one, and after a history.
    """
    history = History(trial)
    policy = history.fn.resilience.policies[0]
    told = [policy.health()]
    flight = trial.flight(history.fn)
    told.append(policy.health())
    flight.close()
    clock: Any = trial.registry.hub.clock
    history.play(clock)
    told.append(policy.health())
    for one in told:
        if one is not None and not (isinstance(one, Mapping) and one.get("status") in _STATUSES and _is_json(one)):
            trial.broken(f"it told {safe_repr(one, 200)}")


def _is_json(value: Mapping[str, Any]) -> bool:
    try:
        json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


CHECKS = (stacks_fuse, plans_below_run, methods_are_bound, registries_are_apart, disabled_is_raw, health_is_told)
