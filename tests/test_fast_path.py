"""
Quiet calls and planned calls cannot be told apart.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resilient import Fallback, Registry, circuit, degradable, fallback_chain, retry
from resilient.events import CallSucceeded, CircuitOpened, CircuitWouldOpen
from tests.harness import Middle

ERRORS = (ConnectionError, ValueError, TimeoutError)


@pytest.fixture(autouse=True, scope="module")
def unlogged():
    """
    Keep pytest's own log handlers from being somebody who wants to hear of failures.
    """
    logger = logging.getLogger("resilient")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(level)


class Pause:
    """
    What a suspended call waits for: its function's outcome, or a time.
    """

    def __init__(self, wake=None):
        self.wake = wake

    def __await__(self):
        return (yield self)


class Clock:
    """
    Time that moves when a history says so; sync waits move it by themselves.
    """

    def __init__(self):
        self.time = 0.0

    def monotonic(self):
        return self.time

    def now(self):
        return datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=self.time)

    def sleep(self, seconds):
        self.time += seconds

    async def asleep(self, seconds):
        await Pause(self.time + seconds)


def stand_in(number, quality=1.0):
    """
    Stand in for the function, two times out of three.
    """
    if number % 3 == 0:
        msg = "no stand-in"
        raise LookupError(msg)
    return f"stand-in for {number}"


def stacks(registry):
    """
    Return the stacks that histories go through, each a list of decorators, innermost first.
    """
    here = {"registry": registry}
    return [
        [circuit("c", failure_threshold=5, open_for=10.0, **here)],
        [circuit("c", failure_threshold=2, success_threshold=1, open_for=3.0, ignore=ValueError, **here)],
        [circuit("c", failure_threshold=3, open_for=5.0, **here), retry(initial_delay=1.0, jitter=False, **here)],
        [
            circuit("c", failure_threshold=3, open_for=5.0, half_open_max_calls=2, **here),
            retry(max_attempts=2, initial_delay=0, on=(ConnectionError, ValueError), **here),
            fallback_chain(Fallback(stand_in, on=(OSError, ValueError)), **here),
        ],
        [
            circuit("inner", failure_threshold=4, open_for=4.0, **here),
            retry(max_attempts=2, initial_delay=0.5, **here),
            circuit("outer", failure_threshold=2, open_for=7.0, reopen_factor=2.0, **here),
        ],
        [circuit("c", failure_threshold=3, window="8s", open_for=4.0, **here)],
        [circuit("c", failure_rate=0.5, window=6, min_calls=4, open_for=4.0, **here)],
        [circuit("c", failure_rate=0.5, window="9s", min_calls=3, slow_call=2.0, slow_call_rate=0.6, **here)],
        [retry(max_attempts=3, initial_delay=1.0, max_duration=6.0, **here)],
        [circuit("c", failure_threshold=2, mode="metrics_only", **here), degradable(**here)],
        [circuit("c", failure_threshold=3, open_for=5.0, **here), degradable(**here), fallback_chain(stand_in, **here)],
    ]


KINDS = len(stacks(Registry()))


class World:
    """
    One function under one stack, and everything that can be seen of it.
    """

    def __init__(self, stack, *, is_async, planned, listens, latency):
        self.clock = Clock()
        self.registry = Registry(clock=self.clock, rng=Middle())
        self.results = {}
        self.events = []
        self.latencies = []
        self.flights = []
        self.seen = []
        self.script = iter(())
        if listens:
            self.registry.on(self.events.append)
        if planned:
            self.registry.on(lambda _: None, CallSucceeded)
        if latency:
            self.registry.hub.watch_latency(self.latencies.append)
        fn = self.awork if is_async else self.work
        for decorator in stacks(self.registry)[stack]:
            fn = decorator(fn)
        self.fn = fn
        self.is_async = is_async

    # -- the function ------------------------------------------------------

    @property
    def awork(self):
        async def work(number, quality=1.0):
            self.seen.append((number, quality))
            outcome = await Pause()
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return work

    @property
    def work(self):
        def work(number, quality=1.0):
            self.seen.append((number, quality))
            outcome = self.play(within=number)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        return work

    # -- a history -----------------------------------------------------------

    def play(self, *, within=None):  # noqa: C901 - one line for each kind of step
        """
        Play the script; in a sync function, until its next ending, which is returned.
        """
        for what, detail in self.script:
            match what % 8:
                case 0 | 1 | 2:
                    self.begin()
                case 3 | 4 | 5:
                    outcome = f"value {detail}" if what % 8 == 3 or detail % 2 else ERRORS[detail % 3](detail)
                    if within is not None:
                        return outcome
                    self.end(detail, outcome)
                case 6:
                    self.advance((detail % 16) / 2)
                case _ if detail % 4 == 0:
                    if within is not None:
                        return KeyboardInterrupt()
                    self.cancel(detail)
                case _ if detail % 4 == 1:
                    self.registry.degradation.set_level(("full", "low", "full")[detail % 3])
                case _ if detail % 16 == 2:
                    for breaker in self.registry.circuits.values():
                        breaker.reset()
                case _:
                    self.advance(1.0)
        return "the end"

    def begin(self):
        number = len(self.results)
        self.results[number] = None
        if self.is_async:
            self.step(number, self.fn(number), None)
            return
        try:
            self.results[number] = self.fn(number)
        except (Exception, KeyboardInterrupt) as error:
            self.results[number] = repr(error)

    def step(self, number, flight, answer):
        try:
            pause = flight.throw(answer) if isinstance(answer, asyncio.CancelledError) else flight.send(answer)
        except StopIteration as stop:
            self.results[number] = stop.value
        except (Exception, asyncio.CancelledError) as error:
            self.results[number] = repr(error)
        else:
            self.flights.append((number, flight, pause))

    def end(self, detail, outcome):
        running = [one for one in self.flights if one[2].wake is None]
        if running:
            self.land(running[detail % len(running)], outcome)

    def cancel(self, detail):
        if self.flights:
            self.land(self.flights[detail % len(self.flights)], asyncio.CancelledError())

    def land(self, one, answer):
        self.flights.remove(one)
        self.step(*one[:2], answer)

    def advance(self, seconds):
        self.clock.time += seconds
        for one in [one for one in self.flights if one[2].wake is not None and one[2].wake <= self.clock.time]:
            self.land(one, None)

    def run(self, history):
        self.script = iter(list(zip(history[::2], history[1::2], strict=False)))
        while self.play() != "the end":
            pass
        for one in list(self.flights):
            self.land(one, asyncio.CancelledError())
        return self

    # -- what can be seen ------------------------------------------------------

    def facts(self):
        registry = self.registry
        return {
            "results": self.results,
            "seen": self.seen,
            "stats": self.fn.resilience.stats(),
            "circuits": {name: one.get_state() for name, one in registry.circuits.items()},
            "health": registry.health().to_dict(),
            "errors": [(one.error_type, one.error_message) for one in registry.analytics.error_history],
            "latencies": self.latencies,
        }

    def told(self):
        return [self.normal(event) for event in self.events]

    def normal(self, event):
        fields = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
        for name in ("operation", "parent"):
            # The pipeline's number differs between worlds, the call's does not.
            if fields[name] is not None:
                fields[name] = fields[name].partition("-")[2]
        if isinstance(event, CircuitOpened | CircuitWouldOpen) and getattr(event, "error", None) is None:
            # By a success: only what has failed has an id to tell, and who had to be planned has one all the same.
            fields |= {"operation": None, "parent": None, "function": None}
        return type(event), fields


def check(stack, history, *, is_async, latency):
    """
    Play *history* in three worlds, and compare all that can be seen of them.
    """
    worlds = [
        World(stack, is_async=is_async, planned=planned, listens=listens, latency=latency).run(history)
        for planned, listens in ((True, True), (False, True), (False, False))
    ]
    planned, quiet, unheard = worlds

    assert planned.facts() == quiet.facts()
    assert planned.told() == quiet.told()
    assert planned.facts() == unheard.facts()


histories = given(
    stack=st.integers(0, KINDS - 1), history=st.binary(min_size=60, max_size=160), latency=st.integers(0, 3)
)
relaxed = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=40, derandomize=True, **relaxed)
@histories
def test_quiet_calls_and_planned_calls_cannot_be_told_apart(stack, history, latency, colour):
    """
    However calls overlap, results, counts, circuits and events are those of a function whose every call is planned.
    """
    check(stack, history, is_async=colour.is_async, latency=not latency)


@pytest.mark.slow
@settings(max_examples=3000, **relaxed)
@histories
def test_six_thousand_histories_of_quiet_and_planned_calls_cannot_be_told_apart(stack, history, latency, colour):
    """
    The same, in six thousand histories of thirty to eighty steps.
    """
    check(stack, history, is_async=colour.is_async, latency=not latency)


def crowd(*, planned):
    """
    Have 200 calls in flight, and let every 25th of them fail.
    """
    world = World(0, is_async=True, planned=planned, listens=True, latency=False)
    for _ in range(200):
        world.begin()
    for number, flight, pause in list(world.flights):
        outcome = ConnectionError(number) if number % 25 == 12 else number
        world.land((number, flight, pause), outcome)
    return world


@pytest.mark.parametrize("planned", [False, True])
def test_four_percent_of_failures_among_two_hundred_calls_in_flight_open_no_circuit(planned):
    """
    A quiet failure is no failure in a row: successes that end in between reset the count.
    """
    world = crowd(planned=planned)
    state = world.registry.circuits["c"].get_state()

    assert (state["state"], state["failure_count"]) == ("closed", 0)
    assert world.fn.resilience.stats().failures == 8
    assert world.fn.resilience.stats().attempts == 200


def test_two_crowds_look_the_same():
    """
    A crowd of quiet calls leaves the traces of a crowd of planned ones.
    """
    quiet, planned = crowd(planned=False), crowd(planned=True)

    assert planned.facts() == quiet.facts()
    assert planned.told() == quiet.told()
