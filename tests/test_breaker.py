"""
A circuit breaker used by hand.
"""

# ruff: noqa: SLF001 - locks and who shares them can only be seen from inside

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
import gc
import json
import math
import pickle
import threading
import weakref
from datetime import timedelta
from functools import partial

import cloudpickle
import pytest

from resilient import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerOpenError,
    CircuitBreakerState,
    CircuitState,
    PolicyError,
    circuit,
    default_registry,
    resilience_of,
    retry,
)
from resilient.breaker import Isolation, Permit
from resilient.events import (
    CallRejected,
    CallSucceeded,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
)
from resilient.testing import capture_events, disabled
from tests.harness import PATIENCE, held, in_fork, may_fork, needs_fork, python, run_threads

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


def down():
    """
    Fail.
    """
    raise OSError("down")


async def adown():
    """
    Fail, asynchronously.
    """
    raise OSError("down")


async def up(*args, **kwargs):
    """
    Succeed, asynchronously.
    """
    return args, kwargs


@pytest.fixture
def make(clock):
    """
    A function that makes a breaker that stands alone.
    """

    def make(name="api", **options):
        return CircuitBreaker(name, CircuitBreakerConfig(**options), clock=clock)

    return make


def fail(breaker, times=1):
    """
    Let calls fail.
    """
    for _ in range(times):
        with pytest.raises(OSError, match="down"):
            breaker.call(down)


# -- making one ----------------------------------------------------------------


def test_names_of_the_vocabulary():
    """
    The states have two names, and permits and isolations can be imported from where the breaker is.
    """
    assert CircuitBreakerState is CircuitState
    assert [state.value for state in CircuitState] == ["closed", "open", "half_open"]
    assert {Permit.__name__, Isolation.__name__} == {"Permit", "Isolation"}


@pytest.mark.parametrize("name", ["", "  ", None, 7])
def test_name_has_to_be_a_text(name):
    """
    A breaker without a proper name is refused.
    """
    with pytest.raises(PolicyError, match="name must be a string that is not empty, got"):
        CircuitBreaker(name)


def test_what_no_breaker_can_be_made_with_is_refused_at_once():
    """
    Options, a registry and a clock in another form are refused by one error that tells of all.
    """
    with pytest.raises(PolicyError) as caught:
        CircuitBreaker("api", {"timeout": 5}, registry="main", clock=60.0)
    with pytest.raises(PolicyError, match=r"configure.* of circuit 'api' takes a CircuitBreakerConfig, got .*int"):
        CircuitBreaker("api").configure(5)

    assert caught.value.where == "CircuitBreaker('api')"
    assert [problem.partition(" ")[0] for problem in caught.value.problems] == ["config", "registry", "clock"]
    assert "got {'timeout': 5} (dict)" in caught.value.problems[0]


def test_what_cannot_be_called_is_no_failure(make):
    """
    Something that is no function is refused with what to write, and nothing is counted.
    """
    breaker = make(failure_threshold=1)
    with pytest.raises(
        PolicyError, match=r"call\(\) takes a function and its arguments, as in call\(fetch, url\); got 5"
    ):
        breaker.call(5)
    with pytest.raises(PolicyError, match=r"execute\(\) takes a function"):
        asyncio.run(breaker.execute(None))

    assert breaker.state is CLOSED


def test_breaker_of_nobody_uses_the_machines_clock():
    """
    A breaker with a name alone works, with the defaults, and no registry knows it.
    """
    breaker = CircuitBreaker("nobody's")
    fail(breaker, 5)

    assert breaker.options["failure_threshold"] == 5
    assert 0 < breaker.get_state()["retry_after"] <= 60.0
    assert "nobody's" not in default_registry().circuits


def test_breaker_with_a_registry_shares_its_clock_and_listeners(registry, clock):
    """
    A breaker that is made with a registry tells that one's listeners, and is not in it.
    """
    events = []
    registry.on(events.append, CircuitOpened)
    breaker = CircuitBreaker("api", registry=registry)
    breaker.state = OPEN
    clock.advance(60.0)

    assert [event.circuit for event in events] == ["api"]
    assert breaker.can_execute()
    assert list(registry.circuits) == []


# -- calling -------------------------------------------------------------------


def test_call_hands_on_arguments_and_results(make):
    """
    `call` hands the function its arguments, also those named like its own, and returns what it returns.
    """
    breaker = make()

    def fn(*args, **kwargs):
        return args, kwargs

    assert breaker.call(fn, 1, fn=2, self=3, op=4) == ((1,), {"fn": 2, "self": 3, "op": 4})
    assert asyncio.run(breaker.execute(up, 1, fn=2, self=3)) == ((1,), {"fn": 2, "self": 3})
    assert asyncio.run(breaker.execute(fn, 1)) == ((1,), {})


def test_execute_counts_what_is_awaited(make):
    """
    `execute` counts what comes of awaiting, whatever kind of function it is given.
    """

    def returns_awaitable():
        return adown()

    breaker = make(failure_threshold=4)
    for fn in (adown, down, returns_awaitable, partial(adown)):
        with pytest.raises(OSError, match="down"):
            asyncio.run(breaker.execute(fn))

    assert breaker.state is OPEN


def test_call_refuses_async_functions(make):
    """
    `call` of an async function, of which it could count nothing, is an error that says what to write.
    """

    class Callable:
        async def __call__(self):
            """
            Be async.
            """

    for fn in (up, partial(up), Callable()):
        with pytest.raises(PolicyError, match=r"circuit 'api': .* is async; use `await breaker.execute\(function\)`"):
            make().call(fn)


def test_errors_of_calls_arrive_as_themselves(make):
    """
    The caller gets the very exception that the function raised, with two frames of ours at most.
    """
    error = OSError("mine")

    def fails():
        raise error

    for run in (make().call, lambda fn: asyncio.run(make().execute(fn))):
        error.__traceback__ = None
        with pytest.raises(OSError, match="mine") as caught:
            run(fails)
        ours = [one for one in caught.traceback if one.frame.f_globals["__name__"].startswith("resilient.")]

        assert caught.value is error
        assert error.__cause__ is error.__context__ is None
        assert len(ours) <= 2


def test_calls_work_while_policies_are_switched_off(make):
    """
    Switching decorators' policies off leaves direct use as it is.
    """
    breaker = make(failure_threshold=1)
    with disabled():
        fail(breaker)

    assert breaker.state is OPEN


def test_calls_are_operations_under_the_breakers_name(registry):
    """
    A direct call's events name the breaker as the function, and each call has an id.
    """
    breaker = registry.circuit("api", CircuitBreakerConfig(failure_threshold=2))
    with capture_events(registry) as events:
        fail(breaker, 2)
        with pytest.raises(CircuitBreakerOpenError):
            breaker.call(down)
    opened = next(event for event in events if isinstance(event, CircuitOpened))
    rejected = next(event for event in events if isinstance(event, CallRejected))

    assert (opened.function, opened.circuit, opened.error.error_message) == ("api", "api", "down")
    assert (rejected.function, rejected.reason, rejected.retry_after) == ("api", "open", 60.0)
    assert len({event.operation for event in events}) == 3
    assert registry.analytics.total_errors == 2


# -- blocks --------------------------------------------------------------------


def test_block_counts_like_a_call(make):
    """
    A block that raises is a failure, one that ends is a success, one that is interrupted is neither.
    """
    breaker = make(failure_threshold=2)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), breaker:
            raise KeyboardInterrupt
        with pytest.raises(OSError, match="down"), breaker:
            down()
    opened = breaker.state
    with pytest.raises(CircuitBreakerOpenError), breaker:
        pytest.fail("the block was entered")
    breaker.reset()
    breaker.record_failure()
    with breaker as entered:
        before = breaker.failure_count

    assert entered is breaker
    assert opened is OPEN
    assert (before, breaker.failure_count) == (1, 0)


async def test_async_block_counts_like_a_call(make):
    """
    An async block is a call, too.
    """
    breaker = make(failure_threshold=2, success_threshold=1, open_for=0)
    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            async with breaker:
                await adown()
    opened = breaker.state
    async with breaker as entered:
        pass

    assert entered is breaker
    assert (opened, breaker.state) == (OPEN, CLOSED)


def test_nested_blocks_have_a_permit_each(make):
    """
    Blocks of one breaker and of several nest; each gives its own permit back.
    """
    one, other = make("one", failure_threshold=1), make("other", failure_threshold=1)
    with one, other, one:
        pass
    with pytest.raises(OSError, match="down"), one, contextlib.suppress(ValueError), other:
        raise OSError("down")

    assert (one.state, other.state) == (OPEN, OPEN)


def test_tasks_share_a_breaker_in_blocks(make):
    """
    Tasks that are in blocks of one breaker at once, begun within one another, do not mix up their permits.
    """
    breaker = make(failure_threshold=1, success_threshold=2, half_open_max_calls=3)
    breaker.state = HALF_OPEN

    async def main():
        inside, leave = asyncio.Event(), asyncio.Event()

        async def child():
            async with breaker:
                inside.set()
                await leave.wait()

        async def parent():
            async with breaker:
                task = asyncio.create_task(child())
                await inside.wait()
            # Out of the block again, while the child, which has copied its context, is in its own.
            return task, breaker.get_state()["success_count"]

        task, successes = await asyncio.create_task(parent())
        leave.set()
        await task
        return successes

    assert asyncio.run(main()) == 1
    assert breaker.state is CLOSED


def test_threads_share_a_breaker_in_blocks(make):
    """
    Threads that are in blocks of one breaker at once count each for itself.
    """
    breaker = make(window=100, failure_rate=1.0, mode="metrics_only")
    barrier = threading.Barrier(8, timeout=PATIENCE)

    def work(failing):
        with contextlib.suppress(OSError), breaker:
            barrier.wait()
            if failing:
                down()

    run_threads(*(partial(work, number % 2) for number in range(8)))
    state = breaker.get_state()

    assert (state["calls"], state["failure_count"]) == (8, 4)


def test_block_may_be_left_in_another_context(make):
    """
    A block that is left in another context than it was entered in, as by an exit stack, still counts.
    """
    breaker = make(failure_threshold=1)
    contextvars.copy_context().run(breaker.__enter__)
    breaker.__exit__(OSError, OSError("down"), None)

    assert breaker.state is OPEN


# -- two steps -----------------------------------------------------------------


def test_permit_counts_once(make):
    """
    A permit that was given back counts no more, however often and in whichever way it is given back again.
    """
    breaker = make(failure_threshold=2)
    permit = breaker.acquire()
    shown = repr(permit)
    permit.failure(OSError())
    permit.failure(OSError())
    permit.success()
    permit.release()

    assert (breaker.state, breaker.failure_count) == (CLOSED, 1)
    assert (shown, repr(permit)) == (
        "<Permit for a call through 'api'>",
        "<Permit for a call through 'api', given back>",
    )


def test_permit_of_a_half_open_circuit_is_a_probe(make):
    """
    A probe's permit says so; released, it lets the next one go; its failure opens.
    """
    breaker = make(failure_threshold=1, counts=OSError)
    breaker.state = HALF_OPEN
    probe = breaker.acquire()
    with pytest.raises(CircuitBreakerOpenError):
        breaker.acquire()
    probe.release()
    breaker.acquire().failure(ValueError())
    breaker.acquire().failure(KeyboardInterrupt())
    half_open = breaker.state
    breaker.acquire().failure(OSError())

    assert repr(probe) == "<Permit for a probe through 'api', given back>"
    assert half_open is HALF_OPEN
    assert breaker.state is OPEN


def test_can_execute_takes_no_permit(make, clock):
    """
    `can_execute` tells whether a call would be admitted, moves a due circuit on, and takes nothing.
    """
    breaker = make(open_for=10.0)
    answers = [breaker.can_execute()]
    breaker.state = OPEN
    answers.append(breaker.can_execute())
    clock.advance(10.0)
    answers += [breaker.can_execute(), breaker.can_execute()]
    probe = breaker.acquire()
    answers.append(breaker.can_execute())
    clock.advance(30.0)
    answers.append(breaker.can_execute())

    assert answers == [True, False, True, True, False, True]
    assert breaker.state is HALF_OPEN
    assert not probe.used


def test_recorded_results_always_count(make):
    """
    Results of calls made elsewhere count in whatever state, and whatever the error's type.
    """
    breaker = make(failure_threshold=2, success_threshold=2, ignore=ValueError)
    breaker.record_failure()
    breaker.record_success()
    breaker.record_failure(ValueError("odd"))
    closed = breaker.state
    breaker.record_failure(ValueError("odd"))
    opened = breaker.get_state()
    breaker.record_success()
    breaker.record_failure()
    still = breaker.state
    breaker.state = HALF_OPEN
    breaker.record_success()
    breaker.record_success()

    assert closed is CLOSED
    assert (opened["state"], opened["last_error"]) == ("open", "ValueError: odd")
    assert still is OPEN
    assert breaker.state is CLOSED


def test_failure_without_an_error_opens_without_a_cause(make):
    """
    A failure that was recorded without its error leaves no cause.
    """
    breaker = make(failure_threshold=1)
    breaker.record_failure()
    with pytest.raises(CircuitBreakerOpenError) as caught:
        breaker.acquire()

    assert breaker.state is OPEN
    assert caught.value.last_error is None


def test_two_steps_tell_their_listeners(registry, clock):
    """
    What is done in two steps is told, too: with the circuit, the error and the reason, and without an operation.
    """
    breaker = registry.circuit("api", CircuitBreakerConfig(failure_threshold=1))
    with capture_events(registry) as events:
        breaker.acquire().failure(OSError("down"))
        with pytest.raises(CircuitBreakerOpenError):
            breaker.acquire()
        clock.advance(60.0)
        breaker.acquire()
        with pytest.raises(CircuitBreakerOpenError):
            breaker.acquire()
        with breaker.isolate(), pytest.raises(CircuitBreakerOpenError):
            breaker.acquire()
    opened, *rejections = (event for event in events if isinstance(event, CircuitOpened | CallRejected))

    assert (opened.error.error_type, opened.error.category.value, opened.operation) == ("OSError", "unknown", None)
    assert [getattr(event, "reason", None) for event in rejections] == ["open", "half_open", "isolated", "isolated"]
    assert [event.retry_after for event in rejections] == [60.0, 60.0, None, None]
    assert rejections[0].function is None


# -- by hand -------------------------------------------------------------------


@pytest.mark.parametrize("state", [*CircuitState, "closed", "open", "half_open"])
def test_state_can_be_set(make, state):
    """
    The state takes a `CircuitState` or its value.
    """
    breaker = make()
    breaker.state = state

    assert breaker.state is CircuitState(state)


@pytest.mark.parametrize("state", ["half-open", "shut", None, 1, []])
def test_state_has_to_be_one(make, state):
    """
    Anything else is refused, with the values that there are.
    """
    with pytest.raises(PolicyError, match="state of circuit 'api' must be a CircuitState or one of 'closed', 'open'"):
        make().state = state


def test_isolation_is_a_context_manager(make):
    """
    A circuit is isolated within the block, and closed after it.
    """
    breaker = make()
    with breaker.isolate() as hold:
        isolated = breaker.get_state()["isolated"], breaker.can_execute(), repr(hold), repr(breaker)

    assert isolated == (
        True,
        False,
        "<Isolation of circuit 'api'>",
        "<CircuitBreaker 'api': isolated, failures 0>",
    )
    assert repr(hold) == "<Isolation of circuit 'api', released>"
    assert breaker.state is CLOSED


def test_released_isolation_of_another_time_does_nothing(make):
    """
    A hold that was ended by `close` has no part in a later isolation.
    """
    breaker = make()
    old = breaker.isolate()
    breaker.close()
    new = breaker.isolate()
    old.release()
    isolated = breaker.get_state()["isolated"]
    new.release()

    assert isolated
    assert breaker.state is CLOSED


@pytest.mark.parametrize("end", ["close", "reset", "state", "half-open"])
def test_every_way_out_ends_isolations(make, end):
    """
    A circuit that is closed, reset or half-opened by hand is isolated no more, and opens and closes as before.
    """
    breaker = make(failure_threshold=1, open_for=1.0)
    breaker.isolate()
    if end in {"close", "reset"}:
        getattr(breaker, end)()
    else:
        breaker.state = CLOSED if end == "state" else HALF_OPEN
    fail(breaker)
    state = breaker.get_state()

    assert (state["state"], state["isolated"], state["retry_after"]) == ("open", False, 1.0)


def test_isolating_an_open_circuit_keeps_it_shut(make, clock):
    """
    A circuit that is open already can be isolated: then time does not open it.
    """
    breaker = make(failure_threshold=1)
    fail(breaker)
    hold = breaker.isolate()
    clock.advance(3600.0)
    isolated = breaker.can_execute()
    hold.release()

    assert not isolated
    assert breaker.can_execute()


def test_metrics_only_circuit_admits_what_it_could_not_probe(make, clock):
    """
    In mode metrics_only a circuit that was opened by hand admits all, and still moves on.
    """
    breaker = make(mode="metrics_only", success_threshold=2, failure_threshold=1)
    hold = breaker.isolate()
    admitted = [breaker.can_execute(), breaker.call(lambda: 1), repr(breaker)]
    hold.release()
    breaker.state = OPEN
    clock.advance(60.0)
    fail(breaker)
    half_open = breaker.state
    breaker.call(lambda: 1)
    breaker.call(lambda: 1)

    assert admitted == [True, 1, "<CircuitBreaker 'api': isolated, failures 0, mode metrics_only>"]
    assert half_open is HALF_OPEN
    assert breaker.state is CLOSED


def test_mode_can_change_while_calls_are_under_way(make):
    """
    A permit taken in one mode is given back in another.
    """
    breaker = make(mode="disabled", failure_threshold=1)
    permit, other = breaker.acquire(), breaker.acquire()
    breaker.configure(CircuitBreakerConfig(failure_threshold=1))
    permit.failure(OSError())
    opened = breaker.state
    breaker.configure(CircuitBreakerConfig(mode="disabled"))
    other.success()
    breaker.record_failure()

    assert opened is OPEN
    assert breaker.can_execute()


# -- configuring ---------------------------------------------------------------


def test_new_window_takes_over_the_old_ones_contents(make):
    """
    A window that is made larger or smaller keeps the latest results; one of the other kind begins empty.
    """
    breaker = make(window=10, failure_rate=1.0)
    fail(breaker, 3)
    breaker.call(lambda: 1)
    sizes = []
    for window in (20, 2, "30s"):
        breaker.configure(CircuitBreakerConfig(window=window, failure_rate=1.0))
        sizes.append(breaker.get_state()["calls"])

    assert sizes == [4, 2, 0]


def test_failures_alone_make_no_rate(make):
    """
    A window that has held failures only is not taken for one that has held all calls.
    """
    breaker = make(window="30s", failure_threshold=50)
    fail(breaker, 20)
    breaker.configure(CircuitBreakerConfig(window="30s", failure_rate=0.9))
    fail(breaker)

    assert (breaker.state, breaker.get_state()["calls"]) == (CLOSED, 1)


def test_options_reach_the_gates(registry):
    """
    New options are in force for decorated functions at their next call.
    """

    @circuit("api", registry=registry)
    def fn():
        return 1

    breaker = registry.circuits["api"]
    pipeline = resilience_of(fn).pipeline
    quiet = [pipeline.quiet is not None]
    breaker.configure(CircuitBreakerConfig(window=10, failure_rate=0.5))
    quiet.append(pipeline.quiet is not None)
    fn()
    calls = breaker.get_state()["calls"]
    breaker.configure(CircuitBreakerConfig(window=10, failure_rate=0.5, mode="disabled"))
    quiet.append(pipeline.quiet is not None)

    assert quiet == [True, False, True]
    assert calls == 1


# -- looking at it -------------------------------------------------------------


def test_get_state_tells_everything(make, clock):
    """
    `get_state` is ready for JSON, and tells what health shows.
    """
    breaker = make(window=4, failure_rate=0.5, min_calls=2, critical=True, open_for=30.0)
    breaker.call(lambda: 1)
    fail(breaker)
    clock.advance(10.0)
    state = json.loads(json.dumps(breaker.get_state()))

    assert state == {
        "name": "api",
        "state": "open",
        "failure_count": 1,
        "success_count": 0,
        "last_failure_time": (clock.now() - timedelta(seconds=10)).isoformat(),
        "last_error": "OSError: down",
        "probe_due": False,
        "retry_after": 20.0,
        "isolated": False,
        "critical": True,
        "mode": "on",
        "rate": 0.5,
        "calls": 2,
        "rejected": 0,
        "late": 0,
        "generation": 1,
    }


def test_repr_tells_what_to_expect(make, clock):
    """
    A breaker's repr tells its state and when it may be probed.
    """
    breaker = make(failure_threshold=1)
    shown = [repr(breaker)]
    fail(breaker)
    shown.append(repr(breaker))
    clock.advance(60.0)
    shown.append(repr(breaker))

    assert shown == [
        "<CircuitBreaker 'api': closed, failures 0>",
        "<CircuitBreaker 'api': open, failures 1, probe in 60 s>",
        "<CircuitBreaker 'api': open, failures 1, probe due>",
    ]


def test_critical_circuit_fails_health(registry):
    """
    An open circuit is a warning in health, a critical one a failure.
    """
    registry.circuit("a").state = OPEN
    warned = registry.health().status
    registry.circuit("b", CircuitBreakerConfig(critical=True)).state = OPEN

    assert (warned, registry.health().status) == ("warn", "fail")


# -- saving --------------------------------------------------------------------


def test_restore_of_an_endless_circuit(make, clock):
    """
    A circuit that never opens by itself comes back so; one that was being probed comes back due all the same.
    """
    breaker, other = make(open_for=math.inf), make(open_for=math.inf)
    breaker.state = OPEN
    saved = breaker.snapshot()
    other.restore(saved)
    clock.advance(1e6)
    endless = other.can_execute()
    breaker.state = HALF_OPEN
    other.restore(breaker.snapshot())

    assert saved["remaining"] is None
    assert not endless
    assert other.get_state()["probe_due"]
    assert other.can_execute()


def test_restore_of_an_isolated_circuit(make):
    """
    An isolated circuit comes back isolated, until it is closed.
    """
    breaker, other = make(), make()
    with breaker.isolate():
        saved = breaker.snapshot()
    other.restore(saved)
    isolated = other.get_state()["isolated"]
    other.close()

    assert isolated
    assert other.get_state()["isolated"] is False


def test_restore_replaces_what_was_counted(make):
    """
    What was counted before a restore is gone, and calls under way belong to the past.
    """
    breaker = make(failure_threshold=5)
    empty = breaker.snapshot()
    fail(breaker, 3)
    permit = breaker.acquire()
    breaker.restore(empty)
    permit.failure(OSError())

    assert breaker.failure_count == 0
    assert (breaker.late, breaker.get_state()["last_failure_time"]) == (1, None)


def test_restore_tells_one_transition(registry, clock):
    """
    A restore that changes the state tells so once, with the seconds that remain; one that does not tells nothing.
    """
    one, other = registry.circuit("one"), registry.circuit("other")
    one.state = OPEN
    clock.advance(20.0)
    saved = one.snapshot()
    with capture_events(registry) as events:
        other.restore(saved)
        other.restore(saved)
        other.restore({"state": "closed"})

    assert [(type(event), event.reason, event.previous) for event in events] == [
        (CircuitOpened, "restored", "closed"),
        (CircuitClosed, "restored", "open"),
    ]
    assert events[0].retry_after == 40.0


def test_restore_keeps_reopenings(make, clock):
    """
    A circuit that has reopened before goes on with its longer open times.
    """
    breaker, other = (make(failure_threshold=1, reopen_factor=2.0) for _ in range(2))
    fail(breaker)
    clock.advance(60.0)
    fail(breaker)
    clock.advance(20.0)
    other.restore(breaker.snapshot())
    first = other.get_state()["retry_after"]
    clock.advance(100.0)
    fail(other)

    assert first == 100.0
    assert other.get_state()["retry_after"] == 240.0


def test_restore_passes_over_what_it_does_not_know(make):
    """
    Fields of another version are passed over, and missing ones read as zero.
    """
    breaker = make()
    breaker.restore({"state": "half_open", "colour": "blue"})

    assert (breaker.state, breaker.get_state()["probe_due"]) == (OPEN, True)


@pytest.mark.parametrize(
    ("saved", "problem"),
    [
        (None, "takes what snapshot() has returned, got None"),
        ({}, "takes what snapshot() has returned, got {}"),
        ({"state": "shut"}, "state must be one of 'closed', 'open', 'half_open'"),
        ({"state": []}, "state must be one of"),
        ({"state": "open", "failures": -1}, "failures must be a whole number from 0"),
        ({"state": "open", "failures": math.inf}, "failures must be a whole number from 0"),
        ({"state": "open", "remaining": math.nan}, "remaining must be seconds"),
        ({"state": "open", "remaining": "soon"}, "remaining must be seconds"),
        ({"state": "open", "isolated": 1}, "isolated must be True or False"),
        ({"state": "open", "last_error": 5}, "last_error must be a string or None"),
        ({"state": "open", "last_failure_age": 1e300}, "last_failure_age must be a number"),
        ({"state": "open", "window": "xx"}, "window must be the list"),
        ({"state": "open", "failures": -1, "late": -1}, "2 problems"),
    ],
    ids=str,
)
def test_restore_refuses_what_no_snapshot_holds(make, saved, problem):
    """
    Anything else is refused with everything that is wrong, and changes nothing.
    """
    breaker = make()
    before = breaker.get_state()
    with pytest.raises(PolicyError) as caught:
        breaker.restore(saved)

    assert "restore() of circuit 'api'" in str(caught.value)
    assert problem in str(caught.value)
    assert breaker.get_state() == before


# -- travelling ----------------------------------------------------------------


@pytest.mark.parametrize(
    "travel",
    [
        copy.copy,
        copy.deepcopy,
        lambda it: pickle.loads(pickle.dumps(it)),
        lambda it: pickle.loads(cloudpickle.dumps(it)),
    ],
    ids=["copy", "deepcopy", "pickle", "cloudpickle"],
)
def test_copies_keep_options_only(make, travel):
    """
    A copy has the name and the options, a state of its own, and the machine's clock.
    """
    breaker = make(failure_threshold=1, counts=OSError)
    fail(breaker)
    other = travel(breaker)

    assert (other.name, other.given, other.state) == (breaker.name, breaker.given, CLOSED)
    assert other.hub is not breaker.hub


@needs_fork
@may_fork
def test_fork_of_a_breaker_that_stands_alone(make):
    """
    In a forked child a breaker works although a thread that does not exist there held its locks.
    """
    breaker = make(failure_threshold=2)
    fail(breaker)
    breaker.hub.on(lambda _event: None)

    def child():
        heard = []
        breaker.hub.on(heard.append, CircuitOpened)
        fail(breaker)
        breaker.pybreaker.open()
        return breaker.state, len(heard)

    with held(breaker._lock, breaker.hub._lock, breaker.hub._outbox._draining):
        told = in_fork(child)

    assert told == str((OPEN, 1))


# -- user code and locks -------------------------------------------------------


def test_no_user_code_runs_under_the_lock(registry):
    """
    Predicates, classifier rules, listeners, functions and an exception's own text run while the lock is free.
    """
    ran = {}

    def note(what):
        ran.setdefault(what, []).append(breaker._lock._is_owned())

    class NoisyError(Exception):
        def __str__(self):
            note("text")
            return "noise"

    class Listener:
        def __init__(self):
            for method in ("before_call", "failure", "success", "state_change"):
                setattr(self, method, lambda *_args, method=method, **_kwargs: note(method))

    def counts(error):
        note("counts")
        return True

    def ignore(error):
        note("ignore")
        return False

    def rule(error):
        note("rule")
        return False

    def work():
        note("function")
        raise NoisyError

    registry.classifier.add(rule, "system")
    registry.on(lambda event: note(type(event).__name__))
    config = CircuitBreakerConfig(
        failure_threshold=1, counts=[counts, "validation"], ignore=ignore, listeners=Listener(), open_for=0
    )
    breaker = registry.circuit("api", config)
    with pytest.raises(NoisyError):
        breaker.call(work)
    with pytest.raises(NoisyError):
        breaker.call(work)
    with breaker:
        pass
    with breaker:
        pass
    hold = breaker.isolate()
    with pytest.raises(CircuitBreakerOpenError):
        breaker.acquire()
    hold.release()

    assert {"counts", "ignore", "rule", "text", "function", "before_call", "failure", "success", "state_change"} <= (
        ran.keys()
    )
    assert {"CircuitOpened", "CircuitHalfOpened", "CircuitClosed", "CallRejected"} <= ran.keys()
    assert not any(any(owned) for owned in ran.values())
    assert breaker.state is CLOSED


def test_cause_is_the_type_until_there_is_a_text(make):
    """
    Whoever is rejected while an exception makes its text hears at least of which type it is.
    """
    seen = []

    class SlowError(Exception):
        def __str__(self):
            seen.append(breaker.last_error)
            return "text"

    breaker = make(failure_threshold=1)
    breaker.acquire().failure(SlowError())

    assert seen[0] == "SlowError"
    assert breaker.last_error == "SlowError: text"


@pytest.mark.parametrize(("newer", "cause"), [([], None), ([OSError("newer")], "OSError: newer")], ids=str)
def test_cause_belongs_to_the_generation_that_it_opened(make, newer, cause):
    """
    A text that is ready only when the circuit has been closed, or opened by another error, is dropped.
    """

    class HealingError(Exception):
        def __str__(self):
            if not healed:
                healed.append(True)
                breaker.close()
                for error in newer:
                    breaker.record_failure(error)
            return "older"

    healed = []
    breaker = make(failure_threshold=1)
    breaker.acquire().failure(HealingError())

    assert healed
    assert (breaker.state, breaker.last_error) == (OPEN if newer else CLOSED, cause)


def test_error_that_lies_about_its_class_counts(make):
    """
    An exception whose ``__class__`` raises is counted like any other, and reaches the caller.
    """

    class LiarError(Exception):
        @property
        def __class__(self):
            raise RuntimeError

    breaker = make(failure_threshold=1)
    with pytest.raises(LiarError):
        breaker.call(partial(raise_, LiarError()))

    assert breaker.state is OPEN


def raise_(error):
    """
    Raise *error*.
    """
    raise error


def test_permit_can_be_given_back_under_the_lock(make):
    """
    A signal handler or the garbage collector may give a permit back while the lock is held, on any thread.
    """
    breaker = make()
    breaker.state = HALF_OPEN
    probe = breaker.acquire()
    with breaker._lock:
        run_threads(probe.release)

    assert breaker.can_execute()


def test_errors_are_not_kept(registry):
    """
    Nothing that outlives a call holds its exception, neither a counted nor an ignored one.
    """
    breaker = registry.circuit("api", CircuitBreakerConfig(failure_threshold=1, ignore=ValueError))
    alive = []

    def call(kind):
        error = kind("gone")
        alive.append(weakref.ref(error))
        with contextlib.suppress(kind), breaker:
            raise error

    class CountedError(Exception):
        pass

    class IgnoredError(ValueError):
        pass

    with capture_events(registry):
        call(IgnoredError)
        call(CountedError)
    gc.collect()

    assert breaker.state is OPEN
    assert [one() for one in alive] == [None, None]


# -- events --------------------------------------------------------------------


@pytest.mark.parametrize("kind", [CircuitOpened, CircuitClosed])
def test_transition_is_told_by_the_operation_that_made_it(registry, kind):
    """
    Whichever thread delivers an event, its ids are those of the operation that it happened in, and of the one around.
    """
    delivering, go_on, queued = threading.Event(), threading.Event(), threading.Event()
    first = registry.circuit("first")
    second = registry.circuit("second", CircuitBreakerConfig(failure_threshold=1, success_threshold=1))
    second.state = HALF_OPEN if kind is CircuitClosed else CLOSED
    events = []

    def slow(event):
        events.append(event)
        if event.circuit == "first":
            delivering.set()
            go_on.wait(PATIENCE)

    registry.on(slow, [CircuitOpened, CircuitClosed])

    @circuit(registry=registry)
    def outer():
        second.call(down if kind is CircuitOpened else int)

    def work():
        with contextlib.suppress(OSError):
            outer()
        queued.set()

    deliverer = threading.Thread(target=first.isolate)
    worker = threading.Thread(target=work)
    deliverer.start()
    assert delivering.wait(PATIENCE)
    worker.start()
    assert queued.wait(PATIENCE)
    go_on.set()
    deliverer.join(PATIENCE)
    worker.join(PATIENCE)

    assert [event.circuit for event in events] == ["first", "second"]
    assert type(events[1]) is kind
    assert events[1].parent == f"{resilience_of(outer).pipeline.uid}-1"


def test_events_come_in_the_order_of_transitions(registry, clock):
    """
    A listener that makes a transition hears of it after the one that it was told of, and so does everybody else.
    """
    breaker = registry.circuit("api")
    heard = []

    def meddler(event):
        if isinstance(event, CircuitOpened):
            breaker.close()

    registry.on(meddler, [CircuitOpened])
    registry.on(lambda event: heard.append(type(event)), [CircuitOpened, CircuitHalfOpened, CircuitClosed])
    breaker.state = OPEN

    assert heard == [CircuitOpened, CircuitClosed]


def test_rejections_of_decorated_functions_are_counted_and_told(registry, clock):
    """
    A rejection is counted, tells when to come back, and there is none in any mode but "on".
    """

    @circuit("api", registry=registry)
    def fn():
        return "value"

    breaker = registry.circuits["api"]
    breaker.state = OPEN
    clock.advance(20.0)
    waits = []
    for _ in range(3):
        with pytest.raises(CircuitBreakerOpenError) as caught:
            fn()
        waits.append(caught.value.retry_after)
    hold = breaker.isolate()
    with pytest.raises(CircuitBreakerOpenError) as isolated:
        fn()
    rejected = breaker.rejected
    breaker.configure(CircuitBreakerConfig(mode="metrics_only"))

    assert waits == [40.0] * 3
    assert isolated.value.retry_after is None
    assert (rejected, resilience_of(fn).stats().rejected) == (4, 4)
    assert fn() == "value"
    hold.release()


def test_only_a_circuit_that_is_open_is_shut(make, clock):
    """
    What turns calls away without asking for admission says until when, and is there while all calls are turned away.
    """
    breaker = make()
    closed = breaker.shut
    breaker.state = OPEN
    opened = breaker.shut.until
    with breaker.isolate():
        isolated = breaker.shut.until
    released = breaker.shut
    breaker.state = OPEN
    breaker.configure(CircuitBreakerConfig(open_for=90.0))
    configured = breaker.shut.until
    breaker.configure(CircuitBreakerConfig(mode="metrics_only"))
    switched = breaker.shut
    breaker.configure(CircuitBreakerConfig(open_for=float("inf")))
    for_ever = breaker.shut.until
    breaker.state = HALF_OPEN

    assert (opened, isolated, configured, for_ever) == (60.0, None, 90.0, None)
    assert [closed, released, switched, breaker.shut] == [None] * 4


def test_open_circuit_and_retry(registry, clock):
    """
    With a retry above, attempts after the one that opened are rejected and not retried.
    """
    calls = []

    @retry(max_attempts=5, initial_delay=1.0, registry=registry)
    @circuit("api", failure_threshold=2)
    def fn():
        calls.append(clock.monotonic())
        raise ConnectionError("down")

    with pytest.raises(CircuitBreakerOpenError):
        fn()

    assert len(calls) == 2


# -- gates and memory ----------------------------------------------------------


def test_owners_are_held_weakly(registry):
    """
    A circuit forgets the functions that are gone, and an unnamed circuit goes with its function.
    """

    @circuit("shared", registry=registry)
    def one():
        return 1

    @circuit("shared", registry=registry)
    def other():
        return 2

    breaker = registry.circuits["shared"]
    both = len(breaker._owners)
    del one
    gc.collect()
    breaker.state = OPEN
    used = breaker.used
    with pytest.raises(CircuitBreakerOpenError):
        other()
    del other
    gc.collect()

    assert both == 2
    assert used
    assert not breaker.used


def test_successes_are_heard_where_a_listener_asks_for_them(registry):
    """
    A listener for successes and a circuit's own count do not come into each other's way.
    """

    @circuit("api", window=10, failure_rate=0.5, registry=registry)
    def fn():
        return 1

    heard = []
    stop = registry.on(heard.append, [CallSucceeded])
    fn()
    stop()
    fn()

    assert len(heard) == 1
    assert registry.circuits["api"].get_state()["calls"] == 2


_MEASURED = """
import gc, sys, tracemalloc
from resilient import CircuitBreaker, CircuitBreakerConfig, Registry

config, registry = CircuitBreakerConfig({options}), Registry()
kept = [CircuitBreaker(f"warm {{number}}", config, registry) for number in range(10)]
gc.collect()
tracemalloc.start()
before = tracemalloc.get_traced_memory()[0]
kept += [CircuitBreaker("measured", config, registry) for _ in range(200)]
print((tracemalloc.get_traced_memory()[0] - before) / 200)
"""


@pytest.mark.parametrize(("options", "limit"), [("", 1600), ("failure_threshold=3, timeout=5", 2300)])
def test_breaker_is_small(options, limit):
    """
    A breaker takes its share of the 4 KiB that a function with all policies may take, and no more.
    """
    # In an interpreter of its own: objects share the keys of their dicts until a test has patched one of them.
    told, _ = python("-c", _MEASURED.format(options=options))

    assert 0 < float(told) < limit


# -- many threads --------------------------------------------------------------


def storm(breaker, clock, threads, rounds):
    """
    Call *breaker* from many threads, and return what each of them met.
    """
    barrier = threading.Barrier(threads, timeout=PATIENCE)
    met = []

    def work(number):
        barrier.wait()
        mine = {"ok": 0, "failed": 0, "rejected": 0}
        for turn in range(rounds):
            # All begin with failures: the circuit opens, however the threads are scheduled.
            failing = (turn // 20) % 3 == 0
            try:
                if (turn + number) % 2:
                    breaker.call(down if failing else int)
                else:
                    with breaker:
                        if failing:
                            down()
                mine["ok"] += 1
            except OSError:
                mine["failed"] += 1
            except CircuitBreakerOpenError:
                mine["rejected"] += 1
                clock.advance(0.5)
        met.append(mine)

    run_threads(*(partial(work, number) for number in range(threads)))
    return {key: sum(one[key] for one in met) for key in met[0]}


def check_storm(registry, clock, threads, rounds):
    """
    Let threads storm a circuit, and look at whether all that it tells fits together.
    """
    events = []
    registry.on(events.append, [CircuitOpened, CircuitHalfOpened, CircuitClosed])
    config = CircuitBreakerConfig(failure_threshold=10, success_threshold=3, half_open_max_calls=2, open_for=5.0)
    breaker = registry.circuit("storm", config)
    total = storm(breaker, clock, threads, rounds)
    moves = [(event.previous, type(event)) for event in events]
    before = ["closed"] + [
        {CircuitOpened: "open", CircuitHalfOpened: "half_open", CircuitClosed: "closed"}[kind] for _, kind in moves
    ]

    assert sum(total.values()) == threads * rounds
    assert breaker.rejected == total["rejected"]
    assert len(moves) > 3
    # Each transition starts where the one before has ended, and they are told in that order.
    assert [previous for previous, _ in moves] == before[:-1]
    assert breaker.get_state()["generation"] == len(moves)
    clock.advance(3600.0)
    assert [breaker.can_execute() for _ in range(3)] == [True] * 3


@pytest.mark.usefixtures("switches")
def test_threads_agree(registry, clock):
    """
    Eight threads through one circuit: every call is counted once, and every transition told once and in order.
    """
    check_storm(registry, clock, threads=8, rounds=60)


@pytest.mark.slow
@pytest.mark.usefixtures("switches")
def test_many_threads_agree(registry, clock):
    """
    Thirty-two threads through one circuit: every call is counted once, and every transition told once and in order.
    """
    check_storm(registry, clock, threads=32, rounds=600)


def test_calls_do_not_wait_for_each_other(make):
    """
    Thirty-two threads can be inside the same circuit's functions at the same time.
    """
    breaker = make()
    barrier = threading.Barrier(32, timeout=PATIENCE)
    run_threads(*[partial(breaker.call, barrier.wait)] * 32)

    assert breaker.failure_count == 0
