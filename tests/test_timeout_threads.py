"""
``@timeout(..., in_thread=True)``: sync calls in threads of their own, and those that are left behind.
"""

from __future__ import annotations

import contextvars
import functools
import sys
import textwrap
import threading
import time
from concurrent.futures import Future

import pytest

from resilient import CallTimeoutError, Registry, circuit, fallback_chain, governed, recoverable, retry, timeout
from resilient.clock import SYSTEM_CLOCK
from resilient.drivers import run
from resilient.events import OperationFailed
from resilient.policies.base import Await, Call, Raised, Returned
from resilient.testing import FakeClock, capture_events
from resilient.timeouts import ThreadLimitError
from tests.harness import (
    PATIENCE,
    Colour,
    Hang,
    Hanging,
    caught,
    in_fork,
    may_fork,
    needs_fork,
    python,
    run_threads,
    script,
    state,
)


@pytest.fixture
def stuck(clock):
    """
    Return what makes sync functions whose calls hang; at the end all are let go.
    """
    maker = Hanging(Colour("sync"), clock)
    yield maker
    maker.let_go.set()


def ended(policy):
    """
    Wait until no thread of *policy* that was left behind runs any more.
    """
    until = time.monotonic() + PATIENCE
    while policy.abandoned():
        assert time.monotonic() < until, "they still run"
        threading.Event().wait(0.001)


def test_a_call_runs_in_a_thread_of_its_own(registry):
    """
    Its name tells whose it is, and it does not keep the process from ending.
    """

    @timeout(5, in_thread=True, registry=registry)
    def fn():
        thread = threading.current_thread()
        return thread.name, thread.daemon, thread is threading.main_thread()

    assert fn() == (f"timeout of {fn.resilience.name}", True, False)


def test_on_the_machines_clock_the_caller_has_its_error_on_time():
    """
    The thread that hangs is nobody's to wait for.
    """
    let_go = threading.Event()
    fn = timeout(0.01, in_thread=True, registry=Registry())(lambda: let_go.wait(PATIENCE))
    try:
        assert type(caught(fn)) is CallTimeoutError
        assert not let_go.is_set()
    finally:
        let_go.set()


def test_on_a_clock_of_tests_the_machines_time_counts_as_well(registry):
    """
    Who hangs while nobody moves the clock is given up on all the same.
    """
    let_go = threading.Event()
    fn = timeout(0.01, in_thread=True, registry=registry)(lambda: let_go.wait(PATIENCE))
    try:
        assert type(caught(fn)) is CallTimeoutError
    finally:
        let_go.set()


def test_a_result_that_came_too_late_is_none(clock, registry):
    """
    The call took longer than it may, though nobody has noticed before it returned.
    """
    fn = timeout(5, in_thread=True, registry=registry)(lambda: clock.advance(6) or "done")

    assert type(caught(fn)) is CallTimeoutError
    assert fn.resilience.policies[0].abandoned() == 0


def test_context_variables_are_seen_in_the_thread(registry):
    """
    The call sees the caller's values; what it sets is its own.
    """
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    @timeout(5, in_thread=True, registry=registry)
    def fn():
        seen.append(variable.get())
        variable.set("the thread's")

    variable.set("the caller's")
    fn()

    assert seen == ["the caller's"]
    assert variable.get() == "the caller's"


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt("x"), SystemExit(3), GeneratorExit(), BaseExceptionGroup("x", [KeyboardInterrupt()])]
)
def test_what_is_no_exception_leaves_the_thread_as_itself(registry, error):
    """
    It is raised in the caller, unwrapped, and nothing is called after it or counted.
    """
    work = script(error)
    fn = retry(registry=registry)(circuit("c")(timeout(5, in_thread=True)(work)))

    assert caught(fn) is error
    assert work.calls == 1
    assert (state(registry)["failure_count"], fn.resilience.stats().failures) == (0, 0)
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize("error", [StopIteration("x"), StopAsyncIteration("x"), TimeoutError("its own")])
def test_errors_of_the_call_are_its_own(registry, error):
    """
    Whatever their class means to generators and to futures.
    """
    fn = timeout(5, in_thread=True, registry=registry)(script(error))

    assert caught(fn) is error


# -- threads that were left behind --------------------------------------------------


def test_threads_that_hang_are_counted_until_they_end(registry, stuck):
    """
    In health too, which warns of them.
    """
    fn = timeout(2, in_thread=True, registry=registry)(stuck.of(Hang(2)))
    [policy] = fn.resilience.policies
    name = f"timeout of {fn.resilience.name}"
    passes = {"status": "pass", "abandoned_threads": 0, "max_threads": 64}

    assert registry.health().checks[name] == passes
    for number in (1, 2):
        assert type(caught(fn)) is CallTimeoutError
        assert policy.abandoned() == number
    assert registry.health().checks[name] == {**passes, "status": "warn", "abandoned_threads": 2}
    assert registry.health().status == "warn"
    stuck.let_go.set()
    ended(policy)
    assert registry.health().checks[name] == passes


def test_async_limits_have_nothing_to_tell_health(registry):
    """
    They leave no thread behind.
    """

    async def work():
        """
        Do nothing.
        """

    fn = timeout(2, registry=registry)(work)

    assert registry.functions[fn.resilience.name] is fn.resilience
    assert registry.health().checks == {}


def test_past_the_limit_calls_are_refused(registry, stuck):
    """
    The function is not called, and the error says how many threads hang.
    """
    work = stuck.of(Hang(2))
    fn = timeout(2, in_thread=True, max_threads=2, registry=registry)(work)
    caught(fn)
    caught(fn)
    error = caught(fn)

    assert (type(error), error.function) == (ThreadLimitError, fn.resilience.name)
    assert (error.threads, error.abandoned) == (2, 2)
    assert (work.calls(), fn.resilience.stats().rejected) == (2, 1)


def test_calls_under_way_take_a_thread_too(registry, stuck):
    """
    However many come at once, there are no more threads than were allowed.
    """
    work = stuck.of(*[Hang(2)] * 8)
    fn = timeout(2, in_thread=True, max_threads=3, registry=registry)(work)
    errors = []
    try:
        run_threads(*[lambda: errors.append(type(caught(fn)))] * 8)
    finally:
        stuck.let_go.set()

    assert sorted(errors, key=str) == [CallTimeoutError] * work.calls() + [ThreadLimitError] * (8 - work.calls())
    assert 1 <= work.calls() <= 3


def test_a_call_takes_one_thread_under_two_limits(registry, stuck):
    """
    The attempt's and the total one are of the same call.
    """
    fn = timeout(2, in_thread=True, max_threads=1, registry=registry)(stuck.of("done", "done"))
    fn = timeout(5, in_thread=True, max_threads=1)(retry(fn))

    assert [fn(), fn()] == ["done", "done"]


def test_threads_outlive_the_policy_that_left_them(registry, stuck):
    """
    Where other options are declared for the function, they count as before, in health and against the limit.
    """
    fn = governed(registry=registry)(stuck.of(Hang(2)))
    for seconds in (2, 3):
        table = {"seconds": seconds, "in_thread": True, "max_threads": 1}
        registry.configure({"functions": {"*:*": {"timeout": table}}})
        caught(fn)

        assert type(caught(fn)) is ThreadLimitError
        assert fn.resilience.policies[0].abandoned() == 1


def test_a_callable_that_cannot_be_a_key_has_its_threads_counted_too(registry):
    """
    One that refuses to be hashed is called like any other.
    """

    class Work:
        """
        A callable object without a hash.
        """

        __hash__ = None

        def __call__(self):
            """
            Do the work.
            """
            return "done"

    fn = timeout(2, in_thread=True, registry=registry)(Work())

    assert fn() == "done"


def test_a_refusal_is_a_rejection(registry, stuck):
    """
    No failure to a circuit, no error in analytics, not retried, not recovered from; a fallback stands in.
    """
    work = stuck.of(Hang(2))
    recovered = []
    registry.playbooks.step("network", name="r", before="retry_connection")(lambda _: recovered.append(True))
    fn = timeout(2, in_thread=True, max_threads=1, registry=registry)(work)
    fn = recoverable(retry(max_attempts=2, initial_delay=0)(circuit("c", success_threshold=1)(fn)))
    caught(fn)
    failures, errors = state(registry)["failure_count"], registry.analytics.total_errors
    recovered.clear()
    # The second attempt of the first call was refused already.
    assert (work.calls(), failures, errors) == (1, 1, 1)
    registry.circuits["c"].state = "half_open"
    with capture_events(registry) as events:
        assert type(caught(fn)) is ThreadLimitError

    assert work.calls() == 1
    assert (state(registry)["state"], registry.circuits["c"].can_execute()) == ("half_open", True)
    assert registry.analytics.total_errors == errors
    assert recovered == []
    assert [type(event) for event in events] == [OperationFailed]
    assert fallback_chain(lambda: "stand-in")(fn)() == "stand-in"


def test_when_one_ends_calls_are_made_again(registry, stuck):
    """
    The limit is on those that still run.
    """
    fn = timeout(2, in_thread=True, max_threads=1, registry=registry)(stuck.of(Hang(2), "done"))
    caught(fn)
    assert type(caught(fn)) is ThreadLimitError
    stuck.let_go.set()
    ended(fn.resilience.policies[0])

    assert fn() == "done"


@pytest.mark.usefixtures("switches")
def test_none_is_lost_when_many_are_left_behind_at_once(clock, registry):
    """
    Each thread that gives up counts its own.
    """
    hang, let_go = [], threading.Event()

    @timeout(2, in_thread=True, max_threads=1000, registry=registry)
    def fn():
        hang.append(True)
        let_go.wait(PATIENCE)

    def move():
        while len(hang) < 32:
            let_go.wait(0.001)
        clock.advance(2)

    try:
        run_threads(move, *[functools.partial(caught, fn)] * 32)

        assert fn.resilience.policies[0].abandoned() == 32
    finally:
        let_go.set()


def test_a_thread_that_cannot_be_started_is_none_that_hangs(registry, monkeypatch):
    """
    The system's error is raised as itself, and the circuit's permit is free.
    """
    fn = circuit("c", registry=registry)(timeout(2, in_thread=True)(script("done")))

    def refuse(_self):
        message = "can't start new thread"
        raise RuntimeError(message)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    error = caught(fn)

    assert str(error) == "can't start new thread"
    assert fn.resilience.policies[1].abandoned() == 0
    assert registry.circuits["c"].can_execute()


# -- the moment when time is up --------------------------------------------------


def plan_of(fn, work, args=()):
    """
    Return the plan of *fn*'s limit, and its operation, around one call of *work*.
    """

    def inner(op, args, _kwargs):
        op.attempts += 1
        return (yield Call(work, args))

    [policy] = fn.resilience.policies
    op = fn.resilience.pipeline.operation(1)
    return policy.plan(op, args, {}, inner), op


def test_a_result_that_is_there_when_the_wait_has_timed_out_counts(registry):
    """
    Between the two looks at it, it may have come: the call is not lost.
    """
    fn = timeout(5, in_thread=True, registry=registry)(script())
    plan, _ = plan_of(fn, lambda: "done")
    command = plan.send(None)
    command.future.result(PATIENCE)
    again = plan.send(Raised(TimeoutError()))

    assert (type(again), again.future, again.timeout) == (Await, command.future, None)
    with pytest.raises(StopIteration) as stop:
        plan.send(Returned(None))
    assert stop.value.value.value == "done"


def test_a_result_that_came_after_time_was_up_is_none_when_the_wait_has_not_noticed(clock, registry):
    """
    When it came is noted in the thread, so who wakes late, or early, decides the same.
    """
    fn = timeout(5, in_thread=True, registry=registry)(script())
    plan, op = plan_of(fn, lambda: clock.advance(5) or "done")
    plan.send(None).future.result(PATIENCE)
    with pytest.raises(StopIteration) as stop:
        plan.send(Returned(None))

    assert type(stop.value.value.error) is CallTimeoutError
    assert (op.failures, fn.resilience.policies[0].abandoned()) == (1, 0)


def test_an_interruption_that_is_there_when_the_wait_has_timed_out_is_raised(registry):
    """
    So is what was no Exception.
    """
    error = KeyboardInterrupt()
    fn = timeout(5, in_thread=True, registry=registry)(script())
    plan, _ = plan_of(fn, script(error))
    command = plan.send(None)
    caught(command.future.result, PATIENCE)
    again = plan.send(Raised(TimeoutError()))

    assert caught(again.future.result) is error
    plan.close()
    assert fn.resilience.policies[0].abandoned() == 0


def test_a_future_that_is_done_when_the_wait_has_timed_out_is_not_up(registry):
    """
    What others work at, and what is below waits for, is handed on when it came in time.
    """
    future = Future()

    def inner(_op, _args, _kwargs):
        return (yield Await(future))

    async def work():
        """
        Do nothing.
        """

    fn = timeout(5, registry=registry)(work)
    [policy] = fn.resilience.policies
    plan = policy.plan(fn.resilience.pipeline.operation(1), (), {}, inner)
    command = plan.send(None)
    future.set_result("shared")

    assert command.timeout == 5.0
    assert plan.send(Raised(TimeoutError())).timeout is None
    with pytest.raises(StopIteration) as stop:
        plan.send(Returned("shared"))
    assert stop.value.value.value == "shared"


@pytest.mark.parametrize("clock", [SYSTEM_CLOCK, FakeClock()], ids=["system clock", "fake clock"])
def test_a_wait_without_time_looks_once(clock):
    """
    What is there is taken; what is not has timed out.
    """
    future = Future()

    def plan():
        return (yield Await(future, 0.0))

    assert type(run(plan(), clock).error) is TimeoutError
    future.set_result("there")
    assert run(plan(), clock).value == "there"


def test_a_wait_ends_where_the_clock_of_tests_says(clock):
    """
    Whoever began to count before the wait began says until when.
    """

    def plan():
        return (yield Await(Future(), 60.0, until=5.0))

    clock.advance(5.0)

    assert type(run(plan(), clock).error) is TimeoutError


def test_a_wait_ends_when_the_clock_of_tests_is_moved(clock):
    """
    By another thread, which is what a call that hangs has for it.
    """

    def plan():
        return (yield Await(Future(), 60.0))

    mover = threading.Timer(0.01, clock.advance, (60.0,))
    mover.start()

    assert type(run(plan(), clock).error) is TimeoutError
    mover.join()


# -- processes --------------------------------------------------


def test_a_process_ends_though_a_thread_hangs():
    """
    Nobody waits for it, and nothing is said on the way out.
    """
    code = """
        import threading
        from resilient import CallTimeoutError, timeout

        @timeout(0.01, in_thread=True)
        def hang():
            threading.Event().wait()

        try:
            hang()
        except CallTimeoutError as error:
            print(error)
    """
    out, err = python("-X", "dev", "-W", "error", "-c", textwrap.dedent(code), env={"PYTHONPATH": ":".join(sys.path)})

    assert out == "__main__:hang took longer than 0.01 s\n"
    assert "Traceback" not in err


@needs_fork
@may_fork
def test_a_forked_child_has_no_thread_that_hangs(registry, stuck):
    """
    They are the parent's; the child may call.
    """
    fn = timeout(2, in_thread=True, max_threads=1, registry=registry)(stuck.of(Hang(2), "done"))
    [policy] = fn.resilience.policies
    caught(fn)

    assert in_fork(lambda: (policy.abandoned(), fn())) == "(0, 'done')"
    assert policy.abandoned() == 1
