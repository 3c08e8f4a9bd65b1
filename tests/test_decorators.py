from __future__ import annotations

import asyncio
import functools
import inspect

import pytest
import tenacity

from resilient import (
    CircuitBreakerConfig,
    DecorationError,
    Fallback,
    PolicyError,
    Registry,
    RetryConfig,
    circuit,
    degradable,
    fallback_chain,
    recoverable,
    resilience_of,
    retry,
    scale,
)


def render(steps=50):
    """
    Return *steps*.
    """
    return steps


BARE = {"retry": retry, "circuit": circuit, "degradable": degradable, "recoverable": recoverable}
WITH_OPTIONS = {
    "retry": retry(max_attempts=2),
    "circuit": circuit(failure_threshold=2),
    "degradable": degradable(floor="low"),
    "recoverable": recoverable(max_runs=1),
    "fallback_chain": fallback_chain(len),
}


# -- bare and with options ---------------------------------------------------


@pytest.mark.parametrize("kind", BARE)
def test_bare(kind):
    """
    Every decorator but `fallback_chain` works bare.
    """
    fn = BARE[kind](render)

    assert fn(7) == 7
    assert [kind] == [one.kind for one in resilience_of(fn).policies]


@pytest.mark.parametrize("kind", WITH_OPTIONS)
def test_reused(kind):
    """
    A decorator with options may be put on several functions.
    """

    def first(steps=1):
        return "first"

    async def second(steps=1):
        return "second"

    decorator = WITH_OPTIONS[kind]
    one, other = decorator(first), decorator(second)

    assert (one(), asyncio.run(other())) == ("first", "second")
    assert resilience_of(one).policies[0] is not resilience_of(other).policies[0]


def test_reused_options_stay():
    """
    Reusing a decorator leaves its options whole.
    """
    decorator = retry(max_attempts=5, registry=Registry())

    assert [repr(decorator(lambda: 1).resilience.policies[0]) for _ in range(3)] == ["@retry(max_attempts=5)"] * 3


@pytest.mark.parametrize("kind", BARE)
def test_function_and_options(kind):
    """
    A function and options in one call are refused: the options would be lost.
    """
    with pytest.raises(
        DecorationError, match=rf"{kind}\(\) takes a function or options, .*; write {kind}\(...\)\(function\)"
    ):
        BARE[kind](render, max_attempts=5)


@pytest.mark.parametrize("kind", WITH_OPTIONS)
@pytest.mark.parametrize("form", [classmethod, staticmethod])
def test_methods(kind, form):
    """
    Decorators go above and below `classmethod` and `staticmethod`.
    """

    class Engine:
        above = WITH_OPTIONS[kind](form(lambda *_, steps=3: steps))
        below = form(WITH_OPTIONS[kind](lambda *_, steps=3: steps))

    assert (Engine.above(), Engine().below(steps=4)) == (3, 4)


@pytest.mark.parametrize("kind", WITH_OPTIONS)
def test_property(kind):
    """
    A property is refused, with what to write.
    """
    with pytest.raises(TypeError, match="decorate the getter"):
        WITH_OPTIONS[kind](property(render))


# -- wrong arguments ---------------------------------------------------------


@pytest.mark.parametrize(
    ("decorator", "message"),
    [
        (retry(3), r"@retry on .*render: options are given by keyword, as in @retry\(max_attempts=5\), got 3 \(int\)"),
        (retry({"max_attempts": 3}), r"options are given by keyword, as in @retry\(max_attempts=5\), got \{'max_att"),
        (retry(CircuitBreakerConfig()), "got CircuitBreakerConfig"),
        (circuit(""), r"@circuit on .*render: its name must be a string that is not empty, got '' \(str\)"),
        (circuit(3), r"its name must be a string that is not empty, got 3 \(int\)"),
        (circuit("a", RetryConfig()), r"config must be a CircuitBreakerConfig, got RetryConfig\(\)"),
        (circuit(CircuitBreakerConfig(), 3), "its name must be a string that is not empty, got CircuitBreakerConfig"),
        (degradable("low"), r"options are given by keyword, as in @degradable\(steps=scale\(\)\), got 'low' \(str\)"),
        (recoverable(1), r"options are given by keyword, as in @recoverable\(max_runs=1\), got 1 \(int\)"),
        (degradable(rules=[1]), r"rules must be a dict of rules by parameter, got \[1\] \(list\)"),
        (degradable(floor="lowest"), "floor must be a DegradationLevel or one of 'full', 'high'"),
        (degradable(scope=""), "scope must be a string that is not empty"),
        (recoverable(max_run=2), "unknown option 'max_run'; did you mean 'max_runs'"),
        (fallback_chain(len, nam="x"), "unknown option 'nam'; did you mean 'name'"),
        (fallback_chain(len, 5), r"a fallback must be a function or Fallback\(function, ...\), got 5 \(int\)"),
    ],
)
def test_wrong_arguments(decorator, message):
    """
    Wrong arguments are refused at decoration, naming the function, the value and the remedy.
    """
    with pytest.raises(PolicyError, match=message):
        decorator(render)


@pytest.mark.parametrize(
    "decorator",
    [
        retry(3, max_attempts=0, registry="mine", jiter=1),
        circuit("", failure_threshold=0, registry="mine", slow=1),
        fallback_chain(5, name="", registry="mine", onn=1),
        degradable(5, floor="x", registry="mine", rules=3),
        recoverable(5, max_runs=0, registry="mine", run=1),
    ],
)
def test_all_problems_at_once(decorator):
    """
    All problems of one decorator are told at once.
    """
    with pytest.raises(PolicyError) as caught:
        decorator(render)

    assert len(caught.value.problems) == 4
    assert "registry must be a Registry or None, got 'mine' (str)" in caught.value.problems


def test_exception_type_by_place():
    """
    An exception type by place says where it belongs.
    """
    with pytest.raises(DecorationError, match=r"write @retry\(on=ConnectionError\)"):
        retry(ConnectionError)


def test_decorated_class():
    """
    A class is refused, with what to decorate.
    """
    with pytest.raises(DecorationError, match=r"cannot be put on the class .*Engine; decorate its methods"):

        @retry
        class Engine:
            pass


# -- fallback_chain ----------------------------------------------------------


def test_bare_fallback_chain():
    """
    Under a bare `@fallback_chain` the first call tells what to write, whatever its arguments.
    """

    @fallback_chain
    def card(*args, **kwargs):
        raise NotImplementedError

    class Engine:
        @fallback_chain
        def card(self):
            raise NotImplementedError

    for call in (
        card,
        lambda: card(1),
        lambda: card(1, 2),
        lambda: card(shot=1),
        lambda: card(len, shot=1),
        Engine().card,
    ):
        with pytest.raises(
            TypeError, match=r"card stands under a bare @fallback_chain.*; write @fallback_chain\(other_fun"
        ):
            call()


def test_bare_fallback_chain_on_async():
    """
    The same holds for an async function.
    """

    @fallback_chain
    async def card():
        raise NotImplementedError

    with pytest.raises(TypeError, match="card stands under a bare @fallback_chain"):
        asyncio.run(card())


def test_no_fallbacks():
    """
    A chain of nothing is refused.
    """
    with pytest.raises(PolicyError, match="@fallback_chain has nothing to fall back to; write"):
        fallback_chain()


def test_fallback_entries():
    """
    Entries are functions or `Fallback` objects.
    """
    fn = fallback_chain(render, Fallback(len, "size"), registry=Registry())(lambda: 1)

    assert repr(fn.resilience.policies[0]) == "@fallback_chain(render, size)"


# -- degradable and recoverable ----------------------------------------------


def test_rules():
    """
    Rules come by keyword, or in `rules` where their names are options.
    """

    def draw(steps, scope):
        return steps, scope

    registry = Registry()
    fn = degradable(steps=scale(), rules={"scope": scale(minimum=1)}, registry=registry)(draw)
    registry.degradation.set_level("low")

    assert fn(10, 20) == (4, 8)


def test_levels():
    """
    Levels are given by name or as themselves, and may be left out.
    """
    registry = Registry()
    fn = degradable(floor="high", only_below=None, scope=None, registry=registry)(render)
    registry.degradation.set_level("minimal")

    assert fn() == 40


def test_recoverable_options():
    """
    A playbook is named by its category.
    """
    fn = recoverable(playbook="memory", max_runs=1, registry=Registry())(render)

    assert repr(fn.resilience.policies[0]) == "@recoverable(playbook='memory', max_runs=1)"


# -- signatures --------------------------------------------------------------


@pytest.mark.parametrize(
    ("decorator", "expected"),
    [
        (
            retry,
            (
                "(config=None, /, *, on=None, max_attempts=3, initial_delay=1.0, max_delay=60.0, exponential_base=2.0,"
                " jitter=True, max_duration=None, on_result=None, wait=None, stop=None, retry=None, before_sleep=None,"
                " registry=None)"
            ),
        ),
        (degradable, "(target=None, /, *, scope=None, only_below=None, floor=None, registry=None, **rules)"),
        (recoverable, "(target=None, /, *, playbook=None, max_runs=3, registry=None)"),
    ],
)
def test_signature(decorator, expected):
    """
    `inspect.signature` and `help` show the options with their defaults.
    """
    assert expected == str(inspect.signature(decorator))


def test_signature_of_circuit():
    """
    That of `circuit` begins with its name and a config.
    """
    signature = inspect.signature(circuit)

    assert list(signature.parameters)[:3] == ["name", "config", "failure_threshold"]
    assert signature.parameters["open_for"].default == 60.0


@pytest.mark.parametrize("decorator", [retry, circuit, degradable, recoverable, fallback_chain])
def test_docs(decorator):
    """
    Each option of a decorator has its line in the docstring.
    """
    # Python 3.13 strips the indentation that earlier ones keep.
    docs = inspect.getdoc(decorator)
    missing = [
        name for name in inspect.signature(decorator).parameters if f"\n    {name}: " not in docs and name != "rules"
    ]

    assert missing == []


@pytest.mark.parametrize("decorator", WITH_OPTIONS.values(), ids=WITH_OPTIONS)
def test_decorated_function(decorator):
    """
    A decorated function keeps its name, docs, signature and colour, and leads to the raw one.
    """

    async def draw(prompt: str, *, steps: int = 5) -> str:
        """
        Draw.
        """

    fn = decorator(draw)

    assert (draw.__name__, draw.__doc__, draw.__module__) == (fn.__name__, fn.__doc__, fn.__module__)
    assert inspect.signature(draw) == inspect.signature(fn)
    assert inspect.iscoroutinefunction(fn)
    assert draw is fn.__wrapped__


def test_partials_and_objects():
    """
    Partials and callable objects are decorated like functions.
    """

    class Caller:
        def __call__(self, a):
            return a

    assert retry(functools.partial(render, 3))() == 3
    assert retry(max_attempts=2)(Caller())(5) == 5


# -- registries --------------------------------------------------------------


def test_registry(registry):
    """
    A registry on any decorator puts the whole function there.
    """
    fn = retry(max_attempts=2)(circuit("api", registry=registry)(render))

    assert registry is fn.resilience.registry
    assert list(registry.circuits) == ["api"]


def test_tenacity_objects_are_no_targets():
    """
    A Retrying object can be called, and is a config all the same.
    """
    config = tenacity.Retrying(stop=tenacity.stop_after_attempt(1))

    assert retry(config)(render)() == 50
