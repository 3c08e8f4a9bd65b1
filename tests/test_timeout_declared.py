"""
``timeout`` in a file of policies, in the environment, in ``explain``, and when what is declared changes.
"""

from __future__ import annotations

import threading

import pytest

from resilient import CallTimeoutError, PolicyError, governed, retry, timeout
from tests.command_line import command_line
from tests.harness import PATIENCE, Hang, caught, run_threads


async def render(shot="a"):
    """
    Return a picture.
    """
    return shot


def fetch(url="a"):
    """
    Return what is there.
    """
    return url


HERE = __name__


def declare(registry, kinds, fn=render, **policies):
    """
    Declare *kinds* for *fn*, and return it under them.
    """
    registry.configure({"functions": {f"{HERE}:{fn.__name__}": kinds}, "policies": policies})
    return governed(registry=registry)(fn)


def shown(fn):
    """
    Return the policies in force, outermost first.
    """
    return [repr(policy) for policy in fn.resilience.policies]


@pytest.mark.parametrize("value", ["30s", 30, 30.0, {"seconds": "30s"}, {"seconds": 30}], ids=str)
def test_a_value_or_a_table(registry, value):
    """
    ``timeout = "30s"`` says the same as a table.
    """
    assert shown(declare(registry, {"timeout": value})) == ["@timeout(seconds=30.0)"]


def test_where_no_order_is_given_it_limits_the_attempt(registry):
    """
    It stands below all others.
    """
    fn = declare(registry, {"timeout": "30s", "retry": True, "circuit": True})

    assert [policy.kind for policy in fn.resilience.policies] == ["retry", "circuit", "timeout"]


def test_an_order_may_put_it_above_retry(registry):
    """
    Then it limits everything.
    """
    fn = declare(registry, {"timeout": "30s", "retry": True, "order": ["timeout", "retry"]})

    assert [policy.kind for policy in fn.resilience.policies] == ["timeout", "retry"]


def test_it_is_inherited_and_changed(registry):
    """
    What a policy extends is merged option by option, however it is written.
    """
    fn = declare(
        registry,
        {"extends": "patient", "timeout": "5s"},
        fetch,
        patient={"timeout": {"seconds": "30s", "in_thread": True, "max_threads": 4}},
    )

    assert dict(fn.resilience.policies[0].options) == {"seconds": 5.0, "in_thread": True, "max_threads": 4}


def test_false_takes_it_away(registry):
    """
    One from a decorator too.
    """
    registry.configure({"functions": {f"{HERE}:render": {"timeout": False}}})

    assert shown(timeout(5, registry=registry)(render)) == []


def test_a_declaration_wins_over_the_decorator(registry):
    """
    Option by option.
    """
    registry.configure({"functions": {f"{HERE}:fetch": {"timeout": "2s"}}})
    fn = timeout(5, in_thread=True, registry=registry)(fetch)

    assert dict(fn.resilience.policies[0].options) == {"seconds": 2.0, "in_thread": True, "max_threads": 64}


def test_a_sync_function_is_refused_by_name_and_with_the_remedy(registry):
    """
    What is in force stays.
    """
    fn = governed(registry=registry)(fetch)
    error = caught(registry.configure, {"functions": {f"{HERE}:fetch": {"timeout": "30s"}}})

    assert type(error) is PolicyError
    for words in (f"{HERE}:fetch is sync", "requests.get(url, timeout=30)", "in_thread=True"):
        assert words in str(error)
    assert shown(fn) == []


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("soon", "must be seconds as a number above 0, a timedelta, or a text like '30s'"),
        (0, "must be seconds as a number above 0, a timedelta, or a text like '30s'"),
        ({"seconds": 0}, "must be seconds as a number above 0, a timedelta, or a text like '30s'"),
        ({}, "seconds must be given: seconds that the call may take"),
        ({"secnods": 5}, "did you mean 'seconds'?"),
        ({"seconds": 5, "max_threads": 3}, "has nothing to count without in_thread=True"),
        (True, "seconds must be given: seconds that the call may take"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(registry, value, problem):
    """
    As from the decorator, with where it stands.
    """
    governed(registry=registry)(render)
    error = caught(registry.configure, {"functions": {f"{HERE}:render": {"timeout": value}}})

    assert type(error) is PolicyError
    assert problem in str(error)
    assert len(error.problems) == (2 if "secnods" in str(error) else 1)


@pytest.mark.parametrize(
    "variable", ["RESILIENT_POLICIES__PATIENT__TIMEOUT", "RESILIENT_POLICIES__PATIENT__TIMEOUT__SECONDS"]
)
def test_the_environment_overrides_it(registry, tmp_path, monkeypatch, variable):
    """
    The value alone, or the option by its name.
    """
    file = tmp_path / "resilient.toml"
    file.write_text(
        f'[policies.patient]\ntimeout = "30s"\n[functions]\n"{HERE}:render" = "patient"\n', encoding="utf-8"
    )
    monkeypatch.setenv(variable, "7s")
    registry.reload(file)
    fn = governed(registry=registry)(render)

    assert fn.resilience.policies[0].options["seconds"] == 7.0


# -- changes while it runs --------------------------------------------------


def test_other_seconds_hold_from_the_next_call_on(colour, clock, registry, hanging):
    """
    What is called is the same function, with another limit.
    """
    work = hanging.of(Hang(5), Hang(2))
    fn = hanging.limit(5, registry=registry)(work)
    first = caught(colour.call, fn)
    registry.configure({"functions": {fn.resilience.name: {"timeout": 2}}})
    second = caught(colour.call, fn)

    assert (first.seconds, second.seconds, clock.monotonic()) == (5.0, 2.0, 7.0)


def test_a_call_goes_on_under_the_limit_that_it_began_with(clock, registry):
    """
    A longer one comes too late for it.
    """
    began, changed = threading.Event(), threading.Event()

    @timeout(5, in_thread=True, registry=registry)
    def fn():
        began.set()
        changed.wait(PATIENCE)
        clock.advance(6)

    errors = []

    def change():
        began.wait(PATIENCE)
        registry.configure({"functions": {fn.resilience.name: {"timeout": 60}}})
        changed.set()

    run_threads(lambda: errors.append(caught(fn)), change)

    assert [(type(error), error.seconds) for error in errors] == [(CallTimeoutError, 5.0)]
    assert fn.resilience.policies[0].options["seconds"] == 60.0


def test_the_same_seconds_leave_it_as_it_is(registry):
    """
    With the threads that it has left behind.
    """
    fn = retry(timeout(5, in_thread=True, registry=registry)(fetch))
    [_, policy] = fn.resilience.policies
    registry.configure({"functions": {f"{HERE}:fetch": {"timeout": "5s"}}})

    assert fn.resilience.policies[1] is policy


# -- explain --------------------------------------------------


def test_explain_tells_the_limit_and_where_it_comes_from(tmp_path, capsys, monkeypatch):
    """
    The file and its line for what the file says, the default for the rest.
    """
    with command_line(tmp_path, capsys, monkeypatch) as explain:
        explain.write(
            {
                "resilient.toml": '[functions]\n"limited_shots:render" = { timeout = "30s", retry = true }\n',
                "limited_shots.py": """
                    async def render(shot):
                        return shot
                """,
            }
        )
        status, out, err = explain("explain", "limited_shots:render")

    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert (status, err) == (0, "")
    assert lines.index("retry") < lines.index("timeout")
    assert lines[lines.index("timeout") + 1 :] == [
        "seconds '30s' file resilient.toml:2",
        "in_thread False default",
        "max_threads 64 default",
    ]
