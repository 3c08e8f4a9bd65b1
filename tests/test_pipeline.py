"""
One call through a pipeline: what goes in, what comes out, what is kept.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import pickle
import traceback
import weakref
from itertools import pairwise

import pytest

from resilient import (
    CircuitBreakerOpenError,
    FallbackChainExhaustedError,
    Registry,
    circuit,
    degradable,
    fallback_chain,
    modes,
    recoverable,
    retry,
)
from resilient.counting import Stats
from resilient.events import CallRejected, CallSucceeded, CircuitOpened, OperationFailed
from resilient.pipeline import Pipeline
from resilient.policies.retry import RETRY_OPTIONS, RetryPolicy
from resilient.testing import FakeClock, disabled, inject, no_waits, ok
from resilient.ticks import Ticks
from tests.harness import Tensor, caught, run_threads


def ours(error):
    """
    Return the frames of this library in the traceback of *error*.
    """
    return [frame.name for frame in traceback.extract_tb(error.__traceback__) if "/resilient/" in frame.filename]


# -- tracebacks ----------------------------------------------------------------


def quiet(registry):
    """
    Return a stack that every call passes quietly.
    """
    return [retry(registry=registry, on=LookupError)]


def counting(registry):
    """
    Return a stack that counts failures, and calls again.
    """
    return [circuit(registry=registry, failure_threshold=9), retry(registry=registry, max_attempts=3, initial_delay=1)]


def timed(registry):
    """
    Return a stack that reads a clock for each call.
    """
    return [circuit(registry=registry, window=9, failure_rate=1.0)]


def everything(registry):
    """
    Return all five policies.
    """
    return [
        circuit(registry=registry, failure_threshold=9),
        retry(registry=registry, max_attempts=2),
        recoverable(registry=registry),
        fallback_chain(lambda *_, **__: 1, on=LookupError, registry=registry),
        degradable(registry=registry),
    ]


stacks = pytest.mark.parametrize("stack", [quiet, counting, timed, everything])


def stacked(fn, decorators):
    """
    Return *fn* under *decorators*, the first one innermost.
    """
    for decorator in decorators:
        fn = decorator(fn)
    return fn


@stacks
@pytest.mark.parametrize("error", [ConnectionError, ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_error_leaves_with_two_frames_of_ours(registry, stack, error, colour):
    """
    Whatever the stack and the error, its traceback has the wrapper, at most one frame more, and the user's own.
    """

    def fails(steps=1):
        raise error

    fn = stacked(colour.of(fails), stack(registry))
    for _ in range(3):
        raised = caught(colour.call, fn)

        assert error is type(raised)
        assert len(ours(raised)) <= 2
        assert traceback.extract_tb(raised.__traceback__)[-1].name == "fails"


@stacks
def test_an_instance_raised_again_and_again_gets_a_constant_number_of_frames(registry, stack, colour):
    """
    Each time one instance is raised its traceback grows by as much as Python and two frames of ours make it grow.
    """
    error = ConnectionError("always the same")

    def fails(steps=1):
        raise error

    fn = stacked(colour.of(fails), stack(registry))
    lengths = []
    for _ in range(5):
        caught(colour.call, fn)
        lengths.append(len(ours(error)))
    growth = {later - earlier for earlier, later in pairwise(lengths)}

    assert max(growth) <= 2
    assert len(getattr(error, "__notes__", ["none"])) == 1


def test_a_rejection_has_two_frames_and_no_context(registry, colour):
    """
    An open circuit's rejection is a fresh error each time, with nothing hanging on it.
    """
    fn = circuit("c", registry=registry)(colour.of(lambda: 1))
    registry.circuits["c"].state = "open"
    first, second = caught(colour.call, fn), caught(colour.call, fn)

    assert first is not second
    assert ["guard", "aenter" if colour.is_async else "enter"] == ours(second)
    assert (second.__cause__, second.__context__) == (None, None)


def test_an_error_raised_while_another_is_handled_keeps_its_context(registry, colour):
    """
    Context and cause of the user's error are the user's.
    """

    def fails():
        try:
            {}["key"]
        except KeyError as error:
            raise ConnectionError from error

    raised = caught(colour.call, stacked(colour.of(fails), counting(registry)))

    assert KeyError is type(raised.__cause__)
    assert raised.__context__ is raised.__cause__


# -- frames ----------------------------------------------------------------------


class Freed:
    """
    A function that fails while a tensor is in its frame, and notes whether the tensors before are gone.
    """

    def __init__(self, failures, error=ConnectionError):
        self.failures = failures
        self.error = error
        self.alive = []
        self.refs = []

    def __call__(self, *_, **__):
        self.look()
        tensor = Tensor()
        self.refs.append(weakref.ref(tensor))
        if len(self.refs) <= self.failures:
            raise self.error
        return "done"

    def attempt(self):
        return self()

    def look(self, *_):
        self.alive.append([ref() is not None for ref in self.refs])


class LookingClock(FakeClock):
    """
    A clock that looks for tensors while a call waits.
    """

    look = staticmethod(lambda: None)

    def sleep(self, seconds):
        self.look()
        super().sleep(seconds)

    async def asleep(self, seconds):
        self.look()
        await super().asleep(seconds)


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("is_quiet", [True, False])
@pytest.mark.parametrize("listens", [True, False])
def test_a_failed_attempt_frees_its_frames_before_the_wait_and_the_next_attempt(colour, is_quiet, listens):
    """
    While a retry waits, and when the function is called again, nothing of the failed attempt is alive.
    """
    clock = LookingClock()
    registry = Registry(clock=clock)
    if not is_quiet:
        registry.on(lambda _: None, CallSucceeded)
    if listens:
        registry.on(lambda _: None)
    freed = Freed(2)
    clock.look = freed.look
    fn = retry(registry=registry)(circuit(registry=registry)(colour.of(freed.attempt)))

    assert colour.call(fn) == "done"
    assert freed.alive == [[], [False], [False], [False, False], [False, False]]


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("is_quiet", [True, False])
def test_a_fallback_begins_when_the_tensors_of_a_memory_error_are_free(registry, colour, is_quiet):
    """
    A chain has to keep its errors, but clears the frames of those that ran out of memory.
    """
    if not is_quiet:
        registry.on(lambda _: None, CallSucceeded)
    freed = Freed(2, MemoryError)
    # Three functions: an entry that equals another one would not be added.
    attempts = [functools.partial(freed.attempt) for _ in range(3)]
    fn, second, third = (colour.of(one) for one in attempts)
    fn = fallback_chain(second, third, registry=registry)(fn)

    assert colour.call(fn) == "done"
    assert freed.alive == [[], [False], [False, False]]


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("is_quiet", [True, False])
@pytest.mark.parametrize("error", [MemoryError, ConnectionError])
def test_a_recovery_step_begins_and_calls_again_when_frames_are_free(registry, colour, is_quiet, error):
    """
    When the call after a step is made, nothing of the failed call is alive; for memory errors not in the step either.
    """
    if not is_quiet:
        registry.on(lambda _: None, CallSucceeded)
    freed = Freed(2, error)
    during = []

    def helps(_):
        during.append([ref() is not None for ref in freed.refs])
        return True

    for category in ("memory", "network"):
        for name in ("first", "second"):
            registry.playbooks.step(category, name=name, before=registry.playbooks.steps(category)[0])(helps)
    fn = recoverable(registry=registry)(colour.of(freed.attempt))

    assert colour.call(fn) == "done"
    assert freed.alive == [[], [False], [False, False]]
    if error is MemoryError:
        assert during == [[False], [False, False]]


@pytest.mark.usefixtures("no_gc")
@stacks
@pytest.mark.parametrize("error", [ConnectionError, KeyboardInterrupt])
def test_nothing_of_a_failed_call_outlives_its_error(registry, stack, colour, error):
    """
    When the caller lets go of the error, frames and tensors are free at once, without the garbage collector.
    """
    freed = Freed(9, error)
    fn = stacked(colour.of(lambda steps=1: freed()), stack(registry))
    with no_waits():
        for _ in range(2):
            with pytest.raises(error):
                # Not asyncio.run: that keeps a task which raised in a cycle of its own.
                colour.drive(fn)
    freed.look()

    assert not any(freed.alive[-1])


@pytest.mark.usefixtures("no_gc")
def test_nothing_keeps_a_rejection_alive(registry, colour):
    """
    A rejection that somebody listens to goes with its caller.
    """
    registry.on(lambda _: None)
    fn = circuit("c", registry=registry)(colour.of(lambda _: 1))
    registry.circuits["c"].state = "open"
    tensor = Tensor()
    ref = weakref.ref(tensor)
    with pytest.raises(CircuitBreakerOpenError):
        colour.drive(fn, tensor)
    del tensor

    assert ref() is None


# -- what user code may raise --------------------------------------------------------


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration, GeneratorExit])
@stacks
def test_a_sync_function_may_raise_what_ends_generators(registry, stack, error):
    """
    ``StopIteration`` and its kind arrive as they were raised.
    """
    instance = error("mine")

    def fails(steps=1):
        raise instance

    assert caught(stacked(fails, stack(registry))) is instance


@stacks
@pytest.mark.parametrize("error", [StopAsyncIteration, GeneratorExit, asyncio.CancelledError])
def test_an_async_function_may_raise_what_ends_generators(registry, stack, error):
    """
    ``StopAsyncIteration`` and cancellation arrive as they were raised.
    """
    instance = error("mine")

    async def fails(steps=1):
        raise instance

    flight = stacked(fails, stack(registry))()
    with pytest.raises(error) as raised:
        flight.send(None)

    assert raised.value is instance


def test_stop_iteration_is_retried_like_any_other_error(registry):
    """
    A ``StopIteration`` named in ``on`` asks for another attempt.
    """
    left = [StopIteration(), StopIteration(), None]

    @retry(on=StopIteration, registry=registry)
    def draws():
        error = left.pop(0)
        if error:
            raise error
        return "card"

    assert draws() == "card"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_is_neither_counted_nor_retried(registry, error, colour):
    """
    Ctrl-C and its kind leave at once: one attempt, no failure, no event, a closed circuit.
    """
    told = []
    registry.on(told.append)

    def fails(steps=1):
        raise error

    fn = stacked(colour.of(fails), everything(registry))
    for _ in range(12):
        caught(colour.call, fn)

    assert Stats(12, 12) == fn.resilience.stats()
    assert told == []
    assert registry.analytics.total_errors == 0
    assert registry.health().status == "pass"


def test_an_interrupted_probe_gives_its_permit_back(registry, colour):
    """
    In HALF_OPEN, Ctrl-C frees the permit for the next probe.
    """
    outcomes = [KeyboardInterrupt(), "fine"]

    def probe():
        outcome = outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    fn = circuit("c", success_threshold=1, registry=registry)(colour.of(probe))
    registry.circuits["c"].state = "half_open"
    caught(colour.call, fn)

    assert colour.call(fn) == "fine"
    assert registry.circuits["c"].state.value == "closed"


# -- stats ----------------------------------------------------------------------------


def test_stats_tell_what_was_called(registry, colour):
    """
    Calls, attempts, retries, failures, rejections, recoveries and fallbacks are counted apart.
    """
    errors = [None, ConnectionError, None, ValueError, ConnectionError, ConnectionError]

    def work():
        error = errors.pop(0)
        if error:
            raise error
        return "work"

    def stands_in():
        return "stand-in"

    fn = colour.of(work)
    fn = circuit("c", registry=registry)(fn)
    fn = retry(max_attempts=2, registry=registry)(fn)
    fn = fallback_chain(stands_in, on=OSError, registry=registry)(fn)

    assert colour.call(fn) == "work"
    assert colour.call(fn) == "work"
    assert isinstance(caught(colour.call, fn), ValueError)
    assert colour.call(fn) == "stand-in"
    registry.circuits["c"].isolate()
    assert isinstance(caught(colour.call, fn), CircuitBreakerOpenError)
    assert Stats(5, 6, 2, 2, rejected=1, recovered=2, fallbacks=1) == fn.resilience.stats()


@pytest.mark.usefixtures("quiet_log")
@pytest.mark.parametrize("listens", [True, False])
def test_rejections_count_the_same_whoever_listens(registry, colour, listens):
    """
    A rejection that only its caller hears of is counted like one that is told.
    """
    told = []
    if listens:
        registry.on(told.append)
    fn = retry(registry=registry)(circuit("c", registry=registry)(colour.of(lambda: 1)))
    registry.circuits["c"].state = "open"
    errors = [caught(colour.call, fn) for _ in range(3)]

    assert Stats(3, 0, failures=3, rejected=3) == fn.resilience.stats()
    assert [error.retry_after for error in errors] == [60.0] * 3
    assert registry.circuits["c"].get_state()["rejected"] == 3
    assert [CallRejected, OperationFailed] * 3 == [type(event) for event in told[1:]] or not listens
    fn.resilience.reset()
    assert Stats() == fn.resilience.stats()


@pytest.mark.usefixtures("quiet_log")
def test_what_stands_above_a_circuit_still_gets_its_rejections(registry, colour):
    """
    A fallback, or a retry that names the rejection, is not passed by where the circuit is open.
    """
    inner = circuit("c", registry=registry)(colour.of(lambda: 1))
    registry.circuits["c"].state = "open"
    again = retry(on=CircuitBreakerOpenError, max_attempts=2, jitter=False, registry=registry)(inner)
    instead = fallback_chain(lambda: "instead", registry=registry)(inner)

    assert isinstance(caught(colour.call, again), CircuitBreakerOpenError)
    assert again.resilience.stats().rejected == 2
    assert colour.call(instead) == "instead"


@pytest.mark.usefixtures("switches")
def test_stats_are_exact_under_sixteen_threads(registry):
    """
    Whatever threads do at once, no count is lost.
    """
    registry.on(lambda _: None)

    @retry(max_attempts=2, initial_delay=0, on=ConnectionError, registry=registry)
    @circuit(failure_threshold=1_000_000, registry=registry)
    def work(number):
        if number % 10 == 0:
            raise ConnectionError
        return number

    def run():
        for number in range(200):
            try:
                work(number)
            except ConnectionError:
                pass

    run_threads(*[run] * 16)

    assert Stats(3200, 3520, 320, 320) == work.resilience.stats()
    assert registry.analytics.total_errors == 640


def test_a_call_that_began_before_a_reset_is_not_counted_after_it(registry):
    """
    Zeroed counts stay exact while calls of before are still under way.
    """
    registry.on(lambda _: None, CallSucceeded)

    @retry(registry=registry)
    def work():
        work.resilience.reset()
        return 1

    work()
    assert Stats() == work.resilience.stats()

    def rejected():
        work.resilience.reset()
        raise ValueError

    with inject(work, [rejected]):
        caught(work)
    assert Stats() == work.resilience.stats()


def test_counts_laid_aside_come_back(registry):
    """
    What is counted meanwhile is forgotten.
    """
    work = retry(registry=registry)(lambda: 1)
    work()
    bring_back = work.resilience.pipeline.lay_stats_aside()
    for _ in range(3):
        work()

    assert Stats(3, 3) == work.resilience.stats()
    bring_back()
    assert Stats(1, 1) == work.resilience.stats()


def test_stats_show_themselves():
    """
    Stats are equal by value, cannot be hashed, and read as what they are.
    """
    stats = Stats(2, 3, 1)

    assert Stats(2, 3, 1) == stats
    assert stats != (2, 3)
    assert {name: stats.to_dict()[name] for name in ("calls", "attempts")} == {"calls": 2, "attempts": 3}
    assert "calls=2" in repr(stats)
    with pytest.raises(TypeError):
        hash(stats)


def test_ticks_start_afresh_when_copied_or_pickled():
    """
    State does not travel.
    """
    ticks = Ticks()
    next(ticks)

    assert ticks.taken == 1
    assert (copy.copy(ticks).taken, pickle.loads(pickle.dumps(ticks)).taken) == (0, 0)


# -- switched off, injected ---------------------------------------------------------------


@stacks
def test_a_switched_off_stack_calls_the_raw_function(registry, stack, colour):
    """
    While policies are off there is one attempt, its own error, and nothing is recorded.
    """
    made = []

    def fails(steps=1):
        made.append(steps)
        raise ConnectionError

    fn = stacked(colour.of(fails), stack(registry))
    with disabled():
        errors = [caught(colour.call, fn) for _ in range(12)]
        with inject(fn, ["not called"] and [ok, KeyError]):
            caught(colour.call, fn)
            assert isinstance(caught(colour.call, fn), KeyError)

    assert len(made) == 13
    assert all(isinstance(error, ConnectionError) and len(ours(error)) <= 2 for error in errors)
    assert registry.analytics.total_errors == 0


def test_an_open_circuit_lets_calls_pass_while_policies_are_off(registry, colour):
    """
    Off means off, for circuits that are open too.
    """
    fn = circuit("c", registry=registry)(colour.of(lambda: "called"))
    registry.circuits["c"].state = "open"
    with disabled():
        assert colour.call(fn) == "called"
    assert isinstance(caught(colour.call, fn), CircuitBreakerOpenError)


def test_the_facade_is_not_switched_off(registry, colour):
    """
    A breaker that is called directly goes on while decorated functions do not.
    """
    breaker = registry.circuit("c")
    with disabled():
        value = colour.call(breaker.execute if colour.is_async else breaker.call, colour.of(lambda: "called"))
        assert value == "called"
        breaker.state = "open"
        with pytest.raises(CircuitBreakerOpenError):
            breaker.call(lambda: "called")


def test_an_outcome_is_told_while_policies_are_off(registry, colour):
    """
    ``outcome`` makes the raw call, and says so.
    """

    def fails():
        raise ConnectionError

    bad = retry(registry=registry)(colour.of(fails))
    good = retry(registry=registry)(colour.of(lambda: 1))
    with disabled():
        failed, returned = colour.outcome(bad), colour.outcome(good)

    assert ("failed", 1, ConnectionError) == (failed.route, failed.attempts, type(failed.error))
    assert (returned.route, returned.attempts, returned.value) == ("first try", 1, 1)


def test_modes_are_on_by_default():
    """
    Nothing is switched off unless the environment or a test says so.
    """
    assert (modes.disabled, modes.no_waits, modes.attempts) == (False, False, None)


# -- refreshing ----------------------------------------------------------------------------


def test_a_pipeline_is_quiet_again_when_its_gates_are(registry):
    """
    A failure to count, an open circuit, a lowered level and a listener for successes each end quiet, and give it back.
    """

    @degradable(registry=registry)
    @circuit("c", registry=registry)
    def work(steps=1):
        return steps

    pipeline, breaker = work.resilience.pipeline, registry.circuits["c"]
    token = pipeline.quiet
    assert token is not None

    breaker.record_failure()
    assert pipeline.quiet is None
    breaker.record_success()
    assert pipeline.quiet is token

    registry.degradation.degrade()
    assert pipeline.quiet is None
    registry.degradation.restore()
    assert pipeline.quiet is token

    unsubscribe = registry.on(lambda _: None, CallSucceeded)
    assert pipeline.quiet is None
    unsubscribe()
    assert pipeline.quiet is token

    breaker.state = "open"
    assert (pipeline.quiet, pipeline.ticket) == (None, None)
    breaker.reset()
    assert pipeline.quiet not in {None, token}

    registry.hub.watch_latency(lambda _: None)
    assert pipeline.quiet is None
    assert pipeline.ticket is not None


def test_a_call_in_flight_while_policies_are_replaced_ends_under_those_it_began_with(registry):
    """
    A call that has begun quietly is decided about, and counted, by the policies of that time.
    """
    other = Registry(clock=registry.hub.clock)

    @circuit("c", failure_threshold=1, registry=registry)
    def work(then):
        then()
        raise ConnectionError

    def move():
        work.resilience.bind(other)

    with pytest.raises(ConnectionError):
        work(move)
    assert tuple(one.circuits["c"].state.value for one in (registry, other)) == ("open", "closed")

    with pytest.raises(ConnectionError):
        work(lambda: None)
    assert other.circuits["c"].state.value == "open"


@pytest.mark.parametrize(("before", "after", "attempts"), [([3], [], 3), ([], [3], 1), ([2], [5], 2)])
def test_a_quiet_call_that_fails_is_retried_as_it_was_when_it_began(colour, before, after, attempts, registry):
    """
    Policies that come, go or change while a call is under way leave that call alone.
    """
    pipeline = Pipeline(colour.of(lambda: step()), "work")  # noqa: PLW0108 - step is put in later
    calls = []

    def install(limits):
        options = [RETRY_OPTIONS.filled({"max_attempts": one}) for one in limits]
        pipeline.install([RetryPolicy(one, registry.hub) for one in options], registry.hub)

    def step():
        calls.append(1)
        install(after)
        raise ConnectionError

    install(before)
    with pytest.raises(ConnectionError):
        colour.call(pipeline.aguard() if colour.is_async else pipeline.guard())
    assert attempts == len(calls)


def test_a_pipeline_shows_its_policies(registry):
    """
    The repr names the function and its policies.
    """
    work = retry(registry=registry)(circuit(registry=registry)(lambda: 1))

    assert "@retry @circuit>" in repr(work.resilience.pipeline)
    assert repr(Pipeline(None, "x")) == "<Pipeline of x: no policies>"


def test_latencies_are_observed_on_both_paths(registry):
    """
    Whoever watches latencies gets the seconds of each call that returned, waits included.
    """
    seconds = []
    clock = registry.hub.clock
    registry.hub.watch_latency(seconds.append)
    errors = [None, ConnectionError, None]

    @retry(initial_delay=2, jitter=False, registry=registry)
    def work():
        clock.advance(1.0)
        error = errors.pop(0)
        if error:
            raise error

    work()
    work()

    assert seconds == [1.0, 4.0]


def test_a_success_that_began_before_a_failure_resets_the_count(registry, colour):
    """
    A quiet call that ends after another one has failed reports its success.
    """
    told = []
    registry.on(told.append, CircuitOpened)

    def work(*, fails=False, inner=None):
        if inner:
            inner()
        if fails:
            raise ConnectionError

    fn = circuit("c", failure_threshold=2, registry=registry)(colour.of(work))
    bad = circuit("c", registry=registry)(colour.of(functools.partial(work, fails=True)))

    for _ in range(4):
        colour.call(fn, inner=lambda: caught(colour.drive, bad))

    assert registry.circuits["c"].failure_count == 0
    assert told == []


def test_a_slow_failure_of_a_call_that_only_a_clock_kept_from_quiet_is_slow(registry, colour):
    """
    The seconds of the attempt that failed count from its own beginning.
    """
    clock = registry.hub.clock

    def work(seconds):
        clock.advance(seconds)
        raise ConnectionError

    options = {"failure_rate": 1.0, "window": 4, "min_calls": 4, "slow_call": 2.0, "slow_call_rate": 0.5}
    fn = circuit("c", ignore=LookupError, **options, registry=registry)(colour.of(work))
    quick = circuit("c", registry=registry)(lambda: 1)
    told = []
    registry.on(told.append, CircuitOpened)
    for seconds in (3.0, 3.0):
        caught(colour.call, fn, seconds)
    quick()
    quick()

    assert [event.reason for event in told] == ["slow"]


def test_exhausted_chains_keep_errors_in_order(registry, colour):
    """
    A chain's own error leaves with two frames of ours as well.
    """

    def first():
        raise ConnectionError

    def second():
        raise ValueError

    raised = caught(colour.call, fallback_chain(second, registry=registry)(colour.of(first)))

    assert isinstance(raised, FallbackChainExhaustedError)
    assert [ConnectionError, ValueError] == [type(error) for error in raised.errors]
    assert len(ours(raised)) == 2
