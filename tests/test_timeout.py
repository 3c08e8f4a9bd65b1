"""
``@timeout``: the limit of an attempt, the limit of everything, and what is told and counted when it ends a call.
"""

from __future__ import annotations

import ast
import copy
import functools
import os
import pickle
import sys
import textwrap
import traceback
import warnings
import weakref
from datetime import timedelta
from pathlib import Path

import pytest

import resilient
from resilient import (
    CallRejectedError,
    CallTimeoutError,
    DecorationError,
    Fallback,
    PolicyError,
    PolicyOrderWarning,
    circuit,
    degradable,
    fallback_chain,
    recoverable,
    retry,
    timeout,
)
from resilient.classify import Transient
from resilient.errorinfo import ErrorCategory
from resilient.errors import ResilientError
from resilient.events import AttemptFailed, OperationFailed, RetriesExhausted, RetryScheduled
from resilient.testing import capture_events, disabled, inject, ok
from resilient.timeouts import ThreadLimitError
from tests.harness import Hang, Tensor, caught, python, script, state

# -- the limit of one attempt --------------------------------------------------


def test_a_call_in_time_is_left_alone(colour, clock, registry, hanging):
    """
    Its value and its errors are its own, and the clock stands where it stood.
    """
    work = hanging.of("done", None, LookupError("x"))
    fn = hanging.limit(5, registry=registry)(work)

    assert (colour.call(fn), colour.call(fn)) == ("done", None)
    assert type(caught(colour.call, fn)) is LookupError
    assert clock.monotonic() == 0.0
    assert (fn.resilience.stats().calls, fn.resilience.stats().failures) == (3, 1)


def test_a_call_that_hangs_is_given_up_on(colour, clock, registry, hanging):
    """
    The error names the function and the limit, and is a TimeoutError.
    """
    fn = hanging.limit("5s", registry=registry)(hanging.of(Hang(5)))
    error = caught(colour.call, fn)

    assert type(error) is CallTimeoutError
    assert isinstance(error, TimeoutError)
    assert str(error) == f"{fn.resilience.name} took longer than 5 s"
    assert (error.function, error.seconds, error.errno) == (fn.resilience.name, 5.0, None)
    assert (error.__cause__, error.__context__) == (None, None)
    assert clock.monotonic() == 5.0


def test_below_retry_each_attempt_has_the_limit(colour, clock, registry, hanging):
    """
    An attempt that hangs is a failed one, and the next has all of the time again.
    """
    work = hanging.of(Hang(2), Hang(2), "done")
    fn = retry(max_attempts=3, initial_delay=1, jitter=False, registry=registry)(hanging.limit(2)(work))

    assert colour.call(fn) == "done"
    assert clock.monotonic() == 2 + 1 + 2 + 2
    stats = fn.resilience.stats()
    assert (stats.attempts, stats.retries, stats.recovered, stats.failures, stats.rejected) == (3, 2, 1, 0, 0)


def test_when_attempts_run_out_the_last_limit_is_raised_with_a_note(colour, registry, hanging):
    """
    As with every other error.
    """
    fn = retry(max_attempts=2, initial_delay=1, jitter=False, registry=registry)(hanging.limit(2)(hanging.of(Hang(2))))
    error = caught(colour.call, fn)

    assert type(error) is CallTimeoutError
    assert error.__notes__ == ["resilient: gave up after 2 attempts, 3 s after the first failure"]


def test_below_a_circuit_an_attempt_that_is_cut_off_is_a_failure(colour, registry, hanging):
    """
    So a server that hangs opens its circuit.
    """
    fn = circuit("c", failure_threshold=2, registry=registry)(hanging.limit(2)(hanging.of(Hang(2))))
    for _ in range(2):
        assert type(caught(colour.call, fn)) is CallTimeoutError

    assert (state(registry)["state"], state(registry)["failure_count"]) == ("open", 2)
    assert "took longer than 2 s" in registry.circuits["c"].last_error


def test_it_is_an_error_of_the_network_that_may_pass(colour, registry, hanging):
    """
    Category network, transient; analytics count it once.
    """
    fn = hanging.limit(2, registry=registry)(hanging.of(Hang(2)))
    verdict = registry.classifier.classify(caught(colour.call, fn))

    assert (verdict.category, verdict.transient) == (ErrorCategory.NETWORK, Transient.YES)
    report = registry.analytics.generate_report()
    assert registry.analytics.total_errors == 1
    assert "CallTimeoutError" in str(report)


@pytest.mark.parametrize("on", [CallTimeoutError, TimeoutError, "network", (LookupError, CallTimeoutError)])
def test_on_may_name_it(colour, registry, hanging, on):
    """
    By its type, by a base or by its category.
    """
    fn = retry(on=on, initial_delay=0, registry=registry)(hanging.limit(2)(hanging.of(Hang(2), "done")))

    assert colour.call(fn) == "done"


def test_on_may_leave_it_out(colour, registry, hanging):
    """
    What is not named is not retried.
    """
    work = hanging.of(Hang(2), "done")
    fn = retry(on=LookupError, initial_delay=0, registry=registry)(hanging.limit(2)(work))

    assert type(caught(colour.call, fn)) is CallTimeoutError
    assert work.calls() == 1


def test_a_fallback_stands_in_for_it(colour, registry, hanging):
    """
    A chain above is asked as soon as time is up.
    """
    fn = fallback_chain(Fallback(script("stand-in"), on=CallTimeoutError), registry=registry)(
        hanging.limit(2)(hanging.of(Hang(2)))
    )

    assert colour.call(fn) == "stand-in"


def test_recovery_sees_it(colour, registry, hanging):
    """
    The playbook of its category is walked, and the call made again.
    """
    seen = []
    step = registry.playbooks.step("network", name="wake", before="retry_connection")
    step(lambda ctx: seen.append(ctx.error.error_type) or True)
    fn = recoverable(registry=registry)(hanging.limit(2)(hanging.of(Hang(2), "done")))

    assert colour.outcome(fn).route == "recovery:wake"
    assert seen == ["CallTimeoutError"]


# -- the limit of everything --------------------------------------------------


def under_total(registry, hanging, *outcomes, limit=5, delay=1.0):
    """
    Return a function under a total limit, and what is called.
    """
    work = hanging.of(*outcomes)
    fn = circuit("c", failure_threshold=50, success_threshold=1, registry=registry)(work)
    fn = retry(max_attempts=3, initial_delay=delay, jitter=False, registry=registry)(fn)
    return hanging.limit(limit, registry=registry)(fn), work


def test_above_retry_it_limits_all_attempts_and_waits(colour, clock, registry, hanging):
    """
    What is left after one attempt and one wait is all that the next one has.
    """
    fn, work = under_total(registry, hanging, ConnectionError(), Hang(4))
    error = caught(colour.call, fn)

    assert (type(error), error.seconds) == (CallTimeoutError, 5.0)
    assert not hasattr(error, "__notes__")
    assert (clock.monotonic(), work.calls()) == (5.0, 2)
    stats = fn.resilience.stats()
    assert (stats.attempts, stats.retries, stats.failures, stats.recovered) == (2, 1, 1, 0)


def test_a_total_limit_closes_what_is_below(colour, registry, hanging):
    """
    The circuit's permit is given back; it counts neither a failure nor a success.
    """
    fn, _ = under_total(registry, hanging, Hang(5), "done")
    registry.circuits["c"].state = "half_open"

    assert type(caught(colour.call, fn)) is CallTimeoutError
    assert (state(registry)["state"], state(registry)["failure_count"]) == ("half_open", 0)
    assert registry.circuits["c"].can_execute()
    assert colour.call(fn) == "done"
    assert state(registry)["state"] == "closed"


@pytest.mark.parametrize("delay", [5.0, 60.0])
def test_a_total_limit_cuts_a_wait_short(colour, clock, registry, hanging, delay):
    """
    One that leaves nothing for the attempt after it is not waited out, and that attempt not begun.
    """
    fn, work = under_total(registry, hanging, ConnectionError("reset"), delay=delay)

    assert type(caught(colour.call, fn)) is CallTimeoutError
    assert (clock.monotonic(), work.calls(), fn.resilience.stats().attempts) == (5.0, 1, 1)
    assert registry.circuits["c"].failure_count == 1
    assert registry.analytics.total_errors == 2


def test_an_attempt_that_time_has_left_nothing_for_is_none(colour, clock, registry, hanging):
    """
    Where deciding about the first has taken all of the time, there is no second one, in the counts either.
    """
    work = hanging.of(ConnectionError())
    fn = retry(on=lambda _: clock.advance(5) or True, initial_delay=0)(circuit("c", registry=registry)(work))
    fn = hanging.limit(5)(fn)
    with capture_events(registry) as events:
        outcome = colour.outcome(fn)

    assert type(outcome.error) is CallTimeoutError
    assert (work.calls(), outcome.attempts, fn.resilience.stats().attempts) == (1, 1, 1)
    assert len([event for event in events if isinstance(event, AttemptFailed)]) == 1
    assert registry.circuits["c"].failure_count == 1


def test_a_total_limit_cuts_off_a_fallback(colour, clock, registry, hanging):
    """
    Fallbacks below it share the time.
    """
    second = script("never")
    with pytest.warns(PolicyOrderWarning, match="cuts off the fallbacks as well"):
        fn = hanging.limit(5, registry=registry)(
            fallback_chain(hanging.of(Hang(5)), second)(hanging.of(ConnectionError()))
        )

    assert type(caught(colour.call, fn)) is CallTimeoutError
    assert (clock.monotonic(), second.calls) == (5.0, 0)


@pytest.mark.parametrize("scope", ["call", "shared"])
def test_a_total_limit_cuts_off_a_recovery_step(colour, clock, registry, hanging, scope):
    """
    The call is over, and the next one may recover.
    """
    step = hanging.of(Hang(5), True)
    registry.playbooks.step("network", name="hangs", before="retry_connection", scope=scope, timeout=600)(step)
    work = hanging.of(ConnectionError(), ConnectionError(), "done")
    fn = hanging.limit(5)(recoverable(registry=registry)(work))

    assert type(caught(colour.call, fn)) is CallTimeoutError
    assert (clock.monotonic(), work.calls()) == (5.0, 1)
    assert colour.call(fn) == "done"


def test_the_limit_of_a_step_holds_below_a_longer_one(colour, clock, registry):
    """
    A step that takes longer than it may fails, and the call goes on to the next one.
    """
    if not colour.is_async:
        pytest.skip("a sync step has no limit")
    hangs = script()

    async def step(_):
        hangs.calls += 1
        await clock.asleep(60)

    registry.playbooks.step("network", name="hangs", before="retry_connection", timeout=2)(step)
    registry.playbooks.step("network", name="helps", before="retry_connection")(lambda _: True)
    work = script(ConnectionError(), "done")
    fn = timeout(5)(recoverable(registry=registry)(colour.of(work)))

    assert colour.outcome(fn).route == "recovery:helps"
    assert (clock.monotonic(), hangs.calls) == (2.0, 1)


# -- one limit within another --------------------------------------------------


@pytest.mark.parametrize(("inner", "outer", "whose"), [(2, 5, 2), (5, 2, 2), (3, 3, 3)])
@pytest.mark.filterwarnings("ignore::resilient.PolicyOrderWarning")
def test_of_two_limits_the_shorter_ends_the_call(colour, clock, registry, hanging, inner, outer, whose):  # noqa: PLR0917 - fixtures
    """
    Its seconds are in the error.
    """
    work = hanging.of(Hang(whose))
    fn = hanging.limit(outer, registry=registry)(hanging.limit(inner)(work))
    with capture_events(registry) as events:
        error = caught(colour.call, fn)

    assert (type(error), error.seconds, clock.monotonic()) == (CallTimeoutError, whose, whose)
    assert [type(event) for event in events] == [AttemptFailed, OperationFailed]
    assert registry.analytics.total_errors == 1


def test_attempts_and_everything_may_both_be_limited(colour, clock, registry, hanging):
    """
    Two attempts are cut off by their own limit, and the third by what is left of all.
    """
    work = hanging.of(Hang(2), Hang(2), Hang(1))
    fn = retry(max_attempts=9, initial_delay=1, jitter=False, exponential_base=1, registry=registry)(
        hanging.limit(2)(work)
    )
    fn = hanging.limit(7)(fn)
    with capture_events(registry) as events:
        error = caught(colour.call, fn)

    assert (error.seconds, clock.monotonic(), work.calls()) == (7.0, 7.0, 3)
    failed = [event.error.error_message for event in events if isinstance(event, AttemptFailed)]
    name = fn.resilience.name
    assert failed == [f"{name} took longer than {seconds} s" for seconds in (2, 2, 7)]


@pytest.mark.parametrize(("inner", "outer", "whose"), [(2, 5, "inner"), (5, 2, "outer")])
def test_functions_within_one_another_have_each_their_own(colour, clock, registry, hanging, inner, outer, whose):  # noqa: PLR0917 - fixtures
    """
    The inner one's error is an error like any other to the outer one.
    """
    within = hanging.limit(inner, registry=registry)(hanging.of(Hang(2)))

    def call():
        return within()

    async def acall():
        return await within()

    around = hanging.limit(outer, registry=registry)(acall if colour.is_async else call)
    error = caught(colour.call, around)
    function = {"inner": within, "outer": around}[whose].resilience.name

    assert (error.function, error.seconds, clock.monotonic()) == (function, 2.0, 2.0)
    assert registry.analytics.total_errors == 1


# -- what is told --------------------------------------------------


def test_events_tell_of_each_attempt(colour, registry, hanging):
    """
    A limit has no event of its own: the attempt, or the operation, has failed.
    """
    fn = retry(max_attempts=2, initial_delay=1, jitter=False, registry=registry)(hanging.limit(2)(hanging.of(Hang(2))))
    with capture_events(registry) as events:
        caught(colour.call, fn)

    kinds = [AttemptFailed, RetryScheduled, AttemptFailed, RetriesExhausted, OperationFailed]
    assert [type(event) for event in events] == kinds
    assert {event.error.error_type for event in events} == {"CallTimeoutError"}
    assert {event.error.category for event in events} == {ErrorCategory.NETWORK}


def test_an_outcome_tells_of_it(colour, registry, hanging):
    """
    ``outcome()`` has each step, and what came of them.
    """
    fn = retry(max_attempts=2, initial_delay=1, jitter=False, registry=registry)(
        hanging.limit(2)(hanging.of(Hang(2), "done"))
    )

    assert str(colour.outcome(fn)).splitlines() == [
        f"attempt 1 raised CallTimeoutError: {fn.resilience.name} took longer than 2 s",
        "  next attempt in 1 s",
        "returned by retry after 2 attempts, 3 s",
    ]


# -- the errors --------------------------------------------------


ERRORS = [CallTimeoutError("m:f", 2.5), ThreadLimitError("m:f", 16, 3)]
COPIES = [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]


@pytest.mark.parametrize("make", COPIES)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_can_be_copied_and_pickled(error, make):
    """
    A copy says and holds the same, notes included.
    """
    error.__notes__ = ["resilient: gave up"]
    same = make(error)

    assert type(same) is type(error)
    assert (str(same), vars(same)) == (str(error), vars(error))


def test_what_the_errors_are():
    """
    The one is a failure of the call, the other a refusal to make it.
    """
    assert CallTimeoutError.__mro__[1:3] == (ResilientError, TimeoutError)
    assert issubclass(ThreadLimitError, CallRejectedError)
    assert (CallTimeoutError.is_failure, ThreadLimitError.is_failure) == (True, False)
    assert str(ERRORS[1]) == (
        "m:f is not called: its calls take all of max_threads=16, and @timeout gave up on 3 of them; give what it calls"
        " a timeout of its own, or allow more"
    )


# -- frames --------------------------------------------------


def our_frames(error):
    """
    Return how many of the library's frames the error's traceback has.
    """
    return sum("/resilient/" in frame.filename for frame in traceback.extract_tb(error.__traceback__))


@pytest.mark.parametrize("error", [ConnectionError, KeyboardInterrupt, SystemExit])
def test_an_error_has_two_frames_of_ours(colour, registry, hanging, error):
    """
    Whatever it is, and whichever limits it has passed.
    """
    plain = hanging.limit(5, registry=registry)(hanging.of(error()))
    stacked = hanging.limit(9)(retry(max_attempts=1)(hanging.limit(5, registry=registry)(hanging.of(error()))))
    late = hanging.limit(5, registry=registry)(hanging.of(Hang(5)))

    assert our_frames(caught(colour.call, plain)) <= 2
    assert our_frames(caught(colour.call, stacked)) <= 2
    assert our_frames(caught(colour.call, late)) <= 2


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("hangs", [True, False])
def test_what_a_failed_attempt_held_is_free_before_the_next(colour, registry, hanging, hangs):
    """
    Cut off or failed in time; what a thread that still hangs holds cannot be freed.
    """
    if hangs and not colour.is_async:
        pytest.skip("the thread still has it")
    refs, seen = [], []
    pause = hanging.of(Hang())

    def fail():
        seen.append([ref for ref in refs if ref() is not None])
        tensor = Tensor()
        refs.append(weakref.ref(tensor))
        raise ConnectionError

    async def hang():
        seen.append([ref for ref in refs if ref() is not None])
        tensor = Tensor()
        refs.append(weakref.ref(tensor))
        await pause()

    fn = retry(max_attempts=3, initial_delay=0, registry=registry)(hanging.limit(5)(hang if hangs else colour.of(fail)))
    colour.outcome(fn)

    assert seen == [[], [], []]


# -- what it goes on --------------------------------------------------


def test_it_goes_on_whatever_can_be_called(colour, registry, hanging):
    """
    Methods, class methods, static methods, partials and callable objects, whichever decorator is above.
    """
    work = hanging.of(Hang(2))
    limit = hanging.limit(2, registry=registry)

    if colour.is_async:

        class Engine:
            @limit
            async def method(self):
                return await work()

            @classmethod
            @limit
            async def under(cls):
                return await work()

            @limit
            @staticmethod
            async def over() -> object:
                return await work()

            async def __call__(self):
                return await work()

    else:

        class Engine:
            @limit
            def method(self):
                return work()

            @classmethod
            @limit
            def under(cls):
                return work()

            @limit
            @staticmethod
            def over() -> object:
                return work()

            def __call__(self):
                return work()

    engine = Engine()
    called = [engine.method, Engine.under, engine.over, limit(functools.partial(work)), limit(engine)]

    assert [type(caught(colour.call, fn)) for fn in called] == [CallTimeoutError] * 5


def test_without_policies_there_is_no_limit(colour, clock, registry, hanging):
    """
    ``disabled()`` calls the function itself, on the caller's own thread.
    """
    work = hanging.of("done")
    fn = hanging.limit(5, registry=registry)(work)
    with disabled():
        assert colour.call(fn) == "done"

    assert fn.resilience.stats().attempts == 1


def test_the_variable_switches_limits_off(colour):
    """
    Under ``RESILIENT_DISABLED=1`` a sync function runs on its caller's thread, an async one for as long as it takes.
    """
    code = """
        import asyncio, threading
        from resilient import timeout

        @timeout(0.001, in_thread=True)
        def sync():
            return threading.current_thread() is threading.main_thread()

        @timeout(0.001)
        async def asynchronous():
            await asyncio.sleep(0.01)
            return True

        print(sync() if %r == "sync" else asyncio.run(asynchronous()))
    """ % ("async" if colour.is_async else "sync")
    out, _ = python(
        "-c", textwrap.dedent(code), env={"PYTHONPATH": os.pathsep.join(sys.path), "RESILIENT_DISABLED": "1"}
    )

    assert out == "True\n"


def test_injected_outcomes_go_through_it(colour, registry, hanging):
    """
    A test needs nothing that hangs.
    """
    fn = retry(initial_delay=0, registry=registry)(hanging.limit(5)(hanging.of("real")))
    with inject(fn, [CallTimeoutError("m:f", 5.0), ok]):
        assert colour.outcome(fn).attempts == 2


# -- options --------------------------------------------------


def sync():
    """
    Return at once.
    """


async def asynchronous(steps=1):
    """
    Return at once.
    """


@pytest.mark.parametrize(
    "seconds", [2, 2.0, "2s", "2000ms", timedelta(seconds=2)], ids=["int", "float", "text", "ms", "timedelta"]
)
def test_seconds_may_be_given_in_many_ways(registry, seconds):
    """
    By position or by keyword.
    """
    for fn in (timeout(seconds, registry=registry), timeout(seconds=seconds, registry=registry)):
        assert fn(asynchronous).resilience.specs[0].given == {"seconds": 2.0}


WHERE = "@timeout on tests.test_timeout:"


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (
            lambda: timeout(5)(sync),
            (
                f"{WHERE}sync: tests.test_timeout:sync is sync, and a thread cannot be stopped; give what it calls a"
                " timeout of its own, as in requests.get(url, timeout=30), make it async, or let the thread be left"
                " behind with in_thread=True"
            ),
        ),
        (
            lambda: timeout(5, in_thread=True)(asynchronous),
            (
                f"{WHERE}asynchronous: in_thread=True is for sync functions, and tests.test_timeout:asynchronous is"
                " async: it is cancelled where it is; leave it out"
            ),
        ),
        (
            lambda: timeout(5, max_threads=3)(sync),
            f"{WHERE}sync: max_threads=3 has nothing to count without in_thread=True; leave it out",
        ),
        (
            lambda: timeout(5, in_thread=True, max_threads=0)(sync),
            f"{WHERE}sync: max_threads must be a whole number from 1 to 1000000, got 0 (int)",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(make, problem):
    """
    The error says why, and what to write instead.
    """
    error = caught(make)

    assert (type(error), str(error)) == (PolicyError, problem)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), "soon", None, True, "0s"])
def test_seconds_are_checked(seconds):
    """
    More than nothing, less than for ever.
    """
    error = caught(lambda: timeout(seconds)(asynchronous))

    assert type(error) is PolicyError
    assert "seconds must be seconds as a number" in str(error)


def test_a_bare_one_says_what_to_write():
    """
    There is no limit that suits all.
    """
    error = caught(lambda: timeout(asynchronous))

    assert type(error) is DecorationError
    assert "write @timeout(seconds=...)" in str(error)
    assert "seconds" in str(caught(lambda: timeout()(asynchronous)))


# -- the order --------------------------------------------------


def warned(make):
    """
    Return the sentences about the order of what *make* makes.
    """
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        make(asynchronous)
    return [str(one.message).partition(": ")[2].partition(" (from the top")[0] for one in found]


def under(*guards):
    """
    Return what puts all of *guards* on a function, the first on top.
    """

    def put(fn):
        for guard in reversed(guards):
            fn = guard(fn)
        return fn

    return put


@pytest.mark.parametrize(
    ("guards", "sentence"),
    [
        (
            lambda one: [timeout(5, registry=one), fallback_chain(sync)],
            "@timeout above @fallback_chain cuts off the fallbacks as well; put @fallback_chain on top",
        ),
        (
            lambda one: [timeout(5, registry=one), circuit("c")],
            "@timeout above @circuit hides from it the calls that hang; put @timeout below @circuit",
        ),
        (
            lambda one: [timeout(5, registry=one), retry, timeout(5)],
            "@timeout(5) above @timeout(5) leaves nothing for that to do; let it allow less",
        ),
        (
            lambda one: [timeout(5, registry=one), timeout(9)],
            "@timeout(5) above @timeout(9) leaves nothing for that to do; let it allow less",
        ),
        (
            lambda one: [timeout(9, registry=one), timeout(5)],
            "@timeout twice in a row multiplies what each does; keep one",
        ),
    ],
)
def test_an_order_that_cannot_work_is_warned_about(registry, guards, sentence):
    """
    Once, when the function is decorated.
    """
    assert warned(under(*guards(registry))) == [sentence]


@pytest.mark.parametrize(
    "guards",
    [
        lambda one: [retry(registry=one), circuit("c"), timeout(5)],
        lambda one: [timeout(9, registry=one), retry, circuit("c"), timeout(5)],
        lambda one: [timeout(9, registry=one), retry, circuit("c")],
        lambda one: [timeout(9, registry=one), recoverable, retry],
        lambda one: [
            degradable(steps=lambda steps, _: steps, registry=one),
            fallback_chain(sync),
            timeout(9),
            recoverable,
            retry,
            timeout(5),
        ],
    ],
)
def test_an_order_that_works_is_not_warned_about(registry, guards):
    """
    Below the circuit for attempts, above @retry for everything.
    """
    assert warned(under(*guards(registry))) == []


# -- written as anybody would --------------------------------------------------


def test_it_is_written_against_the_public_protocol_only():
    """
    What it imports of this package, it imports from ``resilient.policy``; what only type checkers read aside.
    """
    path = Path(resilient.__file__).with_name("timeouts.py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types_only = [node for one in tree.body if isinstance(one, ast.If) for node in ast.walk(one)]
    found = set()
    for node in ast.walk(tree):
        if node in types_only:
            continue
        if isinstance(node, ast.ImportFrom):
            found.add(f"{'.' * node.level}{node.module or ''}")
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)

    assert {name for name in found if name.startswith((".", "resilient"))} == {"resilient.policy"}
    assert "import_module" not in path.read_text(encoding="utf-8")
