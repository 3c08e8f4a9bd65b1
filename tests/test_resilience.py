"""
``fn.resilience``: policies, registry, counts and outcomes of one function.
"""

from __future__ import annotations

import gc
import logging
import os
import pickle
import subprocess
import sys
import weakref

import cloudpickle
import pytest

from resilient import (
    CircuitBreakerOpenError,
    DegradationLevel,
    PolicyError,
    Registry,
    Resilience,
    circuit,
    degradable,
    fallback_chain,
    recoverable,
    resilience_of,
    retry,
    scale,
)
from resilient.events import AttemptFailed, CallSucceeded, CircuitOpened, OperationRecovered, RetryScheduled
from resilient.resilience import AsyncResilience
from resilient.testing import FakeClock, disabled, isolated_registry
from tests.harness import Tensor


@pytest.fixture
def registry(clock):
    """
    A registry of the test's own, on a clock that the test moves.
    """
    return Registry("tests", clock=clock)


def work(value=1, *, fails=None):
    """
    Return *value*, or raise *fails*.
    """
    if fails:
        raise fails
    return value


# -- what it shows ------------------------------------------------------------


def test_a_decorated_function_carries_its_resilience(registry, colour):
    """
    Policies, outermost first, registry, name, wrapper and kind.
    """
    fn = retry(registry=registry)(circuit("c", registry=registry)(colour.of(work)))
    resilience = fn.resilience

    assert resilience is resilience_of(fn)
    assert (AsyncResilience if colour.is_async else Resilience) is type(resilience)
    assert [one.kind for one in resilience.policies] == ["retry", "circuit"]
    assert resilience.registry is registry
    assert resilience.guard is fn
    assert resilience is registry.functions[f"{__name__}:work"]


def test_the_repr_draws_the_stack(registry):
    """
    One line for each policy, with the options that were given.
    """
    fn = retry(max_attempts=5, registry=registry)(circuit("api", failure_threshold=2, registry=registry)(work))

    expected = f"""\
{__name__}:work on registry 'tests'
  @retry(max_attempts=5)
    @circuit('api', failure_threshold=2)
      work()"""
    assert expected == repr(fn.resilience)


def test_the_repr_draws_all_five_policies(registry):
    """
    Each policy shows itself as the decorator that would make it, outermost first.
    """

    def card():
        """
        Stand in.
        """

    def render(steps=50):
        """
        Render.
        """

    fn = circuit("gpu", registry=registry)(render)
    fn = retry(initial_delay=0.5, registry=registry)(fn)
    fn = recoverable(playbook="memory", registry=registry)(fn)
    fn = fallback_chain(card, registry=registry)(fn)
    fn = degradable(steps=scale(minimum=8), registry=registry)(fn)
    lines = [line.strip() for line in repr(fn.resilience).splitlines()]

    assert lines[1:] == [
        "@degradable(steps=scale(minimum=8))",
        "@fallback_chain(card)",
        "@recoverable(playbook='memory')",
        "@retry(initial_delay=0.5)",
        "@circuit('gpu')",
        "test_the_repr_draws_all_five_policies.<locals>.render()",
    ]


@pytest.mark.parametrize("target", [work, 3, None])
def test_what_carries_no_policies_is_told_so(target):
    """
    The error shows what was given, and what to do.
    """
    with pytest.raises(PolicyError, match="carries no policies; decorate it"):
        resilience_of(target)


def test_a_wrapper_that_is_gone_is_gone(registry):
    """
    Who holds a function's resilience does not hold the function.
    """
    fn = retry(registry=registry)(lambda: 5)
    resilience, ref = fn.resilience, weakref.ref(fn)
    del fn
    gc.collect()

    assert (ref(), resilience.guard) == (None, None)
    assert resilience.outcome().value == 5


def test_stats_count_what_happened(registry, colour):
    """
    Calls, attempts, retries, failures, rejected, recovered and fallbacks; `reset` zeroes them.
    """
    fn = circuit("c", failure_threshold=2, registry=registry)(colour.of(work))
    fn = fallback_chain(lambda **_: "instead", on=ConnectionError, registry=registry)(retry(registry=registry)(fn))
    colour.outcome(fn)
    colour.outcome(fn, fails=ConnectionError())
    colour.outcome(fn)
    stats = fn.resilience.stats()
    fn.resilience.reset()

    assert (stats.calls, stats.attempts, stats.retries, stats.failures) == (3, 3, 2, 2)
    assert (stats.rejected, stats.recovered, stats.fallbacks) == (2, 0, 0)
    assert {getattr(fn.resilience.stats(), name) for name in ("calls", "attempts", "failures", "rejected")} == {0}


# -- names and registries -----------------------------------------------------------


def test_a_function_can_be_bound_to_another_registry(registry, colour):
    """
    Its circuits are that one's from then on, and its specs are what they were.
    """
    fn = circuit("api", failure_threshold=1, registry=registry)(colour.of(work))
    other = Registry("other", clock=FakeClock())
    colour.outcome(fn, fails=OSError())
    fn.resilience.bind(other)
    told = colour.outcome(fn)

    assert (told.error, fn.resilience.registry) == (None, other)
    assert fn.resilience.policies[0].breaker is other.circuits["api"]
    assert other.functions[fn.resilience.name] is fn.resilience
    assert registry.circuits["api"].state.value == "open"


def test_policies_of_the_same_spec_can_be_used_again(registry):
    """
    What is bound already keeps its counts and state.
    """
    fn = circuit(failure_threshold=3, registry=registry)(lambda: 5)
    before = fn.resilience.policies[0]
    fn.resilience.bind(registry, fn.resilience, name=fn.resilience.pipeline.name)

    assert fn.resilience.policies == (before,)


@pytest.mark.parametrize("first", [True, False], ids=["new name", "name taken"])
def test_a_binding_that_fails_changes_nothing(registry, first):
    """
    Registry, policies and names are what they were when a circuit's options contradict that registry's.
    """
    other = Registry("other")

    def make(threshold, where):
        return circuit("api", failure_threshold=threshold, registry=where)(work)

    mine = make(3, registry)
    theirs = None if first else make(5, other)
    # It names the circuit too, so that nobody can take its options for the replaced function's alone.
    neighbour = circuit("api", failure_threshold=5, registry=other)(lambda: 5)
    policies, names = mine.resilience.policies, set(other.functions)
    with pytest.raises(PolicyError, match="api"):
        mine.resilience.bind(other)

    assert (mine.resilience.registry, mine.resilience.policies) == (registry, policies)
    assert set(other.functions) == names
    assert neighbour.resilience.has_name
    assert first or other.functions[mine.resilience.name] is theirs.resilience


def test_a_name_that_is_given_up_is_free(registry):
    """
    The function works on; the registry knows it no longer by that name, and giving up twice does nothing.
    """
    fn = retry(registry=registry)(work)
    had = fn.resilience.has_name
    fn.resilience.give_up_name()
    fn.resilience.give_up_name()

    assert (had, fn.resilience.has_name) == (True, False)
    assert fn.resilience.name not in registry.functions
    assert fn(5) == 5


def test_a_function_that_leaves_takes_its_own_circuits_along(registry):
    """
    Nobody finds function or circuit any more; who holds the function still calls it through both.
    """
    fn = circuit("api", failure_threshold=1, registry=registry)(retry(max_attempts=1, registry=registry)(work))
    breaker = registry.circuits["api"]
    fn.resilience.leave()
    with pytest.raises(OSError, match="down"):
        fn(fails=OSError("down"))

    assert "api" not in registry.circuits
    assert fn.resilience.name not in registry.functions
    assert breaker.state.value == "open"
    with pytest.raises(CircuitBreakerOpenError):
        fn()


def test_a_callable_object_keeps_its_policies_in_a_pickle_by_value(registry):
    """
    A decorated object of a local class works on the other side, with its options.
    """

    class Local:
        def __call__(self):
            return "called"

    fn = retry(max_attempts=7, registry=registry)(Local())
    with isolated_registry() as there:
        copied = pickle.loads(cloudpickle.dumps(fn))

        assert copied() == "called"
        assert copied.resilience.registry is there
        assert copied.resilience.policies[0].options["max_attempts"] == 7


@pytest.mark.parametrize("gone", [True, False], ids=["wrapper gone", "wrapper there"])
def test_resilience_travels_without_its_wrapper(registry, gone):
    """
    What `resilience` is of a callable object, or of a wrapper that nobody holds any more, works on the other side.
    """

    class Local:
        def __call__(self):
            return "called"

    fn = retry(max_attempts=7, registry=registry)(Local())
    resilience = fn.resilience
    if gone:
        del fn
        gc.collect()
    with isolated_registry() as there:
        copied = pickle.loads(cloudpickle.dumps(resilience))

        assert copied.outcome().value == "called"
        assert copied.guard is None
        assert (copied.registry, copied.policies[0].options["max_attempts"]) == (there, 7)


@pytest.mark.parametrize("fails", [None, ConnectionError()], ids=["returns", "raises"])
def test_an_outcome_while_policies_are_switched_off_is_the_raw_functions(registry, colour, fails):
    """
    One attempt, without events, by the first try or failed.
    """
    fn = fallback_chain(lambda **_: "instead", registry=registry)(retry(registry=registry)(colour.of(work)))
    with disabled():
        told = colour.outcome(fn, fails=fails)

    assert (told.error, told.attempts, told.events) == (fails, 1, ())
    assert told.route == ("failed" if fails else "first try")


def test_a_rule_that_raises_is_told_and_leaves_the_argument_alone(registry, colour, caplog):
    """
    A user's rule harms no call.
    """

    def broken(value, level):
        raise ZeroDivisionError

    fn = degradable(value=broken, registry=registry)(colour.of(work))
    registry.degradation.set_level("low")
    with caplog.at_level(logging.WARNING):
        told = colour.outcome(fn, 50)

    assert (told.value, told.changes) == (50, {})
    assert "rule 'value' of @degradable on" in caplog.text


# -- outcomes -------------------------------------------------------------------


def test_an_outcome_tells_of_a_first_try(registry, colour):
    """
    Value, route, attempts, level, and an event that says so.
    """
    told = colour.outcome(retry(registry=registry)(colour.of(work)), "value")

    assert (told.value, told.error, told.route, told.attempts) == ("value", None, "first try", 1)
    assert (told.level, told.changes, told.elapsed) == (DegradationLevel.FULL, {}, 0.0)
    assert [CallSucceeded] == [type(event) for event in told.events]
    assert told.ok


def test_an_outcome_tells_of_retries(registry, colour):
    """
    Elapsed seconds include the waits; events come in order.
    """
    errors = [ConnectionError("1"), ConnectionError("2")]

    def flaky():
        if errors:
            raise errors.pop(0)
        return "done"

    told = colour.outcome(retry(initial_delay=1.0, jitter=False, registry=registry)(colour.of(flaky)))

    assert (told.value, told.route, told.attempts, told.elapsed) == ("done", "retry", 3, 3.0)
    expected = [AttemptFailed, RetryScheduled, AttemptFailed, RetryScheduled, OperationRecovered, CallSucceeded]
    assert expected == [type(event) for event in told.events]


def test_an_outcome_raises_no_exception(registry, colour):
    """
    The error is an attribute, and nothing of ours keeps it.
    """
    error = ValueError("mine")
    fn = circuit("c", failure_threshold=1, registry=registry)(colour.of(work))
    told = colour.outcome(fn, fails=error)
    rejected = colour.outcome(fn)

    assert told.error is error
    assert (told.route, told.attempts) == ("failed", 1)
    assert CircuitOpened in {type(event) for event in told.events}
    assert not told.ok
    assert (rejected.route, rejected.attempts) == ("rejected", 0)
    assert isinstance(rejected.error, CircuitBreakerOpenError)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_outcome_raises_what_is_no_exception(registry, error, colour):
    """
    Ctrl-C leaves at once.
    """
    with pytest.raises(error):
        colour.outcome(retry(registry=registry)(colour.of(work)), fails=error)


def test_an_outcome_tells_of_fallbacks(registry, colour):
    """
    The route names the entry that returned.
    """

    def stand_in(**_):
        return "instead"

    told = colour.outcome(fallback_chain(stand_in, registry=registry)(colour.of(work)), fails=ValueError())

    assert (told.value, told.route, told.attempts) == ("instead", "fallback:stand_in", 1)


def test_an_outcome_tells_of_recoveries(registry, colour):
    """
    The route names the step.
    """
    errors = [MemoryError()]

    def hungry():
        if errors:
            raise errors.pop()
        return "fed"

    registry.playbooks.step("memory", name="eat", before="clear_cache")(lambda _: True)
    told = colour.outcome(recoverable(registry=registry)(colour.of(hungry)))

    assert (told.value, told.route, told.attempts) == ("fed", "recovery:eat", 2)


def test_an_outcome_tells_the_level_and_what_it_changed(registry, colour):
    """
    Parameter to (before, after).
    """

    def render(steps=50):
        return steps

    fn = degradable(registry=registry)(colour.of(render))
    registry.degradation.set_level("low")
    told = colour.outcome(fn)

    assert (told.value, told.level, told.changes) == (20, DegradationLevel.LOW, {"steps": (50, 20)})


def test_an_outcome_is_a_call_like_any_other(registry, colour):
    """
    It is counted, and listeners hear of it.
    """
    events = []
    registry.on(events.append)
    fn = retry(max_attempts=2, registry=registry)(colour.of(work))
    told = colour.outcome(fn, fails=ConnectionError())

    assert list(told.events) == events
    assert tuple(getattr(fn.resilience.stats(), name) for name in ("calls", "attempts", "failures")) == (1, 2, 1)


@pytest.mark.usefixtures("no_gc")
def test_the_error_of_an_outcome_is_free_with_it(registry, colour):
    """
    No cycle keeps the failed call's frames when the outcome is dropped.
    """
    refs = []

    def fails():
        tensor = Tensor()
        refs.append(weakref.ref(tensor))
        raise ValueError

    fn = retry(registry=registry)(colour.of(fails))
    told = colour.drive(fn.resilience.outcome)
    assert refs[0]() is not None
    del told

    assert refs[0]() is None


# -- switched off by the environment ------------------------------------------------

PROGRAM = """
from resilient import Registry, circuit, fallback_chain, retry, PolicyError, CircuitBreakerOpenError

calls = []

@fallback_chain(lambda: "never")
@retry(max_attempts=5)
@circuit("c", failure_threshold=1)
def work():
    calls.append(1)
    raise ConnectionError

for _ in range(3):
    try:
        work()
    except ConnectionError:
        pass
try:
    retry(max_attempts=0)(work)
except PolicyError:
    calls.append("validated")
breaker = work.resilience.registry.circuit("c")
breaker.state = "open"
try:
    breaker.call(print)
except CircuitBreakerOpenError:
    calls.append("the facade is not affected")
print(calls, work.resilience.stats().calls, work.resilience.registry.analytics.total_errors)
"""


@pytest.mark.parametrize("value", ["1", "true", "ON"])
def test_the_environment_switches_policies_off(value):
    """
    With ``RESILIENT_DISABLED`` raw functions are called, once, and options are checked all the same.
    """
    environment = {**os.environ, "RESILIENT_DISABLED": value}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout == "[1, 1, 1, 'validated', 'the facade is not affected'] 3 0\n"
    assert done.stderr == ""
