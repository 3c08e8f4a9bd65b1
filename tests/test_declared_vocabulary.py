"""
What a declaration may say, and the specs that come of it.
"""

from __future__ import annotations

import pickle
import sys
import types
from datetime import timedelta

import pybreaker
import pytest
import tenacity

from resilient import DegradationLevel, Fallback, PolicyError
from resilient.declared import vocabulary
from resilient.declared.degrading import DeclaredDegradeSpec, suits
from resilient.declared.forms import got
from resilient.declared.making import followed
from resilient.declared.model import Origin, Value
from resilient.declared.vocabulary import as_table, check, check_together, merge, references_in, to_spec
from resilient.kinds import in_order
from resilient.policies.matching import ANY, matcher
from resilient.policies.options import OptionTable
from resilient.policies.retry import RetryPolicy
from resilient.policies.rules import DEFAULT_RULES, cap, enabled_from, ladder, scale
from resilient.policies.spec import PolicySpec
from resilient.specs import CircuitSpec, DegradeSpec, FallbackSpec, RecoverSpec

SECRET = "sk-s3cret"


def card(*_args, **_kwargs):
    """
    Stand in for a picture.
    """
    return "card"


def darker(value, level):
    """
    Be a rule.
    """
    return value


async def slow_rule(value, level):
    """
    Be no rule: nobody would await it.
    """


class Listener(pybreaker.CircuitBreakerListener):
    pass


class Refused(Exception):  # noqa: N818 - a sample
    pass


def explode(*_args):
    """
    Fail, with a text that is nobody's business.
    """
    raise RuntimeError(SECRET)


@pytest.fixture(autouse=True)
def shop(monkeypatch):
    """
    Make what is above importable as ``shop``.
    """
    module = types.ModuleType("shop")
    vars(module).update(
        card=card,
        darker=darker,
        slow_rule=slow_rule,
        Listener=Listener,
        listener=Listener(),
        Refused=Refused,
        ERRORS=(Refused, OSError),
        explode=explode,
        TEXT=SECRET,
        wait_none=tenacity.wait_none(),
        make_text=lambda: SECRET,
    )
    monkeypatch.setitem(sys.modules, "shop", module)
    return module


def keys(problems):
    """
    Return the key paths of *problems*.
    """
    return [key for key, _ in problems]


# -- Tables ------------------------------------------------------------------------


def test_each_kind_has_its_table():
    """
    There are options for each kind, in the kinds' order.
    """
    assert all(isinstance(vocabulary.table_of(kind), OptionTable) for kind in in_order())


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("retry", True, {}),
        ("retry", {"on": "network"}, {"on": "network"}),
        ("retry", False, None),
        ("retry", 3, None),
        ("retry", ["a:b"], None),
        ("fallback_chain", ["a:b"], {"entries": ["a:b"]}),
        ("fallback_chain", "a:b", {"entries": ["a:b"]}),
        ("fallback_chain", "words", None),
    ],
)
def test_what_a_kind_is_given_becomes_a_table(kind, value, expected):
    """
    True is the bare decorator, a list is a chain's entries, and what says nothing is None.
    """
    assert as_table(kind, value) == expected


# -- What is wrong -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        ("retry", {"max_attempts": 4, "initial_delay": "500ms", "max_delay": "30s", "on": ["network"]}),
        ("retry", {"on": "builtins:OSError", "before_sleep": "shop:card", "jitter": False, "max_duration": None}),
        ("retry", {"retryable_exceptions": OSError, "stop": {"call": "tenacity:stop_after_delay", "args": [2]}}),
        ("circuit", {"name": "api", "failure_threshold": 5, "timeout": "60s", "ignore": "validation"}),
        ("circuit", {"window": "30s", "failure_rate": 0.5, "listeners": ["shop:listener", {"call": "shop:Listener"}]}),
        ("circuit", {"open_for": float("inf")}),
        ("fallback_chain", ["shop:card", {"call": "shop:card", "on": "memory", "quality": 0.5, "kwargs": {"a": 1}}]),
        ("fallback_chain", {"entries": [card, Fallback(card)], "name": "cards", "on": ["network", "shop:Refused"]}),
        ("degradable", {"steps": {"minimum": 8}, "resolution": {}, "floor": "low", "scope": "video", "a": False}),
        ("degradable", {"rules": {"request.steps": {}, "scope": "shop:darker"}, "b": darker}),
        ("degradable", {"a": {"rule": "ladder", "rungs": ["4k", "hd"]}, "b": {"rule": "cap", "low": 3}}),
        ("degradable", {"a": {"rule": "enabled_from", "level": "medium"}, "b": {"rule": "scale"}}),
        ("recoverable", {"playbook": "memory", "max_runs": 2}),
        ("degradable", {"scope": None, "only_below": None}),
        ("recoverable", {}),
    ],
)
def test_what_can_be_meant_has_no_problems(kind, table):
    """
    Durations are texts, and objects are references, tables that make them, or the objects themselves.
    """
    assert check(kind, table) == []
    assert check_together(kind, table) == []


@pytest.mark.parametrize(
    ("kind", "table", "key", "told"),
    [
        ("retry", {"max_attemps": 3}, "max_attemps", "did you mean 'max_attempts'?"),
        ("retry", {"max_attempts": SECRET}, "max_attempts", "must be a whole number from 1 to 1000000, got str"),
        ("retry", {"max_attempts": 0}, "max_attempts", "got 0 (int)"),
        ("retry", {"max_attempts": True}, "max_attempts", "got True (bool)"),
        ("retry", {"max_attempts": 10**9}, "max_attempts", "must be a whole number"),
        ("retry", {"initial_delay": float("nan")}, "initial_delay", "got nan (float)"),
        ("retry", {"max_delay": float("inf")}, "max_delay", "must be seconds"),
        ("retry", {"max_delay": "3 days"}, "max_delay", "a text like '30s', got str"),
        ("retry", {"jitter": SECRET}, "jitter", "must be one of True, False, 'full', 'decorrelated', got str"),
        ("retry", {"on": ["network", "netwrk"]}, "on.1", "got str; did you mean 'network'?"),
        ("retry", {"on": "ConnectionError"}, "on", "did you mean 'builtins:ConnectionError'?"),
        ("retry", {"on": SECRET}, "on", "a reference like 'builtins:ConnectionError', one or several, got str"),
        ("retry", {"on": 3}, "on", "got 3 (int)"),
        ("retry", {"on": {"args": []}}, "on", "must say what is called"),
        ("retry", {"wait": "wait_fixed"}, "wait", "must be a reference like 'module:attribute' or a table"),
        ("retry", {"wait": ["a:b"]}, "wait", "got list"),
        ("retry", {"wait": {"call": 3}}, "wait.call", "must be a reference like 'module:attribute', got 3 (int)"),
        ("retry", {"wait": {"call": "a:b", "args": 3}}, "wait.args", "must be a list of arguments"),
        ("retry", {"wait": {"call": "a:b", "kwarg": {}}}, "wait.kwarg", "did you mean 'kwargs'?"),
        ("circuit", {"nme": "api"}, "nme", "did you mean 'name'?"),
        ("circuit", {"name": " "}, "name", "must be a string that is not empty, got str"),
        ("circuit", {"timeout": 3, "open_for": 3}, "open_for", "is another name for 'timeout', which is given too"),
        ("circuit", {"listeners": ["listener"]}, "listeners.0", "one or several, got str"),
        ("circuit", {"window": 1.5}, "window", "got 1.5 (float)"),
        ("fallback_chain", {"entries": []}, "entries", "must be a list of at least one fallback"),
        ("fallback_chain", {"entries": "a:b"}, "entries", "must be a list of at least one fallback"),
        ("fallback_chain", ["words"], "entries.0", "got str"),
        ("fallback_chain", ["a:b", 3], "entries.1", "got 3 (int)"),
        ("fallback_chain", [{"name": "x"}], "entries.0", "must say what is called"),
        ("fallback_chain", [{"call": "a:b", "qualty": 1}], "entries.0.qualty", "did you mean 'quality'?"),
        ("fallback_chain", [{"call": "a:b", "quality": 2}], "entries.0.quality", "got 2 (int)"),
        ("fallback_chain", {"entry": ["a:b"]}, "entry", "did you mean 'entries'?"),
        ("degradable", {"only_belw": "low"}, "only_belw", "did you mean the option 'only_below'?"),
        ("degradable", {"floor": SECRET}, "floor", "must be a DegradationLevel or one of 'full'"),
        ("degradable", {"rules": 3}, "rules", "must be a table of rules by parameter"),
        ("degradable", {"frames": {}}, "frames", "there is no default rule of this name"),
        ("degradable", {"steps": True}, "steps", "must be a rule: {} for the default one"),
        ("degradable", {"steps": 3}, "steps", "got 3 (int)"),
        ("degradable", {"steps": {"minimum": SECRET}}, "steps.minimum", "must be a finite number, got str"),
        ("degradable", {"steps": {"minimum": float("nan")}}, "steps.minimum", "must be a finite number"),
        ("degradable", {"steps": {"minimum": 9, "maximum": 8}}, "steps", "minimum 9 is above maximum 8"),
        ("degradable", {"steps": {"rule": "scal"}}, "steps.rule", "must be one of 'scale'"),
        ("degradable", {"steps": {"rule": 3}}, "steps.rule", "got 3 (int)"),
        ("degradable", {"steps": {"rule": "ladder"}}, "steps", "ladder needs rungs"),
        ("degradable", {"steps": {"rule": "ladder", "rungs": [1]}}, "steps.rungs", "at least two values"),
        ("degradable", {"a": {"rule": "ladder", "rungs": [SECRET, SECRET]}}, "a", "the rung a text (str) twice"),
        ("degradable", {"steps": {"rule": "cap"}}, "steps", "needs a limit for at least one level"),
        ("degradable", {"steps": {"rule": "enabled_from"}}, "steps", "enabled_from needs level"),
        ("degradable", {"rules": {"a.b.c": False, "d.e.f": {"minimum": 1}}}, "rules.d.e.f", "is no parameter"),
        ("degradable", {"a": slow_rule}, "a", "must not be async"),
        ("recoverable", {"playbook": SECRET}, "playbook", "must be a category"),
    ],
)
def test_each_problem_has_its_key_and_shows_no_text(kind, table, key, told):
    """
    What is wrong is told with its place, what was expected and the type that came, and never with a text's contents.
    """
    problems = check(kind, table)
    found = [sentence for at, sentence in problems if at == key]

    assert any(told in sentence for sentence in found), problems
    assert SECRET not in str(problems)


def test_arguments_of_another_rule_are_pointed_out():
    """
    A table without a ``rule`` is scale's; what scale does not take may be meant for another.
    """
    problems = check("degradable", {"steps": {"medium": 30}})

    assert keys(problems) == ["steps.medium", "steps"]
    assert "name the rule that it is for" in problems[1][1]


def test_all_problems_are_told_at_once():
    """
    One problem does not hide the others.
    """
    table = {"max_attemps": 1, "initial_delay": "x", "on": ["a", "b"], "wait": {"cal": "a:b"}}

    assert keys(check("retry", table)) == ["max_attemps", "initial_delay", "on.0", "on.1", "wait.cal", "wait"]


def test_a_name_without_end_is_cut():
    """
    Of a key of a megabyte the message shows the beginning.
    """
    ((_, sentence),) = check("retry", {"x" * 1_000_000: 1})

    assert len(sentence) < 500


def test_nothing_is_imported_to_check():
    """
    References are looked at, and not followed.
    """
    assert check("retry", {"on": "nothing_of_this_name:Error", "wait": {"call": "nothing_of_this_name:wait"}}) == []
    assert "nothing_of_this_name" not in sys.modules


def test_what_came_is_shown_only_where_it_is_a_number():
    """
    Numbers and flags are shown; of anything else only the type is.
    """
    assert [got(one) for one in (3, 0.5, True, SECRET, [SECRET])] == [
        "got 3 (int)",
        "got 0.5 (float)",
        "got True (bool)",
        "got str",
        "got list",
    ]


# -- Together ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "table", "key", "told"),
    [
        ("retry", {"initial_delay": "2m", "max_delay": "1m"}, "max_delay", "must be at least initial_delay (120 s)"),
        ("retry", {"initial_delay": 90}, "initial_delay", "max_delay must be at least initial_delay (90 s), got 60"),
        ("retry", {"initial_delay": 5, "max_duration": "2s"}, "max_duration", "nothing is ever tried again"),
        ("retry", {"max_duration": "500ms"}, "max_duration", "at least initial_delay (1 s)"),
        ("retry", {"wait": "a:b", "jitter": False}, "jitter", "exclude each other"),
        ("retry", {"retry": {"call": "a:b"}, "retryable_exceptions": "a:b"}, "retryable_exceptions", "exclude"),
        ("circuit", {"failure_rate": 0.5, "failure_threshold": 2, "window": 9}, "failure_threshold", "exclude"),
        ("circuit", {"failure_rate": 0.5}, "failure_rate", "needs a window"),
        ("circuit", {"window": 5, "failure_rate": 0.5, "min_calls": 10}, "min_calls", "can never be in a window"),
        ("degradable", {"only_below": "minimal"}, "only_below", "leaves no level to follow"),
        ("degradable", {"floor": "full", "steps": {}}, "floor", "leaves no level to follow"),
        ("degradable", {"a": {"minimum": 1}, "rules": {"a.b": "m:f"}}, "rules.a.b", "both have a rule"),
        ("fallback_chain", {}, "", "nothing to fall back to"),
    ],
)
def test_options_that_contradict_each_other_are_told(kind, table, key, told):
    """
    What each may be and both may not is told at the key that somebody wrote.
    """
    assert check(kind, table) == []
    assert [(at, told in sentence) for at, sentence in check_together(kind, table)] == [(key, True)]


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        ("retry", {"max_duration": "500ms", "initial_delay": 0.1}),
        ("retry", {"max_duration": "500ms", "wait": "a:b"}),
        ("retry", {"max_duration": "500ms", "max_attempts": 1}),
        ("retry", {"initial_delay": "x", "max_attemps": 3}),
        ("degradable", {"only_below": "x", "floor": "full"}),
        ("fallback_chain", {"on": "network"}),
        ("recoverable", {"max_runs": 0}),
    ],
)
def test_what_agrees_or_cannot_be_meant_by_itself_is_left_alone(kind, table):
    """
    Only contradictions are told here; single options are told by the other check.
    """
    assert check_together(kind, table) == []


# -- Merging ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "base", "over", "expected"),
    [
        ("retry", {"max_attempts": 3, "jitter": "full"}, {"max_attempts": 5}, {"jitter": "full", "max_attempts": 5}),
        ("retry", {"initial_delay": 1, "on": "memory"}, {"wait": "a:b"}, {"on": "memory", "wait": "a:b"}),
        ("retry", {"wait": "a:b", "on": "memory"}, {"max_delay": 3}, {"on": "memory", "max_delay": 3}),
        ("retry", {"initial_delay": 1}, {"wait": None}, {"initial_delay": 1, "wait": None}),
        ("retry", {"retryable_exceptions": "a:b"}, {"on": "memory"}, {"on": "memory"}),
        ("retry", {"unknown": 1}, {"on": "memory"}, {"unknown": 1, "on": "memory"}),
        ("circuit", {"timeout": 1}, {"open_for": 3}, {"open_for": 3}),
        ("circuit", {"failure_threshold": 3}, {"failure_rate": 0.5}, {"failure_rate": 0.5}),
        ("circuit", {"failure_rate": 0.5}, {"failure_threshold": 3}, {"failure_threshold": 3}),
        ("degradable", {"steps": {}}, {"steps": False, "a": {}}, {"steps": False, "a": {}}),
    ],
)
def test_options_merge_key_by_key(kind, base, over, expected):
    """
    The nearer wins, under whatever name, and replaces what it stands for; so do values with an origin.
    """
    origin = Origin("file", "resilient.toml:1")
    merged = merge(kind, {k: Value(v, origin) for k, v in base.items()}, {k: Value(v, origin) for k, v in over.items()})

    assert merge(kind, base, over) == expected
    assert {name: value.raw for name, value in merged.items()} == expected


# -- Specs -------------------------------------------------------------------------------


def test_a_retry_is_what_the_decorator_would_leave():
    """
    Durations are seconds, categories and types are one matcher, and strategies are objects.
    """
    table = {"initial_delay": "500ms", "on": ["network", "shop:Refused", "shop:ERRORS"], "on_result": "builtins:bool"}
    spec = to_spec("retry", {**table, "stop": {"call": "tenacity:stop_after_attempt", "args": [2]}}, None, "m:f")

    assert isinstance(spec, PolicySpec)
    assert isinstance(spec.given.pop("stop"), tenacity.stop_after_attempt)
    assert spec.given == {"initial_delay": 0.5, "on": matcher(("network", Refused, OSError)), "on_result": bool}


def test_a_table_wins_over_the_decorator_key_by_key():
    """
    What the table does not give stays as the decorator has it, unless the table stands for it.
    """
    base = PolicySpec(RetryPolicy, {"max_attempts": 5, "initial_delay": 2.0, "jitter": False})
    spec = to_spec("retry", {"max_attempts": 7, "wait": "shop:wait_none", "on": None}, base, "m:f")

    assert spec.given.keys() == {"max_attempts", "wait", "on"}
    assert (spec.given["max_attempts"], spec.given["on"]) == (7, None)


def test_what_the_decorator_said_is_not_held_against_the_table():
    """
    A contradiction within the decorator is not told as the table's, and one between the two is.
    """
    base = PolicySpec(RetryPolicy, {"max_duration": 0.5})

    assert to_spec("retry", {"max_attempts": 7}, base, "m:f").given == {"max_duration": 0.5, "max_attempts": 7}
    with pytest.raises(PolicyError, match=r"m:f: retry: max_delay must be at least initial_delay"):
        to_spec("retry", {"max_delay": 1}, PolicySpec(RetryPolicy, {"initial_delay": 2.0}), "m:f")


def test_a_circuit_has_the_tables_name_or_the_decorators():
    """
    The name stays the decorator's unless the table gives one.
    """
    base = CircuitSpec("api", {"failure_threshold": 3})
    kept = to_spec("circuit", {"timeout": "1m", "window": "30s", "failure_rate": 0.5}, base, "m:f")
    named = to_spec("circuit", {"name": "other", "listeners": "shop:listener", "counts": Exception}, None, "m:f")

    assert isinstance(kept, CircuitSpec)
    assert isinstance(named, CircuitSpec)
    assert kept.name == "api"
    assert kept.given == {"open_for": 60.0, "window": timedelta(seconds=30), "failure_rate": 0.5}
    assert (named.name, named.given["counts"]) == ("other", ANY)
    assert len(named.given["listeners"]) == 1


def test_a_recovery_is_plain():
    """
    A recovery has its options, and those of the decorator beneath.
    """
    spec = to_spec("recoverable", {"playbook": "memory"}, RecoverSpec({"max_runs": 1}), "m:f")

    assert isinstance(spec, RecoverSpec)
    assert spec.given == {"max_runs": 1, "playbook": "memory"}


def test_a_chain_has_entries_with_options_of_their_own():
    """
    An entry is a reference or a table; the table may give all that `Fallback` takes.
    """
    entries = ["shop:card", {"call": "shop:card", "name": "second", "on": "memory", "when": "shop:card", "quality": 1}]
    spec = to_spec("fallback_chain", {"entries": [*entries, Fallback(len), card], "name": "cards"}, None, "m:f")

    assert isinstance(spec, FallbackSpec)
    assert [entry.name for entry in spec.entries] == ["card", "second", "len", "card"]
    assert (spec.entries[1].on, spec.entries[1].when) == (matcher("memory"), card)
    assert spec.given == {"name": "cards"}


def test_a_chain_keeps_the_decorators_entries_where_the_table_gives_none():
    """
    A table with an ``on`` alone changes that; without any entry there is nothing to fall back to.
    """
    base = FallbackSpec((Fallback(card),), {"name": "cards"})
    spec = to_spec("fallback_chain", {"on": "network"}, base, "m:f")

    assert isinstance(spec, FallbackSpec)
    assert spec.entries == base.entries
    assert spec.given == {"name": "cards", "on": matcher("network")}
    with pytest.raises(PolicyError, match="nothing to fall back to"):
        to_spec("fallback_chain", {"on": "network"}, None, "m:f")


@pytest.mark.parametrize(
    ("kind", "table", "told"),
    [
        ("retry", {"max_attempts": SECRET}, "retry.max_attempts: must be a whole number"),
        ("retry", {"on": "shop:TEXT"}, "retry.on: must be a category"),
        ("retry", {"on": "shop:card2"}, "'shop' has no attribute 'card2'; did you mean 'card'?"),
        ("retry", {"on": "builtins:KeyboardInterrupt"}, "must be Exception types, and KeyboardInterrupt is not one"),
        ("retry", {"on": "shop:slow_rule"}, "a predicate cannot be async"),
        ("retry", {"wait": "shop:TEXT"}, "retry.wait: must be callable or None, got str"),
        ("retry", {"wait": "tenacity:wait_fixed"}, "wait_fixed is a class; write { call = ... } to make one of it"),
        ("retry", {"wait": {"call": "shop:TEXT"}}, "it must be callable, got str"),
        ("retry", {"wait": {"call": "shop:explode"}}, "it raised RuntimeError; look at args and kwargs"),
        ("circuit", {"listeners": "shop:card"}, "must be pybreaker listeners"),
        ("circuit", {"listeners": "shop:Listener"}, "Listener is a class"),
        ("circuit", {"failure_rate": 0.5}, "needs a window"),
        ("fallback_chain", ["shop:TEXT"], "fallback_chain.entries.0: 'shop:TEXT' must be a function, got str"),
        ("fallback_chain", ["shop:nothing"], "fallback_chain.entries.0: reference 'shop:nothing'"),
        ("fallback_chain", [{"call": "shop:card", "when": "shop:TEXT"}], "fallback_chain.entries.0.when: must be"),
        ("degradable", {"a": "shop:TEXT"}, "degradable.a: reference 'shop:TEXT': must be a rule"),
        ("degradable", {"rules": {"a": "shop:slow_rule"}}, "degradable.rules.a: reference 'shop:slow_rule'"),
        ("degradable", {"steps": True}, "degradable.steps: must be a rule"),
    ],
)
def test_what_references_lead_to_is_checked(kind, table, told):
    """
    Where a reference leads nowhere, or to what cannot be meant, the error says so and shows no text.
    """
    with pytest.raises(PolicyError) as caught:
        to_spec(kind, as_table(kind, table) or {}, None, "m:f")

    assert caught.value.where == "m:f"
    assert told in str(caught.value)
    assert SECRET not in str(caught.value)


# -- Degradation ---------------------------------------------------------------------------


def test_rules_are_made_of_tables():
    """
    A table is the arguments of scale, or names what makes the rule; a default rule by its own name needs no place.
    """
    table = {
        "steps": {"minimum": 8},
        "resolution": {},
        "look": {"rule": "ladder", "rungs": ["a", "b"]},
        "rules": {"floor": {"rule": "cap", "low": 3}, "request.size": {}},
        "upscale": {"rule": "enabled_from", "level": "medium"},
        "seed": False,
        "tone": "shop:darker",
        "floor": "low",
    }
    spec = to_spec("degradable", table, None, "m:f")

    assert isinstance(spec, DegradeSpec)
    assert spec.given == {"floor": DegradationLevel.LOW}
    assert spec.rules == {
        "steps": scale(minimum=8),
        "look": ladder("a", "b"),
        "floor": cap(low=3),
        "request.size": DEFAULT_RULES["size"],
        "upscale": enabled_from("medium"),
        "seed": False,
        "tone": darker,
    }


def test_rules_win_over_the_decorators():
    """
    A rule of the table replaces the decorator's for that parameter, and the default one takes it back.
    """
    base = DegradeSpec({"steps": scale(minimum=2), "size": False, "look": darker}, {"scope": "video"})
    spec = to_spec("degradable", {"steps": {"minimum": 8}, "size": {}}, base, "m:f")

    assert isinstance(spec, DegradeSpec)
    assert spec.rules == {"look": darker, "steps": scale(minimum=8)}
    assert spec.given == {"scope": "video"}


def test_a_rule_for_a_parameter_that_a_function_lacks_is_passed_over():
    """
    What a file says of many functions need not fit each; what a decorator says has to.
    """

    def render(steps, size): ...

    spec = to_spec("degradable", {"steps": {"minimum": 8}, "frames": {"minimum": 2}}, None, "m:f")
    spec.check(render, "m:f", is_async=False)
    strict = to_spec("degradable", {"steps": {}}, DegradeSpec({"frames": scale()}, {}), "m:f")

    assert suits(spec, render)
    with pytest.raises(PolicyError, match="cannot take 'frames'"):
        strict.check(render, "m:f", is_async=False)


def takes_width(width):
    """
    Take half of a size.
    """


def takes_both(width, height):
    """
    Take a size.
    """


def takes_steps(steps):
    """
    Take steps.
    """


def takes_nothing():
    """
    Take nothing.
    """


@pytest.mark.parametrize(
    ("table", "fn", "expected"),
    [
        ({"frames": {"minimum": 2}}, takes_steps, True),
        ({"frames": {"minimum": 2}}, takes_nothing, False),
        ({"frames": {"minimum": 2}}, takes_both, True),
        ({"frames": {"minimum": 2}}, takes_width, False),
        ({"steps": False}, takes_steps, False),
        ({"width": {"minimum": 8}}, takes_width, True),
    ],
)
def test_a_declared_degradation_suits_a_function_that_it_can_adjust(table, fn, expected):
    """
    Where there is nothing to adjust, the declaration is passed over as a whole; what suits can be bound.
    """
    spec = to_spec("degradable", table, None, "m:f")
    try:
        spec.check(fn, "m:f", is_async=False)
    except PolicyError:
        bound = False
    else:
        bound = True

    assert suits(spec, fn) is expected
    assert bound is expected


def test_other_specs_suit_every_function():
    """
    Only a declared degradation may have nothing to do; a decorator's own rules are its own matter.
    """
    own = to_spec("degradable", {"steps": {"minimum": 2}}, DegradeSpec({"look": darker}, {}), "m:f")

    assert suits(PolicySpec(RetryPolicy, {}), takes_nothing)
    assert suits(DegradeSpec({}, {}), takes_nothing)
    assert suits(own, takes_nothing)


def test_a_declared_degradation_pickles():
    """
    Specs go to other processes with the functions that have them.
    """
    spec = to_spec("degradable", {"steps": {"minimum": 8}, "scope": "video"}, None, "m:f")
    copy = pickle.loads(pickle.dumps(spec))

    assert isinstance(copy, DeclaredDegradeSpec)
    assert (copy.rules, copy.given, copy.declared) == (spec.rules, spec.given, frozenset({"steps"}))


def test_arguments_are_given_as_they_are_written():
    """
    What looks like a reference or a call among them may be meant as it is, so it is not followed.
    """
    arguments = ["nowhere:f", {"call": "nowhere:g"}]

    assert followed({"call": "builtins:list", "args": [arguments]}) == arguments
    assert followed({"call": "builtins:dict", "kwargs": {"to": "nowhere:f"}}) == {"to": "nowhere:f"}


# -- References ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "table", "expected"),
    [
        ("retry", {"on": ["network", "a:b"], "jitter": "full"}, [("on.1", "a:b")]),
        ("retry", {"wait": {"call": "a:b", "args": ["c:d"]}, "unknown": "e:f"}, [("wait.call", "a:b")]),
        ("retry", {"wait": {"args": []}, "on": 3}, []),
        ("circuit", {"name": "a:b", "listeners": "c:d"}, [("listeners", "c:d")]),
        (
            "fallback_chain",
            ["a:b", {"call": "c:d", "name": "e:f", "when": "g:h", "kwargs": {"x": "i:j"}, "nme": 1}, card],
            [("entries.0", "a:b"), ("entries.1.call", "c:d"), ("entries.1.when", "g:h")],
        ),
        ("fallback_chain", {"entries": 3, "on": "a:b"}, [("on", "a:b")]),
        (
            "degradable",
            {"look": "a:b", "scope": "c:d", "steps": {"minimum": 1}, "rules": {"x.y": "e:f", "z": False}},
            [("look", "a:b"), ("rules.x.y", "e:f")],
        ),
        ("degradable", {"rules": 3}, []),
    ],
)
def test_references_are_found(kind, table, expected):
    """
    What has to be importable is listed with its key path; texts that mean something else are not.
    """
    assert list(references_in(kind, table)) == expected
