"""
What is in force on one function, layer by layer.
"""

from __future__ import annotations

import sys
import types

import pytest

from resilient import PolicyError, circuit, degradable, fallback_chain, recoverable, retry, scale
from resilient.declared import effective as module
from resilient.declared.document import build, of_mapping
from resilient.declared.effective import effective, specs, spellings
from resilient.declared.patterns import Patterns
from resilient.specs import CircuitSpec
from resilient.testing import isolated_registry

NAME = "engine:render"


def placeholder(*args, **kwargs):
    """
    Return what stands for a picture.
    """
    return "placeholder"


def render(prompt, *, steps=10):
    """
    Return a picture.
    """
    return prompt


def document(functions=None, layer="file", **policies):
    """
    Return the document of a layer, as `effective` takes it.
    """
    found = build(of_mapping({"functions": functions or {}, "policies": policies})._replace(layer=layer))
    return Patterns(found.rules), found, layer


def says(kinds, layer="file", **policies):
    """
    Return a document that says *kinds* of the function.
    """
    return document({NAME: kinds}, layer, **policies)


def decorated(*decorators, fn=render):
    """
    Return what *decorators*, the outermost first, leave on a function.
    """
    with isolated_registry():
        for decorator in reversed(decorators):
            fn = decorator(fn)
    return fn.resilience.specs


def raw(found, kind):
    """
    Return the options of *kind* without where they come from.
    """
    return {name: value.raw for name, value in found.tables[kind].items()}


# -- merging ------------------------------------------------------------------------


def test_a_later_layer_wins_key_by_key():
    """
    Decorator, file and runtime: each option comes from the last one that gives it, and says so.
    """
    own = decorated(retry(max_attempts=2, initial_delay=0.5, jitter=False))
    layers = [says({"retry": {"max_attempts": 4, "max_delay": "9s"}}), says({"retry": {"max_attempts": 6}}, "runtime")]
    found = effective(NAME, own, layers)

    assert raw(found, "retry") == {"max_attempts": 6, "initial_delay": 0.5, "jitter": False, "max_delay": "9s"}
    assert {name: value.origin.layer for name, value in found.tables["retry"].items()} == {
        "max_attempts": "runtime",
        "initial_delay": "decorator",
        "jitter": "decorator",
        "max_delay": "file",
    }
    assert found.tables["retry"]["jitter"].origin.where == "@retry"


def test_kinds_that_nobody_names_stay():
    """
    A file that speaks of retries leaves the circuit as the decorator has it.
    """
    own = decorated(circuit("c", failure_threshold=2))
    found = effective(NAME, own, [says({"retry": {}})])

    assert raw(found, "circuit") == {"name": "c", "failure_threshold": 2}
    assert specs(found, own, render, "x")[-1] is own[0]


def test_false_removes_a_decorators_policy_too():
    """
    What a layer removes is gone with all its options, and a stronger layer may bring it back bare.
    """
    own = decorated(retry(max_attempts=9), circuit)
    gone = effective(NAME, own, [says({"retry": False})])
    back = effective(NAME, own, [says({"retry": False}), says({"retry": {"max_attempts": 2}}, "runtime")])

    assert (gone.order, gone.dropped) == (("circuit",), {"retry"})
    assert [spec.kind for spec in specs(gone, own, render, "x")] == ["circuit"]
    assert specs(back, own, render, "x")[0].given == {"max_attempts": 2}


def test_a_removed_policy_that_comes_back_bare_has_no_options_of_the_decorator():
    """
    ``retry = true`` above ``retry = false`` is the bare decorator.
    """
    own = decorated(retry(max_attempts=9))
    found = effective(NAME, own, [says({"retry": False}), says({"retry": True}, "runtime")])

    assert specs(found, own, render, "x")[0].given == {}


def test_a_strategy_replaces_what_it_stands_for():
    """
    A file's ``wait`` takes the place of the decorator's delays, a rate that of its threshold.
    """
    own = decorated(retry(initial_delay=1.0, max_attempts=5), circuit(failure_threshold=3))
    tables = {"retry": {"wait": {"call": "tenacity:wait_none"}}, "circuit": {"failure_rate": 0.5, "window": 50}}
    found = effective(NAME, own, [says(tables)])

    assert raw(found, "retry") == {"max_attempts": 5, "wait": {"call": "tenacity:wait_none"}}
    assert raw(found, "circuit") == {"failure_rate": 0.5, "window": 50}
    assert specs(found, own, render, "x")[1].given == {"failure_rate": 0.5, "window": 50}


def test_a_stronger_layer_may_change_a_policy_of_a_weaker_one():
    """
    A runtime policy of a name that the file has holds where the file gives it, parents first.
    """
    policies = {"base": {"retry": {"max_attempts": 2, "max_delay": "5s"}}, "gpu": {"extends": "base", "circuit": {}}}
    file = document({NAME: "gpu"}, **policies)
    runtime = document(
        layer="runtime", base={"retry": {"max_attempts": 7}}, gpu={"retry": {"max_attempts": 8}}, other={"retry": False}
    )
    found = effective(NAME, (), [file, runtime])

    assert raw(found, "retry") == {"max_attempts": 8, "max_delay": "5s"}
    assert effective("engine:other", (), [file, runtime]).order == ()


def test_nothing_is_in_force_where_no_rule_matches():
    """
    A function that nobody speaks of has what its decorators say, the very same specs.
    """
    own = decorated(retry, circuit)
    found = effective("engine:other", own, [says({"retry": False})])

    assert found.order == ("retry", "circuit")
    assert [one is other for one, other in zip(specs(found, own, render, "x"), own, strict=True)] == [True, True]


# -- order ---------------------------------------------------------------------------


ALL = {"degradable": {}, "fallback_chain": [f"{__name__}:placeholder"], "recoverable": {}, "retry": {}, "circuit": {}}


@pytest.mark.parametrize(
    ("own", "kinds", "expected"),
    [
        ((), ALL, "degradable fallback_chain recoverable retry circuit"),
        ((circuit, retry), {"recoverable": {}}, "recoverable circuit retry"),
        ((retry,), {"circuit": {}, "degradable": {}}, "degradable retry circuit"),
        ((retry,), {"circuit": {}, "order": ["circuit", "retry"]}, "circuit retry"),
        ((retry, circuit), {"order": ["circuit"]}, "retry circuit"),
        ((retry,), {"order": ["circuit", "degradable", "retry"], "circuit": {}}, "circuit retry"),
        ((circuit("a"), retry, circuit("b")), {"circuit": {"open_for": "9s"}}, "circuit retry circuit"),
        ((circuit("a"), retry, circuit("b")), {"order": ["retry", "circuit"]}, "retry circuit circuit"),
        ((retry, circuit), {"retry": False, "order": ["circuit", "retry"]}, "circuit"),
    ],
)
@pytest.mark.filterwarnings("ignore::resilient.PolicyOrderWarning")
def test_declared_kinds_stand_at_their_place(own, kinds, expected):
    """
    Decorators stay in their order, declared kinds come above the first that belongs below them, ``order`` overrules.
    """
    own = decorated(*own) if own else ()
    found = effective(NAME, own, [says(kinds)])

    assert list(found.order) == expected.split()
    assert [spec.kind for spec in specs(found, own, render, "x")] == expected.split()


def test_the_order_of_the_strongest_layer_holds():
    """
    A runtime ``order`` overrules the file's.
    """
    file = says({"retry": {}, "circuit": {}, "order": ["circuit", "retry"]})

    assert effective(NAME, (), [file, says({"order": ["retry", "circuit"]}, "runtime")]).order == ("retry", "circuit")


@pytest.mark.filterwarnings("ignore::resilient.PolicyOrderWarning")
def test_what_is_declared_of_a_kind_holds_for_all_decorators_of_that_kind():
    """
    Two circuits on one function keep their names and both get the option.
    """
    own = decorated(circuit("a", failure_threshold=2), retry, circuit("b"))
    found = specs(effective(NAME, own, [says({"circuit": {"open_for": "9s"}})]), own, render, "x")

    assert [(spec.name, spec.given["open_for"]) for spec in found if isinstance(spec, CircuitSpec)] == [
        ("a", 9.0),
        ("b", 9.0),
    ]


# -- specs --------------------------------------------------------------------------------


def test_each_kind_keeps_what_its_decorator_says_beside():
    """
    A declared option changes that option, and leaves the others, of all five kinds.
    """
    own = decorated(
        degradable(steps=scale(minimum=2), floor="low"),
        fallback_chain(placeholder, on=OSError),
        recoverable(max_runs=2),
        retry(max_attempts=2, on=OSError),
        circuit("c", failure_threshold=2),
    )
    kinds = {
        "degradable": {"only_below": "high"},
        "fallback_chain": {"on": "network"},
        "recoverable": {"playbook": "memory"},
        "retry": {"max_attempts": 5},
        "circuit": {"timeout": "9s"},
    }
    found = dict(zip(kinds, specs(effective(NAME, own, [says(kinds)]), own, render, "x"), strict=True))

    assert found["degradable"].rules == {"steps": scale(minimum=2)}
    assert set(found["degradable"].given) == {"only_below", "floor"}
    assert [entry.func for entry in found["fallback_chain"].entries] == [placeholder]
    assert found["recoverable"].given == {"max_runs": 2, "playbook": "memory"}
    assert found["retry"].given["max_attempts"] == 5
    assert found["retry"].given["on"].types == (OSError,)
    assert found["circuit"].given == {"failure_threshold": 2, "open_for": 9.0}
    assert (found["circuit"].name, found["circuit"].decorated) == ("c", {"failure_threshold": 2})
    assert found["circuit"].over() == {"open_for": (2, 9.0)}


def test_rules_that_a_function_lacks_parameters_for_are_passed_over():
    """
    A pattern speaks of many functions: what one of them cannot follow is not put on it.
    """
    found = effective(NAME, (), [says({"degradable": {"quality": {"minimum": 0.5}}, "retry": {}})])

    assert [spec.kind for spec in specs(found, (), render, "x")] == ["degradable", "retry"]
    assert [spec.kind for spec in specs(found, (), lambda prompt: prompt, "x")] == ["retry"]


def test_a_function_does_not_fall_back_to_itself():
    """
    A pattern that matches its own fallback leaves that one without, wrapped or not.
    """
    found = effective(NAME, (), [says({"fallback_chain": [f"{__name__}:placeholder"]})])
    both = [f"{__name__}:placeholder", f"{__name__}:render"]
    two = effective(NAME, (), [says({"fallback_chain": both})])

    assert specs(found, (), placeholder, "x") == ()
    assert [entry.func for entry in specs(two, (), placeholder, "x")[0].entries] == [render]
    assert len(specs(found, (), render, "x")) == 1


def test_a_decorated_function_does_not_fall_back_to_itself(monkeypatch, registry):
    """
    A reference leads to the wrapper, and that is the same function.
    """
    guarded = retry(registry=registry)(placeholder)
    monkeypatch.setitem(globals(), "placeholder", guarded)
    own = guarded.resilience.specs
    found = effective(NAME, own, [says({"fallback_chain": [f"{__name__}:placeholder"]})])

    assert specs(found, own, guarded.__wrapped__, "x") == own


def test_all_problems_are_told_with_their_places():
    """
    What cannot be followed is told at once, of all kinds.
    """
    found = effective(NAME, (), [says({"fallback_chain": ["nowhere:f"], "retry": {"on_result": "os:nothing"}})])
    with pytest.raises(PolicyError) as raised:
        specs(found, (), render, "policies of f")

    assert raised.value.where == "policies of f"
    assert len(raised.value.problems) == 2
    assert all(problem.startswith("configure(): ") for problem in raised.value.problems)


# -- names ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "file", "expected"),
    [
        (None, "/somewhere/farm.py", ("__main__:f", "farm:f")),
        ("farm.cli", "/somewhere/cli.py", ("__main__:f", "farm.cli:f")),
        ("farm.__main__", "/somewhere/__main__.py", ("__main__:f", "farm:f")),
        (None, None, ("__main__:f",)),
    ],
)
def test_the_main_program_has_two_names(monkeypatch, spec, file, expected):
    """
    A function of the program's own file is known by ``__main__`` and by the file or module.
    """
    main = types.ModuleType("__main__")
    main.__spec__ = spec and types.SimpleNamespace(name=spec)
    main.__file__ = file
    monkeypatch.setitem(sys.modules, "__main__", main)

    assert spellings("__main__:f") == expected
    assert spellings("engine:f") == ("engine:f",)


def test_a_rule_by_the_files_name_holds_for_the_main_program(monkeypatch):
    """
    ``farm:f`` is ``__main__:f`` where farm.py is what runs.
    """
    monkeypatch.setattr(module, "spellings", lambda _: ("__main__:f", "farm:f"))

    assert effective("__main__:f", (), [document({"farm:*": {"retry": {}}})]).order == ("retry",)
