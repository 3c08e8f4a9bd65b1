"""
A mapping for `configure` over a file: it names the file's policies, changes them, and has to make a difference.
"""

from __future__ import annotations

import pytest

from resilient import PolicyError, governed
from resilient.declared import reloading
from tests.harness import run_threads

FILE = """
[policies.external]
retry = { max_attempts = 4 }

[policies.calm]
retry = { initial_delay = "2s", max_attempts = 6 }

[policies.gpu]
extends = "external"
circuit = { failure_threshold = 9 }

[functions]
"*:render" = "gpu"
"""


@pytest.fixture
def film(registry, tmp_path):
    """
    Return two functions, the first of which a file gives a policy, and that file.
    """
    file = tmp_path / "resilient.toml"
    file.write_text(FILE, encoding="utf-8")
    registry.reload(file)

    def render():
        """
        Stand for a function that the file speaks of.
        """

    def preview():
        """
        Stand for one that it does not speak of.
        """

    render.__qualname__, preview.__qualname__ = "render", "preview"
    return governed(registry=registry)(render), governed(registry=registry)(preview), file


def shown(fn):
    """
    Return the policies in force on *fn*, as they show themselves, the names of circuits aside.
    """
    return [repr(policy).replace(f"'{fn.resilience.name}', ", "") for policy in fn.resilience.policies]


@pytest.mark.parametrize(
    ("mapping", "render", "preview"),
    [
        ({"functions": {"*:preview": "gpu"}}, "@retry(max_attempts=4)", "@retry(max_attempts=4)"),
        (
            {"functions": {"*:preview": {"extends": "gpu", "retry": {"initial_delay": 0}}}},
            "@retry(max_attempts=4)",
            "@retry(max_attempts=4, initial_delay=0.0)",
        ),
        # What it says of a policy holds wherever the file gives that policy, by inheritance too.
        (
            {"functions": {"*:preview": "gpu"}, "policies": {"external": {"retry": {"max_attempts": 7}}}},
            "@retry(max_attempts=7)",
            "@retry(max_attempts=7)",
        ),
        # A policy of the file that it makes extend another one.
        (
            {"functions": {"*:preview": "gpu"}, "policies": {"gpu": {"extends": "calm"}}},
            "@retry(max_attempts=6, initial_delay=2.0)",
            "@retry(max_attempts=6, initial_delay=2.0)",
        ),
        # A policy of its own, of two of the file's: the later wins.
        (
            {"functions": {"*:preview": "night"}, "policies": {"night": {"extends": ["calm", "gpu"]}}},
            "@retry(max_attempts=4)",
            "@retry(max_attempts=4, initial_delay=2.0)",
        ),
    ],
)
def test_a_mapping_names_policies_of_the_file(film, registry, mapping, render, preview):
    """
    They may be given to other functions, extended and changed; what the mapping says is over what the file says.
    """
    registry.configure(mapping)

    assert [render, "@circuit(failure_threshold=9)"] == shown(film[0])
    assert [preview, "@circuit(failure_threshold=9)"] == shown(film[1])


def test_half_of_something_is_looked_at_together_with_the_other_half(film, registry):
    """
    What has a meaning only beside an option of the file's is one of its policy; alone it is refused, as in a file.
    """
    render, _, file = film
    file.write_text(FILE.replace("failure_threshold = 9", "window = 100, slow_call = 2"), encoding="utf-8")
    registry.reload()
    registry.configure({"policies": {"gpu": {"circuit": {"slow_call_rate": 0.5}}}})

    assert shown(render)[1] == "@circuit(window=100, slow_call=2.0, slow_call_rate=0.5)"
    with pytest.raises(PolicyError, match=r"slow_call_rate=0\.5 has nothing to count"):
        registry.configure({"policies": {"calm": {"circuit": {"slow_call_rate": 0.5}}}})
    with pytest.raises(PolicyError, match="min_calls=200 can never be in a window of 100 calls"):
        registry.configure({"policies": {"gpu": {"circuit": {"min_calls": 200}}}})


def test_of_two_reloads_at_once_the_one_in_force_is_read_again(registry, tmp_path, monkeypatch):
    """
    The path is remembered in the step that puts the file in force: a slower reload cannot leave another one behind.
    """
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    for file in (first, second):
        file.write_text(FILE, encoding="utf-8")
    remember = reloading._remember  # noqa: SLF001 - the step in question

    def looked_at(registry, source):
        remember(registry, source)
        assert registry.declarations.file.label == str(source)

    monkeypatch.setattr(reloading, "_remember", looked_at)
    run_threads(*[lambda: registry.reload(first), lambda: registry.reload(second)] * 4)
    in_force = registry.declarations.file.label
    registry.reload()

    assert registry.declarations.file.label == in_force


def test_a_kind_that_the_mapping_takes_away_is_gone(film, registry):
    """
    ``false`` takes a kind from a policy of the file, for all who have it.
    """
    registry.configure({"functions": {"*:preview": "gpu"}, "policies": {"gpu": {"circuit": False}}})

    assert ["@retry(max_attempts=4)"] == shown(film[0]) == shown(film[1])


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        (
            {"policies": {"gpuu": {"retry": {}}}},
            "policies.gpuu: is used by no function here, and {file} has no policy of this name; did you mean 'gpu'?",
        ),
        ({"functions": {"*:f": "gpuu"}}, "functions.\"*:f\": there is no policy of this name; did you mean 'gpu'?"),
        (
            {"policies": {"external": {"extends": "gpu"}}},
            "policies.external.extends: leads back to itself: external -> gpu -> external; take one of these out",
        ),
    ],
)
def test_what_makes_no_difference_is_refused(film, registry, mapping, problem):
    """
    A name that nobody knows is a slip: it is told once, with what was meant, and nothing has changed.
    """
    before = shown(film[0])
    with pytest.raises(PolicyError) as caught:
        registry.configure(mapping)

    assert [problem.format(file=film[2])] == list(caught.value.problems)
    assert f"configure(): {problem.format(file=film[2])}" == str(caught.value)
    assert before == shown(film[0])


def test_without_a_file_policies_may_wait_for_one(registry, tmp_path):
    """
    Code may say what it wants of a policy before the file that has it is loaded.
    """
    registry.configure({"policies": {"external": {"retry": {"max_attempts": 7}}}})
    file = tmp_path / "resilient.toml"
    file.write_text(FILE, encoding="utf-8")
    registry.reload(file)

    def render():
        """
        Stand for a function that the file speaks of.
        """

    render.__qualname__ = "render"

    assert shown(governed(registry=registry)(render))[0] == "@retry(max_attempts=7)"


def test_a_file_that_lacks_what_the_mapping_names_is_refused(film, registry):
    """
    The mapping is laid over each file anew; where it cannot be, the old file stays in force, and health says so.
    """
    render, preview, file = film
    registry.configure({"functions": {"*:preview": "gpu"}})
    before = shown(preview)
    file.write_text("[functions]\n'*:render' = { retry = {} }", encoding="utf-8")
    with pytest.raises(PolicyError) as caught:
        registry.reload()

    problem = 'functions."*:preview": there is no policy of this name; there is none yet'
    why = "what configure() has declared does not fit it (configure({}) takes that back)"
    assert list(caught.value.problems) == [f"{why}: {problem}"]
    assert before == shown(preview) == shown(render)
    assert registry.health().status == "warn"

    file.write_text(FILE.replace("= 4", "= 5"), encoding="utf-8")
    registry.reload()

    assert "@retry(max_attempts=5)" == shown(preview)[0] == shown(render)[0]


def test_a_file_that_lacks_a_policy_that_the_mapping_changes_is_refused(film, registry):
    """
    What was said of it would be lost without a word.
    """
    render, _, file = film
    registry.configure({"policies": {"external": {"retry": {"max_attempts": 7}}}})
    file.write_text(FILE.replace("external", "outside"), encoding="utf-8")
    with pytest.raises(PolicyError, match="has no policy of this name"):
        registry.reload()

    assert shown(render)[0] == "@retry(max_attempts=7)"


def test_configure_looks_at_the_environment_first(monkeypatch, tmp_path):
    """
    The default registry has its file by then: RESILIENT_CONFIG names it.
    """
    from resilient.testing import isolated_registry

    file = tmp_path / "resilient.toml"
    file.write_text(FILE, encoding="utf-8")
    monkeypatch.setenv("RESILIENT_CONFIG", str(file))
    with isolated_registry() as registry:
        registry._reads_environment = True  # noqa: SLF001 - as the default registry of a fresh process
        registry.configure({"functions": {"*:preview": "gpu"}})

        assert str(file) == registry.declarations.file.label
