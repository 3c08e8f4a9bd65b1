"""
Faults 38 to 42 where they are about files of policies, the environment and patterns.
"""

from __future__ import annotations

import sys
import time
import tracemalloc

import pytest

from resilient import PolicyError
from resilient.declared.document import build
from resilient.declared.model import Declaration, Origin, Rule
from resilient.declared.patterns import Patterns, matches
from resilient.declared.reading import LIMIT, Text, find, parse, read

SECRET = "hunter2"


@pytest.fixture
def problems(tmp_path):
    """
    Return what writes a file of policies, and returns what is wrong with it, or with what it is beside.
    """

    def tell(content, **environ):
        path = tmp_path / "resilient.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(PolicyError) as caught:
            build(read(path), environ)
        assert caught.value.where == str(path)
        assert SECRET not in str(caught.value)
        return [one.replace(str(path), "resilient.toml") for one in caught.value.problems]

    return tell


# -- 38: options that cannot be meant ------------------------------------------------------

ROW_38 = [
    ("retry", "max_attempts = 0", "max_attempts", "from 1 to"),
    ("retry", "max_attempts = -1", "max_attempts", "from 1 to"),
    ("retry", "max_attempts = 1_000_000_000", "max_attempts", "to 1000000"),
    ("retry", "max_attempts = 'hunter2'", "max_attempts", "whole number"),
    ("retry", "max_attempts = 3.0", "max_attempts", "whole number"),
    ("retry", "initial_delay = inf", "initial_delay", "must be seconds"),
    ("retry", "initial_delay = nan", "initial_delay", "must be seconds"),
    ("retry", "initial_delay = -0.1", "initial_delay", "at least 0"),
    ("retry", "initial_delay = 'hunter2'", "initial_delay", "'30s'"),
    ("retry", "initial_delay = '9s', max_delay = '1s'", "max_delay", "at least initial_delay"),
    ("retry", "max_duration = '1s', initial_delay = '2s'", "max_duration", "at least initial_delay"),
    ("retry", "exponential_base = 0.5", "exponential_base", "at least 1"),
    ("retry", "jitter = 5.0", "jitter", "'full'"),
    ("retry", "on = ['hunter2']", "on.0", "'network'"),
    ("retry", "on = 'netwrok'", "on", "did you mean 'network'?"),
    ("retry", "max_atempts = 3", "max_atempts", "did you mean 'max_attempts'?"),
    ("circuit", "window = 0", "window", "must"),
    ("circuit", "window = 10, failure_rate = 0", "failure_rate", "above 0"),
    ("circuit", "failure_threshold = 0", "failure_threshold", "from 1 to"),
    ("circuit", "open_for = 1, timeout = 2", "timeout", "open_for"),
    ("circuit", "mode = 'hunter2'", "mode", "'metrics_only'"),
    ("recoverable", "playbook = 'hunter2'", "playbook", "memory"),
    ("recoverable", "max_runs = 0", "max_runs", "from 1 to"),
    ("degradable", "floor = 'hunter2'", "floor", "minimal"),
    ("fallback_chain", "entries = []", "entries", "at least one"),
]


@pytest.mark.parametrize(("kind", "options", "key", "text"), ROW_38, ids=[row[1] for row in ROW_38])
def test_row_38_options_of_a_file(problems, kind, options, key, text):
    """
    An option that cannot be meant is told with file, line, path and remedy, never with a text that was given.
    """
    (problem,) = problems(f"[policies.gpu]\n# {SECRET}\n{kind} = {{ {options} }}\n")

    assert problem.startswith(f"resilient.toml:3: policies.gpu.{kind}.{key}: ")
    assert text in problem


# -- 39: files -------------------------------------------------------------------------------


def test_row_39_all_errors_at_once(problems):
    """
    A typo, a wrong type, a missing parent and a circle are told together, each with its line.
    """
    found = problems(
        """\
[policies.gpu]
extends = "externl"
retry = { max_atempts = 4 }
[policies.external]
retry = { max_attempts = "hunter2" }
[policies.a]
extends = ["b"]
[policies.b]
extends = ["a"]
[polices.c]
[functions]
"engine.video.render" = "hunter2"
"""
    )
    expected = [
        ("resilient.toml:2: policies.gpu.extends: ", "did you mean 'external'?"),
        ("resilient.toml:3: policies.gpu.retry.max_atempts: ", "did you mean 'max_attempts'?"),
        ("resilient.toml:5: policies.external.retry.max_attempts: ", "must be a whole number"),
        ("resilient.toml:7: policies.a.extends: ", "a -> b -> a"),
        ("resilient.toml:10: polices: ", "did you mean 'policies'?"),
        ('resilient.toml:12: functions."engine.video.render": ', "must be module:qualname"),
        ('resilient.toml:12: functions."engine.video.render": ', "there is no policy of this name"),
    ]

    assert len(found) == len(expected)
    for problem, (start, text) in zip(found, expected, strict=True):
        assert problem.startswith(start)
        assert text in problem


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("[policies.gpu]\nretry = true\nretry = 'hunter2'\n", 3, "policies.gpu.retry: "),
        ("[policies.gpu]\n\n[policies.gpu]\n", 3, "policies.gpu: "),
        ("[functions]\n'm:f' = 'a'\n\"m:f\" = 'hunter2'\n", 3, 'functions."m:f": '),
    ],
    ids=["option", "table", "pattern"],
)
def test_row_39_duplicate_key(problems, text, line, key):
    """
    A key that is given twice is told with both lines.
    """
    (problem,) = problems(text)

    assert problem.startswith(f"resilient.toml:{line}: {key}is given twice; line ")


def test_row_39_byte_order_mark(tmp_path):
    """
    A byte order mark of UTF-8 is no part of the text; a file in UTF-16 is refused by name.
    """
    path = tmp_path / "resilient.toml"
    path.write_text("[policies.gpu]\n", encoding="utf-8-sig")

    assert list(build(read(path)).policies) == ["gpu"]
    path.write_text("[policies.gpu]\n", encoding="utf-16")
    with pytest.raises(PolicyError, match="UTF-16"):
        read(path)


@pytest.mark.usefixtures("untraced")
def test_row_39_a_hundred_megabytes(tmp_path):
    """
    A file of 100 MB is refused at once, and is not in memory for it.
    """
    path = tmp_path / "resilient.toml"
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    before = time.perf_counter()
    tracemalloc.start()
    try:
        with pytest.raises(PolicyError, match="has more than 1,048,576 bytes"):
            read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert time.perf_counter() - before < 1
    assert peak < LIMIT


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(
    "text",
    ["a." * 500_000 + "a = 1", "[" + "a." * 500_000 + "a]", "a = " + "[" * 1_000_000, "a = " + "{a=" * 300_000],
    ids=["dotted", "header", "arrays", "inline tables"],
)
def test_row_39_what_would_take_the_parser_minutes(problems, text):
    """
    A small file that is made to be slow, or to recurse, is refused as quickly as any other.
    """
    before = time.perf_counter()

    assert problems(text) == ["resilient.toml:1: is nested more than 64 deep"]
    assert time.perf_counter() - before < 1


def test_row_39_a_half_written_save(tmp_path):
    """
    Wherever the writing of a file has got to, it is read, or refused with its name; nothing else is raised.
    """
    path = tmp_path / "resilient.toml"
    whole = "[policies.gpu]\nretry = { on = ['network'] }\n[functions]\n'm:f' = 'gpu' # \u00e9\n".encode()
    refused = []
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        try:
            build(read(path))
        except PolicyError as error:
            refused.append(error.where)

    assert set(refused) == {str(path)}
    assert len(whole) / 2 < len(refused) < len(whole)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_row_39_symlinks(tmp_path):
    """
    A link is followed each time, so that the swap of a link is a change of the file; one to nowhere is told.
    """
    path = tmp_path / "resilient.toml"
    for name in ("old", "new"):
        (tmp_path / name).write_text(f"[policies.{name}]\n")
    path.symlink_to("old")

    assert list(read(path).tables["policies"]) == ["old"]
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").replace(path)
    assert list(read(path).tables["policies"]) == ["new"]
    (tmp_path / "new").unlink()
    with pytest.raises(PolicyError, match="cannot be read: No such file"):
        read(path)


def test_row_39_a_link_to_itself(tmp_path):
    """
    A link that leads to itself is an error of the file, or no file where one is looked for.
    """
    path = tmp_path / "resilient.toml"
    path.symlink_to("resilient.toml")

    assert find(tmp_path, {}) is None
    with pytest.raises(PolicyError, match="cannot be read"):
        read(path)


# -- 40: the environment ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("RESILIENT_POLICIES__GUP__RETRY__MAX_ATTEMPTS", "5", "names no policy; did you mean 'gpu'?"),
        ("RESILIENT_POLICIES__GPU__RETYR__MAX_ATTEMPTS", "5", "names no kind of policy; did you mean 'retry'?"),
        ("RESILIENT_POLICIES__GPU__RETRY__MAX_ATEMPTS", "5", "did you mean 'max_attempts'?"),
        ("RESILIENT_POLICIES__GPU__RETRY__MAX_ATTEMPTS", SECRET, "must be a whole number"),
        ("RESILIENT_POLICIES__GPU__RETRY__MAX_ATTEMPTS", "", "must be a whole number"),
        ("RESILIENT_POLICIES__GPU__RETRY__MAX_ATTEMPTS", "[" * 100_000, "must be a whole number"),
        ("RESILIENT_POLICIES__GPU__RETRY__MAX_ATTEMPTS", "9" * 5_000, "must be a whole number"),
        ("RESILIENT_POLICIES__GPU__RETRY__MAX_DELAY", "1ms", "at least initial_delay"),
        ("RESILIENT_POLICIES__GPU__RETRY", SECRET, "must be a table of options, true or false"),
        ("RESILIENT_POLICIES__GPU", SECRET, "must be RESILIENT_POLICIES__<policy>__<kind>"),
        ("RESILIENT_POLICIES_GPU_RETRY_MAX_ATTEMPTS", SECRET, "must be RESILIENT_POLICIES__<policy>__<kind>"),
    ],
)
def test_row_40_variables_that_cannot_be_meant(problems, variable, value, text):
    """
    A variable that is malformed, or for something that there is not, is an error that names it and shows no value.
    """
    (problem,) = problems("[policies.gpu]\nretry = { initial_delay = '1s' }\n", **{variable: value})

    assert problem.startswith(f"{variable}: ")
    assert text in problem
    assert len(problem) < 500


# -- 41: patterns ----------------------------------------------------------------------------


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("a:" + "*a" * 1_000 + "*b", "a:" + "a" * 100_000),
        ("*" * 10_000 + ":b", "a" * 100_000),
        ("(a+)+$:*", "a" * 100_000 + "!:f"),
        ("*:" + "a*" * 1_000 + "b", "m:" + "a" * 999),
    ],
    ids=["many stars", "only stars", "an expression", "nearly"],
)
def test_row_41_no_pattern_is_slow(pattern, name):
    """
    A pattern is no regular expression, and none takes more than a look at the name from left to right.
    """
    rule = Rule(pattern, Declaration({}), Origin("file"))
    before = time.perf_counter()

    assert not matches(pattern, name)
    assert Patterns([rule]).best(name) is None
    assert time.perf_counter() - before < 0.5


def test_row_41_a_pattern_is_not_an_expression():
    """
    What means something in a regular expression or a shell stands for itself.
    """
    assert not matches("m:f.*d", "m:found")
    assert not matches("m:[a-z]*", "m:found")
    assert not matches("m:foun?", "m:found")
    assert matches("m:(a|b)*", "m:(a|b)c")


# -- 42: very many keys ------------------------------------------------------------------------


@pytest.mark.usefixtures("untraced")
def test_row_42_very_many_keys():
    """
    As many keys as a file can have are read, and refused, in linear time.
    """

    def seconds(count):
        text = "[policies.gpu.retry]\n" + "".join(f"k{at} = 1\n" for at in range(count))
        before = time.perf_counter()
        tables, lines = parse(text)
        with pytest.raises(PolicyError) as caught:
            build(Text("resilient.toml", tables, lines))
        assert len(caught.value.problems) == count
        return time.perf_counter() - before

    assert seconds(8_000) < 32 * max(min(seconds(1_000) for _ in range(3)), 0.001)
