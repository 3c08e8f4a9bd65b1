"""
A program's modules may be called as those that the command is made of: each side gets its own.
"""

from __future__ import annotations

import colorsys
import multiprocessing.spawn
import sys
import types
from pathlib import Path

import pytest

from resilient.command import apart, step_aside
from tests.command_line import command_line
from tests.programs import ROOT, governed, start

POLICIES = """
[functions]
"__main__:flaky" = { retry = { max_attempts = 3, initial_delay = 0 } }
"""

PROGRAM = """
calls = 0

def flaky():
    global calls
    calls += 1
    if calls < 3:
        raise ConnectionError("busy")
    return calls

if __name__ == "__main__":
    print(flaky())
"""

SPAWNING = f"""
import difflib, multiprocessing, sys, tenacity
{PROGRAM.partition("if __name__")[0]}

def show():
    print(flaky(), difflib.FILE, tenacity.FILE, sys.path[0])

def start(method):
    process = multiprocessing.get_context(method).Process(target=show)
    process.start()
    process.join()

if __name__ == "__main__":
"""

# Of the standard library, of what the library depends on, and of what those load.
NAMES = (
    *("argparse", "ast", "asyncio", "contextvars", "dataclasses", "datetime", "difflib", "email", "enum", "json"),
    *("logging", "pathlib", "pkgutil", "pybreaker", "random", "re", "redis", "secrets", "structlog", "tenacity"),
    *("tomllib", "traceback", "typing", "uuid", "wrapt"),
)


@pytest.fixture
def folder(tmp_path):
    """
    A folder in which no module of such a name may be imported but by those who want it.
    """
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"print('the program has its own {name}')\n")
    (tmp_path / "policies.toml").write_text(POLICIES)
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


@pytest.mark.parametrize("words", [["program.py"], ["-m", "program"]], ids=" ".join)
def test_the_command_is_made_of_its_own_modules(folder, words):
    """
    What lies in the working folder is not imported unless the program imports it.
    """
    assert governed(folder, *words) == (0, "3\n", "")


def test_a_folder_is_a_program_with_modules_of_its_own(folder):
    """
    So does a folder with a ``__main__.py``, when the command is started elsewhere.
    """
    (folder / "__main__.py").write_text(PROGRAM + "    import random\n")
    (folder.parent / "policies.toml").write_text(POLICIES)

    told = "3\nthe program has its own random\n"
    assert governed(folder.parent, folder.name) == (0, told, "")


@pytest.mark.parametrize("question", [["check", "policies.toml"], ["explain", "--no-import", "program:flaky"]])
def test_other_commands_are_made_of_their_own_modules(folder, question):
    """
    Nor is anything imported to answer a question about the file of policies.
    """
    (folder / "resilient.toml").write_text(POLICIES)

    status, out, err = start(folder, "-m", "resilient", *question)

    assert (status, err) == (0, "")
    assert "the program" not in out


# Of Python, of this library's dependencies, and of a dependency's own; the others, and elsewhere, are slow together.
QUICK = {(".", "random"), (".", "wrapt"), ("film", "redis")}


@pytest.mark.parametrize(
    ("place", "name"),
    [
        pytest.param(place, name, marks=() if (place, name) in QUICK else pytest.mark.slow)
        for place in (".", "film")
        for name in ("difflib", "json", "pybreaker", "random", "redis", "secrets", "structlog", "wrapt")
    ],
)
def test_a_program_imports_the_modules_of_its_own_folder(tmp_path, place, name):
    """
    Wherever the command is started, and whatever it has loaded by that name.
    """
    film = tmp_path / place
    film.mkdir(exist_ok=True)
    (tmp_path / "policies.toml").write_text(POLICIES)
    (film / f"{name}.py").write_text("FILE = __file__\n")
    (film / "program.py").write_text(f"import {name}\ndef flaky(): return {name}.FILE\nprint(flaky())\n")
    program = str(Path(place, "program.py"))

    expected = start(tmp_path, program)
    assert expected[0] == 0
    assert governed(tmp_path, program) == expected


CHOOSING = """
import multiprocessing, sys
from random import pick

def show():
    print(pick(), sys.modules["random"].__file__)

if __name__ == "__main__":
    show()
    child = multiprocessing.get_context("spawn").Process(target=show)
    child.start()
    child.join()
"""


@pytest.fixture
def choosing(tmp_path):
    """
    A folder with a program whose module has the name of one of Python's, which the command has loaded by then.
    """
    film = tmp_path / "film"
    film.mkdir()
    policies = POLICIES.replace("__main__:flaky", "random:pick")
    (tmp_path / "policies.toml").write_text(f'import = ["owned"]\n{policies}')
    (film / "resilient.toml").write_text(policies)
    (film / "random.py").write_text(PROGRAM.partition("if __name__")[0].replace("flaky", "pick"))
    (film / "owned.py").write_text("")
    (film / "program.py").write_text(CHOOSING)
    return film


@pytest.mark.parametrize("place", [".", "film"])
def test_a_pattern_means_the_module_of_the_program(choosing, place):
    """
    In its processes too, wherever it is started; it is not looked for in Python's module of that name.
    """
    file = choosing / "random.py"
    words = ["--policies", "policies.toml", "film/program.py"] if place == "." else ["-m", "program"]
    ended = start(choosing.parent / place, "-m", "resilient", "run", "--strict", *words)

    assert ended == (0, f"3 {file}\n" * 2, "")


def test_a_pattern_is_checked_and_explained_by_the_module_of_the_program(choosing):
    """
    It is the module that the program will import.
    """
    checked = start(choosing, "-m", "resilient", "check", "--import", "--strict")
    explained = start(choosing, "-m", "resilient", "explain", "random:pick")

    assert checked == (0, "resilient.toml: 0 policies, 1 pattern, no problems\n", "")
    assert (explained.returncode, explained.stderr) == (0, "")
    assert "note" not in explained.stdout


@pytest.mark.parametrize("own", ["structlog", "random"])
def test_the_log_is_written_by_the_real_structlog(tmp_path, own):
    """
    Also where the program has a module of that name, or of one that structlog is made of.
    """
    (tmp_path / "policies.toml").write_text(POLICIES)
    (tmp_path / f"{own}.py").write_text("")
    (tmp_path / "program.py").write_text(f"import logging, {own}\nlogging.basicConfig(level=1)\n{PROGRAM}")

    status, out, err = governed(tmp_path, "program.py")

    assert (status, out) == (0, "3\n")
    assert err.count(":resilient:resilient.retry.scheduled ") == 2
    assert "Error:" not in err


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_processes_of_the_program_keep_both_apart_too(tmp_path, method):
    """
    A process that multiprocessing starts is governed by the library as it is, and imports the program's modules.
    """
    for name in ("dataclasses", "difflib", "tenacity", "tomllib", "wrapt"):
        (tmp_path / f"{name}.py").write_text("FILE = __file__")
    (tmp_path / "policies.toml").write_text(POLICIES)
    (tmp_path / "program.py").write_text(f"{SPAWNING}    start({method!r})\n")

    told = f"3 {tmp_path}/difflib.py {tmp_path}/tenacity.py {tmp_path}\n"
    assert governed(tmp_path, "program.py") == (0, told, "")


def test_packages_make_way_with_all_their_modules(tmp_path):
    """
    Where the program has a package of its own, no module of the other is left; a mere folder is no package.
    """
    for name in ("email", "calendar"):
        (tmp_path / name).mkdir()
    (tmp_path / "policies.toml").write_text(POLICIES)
    (tmp_path / "email" / "__init__.py").write_text("")
    (tmp_path / "email" / "utils.py").write_text("NAME = __name__, __file__")
    (tmp_path / "program.py").write_text(
        "import calendar, email.utils\ndef flaky(): pass\nprint(email.utils.NAME, calendar.__file__)\n"
    )

    expected = start(tmp_path, "program.py")
    assert expected[0] == 0
    assert governed(tmp_path, "program.py") == expected


def test_a_program_that_asked_for_no_folder_has_none(folder):
    """
    With ``-P`` nothing is imported from the program's folder, as without the command.
    """
    (folder / "program.py").write_text("import random\ndef flaky(): pass\nprint(random.__name__)\n")

    words = ["-P", "-m", "resilient", "run", "--policies", "policies.toml", "program.py"]
    assert start(folder, *words) == start(folder, "-P", "program.py") == (0, "random\n", "")


# -- Within this process ----------------------------------------------------------


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """
    A command line that has loaded a module of which the program has another one.
    """
    monkeypatch.setitem(sys.modules, "colorsys", colorsys)
    monkeypatch.setitem(sys.modules, "colorsys.part", colorsys)
    monkeypatch.setattr(apart, "BEFORE", frozenset(sys.modules) - {"colorsys"})
    with command_line(tmp_path, capsys, monkeypatch) as line:
        text = "import colorsys\nprint(colorsys.FILE)\ndef flaky(): pass\n"
        line.write({"resilient.toml": POLICIES, "film.py": text, "colorsys.py": "FILE = __file__"})
        yield line


def no_folder(monkeypatch):
    """
    Let it look as if Python had been started with ``-P``.
    """
    flags = {name: getattr(sys.flags, name) for name in dir(sys.flags) if not name.startswith("_")}
    monkeypatch.setattr(sys, "flags", types.SimpleNamespace(**{**flags, "safe_path": True}))


def test_nothing_is_looked_at_in_a_folder_that_nobody_asked_for(run, monkeypatch):
    """
    With ``-P`` no module of the working folder is imported, and so none is found there.
    """
    run.write(
        {"resilient.toml": '[functions]\n"studio:render" = { circuit = true }\n', "studio.py": "def render(): pass"}
    )
    no_folder(monkeypatch)
    status, out, _ = run("check", "--import")

    assert status == 1
    assert "there is no module 'studio'" in out


def test_what_the_command_has_loaded_makes_way(run):
    """
    The program's module is imported, and no part of the other one is left beside it.
    """
    assert run("run", "film.py")[1] == f"{run.folder}/colorsys.py\n"
    assert "colorsys.part" not in sys.modules


def test_what_was_there_before_the_command_stays(run, monkeypatch):
    """
    As Python keeps what it has loaded itself, before it looks at any program.
    """
    monkeypatch.setattr(apart, "BEFORE", frozenset(sys.modules))
    apart.make_way(str(run.folder))

    assert sys.modules["colorsys"] is colorsys


def test_a_child_that_asked_for_no_folder_keeps_what_is_loaded(run, monkeypatch):
    """
    The first place of its ``sys.path`` is not the program's folder.
    """
    main = run.folder / "film.py"
    main.write_text("import colorsys\ndef flaky(): pass\n")
    run("run", "film.py")
    monkeypatch.setitem(sys.modules, "colorsys", colorsys)
    monkeypatch.setattr(multiprocessing.spawn, "old_main_modules", [])
    begun, words = multiprocessing.spawn.get_preparation_data("child")["resilient"].__reduce__()
    no_folder(monkeypatch)
    begun(*words)
    multiprocessing.spawn._fixup_main_from_path(str(main))  # noqa: SLF001 - what a child calls

    assert sys.modules["__mp_main__"].colorsys is colorsys


def test_the_command_steps_aside(monkeypatch):
    """
    The script's folder is the first place then, unless the library itself is in the working folder, or no folder is.
    """

    def first(place):
        monkeypatch.setattr(sys, "path", [str(place), "rest"])
        step_aside()
        return sys.path

    assert first("work") == [str(Path(sys.executable).parent), "rest"]
    assert first(ROOT) == [str(ROOT), "rest"]
    no_folder(monkeypatch)
    assert first("work") == ["work", "rest"]
