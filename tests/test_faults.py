"""
What users, the system and attackers do to a decorated function, each fault through the whole path.

Tests are named after the rows of the table of faults in ``docs/explanation``.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import logging
import math
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import tracemalloc
import types
import warnings
import weakref
from contextlib import suppress
from itertools import pairwise

import anyio
import pytest
import trio

from resilient import (
    BlockingWaitWarning,
    CircuitBreakerOpenError,
    DecorationError,
    Fallback,
    FallbackChainExhaustedError,
    PolicyError,
    Registry,
    ResilientWarning,
    circuit,
    degradable,
    fallback_chain,
    forks,
    recoverable,
    retry,
)
from resilient.events import AttemptFailed, CallSucceeded, OperationFailed
from resilient.testing import FakeClock, isolated_registry, no_waits

both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
leaving = pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])


@pytest.fixture
def clock():
    """
    Give a clock that stands still until somebody waits.
    """
    return FakeClock()


@pytest.fixture
def registry(clock):
    """
    Give a registry of its own to each test.
    """
    return Registry(clock=clock)


def coloured(fn, *, is_async):
    """
    Return *fn*, or a coroutine function that does the same.
    """
    if not is_async:
        return fn

    async def work(*args, **kwargs):
        await asyncio.sleep(0)
        return fn(*args, **kwargs)

    return work


def call(fn, *args, **kwargs):
    """
    Call *fn*, in an event loop of its own where it is async.
    """
    result = fn(*args, **kwargs)
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


def drive(result):
    """
    Run a coroutine that only ever yields to its loop, without one; return anything else as it is.
    """
    if not asyncio.iscoroutine(result):
        return result
    while True:
        try:
            result.send(None)
        except StopIteration as stop:
            return stop.value


def raiser(*errors):
    """
    Return a function that raises each of *errors* and then returns ``"done"``, and the list of its calls.
    """
    left, calls = list(errors), []

    def work(*args, **kwargs):
        calls.append(args)
        if left:
            raise left.pop(0)
        return "done"

    return work, calls


def python(program, *options, env=None, **values):
    """
    Run *program* in an interpreter of its own, and return what it wrote to stdout and stderr.
    """
    program = textwrap.dedent(program)
    for name, value in values.items():
        program = program.replace(f"${name}", repr(value))
    done = subprocess.run(
        [sys.executable, *options, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def state(registry, name="c"):
    """
    Return what health shows of a circuit.
    """
    return registry.circuits[name].get_state()


# -- 1, 2: Ctrl-C and its kind ---------------------------------------------------


class Interrupting(FakeClock):
    """
    A clock that somebody presses Ctrl-C on.
    """

    error = KeyboardInterrupt

    def sleep(self, seconds):
        raise self.error

    async def asleep(self, seconds):
        raise self.error


def interrupted_in(where, error, *, is_async):
    """
    Return a registry, a stack that *error* hits in one place, and the calls of its function.
    """
    clock = Interrupting()
    clock.error = error
    registry = Registry(clock=clock)
    here = {"registry": registry}
    errors = {"attempt": [error], "wait": [ConnectionError]}.get(where, [ConnectionError] * 9)
    work, calls = raiser(*errors)
    stop, _ = raiser(error)
    fn = circuit("c", **here)(coloured(work, is_async=is_async))
    if where in {"attempt", "wait"}:
        fn = retry(max_attempts=3, **here)(fn)
    fn = recoverable(**here)(fn)
    if where == "playbook":
        registry.playbooks.step("network", name="stop", before="retry_connection")(stop)
    fn = fallback_chain(
        stop if where == "fallback" else Fallback(work, when=stop if where == "when" else None), **here
    )(fn)
    return registry, fn, calls


@both
@leaving
@pytest.mark.parametrize("where", ["attempt", "wait", "fallback", "when", "playbook"])
def test_row_01_ctrl_c_leaves_at_once_from_wherever_it_hits(where, error, is_async):
    """
    It is not wrapped, not retried, not counted, and nothing is called after it.
    """
    registry, fn, calls = interrupted_in(where, error, is_async=is_async)
    told = []
    registry.on(told.append, OperationFailed)
    with pytest.raises(error) as raised:
        call(fn)

    assert len(calls) == 1
    assert raised.value.__cause__ is None
    assert state(registry)["state"] == "closed"
    assert told == []
    assert fn.resilience.stats().failures == 0


@both
@leaving
def test_row_02_system_exit_and_generator_exit_free_the_probe(registry, clock, error, is_async):
    """
    The permit of an interrupted probe is there for the next caller.
    """
    work, calls = raiser(error)
    fn = circuit("c", success_threshold=1, registry=registry)(coloured(work, is_async=is_async))
    registry.circuits["c"].state = "half_open"
    with pytest.raises(error):
        call(fn)

    assert registry.circuits["c"].can_execute()
    assert call(fn) == "done"
    assert (state(registry)["state"], len(calls)) == ("closed", 2)


# -- 3, 4: cancellation ------------------------------------------------------------


def hanging(registry, finals, *, fails=()):
    """
    Return an async function under three policies that waits for ever after it has failed.
    """
    errors = list(fails)

    @fallback_chain(lambda: "never", registry=registry)
    @retry(initial_delay=1, registry=registry)
    @circuit("c", success_threshold=1, registry=registry)
    async def work():
        try:
            if errors:
                raise errors.pop(0)
            await asyncio.Event().wait()
        finally:
            finals.append(True)

    return work


@pytest.mark.parametrize("fails", [(), (ConnectionError,)], ids=["quiet", "planned"])
async def test_row_03_a_cancelled_attempt_is_no_failure(registry, fails):
    """
    ``CancelledError`` arrives unchanged, ``finally`` runs once, the probe's permit is free.
    """
    finals = []
    work = hanging(registry, finals, fails=fails)
    if not fails:
        registry.circuits["c"].state = "half_open"
    task = asyncio.create_task(work())
    for _ in range(50):
        await asyncio.sleep(0)
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task

    assert len(fails) + 1 == len(finals)
    assert registry.circuits["c"].can_execute()
    assert (len(fails), 0) == (state(registry)["failure_count"], work.resilience.stats().failures)


async def test_row_03_cancelled_while_it_waits():
    """
    A cancelled wait makes no further attempt.
    """
    finals = []
    registry = Registry(clock=FakeClock(manual=True))
    task = asyncio.create_task(hanging(registry, finals, fails=[ConnectionError])())
    for _ in range(50):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert finals == [True]
    assert task.cancelling() - 1 == 0


@pytest.mark.parametrize("fails", [(), (ConnectionError,)], ids=["in the attempt", "in the wait"])
async def test_row_03_a_timeout_around_is_a_timeout(fails):
    """
    ``asyncio.timeout`` around a decorated call ends in its own TimeoutError.
    """
    finals = []
    work = hanging(Registry(clock=FakeClock(manual=True)), finals, fails=fails)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.005):
            await work()

    assert finals == [True]
    assert asyncio.current_task().cancelling() == 0


async def test_row_03_a_timeout_within_is_a_failure(registry):
    """
    The function's own timeout is an error like any other, and retried.
    """
    calls = []

    @retry(max_attempts=2, registry=registry)
    async def work():
        calls.append(True)
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await work()
    assert len(calls) == 2


async def test_row_03_a_failing_sibling_cancels_cleanly(registry):
    """
    In a TaskGroup the sibling's error is the only one, and the cancelled call counts no failure.
    """
    finals = []
    work = hanging(registry, finals)

    async def fails():
        await asyncio.sleep(0)
        raise LookupError

    async def both_at_once():
        async with asyncio.TaskGroup() as group:
            group.create_task(work())
            group.create_task(fails())

    with pytest.raises(ExceptionGroup) as raised:
        await both_at_once()

    assert [LookupError] == [type(error) for error in raised.value.exceptions]
    assert (finals, state(registry)["failure_count"]) == ([True], 0)


def trio_hanging(registry, finals, *, fails=()):
    """
    Return what `hanging` returns, for any kind of loop.
    """
    errors = list(fails)

    @retry(initial_delay=1, registry=registry)
    @circuit("c", success_threshold=1, registry=registry)
    async def work():
        try:
            if errors:
                raise errors.pop(0)
            await anyio.sleep_forever()
        finally:
            finals.append(True)

    return work


@pytest.mark.parametrize("fails", [(), (ConnectionError,)], ids=["in the attempt", "in the wait"])
def test_row_04_a_trio_cancel_scope_is_left_cleanly(fails):
    """
    The scope swallows what it cancelled, and nothing is counted.
    """
    finals = []
    registry = Registry(clock=FakeClock(manual=True))
    work = trio_hanging(registry, finals, fails=fails)

    async def main():
        with trio.move_on_after(0.01) as scope:
            await work()
        return scope.cancelled_caught

    assert trio.run(main)
    assert finals == [True]
    assert (len(fails), 0) == (state(registry)["failure_count"], work.resilience.stats().failures)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("fails", [(), (ConnectionError,)], ids=["in the attempt", "in the wait"])
def test_row_04_an_anyio_cancel_scope_is_left_cleanly(backend, fails):
    """
    The same through anyio, on both of its backends.
    """
    finals = []
    registry = Registry(clock=FakeClock(manual=True))
    work = trio_hanging(registry, finals, fails=fails)

    async def main():
        with anyio.move_on_after(0.01) as scope:
            await work()
        return scope.cancelled_caught

    assert anyio.run(main, backend=backend)
    assert finals == [True]
    assert (len(fails), 0) == (state(registry)["failure_count"], work.resilience.stats().failures)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_row_04_waits_and_retries_run_on_either_backend(backend, registry):
    """
    A retry waits with whatever loop the caller runs on.
    """
    work, calls = raiser(ConnectionError, ConnectionError)
    fn = retry(initial_delay=1, jitter=False, registry=registry)(coloured_anyio(work))

    assert anyio.run(fn, backend=backend) == "done"
    assert (len(calls), registry.hub.clock.monotonic()) == (3, 3.0)


def coloured_anyio(fn):
    """
    Return a coroutine function that does what *fn* does, for any kind of loop.
    """

    async def work():
        await anyio.lowlevel.checkpoint()
        return fn()

    return work


# -- 5, 6, 7: what is decorated ------------------------------------------------------


def test_row_05_generators_are_refused():
    """
    At decoration, with the function's name and what to do.
    """

    def frames():
        yield 1

    async def aframes():
        yield 1

    for generator in (frames, aframes):
        with pytest.raises(DecorationError, match=f"{generator.__name__}.*one that returns the whole list"):
            retry(generator)


class Base:
    @retry
    def method(self):
        return self

    @retry
    @classmethod
    def under(cls):
        return cls

    @classmethod
    @retry
    def over(cls):
        return cls

    @staticmethod
    @retry
    def static() -> str:
        return "static"


class Child(Base):
    def method(self):
        return super().method()

    @classmethod
    def under(cls):
        return super().under()


def test_row_06_methods_of_every_kind_bind():
    """
    In either order of decorators, overridden and called by ``super``; a property is refused.
    """
    child = Child()

    assert child.method() is child
    assert (Child, Child, "static") == (Child.under(), child.over(), child.static())
    with pytest.raises(TypeError, match="decorate the getter"):
        retry(property(lambda self: 1))


def test_row_07_waits_of_async_kinds_never_block_the_loop(registry):
    """
    Partials and objects that are async wait as async functions do; a sync wait on a loop's thread is warned about.
    """
    import functools

    class Flaky:
        def __init__(self):
            self.left = [ConnectionError]

        async def __call__(self):
            if self.left:
                raise self.left.pop()
            return "done"

    shapes = [Flaky(), functools.partial(Flaky().__call__), functools.partial(Flaky()), Flaky().__call__]

    async def main():
        return [await retry(registry=registry)(shape)() for shape in shapes]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert asyncio.run(main()) == ["done"] * 4


def test_row_07_a_sync_wait_on_a_running_loop_is_warned_about_once(registry):
    """
    Once for each function, and the call goes on.
    """
    work, calls = raiser(*[ConnectionError] * 4)
    fn = retry(max_attempts=5, registry=registry)(work)

    async def main():
        return fn()

    with pytest.warns(BlockingWaitWarning) as caught:
        assert asyncio.run(main()) == "done"
    assert (len(caught), len(calls)) == (1, 5)


# -- 8, 9: concurrency ------------------------------------------------------------------


@pytest.mark.parametrize("is_quiet", [True, False])
def test_row_08_threads_go_through_one_breaker_side_by_side(registry, is_quiet):
    """
    32 calls are inside at once: nobody waits for anybody's lock.
    """
    if not is_quiet:
        registry.on(lambda _: None, CallSucceeded)
    together = threading.Barrier(32, timeout=30)

    @retry(registry=registry)
    @circuit("c", registry=registry)
    def work():
        return together.wait()

    with suppress(threading.BrokenBarrierError):
        threads = [threading.Thread(target=work) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert (work.resilience.stats().calls, work.resilience.stats().failures) == (32, 0)
    assert not together.broken


@both
@pytest.mark.parametrize("is_quiet", [True, False])
def test_row_09_a_breaker_within_itself_does_not_deadlock(registry, is_async, is_quiet):
    """
    Recursive calls, and a breaker inside of the same breaker, each count for themselves.
    """
    if not is_quiet:
        registry.on(lambda _: None, CallSucceeded)

    @circuit("a", registry=registry)
    def outer(depth):
        return depth and outer(depth - 1) + inner()

    @circuit("a", registry=registry)
    def inner():
        return registry.circuits["a"].call(lambda: 1)

    @circuit("a", registry=registry)
    async def aouter(depth):
        return depth and await aouter(depth - 1) + inner()

    assert call(aouter if is_async else outer, 5) == 5


@both
def test_row_09_a_probe_that_calls_itself_needs_a_permit_of_its_own(registry, is_async):
    """
    In HALF_OPEN with one permit the inner call is rejected, and nothing hangs.
    """

    def work(again):
        return call(fn, False) if again else "inner"

    fn = circuit("c", registry=registry)(work)
    registry.circuits["c"].state = "half_open"
    with pytest.raises(CircuitBreakerOpenError):
        fn(again=True)

    assert state(registry)["state"] == "half_open"


# -- 10, 12 ... 17: memory and text --------------------------------------------------------


@pytest.mark.slow
def test_row_10_distinct_errors_without_end_stay_bounded(registry, monkeypatch):
    """
    Messages, error classes and operations do not pile up, however many there are.
    """
    # pytest keeps what is logged.
    monkeypatch.setattr("resilient.hub.wanted", lambda _: False)

    @circuit(failure_threshold=1_000_000, registry=registry)
    def work(error):
        raise error

    def errors(count):
        for number in range(count):
            kind = type(f"Error{number}", (Exception,), {}) if number % 10 == 0 else ValueError
            with suppress(Exception):
                work(kind(f"message {number}"))
        gc.collect()

    registry.analytics._report = lambda _: None  # noqa: SLF001 - its one warning is tested below
    tracemalloc.start()
    try:
        errors(20_000)
        before, _ = tracemalloc.get_traced_memory()
        errors(30_000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert registry.analytics.total_errors == 50_000
    assert after - before < 250_000


def test_row_10_classes_beyond_the_limit_are_counted_together(registry, caplog):
    """
    The rest is ``__other__``, with one warning.
    """

    @circuit(failure_threshold=1_000_000, registry=registry)
    def work(number):
        raise type(f"Error{number}", (Exception,), {})

    for number in range(1200):
        with suppress(Exception):
            work(number)

    common = dict(registry.analytics.get_most_common_errors(2000))
    assert sum(common.values()) == 1200
    assert len(common) == 1025
    assert common["__other__"] == 176
    assert sum("__other__" in record.getMessage() for record in caplog.records) == 1


@both
def test_row_12_enormous_errors_are_cut_without_building_their_text(registry, is_async):
    """
    A million arguments cost what two thousand characters cost.
    """
    huge = ValueError(*range(1_000_000))
    long = ValueError("x" * 50_000_000)
    work, _ = raiser(huge, long)
    fn = circuit(registry=registry)(coloured(work, is_async=is_async))
    began = time.thread_time()
    for error in (huge, long):
        with pytest.raises(ValueError) as raised:  # noqa: PT011 - its identity is what matters
            # Without asyncio.run, which asks for the repr of the task that failed.
            drive(fn())
        assert raised.value is error
    took = time.thread_time() - began

    assert all(len(info.error_message) <= 2048 for info in registry.analytics.error_history)
    assert took < 0.1


class HostileError(Exception):
    """
    Whatever is asked of it, it raises.
    """

    def __str__(self):
        raise RuntimeError

    __repr__ = __reduce__ = __reduce_ex__ = __str__

    @property
    def __class__(self):
        raise RuntimeError

    @property
    def retry_after(self):
        raise RuntimeError

    response = status_code = retry_after


class EndlessError(Exception):
    """
    Its text never ends.
    """

    def __str__(self):
        return str(self)


@both
@pytest.mark.parametrize("kind", [HostileError, EndlessError])
def test_row_13_hostile_exceptions_arrive_as_themselves(registry, kind, is_async):
    """
    Recorded as unprintable, through every policy.
    """
    registry.on(lambda _: None)
    error = kind()
    work, calls = raiser(*[error] * 9)
    fn = circuit(registry=registry)(coloured(work, is_async=is_async))
    fn = retry(on=lambda _: True, max_attempts=2, registry=registry)(fn)
    fn = recoverable(registry=registry)(fn)
    fn = degradable(rules={"x": lambda value, _: value}, registry=registry)(fn)
    with no_waits(), pytest.raises(kind) as raised:
        # Without asyncio.run: its tasks never end with an error like the first.
        drive(fn())

    assert raised.value is error
    assert len(calls) == 2
    assert f"<unprintable {kind.__name__}>" == registry.analytics.error_history[-1].error_message


def loop():
    """
    Return an error that is the context of its own context.
    """
    error = ValueError("loop")
    error.__context__ = inner = KeyError("inner")
    inner.__context__ = error
    return error


def deep():
    """
    Return an error with ten thousand causes.
    """
    error = ValueError("deep")
    for _ in range(10_000):
        outer = ValueError("deep")
        outer.__cause__ = error
        error = outer
    return error


def nested():
    """
    Return an error in a thousand groups.
    """
    group = ExceptionGroup("nested", [ValueError("leaf")])
    for _ in range(1000):
        group = ExceptionGroup("nested", [group])
    return group


@both
@pytest.mark.parametrize("make", [loop, deep, nested])
def test_row_14_endless_chains_are_survived(registry, make, is_async):
    """
    Cycles, ten thousand causes and a thousand nested groups are classified, recorded and raised as themselves.
    """
    error = make()
    work, _ = raiser(*[error] * 3)
    fn = circuit(registry=registry)(coloured(work, is_async=is_async))
    fn = recoverable(registry=registry)(retry(registry=registry)(fn))
    fn = fallback_chain(Fallback(lambda: "no", on=LookupError), registry=registry)(fn)
    try:
        # Without asyncio.run, which asks for the repr of the task that failed.
        drive(fn())
    except Exception as raised:
        arrived = raised is error
        what = type(raised).__name__
    # pytest cannot show such an error, and ten thousand of them are freed by recursion.
    while error is not None:
        error.__context__, error.__cause__, error = None, None, error.__cause__

    assert arrived, what
    assert registry.analytics.total_errors == 1


@both
def test_row_15_one_instance_raised_again_and_again(registry, is_async):
    """
    Its frames of ours grow by two per raise, and it has one note of ours beside the user's own.
    """
    error = ConnectionError("always")
    error.add_note("mine")
    work, _ = raiser(*[error] * 99)
    fn = retry(max_attempts=3, registry=registry)(coloured(work, is_async=is_async))
    sizes = []
    for _ in range(4):
        with pytest.raises(ConnectionError):
            call(fn)
        frames = traceback.extract_tb(error.__traceback__)
        sizes.append(sum("/resilient/" in frame.filename for frame in frames))

    assert {2} == {after - before for before, after in pairwise(sizes)}
    assert error.__notes__[0] == "mine"
    assert len(error.__notes__) == 2


def test_row_15_a_note_that_cannot_be_set_is_dropped(registry):
    """
    The error arrives without it.
    """

    class PlainError(Exception):
        @property
        def __notes__(self):
            raise RuntimeError

    work, _ = raiser(*[PlainError()] * 9)
    fn = retry(on=PlainError, max_attempts=2, registry=registry)(work)
    with pytest.raises(PlainError):
        fn()


SECRETS = {
    "sk-abcdefghijklmnop1234567890": "key sk-abcdefghijklmnop1234567890 refused",
    "hunter2": "postgres://user:hunter2@db/x is down",
    "eyJhbGciOi": "Authorization: Bearer eyJhbGciOi.payload.signature",
    "s3cr3t": "api_key=s3cr3t is wrong",
}


@pytest.mark.parametrize(("secret", "message"), SECRETS.items())
def test_row_16_secrets_are_redacted_wherever_people_read(registry, caplog, secret, message):
    """
    History, report, health and logs show none; arguments are in none of them.
    """

    @circuit("c", failure_threshold=1, registry=registry)
    def work(password):
        raise ValueError(message)

    with caplog.at_level(logging.DEBUG), pytest.raises(ValueError):  # noqa: PT011 - its text is a secret
        work("argument-secret")
    with caplog.at_level(logging.DEBUG), pytest.raises(CircuitBreakerOpenError):
        work("argument-secret")
    read = [
        str(registry.analytics.error_history),
        json.dumps(registry.analytics.generate_report(), default=str),
        json.dumps(registry.health().to_dict()),
        str(registry.health()),
        caplog.text,
    ]

    for text in read:
        assert secret not in text
        assert "argument-secret" not in text


UGLY = "line\nbreak \x1b[31mred\x1b[0m \x00 \u202egnol\u202c \ud800"


def test_row_17_control_characters_are_escaped_wherever_people_read(registry, caplog):
    """
    In health, report, logs and outcomes; JSON stays valid UTF-8.
    """
    fn = types.FunctionType(
        (lambda: (_ for _ in ()).throw(ValueError(UGLY))).__code__, {"UGLY": UGLY, "ValueError": ValueError}
    )
    fn.__qualname__ = f"ugly {UGLY}"
    guarded = circuit(failure_threshold=1, registry=registry)(fn)
    with caplog.at_level(logging.DEBUG):
        outcome = guarded.resilience.outcome()
    texts = [
        *str(registry.health()).splitlines(),
        *str(outcome).splitlines(),
        json.dumps(registry.health().to_dict()),
        json.dumps(registry.analytics.generate_report(), default=str),
        *(record.getMessage() for record in caplog.records),
    ]

    for text in texts:
        assert not set(text) & set("\n\x1b\x00\u202e\ud800")
        text.encode()


# -- 25, 26: late results, clocks -------------------------------------------------------------


@both
@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize("is_quiet", [True, False])
def test_row_25_a_late_result_from_before_the_trip_is_dropped(registry, is_async, fails, is_quiet):
    """
    It goes to its caller, and the circuit only notes that it was late.
    """
    if not is_quiet:
        registry.on(lambda _: None, CallSucceeded)
    breaker = registry.circuit("c")

    def work():
        breaker.state = "open"
        breaker.state = "half_open"
        if fails:
            raise ConnectionError
        return "late"

    fn = circuit("c", registry=registry)(coloured(work, is_async=is_async))
    if fails:
        with pytest.raises(ConnectionError):
            call(fn)
    else:
        assert call(fn) == "late"

    assert tuple(state(registry)[name] for name in ("state", "late", "success_count")) == ("half_open", 1, 0)


@both
@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_row_26_a_wall_clock_that_jumps_changes_nothing(registry, clock, jump, is_async):
    """
    Open times, windows and waits are monotonic.
    """
    work, calls = raiser(*[ConnectionError] * 3)
    fn = circuit("c", failure_threshold=2, open_for=10.0, success_threshold=1, registry=registry)(
        coloured(work, is_async=is_async)
    )
    for _ in range(2):
        with pytest.raises(ConnectionError):
            call(fn)
    clock.jump_wall(jump)
    with pytest.raises(CircuitBreakerOpenError) as raised:
        call(fn)
    assert raised.value.retry_after == 10.0

    clock.advance(10.0)
    with pytest.raises(ConnectionError):
        call(fn)
    assert len(calls) == 3
    assert registry.analytics.get_error_rate() == 3.0


# -- 29 ... 32: processes, shutdown, signals ----------------------------------------------------


FORK = """
import os, sys, threading, warnings
warnings.simplefilter("ignore")
from resilient import CircuitBreaker, FallbackChain, Registry, circuit, fallback_chain, recoverable, retry

registry = Registry()
alone = CircuitBreaker("alone")

@fallback_chain(lambda: "instead", name="chain", registry=registry)
@recoverable(registry=registry)
@retry(max_attempts=2, initial_delay=0, registry=registry)
@circuit("c", registry=registry)
def work():
    if os.getpid() != parent:
        raise ConnectionError
    return "parent"

parent = os.getpid()
held, go_on = threading.Event(), threading.Event()
pipeline = work.resilience.pipeline
locks = [
    pipeline._lock, pipeline.counts._lock, registry.circuits["c"]._lock, registry.hub._lock, registry.hub._draining,
    registry.functions._lock, registry.circuits._lock, registry.chains._lock, registry.analytics._lock,
    registry.chains["chain"]._lock, alone._lock, alone.hub._lock, alone.hub._draining,
]

def hold():
    for lock in locks:
        lock.acquire()
    held.set()
    go_on.wait(30)
    for lock in reversed(locks):
        lock.release()

thread = threading.Thread(target=hold)
thread.start()
held.wait(30)
child = os.fork()
if child == 0:
    import signal
    signal.alarm(20)
    told = []
    registry.on(told.append)
    for _ in range(3):
        assert work() == "instead"
    try:
        alone.call(lambda: 1 / 0)
    except ZeroDivisionError:
        pass
    assert alone.failure_count == 1
    circuit(registry=registry)(lambda: 1)()
    registry.health()
    registry.reset()
    assert told
    os._exit(0)
_, status = os.waitpid(child, 0)
go_on.set()
thread.join()
assert work() == "parent"
print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_row_29_a_fork_while_locks_are_held_elsewhere():
    """
    The child has fresh locks: calls fail, recover and are counted there, and nothing hangs.
    """
    stdout, _ = python(FORK)

    assert stdout == "0"


def test_row_29_whoever_has_locks_gets_fresh_ones_in_a_child():
    """
    What is told of a fork is told once, and who is gone is not asked.
    """
    renewed = []

    class Owner:
        def _renew_locks(self):
            renewed.append(self)

    owner, gone = Owner(), Owner()
    forks.survives_fork(owner)
    forks.survives_fork(gone)
    del gone
    gc.collect()
    forks._renew()  # noqa: SLF001 - what a fork calls

    assert renewed == [owner]


WORKER = """
import multiprocessing, pickle
import cloudpickle
from resilient import CircuitBreakerOpenError, circuit, resilience_of, retry

def make():
    left = [ConnectionError("1"), ConnectionError("2")]

    @retry(max_attempts=3, initial_delay=0)
    @circuit("made", failure_threshold=7)
    def local():
        if left:
            raise left.pop()
        return "local"

    return local

@retry(max_attempts=2, initial_delay=0)
@circuit("main")
def in_main(fails):
    if fails:
        raise ConnectionError("from " + __name__)
    return "main"

def run(payload):
    local, main = cloudpickle.loads(payload)
    result = local()
    try:
        main(True)
    except ConnectionError as error:
        caught = error
    breaker = resilience_of(main).registry.circuits["main"]
    breaker.isolate()
    try:
        main(False)
    except CircuitBreakerOpenError as error:
        rejection = error
    stats = resilience_of(local).stats()
    options = resilience_of(main).registry.circuits["made"].options["failure_threshold"]
    return result, (stats.calls, stats.attempts), caught, rejection, options, repr(resilience_of(local))

if __name__ == "__main__":
    payload = cloudpickle.dumps((make(), in_main))
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        result, stats, caught, rejection, options, shown = pool.apply(run, (payload,))
    print(result, stats, type(caught).__name__, len(caught.__notes__), rejection.name, options)
    print(in_main.resilience.stats().calls, shown.splitlines()[1:3])
"""


def test_row_30_functions_by_value_keep_their_policies_in_a_spawned_process(tmp_path):
    """
    Carried by cloudpickle are functions of ``__main__`` and of functions; errors of ours come back whole.
    """
    pytest.importorskip("cloudpickle")
    file = tmp_path / "program.py"
    file.write_text(WORKER)
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=60, check=False)

    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "local (1, 3) ConnectionError 1 main 7",
        "0 ['  @retry(initial_delay=0.0)', \"    @circuit('made', failure_threshold=7)\"]",
    ]


@retry(max_attempts=2, initial_delay=0)
def pooled(fails):
    """
    Fail, or tell where it runs.
    """
    if fails:
        raise ConnectionError(os.getpid())
    return os.getpid()


def test_row_30_functions_of_a_module_pickle_by_reference_to_a_spawned_process():
    """
    The policies of the module's own function act there.
    """
    with isolated_registry(), pytest.raises(ConnectionError):
        pooled(fails=True)
    twin = pickle.loads(pickle.dumps(pooled))

    assert twin is pooled
    assert "spawn" in multiprocessing.get_all_start_methods()


def test_row_30_an_error_that_was_recorded_in_another_process_is_recorded_here_too(registry):
    """
    What a worker has recorded in its registry is new to this one.
    """
    other = Registry("worker")
    work, _ = raiser(ConnectionError("from afar"))
    with pytest.raises(ConnectionError) as raised:
        circuit(registry=other)(work)()
    came = pickle.loads(pickle.dumps(raised.value))

    fn = circuit(registry=registry)(raiser(came)[0])
    with pytest.raises(ConnectionError):
        fn()

    assert (other.analytics.total_errors, registry.analytics.total_errors) == (1, 1)


SHUTDOWN = """
import atexit, threading, time
from resilient import Registry, circuit, fallback_chain, retry

registry = Registry()
registry.on(lambda event: None)

@fallback_chain(lambda: None, registry=registry)
@retry(max_attempts=1000000, initial_delay=0.001, jitter=False, registry=registry)
@circuit(failure_threshold=1000000, registry=registry)
def work():
    raise ConnectionError

class Late:
    def __del__(self):
        work.resilience.stats()

late = Late()
late.itself = late
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
atexit.register(lambda: once())

@retry(registry=registry)
def once():
    return 1

time.sleep(0.05)
print("end", flush=True)
"""


def test_row_31_daemon_threads_do_not_disturb_the_end():
    """
    Nothing is written to stderr, and nobody waits.
    """
    stdout, stderr = python(SHUTDOWN)

    assert (stdout, stderr) == ("end", "")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
def test_row_32_a_signal_handler_may_call_what_it_interrupts(registry):
    """
    Wherever the handler runs, under our locks too, its own decorated calls come through.
    """

    @fallback_chain(lambda *_: "instead", name="chain", registry=registry)
    @retry(max_attempts=2, initial_delay=0, registry=registry)
    @circuit("c", failure_threshold=3, open_for=0.0001, window=20, registry=registry)
    def work(number):
        if number % 3:
            raise ConnectionError
        return number

    registry.on(lambda _: registry.health())
    handled = []

    def handler(signum, frame):
        handled.append(work(1))
        registry.health()
        # Only now: a handler that is interrupted by the next one, and so on, would never end.
        signal.setitimer(signal.ITIMER_REAL, 0.0005)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    try:
        end = time.monotonic() + 0.4
        number = 0
        while time.monotonic() < end:
            number += 1
            assert work(number) in {number, "instead"}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert {"instead"} == set(handled)


class Locked:
    """
    Stands for a lock, and calls *then* while it is held.
    """

    def __init__(self, lock, then):
        self.lock = lock
        self.then = then

    def __enter__(self):
        self.lock.acquire()
        then, self.then = self.then, lambda: None
        then()

    def __exit__(self, *_):
        self.lock.release()


@pytest.mark.parametrize("where", ["circuit", "pipeline", "counts", "hub", "analytics", "functions", "circuits"])
def test_row_32_a_finalizer_may_call_while_a_lock_is_held(registry, where):
    """
    Garbage collection under any of our locks may run code that goes through the same functions.
    """
    registry.on(lambda _: None)

    @retry(max_attempts=2, initial_delay=0, registry=registry)
    @circuit("c", registry=registry)
    def work(error=None):
        if error:
            raise error
        return 1

    done = []

    class Garbage:
        def __del__(self):
            with suppress(ConnectionError, CircuitBreakerOpenError):
                work(ConnectionError())
            done.append(work())

    def collect():
        garbage = Garbage()
        garbage.itself = garbage
        del garbage
        gc.collect()

    owner = {
        "circuit": registry.circuits["c"],
        "pipeline": work.resilience.pipeline,
        "counts": work.resilience.pipeline.counts,
        "hub": registry.hub,
        "analytics": registry.analytics,
        "functions": registry.functions,
        "circuits": registry.circuits,
    }[where]
    owner._lock = Locked(owner._lock, collect)  # noqa: SLF001 - the test is about that lock

    def use():
        registry.on(lambda _: None)
        circuit(registry=registry)(lambda: 1)()
        with suppress(ConnectionError):
            work(ConnectionError())
        return registry.health()

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    thread.join(20)

    assert not thread.is_alive()
    assert done == [1]


# -- 33, 34: hooks and chains ------------------------------------------------------------------


class BrokenError(Exception):
    """
    What our own helpers raise.
    """


def broken(*args, **kwargs):
    """
    Fail, whatever it is asked.
    """
    raise BrokenError


@both
def test_row_33_broken_hooks_harm_no_call(registry, caplog, is_async):
    """
    Listeners, predicates, conditions, rules, classifiers, playbook steps and redaction may raise: logged once, ignored.
    """
    registry.on(broken)
    registry.classifier.add(broken, "network")
    registry.playbooks.step("network", name="broken", before="retry_connection")(broken)
    registry.degradation.set_level("low")
    work, _ = raiser(*[ConnectionError("mine")] * 99)

    def stand_in(steps=1):
        return "instead"

    entries = [Fallback(stand_in, "first", when=broken), Fallback(stand_in, "second", on=broken), stand_in]
    fn = coloured(lambda steps=1: work(), is_async=is_async)
    fn.__signature__ = inspect.signature(stand_in)
    fn = circuit("c", ignore=broken, registry=registry)(fn)
    fn = retry(max_attempts=2, before_sleep=broken, on=broken, registry=registry)(fn)
    fn = recoverable(registry=registry)(fn)
    fn = fallback_chain(*entries, registry=registry)(fn)
    fn = degradable(steps=broken, registry=registry)(fn)
    for _ in range(3):
        assert call(fn) == "instead"

    messages = [record.getMessage() for record in caplog.records if "BrokenError" in record.getMessage()]
    assert len(messages) >= 6
    assert len(messages) == len(set(messages))


@both
def test_row_33_a_slow_listener_delays_only_the_call_it_hears_of(registry, clock, is_async):
    """
    It is warned about once, and the call's result is what it was.
    """
    registry.on(lambda _: clock.advance(1.0), AttemptFailed)
    fn = retry(initial_delay=0, registry=registry)(
        coloured(raiser(ConnectionError, ConnectionError)[0], is_async=is_async)
    )
    with pytest.warns(ResilientWarning, match="delayed the call") as caught:
        assert call(fn) == "done"

    assert len(caught) == 1


@both
def test_row_34_an_exhausted_chain_tells_all_errors(registry, is_async):
    """
    Caused by the primary's error, with every error in order; ``None`` is a result.
    """
    first, second, third = ConnectionError("primary"), ValueError("second"), KeyError("third")
    fns = [coloured(raiser(error)[0], is_async=is_async) for error in (second, third)]
    fn = fallback_chain(*fns, registry=registry)(coloured(raiser(first)[0], is_async=is_async))
    with pytest.raises(FallbackChainExhaustedError) as raised:
        call(fn)

    assert raised.value.__cause__ is first
    assert (first, second, third) == raised.value.errors
    assert registry.analytics.total_errors == 3

    nothing = fallback_chain(lambda: None, registry=registry)(coloured(raiser(first)[0], is_async=is_async))
    assert call(nothing) is None
    assert nothing.resilience.stats().recovered == 1


# -- 37, 38: odd values -----------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    "wish",
    [
        -1,
        math.nan,
        1e308,
        math.inf,
        10**400,
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "junk",
        "9" * 1_000_000,
        None,
        b"\xff",
        object(),
    ],
    ids=["-1", "nan", "1e308", "inf", "10**400", "9999", "1970", "junk", "a megabyte", "None", "bytes", "object"],
)
def test_row_37_odd_retry_after_values_are_ignored_or_capped(registry, clock, wish, is_async):
    """
    No wait is negative or longer than ``max_delay``, and nothing overflows.
    """

    class BusyError(ConnectionError):
        retry_after = wish

    fn = retry(max_attempts=2, max_delay=5.0, initial_delay=0.5, registry=registry)(
        coloured(raiser(BusyError())[0], is_async=is_async)
    )

    assert call(fn) == "done"
    assert 0.3 <= clock.monotonic() <= 5.0


@pytest.mark.parametrize(
    ("decorate", "match"),
    [
        (lambda: retry(max_attempts=0), "max_attempts must be a whole number from 1 to 1000000, got 0"),
        (lambda: retry(max_attempts=-1), "max_attempts .* got -1"),
        (lambda: retry(max_attempts=10**9), "max_attempts .* got 1000000000"),
        (lambda: retry(initial_delay=math.inf), "initial_delay must be seconds .* got inf"),
        (lambda: retry(initial_delay=math.nan), "initial_delay must be seconds .* got nan"),
        (lambda: retry(initial_delay=9, max_delay=1), "max_delay must be at least initial_delay"),
        (lambda: retry(max_duration=0), "max_duration must be"),
        (lambda: retry(attempts=3), "unknown option 'attempts'.*did you mean 'max_attempts'"),
        (lambda: circuit(failure_rate=0.0, window=5), "failure_rate must be"),
        (lambda: circuit(window=0), "window must"),
        (lambda: circuit(failure_treshold=3), "did you mean 'failure_threshold'"),
        (lambda: circuit(window=3.5), "window must"),
    ],
)
def test_row_38_impossible_options_are_refused_at_decoration(decorate, match):
    """
    With the function's name, the value received, and the remedy.
    """
    with pytest.raises(PolicyError, match=match) as raised:
        decorate()(raiser()[0])

    assert "raiser.<locals>.work" in str(raised.value)


# -- 45 ... 50: the machine -------------------------------------------------------------------------


class Tensor:
    """
    What a failed attempt must not keep.
    """


@both
def test_row_45_out_of_memory_frees_tensors_and_walks_the_playbook_in_order(registry, is_async):
    """
    The failed attempt's tensors are gone before each step and before the next attempt.
    """
    refs, order = [], []

    def render(batch_size=8, low_vram=False):
        order.append(("render", batch_size, low_vram, [ref() is not None for ref in refs]))
        tensor = Tensor()
        refs.append(weakref.ref(tensor))
        if len(refs) < 4:
            msg = "CUDA out of memory"
            raise MemoryError(msg)
        return "frame"

    async def arender(batch_size=8, low_vram=False):
        return render(batch_size, low_vram)

    cache = {"clear": lambda: order.append(("clear_cache", [ref() is not None for ref in refs]))}
    registry.playbooks.provide(caches=[types.SimpleNamespace(**cache)])
    fn = recoverable(registry=registry)(retry(registry=registry)(arender if is_async else render))
    gc.collect()
    gc.disable()
    try:
        assert call(fn) == "frame"
    finally:
        gc.enable()

    assert order == [
        ("render", 8, False, []),
        ("clear_cache", [False]),
        ("render", 8, False, [False]),
        ("render", 4, False, [False, False]),
        ("render", 4, True, [False, False, False]),
    ]


@both
def test_row_45_a_sticky_gpu_error_is_not_retried(registry, is_async):
    """
    A device that has to be reset does not get better by trying again.
    """
    work, calls = raiser(*[RuntimeError("CUDA error: an illegal memory access was encountered")] * 9)
    fn = retry(registry=registry)(coloured(work, is_async=is_async))
    with pytest.raises(RuntimeError):
        call(fn)

    assert len(calls) == 1


class RaisingHandler(logging.Handler):
    """
    A log handler on a full disk.
    """

    def emit(self, record):
        raise OSError(28, "No space left on device")


@both
def test_row_46_a_log_handler_that_raises_harms_no_call(registry, is_async):
    """
    Neither results nor errors change.
    """
    handler = RaisingHandler()
    logger = logging.getLogger("resilient")
    logger.addHandler(handler)
    try:
        registry.on(broken)
        good = retry(registry=registry)(coloured(raiser(ConnectionError)[0], is_async=is_async))
        bad = circuit("c", failure_threshold=1, registry=registry)(
            coloured(raiser(KeyError("mine"))[0], is_async=is_async)
        )

        assert call(good) == "done"
        with pytest.raises(KeyError, match="mine"):
            call(bad)
        with pytest.raises(CircuitBreakerOpenError):
            call(bad)
    finally:
        logger.removeHandler(handler)


def test_row_46_a_closed_stderr_harms_no_call():
    """
    With logging to a stream that is gone.
    """
    stdout, _ = python(
        """
        import logging, sys
        logging.basicConfig(level=logging.DEBUG)
        from resilient import Registry, circuit, retry
        registry = Registry()
        sys.stderr.close()
        left = [ConnectionError("x")]

        @retry(initial_delay=0, registry=registry)
        @circuit("c", registry=registry)
        def work():
            if left:
                raise left.pop()
            return "done"

        registry.on(lambda event: 1 / 0)
        print(work())
        """
    )

    assert stdout == "done"


@both
def test_row_47_no_wait_begins_that_would_overrun_max_duration(registry, clock, is_async):
    """
    The last error is raised as itself, at once, with the note.
    """
    error = ConnectionError("mine")
    work, calls = raiser(error)
    fn = retry(max_duration=0.5, initial_delay=1.0, registry=registry)(coloured(work, is_async=is_async))
    with pytest.raises(ConnectionError) as raised:
        call(fn)

    assert raised.value is error
    assert (len(calls), clock.monotonic()) == (1, 0.0)
    assert "gave up after 1 attempt" in error.__notes__[0]


@both
def test_row_47_an_attempt_longer_than_max_duration_is_the_last(registry, clock, is_async):
    """
    Time spent in the attempt counts, also where the call began quietly.
    """

    def work():
        clock.advance(3.0)
        raise ConnectionError

    fn = retry(max_duration=2.0, initial_delay=0, registry=registry)(coloured(work, is_async=is_async))
    with pytest.raises(ConnectionError):
        call(fn)

    assert fn.resilience.stats().attempts == 1


def flaky_everywhere(registry):
    """
    Return an async function under all that waits and shares.
    """
    left = []

    @recoverable(registry=registry)
    @retry(max_attempts=2, initial_delay=0.001, registry=registry)
    @circuit("c", failure_threshold=1000, registry=registry)
    async def work(number):
        await asyncio.sleep(0)
        if number not in left:
            left.append(number)
            raise ConnectionError
        return number

    return work


def test_row_48_many_loops_one_after_the_other():
    """
    Nothing stays bound to a loop that is closed.
    """
    work = flaky_everywhere(Registry())

    assert list(range(20)) == [asyncio.run(work(number)) for number in range(20)]


def test_row_48_two_loops_in_two_threads():
    """
    Loops share the circuit and disturb each other in nothing.
    """
    work = flaky_everywhere(Registry())
    results = {}

    def run(name):
        async def main():
            return await asyncio.gather(*(work((name, number)) for number in range(20)))

        results[name] = asyncio.run(main())

    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {name: [(name, number) for number in range(20)] for name in ("one", "two")} == results
    assert (work.resilience.stats().calls, work.resilience.stats().attempts) == (40, 80)


def test_row_48_a_loop_within_a_decorated_call(registry):
    """
    A sync decorated function may run a loop of its own, within one that runs in another thread.
    """
    work = flaky_everywhere(registry)

    @circuit(registry=registry)
    def runs_a_loop(number):
        return asyncio.run(work(number))

    async def main():
        return await asyncio.to_thread(runs_a_loop, 7)

    assert asyncio.run(main()) == 7
    assert registry.analytics.generate_report()["incidents"] == 1


def test_row_48_uvloop():
    """
    The same on uvloop.
    """
    uvloop = pytest.importorskip("uvloop")
    work = flaky_everywhere(Registry())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert [runner.run(work(number)) for number in (1, 2)] == [1, 2]


ODD = """
import asyncio, contextlib, gc, os, tracemalloc
if $trace:
    tracemalloc.start()
from resilient import CircuitBreakerOpenError, Registry, circuit, degradable, fallback_chain, recoverable, retry

registry = Registry()
registry.on(lambda event: None)
left = [ConnectionError("1"), ConnectionError("2")]

@degradable(registry=registry)
@fallback_chain(lambda steps=1: "instead", registry=registry)
@recoverable(registry=registry)
@retry(max_attempts=2, initial_delay=0, registry=registry)
@circuit("c", registry=registry)
def work(steps=50):
    if left:
        raise left.pop()
    return steps

@retry(max_attempts=2, initial_delay=0.001, registry=registry)
@circuit("a", failure_threshold=1, registry=registry)
async def awork():
    await asyncio.sleep(0)
    raise ConnectionError

assert True
results = [work(), work()]
async def main():
    with contextlib.suppress(ConnectionError, CircuitBreakerOpenError):
        await awork()
    task = asyncio.create_task(awork())
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, CircuitBreakerOpenError):
        await task
asyncio.run(main())
str(registry.health()), registry.analytics.generate_report(), registry.reset()
del work, awork
gc.collect()
print(results)
"""


@pytest.mark.parametrize(
    ("options", "trace"),
    [(("-O",), False), (("-OO",), False), (("-W", "error"), False), (("-X", "dev", "-W", "error"), False), ((), True)],
    ids=["-O", "-OO", "-W error", "-X dev", "tracemalloc"],
)
def test_row_50_odd_interpreters(options, trace):
    """
    Without asserts, with warnings as errors, in development mode and under tracemalloc: the same, and no noise.
    """
    stdout, stderr = python(ODD, *options, trace=trace)

    assert (stdout, stderr) == ("['instead', 50]", "")
