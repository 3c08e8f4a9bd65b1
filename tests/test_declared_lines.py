from __future__ import annotations

import time
import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resilient.declared.lines import DEPTH, Key, TooDeepError, last_key, locate

SAMPLE = r'''# A comment with [a.header] and key = 1
title = "a # b = [c]"            # ... and = another
dotted.key . "with.dot" = 1

[policies.gpu.retry]             # implies policies, and policies.gpu
max_attempts = 5
  indented   =   true
"quoted \u0041" = 'C:\path\'
'literal #' = """
not = a key
[not.a.header] \""" quoted ""\
  still"""
after = <<<
it's ""literal
x = 1'<<<
inline = { one = 1, two.three = { four = "}" }, "five, six" = [ { seven = 7 } ] }

[policies.gpu]
extends = [                      # over several lines
    "a",
    "b", # , "not" = [
    { x = 1, y = [
        2, 3,
    ] },
    1979-05-27 07:32:00,
    'it',
]
empty = ""
end = 1.5

[[rules]]
name = 1
[rules.sub]
deep = 1
[[rules.more]]
[[rules.more]]
z = 1

[[rules]]
name = 2
[[rules.more]]
z = 2
'''.replace("<<<", "'''")

EXPECTED = {
    "title": 2,
    "dotted": 3,
    "dotted/key": 3,
    "dotted/key/with.dot": 3,
    "policies": 5,
    "policies/gpu": 18,
    "policies/gpu/retry": 5,
    "policies/gpu/retry/max_attempts": 6,
    "policies/gpu/retry/indented": 7,
    "policies/gpu/retry/quoted A": 8,
    "policies/gpu/retry/literal #": 9,
    "policies/gpu/retry/after": 13,
    "policies/gpu/retry/inline": 16,
    "policies/gpu/retry/inline/two/three/four": 16,
    "policies/gpu/retry/inline/five, six/0/seven": 16,
    "policies/gpu/extends": 19,
    "policies/gpu/extends/0": 20,
    "policies/gpu/extends/1": 21,
    "policies/gpu/extends/2": 22,
    "policies/gpu/extends/2/x": 22,
    "policies/gpu/extends/2/y": 22,
    "policies/gpu/extends/2/y/1": 23,
    "policies/gpu/extends/3": 25,
    "policies/gpu/extends/4": 26,
    "policies/gpu/empty": 28,
    "policies/gpu/end": 29,
    "rules": 31,
    "rules/0": 31,
    "rules/0/name": 32,
    "rules/0/sub": 33,
    "rules/0/sub/deep": 34,
    "rules/0/more": 35,
    "rules/0/more/1": 36,
    "rules/0/more/1/z": 37,
    "rules/1": 39,
    "rules/1/name": 40,
    "rules/1/more/0/z": 42,
}


def paths(value, path=()):
    """
    Yield the path of each key and each array's element in what tomllib has read.
    """
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, str(key))
        yield from paths(inner, (*path, str(key)))


def test_each_key_has_its_line():
    """
    Keys in tables, in arrays of tables, in inline tables and in arrays over several lines have their lines.
    """
    found = {"/".join(path): line for path, line in locate(SAMPLE).items()}

    assert {path: found[path] for path in EXPECTED} == EXPECTED
    assert set(locate(SAMPLE)) == set(paths(tomllib.loads(SAMPLE)))


def test_windows_line_ends():
    """
    Lines that end as on Windows count like all others.
    """
    assert locate("a = 1\r\n[b]\r\nc = 2\r\n") == {("a",): 1, ("b",): 2, ("b", "c"): 3}


# -- Against tomllib ----------------------------------------------------------------

KEYS = {
    "k1": ["k1", '"k1"', "'k1'"],
    "k2": ["k2"],
    "k-3": ["k-3", "'k-3'"],
    "4": ["4"],
    "k.5": ['"k.5"', "'k.5'"],
    "k 6 # [=]": ['"k 6 # [=]"', "'k 6 # [=]'"],
    'k"7\n': [r'"k\"7\n"'],
    "k'8": ['"k\'8"'],
    "": ['""', "''"],
}
WRITTEN = {written: key for key, forms in KEYS.items() for written in forms}

keys = st.sampled_from(sorted(WRITTEN))
dotted = st.lists(keys, min_size=1, max_size=3).flatmap(
    lambda parts: st.sampled_from([".", " . "]).map(lambda dot: dot.join(parts))
)
pieces = st.lists(
    st.sampled_from(["x", "#", "=", "[", "]", "{", "}", ",", ".", " ", "a = 1", r"\\", r"\""]), max_size=5
)
one_line = pieces.map("".join)
several = st.lists(st.one_of(pieces.map("".join), st.sampled_from(["\n", '"', "'", "''", "\n[t]\n"])), max_size=5)
comments = st.sampled_from(["", " # x = [", "\t#'''", '# """'])
scalars = st.one_of(
    st.sampled_from(
        ["1", "-1.5e3", "true", "inf", "1979-05-27 07:32:00", "1979-05-27T07:32:00.5Z", "07:32:00", "0xff"]
    ),
    one_line.map('"{}"'.format),
    one_line.map("'{}'".format),
    several.map(lambda parts: '"""' + "".join(parts) + '"""'),
    several.map(lambda parts: "'''" + "".join(parts) + "'''"),
    several.map(lambda parts: '"""' + "".join(parts) + '"""""'),
)


def arrays(values):
    """
    Return arrays of *values*, over one line or several.
    """
    gap = st.sampled_from(["", " ", "\n", " # ] x\n", "\n\n  "])
    return st.tuples(st.lists(values, max_size=3), gap, st.booleans()).map(
        lambda drawn: (
            f"[{drawn[1]}" + f",{drawn[1]}".join([*drawn[0], *([""] if drawn[2] and drawn[0] else [])]) + f"{drawn[1]}]"
        )
    )


def inline(values):
    """
    Return inline tables of *values*.
    """
    pairs = st.tuples(dotted, values).map(" = ".join)
    return st.lists(pairs, max_size=3).map(lambda drawn: "{" + ", ".join(drawn) + "}")


values = st.recursive(scalars, lambda inner: st.one_of(arrays(inner), inline(inner)), max_leaves=6)
statements = st.one_of(
    st.tuples(dotted, values, comments).map(lambda drawn: f"{drawn[0]} = {drawn[1]}{drawn[2]}\n"),
    st.tuples(dotted, comments).map(lambda drawn: f"[{drawn[0]}]{drawn[1]}\n"),
    st.tuples(dotted, comments).map(lambda drawn: f"  [[ {drawn[0]} ]]{drawn[1]}\n"),
    st.sampled_from(["\n", "# x = 1\n"]),
)


def accepted(text):
    """
    Tell whether tomllib takes *text*.
    """
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(statements, max_size=8))
def test_every_path_that_tomllib_yields_has_a_line_with_its_last_part(drawn):
    """
    In any TOML, what has a line is what tomllib yields, and each key stands on the line that it has.
    """
    text = ""
    for statement in drawn:
        if accepted(text + statement):
            text += statement
    tables = tomllib.loads(text)
    lines = text.split("\n")
    found = locate(text)

    assert set(found) == set(paths(tables))
    for path, line in found.items():
        if path[-1] in KEYS:
            holder = tables
            for part in path[:-1]:
                holder = holder[int(part)] if isinstance(holder, list) else holder[part]
            if isinstance(holder, dict):
                assert any(written in lines[line - 1] for written in KEYS[path[-1]])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*"[]{},=.#'\"\\\n a1", '"""', "'''", "\r\n", "a = ", "[a]\n"]), max_size=40))
def test_a_text_that_is_no_toml_is_read_without_an_error(drawn):
    """
    What is broken is for tomllib to say: here it only has no, or wrong, lines.
    """
    text = "".join(drawn)
    last = text.count("\n") + 1

    assert all(1 <= line <= last for line in locate(text).values())
    assert last_key(text) is None or last_key(text).line <= last


# -- Depth and time ------------------------------------------------------------------


@pytest.mark.parametrize(
    "deep",
    [
        ".".join("a" * (DEPTH + 1)) + " = 1",
        "a = " + "[" * (DEPTH + 1),
        "a = " + "[" * 100_000,
        "a = " + "{ a = " * (DEPTH + 1),
        "[" + ".".join("a" * (DEPTH + 1)) + "]",
        "[a]\n" + ".".join("a" * DEPTH) + " = 1",
    ],
    ids=["dotted", "array", "endless array", "inline table", "header", "header and key"],
)
def test_what_is_too_deep_is_refused_with_its_line(deep):
    """
    Nobody nests this deep on purpose, and tomllib would recurse or take minutes.
    """
    with pytest.raises(TooDeepError) as caught:
        locate(f"# first\n{deep}")

    assert caught.value.line == 2 + deep.count("\n")


def test_as_deep_as_may_be():
    """
    The deepest key that is taken has as many parts as it says.
    """
    key = ".".join("a" * DEPTH)

    assert max(map(len, locate(f"{key} = 1"))) == DEPTH


@pytest.mark.parametrize(
    "text",
    [
        'a = """' + '\\"""' * 20_000,
        "a = " + "'" * 60_004,
        "a = " + '"' * 60_001,
        "word " * 20_000,
        "[a]\n" * 20_000,
        "a = 1\n" * 20_000,
        "\\" * 100_000,
    ],
    ids=["open text", "literals", "quotes", "words", "headers", "keys", "backslashes"],
)
def test_time_is_linear(text):
    """
    No text of this size takes long, however it is made.
    """
    before = time.perf_counter()
    locate(text)

    assert time.perf_counter() - before < 1


# -- The last key -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("a", None),
        ("a = 1", Key(("a",), 1, None)),
        ("a = 1\nb = 2\na = 3", Key(("a",), 3, 1)),
        ("a = 1\na.b = 2", Key(("a", "b"), 2, 1)),
        ("[a]\n[b]\n[a", Key(("a",), 3, 1)),
        ("[a.b]\n[a]\n", Key(("a",), 2, 1)),
        ("[a]\n[[a", Key(("a", "0"), 2, 1)),
        ("x = { a = 1,\n a = 2", Key(("x", "a"), 2, 1)),
        ("[", None),
        ('"\\q" = 1', Key(('"\\q"',), 1, None)),
    ],
)
def test_the_last_key(text, expected):
    """
    The last key that is given something is found in a text that breaks off, with the line that has it already.
    """
    assert last_key(text) == expected
