"""
Declarations in force: configured, loaded, loaded again.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
import subprocess
import sys
import warnings
import weakref

import pytest

from resilient import (
    CircuitBreakerConfig,
    CircuitState,
    PolicyError,
    Registry,
    circuit,
    default_registry,
    fallback_chain,
    governed,
    retry,
    shelves,
)
from resilient.declared import rebinding
from resilient.declared.declarations import Declarations, Deferred
from resilient.declared.rebinding import rebind
from resilient.testing import FakeClock, isolated_registry
from tests.harness import caught, run_threads, script

MINE = f"{__name__}:*"


def card(*args, **kwargs):
    """
    Return what stands for a picture.
    """
    return "card"


def other_card(*args, **kwargs):
    """
    Return something else that stands for a picture.
    """
    return "other card"


async def async_card():
    """
    Return what stands for a picture, later.
    """
    return "async card"


def kinds(fn):
    """
    Return the kinds of the policies in force, outermost first.
    """
    return [policy.kind for policy in fn.resilience.policies]


def options(fn, kind="retry"):
    """
    Return the options in force of the first policy of *kind*.
    """
    return next(spec.given for spec in fn.resilience.in_force if spec.kind == kind)


def put(path, functions, policies=""):
    """
    Write a file that says the same of all functions of this file.
    """
    path.write_text(f'{policies}\n[functions]\n"{MINE}" = {functions}\n', encoding="utf-8")
    return path


@pytest.fixture
def file(tmp_path):
    """
    Return where a file of policies may be.
    """
    return tmp_path / "resilient.toml"


# -- putting in force ------------------------------------------------------------------


def test_what_is_configured_is_in_force_at_once(colour, registry):
    """
    A decorated function and a governed one get it, those of other registries do not.
    """
    fails = script(ConnectionError())
    mine = retry(max_attempts=2, initial_delay=0.0, registry=registry)(colour.of(fails))
    bare = governed(registry=registry)(colour.of(script("fine")))
    others = governed(registry=Registry())(colour.of(script("fine")))
    registry.configure({"functions": {"*:*": {"retry": {"max_attempts": 5}}}})

    assert type(caught(colour.call, mine)) is ConnectionError
    assert fails.calls == 5
    assert options(mine) == {"max_attempts": 5, "initial_delay": 0.0}
    assert kinds(bare) == ["retry"]
    assert kinds(others) == []


def test_functions_that_are_decorated_later_get_what_is_declared(registry):
    """
    A declaration holds for what comes, too, whether decorated or governed, in one stack or bare.
    """
    registry.configure({"functions": {MINE: {"retry": {"max_attempts": 5}, "circuit": {}}}})

    @retry(jitter=False, registry=registry)
    @circuit(failure_threshold=2, registry=registry)
    def both():
        return 1

    @governed(registry=registry)
    def none():
        return 1

    assert options(both) == {"jitter": False, "max_attempts": 5}
    assert options(both, "circuit") == {"failure_threshold": 2}
    assert kinds(none) == ["retry", "circuit"]
    assert [both.resilience.pipeline.name in registry.circuits, both() + none()] == [True, 2]
    assert len(registry.circuits) == 2


def test_reload_loads_and_loads_again(registry, file):
    """
    The first call names the file, later ones read it again; what is taken away gives the decorator's own back.
    """

    @retry(max_attempts=2, registry=registry)
    def work():
        return 1

    own = work.resilience.specs
    registry.reload(str(put(file, "{ retry = { max_attempts = 7 }, circuit = {} }")))
    declared = work.resilience.in_force
    put(file, "{ retry = false }")
    registry.reload()
    removed = kinds(work)
    file.write_text("# nothing\n", encoding="utf-8")
    registry.reload()

    assert [spec.given for spec in declared] == [{"max_attempts": 7}, {}]
    assert removed == []
    assert work.resilience.in_force == own
    assert work.resilience.specs is own
    assert options(work) == {"max_attempts": 2}


def test_the_environment_wins_over_the_file_and_configure_over_both(registry, file, monkeypatch):
    """
    Each layer above the file, and taken back again.
    """
    work = governed(registry=registry)(lambda: 1)
    put(file, '"gpu"', "[policies.gpu]\nretry = { max_attempts = 3, max_delay = 9 }")
    monkeypatch.setenv("RESILIENT_POLICIES__GPU__RETRY__MAX_ATTEMPTS", "4")
    registry.reload(file)
    first = options(work)
    registry.configure({"policies": {"gpu": {"retry": {"max_attempts": 5}}}})
    second = options(work)
    registry.reload()
    third = options(work)
    registry.configure({})

    assert [first["max_attempts"], second["max_attempts"], third["max_attempts"]] == [4, 5, 5]
    assert first["max_delay"] == second["max_delay"] == 9.0
    assert options(work) == first


def test_reload_finds_the_file(registry, tmp_path, monkeypatch):
    """
    Without a path the nearest file is read; where there is none the error says what to write.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESILIENT_CONFIG", raising=False)
    monkeypatch.setattr("resilient.declared.reloading.find", lambda: None)
    none = caught(registry.reload)
    wrong = caught(registry.reload, 5)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "resilient.toml", "{ retry = {} }")
    work = governed(registry=registry)(lambda: 1)
    registry.reload()

    assert "resilient.toml" in str(none)
    assert "path must be a path" in str(wrong)
    assert kinds(work) == ["retry"]


def test_only_what_changes_is_touched(registry, file):
    """
    Functions whose policies say the same keep the very same policies, and counts stay anyway.
    """

    @governed(registry=registry)
    def one():
        return 1

    @governed(registry=registry)
    def two():
        return 2

    put(file, "{ retry = {}, circuit = {} }")
    registry.reload(file)
    one()
    two()
    before = [one.resilience.policies, two.resilience.policies]
    registry.reload()
    same = [one.resilience.policies, two.resilience.policies]
    more = f'"{MINE}.two" = {{ retry = {{ max_attempts = 9 }}, circuit = {{}} }}\n'
    file.write_text(file.read_text(encoding="utf-8") + more, encoding="utf-8")
    registry.reload()

    assert all(now is then for now, then in zip(same, before, strict=True))
    assert one.resilience.policies is before[0]
    # The circuit is none of what changed.
    assert two.resilience.policies[0] is not before[1][0]
    assert two.resilience.policies[1] is before[1][1]
    assert [one.resilience.stats().calls, two.resilience.stats().calls] == [1, 1]


def test_nothing_changes_where_anything_is_wrong(registry, file):
    """
    What is wrong for one function keeps the whole file out, with the problems of all functions.
    """

    @governed(registry=registry)
    def one():
        return 1

    @governed(registry=registry)
    def two():
        return 2

    registry.reload(put(file, "{ retry = {} }"))
    declared, before = registry.declarations, [one.resilience.policies, two.resilience.policies]
    file.write_text(
        '[functions]\n"*:*" = { circuit = { name = "c" } }\n"*:*.one" = { fallback_chain = ["nowhere:f"] }\n'
        '"*:*.two" = { retry = { on_result = "os:nix" } }\n',
        encoding="utf-8",
    )
    error = caught(registry.reload)
    bad = caught(registry.configure, {"functions": {"*:*": {"retri": {}}}})

    assert type(error) is type(bad) is PolicyError
    assert [len(error.problems), "one" in str(error), "two" in str(error)] == [2, True, True]
    assert registry.declarations is declared
    assert before == [one.resilience.policies, two.resilience.policies]
    assert "c" not in registry.circuits


def test_a_problem_of_many_functions_is_told_once(registry):
    """
    Ten functions that share a rule share its problem.
    """
    functions = [governed(registry=registry)(lambda: 1) for _ in range(10)]
    error = caught(registry.configure, {"functions": {MINE: {"fallback_chain": ["nowhere:f"]}}})

    assert len(error.problems) == 1
    assert "and 7 more" in str(error)
    assert functions


def test_a_policy_that_a_function_cannot_carry_is_refused(registry):
    """
    An async fallback behind a sync function, in a chain of its own or one with a name.
    """
    work = governed(registry=registry)(lambda: 1)
    error = caught(registry.configure, {"functions": {MINE: {"fallback_chain": [f"{__name__}:async_card"]}}})

    assert "async" in str(error)
    assert kinds(work) == []


# -- circuits --------------------------------------------------------------------------


def test_own_circuits_keep_state_and_counts(registry, file):
    """
    A reload that changes a circuit's options leaves the circuit itself, open as it is, and its counts.
    """

    @circuit(failure_threshold=1, open_for=30.0, registry=registry)
    def work():
        raise ConnectionError

    caught(work)
    caught(work)
    breaker = registry.circuits[work.resilience.pipeline.name]
    put(file, "{ circuit = { open_for = '90s' }, retry = {} }")
    registry.reload(file)

    assert registry.circuits[work.resilience.pipeline.name] is breaker
    assert breaker.state is CircuitState.OPEN
    assert breaker.get_state()["rejected"] == 1
    assert breaker.options["open_for"] == 90.0
    assert breaker.options["failure_threshold"] == 1
    assert kinds(work) == ["retry", "circuit"]


def test_shared_circuits_keep_state_and_follow_the_strongest_layer(registry, file):
    """
    A decorator's option, the file's over it, configure's over that; taken back, each layer below shows again.
    """

    @circuit("api", failure_threshold=5, registry=registry)
    def work():
        raise ConnectionError

    caught(work)
    breaker = registry.circuits["api"]
    seen = []
    for say in (
        lambda: registry.reload(put(file, "{ circuit = { failure_threshold = 4, open_for = '9s' } }")),
        lambda: registry.configure({"functions": {MINE: {"circuit": {"failure_threshold": 3}}}}),
        lambda: registry.reload(put(file, "{ retry = {} }")),
        lambda: registry.configure({}),
    ):
        say()
        seen.append((breaker.options["failure_threshold"], breaker.options["open_for"], breaker.failure_count))

    assert seen == [(4, 9.0, 1), (3, 9.0, 1), (3, 60.0, 1), (5, 60.0, 1)]
    assert registry.circuits["api"] is breaker


def test_a_declared_option_of_a_shared_circuit_is_no_contradiction_to_decorators(registry):
    """
    The file speaks of one of two functions that share a circuit: both get it, whoever is decorated later too.
    """
    here = {"registry": registry}
    names = [f"{__name__}:first", f"{__name__}:second"]

    def make(name):
        def work():
            return 1

        work.__qualname__ = name
        return circuit("api", failure_threshold=5, **here)(work)

    first = make("first")
    registry.configure({"functions": {names[0]: {"circuit": {"failure_threshold": 2}}}})
    second = make("second")

    assert registry.circuits["api"].options["failure_threshold"] == 2
    assert "contradicts" in str(caught(circuit("api", failure_threshold=6, **here), lambda: 1))
    third = circuit("api", **here)(lambda: 1)
    assert [one() for one in (first, second, third)] == [1, 1, 1]


def test_declarations_of_one_layer_that_contradict_each_other_are_refused(registry):
    """
    Two rules give one circuit different options: at a reload, and when a function is decorated later.
    """

    def make(name):
        def work():
            return 1

        work.__qualname__ = name
        return governed(registry=registry)(work)

    rules = {
        f"{__name__}:a": {"circuit": {"name": "api", "failure_threshold": 2}},
        f"{__name__}:b": {"circuit": {"name": "api", "failure_threshold": 3}},
    }
    one = make("a")
    registry.configure({"functions": rules})
    later = caught(make, "b")
    registry.configure({})
    two = make("b")
    error = caught(registry.configure, {"functions": rules})

    assert "failure_threshold=3 contradicts failure_threshold=2" in str(later)
    assert "declared for circuit 'api' elsewhere" in str(error)
    assert [kinds(one), kinds(two)] == [[], []]


def test_decorators_whose_circuits_become_one_have_to_agree(registry):
    """
    Own circuits with different options cannot be put on a shared one.
    """
    one = circuit(failure_threshold=2, registry=registry)(lambda: 1)
    two = circuit(failure_threshold=3, registry=registry)(lambda: 2)
    error = caught(registry.configure, {"functions": {MINE: {"circuit": {"name": "new"}}}})
    registry.circuit("old", CircuitBreakerConfig(failure_threshold=9))
    given = caught(registry.configure, {"functions": {MINE: {"circuit": {"name": "old"}}}})

    assert "different options" in str(error)
    assert "failure_threshold=9" in str(given)
    assert [one(), two()] == [1, 2]
    assert "new" not in registry.circuits


def test_a_circuit_that_nobody_goes_through_any_more_is_gone(registry):
    """
    A function moves from its own circuit to a shared one and back; the shared one goes with its last user.
    """
    work = circuit(registry=registry)(lambda: 1)
    own = work.resilience.pipeline.name
    registry.configure({"functions": {MINE: {"circuit": {"name": "shared"}}}})
    moved = list(registry.circuits)
    registry.configure({})

    assert moved == ["shared"]
    assert list(registry.circuits) == [own]
    assert work() == 1


def test_what_is_set_by_hand_holds_until_something_else_is_declared(registry):
    """
    ``configure`` of a circuit is somebody's hand, and wins over the file for now.
    """
    work = circuit("api", registry=registry)(lambda: 1)
    breaker = registry.circuits["api"]
    registry.configure({"functions": {MINE: {"circuit": {"failure_threshold": 2}}}})
    breaker.configure(CircuitBreakerConfig(failure_threshold=8))
    by_hand = breaker.options["failure_threshold"]
    registry.configure({"functions": {MINE: {"circuit": {"failure_threshold": 3}}}})

    assert (by_hand, breaker.options["failure_threshold"]) == (8, 3)
    assert work() == 1


def test_two_functions_that_declare_for_one_circuit_at_once(registry, monkeypatch):
    """
    What one of them says is not lost while the other one looks.
    """
    rules = {
        f"{__name__}:a": {"circuit": {"name": "api", "failure_threshold": 2}},
        f"{__name__}:b": {"circuit": {"name": "api", "open_for": "9s"}},
    }
    registry.configure({"functions": rules})
    put_over = shelves.put_over
    made = []

    def make(name):
        def work():
            return 1

        work.__qualname__ = name
        return governed(registry=registry)(work)

    def interrupted(*args):
        found = put_over(*args)
        if not made:
            made.append(None)
            made.append(make("b"))
        return found

    monkeypatch.setattr(shelves, "put_over", interrupted)
    made.append(make("a"))

    options = registry.circuits["api"].options
    assert (options["failure_threshold"], options["open_for"]) == (2, 9.0)


@pytest.mark.filterwarnings("ignore::resilient.PolicyOrderWarning")
def test_two_circuits_of_one_function_keep_their_places(registry):
    """
    What is declared for both goes to each, and each keeps its state.
    """
    work = circuit(registry=registry)(retry(registry=registry)(circuit(registry=registry)(lambda: 1)))
    before = [policy.breaker for policy in work.resilience.policies if policy.kind == "circuit"]
    registry.configure({"functions": {MINE: {"circuit": {"failure_threshold": 2}}}})
    after = [policy.breaker for policy in work.resilience.policies if policy.kind == "circuit"]

    assert len({id(one) for one in after}) == 2
    assert {id(one) for one in after} == {id(one) for one in before}
    assert [one.options["failure_threshold"] for one in after] == [2, 2]


# -- chains ------------------------------------------------------------------------------


def test_a_chain_with_a_name_follows_what_is_declared(registry):
    """
    Entries come, change places and go; those that code has added stay, and so do the counts.
    """

    @governed(registry=registry)
    def work():
        raise ConnectionError

    registry.chain("cards").add_fallback(script("by hand"), name="hand")
    chain = registry.chains["cards"]

    def declare(*entries):
        table = {"name": "cards", "entries": [f"{__name__}:{one}" for one in entries]}
        registry.configure({"functions": {MINE: {"fallback_chain": table}}})
        return [entry.name for entry in chain.entries]

    first = declare("card", "other_card")
    work()
    second = declare("other_card", "card")
    third = declare("other_card")
    registry.configure({})

    assert first == ["hand", "card", "other_card"]
    assert second == ["hand", "other_card", "card"]
    assert third == ["hand", "other_card"]
    assert [entry.name for entry in chain.entries] == ["hand"]
    assert chain.get_stats()["hand"]["successes"] == 1


def test_an_entry_that_another_function_names_stays(registry):
    """
    Two functions share a chain, and a declaration changes what one of them says of it.
    """
    here = {"registry": registry}

    @fallback_chain(card, async_card, name="cards", **here)
    async def one():
        return 1

    @fallback_chain(card, name="cards", **here)
    async def two():
        return 2

    entries = [f"{__name__}:other_card"]
    registry.configure({"functions": {one.resilience.name: {"fallback_chain": {"entries": entries}}}})

    assert [entry.name for entry in registry.chains["cards"].entries] == ["card", "other_card"]
    assert [asyncio.run(one()), asyncio.run(two())] == [1, 2]


def test_functions_that_declare_one_chain_share_its_entries(registry):
    """
    What several of them say is there once.
    """
    functions = [governed(registry=registry)(script(ConnectionError())) for _ in range(2)]
    table = {"name": "cards", "entries": [f"{__name__}:card"]}
    registry.configure({"functions": {"*:*": {"fallback_chain": table}}})

    assert [entry.name for entry in registry.chains["cards"].entries] == ["card"]
    assert [fn() for fn in functions] == ["card", "card"]


def test_a_chain_without_a_name_is_the_functions_own(registry):
    """
    A declared chain stands in, and is made anew when its entries change.
    """
    work = governed(registry=registry)(script(ConnectionError()))
    registry.configure({"functions": {"*:*": {"fallback_chain": [f"{__name__}:card"]}}})
    first = work()
    registry.configure(
        {"functions": {"*:*": {"fallback_chain": {"entries": [f"{__name__}:other_card"], "on": "network"}}}}
    )

    assert [first, work()] == ["card", "other card"]


# -- calls in flight, other threads -------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "attempts"), [({}, {"retry": {"max_attempts": 4}}, 1), ({"retry": {"max_attempts": 3}}, {}, 3)]
)
def test_calls_in_flight_keep_the_policy_they_began_with(before, after, attempts, registry):
    """
    A call under way is attempted as often as was in force when it began; the next one goes by what is in force now.
    """
    calls = []
    clock = FakeClock()
    registry = Registry(clock=clock)

    @governed(registry=registry)
    def work():
        calls.append(1)
        registry.configure({"functions": {MINE: after}})
        raise ConnectionError

    registry.configure({"functions": {MINE: before}})
    caught(work)
    first = len(calls)
    caught(work)

    assert first == attempts
    assert len(calls) - first == after.get("retry", {}).get("max_attempts", 1)


def test_of_two_at_once_neither_is_lost(registry, monkeypatch):
    """
    A reload and a configure that overlap are both in force in the end.
    """
    work = governed(registry=registry)(lambda: 1)
    plan = rebinding._Plan  # noqa: SLF001 - between its making and its end something happens
    waiting = [lambda: registry.configure({"functions": {MINE: {"circuit": {}}}})]

    def interrupted(*args, **kwargs):
        made = plan(*args, **kwargs)
        while waiting:
            waiting.pop()()
        return made

    monkeypatch.setattr(rebinding, "_Plan", interrupted)
    file = Declarations(rebinding_document({MINE: {"retry": {}}})).file
    rebinding.put_in_force(registry, lambda now: Declarations(file, now and now.runtime))

    assert kinds(work) == ["retry", "circuit"]


def rebinding_document(functions):
    """
    Return a document that says this.
    """
    from resilient.declared.document import build, of_mapping

    return build(of_mapping({"functions": functions}))


def test_what_is_decorated_or_moved_meanwhile_is_seen_to(registry, monkeypatch):
    """
    Functions that come, go or change between the looking and the swapping have what is declared, too.
    """
    first = governed(registry=registry)(lambda: 1)
    gone = governed(registry=registry)(lambda: 2)
    same = governed(registry=registry)(lambda: 2)
    other = Registry()
    later = []
    plan = rebinding._Plan  # noqa: SLF001 - between its making and its end something happens
    waiting = [True]

    def interrupted(*args, **kwargs):
        made = plan(*args, **kwargs)
        if waiting:
            waiting.clear()
            later.append(governed(registry=registry)(lambda: 3))
            first.resilience.pipeline.install(retry(registry=registry)(print).resilience.policies, registry.hub)
            gone.resilience.bind(other)
        return made

    monkeypatch.setattr(rebinding, "_Plan", interrupted)
    registry.configure({"functions": {MINE: {"retry": {}}}})

    assert [kinds(one) for one in (first, gone, same, *later)] == [["retry"], [], ["retry"], ["retry"]]


def test_a_function_that_moves_while_nothing_changes_for_it_is_left_alone(registry, monkeypatch):
    """
    It follows its new registry, which declares nothing.
    """
    work = governed(registry=registry)(lambda: 1)
    registry.configure({"functions": {MINE: {"retry": {}}}})
    other = Registry()
    plan = rebinding._Plan  # noqa: SLF001 - as above

    def interrupted(*args, **kwargs):
        made = plan(*args, **kwargs)
        if work.resilience.registry is registry:
            work.resilience.bind(other)
        return made

    monkeypatch.setattr(rebinding, "_Plan", interrupted)
    registry.configure({"functions": {MINE: {"retry": {}}}})

    assert (kinds(work), work.resilience.declared) == ([], None)


def test_a_late_function_that_cannot_follow_is_reported(registry, monkeypatch, reports):
    """
    The others are under their new policies by then, and stay.
    """
    first = governed(registry=registry)(lambda: 1)
    late = []
    plan = rebinding._Plan  # noqa: SLF001 - as above

    def interrupted(*args, **kwargs):
        made = plan(*args, **kwargs)
        if not late:
            late.append(governed(registry=registry)(card))
        return made

    monkeypatch.setattr(rebinding, "_Plan", interrupted)
    rules = {MINE: {"retry": {}}, f"{__name__}:card": {"retry": {"on_result": "os:nothing"}}}
    registry.configure({"functions": rules})

    assert [kinds(first), kinds(late[0])] == [["retry"], []]
    assert [error for _, error in reports] == [PolicyError]


def test_a_declaration_that_comes_while_a_function_is_decorated_is_not_missed(registry, monkeypatch):
    """
    Whoever decorates looks again at the end.
    """
    make = registry.own_circuit

    def interrupted(*args, **kwargs):
        monkeypatch.undo()
        registry.configure({"functions": {MINE: {"retry": {}}}})
        return make(*args, **kwargs)

    monkeypatch.setattr(registry, "own_circuit", interrupted)
    work = circuit(registry=registry)(lambda: 1)

    assert kinds(work) == ["retry", "circuit"]


def test_declarations_that_change_while_functions_are_rebound_hold(registry, monkeypatch):
    """
    `rebind` looks again where somebody was faster.
    """
    work = governed(registry=registry)(lambda: 1)
    rebind(registry, [work.resilience])
    registry.configure({"functions": {MINE: {"retry": {}}}})
    plan = rebinding._Plan  # noqa: SLF001 - as above
    waiting = [{"functions": {MINE: {"circuit": {}}}}]

    def interrupted(*args, **kwargs):
        made = plan(*args, **kwargs)
        if waiting:
            registry.configure(waiting.pop())
        return made

    monkeypatch.setattr(rebinding, "_Plan", interrupted)
    rebind(registry, [work.resilience])

    assert kinds(work) == ["circuit"]


# -- references ------------------------------------------------------------------------


MODULE = """
from resilient import Registry, governed

registry = Registry()
registry.configure({"functions": {"engine:*": {"fallback_chain": ["engine:%s"]}}})

@governed(registry=registry)
def render():
    raise ConnectionError

early = repr(render.resilience.policies)
registry.configure({"functions": {"engine:*": {"fallback_chain": ["engine:%s"], "retry": {"initial_delay": 0}}}})

@governed(registry=registry)
async def arender():
    raise ConnectionError

def placeholder():
    return "placeholder"
"""


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """
    Return a function that imports a module whose functions fall back to one further down in it.
    """

    def load(name):
        (tmp_path / "engine.py").write_text(MODULE % (name, name), encoding="utf-8")
        import engine

        return engine

    monkeypatch.syspath_prepend(tmp_path)
    yield load
    sys.modules.pop("engine", None)


@pytest.mark.parametrize("reloaded", [False, True])
def test_a_reference_to_what_comes_further_down_is_followed_at_the_first_call(engine, reloaded):
    """
    While a module is being imported its later functions are not there; nothing is asked for before it matters.
    """
    module = engine("placeholder")
    before = [type(module.render.resilience.policies[0]), type(module.arender.resilience.policies[0])]
    if reloaded:
        rebind(module.registry, list(module.registry.functions.values()))

    assert before == [Deferred, Deferred]
    assert "at the first call" in module.early
    assert module.render() == "placeholder"
    assert asyncio.run(module.arender()) == "placeholder"
    assert kinds(module.render) == ["fallback_chain", "retry"]
    assert module.render.resilience.stats().calls == 1


def test_a_reference_that_leads_nowhere_is_the_first_calls_error(engine):
    """
    At the call, at each one, and at the next reload.
    """
    module = engine("nothing")

    assert type(caught(module.render)) is type(caught(module.render)) is PolicyError
    assert "engine" in str(caught(module.render))
    assert type(caught(asyncio.run, module.arender())) is PolicyError


def test_a_reference_that_leads_nowhere_is_an_error_at_decoration(registry):
    """
    Where the module is there already, nothing is waited for, and nothing is left behind.
    """
    registry.configure({"functions": {MINE: {"fallback_chain": ["nowhere:f"]}}})
    error = caught(governed(registry=registry), lambda: 1)

    assert type(error) is PolicyError
    assert list(registry.functions) == []


def test_references_are_followed_again(registry, monkeypatch):
    """
    `rebind` sees what a name stands for by now.
    """
    work = governed(registry=registry)(script(ConnectionError()))
    registry.configure({"functions": {"*:*": {"fallback_chain": [f"{__name__}:card"]}}})
    first = work()
    monkeypatch.setitem(globals(), "card", lambda: "new card")
    rebind(registry, [work.resilience])

    assert [first, work()] == ["card", "new card"]


# -- the environment --------------------------------------------------------------------


PROGRAM = """
import os, sys
from resilient import Registry, default_registry, governed, modes, retry

os.environ["RESILIENT_CONFIG"] = sys.argv[1]
assert default_registry().declarations is None
calls = []

def work():
    calls.append(1)
    raise ConnectionError

other = retry(registry=Registry())(work)
assert default_registry().declarations is None
try:
    mine = governed(work)
except ValueError as error:
    print(error)
    try:
        governed(work)
    except ValueError as again:
        print(str(again) == str(error))
    sys.exit()
os.environ["RESILIENT_CONFIG"] = "elsewhere"
governed(print)
try:
    mine()
except ConnectionError:
    print(len(calls), [policy.kind for policy in mine.resilience.policies], modes.disabled)
"""


def run(path, **environ):
    """
    Run the program with that file, and return what it prints.
    """
    command = [sys.executable, "-c", PROGRAM, str(path)]
    environ = {"PATH": "", "PYTHONPATH": ":".join(sys.path), **environ}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_variable_is_read_at_the_first_decoration_of_the_default_registry(file):
    """
    Not at import, not for other registries, and once.
    """
    put(file, "{ retry = { max_attempts = 2, initial_delay = 0 } }").write_text(
        file.read_text(encoding="utf-8").replace(MINE, "__main__:*"), encoding="utf-8"
    )

    assert run(file) == "2 ['retry'] False"


def test_a_file_that_the_variable_names_and_that_cannot_be_meant_stops_each_decoration(file):
    """
    The error names the variable, and nobody goes on without what was asked for.
    """
    file.write_text("[policies\n", encoding="utf-8")
    broken = run(file)
    missing = run(file.with_name("nothing.toml"))

    assert broken.startswith("RESILIENT_CONFIG: ")
    assert missing.startswith("RESILIENT_CONFIG: ")
    assert broken.endswith("True")


def test_disabled_declared_functions_call_the_raw_function(file):
    """
    RESILIENT_DISABLED beats declarations: policies are validated, put on, and not followed.
    """
    put(file, "{ retry = { max_attempts = 3 } }").write_text(
        file.read_text(encoding="utf-8").replace(MINE, "*:*"), encoding="utf-8"
    )
    bad = file.with_name("bad.toml")
    bad.write_text('[functions]\n"*:*" = { retry = { max_attempts = 0 } }\n', encoding="utf-8")

    assert run(file, RESILIENT_DISABLED="1") == "1 ['retry'] True"
    assert "max_attempts" in run(bad, RESILIENT_DISABLED="1")


def test_the_variable_in_this_very_process(registry, file, monkeypatch):
    """
    A registry that looks at it does so when a function is decorated: once, and again after an error.
    """
    monkeypatch.setattr(registry, "_reads_environment", True)
    file.write_text("[policies\n", encoding="utf-8")
    monkeypatch.setenv("RESILIENT_CONFIG", str(file))
    error = caught(governed(registry=registry), lambda: 1)
    put(file, "{ retry = {} }")
    work = governed(registry=registry)(lambda: 1)
    file.unlink()
    other = governed(registry=registry)(lambda: 1)

    assert str(error).startswith("RESILIENT_CONFIG: ")
    assert [kinds(work), kinds(other)] == [["retry"], ["retry"]]


def test_without_the_variable_nothing_is_read(registry, file, monkeypatch):
    """
    A file in the working folder is nobody's before somebody asks for it.
    """
    put(file, "{ retry = {} }")
    monkeypatch.chdir(file.parent)
    monkeypatch.delenv("RESILIENT_CONFIG", raising=False)
    monkeypatch.setattr(registry, "_reads_environment", True)

    assert kinds(governed(registry=registry)(lambda: 1)) == []


# -- health and log ----------------------------------------------------------------------


def test_health_warns_while_the_latest_file_is_not_in_force(registry, file):
    """
    The check tells which file and why, and passes again with the next good one.
    """
    before = registry.health()
    registry.configure({})
    configured = registry.health()
    registry.reload(put(file, "{ retry = {} }"))
    good = registry.health()
    file.write_text("[functions]\n'a:b' = 5\n'c:d' = 6\n", encoding="utf-8")
    caught(registry.reload)
    bad = registry.health()
    registry.reload(put(file, "{ retry = {} }"))

    assert before.checks == configured.checks == {}
    assert good.checks == {"declarations": {"status": "pass", "file": str(file), "problems": []}}
    assert (before.status, good.status, bad.status, registry.health().status) == ("pass", "pass", "warn", "pass")
    assert bad.checks["declarations"]["status"] == "warn"
    assert len(bad.to_dict()["checks"]["declarations"]["problems"]) == 2
    assert "not in force" in str(bad)
    assert "and 1 more problem" in str(bad)
    assert "not in force" not in str(registry.health())


def test_a_bad_file_is_logged_once_for_each_change(registry, file, entries):
    """
    The same problems again are no news; others are, and so is a good file.
    """
    file.write_text("[functions]\n'a:b' = 5\n", encoding="utf-8")
    for _ in range(3):
        caught(registry.reload, file)
    file.write_text("[functions]\n'a:b' = {}\n'c' = {}\n", encoding="utf-8")
    caught(registry.reload, file)
    work = governed(registry=registry)(lambda: 1)
    registry.reload(put(file, "{ retry = {} }"))

    assert [entry["event"].removeprefix("resilient.declarations.") for entry in entries] == [
        "refused",
        "refused",
        "changed",
    ]
    assert entries[0]["file"] == str(file)
    assert len(entries[0]["problems"]) == 1
    assert entries[-1]["changed"] == 1
    assert kinds(work) == ["retry"]


def test_where_nobody_listens_nothing_is_logged(registry, file, monkeypatch):
    """
    Neither of what went well nor of what did not; health tells it all the same.
    """
    monkeypatch.setattr(logging.getLogger("resilient"), "disabled", True)
    registry.reload(put(file, "{ retry = {} }"))
    file.write_text("[policies\n", encoding="utf-8")
    caught(registry.reload)

    assert registry.health().status == "warn"


def test_a_broken_log_does_not_undo_a_reload(registry, file, reports):
    """
    Whatever the handler raises, the file is in force.
    """

    class Broken(logging.Handler):
        def emit(self, record):
            raise OSError

    logger = logging.getLogger("resilient")
    handler = Broken()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        registry.reload(put(file, "{ retry = {} }"))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)

    assert registry.declarations.file is not None
    assert reports == [("the log of declarations", OSError)]


# -- other things -----------------------------------------------------------------------


def test_declarations_tell_what_they_are(registry):
    """
    For people, and for those who explain.
    """
    nothing = Declarations()
    registry.configure({"functions": {"a:b": {"retry": {"max_attempts": 2}}}})
    declared = registry.declarations

    assert repr(nothing) == "<Declarations of nothing>"
    assert repr(declared) == "<Declarations configure(): 1 rules>"
    assert [declared.governs("a:b"), declared.governs("a:c")] == [True, False]
    assert declared.effective("a:b").order == ("retry",)


def test_an_isolated_registry_declares_the_same(registry):
    """
    Functions under test run under the policies that they have, with closed circuits, and come back as they were.
    """
    home = default_registry()
    try:
        home.configure({"functions": {MINE: {"retry": {}}}})
        work = governed(lambda: 1)
        before = work.resilience.policies
        with isolated_registry() as fresh:
            inside = kinds(work)
            new = governed(lambda: 2)
            assert fresh.declarations is home.declarations
        after = work.resilience.policies
        with isolated_registry():
            home.configure({"functions": {MINE: {"circuit": {}}}})
            meanwhile = kinds(work)
    finally:
        last = kinds(work)
        home.configure({})
        home.declarations = None

    assert [inside, kinds(new), meanwhile, last] == [["retry"], ["retry"], ["retry"], ["circuit"]]
    assert after is before


def test_a_declared_function_travels_with_its_decorators_only(registry):
    """
    What is pickled is what was decorated; declarations belong to a process.
    """
    from resilient.decorating import GuardedCallable

    work = retry(max_attempts=2, registry=registry)(Callable())
    registry.configure({"functions": {MINE: {"circuit": {}}}})
    copied = pickle.loads(pickle.dumps(work))

    assert isinstance(copied, GuardedCallable)
    assert [kinds(work), kinds(copied)] == [["retry", "circuit"], ["retry"]]


class Callable:
    """
    Something that can be called, and pickled.
    """

    def __call__(self):
        return 1


def test_a_fast_path_is_as_fast_under_declarations(registry):
    """
    The guard is one and the same closure, and a quiet call stays quiet.
    """
    fast = retry(registry=registry)(circuit(registry=registry)(lambda: 1))
    guard, code = fast, fast.__code__
    registry.configure({"functions": {MINE: {"retry": {"max_attempts": 9}, "circuit": {"failure_threshold": 9}}}})
    bare = governed(registry=registry)(lambda: 1)

    assert guard is fast
    assert code is fast.__code__ is bare.__code__
    assert fast.resilience.pipeline.quiet is not None
    assert bare.resilience.pipeline.quiet is not None


def test_all_five_kinds_are_put_on_and_taken_off(registry, colour):
    """
    A whole stack from a file, on both colours.
    """
    entry = f"{__name__}:card"
    everything = {
        "degradable": {},
        "fallback_chain": [entry],
        "recoverable": {},
        "retry": {"initial_delay": 0},
        "circuit": {},
    }

    def work(*, steps=10):
        raise ConnectionError

    fn = governed(registry=registry)(colour.of(work))
    registry.configure({"functions": {MINE: everything}})
    result = colour.call(fn)
    found = kinds(fn)
    registry.configure({})

    assert (result, found) == ("card", ["degradable", "fallback_chain", "recoverable", "retry", "circuit"])
    assert kinds(fn) == []
    assert type(caught(colour.call, fn)) is ConnectionError
    assert registry.circuits == {}


def test_a_first_call_by_many_threads_follows_references_once_for_all(engine):
    """
    Threads that meet at the first call all get an answer.
    """
    module = engine("placeholder")
    results = []
    run_threads(*[lambda: results.append(module.render())] * 8)

    assert results == ["placeholder"] * 8
    assert module.render.resilience.stats().calls == 8


def test_what_is_not_there_at_the_first_call_either_is_told(registry, colour, monkeypatch):
    """
    A reference that was left for the first call, and leads nowhere then, is one clear error at each call.
    """
    monkeypatch.setattr("resilient.declared.declarations._under_way", lambda _: True)
    registry.configure({"functions": {"*:*.work": {"fallback_chain": ["builtins:nobody_has_this"]}}})

    def work():
        return "done"

    fn = governed(registry=registry)(colour.of(work))
    told = [caught(colour.call, fn) for _ in range(2)]

    assert [type(error) for error in told] == [PolicyError, PolicyError]
    assert "nobody_has_this" in str(told[0])


# -- circuits that are taken away ------------------------------------------------------


@pytest.mark.parametrize("name", [None, "shared"])
def test_a_circuit_that_comes_back_is_as_it_was(registry, clock, name):
    """
    A declaration that takes an open circuit away and gives it back has not mended what it calls.
    """
    down = script(ConnectionError())
    fn = governed(registry=registry)(down)
    table = {"failure_threshold": 1, "open_for": 60, **({} if name is None else {"name": name})}
    with_circuit = {"functions": {"*:*": {"circuit": table}}}
    registry.configure(with_circuit)
    assert type(caught(fn)) is ConnectionError
    breaker = fn.resilience.policies[0].breaker
    assert breaker.state is CircuitState.OPEN

    registry.configure({})
    assert not registry.circuits
    assert registry.health().status == "pass"
    assert type(caught(fn)) is ConnectionError

    clock.advance(20)
    with_circuit["functions"]["*:*"]["circuit"]["success_threshold"] = 1
    registry.configure(with_circuit)

    assert fn.resilience.policies[0].breaker is breaker
    assert list(registry.circuits.values()) == [breaker]
    assert caught(fn).retry_after == pytest.approx(40)
    assert breaker.options["success_threshold"] == 1


def test_a_shared_circuit_comes_back_for_whoever_names_it_first(registry):
    """
    It was taken away from two functions; the one that gets it again has it open, the other one then has the same.
    """
    first, second = (governed(registry=registry)(script(ConnectionError())) for _ in range(2))
    table = {"name": "api", "failure_threshold": 1}
    both = {"functions": {one.resilience.name: {"circuit": table} for one in (first, second)}}
    registry.configure(both)
    assert type(caught(first)) is ConnectionError
    breaker = registry.circuits["api"]
    registry.configure({})
    for one in (second, first):
        registry.configure({"functions": {one.resilience.name: {"circuit": table}}})

        assert registry.circuits["api"] is breaker
        assert breaker.state is CircuitState.OPEN


def test_a_closed_circuit_is_not_kept(registry):
    """
    What is closed begins anew.
    """
    fn = governed(registry=registry)(script(ConnectionError()))
    registry.configure({"functions": {"*:*": {"circuit": {}}}})
    breaker = fn.resilience.policies[0].breaker
    registry.configure({})
    registry.configure({"functions": {"*:*": {"circuit": {}}}})

    assert fn.resilience.policies[0].breaker is not breaker


def test_a_circuit_whose_place_is_taken_stays_away(registry):
    """
    Somebody else may have made a circuit of its name meanwhile.
    """
    fn = governed(registry=registry)(script(ConnectionError()))
    declared = {"functions": {"*:*": {"circuit": {"failure_threshold": 1}}}}
    registry.configure(declared)
    assert type(caught(fn)) is ConnectionError
    name = fn.resilience.policies[0].breaker.name
    registry.configure({})
    registry.circuit(name)
    registry.configure(declared)

    assert fn.resilience.policies[0].breaker.state is CircuitState.CLOSED
    assert f"{name}#2" in registry.circuits


def test_a_reset_is_for_circuits_that_were_taken_away_too(registry):
    """
    They are closed when they come back.
    """
    fn = governed(registry=registry)(script(ConnectionError()))
    declared = {"functions": {"*:*": {"circuit": {"failure_threshold": 1}}}}
    registry.configure(declared)
    assert type(caught(fn)) is ConnectionError
    registry.configure({})
    registry.reset()
    registry.configure(declared)

    assert fn.resilience.policies[0].breaker.state is CircuitState.CLOSED


def test_circuits_that_were_taken_away_go_with_their_function(registry):
    """
    Nothing else holds them.
    """
    fn = governed(registry=registry)(script(ConnectionError()))
    registry.configure({"functions": {"*:*": {"circuit": {"name": "api", "failure_threshold": 1}}}})
    assert type(caught(fn)) is ConnectionError
    gone = weakref.ref(registry.circuits["api"])
    registry.configure({})
    assert gone() is not None
    del fn
    gc.collect()

    assert gone() is None


def test_a_circuit_that_was_taken_away_is_not_another_registrys(registry):
    """
    Isolated, a function has none of it; afterwards it is as it was.
    """
    with isolated_registry() as home:
        fn = governed(script(ConnectionError()))
        declared = {"functions": {"*:*": {"circuit": {"failure_threshold": 1}}}}
        home.configure(declared)
        assert type(caught(fn)) is ConnectionError
        home.configure({})
        [(_, aside)] = fn.resilience.aside
        assert aside.state is CircuitState.OPEN
        with isolated_registry() as other:
            other.configure(declared)
            assert fn.resilience.policies[0].breaker.state is CircuitState.CLOSED
        home.configure(declared)

        assert fn.resilience.policies[0].breaker is aside


def test_a_circuit_that_others_go_through_stays_in_sight(registry, monkeypatch):
    """
    Even where the registry has too many of them, and holds it weakly.
    """
    monkeypatch.setattr(shelves, "LIMIT", 1)
    first, second = (governed(registry=registry)(script("fine")) for _ in range(2))
    table = {"name": "api"}
    registry.configure({"functions": {one.resilience.name: {"circuit": table} for one in (first, second)}})
    with warnings.catch_warnings(action="ignore"):
        for name in ("b", "c", "d"):
            registry.circuit(name)
    assert "api" not in registry.circuits.kept
    registry.configure({"functions": {first.resilience.name: {"circuit": table}}})

    assert registry.circuits["api"] is first.resilience.policies[0].breaker


def test_each_circuit_comes_back_as_what_it_was(registry):
    """
    A shared one under its name, an own one as the function's own, however often they have taken turns.
    """
    fn = governed(registry=registry)(script(ConnectionError()))
    own, shared = (
        {"functions": {"*:*": {"circuit": {"failure_threshold": 1, **more}}}} for more in ({}, {"name": "api"})
    )
    breakers = []
    for declared in (own, shared):
        registry.configure(declared)
        assert type(caught(fn)) is ConnectionError
        breakers.append(fn.resilience.policies[0].breaker)
        registry.configure({})
    for declared, breaker in [(own, breakers[0]), (shared, breakers[1]), (own, breakers[0])]:
        registry.configure(declared)

        assert fn.resilience.policies[0].breaker is breaker
        assert breaker.state is CircuitState.OPEN
        assert list(registry.circuits) == [breaker.name]


@pytest.mark.parametrize("text", ["import = ['quits']", "[functions]\n'*:*' = { fallback_chain = ['quits:x'] }"])
def test_a_module_that_ends_the_program_is_a_problem(registry, file, tmp_path, monkeypatch, text):
    """
    What `sys.exit` raises while a module is imported is no reason for a watch, or a program, to end.
    """
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "quits.py").write_text("raise SystemExit(3)")
    fn = governed(registry=registry)(script("fine"))
    file.write_text(text)
    with pytest.raises(PolicyError, match="importing 'quits' raised SystemExit"):
        registry.reload(file)

    assert registry.health().status == "warn"
    assert fn() == "fine"
