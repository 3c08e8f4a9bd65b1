"""
What a decorated call is put through: interruption, odd callables, threads, recursion, hostile errors and texts.

Tests are named after the rows of the table of faults in ``docs/explanation``, rows 1 to 17.
"""

# ruff: noqa: N818 - the errors of these tests are named by what is wrong with them
from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import itertools
import json
import logging
import math
import operator
import random
import signal
import sys
import threading
import time
import traceback
import types
import weakref
from contextlib import suppress

import anyio
import pytest
import structlog
import trio

from resilient import (
    CircuitBreakerOpenError,
    DecorationError,
    ErrorHandlingSystem,
    Fallback,
    FallbackChainExhaustedError,
    Registry,
    RetryConfig,
    RetryMechanism,
    circuit,
    degradable,
    fallback_chain,
    recoverable,
    resilience_of,
    retry,
)
from resilient.events import AttemptFailed, CallSucceeded, OperationFailed, RetryScheduled
from resilient.testing import FakeClock
from resilient.text import LIMIT, hide


class Colour:
    """
    Sync or async: makes functions of one colour, and calls them.
    """

    def __init__(self, name):
        self.is_async = name == "async"

    def of(self, fn):
        if not self.is_async:
            return fn

        @functools.wraps(fn)
        async def same(*args, **kwargs):
            return fn(*args, **kwargs)

        return same

    def call(self, fn, *args, **kwargs):
        return asyncio.run(fn(*args, **kwargs)) if self.is_async else fn(*args, **kwargs)

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


@pytest.fixture(params=["sync", "async"])
def colour(request):
    """
    Return the colour of the functions in a test.
    """
    return Colour(request.param)


@pytest.fixture
def clock():
    """
    Return a clock that waits move by themselves.
    """
    return FakeClock()


@pytest.fixture
def registry(clock):
    """
    Return a registry on that clock, with seeded chance.
    """
    return Registry(clock=clock, rng=random.Random(1))


@pytest.fixture
def entries():
    """
    Return what is logged through a structlog that the application has configured.
    """
    capture = structlog.testing.LogCapture()
    structlog.configure(processors=[capture])
    yield capture.entries
    structlog.reset_defaults()


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


def raising(*errors, default=None):
    """
    Return a function that raises each of *errors*, then *default*, and returns "done" where that is None.
    """
    left = list(errors)

    def work(*args, quality=1.0, **kwargs):
        work.calls += 1
        error = left.pop(0) if left else default
        if error is not None:
            raise error
        return "done"

    work.calls = 0
    return work


def state(registry):
    """
    Return what is known of the circuit that `stack` uses.
    """
    return registry.circuits["c"].get_state()


def our_frames(error):
    """
    Return how many of the library's frames the error's traceback has.
    """
    return sum("/resilient/" in frame.filename for frame in traceback.extract_tb(error.__traceback__))


# -- rows 1, 2: what is no Exception --------------------------------------------------


class Stop(BaseException):
    """
    A framework's own way to leave.
    """


class Interrupted(FakeClock):
    """
    A clock in whose waits somebody presses Ctrl-C.
    """

    error = None

    def sleep(self, seconds):
        raise self.error

    async def asleep(self, seconds):
        raise self.error


PLACES = ["attempt", "second attempt", "probe", "wait", "predicate", "on_result", "playbook", "shared step", "fallback"]
PLACES += ["second fallback", "when", "listener"]


def interrupted(colour, where, error):
    """
    Return a registry, a stack that *error* hits in one place, and its function.
    """
    clock = Interrupted()
    clock.error = error
    registry = Registry(clock=clock)
    here = {"registry": registry}

    def stop(*args, **kwargs):
        raise error

    first = {"attempt": [error], "probe": [error], "second attempt": [ConnectionError(), error], "on_result": []}
    work = raising(*first[where]) if where in first else raising(default=ConnectionError())
    fn = circuit("c", success_threshold=1, **here)(colour.of(work))
    options = {"predicate": {"on": stop}, "on_result": {"on_result": stop}}.get(where, {})
    fn = retry(max_attempts=2, initial_delay=1.0 if where == "wait" else 0.0, **options, **here)(fn)
    fn = recoverable(max_runs=1, **here)(fn)
    if where in {"playbook", "shared step"}:
        scope = "shared" if where == "shared step" else "call"
        registry.playbooks.step("network", name="stop", before="retry_connection", scope=scope)(colour.of(stop))
    failing = raising(default=ConnectionError())
    chains = {"fallback": [stop], "second fallback": [failing, stop], "when": [Fallback(failing, when=stop)]}
    fn = fallback_chain(*chains.get(where, [failing]), **here)(fn)
    fn = degradable(rules={"quality": lambda value, _level: value}, **here)(fn)
    if where == "probe":
        registry.circuits["c"].state = "half_open"
    if where == "listener":
        registry.on(stop, AttemptFailed)
    return registry, fn, work


def check_interrupted(colour, where, error):
    """
    Check that *error* leaves at once, and nothing is left behind.
    """
    registry, fn, work = interrupted(colour, where, error)
    told = []
    registry.on(told.append, OperationFailed)
    with pytest.raises(type(error)) as raised:
        colour.call(fn)
    expected = 2 if where not in {"attempt", "probe", "wait", "predicate", "on_result", "listener"} else 1

    assert raised.value is error
    assert error.__cause__ is None
    assert not hasattr(error, "__notes__")
    assert expected == work.calls
    assert told == []
    assert fn.resilience.stats().failures == 0
    assert registry.circuits["c"].can_execute()


@pytest.mark.parametrize("where", PLACES)
def test_row_01_ctrl_c_leaves_at_once(colour, where):
    """
    ``KeyboardInterrupt`` is itself, unwrapped, from wherever it hits; nothing is called after it.
    """
    check_interrupted(colour, where, KeyboardInterrupt())


def test_row_01_a_real_signal_in_a_probe(colour, registry):
    """
    SIGINT in the middle of a probe leaves, and the next caller gets the probe's permit.
    """
    signals = [signal.SIGINT]

    def work(**kwargs):
        if signals:
            signal.raise_signal(signals.pop())
        return "done"

    fn = stack(colour.of(work), registry, raising())
    registry.circuits["c"].state = "half_open"
    with pytest.raises(KeyboardInterrupt):
        fn() if not colour.is_async else colour.drive(fn)

    assert colour.call(fn) == "done"
    assert state(registry)["state"] == "closed"


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, Stop])
def test_row_02_what_is_no_exception_leaves_at_once(colour, where, kind):
    """
    ``SystemExit``, ``GeneratorExit`` and a framework's own: as Ctrl-C.
    """
    check_interrupted(colour, where, kind("leave"))


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("opened", ["closed", "half_open"])
def test_row_02_a_coroutine_that_is_closed_gives_its_permit_back(registry, opened, fails):
    """
    ``close()`` in the middle of an attempt runs ``finally`` once, and counts nothing.
    """
    finals = []

    @types.coroutine
    def pause():
        yield

    async def work(**kwargs):
        if fails and opened == "closed" and not finals:
            finals.append("failed")
            raise ConnectionError
        try:
            await pause()
        finally:
            finals.append("closed")

    fn = stack(work, registry, raising())
    registry.circuits["c"].state = opened
    coroutine = fn()
    coroutine.send(None)
    coroutine.close()

    assert finals.count("closed") == 1
    assert len(finals) - 1 == state(registry)["failure_count"]
    assert (opened, 0) == (state(registry)["state"], fn.resilience.stats().failures)
    assert registry.circuits["c"].can_execute()


# -- rows 3, 4: cancellation --------------------------------------------------

STUCK = ["attempt", "probe", "second attempt", "wait", "playbook", "shared step", "fallback"]


class Stuck:
    """
    An async stack of five decorators that waits for ever in one place.
    """

    def __init__(self, where):
        self.where = where
        self.reached = []
        self.finals = []
        self.calls = 0
        self.registry = registry = Registry(clock=FakeClock(manual=True))
        if where in {"playbook", "shared step"}:
            scope = "shared" if where == "shared step" else "call"
            step = registry.playbooks.step("network", name="stuck", before="retry_connection", scope=scope, timeout=1e6)
            step(self.hang)
        self.fn = stack(
            self.work, registry, self.hang, delay=1.0 if where == "wait" else 0.0, attempts=2 if where != "wait" else 3
        )
        if where == "probe":
            registry.circuits["c"].state = "half_open"
        if where == "wait":
            registry.on(self.reached.append, RetryScheduled)

    async def hang(self, *args, **kwargs):
        try:
            self.reached.append(True)
            await anyio.sleep_forever()
        finally:
            self.finals.append(True)

    async def work(self, **kwargs):
        self.calls += 1
        if self.where in {"attempt", "probe"} or (self.where == "second attempt" and self.calls > 1):
            return await self.hang()
        raise ConnectionError

    async def until_stuck(self):
        for turn in itertools.count():
            await anyio.lowlevel.checkpoint()
            if self.reached and turn > 20:
                return

    def check(self):
        calls = 1 if self.where in {"attempt", "probe", "wait"} else 2
        assert calls == self.calls
        assert ([] if self.where == "wait" else [True]) == self.finals
        failed = calls - (self.where in {"attempt", "probe", "second attempt"})
        assert failed == state(self.registry)["failure_count"]
        assert self.fn.resilience.stats().failures == 0
        assert self.registry.circuits["c"].can_execute()
        assert failed == self.registry.analytics.total_errors


@pytest.mark.parametrize("where", STUCK)
async def test_row_03_a_cancelled_task(where):
    """
    ``CancelledError`` arrives unchanged with its message; ``finally`` runs once, and the permit is free.
    """
    stuck = Stuck(where)
    task = asyncio.create_task(stuck.fn())
    await stuck.until_stuck()
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough") as raised:
        await task

    assert raised.type is asyncio.CancelledError
    stuck.check()


@pytest.mark.parametrize("where", STUCK)
async def test_row_03_a_timeout_around(where):
    """
    ``asyncio.timeout`` around the call ends in its own TimeoutError, and leaves no cancellation behind.
    """
    stuck = Stuck(where)
    loop = asyncio.get_running_loop()

    async def limited():
        async with asyncio.timeout(None) as scope:
            watch = asyncio.create_task(stuck.until_stuck())
            watch.add_done_callback(lambda _: scope.reschedule(loop.time()))
            await stuck.fn()

    with pytest.raises(TimeoutError):
        await limited()

    assert asyncio.current_task().cancelling() == 0
    stuck.check()


@pytest.mark.parametrize("where", STUCK)
async def test_row_03_a_sibling_fails(where):
    """
    In a TaskGroup the sibling's error is the only one.
    """
    stuck = Stuck(where)

    async def sibling():
        await stuck.until_stuck()
        raise LookupError

    async def together():
        async with asyncio.TaskGroup() as group:
            group.create_task(stuck.fn())
            group.create_task(sibling())

    with pytest.raises(ExceptionGroup) as raised:
        await together()

    assert [LookupError] == [type(error) for error in raised.value.exceptions]
    stuck.check()


async def test_row_03_a_cancelled_waiter_leaves_a_shared_step_to_the_others():
    """
    Of two calls that wait for one shared step one is cancelled, and the other is recovered.
    """
    stuck = Stuck("shared step")
    one, two = asyncio.create_task(stuck.fn()), asyncio.create_task(stuck.fn())
    await stuck.until_stuck()
    two.cancel()
    with pytest.raises(asyncio.CancelledError):
        await two
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one

    assert stuck.finals == [True]
    assert stuck.fn.resilience.stats().failures == 0


@pytest.mark.parametrize("where", STUCK)
def test_row_04_a_trio_cancel_scope(where):
    """
    The scope swallows what it has cancelled, and nothing is counted.
    """
    stuck = Stuck(where)
    scopes = []

    async def run():
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await stuck.fn()

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await stuck.until_stuck()
            scopes[0].cancel()

    trio.run(main)

    assert scopes[0].cancelled_caught
    stuck.check()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("where", STUCK)
def test_row_04_an_anyio_cancel_scope(where, backend):
    """
    The same through anyio, on both of its backends.
    """
    stuck = Stuck(where)
    scopes = []

    async def run():
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await stuck.fn()

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await stuck.until_stuck()
            scopes[0].cancel()

    anyio.run(main, backend=backend)

    assert scopes[0].cancelled_caught
    stuck.check()


# -- row 5: generators --------------------------------------------------


def frames():
    """
    Make frames.
    """
    yield 1


async def aframes():
    """
    Make frames.
    """
    yield 1


class Film:
    def __call__(self):
        yield 1

    def frames(self):
        yield 1


class AsyncFilm:
    async def __call__(self):
        yield 1


GENERATORS = {
    "function": (frames, "frames"),
    "async": (aframes, "aframes"),
    "lambda": (lambda: (yield), "<lambda>"),
    "partial": (functools.partial(frames), "frames"),
    "async partial": (functools.partial(aframes), "aframes"),
    "object": (Film(), "Film"),
    "async object": (AsyncFilm(), "AsyncFilm"),
    "bound method": (Film().frames, "Film.frames"),
    "classmethod": (classmethod(frames), "frames"),
    "staticmethod": (staticmethod(aframes), "aframes"),
}
DECORATORS = {
    "retry": retry,
    "retry()": retry(max_attempts=2),
    "circuit": circuit,
    "circuit()": circuit("c"),
    "fallback_chain": fallback_chain(frames),
    "recoverable": recoverable,
    "degradable": degradable,
}


@pytest.mark.parametrize("decorator", DECORATORS)
@pytest.mark.parametrize("kind", GENERATORS)
def test_row_05_generators_are_refused(kind, decorator):
    """
    At decoration, with the decorator's name, the function's name, and what to do.
    """
    generator, name = GENERATORS[kind]
    with pytest.raises(DecorationError) as raised:
        DECORATORS[decorator](generator)
    told = str(raised.value)

    assert isinstance(raised.value, TypeError)
    assert f"@{decorator.strip('()')} " in told
    assert f"{name}: it is a" in told
    assert "decorate the function that produces one item, or one that returns the whole list" in told


# -- row 6: methods --------------------------------------------------


def everything(fn):
    """
    Put all five decorators on *fn*.
    """
    for decorator in (circuit, retry, recoverable, fallback_chain(lambda *_, **__: "no"), degradable(floor="low")):
        fn = decorator(fn)
    return fn


class Engine:
    __slots__ = ("name",)

    def __init__(self, name="engine"):
        self.name = name

    @everything
    def method(self, prompt: str, *, quality: float = 1.0) -> tuple:
        """Make one."""
        return self, prompt, quality

    @everything
    @classmethod
    def above(cls, prompt: str, *, quality: float = 1.0) -> tuple:
        """Make one."""
        return cls, prompt, quality

    @classmethod
    @everything
    def below(cls, prompt: str, *, quality: float = 1.0) -> tuple:
        """Make one."""
        return cls, prompt, quality

    @everything
    @staticmethod
    def static_above(prompt: str, *, quality: float = 1.0) -> tuple:
        """Make one."""
        return None, prompt, quality

    @staticmethod
    @everything
    def static_below(prompt: str, *, quality: float = 1.0) -> tuple:
        """Make one."""
        return None, prompt, quality

    @property
    @retry
    def title(self):
        """Its title."""
        return self.name.title()


class AsyncEngine:
    @everything
    async def method(self, prompt: str, *, quality: float = 1.0) -> tuple:
        """Make one."""
        return self, prompt, quality

    @everything
    @classmethod
    async def above(cls, prompt: str, *, quality: float = 1.0) -> tuple:
        """Make one."""
        return cls, prompt, quality

    @classmethod
    @everything
    async def below(cls, prompt: str, *, quality: float = 1.0) -> tuple:
        """Make one."""
        return cls, prompt, quality

    @everything
    @staticmethod
    async def static_above(prompt: str, *, quality: float = 1.0) -> tuple:
        """Make one."""
        return None, prompt, quality

    @staticmethod
    @everything
    async def static_below(prompt: str, *, quality: float = 1.0) -> tuple:
        """Make one."""
        return None, prompt, quality


class Better(Engine):
    __slots__ = ()

    def method(self, prompt, *, quality=1.0):
        return ("better", *super().method(prompt, quality=quality))

    @classmethod
    def below(cls, prompt, *, quality=1.0):
        return ("better", *super().below(prompt, quality=quality))

    @retry
    @staticmethod
    def static_above(prompt, *, quality=1.0) -> tuple:
        return ("better", *Engine.static_above(prompt, quality=quality))


class AsyncBetter(AsyncEngine):
    async def method(self, prompt, *, quality=1.0):
        return ("better", *await super().method(prompt, quality=quality))

    @retry
    @classmethod
    async def below(cls, prompt, *, quality=1.0):
        return ("better", *await super().below(prompt, quality=quality))


METHODS = ["method", "above", "below", "static_above", "static_below"]


@pytest.mark.parametrize("name", METHODS)
def test_row_06_methods_bind_and_look_as_they_are(colour, name):
    """
    Binding, signature, docstring, name, kind and the raw function stay true, in either order of decorators.
    """
    kind = AsyncEngine if colour.is_async else Engine
    one = kind()
    bound = getattr(one, name)
    owner = {"method": one, "above": kind, "below": kind}.get(name)

    assert (owner, "cat", 0.5) == colour.call(bound, "cat", quality=0.5)
    assert (owner, "cat", 1.0) == colour.call(functools.partial(kind.method, one) if name == "method" else bound, "cat")
    assert str(inspect.signature(bound)) == "(prompt: 'str', *, quality: 'float' = 1.0) -> 'tuple'"
    assert ("Make one.", name) == (bound.__doc__, bound.__name__)
    assert colour.is_async == inspect.iscoroutinefunction(bound)
    raw = inspect.unwrap(bound)
    assert raw is not bound
    assert not hasattr(raw, "resilience")
    assert len(resilience_of(bound).policies) == 5


@pytest.mark.parametrize("name", ["method", "below", "static_above"])
def test_row_06_overridden_and_called_by_super(colour, name):
    """
    A subclass's method calls the guarded one of its base.
    """
    if colour.is_async and name == "static_above":
        name = "method"
    kind = AsyncBetter if colour.is_async else Better
    one = kind()
    owner = {"method": one, "below": kind}.get(name)

    assert ("better", owner, "cat", 0.5) == colour.call(getattr(one, name), "cat", quality=0.5)


def test_row_06_a_circuit_belongs_to_the_function(colour, registry):
    """
    What fails on one instance opens the circuit for all, and an override has its own.
    """

    class Base:
        method = circuit(failure_threshold=1, registry=registry)(colour.of(raising(default=ConnectionError())))

    class Child(Base):
        method = circuit(failure_threshold=1, registry=registry)(colour.of(raising()))

    with pytest.raises(ConnectionError):
        colour.call(Base().method)
    with pytest.raises(CircuitBreakerOpenError):
        colour.call(Base().method)
    assert colour.call(Child().method) == "done"


@pytest.mark.parametrize("decorator", DECORATORS)
def test_row_06_a_property_is_refused_and_its_getter_is_not(decorator):
    """
    The error says where the decorator belongs.
    """
    with pytest.raises(DecorationError, match=r"the property Film\.frames; decorate the getter: write @property above"):
        DECORATORS[decorator](property(Film.frames))
    assert Engine().title == "Engine"
    assert Engine.title.__doc__ == "Its title."


# -- row 7: kinds of callables --------------------------------------------------


class Caller:
    def __init__(self):
        self.left = [ConnectionError()]

    def work(self, value=3):
        if self.left:
            raise self.left.pop()
        return value * 2

    def __call__(self, value=3):
        return self.work(value)


class AsyncCaller(Caller):
    async def __call__(self, value=3):
        return self.work(value)

    async def method(self, value=3):
        return self.work(value)


SHAPES = {
    "function": lambda: Caller().work,
    "lambda": functools.partial(lambda one: lambda value=3: one.work(value), Caller()),
    "object": Caller,
    "partial": lambda: functools.partial(Caller().work, 3),
    "partial of a partial": lambda: functools.partial(functools.partial(Caller()), value=3),
    "partial of an object": lambda: functools.partial(Caller()),
    "bound __call__": lambda: Caller().__call__,
    "cached": lambda: functools.lru_cache(Caller().work),
    "async object": AsyncCaller,
    "async method": lambda: AsyncCaller().method,
    "async partial": lambda: functools.partial(AsyncCaller().method, 3),
    "async partial of a partial": lambda: functools.partial(functools.partial(AsyncCaller().method), value=3),
    "async partial of an object": lambda: functools.partial(AsyncCaller()),
    "async bound __call__": lambda: AsyncCaller().__call__,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_row_07_the_kind_of_a_callable_is_seen(registry, shape):
    """
    It is retried, and awaited where it is async; the guarded one is async where the raw one is.
    """
    is_async = shape.startswith("async")
    degraded = None if "partial" in shape or shape == "cached" else "value"
    fn = stack(SHAPES[shape](), registry, lambda *_, **__: "no", delay=1.0, degraded=degraded)

    assert is_async == fn.resilience.is_async
    assert (asyncio.run(fn()) if is_async else fn()) == 6
    assert (fn.resilience.stats().calls, fn.resilience.stats().retries) == (1, 1)


@pytest.mark.parametrize(
    ("fn", "args", "expected"),
    [(len, ["abc"], 3), (math.sqrt, [9], 3.0), (operator.itemgetter(1), ["abc"], "b"), ("abc".upper, [], "ABC")],
)
def test_row_07_builtins(registry, fn, args, expected):
    """
    What is written in C is guarded too.
    """
    guarded = stack(fn, registry, degraded=None)

    assert expected == guarded(*args)
    with pytest.raises(TypeError):
        guarded(*args, "one", "too", "many")
    assert 1 == state(registry)["failure_count"] == registry.analytics.total_errors


@pytest.mark.parametrize("shape", [name for name in SHAPES if name.startswith("async")])
async def test_row_07_waits_never_block_the_loop(shape):
    """
    While a guarded call waits for its retry, its loop goes on; no blocking wait is warned about.
    """
    clock = FakeClock(manual=True)
    fn = retry(initial_delay=60.0, jitter=False, registry=Registry(clock=clock))(SHAPES[shape]())
    task = asyncio.create_task(fn())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    await clock.aadvance(60.0)

    assert await task == 6


def test_row_07_a_function_that_returns_an_awaitable_is_sync(registry):
    """
    Nothing tells that it is async, so its coroutine is the result, for the caller to await.
    """
    fn = retry(registry=registry)(lambda: AsyncCaller()(3))
    coroutine = fn()

    assert not inspect.iscoroutinefunction(fn)
    with pytest.raises(ConnectionError):
        asyncio.run(coroutine)


# -- rows 8, 9: threads and recursion --------------------------------------------------

MODES = {
    "quiet": {},
    "listening": {},
    "timed": {"window": "60s", "slow_call": 1.0},
    "probing": {"half_open_max_calls": 32, "success_threshold": 32},
}


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_row_08_32_threads_are_inside_one_breaker_at_once(colour, registry, mode, fails):
    """
    Nobody waits for anybody's lock, however long calls take: all 32 are under way together.
    """
    together = threading.Barrier(32, timeout=20)

    def work(**kwargs):
        together.wait()
        if fails:
            raise LookupError

    fn = stack(colour.of(work), registry, **MODES[mode])
    if mode == "listening":
        registry.on(lambda _: None, CallSucceeded)
    if mode == "probing":
        registry.circuits["c"].state = "half_open"

    def run():
        with suppress(LookupError, threading.BrokenBarrierError):
            colour.call(fn)

    threads = [threading.Thread(target=run) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not together.broken
    stats = fn.resilience.stats()
    assert (32, 32 * fails) == (stats.calls, stats.failures)
    assert ("open" if mode == "probing" and fails else "closed") == state(registry)["state"]


async def test_row_08_32_tasks_are_inside_one_breaker_at_once(registry):
    """
    The same for tasks of one loop.
    """
    together = asyncio.Barrier(32)

    async def work(**kwargs):
        return await together.wait()

    fn = stack(work, registry)

    assert set(range(32)) == set(await asyncio.gather(*(fn() for _ in range(32))))


def finishes(colour, fn, *args, **kwargs):
    """
    Call *fn* in a thread of its own, and return its result or its error; a deadlock fails the test.
    """
    results = []

    def run():
        try:
            results.append(colour.call(fn, *args, **kwargs))
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)

    assert not thread.is_alive(), "deadlock"
    return results[0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("error", [None, ConnectionError])
def test_row_09_a_stack_that_calls_itself(colour, registry, mode, error):
    """
    Recursion through all five policies, down to a success or a failure.
    """

    def down(depth, **kwargs):
        if depth:
            return 1 + down.again(depth - 1)
        if error:
            raise error
        return 0

    async def adown(depth, **kwargs):
        return (1 + await down.again(depth - 1)) if depth else down(0)

    options = dict(MODES[mode], half_open_max_calls=32) if mode == "probing" else MODES[mode]
    fn = down.again = stack(adown if colour.is_async else down, registry, attempts=1, **options)
    if mode == "listening":
        registry.on(lambda _: None, CallSucceeded)
    if mode == "probing":
        registry.circuits["c"].state = "half_open"
    result = finishes(colour, fn, 10)

    assert type(result) is error if error else result == 10
    assert fn.resilience.stats().calls == 11
    assert bool(error) == registry.analytics.total_errors


def test_row_09_endless_recursion_is_a_recursion_error(registry, monkeypatch):
    """
    It arrives as itself, nothing stays locked, and the function works afterwards.
    """
    # Where the stack ends, finalizers of anybody's fail too, and so does pytest's report of them.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    depths = []

    def down(depth, **kwargs):
        return down.again(depth + 1) if depth else "done"

    fn = down.again = stack(down, registry, attempts=1)
    result = finishes(Colour("sync"), fn, 1)
    depths.append(result)

    assert type(result) is RecursionError
    registry.reset()
    assert finishes(Colour("sync"), fn, 0) == "done"


@pytest.mark.parametrize("inner_fails", [False, True])
@pytest.mark.parametrize("opened", ["closed", "half_open"])
def test_row_09_breaker_a_inside_a(colour, registry, opened, inner_fails):
    """
    Each call counts for itself; a probe inside a probe needs a permit of its own.
    """
    here = {"registry": registry}
    inner = circuit("c", success_threshold=1, **here)(
        colour.of(raising(default=ConnectionError() if inner_fails else None))
    )

    def outer():
        return inner()

    async def aouter():
        return await inner()

    fn = circuit("c", **here)(aouter if colour.is_async else outer)
    if opened == "half_open":
        registry.circuits["c"].state = "half_open"
    result = finishes(colour, fn)
    expected = str if not inner_fails else ConnectionError
    if opened == "half_open":
        expected = CircuitBreakerOpenError

    assert expected is type(result)
    assert (2 if inner_fails and opened == "closed" else 0) == state(registry)["failure_count"]
    assert opened == state(registry)["state"]
    assert registry.circuits["c"].can_execute()


@pytest.mark.parametrize("where", ["listener", "fallback", "predicate", "rule", "step", "block"])
def test_row_09_user_code_beside_a_call_may_call_it(colour, registry, where):
    """
    A listener, a fallback, a predicate, a classifier's rule or a step that calls the guarded function does not hang.
    """
    inside = []

    def again(*args, **kwargs):
        if not inside:
            inside.append(True)
            with suppress(ConnectionError), registry.circuits["c"]:
                sync()
        return "again" if where == "fallback" else False

    work = raising(default=ConnectionError())
    sync = circuit("c", registry=registry)(work)
    if where == "listener":
        registry.on(again)
    elif where == "rule":
        registry.classifier.add(again, "network")
    elif where == "step":
        registry.playbooks.step("network", before="retry_connection")(again)
    fallbacks = [again] if where == "fallback" else []
    on = again if where == "predicate" else None

    def fails(**kwargs):
        if where == "block":
            again()
        return work()

    fn = stack(colour.of(fails), registry, *fallbacks, attempts=1, on=on)
    result = finishes(colour, fn)

    assert result == "again" if where == "fallback" else type(result) is ConnectionError
    assert inside == [True]


# -- row 10: bounded memory --------------------------------------------------


def named(name, error=ConnectionError):
    """
    Return a function called *name* that fails.
    """

    def work(**kwargs):
        raise error

    work.__name__ = work.__qualname__ = name
    return work


def fails_by_function(registry):
    """
    Return what fails under a function name of its own each time, and what reads the counts.
    """
    system = ErrorHandlingSystem(registry)
    system.retry_mechanism = RetryMechanism(RetryConfig(max_attempts=1), registry)
    system.get_fallback_chain("chain").add_fallback(named("entry"))

    def fail(number):
        with suppress(FallbackChainExhaustedError):
            system.execute_with_resilience_sync(
                named(f"work_{number}"), circuit_breaker_name="c", fallback_chain_name="chain"
            )

    return fail, system.retry_mechanism.get_stats


def fails_by_class(registry):
    """
    Return what fails with a class of its own each time, and what reads the counts.
    """

    def fail(number):
        with suppress(Exception):
            fn(type(f"Error{number}", (ConnectionError,), {})())

    def work(error, **kwargs):
        raise error

    fn = stack(work, registry, attempts=1, degraded="error")
    return fail, lambda: dict(registry.analytics.get_most_common_errors(10_000))


def fails_by_key(registry):
    """
    Each call has a message and a listener of its own, and each thousandth a closure that is decorated and dropped.
    """

    def work(key, **kwargs):
        raise ConnectionError(key)

    fn = stack(work, registry, attempts=1, degraded="key")

    def fail(number):
        if number % 1000 == 0:
            with suppress(ConnectionError):
                stack(named(f"closure_{number}"), registry, attempts=1, degraded=None)()
        stop = registry.on(lambda event: event.error.error_message, OperationFailed)
        with suppress(ConnectionError):
            fn(f"key {number} " * 10)
        stop()

    return fail, registry.analytics.get_most_common_errors


def grown_by(fail, numbers):
    """
    Return by how many bytes this process' resident memory grows while *fail* is called with *numbers*.
    """

    def resident():
        gc.collect()
        with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - read twice, and no file of ours
            return int(statm.read().split()[1]) * 4096

    before = resident()
    for number in numbers:
        fail(number)
    return resident() - before


KINDS = [fails_by_function, fails_by_class, fails_by_key]


@pytest.fixture
def no_log():
    """
    Keep all entries from pytest's handlers, which remember them.
    """
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("kind", KINDS)
def test_row_10_names_beyond_the_limit_are_counted_together(kind, caplog, no_log, registry):
    """
    As ``__other__``, with one warning, and none is lost; what is dropped is forgotten.
    """
    fail, read = kind(registry)
    for number in range(1020):
        fail(number)
    logging.disable(logging.NOTSET)
    for number in range(1020, 1040):
        fail(number)
    read = read()
    warned = sum("the rest counts as '__other__'" in record.getMessage() for record in caplog.records)

    assert (kind is not fails_by_key) == warned
    assert len(registry.analytics.error_history) == 1000
    if kind is fails_by_class:
        assert (len(read), sum(read.values()), read["__other__"]) == (1025, 1040, 16)
    elif kind is fails_by_function:
        assert (len(read), sum(one["failures"] for one in read.values())) == (1025, 1040)
        assert len(registry.analytics.generate_report()["errors_by_function"]) == 1025
    assert len(registry.functions) <= 1


@pytest.mark.slow
def test_row_10_error_classes_are_not_kept_for_ever(no_log, registry):
    """
    What is cached by class is dropped again: of 3,000 classes at most 1,024 stay.
    """
    fail, _ = fails_by_class(registry)
    classes = []
    for number in range(3000):
        fail(number)
        classes.append(weakref.ref(ConnectionError.__subclasses__()[-1]))
    gc.collect()

    assert sum(ref() is not None for ref in classes) <= 1024 + 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_row_10_a_million_names(kind, no_log, registry):
    """
    A million functions, error classes or keys leave memory as it was: it grows by at most 20 MB.
    """
    fail, _ = kind(registry)
    began = time.perf_counter()
    for number in range(3000):
        fail(number)
    # On a machine too slow for a million in half a minute, as many as it makes.
    count = min(1_000_000, int(3000 * 20 / (time.perf_counter() - began)))

    assert grown_by(fail, range(3000, 3000 + count)) <= 20_000_000


# -- row 12: enormous errors --------------------------------------------------

SIZE = 50_000_000


class Text(str):
    __slots__ = ()


def enormous_cause():
    """
    Return a small error with a large cause.
    """
    error = ValueError("small")
    error.__cause__ = KeyError("x" * SIZE)
    return error


def enormous_notes():
    """
    Return a small error with large notes.
    """
    error = ValueError("small")
    error.__notes__ = ["x" * SIZE, *["mine"] * 10_000]
    return error


ENORMOUS = {
    "text": lambda: ValueError("x" * SIZE),
    "subclass of str": lambda: ValueError(Text("x" * SIZE)),
    "bytes": lambda: ValueError(b"x" * SIZE),
    "bytearray": lambda: ValueError(bytearray(SIZE)),
    "key": lambda: KeyError("x" * SIZE),
    "os": lambda: OSError(111, "x" * SIZE),
    "connection": lambda: ConnectionError("x" * SIZE),
    "import": lambda: ImportError("x" * SIZE),
    "decode": lambda: UnicodeDecodeError("utf-8", b"x" * SIZE, 0, 1, "x"),
    "group": lambda: ExceptionGroup("x" * SIZE, [ValueError("small")]),
    "members": lambda: ExceptionGroup("group", [ValueError("x" * SIZE)] * 10_000),
    "error in an error": lambda: RuntimeError(KeyError("x" * SIZE)),
    "arguments": lambda: ValueError(*range(1_000_000)),
    "arguments in an error": lambda: RuntimeError(ValueError(*range(1_000_000))),
    "lists": lambda: ConnectionError([[0] * 1_000_000] * 10),
    "error in a connection error": lambda: ConnectionError(KeyError("x" * SIZE)),
    "dict": lambda: ValueError(dict.fromkeys(range(1_000_000))),
    "cause": enormous_cause,
    "notes": enormous_notes,
    "name": type("E" * 5_000_000, (ConnectionError,), {}),
    "server's answer": lambda: ValueError('{"error": "' + "x" * SIZE + '"}'),
    "GPU": lambda: RuntimeError("x" * SIZE + " CUDA out of memory"),
}


@pytest.mark.parametrize("kind", ENORMOUS)
def test_row_12_enormous_errors_cost_nothing(colour, entries, registry, kind, untraced):
    """
    Recorded, logged, told and shown in at most 2 KiB, within 10 ms through all policies.
    """
    error = ENORMOUS[kind]()
    fn = stack(colour.of(raising(default=error)), registry, raising(default=error), attempts=2)
    took = []
    for _ in range(5):
        began = time.thread_time()
        with pytest.raises(FallbackChainExhaustedError) as raised:
            colour.drive(fn)
        took.append(time.thread_time() - began)
    assert raised.value.errors[0] is error
    # What pytest would show of it takes seconds.
    raised.value.__cause__ = None
    began = time.thread_time()
    outcome = colour.drive(fn.resilience.outcome)
    texts = [str(outcome), str(registry.health()), *(str(one) for one in entries)]
    texts += [info.error_message for info in registry.analytics.error_history]
    shown = time.thread_time() - began

    assert min(took) < 0.01
    assert max(map(len, texts)) < 10 * LIMIT
    assert all(len(info.error_message) <= LIMIT + 100 for info in registry.analytics.error_history)
    assert shown < 0.5
    for note in getattr(error, "__notes__", ()):
        assert len(note) < LIMIT or note == "x" * SIZE


# -- row 13: hostile errors --------------------------------------------------


def refuse(*args, **kwargs):
    """
    Raise, whatever is asked.
    """
    raise RuntimeError("hostile")


class Texts(ConnectionError):
    __str__ = __repr__ = __format__ = refuse


class Endless(ConnectionError):
    def __str__(self):
        return str(self)

    __repr__ = __str__


class NoText(ConnectionError):
    def __str__(self):
        return 42  # noqa: PLE0307 - that is what is wrong with it

    __repr__ = __str__


class Copies(ConnectionError):
    __reduce__ = __reduce_ex__ = __copy__ = __deepcopy__ = __getstate__ = refuse


class Class(ConnectionError):
    __class__ = property(refuse)


class Liar(ConnectionError):
    @property
    def __class__(self):
        return KeyboardInterrupt


class Sets(ConnectionError):
    __setattr__ = __delattr__ = refuse


class Gets(ConnectionError):
    __getattribute__ = refuse


class Compares(ConnectionError):
    __eq__ = __ne__ = __lt__ = __bool__ = __len__ = __iter__ = __contains__ = refuse
    __hash__ = refuse


class Attributes(ConnectionError):
    args = errno = response = retry_after = status_code = __notes__ = __cause__ = __context__ = property(refuse)
    add_note = with_traceback = refuse


class Traceback(ConnectionError):
    __traceback__ = property(refuse)


class Meta(type):
    __name__ = property(refuse)
    # No __subclasscheck__ that raises: with one, Python itself cannot raise its instances.
    __eq__ = __repr__ = refuse
    __hash__ = type.__hash__


class Metaclass(ConnectionError, metaclass=Meta):
    pass


class Memory(Compares, MemoryError):
    __str__ = __repr__ = refuse
    __traceback__ = __cause__ = property(refuse)


HOSTILE = [Texts, Endless, NoText, Copies, Class, Liar, Sets, Gets, Compares, Attributes, Traceback, Metaclass, Memory]
HOSTILE_IDS = [type.__dict__["__name__"].__get__(kind) for kind in HOSTILE]


def ending(error, fn, *args):
    """
    Call *fn*, and tell as a text whether *error* came out of it: pytest could not show a hostile error.
    """
    try:
        fn(*args)
    except BaseException as raised:
        if raised is error:
            return "itself"
        *_, last = traceback.extract_tb(BaseException.__dict__["__traceback__"].__get__(raised))
        return f"{type.__dict__['__name__'].__get__(type(raised))} at {last.filename}:{last.lineno}"
    return "returned"


@pytest.mark.parametrize("caused", [False, True])
@pytest.mark.parametrize("kind", HOSTILE, ids=HOSTILE_IDS)
def test_row_13_hostile_errors_arrive_as_themselves(colour, entries, registry, kind, caused):
    """
    Through every policy, recorded, logged and told; alone or as the cause of another one.
    """
    hostile = error = kind()
    if caused:
        error = MemoryError("outer")
        error.__cause__ = hostile
    registry.on(lambda _: None)
    work = raising(default=error)
    fn = stack(colour.of(work), registry, Fallback(raising(), on=LookupError), attempts=2, on=lambda _: True)
    told = []

    def tell():
        outcome = colour.drive(fn.resilience.outcome)
        told.extend([str(outcome), outcome.error is error])

    raised, outcome = ending(error, colour.drive, fn), ending(error, tell)

    assert (raised, outcome) == ("itself", "returned")
    assert told[1]
    assert "attempt 1 raised" in told[0]
    assert work.calls >= 4
    assert work.calls == registry.analytics.total_errors
    texts = {info.error_message for info in registry.analytics.error_history}
    if kind in {Texts, Endless, NoText} and not caused:
        assert {f"<unprintable {kind.__name__}>"} == texts
    assert str(registry.health())
    assert {"resilient.operation.failed", "resilient.attempt.failed"} <= {entry["event"] for entry in entries}


@pytest.mark.parametrize("kind", HOSTILE, ids=HOSTILE_IDS)
def test_row_13_a_chain_that_is_exhausted_by_hostile_errors(colour, entries, registry, kind):
    """
    ``FallbackChainExhaustedError`` has them all, and can be shown.
    """
    first, second = kind(), kind()
    fn = stack(colour.of(raising(default=first)), registry, raising(default=second), attempts=1)
    told = []

    def tell():
        try:
            colour.drive(fn)
        except FallbackChainExhaustedError as error:
            told.append([one is own for one, own in zip(error.errors, (first, second), strict=True)])
            told.append(error.__cause__ is first)
            told.append(f"{error} {error!r}")

    assert ending(None, tell) == "returned"
    assert told[:2] == [[True, True], True]
    assert "2 offers failed" in told[2]


class Request:
    __repr__ = __str__ = refuse


@pytest.mark.parametrize("value", [Request(), "x" * SIZE, [0] * 1_000_000], ids=["hostile", "long", "many"])
def test_row_13_changed_arguments_can_be_told(colour, registry, value):
    """
    An argument that a service level has changed is told by as much of its ``repr`` as it gives.
    """
    fn = colour.of(lambda request: "done")
    fn = degradable(rules={"request": lambda value, _level: "small"}, registry=registry)(fn)
    registry.degradation.degrade("test")
    outcome = colour.drive(fn.resilience.outcome, value)

    assert "level high: request " in str(outcome)
    assert "-> 'small'" in str(outcome)
    assert len(str(outcome)) < LIMIT


# -- row 14: chains and groups --------------------------------------------------


def a_loop():
    """
    Return an error that is its own cause and context.
    """
    error = ValueError("loop")
    inner = KeyError("inner")
    # Not by `raise`, which breaks cycles.
    error.__context__, inner.__context__ = inner, error
    error.__cause__ = inner.__cause__ = error
    return error


def deep(link):
    """
    Return what makes a chain of ten thousand errors.
    """

    def make():
        error = ConnectionError("deepest")
        for _ in range(10_000):
            outer = ValueError("deep")
            setattr(outer, link, error)
            error = outer
        return error

    return make


def nested():
    """
    Return a thousand groups within each other.
    """
    group = ExceptionGroup("nested", [ConnectionError("leaf")])
    for _ in range(1000):
        group = ExceptionGroup("nested", [group])
    return group


def wide():
    """
    Return a group of a hundred thousand errors.
    """
    return ExceptionGroup("wide", [ConnectionError(str(number)) for number in range(100_000)])


def tangled():
    """
    Return a group that is the cause of its members.
    """
    group = ExceptionGroup("tangled", [ConnectionError("leaf"), ValueError("leaf")])
    for error in group.exceptions:
        error.__cause__ = error.__context__ = group
    return group


def in_itself():
    """
    Return an error that is its own argument.
    """
    error = ConnectionError()
    error.args = (error, [error])
    return error


def in_its_arguments():
    """
    Return ten thousand errors, each the argument of the next.
    """
    error = ConnectionError("innermost")
    for _ in range(10_000):
        error = RuntimeError(error)
    return error


def out_of_memory():
    """
    Return a memory error that is its own cause.
    """
    error = MemoryError("CUDA out of memory")
    error.__cause__ = error
    return error


CHAINS = {
    "loop": a_loop,
    "causes": deep("__cause__"),
    "contexts": deep("__context__"),
    "nested": nested,
    "wide": wide,
    "tangled": tangled,
    "in itself": in_itself,
    "in its arguments": in_its_arguments,
    "memory": out_of_memory,
}


def take_apart(error):
    """
    Break the chain of *error*: ten thousand errors are freed by recursion, and pytest cannot show them.
    """
    while error is not None:
        inner = error.__cause__ or error.__context__ or next(iter(error.args), None)
        error.__cause__ = error.__context__ = None
        error.args = ()
        error = inner if isinstance(inner, BaseException) else None


@pytest.mark.parametrize("chain", CHAINS)
def test_row_14_endless_chains_are_survived(colour, entries, registry, chain, untraced):
    """
    Classified, recorded, logged and told without a RecursionError, and raised as themselves.
    """
    error = CHAINS[chain]()
    fn = stack(
        colour.of(raising(default=error)), registry, Fallback(raising(), on=LookupError), attempts=2, on=Exception
    )
    began = time.thread_time()
    try:
        colour.drive(fn)
    except Exception as raised:
        arrived, what = raised is error, type(raised).__name__
    outcome = colour.drive(fn.resilience.outcome)
    told, same = str(outcome), outcome.error is error
    took = time.thread_time() - began
    del outcome
    messages = [info.error_message for info in registry.analytics.error_history]
    take_apart(error)

    assert arrived, what
    assert same
    assert "attempt 2 raised" in told
    assert len(messages) >= 4
    assert all(len(one) <= LIMIT for one in messages)
    assert took < 0.5


# -- row 15: one instance --------------------------------------------------


def under(kind):
    """
    Return how to put one decorator, or all of them, on a function.
    """
    chain = Fallback(raising(), on=LookupError)
    return {
        "retry": lambda fn, here: retry(max_attempts=3, initial_delay=0, **here)(fn),
        "circuit": lambda fn, here: circuit(failure_threshold=1000, **here)(fn),
        "recoverable": lambda fn, here: recoverable(**here)(fn),
        "fallback_chain": lambda fn, here: fallback_chain(chain, **here)(fn),
        "all": lambda fn, here: stack(fn, here["registry"], chain),
        "listened to": lambda fn, here: stack(fn, here["registry"], chain),
        "probing": lambda fn, here: circuit(failure_threshold=1, open_for=0.0, **here)(fn),
    }[kind]


@pytest.mark.parametrize("kind", ["retry", "circuit", "recoverable", "fallback_chain", "all", "listened to", "probing"])
def test_row_15_frames_of_ours_are_constant_per_raise(colour, registry, kind):
    """
    One instance, raised again and again, has at most two of our frames more for each call that raised it.
    """
    error = ConnectionError("always")
    fn = under(kind)(colour.of(raising(default=error)), {"registry": registry})
    if kind == "listened to":
        registry.on(lambda _: None, CallSucceeded)
    sizes = []
    for _ in range(6):
        with pytest.raises(ConnectionError) as raised:
            colour.drive(fn)
        assert raised.value is error
        sizes.append(our_frames(error))
    grown = [after - before for before, after in itertools.pairwise(sizes)]

    assert sizes[0] <= 2
    assert set(grown) <= {1, 2}
    assert len(set(grown)) == 1


@pytest.mark.parametrize("through", ["all", "two functions"])
def test_row_15_our_note_is_replaced(colour, clock, registry, through):
    """
    The user's notes stay, in order, and ours stands once, with the latest counts.
    """
    error = ConnectionError("always")
    error.add_note("mine")
    fn = stack(colour.of(raising(default=error)), registry, attempts=3, delay=1.0)
    if through == "two functions":
        inner = fn

        def call():
            return inner()

        async def acall():
            return await inner()

        fn = retry(max_attempts=2, initial_delay=2.0, jitter=False, registry=registry)(
            acall if colour.is_async else call
        )
    for round_ in range(4):
        with pytest.raises(ConnectionError):
            colour.call(fn)
        error.add_note(f"round {round_}")
    ours = [note for note in error.__notes__ if note.startswith("resilient: ")]

    assert ["mine", *(f"round {number}" for number in range(4))] == [one for one in error.__notes__ if one not in ours]
    attempts = "3 attempts, 3 s" if through == "all" else "2 attempts, 5 s"
    assert [f"resilient: gave up after {attempts} after the first failure"] == ours


class NoNotes(ConnectionError):
    __notes__ = property(refuse)


class FullOfNotes(ConnectionError):
    __notes__ = ("frozen",)


class OddNotes(ConnectionError):
    def __init__(self):
        self.__notes__ = 42


@pytest.mark.parametrize("kind", [NoNotes, OddNotes, Sets, Gets])
def test_row_15_a_note_that_cannot_be_set_is_dropped(colour, registry, kind):
    """
    The error arrives without it, as itself.
    """
    error = kind()
    fn = stack(colour.of(raising(default=error)), registry, attempts=2, on=Exception)
    arrived = None
    try:
        colour.drive(fn)
    except Exception as raised:
        arrived = raised

    assert arrived is error
    assert registry.analytics.total_errors == 2


def test_row_15_notes_of_a_class_stay_the_classs(colour, registry):
    """
    Ours is put on the instance, beside what the class gives to all.
    """
    fn = stack(colour.of(raising(default=FullOfNotes())), registry, attempts=2)
    with pytest.raises(FullOfNotes) as raised:
        colour.drive(fn)

    assert len(raised.value.__notes__) == 2
    assert FullOfNotes.__notes__ == ("frozen",)


# -- row 16: secrets --------------------------------------------------

SECRETS = {
    "keyword": ("s3cr3t-value", "call(api_key='s3cr3t-value', size=3) failed"),
    "json": ("s3cr3t-value", '{"password": "s3cr3t-value", "user": "me"}'),
    "query": ("s3cr3t-value", "GET https://api.example.com/v1?token=s3cr3t-value&size=3"),
    "userinfo": ("hunter2", "postgres://admin:hunter2@db.example.com/films is down"),
    "bearer": ("abcdef123456", "401 for Authorization: Bearer abcdef123456"),
    "basic": ("YWRtaW46aHVudGVyMg==", "headers={'Authorization': 'Basic YWRtaW46aHVudGVyMg=='}"),
    "cookie": ("0123456789abcdef", "Cookie: session=0123456789abcdef; theme=dark"),
    "sk": ("sk-proj-abcdefghijklmnop", "Incorrect API key provided: sk-proj-abcdefghijklmnop."),
    "hugging face": ("hf_AbCdEfGhIjKlMnOp", "401 with hf_AbCdEfGhIjKlMnOp"),
    "pattern": ("ZEBRA-1234", "tenant ZEBRA-1234 is locked"),
}


@pytest.fixture
def secret_circuit(registry):
    """
    Return a function that makes a stack over a circuit that opens at the first failure.
    """
    return functools.partial(stack, registry=registry, attempts=2, on=Exception, failure_threshold=1)


@pytest.mark.parametrize("kind", SECRETS)
def test_row_16_secrets_in_messages_are_redacted(colour, entries, registry, secret_circuit, kind):
    """
    In logs, history, report, health, recovery history, the outcome's story and the errors that we raise.
    """
    secret, message = SECRETS[kind]
    stop = hide(secret) if kind == "pattern" else lambda: None
    fn = secret_circuit(colour.of(raising(default=ConnectionError(message))))
    try:
        first = colour.drive(fn.resilience.outcome)
        second = colour.drive(fn.resilience.outcome)
        texts = {
            "log": str(entries),
            "history": str(registry.analytics.error_history),
            "report": json.dumps(registry.analytics.generate_report()),
            "health": json.dumps(registry.health().to_dict()),
            "table": str(registry.health()),
            "recovery": str(registry.playbooks.get_recovery_history()),
            "story": str(first) + str(second),
            "rejection": f"{second.error} {second.error!r} {second.error.last_error}",
            "circuit": f"{state(registry)} {registry.circuits['c'].snapshot()} {registry.circuits['c']!r}",
            "function": repr(fn.resilience),
        }
    finally:
        stop()

    assert isinstance(second.error, CircuitBreakerOpenError)
    assert {name: text for name, text in texts.items() if secret in text} == {}
    for name in ("log", "history", "story", "rejection"):
        assert "[redacted]" in texts[name], name


def test_row_16_a_secret_at_the_cut_is_redacted(colour, registry, secret_circuit):
    """
    What is cut off a long message does not uncover the rest of a secret.
    """
    for padding in range(140, 220, 4):
        error = ConnectionError("x" * padding + " password=" + "z" * 40 + "q9")
        fn = secret_circuit(colour.of(raising(default=error)))
        registry.circuits["c"].close()
        colour.drive(fn.resilience.outcome)

        assert "zzz" not in str(colour.drive(fn.resilience.outcome).error)


def test_row_16_an_exhausted_chain_tells_no_secret(colour, entries, registry):
    """
    Neither its text nor its ``repr`` has the messages of the errors that it holds.
    """
    secret, message = SECRETS["keyword"]
    fn = stack(colour.of(raising(default=ConnectionError(message))), registry, raising(default=ValueError(message)))
    with pytest.raises(FallbackChainExhaustedError) as raised:
        colour.drive(fn)

    assert secret not in f"{raised.value} {raised.value!r} {entries}"


def test_row_16_arguments_are_not_shown(colour, entries, registry):
    """
    Arguments, positional or by keyword, are in no log, and in nothing that the registry tells.
    """
    work = raising(*[ConnectionError("down")] * 4)
    fn = stack(colour.of(work), registry, raising(default=ConnectionError("down")), attempts=2)
    with suppress(FallbackChainExhaustedError):
        colour.drive(fn, "positional-argument", prompt="keyword-argument")
    outcome = colour.drive(fn.resilience.outcome, "positional-argument", prompt="keyword-argument")
    texts = f"{entries} {registry.analytics.error_history} {registry.health()} {outcome}"

    assert entries
    assert "-argument" not in texts


# -- row 17: characters that steer --------------------------------------------------

UGLY = "two\nlines \x1b[31mred\x1b[0m \x00 \x07 \x9b2J \u202egnol\u202c \u2028 \ud800 \r\n [fake] level=info"
UNSAFE = set("\n\r\x1b\x00\x07\x9b\u202e\u202c\u2028\ud800")


def check_safe(text):
    """
    Check that nothing in *text* steers a terminal or breaks a line.
    """
    assert not UNSAFE & set(text), text
    text.encode()


@pytest.fixture
def ugly(colour, registry, entries):
    """
    Return a function whose name, circuit, chain, fallback, step and errors have all kinds of bad characters in them.
    """
    here = {"registry": registry}
    error = type(f"Ugly{UGLY.replace(chr(0), '').replace(chr(0xD800), '')}", (ConnectionError,), {})(UGLY)

    def fallback(*args, **kwargs):
        raise error

    def work(*args, quality=1.0):
        raise error

    work = colour.of(work)
    work.__name__ = work.__qualname__ = f"work {UGLY}"
    registry.playbooks.step("network", name=f"step {UGLY}", before="retry_connection")(lambda _ctx: True)
    fn = circuit(f"circuit {UGLY}", failure_threshold=3, **here)(work)
    fn = recoverable(max_runs=1, **here)(retry(max_attempts=2, initial_delay=0, **here)(fn))
    fn = fallback_chain(Fallback(fallback, name=f"entry {UGLY}"), name=f"chain {UGLY}", **here)(fn)
    registry.degradation.scope(f"scope {UGLY}").degrade(f"reason {UGLY}")
    registry.degradation.degrade(f"reason {UGLY}")
    return degradable(rules={"quality": lambda value, _level: f"{value}{UGLY}"}, **here)(fn)


def test_row_17_logs_are_one_safe_line_each(colour, ugly, entries):
    """
    No value of any entry has a character that steers, and each entry is valid JSON.
    """
    colour.drive(ugly.resilience.outcome)
    colour.drive(ugly.resilience.outcome)
    events = {entry["event"] for entry in entries}

    assert {"resilient.attempt.failed", "resilient.circuit.opened", "resilient.level.changed"} <= events
    assert {"resilient.recovery.run", "resilient.fallback.used", "resilient.call.rejected"} <= events
    for entry in entries:
        check_safe(json.dumps(entry, ensure_ascii=False, allow_nan=False))
        for value in (*entry.keys(), *map(str, entry.values())):
            check_safe(value)


def test_row_17_the_standard_log_has_one_line_for_each_entry(colour, ugly, caplog):
    """
    The same without a structlog that somebody has configured.
    """
    structlog.reset_defaults()
    with caplog.at_level("DEBUG", "resilient"):
        colour.drive(ugly.resilience.outcome)

    assert len(caplog.records) > 5
    for record in caplog.records:
        check_safe(record.getMessage())


def test_row_17_health_and_report_are_safe_and_valid_json(colour, registry, ugly):
    """
    Each line of the table, and JSON without NaN, infinity or lone surrogates.
    """
    colour.drive(ugly.resilience.outcome)
    health = registry.health()
    documents = [
        health.to_dict(),
        registry.analytics.generate_report(),
        [str(info) for info in registry.analytics.error_history],
    ]

    for line in str(health).split("\n"):
        check_safe(line)
    for document in documents:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        check_safe(text)
        assert document == json.loads(text)


def test_row_17_the_story_of_an_outcome_is_safe(colour, ugly):
    """
    Each of its lines; so are the errors that we raise.
    """
    first = colour.drive(ugly.resilience.outcome)
    second = colour.drive(ugly.resilience.outcome)

    assert "rejected" in str(second) or isinstance(second.error, FallbackChainExhaustedError)
    for outcome in (first, second):
        for line in str(outcome).split("\n"):
            check_safe(line)
        check_safe(str(outcome.error))
        check_safe(repr(outcome.error))


def test_row_17_a_rejection_is_safe(colour, registry, ugly):
    """
    What an open circuit says of itself and of what has opened it.
    """
    colour.drive(ugly.resilience.outcome)
    breaker = registry.circuits[f"circuit {UGLY}"]
    assert breaker.get_state()["state"] == "open"
    with pytest.raises(CircuitBreakerOpenError) as raised:
        breaker.call(lambda: "never")

    for text in (str(raised.value), repr(raised.value), repr(breaker), raised.value.last_error):
        check_safe(text)
