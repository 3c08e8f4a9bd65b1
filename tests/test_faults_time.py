"""
Faults 26, 37 and 47: clocks that jump (26), odd wishes of servers (37), and limits of time that are too short (47).
"""

from __future__ import annotations

import math
import random
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest

from resilient import CircuitState, Registry, circuit, fallback_chain, retry
from resilient.testing import FakeClock
from tests.harness import script

# -- row 26: the wall clock -------------------------------------------------------------------------------


def _day_with_jumps(colour, jumps):
    """
    Live through a day of failures, with the wall clock jumping at every turn; return all that was decided.
    """
    clock = FakeClock()
    registry = Registry(clock=clock, rng=random.Random(1))
    jumps = iter(jumps)
    decided = []

    def jump():
        clock.jump_wall(next(jumps, 0.0))

    @fallback_chain(script("stand-in"), registry=registry)
    @retry(max_attempts=4, max_duration=30.0)
    @circuit("api", failure_threshold=5, open_for=60.0)
    @colour.of
    def call(quality=1.0):
        jump()
        raise ConnectionError

    @circuit("rated", window=timedelta(seconds=60), failure_rate=0.5, min_calls=4, slow_call=1.0, registry=registry)
    @colour.of
    def rated(fails):
        jump()
        if fails:
            raise ConnectionError

    registry.degradation.configure_triggers({"error_rate_threshold": 5})
    for step in range(12):
        for fn, args in ((call, ()), (rated, (step % 2,))):
            outcome = colour.outcome(fn, *args)
            delays = [getattr(event, "delay", None) for event in outcome.events]
            decided.append((outcome.route, outcome.attempts, outcome.elapsed, outcome.level, delays))
        jump()
        for breaker in registry.circuits.values():
            state = breaker.get_state()
            decided.append((breaker.state, breaker.can_execute(), state["probe_due"], state["failure_count"]))
        jump()
        registry.degradation.evaluate()
        decided.append((registry.degradation.current_level, registry.analytics.get_error_rate()))
        decided.append((registry.analytics.get_recovery_rate(), registry.health().status, registry.failure_ratio()))
        clock.advance(17.0)
    return decided


@pytest.mark.parametrize(
    "jumps",
    [[3600.0], [-3600.0], [1.0, -1.0], [3600.0, -7200.0] * 100, [-1.0] * 200, [86_400.0 * 3650]],
    ids=["forward", "back", "leap", "to and fro", "ntp", "ten years"],
)
def test_row_26_a_wall_clock_that_jumps_changes_nothing(colour, jumps):
    """
    Retries, circuits, windows, rates and levels decide the same, whatever the wall clock does.
    """
    expected = _day_with_jumps(colour, [])

    assert len({repr(one) for one in expected}) > 10
    assert _day_with_jumps(colour, jumps) == expected


def test_row_26_a_circuit_says_the_same_before_and_after_a_jump(colour, clock, registry):
    """
    An open circuit's `retry_after` follows monotonic time alone.
    """
    call = circuit("api", failure_threshold=1, open_for=60.0, registry=registry)(colour.of(script(ConnectionError())))
    colour.outcome(call)
    told = []
    for seconds in (0.0, 3600.0, -7200.0):
        clock.jump_wall(seconds)
        clock.advance(10.0)
        told.append(colour.outcome(call).error.retry_after)

    assert told == [50.0, 40.0, 30.0]


def test_row_26_after_a_suspension_everything_that_was_due_is_due(colour, clock, registry):
    """
    A machine that wakes after a day probes its open circuit at the next call, once.
    """
    answers = iter([ConnectionError(), None, None])

    @circuit("api", failure_threshold=1, success_threshold=2, open_for=60.0, registry=registry)
    @colour.of
    def call():
        answer = next(answers)
        if answer is not None:
            raise answer

    routes = [colour.outcome(call).route, colour.outcome(call).route]
    clock.advance(86_400.0)
    routes += [colour.outcome(call).route, colour.outcome(call).route]

    assert routes == ["failed", "rejected", "first try", "first try"]
    assert registry.circuit("api").state is CircuitState.CLOSED


# -- row 37: Retry-After --------------------------------------------------------------------------------------


class WishedError(ConnectionError):
    """
    An error with a response, as HTTP clients raise them.
    """

    def __init__(self, headers=None, **attributes):
        super().__init__("503")
        if headers is not None:
            self.response = SimpleNamespace(headers=headers)
        self.__dict__.update(attributes)


class Hostile:
    """
    A value whose every use raises.
    """

    def __getattr__(self, name):
        raise ZeroDivisionError

    def __float__(self):
        raise ZeroDivisionError

    __str__ = __repr__ = __len__ = __lt__ = __bool__ = __float__


JUNK = [
    -1,
    "-1",
    -0.001,
    math.nan,
    "nan",
    math.inf,
    "inf",
    "-inf",
    1e308,
    "1e308",
    10**400,
    "9" * 1_000_000,
    "x" * 1_000_000,
    b"\xff" * 1_000_000,
    "",
    " ",
    "soon",
    "1,5",
    "0x10",
    "12 s",
    "\x00",
    "\ud800",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Fri, 31 Dec 99999 23:59:59 GMT",
    "Wed, 21 Oct 2015 07:28:00 GMT",
    "Thu, 99 Foo 2025 99:99:99 GMT",
    "Wed, 01 Jan 2025 00:00:30 +9999999999",
    True,
    None,
    [],
    {},
    ["5"],
    object(),
    timedelta(seconds=-5),
    timedelta.max,
    timedelta.min,
    complex(1, 1),
    Hostile(),
    int,
]


def _shown(value):
    return f"{type(value).__name__}{JUNK.index(value) if not isinstance(value, Hostile) else ''}"


@pytest.mark.parametrize("place", ["attribute", "header", "headers"])
@pytest.mark.parametrize("value", JUNK, ids=_shown)
def test_row_37_junk_for_a_wish_is_ignored(colour, clock, registry, place, value):
    """
    A `Retry-After` that cannot be meant changes no delay, and raises nothing.
    """
    error = {
        "attribute": lambda: WishedError(retry_after=value),
        "header": lambda: WishedError({"Retry-After": value}),
        "headers": lambda: WishedError(value),
    }[place]()
    call = retry(max_attempts=3, initial_delay=2.0, max_delay=50.0, jitter=False, registry=registry)(
        colour.of(script(error))
    )
    began = time.perf_counter()
    outcome = colour.outcome(call)

    assert outcome.error is error
    assert clock.monotonic() == 6.0
    assert time.perf_counter() - began < 2.0


@pytest.mark.parametrize(
    ("value", "waited"),
    [
        (0, 2.0),
        ("5", 5.0),
        (b"5", 5.0),
        (" 5 ", 5.0),
        ("7.5", 7.5),
        (timedelta(seconds=9), 9.0),
        (49, 49.0),
        (86_400 * 300, 50.0),
        ("Wed, 01 Jan 2025 00:00:30 GMT", 30.0),
        ("Wed, 01 Jan 2025 06:00:00 GMT", 50.0),
    ],
)
def test_row_37_a_wish_is_waited_for_and_capped(colour, clock, registry, value, waited):
    """
    A wish that can be meant is waited for, at most `max_delay`, never less than the backoff.
    """
    call = retry(max_attempts=2, initial_delay=2.0, max_delay=50.0, jitter=False, registry=registry)(
        colour.of(script(WishedError({"retry-after": value})))
    )
    colour.outcome(call)

    assert clock.monotonic() == waited


def test_row_37_headers_that_raise(colour, clock, registry):
    """
    Headers and responses whose own code raises carry no wish.
    """
    for error in (
        WishedError(Hostile()),
        WishedError(response=Hostile()),
        WishedError(headers=Hostile(), response=None),
    ):
        call = retry(max_attempts=2, initial_delay=2.0, jitter=False, registry=registry)(colour.of(script(error)))
        began = clock.monotonic()

        assert type(colour.outcome(call).error) is WishedError
        assert clock.monotonic() - began == 2.0


# -- row 47: max_duration ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0.5, 0.999, timedelta(milliseconds=500), "500ms"])
def test_row_47_a_limit_shorter_than_the_first_wait_starts_none(colour, clock, registry, limit):
    """
    There is no wait that would overrun the limit: the error arrives at once, as itself, with the note.
    """
    error = ConnectionError("mine")
    primary = script(error)
    call = retry(max_attempts=5, initial_delay=1.0, jitter=False, max_duration=limit, registry=registry)(
        colour.of(primary)
    )
    with pytest.raises(ConnectionError) as raised:
        colour.call(call)
    assert raised.value is error
    assert (primary.calls, clock.monotonic()) == (1, 0.0)
    outcome = colour.outcome(call)

    assert outcome.error is error
    assert (primary.calls, clock.monotonic(), outcome.elapsed) == (2, 0.0, 0.0)
    assert error.__notes__ == ["resilient: gave up after 1 attempt, 0 s after the first failure"]


def test_row_47_an_attempt_longer_than_the_limit(colour, clock, registry):
    """
    An attempt is not cut off; when it fails too late there is no other one, and when it returns it counts.
    """
    fails = [True]

    @retry(max_attempts=5, initial_delay=0.0, max_duration=10.0, registry=registry)
    @colour.of
    def call():
        clock.advance(11.0)
        if fails[0]:
            raise ConnectionError("late")
        return "late"

    with pytest.raises(ConnectionError, match="late"):
        colour.call(call)
    assert call.resilience.stats().attempts == 1
    failed = colour.outcome(call)
    fails[0] = False
    returned = colour.outcome(call)

    assert (failed.route, failed.attempts, str(failed.error)) == ("failed", 1, "late")
    assert len(failed.error.__notes__) == 1
    assert (returned.route, returned.value) == ("first try", "late")


def test_row_47_the_limit_holds_for_all_attempts_and_waits(colour, clock, registry):
    """
    Attempts go on while the next wait still fits, counted from the beginning of the first attempt.
    """

    @retry(max_attempts=50, initial_delay=2.0, exponential_base=1.0, jitter=False, max_duration=10.0, registry=registry)
    @colour.of
    def call():
        clock.advance(1.0)
        raise ConnectionError

    quiet = clock.monotonic()
    with pytest.raises(ConnectionError) as caught:
        colour.call(call)

    assert clock.monotonic() - quiet == 10.0
    assert call.resilience.stats().attempts == 4
    assert caught.value.__notes__ == ["resilient: gave up after 4 attempts, 9 s after the first failure"]


def test_row_47_a_wish_longer_than_what_is_left(colour, clock, registry):
    """
    A server's wish that would overrun the limit is not waited for, nor shortened.
    """
    call = retry(max_attempts=5, initial_delay=1.0, max_duration=10.0, registry=registry)(
        colour.of(script(WishedError({"Retry-After": "30"})))
    )

    assert type(colour.outcome(call).error) is WishedError
    assert clock.monotonic() == 0.0
