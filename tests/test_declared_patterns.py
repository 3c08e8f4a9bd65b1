from __future__ import annotations

import fnmatch
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient.declared.model import Declaration, Origin, Rule
from resilient.declared.patterns import Patterns, matches, problem_of


def rules(*patterns):
    """
    Return a rule for each pattern, in this order.
    """
    return [Rule(pattern, Declaration({}), Origin("file", str(at))) for at, pattern in enumerate(patterns)]


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("engine.video:render", "engine.video:render", True),
        ("engine.video:render", "engine.video:render_4k", False),
        ("engine.video:render_*", "engine.video:render_4k", True),
        ("engine.video:render_*", "engine.video:render_", True),
        ("engine.video:render_*", "engine.video:render", False),
        ("engine.*:*", "engine.video.codecs:Encoder.encode", True),
        ("engine.*:*", "engine:start", False),
        ("*:Engine.*_frame", "a.b:Engine.first.last_frame", True),
        ("*:Engine.*_frame", "a.b:Engine.frame", False),
        ("*:*", "a:b", True),
        ("*", "a:b", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*a", "aba", True),
        ("a*ab*ba", "aba", False),
        ("**a**", "bab", True),
        ("a:f.<locals>.g", "a:f.<locals>.g", True),
        ("a:[fg]", "a:f", False),
        ("a:?", "a:f", False),
        ("a:.*", "a:f", False),
    ],
)
def test_matches(pattern, name, expected):
    """
    A star stands for any characters, dots included, and all others for themselves.
    """
    assert matches(pattern, name) is expected


@given(st.text("ab:.*", max_size=8), st.text("ab:.", max_size=10))
def test_matching_is_that_of_the_obvious_expression(pattern, name):
    """
    What matches is what the expression with `.*` for each star would match.
    """
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))

    assert matches(pattern, name) is (re.fullmatch(expression, name) is not None)
    assert matches(pattern, name) is fnmatch.fnmatchcase(name, pattern)


@pytest.mark.parametrize(
    ("patterns", "name", "expected"),
    [
        (["m:f", "m:*", "m:f*"], "m:f", "m:f"),
        (["m:*", "m:f*", "*"], "m:fly", "m:f*"),
        (["m:f*", "m:*y"], "m:fly", "m:f*"),
        (["*:fly", "m:*"], "m:fly", "m:*"),
        (["m:*y", "m:*ly"], "m:fly", "m:*ly"),
        (["m:*ly", "m:*y"], "m:fly", "m:*y"),
        (["m:*ly", "m:*x"], "m:fly", "m:*ly"),
        (["m:fly*", "m:*"], "m:fl", "m:*"),
        (["n:*"], "m:f", None),
        ([], "m:f", None),
    ],
    ids=str,
)
def test_the_closest_wins(patterns, name, expected):
    """
    Exact beats the longest literal beginning, and that beats what comes later in the file.
    """
    best = Patterns(rules(*patterns)).best(name)

    assert (best and best.pattern) == expected


def closeness(rule):
    """
    Return what is larger for a closer rule, as the specification says it.
    """
    at = int(rule.origin.where)
    return ("*" not in rule.pattern, len(rule.pattern.partition("*")[0]), at)


@given(st.lists(st.text("ab*", min_size=1, max_size=4), max_size=8, unique=True), st.text("ab", max_size=5))
def test_the_closest_is_that_of_the_definition(patterns, name):
    """
    Whatever the patterns are, the one that is found is the closest of those that match.
    """
    found = rules(*patterns)
    fitting = [rule for rule in found if matches(rule.pattern, name)]

    assert Patterns(found).best(name) == max(fitting, key=closeness, default=None)


def test_unused():
    """
    Rules that match no name are told, also where a closer rule takes all of another's names.
    """
    found = Patterns(rules("m:f", "m:g", "m:*", "n:*", "*:f"))

    assert [rule.pattern for rule in found.unused(iter(["m:f", "m:h"]))] == ["m:g", "n:*"]
    assert found.unused([]) == list(found.rules)
    assert repr(found) == "<Patterns: 5 rules>"


@pytest.mark.parametrize(
    "pattern", ["", "engine.video.render", "engine.video:", ":render", "a:b:c", "a : b", "a:b\n", "engine.*"]
)
def test_what_is_no_pattern(pattern):
    """
    What no function's name can match is told, with what to write.
    """
    assert "module:qualname" in problem_of(pattern)


@pytest.mark.parametrize("pattern", ["m:f", "engine.*:*", "*:*", "m:f.<locals>.<lambda>", "__main__:f", "µ.ü:ñ"])
def test_what_is_a_pattern(pattern):
    """
    Modules, qualified names and stars in either are patterns.
    """
    assert problem_of(pattern) is None


@pytest.mark.parametrize("form", ["package.part{}:method_*", "*:Class.method_{}_*", "package.part*:{}*x*y*z"])
@pytest.mark.usefixtures("untraced")
def test_many_patterns_and_many_functions(form):
    """
    200 patterns find their functions among 10,000 in well under a second.
    """
    patterns = Patterns(rules(*(form.format(at) for at in range(200))))
    names = [f"package.part{at % 300}:Class.method_{at}_x" for at in range(10_000)]
    before = time.perf_counter()
    for name in names:
        patterns.best(name)

    assert time.perf_counter() - before < 1
