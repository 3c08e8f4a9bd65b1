from __future__ import annotations

import pytest

from resilient.declared.environment import Override, from_environment

POLICIES = ["gpu", "gpu-fast.v2", "External", "a__b", "x.y", "x-y"]


def overrides(variables):
    """
    Return what *variables* say, where nothing is wrong with them.
    """
    found, problems = from_environment(variables, POLICIES)
    assert problems == []
    return found


def problem(variable, value="5", **more):
    """
    Return the one problem that *variable* makes.
    """
    _, (one,) = from_environment({variable: value, **more}, POLICIES)
    assert "hunter2" not in str(one)
    return one


def test_an_option():
    """
    A variable gives one option of one kind of one policy.
    """
    name = "RESILIENT_POLICIES__GPU__RETRY__MAX_ATTEMPTS"

    assert overrides({name: "5", "PATH": "/bin", "RESILIENT_DISABLED": "1"}) == [
        Override(name, "gpu", "retry", "max_attempts", 5)
    ]


@pytest.mark.parametrize(
    ("variable", "policy"),
    [
        ("RESILIENT_POLICIES__gpu__retry__max_delay", "gpu"),
        ("resilient_policies__Gpu__Retry__Max_Delay", "gpu"),
        ("RESILIENT_POLICIES__EXTERNAL__RETRY__MAX_DELAY", "External"),
        ("RESILIENT_POLICIES__GPU_FAST_V2__RETRY__MAX_DELAY", "gpu-fast.v2"),
        ("RESILIENT_POLICIES__A__B__RETRY__MAX_DELAY", "a__b"),
    ],
)
def test_names_are_compared_loosely(variable, policy):
    """
    Names are compared without case, all but letters and digits as underscores.
    """
    assert overrides({variable: "5s"}) == [Override(variable, policy, "retry", "max_delay", "5s")]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("0.5", 0.5),
        ("true", True),
        ("inf", float("inf")),
        ('"500ms"', "500ms"),
        ("500ms", "500ms"),
        ("network", "network"),
        ('["network", "model"]', ["network", "model"]),
        ("{ minimum = 8 }", {"minimum": 8}),
        ("", ""),
        ("5\nother = 6", "5\nother = 6"),
        ("5\n[table]", "5\n[table]"),
        ("[" * 100_000, "[" * 100_000),
        ("9" * 5000, "9" * 5000),
        ("\udcff", "\udcff"),
    ],
)
def test_values(text, value):
    """
    A value is read as TOML; what is none, or more than one value, is a text.
    """
    (found,) = overrides({"RESILIENT_POLICIES__GPU__RETRY__ON": text})

    assert found.raw == value
    assert type(found.raw) is type(value)


def test_a_whole_kind_comes_before_its_options():
    """
    A variable may be about a whole kind; those about single options have the last word.
    """
    found = overrides(
        {
            "RESILIENT_POLICIES__GPU__RETRY__MAX_ATTEMPTS": "5",
            "RESILIENT_POLICIES__GPU__RETRY": "false",
            "RESILIENT_POLICIES__GPU__CIRCUIT": "false",
        }
    )

    assert [(one.kind, one.option, one.raw) for one in found] == [
        ("circuit", "", False),
        ("retry", "", False),
        ("retry", "max_attempts", 5),
    ]


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("RESILIENT_POLICIES__GUP__RETRY__MAX_ATTEMPTS", "names no policy; did you mean 'gpu'?"),
        ("RESILIENT_POLICIES__GPU__RETYR__MAX_ATTEMPTS", "names no kind of policy; did you mean 'retry'?"),
        ("RESILIENT_POLICIES__GPU__RETYR", "names no kind of policy; did you mean 'retry'?"),
        ("RESILIENT_POLICIES__GPU__", "names no kind of policy; known are 'circuit'"),
        ("RESILIENT_POLICIES", "must be RESILIENT_POLICIES__<policy>__<kind>"),
        ("RESILIENT_POLICIES__GPU", "must be RESILIENT_POLICIES__<policy>__<kind>"),
        ("RESILIENT_POLICIES__", "must be RESILIENT_POLICIES__<policy>__<kind>"),
        ("RESILIENT_POLICIES____RETRY", "must be RESILIENT_POLICIES__<policy>__<kind>"),
        ("RESILIENT_POLICIES_GPU__RETRY__MAX_ATTEMPTS", "must be RESILIENT_POLICIES__<policy>__<kind>"),
        ("RESILIENT_POLICIES__GPU__RETRY__", "must be RESILIENT_POLICIES__<policy>__<kind>"),
        ("RESILIENT_POLICIES__X_Y__RETRY__ON", 'may mean "x.y" and x-y; rename one of these policies'),
        (
            "RESILIENT_POLICIES__GPU__DEGRADABLE__STEPS__MINIMUM",
            "give steps its whole value, such as '{ minimum = 8 }'",
        ),
    ],
)
def test_names_that_cannot_be_meant(variable, text):
    """
    A name that leads nowhere is told, with what was meant, and never with the value.
    """
    found = problem(variable, "hunter2")

    assert found.where == variable
    assert text in found.text


def test_two_variables_for_one_option():
    """
    Of two spellings of one name neither is silently dropped.
    """
    upper, lower = "RESILIENT_POLICIES__GPU__RETRY__ON", "RESILIENT_POLICIES__gpu__retry__on"
    found = problem(upper, "hunter2", **{lower: "hunter2"})

    assert found.where == lower
    assert found.text == f"says what {upper} says too; unset one of them"


def test_names_are_shown_safely():
    """
    A variable's name is shown on one line.
    """
    assert problem("RESILIENT_POLICIES\n\x1b[31m").where == "RESILIENT_POLICIES\\n\\x1b[31m"


def test_no_policies():
    """
    Where there is no policy that is said.
    """
    _, problems = from_environment({"RESILIENT_POLICIES__GPU__RETRY": "false"}, [])

    assert [str(one) for one in problems] == ["RESILIENT_POLICIES__GPU__RETRY: names no policy; there is none yet"]
