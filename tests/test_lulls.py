"""
Successes that change nothing but a number: counted without the circuit's lock, and exactly.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading

import pybreaker
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient import CircuitBreakerConfig, CircuitBreakerOpenError, CircuitState, Registry, circuit, retry
from resilient.events import CallSucceeded
from resilient.policies.circuit import CIRCUIT_OPTIONS
from resilient.policies.tripping import TripRule
from resilient.policies.window import CountWindow, TimeWindow
from resilient.testing import FakeClock

PATIENCE = 30.0

# A window of 50 buckets of one second each.
SLOW = {"window": "50s", "slow_call": 2.0, "slow_call_rate": 0.5}
RATED = {"window": "50s", "failure_rate": 0.5}
COUNTED = {"window": 20, "failure_rate": 0.5}


class Jumping(FakeClock):
    """
    A clock that goes backwards, too.
    """

    def jump(self, seconds):
        self._time += seconds


@pytest.fixture
def clock():
    """
    Return a clock that also goes backwards.
    """
    return Jumping()


@pytest.fixture(params=[SLOW, RATED, COUNTED], ids=["slow", "rated", "counted"])
def options(request):
    """
    Return the options of a circuit that has to know of successes.
    """
    return request.param


@pytest.fixture
def make(colour, registry, clock):
    """
    Return how to put a function behind the circuit "c": it takes the seconds it is told, and raises what it is told.
    """

    def make(**options):
        def work(seconds=0.0, error=None):
            clock.jump(seconds)
            if error is not None:
                raise error
            return "value"

        return circuit("c", registry=registry, **options)(colour.of(work))

    return make


@pytest.fixture
def breaker(registry):
    """
    Return the circuit "c".
    """
    return registry.circuit("c")


def calls_of(breaker):
    """
    Return what *breaker* has counted: calls and failures in its window, and late results.
    """
    state = breaker.get_state()
    return state["calls"], state["failure_count"], state["late"]


# -- when there is one ---------------------------------------------------------------------


def test_successes_in_a_lull_leave_the_circuit_alone(colour, make, breaker, options):
    """
    The first success takes the circuit's lock, those after it only a number, and all are counted.
    """
    fn = make(**options)
    lulls = []
    for _ in range(12):
        colour.drive(fn)
        lulls.append(breaker.lull)

    assert lulls[0] is not None
    assert all(one is lulls[0] for one in lulls)
    assert calls_of(breaker) == (12, 0, 0)
    assert breaker.lull is None


def test_a_lull_ends_with_its_bucket(colour, make, breaker, clock):
    """
    Successes leave the window with the bucket that was the latest when they came.
    """
    fn = make(**SLOW)
    for seconds in (0.0, 0.5, 0.499, 0.001, 0.9, 48.0):
        clock.jump(seconds)
        colour.drive(fn)
    saved = [[age, calls] for age, calls, _, _ in breaker.snapshot()["window"]]
    clock.jump(0.5)

    assert saved == [[pytest.approx(49.9), 3], [pytest.approx(48.9), 2], [pytest.approx(0.9), 1]]
    assert calls_of(breaker)[0] == 3


def test_a_slow_success_is_no_part_of_a_lull(colour, make, breaker):
    """
    Slow calls among quick ones are counted as slow, and open the circuit at their rate.
    """
    fn = make(**SLOW, min_calls=4)
    for seconds in (0.0, 0.0, 2.5, 0.0):
        colour.drive(fn, seconds)
    before = breaker.snapshot()["window"]
    colour.drive(fn, 3.0)
    still = breaker.state
    colour.drive(fn, 3.0)

    assert [sum(column) for column in list(zip(*before, strict=True))[1:]] == [4, 0, 1]
    assert (still, breaker.state) == (CircuitState.CLOSED, CircuitState.OPEN)


def test_the_success_that_makes_a_rate_defined_opens(colour, make, breaker, clock, options):
    """
    While the next success may be the one with which there are enough calls for a rate, none is passed over.
    """
    fn = make(**options | {"min_calls": 4, "slow_call": 2.0, "slow_call_rate": 0.5})
    colour.drive(fn, 3.0)
    colour.drive(fn, 3.0)
    colour.drive(fn)
    still = breaker.state, breaker.lull.until
    colour.drive(fn)

    assert still == (CircuitState.CLOSED, -float("inf"))
    assert breaker.state is CircuitState.OPEN


def test_a_failure_in_a_lull_is_seen_among_all_successes(colour, make, breaker, options, events_of):
    """
    The rate at which the circuit opens is that of all calls.
    """
    fn = make(**options | {"failure_rate": 0.3, "min_calls": 10})
    for _ in range(7):
        colour.drive(fn)
    for _ in range(3):
        with pytest.raises(OSError, match="down"):
            colour.drive(fn, 0.0, OSError("down"))

    (opened,) = events_of("circuit.opened")
    assert (opened.failures, opened.calls, opened.rate) == (3, 10, 0.3)


@pytest.fixture
def events_of(registry):
    """
    Return how to get the events of one name that were told so far.
    """
    told = []
    registry.on(told.append)
    return lambda name: [one for one in told if one.name == name]


def test_listeners_end_a_lull(colour, make, breaker):
    """
    A listener of pybreaker's that is added during a lull hears of each success from then on.
    """

    class Listener(pybreaker.CircuitBreakerListener):
        heard = 0

        def success(self, cb):
            self.heard += 1

    fn = make(**SLOW)
    colour.drive(fn)
    colour.drive(fn)
    listener = Listener()
    breaker.pybreaker.add_listener(listener)
    colour.drive(fn)
    colour.drive(fn)

    assert (listener.heard, breaker.lull) == (2, None)
    assert calls_of(breaker)[0] == 4


def test_other_options_take_the_successes_of_a_lull_over(colour, make, breaker):
    """
    What a lull has counted is in the window that other options bring.
    """
    fn = make(**SLOW)
    for _ in range(5):
        colour.drive(fn)
    breaker.configure(CircuitBreakerConfig(window="20s", slow_call=1.0))
    for _ in range(2):
        colour.drive(fn)

    assert calls_of(breaker)[0] == 7


def test_functions_that_share_a_circuit_share_its_lull(colour, registry, breaker, make):
    """
    Whichever function a success is of, it is counted once.
    """
    one = make(**RATED)
    other = circuit("c", registry=registry)(colour.of(lambda: "other"))
    for _ in range(4):
        colour.drive(one)
        colour.drive(other)

    assert calls_of(breaker)[0] == 8


def test_two_circuits_that_need_successes_both_get_them(colour, registry):
    """
    Where more than one gate has to know, each of them does.
    """
    inner = circuit("inner", registry=registry, **SLOW)(colour.of(lambda: "value"))
    fn = circuit("outer", registry=registry, **COUNTED)(retry(registry=registry)(inner))
    for _ in range(6):
        colour.drive(fn)

    assert [calls_of(registry.circuits[name])[0] for name in ("inner", "outer")] == [6, 6]


# -- the same as without ----------------------------------------------------------------------

moves = st.one_of(
    st.tuples(st.just("call"), st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.25, 2.5])),
    st.tuples(st.just("call"), st.just(0.0)),
    st.tuples(st.just("fail"), st.just(0.0)),
    # Bucket ends, what lies beside them, and jumps both ways.
    st.tuples(st.just("jump"), st.sampled_from([0.14, 0.07, 0.28, 1e-9, -1e-9, 0.5, -0.3, 3.0, -20.0, 9.0])),
    st.tuples(st.just("look"), st.just(0.0)),
)


@pytest.mark.parametrize(
    "options",
    [
        {"window": "7s", "slow_call": 2.0, "slow_call_rate": 0.9, "failure_threshold": 4},
        {"window": "7s", "failure_rate": 0.5, "min_calls": 6},
        {"window": 9, "failure_rate": 0.6, "min_calls": 4},
        {"window": 9, "slow_call": 2.0, "slow_call_rate": 0.4, "failure_threshold": 3},
        {"window": "7s", "failure_rate": 0.5, "min_calls": 3, "mode": "metrics_only"},
    ],
)
@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(
    start=st.sampled_from([0.0, 0.1, 12345.678, 1e7 / 3]),
    history=st.lists(moves, min_size=5, max_size=60),
)
def test_every_success_is_where_it_would_be_without_lulls(options, start, history):
    """
    State, counts and the contents of each bucket are those of a circuit whose every call is planned.
    """
    seen = []
    for planned in (True, False):
        clock = Jumping(start)
        registry = Registry(clock=clock)
        if planned:
            registry.on(lambda _: None, CallSucceeded)

        def work(seconds, error=None, clock=clock):
            clock.jump(seconds)
            if error is not None:
                raise error

        fn = circuit("c", registry=registry, open_for=5.0, **options)(work)
        looks = []
        for what, number in history:
            try:
                if what == "call":
                    fn(number)
                elif what == "fail":
                    fn(number, OSError())
                elif what == "jump":
                    clock.jump(number)
                else:
                    looks.append(registry.circuits["c"].get_state())
            except (OSError, CircuitBreakerOpenError):
                pass
        breaker = registry.circuits["c"]
        seen.append((looks, breaker.snapshot(), breaker.get_state()))

    assert seen[0] == seen[1]


@given(
    began=st.floats(-1e9, 1e9),
    width=st.floats(1e-3, 1e9),
    steps=st.lists(st.floats(0.0, 0.1), max_size=5),
)
@settings(max_examples=300, deadline=None, database=None, derandomize=True)
def test_the_latest_bucket_lasts_until_its_end(began, width, steps):
    """
    A result at the very end of the latest bucket goes into it, and one a good while later into another.
    """
    window = TimeWindow(width)
    now = began
    for step in (0.0, *steps):
        now += step * width
        window.record(now, failed=False, slow=False)
    buckets = len(window.dump(now))
    until = window.until
    window.record(until, failed=True, slow=False)
    same = len(window.dump(until))
    window.record(until + width / 49, failed=True, slow=False)

    assert until >= now or until == pytest.approx(now)
    assert same == buckets
    assert len(window.dump(until)) == buckets + 1 or width < 1e-6 * abs(began) or window.calls < len(steps) + 3


def test_an_empty_time_window_has_no_latest_bucket():
    """
    Where nothing was recorded there is nothing to go on with.
    """
    assert TimeWindow(50.0).until == -float("inf")


@given(
    size=st.integers(1, 12),
    before=st.lists(st.integers(0, 3), max_size=20),
    calls=st.integers(0, 30),
    after=st.lists(st.integers(0, 3), max_size=20),
)
def test_many_successes_at_once_are_as_many_one_by_one(size, before, calls, after):
    """
    Adding successes to a window of calls is recording each of them.
    """
    windows = CountWindow(size), CountWindow(size)
    for number, window in enumerate(windows):
        for result in before:
            window.record(0.0, failed=bool(result & 1), slow=bool(result & 2))
        if number:
            window.add(calls)
        else:
            for _ in range(calls):
                window.record(0.0, failed=False, slow=False)
        for result in after:
            window.record(0.0, failed=bool(result & 1), slow=bool(result & 2))

    one_by_one, at_once = ((one.dump(0.0), one.calls, one.failures, one.slow) for one in windows)
    assert at_once == one_by_one


def test_without_a_window_there_is_no_lull():
    """
    A rule that counts failures in a row has nothing to count successes in.
    """
    rule = TripRule(CIRCUIT_OPTIONS.defaults())
    rule.add(3)

    assert rule.lull_until() == -float("inf")
    assert rule.calls(0.0) is None


# -- nothing lost, nothing twice -----------------------------------------------------------------


def test_a_lull_that_ends_between_count_and_look_has_counted(colour, make, breaker, options):
    """
    A success that took its number before the lull was over is not counted again.
    """
    fn = make(**options)
    colour.drive(fn)
    tick = breaker.lull.tick
    breaker.lull.tick = lambda: (tick(), breaker.get_state())[0]
    colour.drive(fn)

    assert calls_of(breaker) == (2, 0, 0)


def test_a_lull_that_ends_between_look_and_count_has_not_counted(colour, make, breaker, options):
    """
    A success that took its number after the lull was over is counted as any other.
    """
    fn = make(**options)
    colour.drive(fn)
    tick = breaker.lull.tick
    breaker.lull.tick = lambda: (breaker.get_state(), tick())[1]
    colour.drive(fn)

    assert calls_of(breaker) == (2, 0, 0)


def test_a_success_that_comes_after_a_reset_is_late(registry, breaker, options):
    """
    A call in flight during a reset is no success of the lull that has begun since.
    """
    gate = asyncio.Event()

    @circuit("c", registry=registry, **options)
    async def fn(*, waits):
        if waits:
            await gate.wait()

    async def main():
        await fn(waits=False)
        flight = asyncio.create_task(fn(waits=True))
        await asyncio.sleep(0)
        breaker.reset()
        await fn(waits=False)
        gate.set()
        await flight

    asyncio.run(main())

    assert calls_of(breaker) == (1, 0, 1)


@pytest.mark.usefixtures("switches")
def test_no_success_is_lost_or_counted_twice_by_threads(registry, breaker, options):
    """
    After 32 threads have called, with looks and a few failures between, the window holds exactly what they did.
    """
    numbers = itertools.count()
    options = options | {"failure_rate": 0.9}
    options["window"] = 100_000 if isinstance(options["window"], int) else "50s"

    @circuit("c", registry=registry, **options)
    def fn():
        if next(numbers) % 50 == 49:
            raise OSError

    go = threading.Barrier(33)

    def work():
        go.wait(PATIENCE)
        for _ in range(200):
            try:
                fn()
            except OSError:
                pass

    threads = [threading.Thread(target=work) for _ in range(32)]
    for one in threads:
        one.start()
    go.wait(PATIENCE)
    for _ in range(40):
        breaker.get_state()
    for one in threads:
        one.join(PATIENCE)

    assert calls_of(breaker) == (6400, 128, 0)


@pytest.mark.usefixtures("switches")
def test_results_that_come_when_the_circuit_has_opened_are_late(registry, breaker, options):
    """
    Where the circuit is opened under 32 threads, each call is in the window, late or rejected.
    """
    options = options | {"window": 100_000 if isinstance(options["window"], int) else "50s"}
    fn = circuit("c", registry=registry, **options)(lambda: None)
    go = threading.Barrier(33)
    made, enough = [], threading.Event()

    def work():
        go.wait(PATIENCE)
        for _ in range(200):
            try:
                fn()
            except CircuitBreakerOpenError:
                continue
            made.append(1)
            if len(made) > 1000:
                enough.set()

    threads = [threading.Thread(target=work) for _ in range(32)]
    for one in threads:
        one.start()
    go.wait(PATIENCE)
    enough.wait(PATIENCE)
    breaker.state = "open"
    for one in threads:
        one.join(PATIENCE)
    calls, _, late = calls_of(breaker)

    assert calls + late == len(made)
    assert breaker.rejected == 6400 - len(made)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_the_successes_of_a_lull(colour, make, breaker, options):
    """
    A child counts on from what its parent had counted, and leaves the parent's counts alone.
    """
    fn = make(**options)
    for _ in range(5):
        colour.drive(fn)
    child = os.fork()
    if not child:  # pragma: no cover - another process
        for _ in range(3):
            colour.drive(fn)
        os._exit(breaker.get_state()["calls"])
    _, status = os.waitpid(child, 0)
    colour.drive(fn)

    assert os.waitstatus_to_exitcode(status) == 8
    assert calls_of(breaker)[0] == 6


OURS = (
    "settle_timed",
    "settle",
    "succeeded",
    "_take_locked",
    "_count_locked",
    "_begin_lull",
    "_whole_rule",
    "lull_until",
)


@pytest.mark.parametrize("fails", [False, True])
def test_a_call_between_any_two_lines_is_counted(fails):
    """
    Whatever line a signal handler or a debugger interrupts, the call that it makes and the one around it both count.
    """
    counted, lines = [], 0
    for place in itertools.count():
        clock = Jumping()
        registry = Registry(clock=clock)
        breaker = registry.circuit("c")

        @circuit("c", registry=registry, **SLOW)
        def fn(error=None):
            if error is not None:
                raise error

        seen = itertools.count()

        def tracer(frame, event, _, tell=(seen, place, fn)):
            counter, stop, call = tell
            if frame.f_code.co_name in OURS and event == "line" and next(counter) == stop:
                sys.settrace(None)
                call()
                call()
                sys.settrace(tracer)
            return tracer

        fn()
        clock.jump(1.5)
        before = sys.gettrace()
        sys.settrace(tracer)
        try:
            fn()
            if fails:
                with pytest.raises(OSError, match="down"):
                    fn(OSError("down"))
            fn()
        finally:
            sys.settrace(before)
        clock.jump(0.1)
        lines = next(seen)
        if lines <= place:
            break
        fn()
        counted.append(calls_of(breaker))

    expected = 6 + fails, int(fails), 0
    assert [expected] * len(counted) == counted
    assert len(counted) > 20
