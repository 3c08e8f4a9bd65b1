"""
Faults 5 to 7: generators (5), methods of every kind and properties (6), callables of odd kinds (7).
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import operator

import pytest

from resilient import (
    BlockingWaitWarning,
    CircuitBreakerOpenError,
    DecorationError,
    Registry,
    circuit,
    degradable,
    fallback_chain,
    recoverable,
    resilience_of,
    retry,
)
from resilient.testing import FakeClock
from tests.harness import script, stack, state

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
    def above(cls, prompt, *, quality=1.0):
        return ("better", *super().above(prompt, quality=quality))

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

    @classmethod
    async def above(cls, prompt, *, quality=1.0):
        return ("better", *await super().above(prompt, quality=quality))

    @retry
    @classmethod
    async def below(cls, prompt, *, quality=1.0):
        return ("better", *await super().below(prompt, quality=quality))

    @retry
    @staticmethod
    async def static_above(prompt, *, quality=1.0) -> tuple:
        return ("better", *await AsyncEngine.static_above(prompt, quality=quality))


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


@pytest.mark.parametrize("name", METHODS)
def test_row_06_inherited_methods_bind_to_the_subclass(colour, name):
    """
    What a subclass does not override is called with it, or with its instance.
    """
    kind = type("Heir", (AsyncEngine if colour.is_async else Engine,), {})
    one = kind()
    owner = {"method": one, "above": kind, "below": kind}.get(name)

    assert (owner, "cat", 1.0) == colour.call(getattr(one, name), "cat")


@pytest.mark.parametrize("name", ["method", "above", "below", "static_above"])
def test_row_06_overridden_and_called_by_super(colour, name):
    """
    A subclass's method calls the guarded one of its base.
    """
    kind = AsyncBetter if colour.is_async else Better
    one = kind()
    owner = {"method": one, "above": kind, "below": kind}.get(name)

    assert ("better", owner, "cat", 0.5) == colour.call(getattr(one, name), "cat", quality=0.5)


def test_row_06_a_circuit_belongs_to_the_function(colour, registry):
    """
    What fails on one instance opens the circuit for all, and an override has its own.
    """

    class Base:
        method = circuit(failure_threshold=1, registry=registry)(colour.of(script(ConnectionError())))

    class Child(Base):
        method = circuit(failure_threshold=1, registry=registry)(colour.of(script("done")))

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
    "async partial of a bound __call__": lambda: functools.partial(AsyncCaller().__call__),
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


def test_row_07_a_sync_wait_on_a_running_loop_is_warned_about_once(registry):
    """
    Once for each function, and the call goes on.
    """
    work = script(*[ConnectionError()] * 4, "done")
    fn = retry(max_attempts=5, registry=registry)(work)

    async def main():
        return fn()

    with pytest.warns(BlockingWaitWarning) as caught:
        assert asyncio.run(main()) == "done"

    assert (len(caught), work.calls) == (1, 5)


def test_row_07_a_function_that_returns_an_awaitable_is_sync(registry):
    """
    Nothing tells that it is async, so its coroutine is the result, for the caller to await.
    """
    fn = retry(registry=registry)(lambda: AsyncCaller()(3))
    coroutine = fn()

    assert not inspect.iscoroutinefunction(fn)
    with pytest.raises(ConnectionError):
        asyncio.run(coroutine)
