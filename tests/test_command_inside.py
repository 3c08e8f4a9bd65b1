"""
What ``resilient run`` does within its process: how it finds, governs and ends a program.

`tests/test_command_run.py` compares whole processes; here each step can be looked at.
"""

from __future__ import annotations

import json
import multiprocessing.spawn
import os
import pickle
import py_compile
import runpy
import sys
import traceback
import types
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from resilient import PolicyError, Registry, ResilientWarning, unweave
from resilient.command import program as programs
from resilient.command.children import follow
from resilient.command.governor import Governor
from resilient.command.report import Account
from resilient.command.unhandled import clean, told_without_us
from resilient.errors import CircuitBreakerOpenError
from resilient.events import CircuitClosed
from resilient.testing import disabled
from tests.command_line import command_line

POLICIES = '[functions]\n"__main__:*" = { circuit = true }\n"part.*:*" = { circuit = true }\n'


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """
    Return a command line in a folder of its own, with a file of policies.
    """
    with command_line(tmp_path, capsys, monkeypatch) as line:
        line.write({"resilient.toml": POLICIES})
        yield line


def last_words(run):
    """
    Let the process end, as far as the command has asked for; return what is told then on standard error.
    """
    run.capsys.readouterr()
    for function in reversed(run.at_exit):
        function()
    return run.capsys.readouterr().err


@pytest.mark.parametrize(
    ("ending", "status"),
    [("", 0), ("raise SystemExit", 0), ("raise SystemExit(0)", 0), ("import sys; sys.exit('x')", "x")],
)
def test_a_script_runs(run, ending, status):
    """
    It gets its arguments, its functions are governed, and its exit is its own.
    """
    run.write({"film.py": f"import sys\ndef f(): return sys.argv\nprint(f(), f.resilience.policies)\n{ending}\n"})

    if isinstance(status, str):
        with pytest.raises(SystemExit) as stop:
            run("run", "film.py", "--strict")
        assert stop.value.code == status
        out = run.capsys.readouterr().out
    else:
        got, out, err = run("run", "film.py", "--strict")
        assert (got, err) == (status, "")
    assert out == "['film.py', '--strict'] (@circuit('__main__:f'),)\n"
    assert sys.path[0] == str(run.folder)


def test_a_module_a_folder_and_a_zip_file_run(run):
    """
    Each as Python would run it.
    """
    text = "import sys\ndef f(): pass\nprint(sys.argv[0], sys.path[0], __spec__.name, hasattr(f, 'resilience'))\n"
    run.write({"studio/__init__.py": "", "studio/__main__.py": text, "studio/film.py": text})
    with zipfile.ZipFile(run.folder / "film.zip", "w") as archive:
        archive.writestr("__main__.py", text)
    here = run.folder

    assert run("run", "-m", "studio")[1] == f"{here}/studio/__main__.py {here} studio.__main__ True\n"
    assert run("run", "-m", "studio.film")[1] == f"{here}/studio/film.py {here} studio.film True\n"
    assert run("run", "studio")[1] == f"studio {here}/studio __main__ True\n"
    assert run("run", "film.zip")[1] == f"film.zip {here}/film.zip __main__ True\n"


def test_a_safe_path_is_left_alone(run, monkeypatch):
    """
    Where Python was asked to put no folder into ``sys.path``, only a folder that is run itself gets there.
    """
    flags = {name: getattr(sys.flags, name) for name in dir(sys.flags) if not name.startswith("_")}
    monkeypatch.setattr(sys, "flags", types.SimpleNamespace(**{**flags, "safe_path": True}))
    run.write({"film.py": "def f(): pass\n", "studio/__main__.py": "def f(): pass\n"})

    assert run("run", "film.py")[0] == 0
    assert sys.path[0] == "the command's own folder"
    assert run("run", "studio")[0] == 0
    assert sys.path[:2] == [f"{run.folder}/studio", "the command's own folder"]


def test_compiled_code_runs_without_a_source(run):
    """
    A ``.pyc`` runs, alone and as a module.
    """
    run.write({"film.py": "def f(): pass\nprint(__file__)\n"})
    py_compile.compile("film.py", "only.pyc")
    run.folder.joinpath("film.py").unlink()

    assert run("run", "only.pyc")[:2] == (0, f"{run.folder}/only.pyc\n")
    assert run("run", "-m", "only")[:2] == (0, f"{run.folder}/only.pyc\n")


def test_what_is_not_there(run, monkeypatch):
    """
    The statuses are those that Python has.
    """
    run.write({"empty/x.py": "", "broken.toml": "x = 1\n"})

    assert run("run", "gone.py")[0] == 2
    assert run("run", "-m", "gone")[::2] == (1, "resilient: No module named gone\n")
    assert run("run", "empty")[::2] == (1, f"resilient: can't find '__main__' module in '{run.folder}/empty'\n")
    assert run("run")[0] == 2
    assert run("run", "--policies", "gone.toml", "x.py")[0] == 2
    status, _, err = run("run", "--policies", "broken.toml", "x.py")
    assert status == 2
    assert "broken.toml:1: x: is unknown" in err


def test_an_error_that_ends_the_program_is_told_without_us(run, monkeypatch):
    """
    The hook that the program has at its end gets the traceback as it is without.
    """
    told = []
    run.write({
        "film.py": """\
            def f():
                raise ValueError("no film")
            try:
                f()
            except ValueError as error:
                raise KeyError("lost") from error
        """
    })  # fmt: skip
    monkeypatch.setattr(sys, "excepthook", lambda *error: told.append(error))
    hook = sys.excepthook

    with pytest.raises(KeyError) as caught:
        run("run", "film.py")
    sys.excepthook(caught.type, caught.value, caught.tb)

    [(kind, error, found)] = told
    assert sys.excepthook is hook
    assert (kind, error) == (KeyError, caught.value)
    assert error.__traceback__ is found is sys.last_traceback
    assert [(step.name, step.lineno) for step in traceback.extract_tb(found)] == [("<module>", 6)]
    assert [step.name for step in traceback.extract_tb(error.__cause__.__traceback__)] == ["<module>", "f"]
    assert last_words(run) == ""


def test_a_syntax_error_has_no_traceback(run):
    """
    It tells of its place itself.
    """
    run.write({"film.py": "def f(:\n"})

    with pytest.raises(SyntaxError) as caught:
        run("run", "film.py")
    sys.excepthook(caught.type, caught.value, caught.tb)

    assert caught.value.__traceback__ is None
    assert run.capsys.readouterr().err.startswith(f'  File "{run.folder}/film.py", line 1\n')


def test_frames_are_left_where_the_mistake_may_be_ours():
    """
    An error that none of the program's functions has raised keeps its traceback, unless it is one we mean to raise.
    """

    def raised_in(path, error):
        scope = {"error": error}
        exec(compile("def f():\n    raise error", path, "exec"), scope)  # noqa: S102 - a function of any file
        try:
            scope["f"]()
        except Exception as caught:
            clean(caught, caught.__traceback__)
            return [step.filename for step in traceback.extract_tb(caught.__traceback__)]

    ours = programs.__file__
    assert raised_in(ours, ValueError()) == [__file__, ours]
    assert raised_in(ours, CircuitBreakerOpenError("x")) == [__file__]
    assert raised_in("theirs.py", ValueError()) == [__file__, "theirs.py"]


def test_all_that_led_to_an_error_is_cleaned_once():
    """
    Causes, contexts and groups lose our frames, circles included.
    """
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first
    group = ExceptionGroup("both", [first, second])
    group.__cause__ = first

    clean(group, None)

    assert group.__traceback__ is None


def test_a_hook_that_is_gone_is_pythons(monkeypatch, capsys):
    """
    A program may have deleted its hook.
    """
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    del sys.excepthook

    told_without_us()
    sys.excepthook(ValueError, ValueError("told"), None)

    assert capsys.readouterr().err == "ValueError: told\n"


def test_what_cannot_be_governed_is_reported(run):
    """
    Generators, what a decorator has replaced, and what is declared wrongly stay as they are, and are told.
    """
    run.write({
        "resilient.toml": '[functions]\n"film:*" = { circuit = true }\n"gone:f" = { circuit = true }\n',
        "film.py": """\
            import functools
            def other(fn):
                return print
            def thing(fn):
                return 3
            def shots(): yield 1
            @other
            def replaced(): pass
            @thing
            def number(): pass
            @functools.lru_cache
            def cached(): return 1
            class Engine:
                @classmethod
                def make(cls): return 2
            print(cached(), Engine.make())
        """,
    })  # fmt: skip

    status, out, _ = run("run", "--report", "--json", "--strict", "film.py")
    told = json.loads(last_words(run))

    assert (status, out) == (1, "1 2\n")
    assert told["functions"] == [f"__main__:{name}" for name in ("Engine.make", "cached", "other", "thing")]
    assert told["skipped"]["__main__:replaced"] == "its decorators make it builtins:print"
    assert told["skipped"]["__main__:number"] == "its decorators make it a int"
    assert "generator" in told["skipped"]["__main__:shots"]
    assert told["unmatched"] == ["gone:f"]


def test_a_slip_in_the_name_of_the_programs_own_function_is_told(run):
    """
    What the program defines is compared with what a pattern has, by either name of the program; a star is no slip.
    """
    run.write({
        "resilient.toml": """\
            [functions]
            "film:rendre" = { circuit = true }
            "__main__:Engine.darw" = { circuit = true }
            "film:x*" = { circuit = true }
            "reel:render" = { circuit = true }
        """,
        "film.py": "def render(): pass\nclass Engine:\n    def draw(self): pass\n",
    })  # fmt: skip

    assert run("run", "film.py")[0] == 0
    assert last_words(run).splitlines() == [
        "resilient: 'film:rendre' matched no function; did you mean 'render'?",
        "resilient: '__main__:Engine.darw' matched no function; did you mean 'Engine.draw'?",
        "resilient: 'film:x*' matched no function",
        "resilient: 'reel:render' matched no function",
    ]


def test_a_report_says_that_policies_are_off(run):
    """
    Nothing that they did is not the same as nothing that they had to do.
    """
    run.write({"film.py": "def f(): pass\nf()\n"})

    with disabled():
        assert run("run", "--report", "film.py")[0] == 0
        told = last_words(run)
        run.at_exit.clear()
        unweave()
        assert run("run", "--json", "film.py")[0] == 0
        assert json.loads(last_words(run))["disabled"] is True

    assert "what the policies did:\n  nothing: they are off, for RESILIENT_DISABLED is set\n" in told


def test_a_report_for_people(run):
    """
    It has a line for everything; a fork of the program tells nothing.
    """
    run.write({
        "resilient.toml": """\
            [functions]
            "film:flaky" = { retry = { max_attempts = 2, initial_delay = 0 } }
            "film:shots" = { retry = true }
            "gone:f" = { retry = true }
        """,
        "film.py": """\
            def flaky(tries=[]):
                tries.append(1)
                if len(tries) == 1:
                    raise ConnectionError
            def shots(): yield 1
            flaky()
        """,
    })  # fmt: skip

    assert run("run", "--report", "film.py")[0] == 0
    told = last_words(run)
    assert told.startswith("resilient: 1 function under declared policies\n  __main__:flaky\n\nnot governed:\n")
    assert "\nwhat the policies did:\n  attempt.failed            1  __main__:flaky\n" in told
    assert "\nregistry isolated: pass\n" in told
    assert told.endswith("resilient: 'gone:f' matched no function\n")
    run.write({"film.py": "def flaky(): pass\nflaky()\n"})
    run.at_exit.clear()
    unweave()
    assert run("run", "--report", "film.py")[0] == 0
    assert "what the policies did:\n  nothing: every call went well\n" in last_words(run)
    pid = os.getpid()
    run.monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    assert last_words(run) == ""


def test_declared_nonsense_is_a_warning_at_the_function(run, monkeypatch):
    """
    The program goes on without the policy, and a strict run fails.
    """
    monkeypatch.setattr("resilient.command.governor.governed", lambda **_: _refuse)
    run.write({"film.py": "def f(): return 1\nprint(f())\n"})

    with pytest.warns(ResilientWarning, match="__main__:f is not governed: no"):
        status, out, _ = run("run", "--strict", "film.py")

    assert (status, out) == (1, "1\n")
    assert "resilient: no\n" in last_words(run)


def _refuse(value):
    msg = "no"
    raise PolicyError(msg)


IMPOSSIBLE = {
    "impossible.toml": '[functions]\n"reel:render" = { fallback_chain = ["reel:card"] }\n',
    "reel.py": "def render(): return 1\nasync def card(): pass\n",
}


def test_declared_nonsense_for_an_imported_function_fails_a_strict_run(run):
    """
    The program goes on without the policy, and is told at its end why; the pattern has matched all the same.
    """
    run.write({**IMPOSSIBLE, "film.py": "import reel\nprint(reel.render())\n"})

    with pytest.warns(ResilientWarning, match="importing 'reel': 1 function is not woven"):
        status, out, _ = run("run", "--policies", "impossible.toml", "--strict", "film.py")

    assert (status, out) == (1, "1\n")
    [line] = last_words(run).splitlines()
    assert line.startswith("resilient: policies of reel:render: ")
    assert "'card' is async and reel:render is not" in line


@pytest.mark.parametrize("reference", ["__main__:card", "film:card"])
def test_an_imported_function_may_fall_back_on_the_program(run, reference):
    """
    What the program defines further down than it imports is found at the first call.
    """
    run.write({
        "fall.toml": f'[functions]\n"reel:render" = {{ fallback_chain = ["{reference}"] }}\n',
        "reel.py": "def render(): raise ConnectionError\n",
        "film.py": "from reel import render\ndef card(): return 'card'\nprint(render())\n",
    })  # fmt: skip

    assert run("run", "--policies", "fall.toml", "--strict", "film.py") == (0, "card\n", "")
    assert last_words(run) == ""


def test_json_alone_is_a_report(run):
    """
    It has all that is declared in vain; nothing follows it.
    """
    run.write({**IMPOSSIBLE, "film.py": "import reel\nprint(reel.render())\n"})

    with pytest.warns(ResilientWarning, match="not woven"):
        status, out, _ = run("run", "--policies", "impossible.toml", "--json", "film.py")

    assert (status, out) == (0, "1\n")
    told = json.loads(last_words(run))
    assert (told["functions"], told["unmatched"]) == ([], [])
    [problem] = told["problems"]
    assert "'card' is async and reel:render is not" in problem


def test_an_error_that_ends_the_program_leaves_what_is_known(run):
    """
    What would have been matched nobody knows; what could not be put on a function is told.
    """
    policies = IMPOSSIBLE["impossible.toml"] + '"gone:f" = { circuit = true }\n'
    run.write({**IMPOSSIBLE, "impossible.toml": policies, "film.py": "import reel\nraise KeyError\n"})

    with pytest.warns(ResilientWarning, match="not woven"), pytest.raises(KeyError):
        run("run", "--policies", "impossible.toml", "film.py")

    [line] = last_words(run).splitlines()
    assert "'card' is async and reel:render is not" in line


def test_inner_functions_are_meant_only_by_name(run):
    """
    A star means what has a place of its own; ``<locals>`` names the rest.
    """
    text = "def f():\n    def g(): pass\n    return g\nprint(hasattr(f, 'resilience'), hasattr(f(), 'resilience'))\n"
    run.write({"film.py": text, "inner.toml": '[functions]\n"film:f.<locals>.*" = { circuit = true }\n'})

    assert run("run", "film.py")[1] == "True False\n"
    unweave()
    assert run("run", "--policies", "inner.toml", "film.py")[1] == "False True\n"


def test_the_module_is_the_command(run, monkeypatch):
    """
    ``python -m resilient`` is ``resilient``.
    """
    monkeypatch.setattr(sys, "argv", ["resilient", "check", "gone.toml"])

    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(Path(programs.__file__).parents[1] / "__main__.py"), run_name="__main__")

    assert stop.value.code == 2


def test_what_is_counted_is_bounded():
    """
    However many functions fail, a thousand things are counted.
    """
    registry = Registry()
    account = Account(registry, None, None)
    account.listen()
    for number in range(1100):
        registry.hub.deliver(
            CircuitClosed(at=datetime.now(UTC), circuit=f"c{number}", reason="manual", previous="open")
        )

    assert repr(account) == f"<Account of {registry!r}: 1000 events>"


def test_a_governor_without_declarations_wants_nothing():
    """
    Nothing is declared, so nothing is meant.
    """
    governor = Governor(Registry())

    assert not governor.wanted("f")
    assert repr(governor) == "<Governor of 0 functions on registry 'default'>"


def test_a_function_that_is_decorated_already_keeps_its_decorators(run):
    """
    What is declared is over the decorators of the program.
    """
    run.write({
        "film.py": """\
            from resilient import retry
            @retry(max_attempts=2)
            def f(): pass
            print(f.resilience.policies)
        """
    })  # fmt: skip

    assert run("run", "film.py")[1] == "(@retry(max_attempts=2), @circuit('__main__:f'))\n"


def test_a_spawned_child_loads_the_program_governed(run, monkeypatch):
    """
    What it unpickles weaves, and has the program loaded by path or by name, under the name that it has here.
    """
    monkeypatch.setattr(multiprocessing.spawn, "old_main_modules", [])
    text = "def f(): return __name__, f.resilience.name\n"
    run.write({"film.py": text, "studio/__init__.py": "", "studio/film.py": text})
    follow(run.folder / "resilient.toml", str(run.folder))
    monkeypatch.setattr(sys, "path", [str(run.folder), *sys.path])
    data = multiprocessing.spawn.get_preparation_data("child")

    assert pickle.loads(pickle.dumps(data["resilient"])) is None
    multiprocessing.spawn._fixup_main_from_path(str(run.folder / "film.py"))  # noqa: SLF001 - what a child calls
    assert sys.modules["__main__"] is sys.modules["__mp_main__"]
    assert sys.modules["__main__"].f() == ("__mp_main__", "__main__:f")
    multiprocessing.spawn._fixup_main_from_name("studio.film")  # noqa: SLF001 - as above
    assert sys.modules["__main__"].f() == ("__mp_main__", "__main__:f")
    main = sys.modules["__main__"]
    multiprocessing.spawn._fixup_main_from_name("studio.__main__")  # noqa: SLF001 - as above
    assert sys.modules["__main__"] is main
    assert len(multiprocessing.spawn.old_main_modules) == 2
