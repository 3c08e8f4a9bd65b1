# ruff: noqa: SLF001 - which locks are held can only be seen from within
"""
The registry: names, options that contradict each other, lifetimes, listeners, resets and forks.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import itertools
import random
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest

import resilient
from resilient import (
    CircuitBreakerConfig,
    CircuitState,
    PolicyError,
    Registry,
    ResilientWarning,
    RetryConfig,
    RetryMechanism,
    circuit,
    default_registry,
    fallback_chain,
    forks,
    resilience_of,
    retry,
    shelves,
)
from resilient.events import AttemptFailed, CallSucceeded, Event, OperationFailed
from resilient.registry import swap_default
from resilient.shelves import Shelf
from tests.harness import held, in_fork, may_fork, needs_fork


@pytest.fixture
def registry(clock):
    """
    Return a registry on that clock.
    """
    return Registry("own", clock=clock)


def broken():
    """
    Fail.
    """
    raise ConnectionError("down")


def fail(function, times=1):
    """
    Call *function*, which raises ConnectionError, several times.
    """
    for _ in range(times):
        with pytest.raises(ConnectionError):
            function()


def make(registry, decorator=retry, **options):
    """
    Return one of many decorated functions of the same name.
    """

    @decorator(registry=registry, **options)
    def local():
        return 1

    return local


LOCAL = f"{__name__}:make.<locals>.local"


def redefine(registry, decorator):
    """
    Return a function of the module-level name ``cell``, as if a notebook's cell were run again.
    """

    def cell():
        raise ConnectionError("down")

    cell.__qualname__ = "cell"
    return decorator(cell)


# -- being made ---------------------------------------------------------------------


def test_the_default_registry():
    """
    There is one default registry, it is called so, and `health` is its snapshot.
    """
    assert default_registry() is default_registry()
    assert default_registry().name == "default"
    assert resilient.health().registry == "default"


def test_the_default_registry_can_be_swapped(registry):
    """
    Another registry can take the default one's place.
    """
    before = swap_default(registry)
    try:
        assert default_registry() is registry
        assert resilient.health().registry == "own"
    finally:
        assert swap_default(before) is registry


def test_clock_and_chance_are_used(clock):
    """
    A registry's functions wait on its clock, by its chance.
    """
    registry = Registry("own", clock, random.Random(7))
    errors = [ConnectionError()]

    @retry(registry=registry)
    def flaky():
        if errors:
            raise errors.pop()

    flaky()

    assert clock.monotonic() == pytest.approx(random.Random(7).uniform(0.75, 1.25))


def test_all_wrong_arguments_of_a_registry_come_at_once():
    """
    One error names everything that no registry can be made with.
    """
    with pytest.raises(PolicyError) as caught:
        Registry("", clock=time, rng=3)
    text = str(caught.value)

    assert len(caught.value.problems) == 3
    assert "name must be a string that is not empty, got '' (str)" in text
    assert "clock must have monotonic(), now(), sleep() and asleep()" in text
    assert "rng must have uniform(a, b), such as random.Random(1), got 3 (int)" in text


def test_repr(registry):
    """
    The repr counts what there is.
    """
    function = make(registry, circuit)
    registry.chain("images")

    assert function() == 1
    assert repr(registry) == "<Registry 'own': 1 functions, 1 circuits, 1 chains, 0 errors>"
    assert repr(registry.chains) == "{'images'}"


# -- circuits by name ------------------------------------------------------------------


def test_one_name_is_one_circuit(registry):
    """
    The same name is the same circuit, whether code or decorators ask, and on another registry another one.
    """
    breaker = registry.circuit("api")
    decorated = circuit("api", registry=registry)(broken)

    assert registry.circuit("api") is breaker is registry.circuits["api"]
    assert resilience_of(decorated).policies[0].breaker is breaker
    assert Registry().circuit("api") is not breaker


def test_a_functions_own_circuit_is_found_by_its_name(registry):
    """
    Code that asks for a circuit by a function's name gets the function's own one.
    """
    decorated = circuit(registry=registry)(broken)
    breaker = registry.circuit(f"{__name__}:broken")

    assert breaker is resilience_of(decorated).policies[0].breaker
    assert list(registry.circuits) == [f"{__name__}:broken"]
    fail(decorated, 5)
    assert breaker.state is CircuitState.OPEN


def test_a_circuit_asked_for_before_is_not_the_functions_own(registry):
    """
    Unnamed circuits are never shared: where the name is taken by code, the function's own gets a number.
    """
    breaker = registry.circuit(f"{__name__}:broken")
    decorated = circuit(registry=registry)(broken)

    assert resilience_of(decorated).policies[0].breaker is not breaker
    assert list(registry.circuits) == [f"{__name__}:broken", f"{__name__}:broken#2"]


def test_the_first_options_given_count(registry):
    """
    A circuit named without options takes the first options that are given, and keeps its state.
    """
    breaker = registry.circuit("api")
    breaker.record_failure()
    registry.circuit("api", CircuitBreakerConfig(failure_threshold=2))
    breaker.record_failure()

    assert breaker.state is CircuitState.OPEN
    assert registry.circuit("api") is breaker


@pytest.mark.parametrize("by_decorator", [False, True])
def test_options_that_contradict_are_refused(registry, by_decorator):
    """
    Other options for the same circuit are refused, showing both; the first ones stay.
    """
    breaker = registry.circuit("api", CircuitBreakerConfig(failure_threshold=2, timeout=5))

    def contradict():
        if by_decorator:
            circuit("api", failure_threshold=3, open_for=6, registry=registry)(broken)
        else:
            registry.circuit("api", CircuitBreakerConfig(failure_threshold=3, timeout=6))

    with pytest.raises(PolicyError) as caught:
        contradict()
    assert "failure_threshold=3 contradicts failure_threshold=2" in str(caught.value)
    assert "open_for=6.0 contradicts open_for=5.0" in str(caught.value)
    assert breaker.options["failure_threshold"] == 2


def test_equal_options_contradict_nothing(registry):
    """
    The same options may be given again, and a part of them, and defaults that nobody gave before.
    """
    first = registry.circuit("api", CircuitBreakerConfig(failure_threshold=2))
    again = registry.circuit("api", CircuitBreakerConfig(failure_threshold=2, success_threshold=2))
    circuit("api", failure_threshold=2, registry=registry)(broken)

    assert again is first


def test_defaults_hold_until_options_are_given(registry):
    """
    Defaults of whoever makes a circuit contradict nobody.
    """
    breaker = registry.circuit("api", defaults={"failure_threshold": 2})
    before = breaker.options["failure_threshold"]
    circuit("api", failure_threshold=9, registry=registry)(broken)

    assert (before, breaker.options["failure_threshold"]) == (2, 9)


def test_wrong_arguments_of_circuit_come_at_once(registry):
    """
    A name and a config that are none are refused, both at once.
    """
    with pytest.raises(PolicyError) as caught:
        registry.circuit("", RetryConfig())

    assert caught.value.problems == (
        "name must be a string that is not empty, got '' (str)",
        "config must be a CircuitBreakerConfig or None, got RetryConfig() (RetryConfig)",
    )
    assert not registry.circuits


@pytest.mark.parametrize("name", [None, [], 3, " "])
def test_a_wrong_name_of_a_chain_is_refused(registry, name):
    """
    What is no name is refused, whatever it is.
    """
    with pytest.raises(PolicyError, match=r"chain\(\): name must be a string that is not empty, got"):
        registry.chain(name)


def test_one_name_is_one_chain(registry):
    """
    The same name is the same chain, for code and decorators.
    """
    chain = registry.chain("images")
    fallback_chain(lambda: "small", name="images", registry=registry)(broken)

    assert registry.chain("images") is chain is registry.chains["images"]
    assert len(chain.entries) == 1


# -- how long things live -----------------------------------------------------------------


def test_functions_and_their_own_circuits_go_together(registry):
    """
    A function that nobody holds is gone from the registry, with its own circuit; a named one stays.
    """
    functions = [make(registry, circuit), circuit("api", registry=registry)(broken)]
    before = len(registry.functions), len(registry.circuits)
    functions.clear()
    gc.collect()

    assert before == (2, 2)
    assert list(registry.functions) == []
    assert list(registry.circuits) == ["api"]


def test_functions_of_one_name_get_numbers(registry):
    """
    The second of several local functions of one name gets ``#2``, with its circuit; numbers are used again.
    """
    functions = [make(registry, circuit) for _ in range(5)]
    names = list(registry.functions)
    del functions[3]
    gc.collect()
    functions.append(make(registry, circuit))

    assert names == [LOCAL, *(f"{LOCAL}#{number}" for number in range(2, 6))]
    assert sorted(registry.functions) == sorted(registry.circuits) == names


def test_a_function_that_is_defined_again_takes_the_place(registry):
    """
    A module-level function that is decorated again replaces the earlier one, with a fresh circuit.
    """
    decorator = circuit(failure_threshold=1, registry=registry)
    old = redefine(registry, decorator)
    fail(old)
    new = redefine(registry, decorator)

    assert list(registry.functions) == [f"{__name__}:cell"] == list(registry.circuits)
    assert registry.functions[f"{__name__}:cell"] is resilience_of(new)
    assert registry.circuits[f"{__name__}:cell"].state is CircuitState.CLOSED


def test_an_edited_line_is_no_contradiction(registry):
    """
    A cell that is run again with other options for its named circuit changes them; the circuit stays.
    """
    old = redefine(registry, circuit("api", failure_threshold=5, registry=registry))
    breaker = registry.circuit("api")
    new = redefine(registry, circuit("api", failure_threshold=1, registry=registry))
    fail(new)

    assert breaker is registry.circuit("api")
    assert breaker.state is CircuitState.OPEN
    assert resilience_of(old) is not resilience_of(new)


def test_a_circuit_that_code_asked_for_is_never_dropped(registry, clock):
    """
    A function that moves to another registry leaves no circuit behind, unless code has asked for it.
    """
    other = Registry("other", clock=clock)
    registry_before = swap_default(registry)
    try:
        held = registry.circuit("held")
        retry(registry=other)(circuit("held")(broken))
        retry(registry=other)(circuit("dropped")(broken))
    finally:
        swap_default(registry_before)

    assert list(registry.circuits) == ["held"]
    assert registry.circuit("held") is held
    assert sorted(other.circuits) == ["dropped", "held"]


# -- the shelf ------------------------------------------------------------------------------


class Thing:
    """
    Something that can be held weakly.
    """


def test_a_shelf_is_a_mapping():
    """
    A shelf has what is kept and what lives, by name, in one mapping.
    """
    shelf, kept, living, dead = Shelf(), Thing(), Thing(), Thing()
    shelf.kept["a"] = kept
    shelf.weak["b"] = living
    shelf.weak["c"] = dead
    del dead
    gc.collect()

    assert dict(shelf) == {"a": kept, "b": living} == dict(shelf.items())
    assert list(shelf.values()) == [kept, living]
    assert len(shelf) == 2
    assert "b" in shelf
    assert shelf.get("c") is None
    with pytest.raises(KeyError, match="c"):
        shelf["c"]


def test_what_dies_while_a_shelf_is_walked_does_no_harm():
    """
    Something may die between the reading of its name and of its value.
    """
    shelf, things = Shelf(), [Thing() for _ in range(10)]
    for number, thing in enumerate(things):
        shelf.weak[str(number)] = thing
    del thing
    seen = []
    for name, thing in shelf.items():
        things.clear()
        seen.append((name, thing))

    assert len(seen) == 10


def test_what_dies_while_a_shelf_is_read_is_left_out():
    """
    Something may die after the references were listed, before it is looked at.
    """
    shelf, things = Shelf(), [Thing(), Thing()]

    class Name(str):
        __slots__ = ("armed",)

        def __hash__(self):
            if getattr(self, "armed", False):
                things.clear()
            return super().__hash__()

    name = Name("a")
    shelf.weak[name] = kept = things[0]
    shelf.weak["b"] = things[1]
    name.armed = True

    assert list(shelf.values()) == [kept]


@pytest.mark.parametrize("taken", [0, 1, 2, 3, 5, 8, 40])
def test_the_next_number_is_found(taken):
    """
    The free name is the first one of a series.
    """
    shelf = Shelf()
    for number in range(1, taken + 1):
        shelf.kept["f" if number == 1 else f"f#{number}"] = number

    assert shelf.free_name("f") == ("f" if not taken else f"f#{taken + 1}")


def test_ten_thousand_circuits(registry):
    """
    Ten thousand circuits, named and functions' own, are no burden.
    """
    began = time.process_time()
    functions = [make(registry, circuit) for _ in range(2_500)]
    for number in range(7_500):
        registry.circuit(f"circuit {number}")
    health = registry.health()

    assert len(registry.circuits) == len(health.circuits) == 10_000
    assert len(functions) == len(health.functions)
    assert time.process_time() - began < 10


# -- threads ----------------------------------------------------------------------------------


def test_threads_that_ask_for_one_name_get_one_circuit(registry):
    """
    Threads that name a circuit at the same time get the same one, and one of them gives the options.
    """
    barrier = threading.Barrier(8)

    def ask(number):
        barrier.wait()
        try:
            return registry.circuit("api", CircuitBreakerConfig(failure_threshold=number + 1))
        except PolicyError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    breakers = [one for one in answers if not isinstance(one, PolicyError)]

    assert breakers == [registry.circuit("api")]
    assert answers[registry.circuit("api").options["failure_threshold"] - 1] is breakers[0]


def test_reading_while_others_decorate(registry):
    """
    Health, reset and iteration work while other threads decorate and let go.
    """
    stop = threading.Event()
    errors = []

    def decorate():
        while not stop.is_set():
            kept = [make(registry, circuit) for _ in range(10)]
            try:
                kept[0]()
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=decorate) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            registry.health()
            registry.reset()
            assert all(isinstance(name, str) for name in registry.circuits)
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert errors == []
    assert len(set(registry.functions)) == len(registry.functions)


# -- listening ----------------------------------------------------------------------------------


def test_listeners_hear_until_they_are_taken_off(registry):
    """
    A listener hears all events but successes, until what `on` returned is called.
    """
    heard = []
    stop = registry.on(heard.append)
    function = retry(max_attempts=1, registry=registry)(broken)
    fail(function)
    before = len(heard)
    stop()
    stop()
    fail(function)

    assert OperationFailed in {type(event) for event in heard}
    assert len(heard) == before


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (AttemptFailed, {AttemptFailed}),
        ([AttemptFailed, OperationFailed], {AttemptFailed, OperationFailed}),
        ({CallSucceeded}, {CallSucceeded}),
        ([], set()),
    ],
)
def test_listeners_hear_what_they_asked_for(registry, events, expected):
    """
    ``events=`` takes one class or several.
    """
    heard = []
    registry.on(heard.append, events)
    fail(retry(max_attempts=1, registry=registry)(broken))
    make(registry)()

    assert {type(event) for event in heard} == expected


def test_all_events_include_successes(registry):
    """
    The base class stands for all of them, successes included.
    """
    heard = []
    registry.on(heard.append, Event)
    make(registry)()

    assert [type(event) for event in heard] == [CallSucceeded]


async def listen_async(event):
    """
    Listen in a way that nobody would await.
    """


@pytest.mark.parametrize(
    ("listener", "events", "message"),
    [
        (3, None, "a listener must be callable with one event, got 3"),
        (listen_async, None, "must be a plain function"),
        (print, 3, "takes classes from resilient.events, got 3"),
        (print, [int], "takes classes from resilient.events, got <class 'int'>"),
        (print, "attempt.failed", "takes classes from resilient.events"),
    ],
)
def test_wrong_arguments_of_on_are_refused(registry, listener, events, message):
    """
    What is no listener, or no event class, is refused.
    """
    with pytest.raises(PolicyError, match=message):
        registry.on(listener, events)


# -- failure ratio ----------------------------------------------------------------------------------


def test_the_failure_ratio_is_of_operations(registry, clock):
    """
    The ratio is of operations that failed, whatever their attempts, of the last five minutes.
    """
    before = registry.failure_ratio()
    ok = make(registry)
    bad = retry(initial_delay=0, registry=registry)(broken)
    for _ in range(3):
        ok()
    fail(bad)
    during = registry.failure_ratio()
    clock.advance(10)
    registry.failure_ratio()
    clock.advance(300)

    assert (before, during) == (None, 0.25)
    assert registry.failure_ratio() is None


def test_what_fails_inside_a_registry_is_reported_once(registry, caplog):
    """
    A signal or a rule of the user's that raises is logged once, and harms nobody.
    """

    def signal():
        raise LookupError("no queue")

    registry.degradation.add_signal("queue", signal, 1)
    registry.health()
    registry.health()

    assert sum("signal queue" in record.getMessage() for record in caplog.records) == 1


# -- reset --------------------------------------------------------------------------------------------


def test_reset(registry):
    """
    A reset zeroes counts, closes circuits and restores levels; registrations and listeners stay.
    """
    heard = []
    function = circuit("api", failure_threshold=1, registry=registry)(broken)
    registry.chain("images").add_fallback(lambda: "small")
    registry.chain("images").call()
    registry.on(heard.append, OperationFailed)
    registry.playbooks.step("network", name="mine")(lambda ctx: True)
    registry.degradation.degrade()
    registry.degradation.scope("video").degrade()
    fail(function)
    fail(lambda: registry.circuit("direct").call(broken))
    held = registry.circuit("held").isolate()
    heard.clear()
    registry.reset()

    assert resilience_of(function).stats().calls == 0
    assert [breaker.state.value for breaker in registry.circuits.values()] == ["closed"] * 3
    assert registry.analytics.total_errors == 0
    assert registry.failure_ratio() is None
    assert registry.chain("images").get_stats()["<lambda>"]["attempts"] == 0
    assert registry.degradation.current_level == "full"
    assert registry.health().status == "pass"
    assert "mine" in registry.playbooks.steps("network")
    fail(function)
    assert len(heard) == 1
    held.release()


def test_counters_are_reset_as_long_as_they_live(registry):
    """
    Whatever has a `reset` can be reset with the registry, which does not keep it alive.
    """
    resets = []

    class Counter:
        def reset(self):
            resets.append(self)

    kept, gone = Counter(), Counter()
    registry.reset_with(kept)
    registry.reset_with(gone)
    del gone
    gc.collect()
    registry.reset()

    assert resets == [kept]


def test_counters_may_come_while_others_are_reset(registry, switches):
    """
    Another thread may make mechanisms, whose counts are reset with the registry, while it is reset.
    """
    config = RetryConfig(max_attempts=1)
    mechanisms = [RetryMechanism(config, registry) for _ in range(100)]
    done = threading.Event()
    made = itertools.count()

    def add():
        while not done.is_set():
            RetryMechanism(config, registry)
            next(made)

    adding = threading.Thread(target=add)
    adding.start()
    try:
        for mechanism in mechanisms:
            mechanism.call(int)
            registry.reset()
    finally:
        done.set()
        adding.join()

    assert next(made) > 0
    assert not any(mechanism.get_stats() for mechanism in mechanisms)


# -- forks ----------------------------------------------------------------------------------------------


def test_locks_are_renewed_all_the_way_down(registry):
    """
    What happens in a forked child gives each part of a registry a fresh lock, and changes nothing else.
    """
    parts = [registry, registry.circuits, registry.functions, registry.chains, registry.chain("images"), registry.hub]
    parts += [registry.analytics, registry.circuit("api"), registry.playbooks._steps]
    before = [part._lock for part in parts] + [registry.degradation.lock]
    forks._renew()
    after = [part._lock for part in parts] + [registry.degradation.lock]

    assert all(new is not old for new, old in zip(after, before, strict=True))
    assert list(registry.chains) == ["images"]


@needs_fork
@may_fork
def test_a_fork_keeps_state_with_fresh_locks(registry):
    """
    A child forked while a thread holds every lock goes on with the parent's state.
    """
    function = circuit("api", failure_threshold=2, registry=registry)(broken)
    registry.chain("images").add_fallback(lambda: "small")
    fail(function)
    breaker = registry.circuit("api")
    locks = [
        registry._lock,
        registry.circuits._lock,
        registry.functions._lock,
        registry.chains._lock,
        registry.chain("images")._lock,
        registry.hub._lock,
        registry.analytics._lock,
        registry.degradation.lock,
        breaker._lock,
    ]

    def child():
        fail(function)
        registry.circuit("new")
        registry.chain("images").call()
        make(registry)
        registry.lower_after_memory_failures()()
        registry.degradation.degrade()
        return breaker.state, registry.health().total_errors

    with held(*locks):
        told = in_fork(child)

    assert told == str((CircuitState.OPEN, 2))
    assert breaker.state is CircuitState.CLOSED


def test_a_reloaded_module_is_the_same_functions(tmp_path, monkeypatch):
    """
    A module that is loaded again has its functions and circuits once, and may have changed their options.
    """
    path = tmp_path / "engine_of_test.py"
    source = "from resilient import circuit\n@circuit('api', failure_threshold={})\ndef render(): return {}\n"
    registry = Registry()
    before = swap_default(registry)
    try:
        for number in (2, 3):
            path.write_text(source.format(number, number))
            spec = importlib.util.spec_from_file_location("engine_of_test", path)
            module = importlib.util.module_from_spec(spec)
            monkeypatch.setitem(sys.modules, "engine_of_test", module)
            exec(compile(path.read_text(), path, "exec"), module.__dict__)  # noqa: S102 - as an import does
    finally:
        swap_default(before)

    assert list(registry.functions) == ["engine_of_test:render"]
    assert registry.circuit("api").options["failure_threshold"] == 3
    assert module.render() == 3


def test_circuits_that_nobody_holds_make_room(monkeypatch):
    """
    Beyond the limit the oldest closed circuits go that nobody else holds, after one warning.
    """
    monkeypatch.setattr(shelves, "LIMIT", 3)
    registry = Registry()
    held = registry.circuit("held")
    registry.circuit("open").state = "open"
    names = [f"user {number}" for number in range(20)]
    with pytest.warns(ResilientWarning, match="keeps 3 circuits") as caught:
        deque(map(registry.circuit, names), maxlen=0)
    gc.collect()

    assert len(caught) == 1
    assert registry.circuit("held") is held
    assert registry.circuits["open"].state.value == "open"
    assert len(registry.circuits) <= 3 + 1


def test_open_circuits_make_no_room(monkeypatch):
    """
    A circuit that is not closed protects something: it stays, however many there are.
    """
    monkeypatch.setattr(shelves, "LIMIT", 3)
    registry = Registry()
    names = [f"open {number}" for number in range(3)]
    for name in names:
        registry.circuit(name).state = "open"
    with pytest.warns(ResilientWarning, match="keeps 3 circuits"):
        registry.circuit("new")
    gc.collect()

    assert sorted(registry.circuits) == ["new", *names]


def test_chains_that_nobody_holds_make_room(monkeypatch):
    """
    Beyond the limit the oldest chains go that no function and no code holds.
    """
    monkeypatch.setattr(shelves, "LIMIT", 3)
    registry = Registry()

    @fallback_chain(len, name="used", registry=registry)
    def used(value):
        return value

    names = [f"user {number}" for number in range(20)]
    with pytest.warns(ResilientWarning, match="keeps 3 chains"):
        deque(map(registry.chain, names), maxlen=0)
    gc.collect()

    assert used(1) == 1
    assert "used" in registry.chains
    assert len(registry.chains) <= 3 + 1


def test_failure_ratio_remembers_functions_that_are_gone():
    """
    What functions have counted stays in the failure ratio when they are collected.
    """
    registry = Registry()

    def use():
        @circuit(registry=registry)
        def call(fails):
            if fails:
                raise ValueError

        for fails in (False, True) * 4:
            with contextlib.suppress(ValueError):
                call(fails)

    registry.failure_ratio()
    use()
    gc.collect()

    assert registry.failure_ratio() == 0.5
