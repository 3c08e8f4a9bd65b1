"""
What several files of tests use to make functions, and to call them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import select
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime

import anyio
import pytest

from resilient import circuit, degradable, delivery, fallback_chain, kinds, logs, recoverable, retry, timeout
from resilient.errorinfo import ErrorCategory, ErrorInfo, ErrorSeverity
from resilient.events import RetryScheduled
from resilient.testing import capture_events

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
"""
When the error of `error_info` happened.
"""

PATIENCE = 20.0
"""
Seconds after which a test that hangs gives up.
"""


class Colour:
    """
    Sync or async: makes functions of one colour, and calls them.
    """

    def __init__(self, name):
        self.is_async = name == "async"

    def of(self, fn):
        """
        Return *fn*, or a coroutine function that does the same.
        """
        if not self.is_async:
            return fn

        @functools.wraps(fn)
        async def same(*args, **kwargs):
            return fn(*args, **kwargs)

        return same

    def call(self, fn, *args, **kwargs):
        """
        Call *fn*, in an event loop of its own where it is async.
        """
        return asyncio.run(fn(*args, **kwargs)) if self.is_async else fn(*args, **kwargs)

    def outcome(self, fn, *args, **kwargs):
        """
        Return the outcome of a call of *fn*, a decorated function.
        """
        return self.call(fn.resilience.outcome, *args, **kwargs)

    def drive(self, fn, *args, **kwargs):
        """
        Call *fn*, which waits for nothing, without an event loop: asyncio asks for a failed task's ``repr``.
        """
        if not self.is_async:
            return fn(*args, **kwargs)
        try:
            fn(*args, **kwargs).send(None)
        except StopIteration as stop:
            return stop.value
        message = "it waits"
        raise AssertionError(message)


def script(*outcomes):
    """
    Return a function that raises or returns *outcomes*, one a call, and then the last one again; it counts its calls.
    """

    def play(*args, **kwargs):
        outcome = outcomes[min(play.calls, len(outcomes) - 1)]
        play.calls += 1
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    play.calls = 0
    return play


def delays_of(colour, registry, fn):
    """
    Return the delays before each retry of a call of *fn*, whatever came of it.
    """
    with capture_events(registry) as events:
        colour.outcome(fn)
    return [event.delay for event in events if isinstance(event, RetryScheduled)]


def shown(value):
    """
    Return what names a parameter: its `repr` without addresses, so that a test has the same name in every process.
    """
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def caught(fn, *args, **kwargs):
    """
    Return what *fn* raises, whatever it is.
    """
    try:
        fn(*args, **kwargs)
    except BaseException as error:
        return error
    message = "nothing was raised"
    raise AssertionError(message)


def run_threads(*targets):
    """
    Run functions at once, each on a thread of its own, and give up on those that hang.
    """
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert not any(thread.is_alive() for thread in threads)


class Tensor:
    """
    Something large that a frame may keep alive.
    """


class Middle:
    """
    Chance that always comes out in the middle.
    """

    def uniform(self, a, b):
        return (a + b) / 2


def in_thread(fn, *args):
    """
    Call *fn* on a thread of its own, and return its result or its error; a deadlock fails the test.
    """
    results = []

    def run():
        try:
            results.append(fn(*args))
        except BaseException as error:
            results.append(error)

    # Nobody waits for it at the end, should it hang.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)

    assert not thread.is_alive(), "deadlock"
    return results[0]


def stack(fn, registry, *fallbacks, attempts=3, on=None, delay=0.0, degraded="quality", **circuit_options):
    """
    Return *fn* under all five decorators, those that apply to it, in the order that works as it is meant.
    """
    here = {"registry": registry}
    options = {} if on is None else {"on": on}
    fn = circuit("c", **{"failure_threshold": 1_000_000, "success_threshold": 1, **circuit_options}, **here)(fn)
    fn = retry(max_attempts=attempts, initial_delay=delay, jitter=False, **options, **here)(fn)
    fn = recoverable(**here)(fn)
    if fallbacks:
        fn = fallback_chain(*fallbacks, **here)(fn)
    return degradable(rules={degraded: lambda value, _level: value}, **here)(fn) if degraded else fn


def state(registry):
    """
    Return what is known of the circuit that `stack` uses.
    """
    return registry.circuits["c"].get_state()


def python(*arguments, env=None, **how):
    """
    Run an interpreter of its own with *arguments*, and return what it wrote to stdout and to stderr.
    """
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        check=False,
        env={**os.environ, **(env or {})},
        text=True,
        timeout=100,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how},
    )

    assert done.returncode == 0, f"exit {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout, done.stderr


def error_info(**fields):
    """
    Return an ErrorInfo of a late answer, but for *fields*.
    """
    given = {
        "timestamp": NOON,
        "error_type": "Timeout",
        "error_message": "late",
        "category": ErrorCategory.NETWORK,
        "severity": ErrorSeverity.LOW,
    }
    return ErrorInfo(**{**given, **fields})


@contextlib.contextmanager
def held(*locks):
    """
    Have *locks* held by a thread of its own.
    """
    taken, done = threading.Event(), threading.Event()

    def hold():
        with contextlib.ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            taken.set()
            done.wait()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    try:
        assert taken.wait(PATIENCE)
        yield
    finally:
        done.set()
        thread.join(PATIENCE)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
may_fork = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def in_fork(work):
    """
    Return the text of what *work* returns, or raises, in a forked child; one that hangs is killed.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - the child reports by what it writes alone
        text = "?"
        try:
            text = str(work())
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        finally:
            os.write(writer, text.encode()[:4096])
            os._exit(0)
    os.close(writer)
    try:
        ready, _, _ = select.select([reader], [], [], PATIENCE)
        text = os.read(reader, 4096).decode() if ready else "deadlock"
        if not ready:
            os.kill(child, signal.SIGKILL)
    finally:
        os.waitpid(child, 0)
        os.close(reader)
    return text


class Hang:
    """
    In a `script`: a call that hangs.

    Args:
        seconds: What it moves the clock by, where it is sync: nobody else would.
    """

    def __init__(self, seconds=0.0):
        self.seconds = seconds


class Hanging:
    """
    Makes functions of one colour some of whose calls hang until they are let go, or cancelled.

    Args:
        colour: Theirs.
        clock: A clock for tests.
    """

    def __init__(self, colour, clock):
        self.colour = colour
        self.clock = clock
        self.let_go = threading.Event()
        self.cleaned = []

    def of(self, *outcomes):
        """
        Return a function that does what *outcomes* say, as `script` does; ``fn.calls()`` tells how often it was called.
        """
        play = script(*outcomes)

        def work(*args, **kwargs):
            outcome = play()
            if isinstance(outcome, Hang):
                self.clock.advance(outcome.seconds)
                self.let_go.wait(PATIENCE)
                return "late"
            return outcome

        async def awork(*args, **kwargs):
            outcome = play()
            if isinstance(outcome, Hang):
                try:
                    await anyio.sleep_forever()
                finally:
                    self.cleaned.append(True)
            return outcome

        fn = awork if self.colour.is_async else work
        fn.calls = lambda: play.calls
        return fn

    def limit(self, seconds, **options):
        """
        Return ``@timeout(seconds)`` as this colour takes it.
        """
        return timeout(seconds, in_thread=not self.colour.is_async, **options)


@contextlib.contextmanager
def kinds_put_back():
    """
    Take the kinds of policies that are added within this block, and their events, out again.
    """
    # Nobody but a test takes a kind back, so there is no way to.
    tables = [kinds._added, logs._NAMES, logs._NUMBERS, logs._levels]  # noqa: SLF001 - as above
    before = [dict(table) for table in tables]
    order, known = kinds._order, delivery._known  # noqa: SLF001 - as above
    try:
        yield
    finally:
        for table, old in zip(tables, before, strict=True):
            table.clear()
            table.update(old)
        kinds._order, delivery._known = order, known  # noqa: SLF001 - as above
