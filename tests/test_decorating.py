"""
How a policy gets onto a function, whatever kind of function it is.
"""

from __future__ import annotations

import abc
import asyncio
import copy
import doctest
import functools
import gc
import inspect
import pickle
import traceback
import types
import typing
import warnings
import weakref

import pytest
import wrapt

from resilient import (
    DecorationError,
    PolicyError,
    PolicyOrderWarning,
    Registry,
    circuit,
    default_registry,
    degradable,
    fallback_chain,
    recoverable,
    resilience_of,
    retry,
)
from resilient.decorating import GuardedCallable, name_of
from resilient.testing import FakeClock, isolated_registry, no_waits
from tests.harness import run_threads


def both_kinds(fn, registry):
    """
    Return *fn* under two policies.
    """
    return retry(registry=registry)(circuit(registry=registry)(fn))


def plain(value: int, *, factor: float = 2.0) -> float:
    """
    Multiply.

    >>> plain(2)
    4.0
    """
    return value * factor


async def aplain(value: int, *, factor: float = 2.0) -> float:
    """
    Multiply, some day.
    """
    return value * factor


# -- looks ---------------------------------------------------------------------


@pytest.mark.parametrize("fn", [plain, aplain])
def test_a_decorated_function_looks_like_itself(registry, fn):
    """
    Name, docstring, signature, type hints, kind, source and raw function stay true.
    """
    guarded = both_kinds(fn, registry)

    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(fn, name) == getattr(guarded, name)
    assert inspect.signature(fn) == inspect.signature(guarded)
    assert typing.get_type_hints(fn) == typing.get_type_hints(guarded)
    assert inspect.iscoroutinefunction(fn) is inspect.iscoroutinefunction(guarded)
    assert asyncio.iscoroutinefunction(fn) is asyncio.iscoroutinefunction(guarded)
    assert inspect.getsource(fn) == inspect.getsource(guarded)
    assert inspect.isfunction(guarded)
    assert guarded.__wrapped__ is fn


def test_doctests_of_a_decorated_function_run(registry):
    """
    ``doctest`` and ``help`` find what the user wrote.
    """
    guarded = both_kinds(plain, registry)
    (found,) = doctest.DocTestFinder().find(guarded, "plain", globs={"plain": guarded})

    assert doctest.DocTestRunner().run(found) == (0, 1)
    assert "Multiply." in inspect.getdoc(guarded)


def test_arguments_arrive_as_they_were_given(registry):
    """
    No name of a parameter collides with one of ours.
    """

    def work(self, number, args, kwargs, *more, failure=None, **named):
        return self, number, args, kwargs, more, failure, named

    guarded = both_kinds(work, registry)
    expected = work(1, 2, 3, 4, 5, failure=6, op=7, ticket=8)

    assert expected == guarded(1, 2, 3, 4, 5, failure=6, op=7, ticket=8)
    assert expected == guarded.resilience.outcome(1, 2, 3, 4, 5, failure=6, op=7, ticket=8).value
    by_name = guarded.resilience.outcome(self=1, number=2, args=3, kwargs=4)
    assert work(1, 2, 3, 4) == by_name.value


# -- shapes ----------------------------------------------------------------------


class Multiplier:
    """
    A callable object.
    """

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, value):
        return value * self.factor

    def __eq__(self, other):
        return isinstance(other, Multiplier) and self.factor == other.factor

    __hash__ = None


class AsyncMultiplier(Multiplier):
    async def __call__(self, value):
        return value * self.factor


@functools.lru_cache
def cached(value):
    """
    Double, and remember.
    """
    return value * 2


SHAPES = {
    "function": plain,
    "lambda": lambda value: value * 2,
    "partial": functools.partial(plain, factor=2),
    "partial of a partial": functools.partial(functools.partial(plain), factor=2),
    "callable object": Multiplier(2),
    "bound method": Multiplier(2).__call__,
    "lru_cache": cached,
    "builtin": (2).__mul__,
}
ASYNC_SHAPES = {
    "function": aplain,
    "partial": functools.partial(aplain, factor=2),
    "callable object": AsyncMultiplier(2),
    "partial of a callable object": functools.partial(AsyncMultiplier(2)),
    "bound method": AsyncMultiplier(2).__call__,
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_whatever_can_be_called_can_be_decorated(registry, shape):
    """
    Calls go through the policies, whatever is called.
    """
    guarded = both_kinds(shape, registry)

    assert guarded(3) == 6
    assert not resilience_of(guarded).is_async
    assert tuple(one.kind for one in guarded.resilience.policies) == ("retry", "circuit")
    assert guarded.resilience.stats().calls == 1
    assert guarded.__wrapped__ is shape


@pytest.mark.parametrize("shape", ASYNC_SHAPES.values(), ids=ASYNC_SHAPES)
def test_whatever_is_async_is_awaited(registry, shape):
    """
    The async kinds are recognised, so that their failures are seen.
    """
    guarded = both_kinds(shape, registry)
    bad = both_kinds(shape, registry)

    assert asyncio.run(guarded(3)) == 6
    assert resilience_of(guarded).is_async
    with pytest.raises(TypeError):
        asyncio.run(bad())
    assert bad.resilience.stats().failures == 1


def test_a_builtin_fails_like_a_function(registry):
    """
    What has no Python frame leaves no broken traceback.
    """
    guarded = retry(registry=registry)(len)
    with pytest.raises(TypeError, match="has no len"):
        guarded(5)

    assert guarded.resilience.name == "builtins:len"


@pytest.mark.parametrize(
    "shape", [*SHAPES.values(), *ASYNC_SHAPES.values()], ids=[*SHAPES, *map("async {}".format, ASYNC_SHAPES)]
)
def test_errors_of_every_shape_leave_with_two_frames_of_ours(registry, shape):
    """
    A proxy around an object adds no frame of its own.
    """
    guarded = both_kinds(shape, registry)
    with pytest.raises(TypeError) as raised:
        asyncio.run(guarded()) if guarded.resilience.is_async else guarded()

    frames = [frame for frame in traceback.extract_tb(raised.value.__traceback__) if "/resilient/" in frame.filename]
    assert len(frames) <= 2
    assert inspect.signature(guarded) == inspect.signature(shape)


def test_an_async_object_stays_recognisable(registry):
    """
    Whoever looks whether ``__call__`` is a coroutine function finds one, and it may stand in for an async function.
    """
    guarded = retry(registry=registry)(AsyncMultiplier(2))
    primary = fallback_chain(guarded, registry=registry)(AsyncMultiplier("no number"))

    assert inspect.iscoroutinefunction(type(guarded).__call__)
    assert inspect.iscoroutinefunction(guarded.__call__)
    with pytest.raises(PolicyError, match="is async and"):
        fallback_chain(guarded, registry=registry)(plain)
    assert primary.resilience.is_async


def test_a_decorated_object_is_the_object_in_all_else(registry):
    """
    Attributes, equality, type checks and truth are the object's own.
    """
    guarded = both_kinds(Multiplier(3), registry)

    assert guarded.factor == 3
    assert guarded == Multiplier(3)
    assert isinstance(guarded, Multiplier)
    guarded.factor = 4
    assert guarded(2) == 8
    assert f"{__name__}:Multiplier" == guarded.resilience.name


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_decorated_object_is_decorated(registry, make):
    """
    Copies have policies and counts of their own.
    """
    guarded = both_kinds(Multiplier([3]), registry)
    guarded(1)
    with isolated_registry():
        twin = make(guarded)

        assert twin(2) == [3, 3]
        assert twin.resilience.stats().calls == 1
        assert tuple(one.kind for one in twin.resilience.policies) == ("retry", "circuit")
        assert (twin.factor is guarded.factor) is (make is copy.copy)


# -- methods -----------------------------------------------------------------------


class Engine:
    """
    Methods of every kind.
    """

    name = "engine"

    @retry
    def render(self, shot):
        return f"{self.name} renders {shot}"

    @retry
    async def arender(self, shot):
        return f"{self.name} renders {shot}"

    @classmethod
    @retry
    def above(cls, shot):
        return cls.name, shot

    @retry
    @classmethod
    def below(cls, shot):
        return cls.name, shot

    @staticmethod
    @retry
    def static_above(shot) -> str:
        return shot

    @retry
    @staticmethod
    def static_below(shot) -> str:
        return shot

    @property
    @retry
    def size(self):
        return len(self.name)

    # Bare, it would bind from some future Python on; until then 3.13 warns.
    twice = retry(staticmethod(functools.partial(plain, factor=2)))
    multiply = retry(Multiplier(2))
    cached = retry(cached)
    bound = retry(Multiplier(5).__call__)


class Turbo(Engine):
    name = "turbo"

    @circuit
    def render(self, shot):
        return super().render(shot).upper()

    @circuit
    @classmethod
    def below(cls, shot):
        return (*super().below(shot), "turbo")


def test_methods_bind():
    """
    Instance, class and static methods get what they would get undecorated, in either order of decorators.
    """
    for engine in (Engine(), Turbo()):
        assert engine.render("x").lower() == f"{engine.name} renders x"
        assert asyncio.run(engine.arender("x")) == f"{engine.name} renders x"
        assert (engine.name, "x") == engine.above("x") == type(engine).above("x") == engine.below("x")[:2]
        assert "x" == engine.static_above("x") == type(engine).static_below("x")
        assert len(engine.name) == engine.size
    assert Turbo.below("x") == ("turbo", "x", "turbo")
    assert Turbo.render(Turbo(), "x") == "TURBO RENDERS X"


def test_callables_in_a_class_bind_as_they_would_undecorated():
    """
    Partials, callable objects and bound methods do not bind, cached functions do.
    """
    engine = Engine()

    assert (engine.twice(3), engine.multiply(3), engine.bound(3)) == (6.0, 6, 15)
    assert isinstance(engine.cached, types.MethodType)
    assert isinstance(Engine.cached, GuardedCallable)
    assert Engine.cached(3) == 6


def test_a_methods_policies_belong_to_the_function():
    """
    Instances share stats and circuits; the bound method shows them.
    """
    one, other = Turbo(), Turbo()
    before = Turbo.render.resilience.stats().calls
    one.render("x")
    other.render("x")

    assert before + 2 == one.render.resilience.stats().calls
    assert one.render.resilience is other.render.resilience
    assert Turbo.render.resilience is not Engine.render.resilience
    assert f"{__name__}:Turbo.render" == Turbo.render.resilience.name


def test_methods_keep_signature_and_wrapped():
    """
    ``inspect`` sees a method's own parameters.
    """
    assert "(shot)" == str(inspect.signature(Engine().render)) == str(inspect.signature(Engine.below))
    assert str(inspect.signature(Engine.render)) == "(self, shot)"
    assert Engine.render.__wrapped__.__name__ == "render"


def test_abstract_methods_stay_abstract(registry):
    """
    A class cannot be made while a decorated method is abstract, and its override can be called by ``super``.
    """

    class Base(abc.ABC):
        @retry(registry=registry)
        @abc.abstractmethod
        def work(self):
            return "base"

    class Real(Base):
        def work(self):
            return super().work() + "!"

    with pytest.raises(TypeError, match="abstract"):
        Base()
    assert Real().work() == "base!"


def test_a_bound_method_can_be_decorated_anew(registry):
    """
    Policies around a bound method of a decorated function are a stack of their own.
    """
    engine = Engine()
    guarded = circuit(registry=registry)(engine.render)

    assert guarded("y") == "engine renders y"
    assert tuple(one.kind for one in guarded.resilience.policies) == ("circuit",)
    assert tuple(one.kind for one in Engine.render.resilience.policies) == ("retry",)


# -- what cannot carry policies -------------------------------------------------------

DECORATORS = {
    "retry": retry,
    "retry()": retry(),
    "circuit": circuit,
    "circuit()": circuit("refusing"),
    "degradable": degradable,
    "recoverable": recoverable,
    "fallback_chain": fallback_chain(plain),
}
refusing = pytest.mark.parametrize("decorator", DECORATORS.values(), ids=DECORATORS)


@refusing
def test_a_property_is_refused_with_what_to_write(decorator):
    """
    The error names the getter and the order that works.
    """

    def size(self):
        return 1

    with pytest.raises(DecorationError, match=r"property .*size; decorate the getter: write @property above @"):
        decorator(property(size))
    with pytest.raises(TypeError, match="the property the getter"):
        decorator(property())


@refusing
def test_a_class_is_refused(decorator):
    """
    A class is made, not called.
    """
    with pytest.raises(DecorationError, match="the class Engine; decorate its methods"):
        decorator(Engine)


async def some_day(_):
    """
    Answer, some day.
    """
    return True


@pytest.mark.parametrize(
    "decorator", [retry(retry=some_day), fallback_chain(aplain)], ids=["a retry strategy", "a fallback"]
)
def test_what_is_async_cannot_stand_behind_a_sync_function(decorator):
    """
    Nobody would await it: told at decoration, with the function's name.
    """
    with pytest.raises(PolicyError, match=f"{__name__}:plain"):
        decorator(plain)


def numbers():
    """
    Yield, one after the other.
    """
    yield 1


async def anumbers():
    """
    Yield, some day.
    """
    yield 1


class Numbers:
    def __call__(self):
        yield 1


class AsyncNumbers:
    async def __call__(self):
        yield 1


@refusing
@pytest.mark.parametrize(
    ("generator", "what"),
    [
        (numbers, "a generator"),
        (anumbers, "an async generator"),
        (Numbers(), "a gen"),
        (AsyncNumbers(), "an async gen"),
    ],
)
def test_a_generator_is_refused_with_what_to_do(decorator, generator, what):
    """
    It fails while it is iterated, which no wrapper of the call could see.
    """
    with pytest.raises(DecorationError, match=f"cannot guard {__name__}:.*umbers: it is {what}.*whole list"):
        decorator(generator)


@pytest.mark.parametrize("target", [classmethod(numbers), staticmethod(anumbers)])
def test_generators_in_descriptors_are_refused(target):
    """
    ``classmethod`` and ``staticmethod`` hide nothing.
    """
    with pytest.raises(DecorationError):
        retry(target)


@pytest.mark.parametrize("target", [3, "text", None, functools.cached_property(plain)])
def test_what_cannot_be_called_is_refused(target, registry):
    """
    The error shows what was given.
    """
    with pytest.raises(DecorationError, match="goes on something that can be called"):
        retry(registry=registry)(target)


# -- fusing ------------------------------------------------------------------------------


def foreign(fn):
    """
    Do what most decorators do.
    """

    @functools.wraps(fn)
    def wrapper(*args, **kwargs):
        return fn(*args, **kwargs)

    return wrapper


def test_a_stack_is_one_wrapper(registry):
    """
    However many decorators, the raw function is one call away.
    """
    guarded = both_kinds(plain, registry)
    deeper = degradable(rules={"factor": lambda value, _: value}, registry=registry)(guarded)

    assert deeper.__wrapped__ is plain
    assert tuple(one.kind for one in deeper.resilience.policies) == ("degradable", "retry", "circuit")
    assert deeper.resilience.policies[1:] == guarded.resilience.policies


def test_a_foreign_decorator_ends_the_fusion(registry):
    """
    The order stays as it was written, and each stack has its own stats and name.
    """
    order = []

    @retry(max_attempts=2, registry=registry)
    @foreign
    @circuit(registry=registry)
    def work():
        order.append("work")
        raise ConnectionError

    with no_waits(), pytest.raises(ConnectionError):
        work()
    inner = work.__wrapped__.__wrapped__

    assert order == ["work", "work"]
    assert tuple(one.kind for one in work.resilience.policies) == ("retry",)
    assert tuple(one.kind for one in inner.resilience.policies) == ("circuit",)
    assert (work.resilience.stats().calls, inner.resilience.stats().calls) == (1, 2)
    names = [one.resilience.pipeline.name for one in (inner, work)]
    assert names == sorted(registry.functions)
    assert names[1] == f"{names[0]}#2"


def test_a_module_level_foreign_sandwich_has_two_names(registry):
    """
    What goes on under a foreign decorator keeps its name; the stack above gets a number.
    """
    inner = circuit(registry=registry)(plain)
    outer = circuit(registry=registry)(foreign(inner))

    assert [f"{__name__}:plain", f"{__name__}:plain#2"] == sorted(registry.functions) == sorted(registry.circuits)
    assert outer(2) == 4.0


def test_wrapt_decorators_in_between_work(registry):
    """
    A decorator made with wrapt between two of ours is called once, in its place.
    """
    seen = []

    @wrapt.decorator
    def noted(wrapped, instance, args, kwargs):
        seen.append(args)
        return wrapped(*args, **kwargs)

    class Thing:
        @retry(registry=registry)
        @noted
        @circuit(registry=registry)
        def double(self, value):
            return self, value * 2

    thing = Thing()

    assert (thing, 6) == thing.double(3)
    assert len(seen) == 1
    assert retry(registry=registry)(noted(lambda value: value * 2))(3) == 6


def test_what_is_decorated_again_elsewhere_keeps_its_own_policies(registry):
    """
    A function that somebody still holds goes on under the policies it has, and shares its circuits.
    """
    base = circuit("shared", failure_threshold=2, registry=registry)(plain)
    patient = retry(registry=registry)(base)
    hasty = fallback_chain(lambda *_: -1, registry=registry)(base)
    registry.circuits["shared"].isolate()

    assert hasty(2) == -1
    for fn in (base, patient):
        with pytest.raises(Exception, match="does not admit"):
            fn(2)
    assert [tuple(one.kind for one in fn.resilience.policies) for fn in (base, patient, hasty)] == [
        ("circuit",),
        ("retry", "circuit"),
        ("fallback_chain", "circuit"),
    ]
    assert {f"{__name__}:plain", f"{__name__}:plain#2"} == set(registry.functions)
    assert registry.functions[f"{__name__}:plain"] is patient.resilience


def test_a_decorator_that_fails_leaves_the_function_as_it_was(registry):
    """
    Options that contradict leave name, policies and circuits below untouched.
    """
    registry.circuit("taken", None)
    taken = circuit("taken", failure_threshold=7, registry=registry)(lambda: 1)
    base = retry(registry=registry)(plain)
    with pytest.raises(PolicyError, match="contradicts"):
        circuit("taken", failure_threshold=8, registry=registry)(base)

    assert registry.functions[f"{__name__}:plain"] is base.resilience
    assert tuple(one.kind for one in base.resilience.policies) == ("retry",)
    assert base(2) == 4.0
    assert taken() == 1

    with pytest.raises(PolicyError, match="contradicts"):
        circuit("taken", failure_threshold=8, registry=registry)(aplain)
    assert f"{__name__}:aplain" not in registry.functions


# -- registries ----------------------------------------------------------------------------


@pytest.mark.parametrize("top", [True, False])
def test_one_registry_takes_the_whole_function(registry, top):
    """
    Whichever decorator names it, nothing is left on the default registry.
    """
    with isolated_registry() as default:
        before = list(default.functions), list(default.circuits)
        outer, inner = ({"registry": registry}, {}) if top else ({}, {"registry": registry})
        fn = retry(**outer)(circuit("c", **inner)(plain))

        assert fn.resilience.registry is registry
        assert (["c"], [f"{__name__}:plain"]) == (list(registry.circuits), list(registry.functions))
        assert before == (list(default.functions), list(default.circuits))


def test_two_registries_on_one_function_are_refused(registry):
    """
    The error shows both.
    """
    fn = retry(registry=registry)(plain)
    with pytest.raises(PolicyError, match=r"registry=<Registry 'other'.* differs from the <Registry 'default'"):
        circuit(registry=Registry("other"))(fn)

    again = circuit(registry=registry)(fn)
    assert again.resilience.registry is registry


def test_without_a_registry_the_default_one_is_used():
    """
    Decorators that name none share one.
    """
    with isolated_registry() as default:
        fn = retry(plain)

        assert default_registry() is default
        assert fn.resilience.registry is default


# -- names, lifetime ---------------------------------------------------------------------------


def test_redecorating_a_module_level_function_replaces_it(registry):
    """
    A notebook cell that is run again has one function, with a fresh circuit.
    """
    old = circuit(registry=registry)(plain)
    first = registry.circuits[f"{__name__}:plain"]
    new = circuit(failure_threshold=9, registry=registry)(plain)

    assert [f"{__name__}:plain"] == list(registry.functions) == list(registry.circuits)
    assert registry.functions[f"{__name__}:plain"] is new.resilience
    assert registry.circuits[f"{__name__}:plain"] is not first
    assert old(2) == 4.0


def test_redecorating_with_other_options_changes_a_circuit_that_only_this_function_names(registry):
    """
    The edited cell wins, and the circuit keeps its state; what others share still has to agree.
    """
    circuit("api", failure_threshold=5, registry=registry)(plain)
    old = circuit("api", failure_threshold=5, registry=registry)(plain)
    breaker = registry.circuits["api"]
    breaker.record_failure()
    new = circuit("api", failure_threshold=3, registry=registry)(plain)

    assert registry.circuits["api"] is breaker
    assert (breaker.options["failure_threshold"], breaker.failure_count) == (3, 1)
    assert 4.0 == old(2) == new(2)

    other = circuit("api", registry=registry)(aplain)
    with pytest.raises(PolicyError, match="contradicts"):
        circuit("api", failure_threshold=2, registry=registry)(plain)
    assert registry.functions[f"{__name__}:plain"] is new.resilience
    assert other.resilience.name in registry.functions


def test_redecorating_without_the_circuit_it_had_changes_nothing_there(registry):
    """
    A circuit of that name which the replaced function did not go through keeps its options.
    """
    held = circuit("api", failure_threshold=5, registry=registry)(aplain)
    old = retry(registry=registry)(plain)
    with pytest.raises(PolicyError, match="contradicts"):
        circuit("api", failure_threshold=3, registry=registry)(plain)

    assert (held.resilience.name, old.resilience.name) == (f"{__name__}:aplain", f"{__name__}:plain")


def test_local_functions_of_one_name_get_numbers(registry):
    """
    Functions made in a function, and lambdas, are different ones.
    """

    def make():
        @circuit(registry=registry)
        def work():
            return 1

        return work

    made = [make() for _ in range(3)]
    names = [one.resilience.pipeline.name for one in made]

    assert [f"{names[0]}", f"{names[0]}#2", f"{names[0]}#3"] == names
    assert sorted(names) == sorted(registry.circuits) == sorted(registry.functions)
    assert len({id(one.resilience.policies[0].breaker) for one in made}) == 3


def test_objects_of_one_class_get_numbers(registry):
    """
    Callable objects, and partials of one function, are different functions.
    """
    made = [circuit(registry=registry)(Multiplier(number)) for number in range(2)]
    made += [circuit(registry=registry)(functools.partial(plain, number)) for number in range(2)]
    names = [f"{__name__}:{name}" for name in ("Multiplier", "Multiplier#2", "plain", "plain#2")]

    assert names == [one.resilience.pipeline.name for one in made]
    assert names == sorted(registry.circuits) == sorted(registry.functions)


def test_functions_and_their_own_circuits_are_held_weakly(registry):
    """
    What nobody calls any more is gone from the registry, with the circuit that was its own.
    """
    fn = both_kinds(lambda: 1, registry)
    fn()
    ref = weakref.ref(fn.resilience)
    del fn

    assert ref() is None
    assert list(registry.functions) == []
    gc.collect()
    assert list(registry.circuits) == []


@pytest.mark.usefixtures("no_gc")
def test_a_stack_leaves_no_intermediate_wrappers(registry):
    """
    While decorators are stacked, what each made below is gone at once.
    """
    fn = degradable(rules={"factor": lambda v, _: v}, registry=registry)(both_kinds(plain, registry))

    assert [fn.resilience.pipeline] == registry.hub.pipelines()


@pytest.mark.usefixtures("switches")
def test_threads_that_decorate_functions_of_one_name_get_different_names(registry):
    """
    No two functions find the same number free.
    """
    made = []

    def work():
        made.extend(circuit(registry=registry)(lambda: 1) for _ in range(20))

    run_threads(*[work] * 4)

    assert 80 == len({one.resilience.pipeline.name for one in made}) == len(registry.functions)


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (plain, f"{__name__}:plain"),
        (functools.partial(functools.partial(plain, 1), factor=1), f"{__name__}:plain"),
        (Multiplier(1), f"{__name__}:Multiplier"),
        (Engine.render, f"{__name__}:Engine.render"),
        (len, "builtins:len"),
        ("".join, "builtins:str.join"),
    ],
)
def test_names(fn, expected):
    """
    A function's name is its module and qualified name, through what wraps it or is made by it.
    """
    assert expected == name_of(fn)


# -- pickling -------------------------------------------------------------------------------------


@retry
@circuit("pickled", failure_threshold=4)
def picklable(value):
    """
    Add one.
    """
    return value + 1


apicklable = retry(aplain)
pickled_partial = retry(max_attempts=7)(functools.partial(plain, factor=3))


@retry
@functools.lru_cache
def pickled_cache(value):
    """
    Return, and remember.
    """
    return value


def test_module_level_functions_pickle_by_reference():
    """
    The same object comes back, for functions and for decorated objects that can be found by name.
    """
    assert pickle.loads(pickle.dumps(picklable)) is picklable
    assert pickle.loads(pickle.dumps(pickled_cache)) is pickled_cache


def test_other_decorated_objects_pickle_by_value():
    """
    Policies go along, state stays behind.
    """
    pickled_partial(1)
    twin = pickle.loads(pickle.dumps(pickled_partial))

    assert twin(2) == 6
    assert twin.resilience.stats().calls == 1
    assert "@retry(max_attempts=7)" in repr(twin.resilience)
    assert not twin.resilience.is_async
    assert pickled_partial.resilience.pipeline.name != twin.resilience.pipeline.name


def test_functions_by_value_keep_their_policies():
    """
    Rebuilt are wrapper, counts and policies, in sync and async.
    """
    cloudpickle = pytest.importorskip("cloudpickle")

    def make(registry=None):
        seen = []

        @retry(max_attempts=2, initial_delay=0, registry=registry)
        @circuit("by value", failure_threshold=3, registry=registry)
        def work(value):
            seen.append(value)
            if len(seen) == 1:
                raise ConnectionError
            return value

        @retry(max_attempts=2, initial_delay=0, registry=registry)
        async def awork(value):
            return await asyncio.sleep(0, value)

        return work, awork

    work, awork = make(Registry("elsewhere"))
    with isolated_registry(clock=FakeClock()) as fresh:
        twin, atwin = pickle.loads(cloudpickle.dumps((work, awork)))
        again = pickle.loads(cloudpickle.dumps(work))

        assert twin(5) == 5
        assert asyncio.run(atwin(5)) == 5
        assert twin.resilience.registry is fresh
        assert tuple(getattr(twin.resilience.stats(), name) for name in ("calls", "attempts", "recovered")) == (1, 2, 1)
        assert fresh.circuits["by value"].options["failure_threshold"] == 3
        assert resilience_of(twin).guard is twin
        assert repr(work.resilience).replace("'elsewhere'", "'isolated'") == repr(twin.resilience)
        assert [one.resilience.pipeline.name.partition("work")[2] for one in (twin, again)] == ["", "#2"]
        assert work.resilience.stats().calls == 0
        # It fuses with what is put above it, as any decorated function.
        assert len(fallback_chain(lambda _: 0)(twin).resilience.policies) == 3


def test_a_wrapper_by_value_is_still_seen_as_a_parent():
    """
    Operations within an unpickled function find it around them.
    """
    cloudpickle = pytest.importorskip("cloudpickle")
    from resilient.events import OperationFailed

    @circuit
    def inner():
        raise ConnectionError

    @circuit
    def outer(inner):
        inner()

    with isolated_registry(clock=FakeClock()) as fresh:
        told = []
        fresh.on(told.append, OperationFailed)
        one, other = pickle.loads(cloudpickle.dumps((inner, outer)))
        with pytest.raises(ConnectionError):
            other(one)

        assert [told[1].operation, None] == [event.parent for event in told]


# -- order ------------------------------------------------------------------------------------------

# The kinds of one stack, the first one outermost.
R, C, F, D, V = "retry", "circuit", "fallback_chain", "degradable", "recoverable"
WRONG = {
    "@retry above @fallback_chain": ((R, F), "@retry above @fallback_chain .*put @fallback_chain on top"),
    "@recoverable above @fallback_chain": ((V, F), "@recoverable above @fallback_chain .*put @fallback_chain on top"),
    "@retry further above @fallback_chain": ((R, C, F), "@retry above @fallback_chain"),
    "@recoverable below @retry": ((R, V), "@recoverable below @retry .*put @recoverable above @retry"),
    "@recoverable further below @retry": ((R, C, V), "@recoverable below @retry"),
    "@degradable below @circuit": ((C, D), "@degradable below @circuit .*put @degradable on top"),
    "@degradable below @retry": ((R, D), "@degradable below @retry .*put @degradable on top"),
    "@degradable below both": ((R, C, D), "@degradable below @circuit"),
    "twice": ((R, R), "@retry twice in a row .*keep one"),
    "thrice": ((C, C, C), "@circuit twice in a row .*keep one"),
    "all wrong": ((C, R, V, F, D), "@recoverable above @fallback_chain"),
}
RIGHT = {
    "all five": (D, F, V, R, C),
    "@circuit above @retry": (C, R),
    "@circuit, @retry, @circuit": (C, R, C),
    "@fallback_chain above @degradable": (F, D),
    "@recoverable above @degradable": (V, D),
    "@circuit above @fallback_chain": (C, F),
}


def decorate(kinds):
    """
    Return a function under policies of *kinds*, the first one outermost.
    """
    fn = plain
    for kind in reversed(kinds):
        if kind == R:
            fn = retry(fn)
        elif kind == C:
            fn = circuit(fn)
        elif kind == F:
            fn = fallback_chain(plain)(fn)
        elif kind == D:
            fn = degradable(rules={"factor": lambda value, _: value})(fn)
        else:
            fn = recoverable(fn)
    return fn


@pytest.mark.parametrize(("decorators", "match"), WRONG.values(), ids=WRONG)
def test_an_order_that_cannot_work_is_warned_about_once(decorators, match):
    """
    The one warning names the function and the better order, and points at the user's line.
    """
    with isolated_registry(), pytest.warns(PolicyOrderWarning, match=f"{__name__}:plain: {match}") as caught:
        decorate(decorators)

    assert [__file__] == [warning.filename for warning in caught]
    assert "@degradable, @fallback_chain, @recoverable, @retry, @circuit" in str(caught[0].message)


@pytest.mark.parametrize("decorators", RIGHT.values(), ids=RIGHT)
def test_an_order_that_works_is_not_warned_about(decorators):
    """
    Unusual is not wrong.
    """
    with isolated_registry(), warnings.catch_warnings():
        warnings.simplefilter("error")
        decorate(decorators)


def test_the_warning_points_at_the_decorator_line():
    """
    With the decorator as it is usually written.
    """
    with isolated_registry(), pytest.warns(PolicyOrderWarning) as caught:

        @retry
        @retry
        def work():
            return 1

    line = caught[0].lineno
    _, start = inspect.getsourcelines(work.__wrapped__)
    assert start <= line <= start + 2


def test_a_copied_wrong_order_is_not_warned_about_again():
    """
    Unpickling a function repeats no warning.
    """
    with isolated_registry():
        with pytest.warns(PolicyOrderWarning):
            fn = retry(retry(functools.partial(plain, 1)))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pickle.loads(pickle.dumps(fn))
