"""
``@governed``: functions without policies of their own.
"""

from __future__ import annotations

import functools
import inspect

import pytest

import resilient
from resilient import DecorationError, PolicyError, Registry, circuit, default_registry, governed, resilience_of, retry
from tests.harness import caught

EVERYTHING = {"functions": {"*:*": {"retry": {"max_attempts": 2, "initial_delay": 0}, "circuit": {}}}}


def kinds(fn):
    """
    Return the kinds of the policies in force, outermost first.
    """
    return [policy.kind for policy in fn.resilience.policies]


def test_bare_it_goes_on_the_default_registry():
    """
    As every decorator does; it is a public name.
    """

    @governed
    def work(x: int) -> int:
        return x

    assert resilient.governed is governed
    assert work.resilience.registry is default_registry()
    assert work(5) == 5


def test_without_declarations_a_function_is_called_as_it_is(colour, registry):
    """
    It is counted, it keeps its face, and errors arrive as themselves.
    """

    def work(x, *, y=1):
        """
        Return the sum.
        """
        return x + y

    raw = colour.of(work)
    fn = governed(registry=registry)(raw)

    assert colour.call(fn, 1, y=2) == 3
    assert type(caught(colour.call, fn, None)) is TypeError
    assert inspect.signature(fn) == inspect.signature(raw)
    assert inspect.iscoroutinefunction(fn) is colour.is_async
    assert (fn.__doc__, fn.__wrapped__) == (work.__doc__, raw)
    assert (fn.resilience.stats().calls, fn.resilience.stats().failures) == (2, 1)
    assert colour.outcome(fn, 1).route == "first try"
    assert repr(resilience_of(fn)).count("\n") == 1


def test_methods_of_all_sorts(registry):
    """
    Plain ones, class methods and static ones, whichever decorator is on top.
    """
    rule = governed(registry=registry)

    class Engine:
        @rule
        def plain(self):
            return type(self)

        @rule
        @classmethod
        def above(cls):
            return cls

        @classmethod
        @rule
        def below(cls):
            return cls

        @rule
        @staticmethod
        def static() -> int:
            return 1

    registry.configure(EVERYTHING)
    engine = Engine()

    assert [engine.plain(), engine.above(), Engine.below(), Engine.static()] == [Engine, Engine, Engine, 1]
    assert [kinds(one) for one in (Engine.plain, Engine.above.__func__, Engine.static)] == [["retry", "circuit"]] * 3


def test_objects_and_partials(registry):
    """
    What is no function is governed too.
    """
    registry.configure(EVERYTHING)
    fn = governed(registry=registry)(functools.partial(int, base=2))

    assert fn("101") == 5
    assert kinds(fn) == ["retry", "circuit"]


@pytest.mark.parametrize("above", [True, False])
def test_it_stacks_with_the_decorators(registry, above):
    """
    Above or below, the function is one wrapper, and what is declared is over the decorator.
    """
    here = {"registry": registry}
    registry.configure({"functions": {"*:*": {"retry": {"max_attempts": 7}}}})
    mine, own = governed(**here), retry(max_attempts=2, jitter=False, **here)
    fn = mine(own(lambda: 1)) if above else own(mine(lambda: 1))

    assert kinds(fn) == ["retry"]
    assert fn.resilience.in_force[0].given == {"max_attempts": 7, "jitter": False}
    assert fn.__wrapped__.__name__ == "<lambda>"
    assert not hasattr(fn.__wrapped__, "resilience")
    assert governed(fn) is fn


def test_what_is_declared_is_in_force_once_where_a_foreign_decorator_stands_between(registry):
    """
    The part below has it; the part above has what its decorators say.
    """

    def foreign(fn):
        @functools.wraps(fn)
        def wrapper():
            return fn()

        return wrapper

    here = {"registry": registry}
    inner = governed(**here)(lambda: 1)
    middle = foreign(inner)
    outer = circuit(**here)(retry(**here)(middle))
    registry.configure(EVERYTHING)

    assert [kinds(inner), kinds(outer)] == [["retry", "circuit"], ["circuit", "retry"]]
    assert governed(middle) is middle
    assert outer() == 1


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: governed(lambda: 1, lambda: 2), "one function"),
        (lambda: governed(lambda: 1, registry=Registry()), "not both"),
        (lambda: governed(registry="mine"), "registry must be a Registry"),
        (lambda: governed(max_attempts=3), "unknown option 'max_attempts'"),
        (lambda: governed(5), "something that can be called"),
        (lambda: governed(property(lambda self: 1)), "property"),
        (lambda: governed(int), "class"),
    ],
)
def test_what_cannot_be_meant_is_told(call, told):
    """
    One clear error, with what to write instead.
    """
    error = caught(call)

    assert type(error) is DecorationError
    assert told in str(error)
    assert "governed" in str(error)


def test_two_registries_are_refused(registry):
    """
    A function has one registry.
    """
    fn = retry(registry=registry)(lambda: 1)

    assert governed(registry=registry)(fn) is fn
    assert type(caught(governed(registry=Registry()), fn)) is PolicyError
