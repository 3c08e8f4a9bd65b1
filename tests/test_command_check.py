"""
``resilient check`` tells everything that is wrong with a file of policies, each with its line.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from resilient.command.check import problems_of
from resilient.command.main import show
from resilient.declared.model import Problem
from resilient.errors import PolicyError
from tests.command_line import command_line

GOOD = """\
[policies.patient]
retry = { max_attempts = 4, initial_delay = "500ms" }
circuit = {}
[functions]
"studio.video:render_*" = "patient"
"""

WRONG = """\
[policies.patient]
retry = { max_atempts = 4, initial_delay = "soon" }
extends = "patinet"
[functions]
"studio.video:render_*" = "patiet"
"""


@pytest.fixture
def check(tmp_path, capsys, monkeypatch):
    """
    Return a command line in a folder of its own.
    """
    with command_line(tmp_path, capsys, monkeypatch) as line:
        yield line


def test_a_good_file_is_counted(check):
    """
    The status is 0, and one line says what is in it.
    """
    check.write({"resilient.toml": GOOD})

    assert check("check") == (0, "resilient.toml: 1 policy, 1 pattern, no problems\n", "")
    assert check("check", "resilient.toml", "--strict")[0] == 0


def test_every_problem_is_a_line_with_its_place(check):
    """
    Problems come in the order of the file, as file:line: key: what is wrong; the status is 1.
    """
    check.write({"studio.toml": WRONG})

    status, out, err = check("check", "studio.toml")

    lines = out.splitlines()
    assert (status, err) == (1, "")
    assert [line.split(": ")[:2] for line in lines[:-1]] == [
        ["studio.toml:2", "policies.patient.retry.max_atempts"],
        ["studio.toml:2", "policies.patient.retry.initial_delay"],
        ["studio.toml:3", "policies.patient.extends"],
        ["studio.toml:5", 'functions."studio.video:render_*"'],
    ]
    assert "did you mean 'max_attempts'?" in lines[0]
    assert "soon" not in out
    assert lines[-1] == "studio.toml: 1 policy, 1 pattern, 4 problems"


def test_advice_is_a_warning_and_a_problem_when_strict(check):
    """
    Warnings come after the problems; with --strict they make the status 1.
    """
    check.write({"studio.toml": GOOD + "[policies.spare]\nretry = true\n"})

    status, out, _ = check("check", "studio.toml")

    assert status == 0
    assert out.splitlines()[0].startswith("studio.toml:6: warning: policies.spare: ")
    assert out.splitlines()[-1] == "studio.toml: 2 policies, 1 pattern, no problems, 1 warning"
    assert check("check", "studio.toml", "--strict")[0] == 1


def test_json_has_file_and_line_apart(check):
    """
    With --json the answer is one object, for good files and for wrong ones.
    """
    check.write({"studio.toml": WRONG, "good.toml": GOOD, "broken.toml": "x = [\n"})

    status, out, _ = check("check", "studio.toml", "--json")
    told = json.loads(out)
    assert status == 1
    assert (told["file"], told["ok"], told["policies"], told["patterns"]) == (
        "studio.toml",
        False,
        ["patient"],
        ["studio.video:render_*"],
    )
    assert told["problems"][2] == {
        "file": "studio.toml",
        "line": 3,
        "key": "policies.patient.extends",
        "text": "there is no policy of this name; did you mean 'patient'?",
    }
    assert json.loads(check("check", "good.toml", "--json")[1])["ok"] is True
    broken = json.loads(check("check", "broken.toml", "--json")[1])
    assert (broken["ok"], broken["policies"], broken["problems"][0]["key"]) == (False, [], "")


def test_a_broken_file_is_told_with_its_line(check):
    """
    A text that is no TOML has one problem.
    """
    check.write({"studio.toml": "[policies.a]\nretry = [\n"})

    status, out, _ = check("check", "studio.toml")

    assert status == 1
    assert out.startswith("studio.toml:")
    assert out.endswith("studio.toml: 1 problem\n")


def test_a_file_that_is_not_there_is_wrong_usage(check, monkeypatch):
    """
    The status is 2, and the message is on standard error.
    """
    assert check("check", "gone.toml") == (2, "", "resilient: there is no file 'gone.toml'\n")
    monkeypatch.setenv("RESILIENT_CONFIG", str(check.folder / "none.toml"))
    assert check("check") == (2, "", "resilient: there is no file 'none.toml'\n")
    monkeypatch.delenv("RESILIENT_CONFIG")
    monkeypatch.setattr("resilient.declared.reading.find", lambda: None)
    assert check("check") == (2, "", "resilient: no policies found; name the file, or call it resilient.toml\n")


def test_what_the_environment_says_is_checked_too(check, monkeypatch):
    """
    A malformed variable is a problem of its own name.
    """
    check.write({"studio.toml": GOOD})
    monkeypatch.setenv("RESILIENT_POLICIES__PATIENT__RETRY__MAX_ATTEMPTS", "many")

    status, out, _ = check("check", "studio.toml")

    assert status == 1
    assert out.startswith("RESILIENT_POLICIES__PATIENT__RETRY__MAX_ATTEMPTS: policies.patient.retry")
    [problem] = json.loads(check("check", "studio.toml", "--json")[1])["problems"]
    assert (problem["file"], problem["line"]) == ("RESILIENT_POLICIES__PATIENT__RETRY__MAX_ATTEMPTS", None)


def test_nothing_is_imported_unless_asked(check):
    """
    Without --import the modules that the file names are not looked at.
    """
    check.write({"studio.toml": '[functions]\n"trap_a:f" = { circuit = {} }\n', "trap_a.py": "raise SystemExit\n"})

    assert check("check", "studio.toml")[0] == 0
    assert "trap_a" not in sys.modules
    status, out, _ = check("check", "studio.toml", "--import")
    assert status == 1
    assert out.startswith("studio.toml:2: functions.\"trap_a:f\": importing 'trap_a' raised SystemExit\n")


def test_imported_modules_tell_what_is_not_there(check):
    """
    With --import missing modules and references that lead nowhere are problems; what modules print is not ours.
    """
    check.write({
        "studio.toml": """\
            [policies.a]
            fallback_chain = ["engine_b:crad"]
            [policies.b]
            fallback_chain = ["__main__:card"]
            [functions]
            "engine_b:*" = "a"
            "gone_b:render" = "b"
            "gone_b.*:render" = "b"
            "package_b.*:render" = { circuit = true }
            "*:render" = { circuit = true }
            "__main__:render" = { circuit = true }
        """,
        "engine_b.py": "print('noise')\ndef render(): pass\ndef card(): pass\n",
        "package_b/__init__.py": "",
        "package_b/broken.py": "raise ValueError('password=hunter2')\n",
        "package_b/__main__.py": "raise SystemExit\n",
    })  # fmt: skip

    status, out, err = check("check", "studio.toml", "--import")

    assert (status, err) == (1, "noise\n")
    shorter = out.replace("password=", "").replace("'engine_b' has no attribute 'crad'", "lost")
    assert shorter.splitlines()[:-1] == [
        "studio.toml:7: functions.\"gone_b:render\": there is no module 'gone_b'",
        "studio.toml:8: functions.\"gone_b.*:render\": there is no module 'gone_b'",
        "studio.toml:9: functions.\"package_b.*:render\": importing 'package_b.broken' raised ValueError: [redacted]",
        "studio.toml:2: policies.a.fallback_chain.entries.0: reference 'engine_b:crad': lost; did you mean 'card'?",
    ]


def test_patterns_that_match_nothing_are_warnings(check):
    """
    With --import each pattern is looked for; a program's own functions are there only when it runs.
    """
    check.write({
        "studio.toml": """\
            [functions]
            "engine_c:render" = { circuit = true }
            "engine_c:rendre" = { circuit = true }
            "engine_c:Engine.level" = { circuit = true }
            "engine_c:frames" = { circuit = true }
            "package_c.*:make" = { circuit = true }
            "engine_c.*:x" = { circuit = true }
            "__main__:make" = { circuit = true }
        """,
        "engine_c.py": """\
            import warnings
            warnings.warn("not about policies")
            def render(): pass
            def frames(): yield 1
            class Engine:
                @property
                def level(self): pass
        """,
        "package_c/__init__.py": "",
        "package_c/part.py": "def make(): pass\n",
    })  # fmt: skip

    status, out, _ = check("check", "studio.toml", "--import")

    lines = out.splitlines()
    assert status == 0
    assert lines[0] == (
        "studio.toml:3: warning: functions.\"engine_c:rendre\": matches no function; did you mean 'render'?"
    )
    assert lines[1].startswith('studio.toml:4: warning: functions."engine_c:Engine.level": a property')
    assert lines[2].startswith('studio.toml:5: warning: functions."engine_c:frames": ')
    assert lines[3] == 'studio.toml:7: warning: functions."engine_c.*:x": matches no function'
    assert lines[4:] == ["studio.toml: 0 policies, 7 patterns, no problems, 4 warnings"]
    assert check("check", "studio.toml", "--import", "--strict")[0] == 1


def test_policies_that_a_function_cannot_carry_are_problems(check):
    """
    With --import policies are put where they belong, and what that brings up is told.
    """
    check.write({
        "studio.toml": '[functions]\n"engine_d:render" = { fallback_chain = ["engine_d:card"] }\n',
        "engine_d.py": "def render(): pass\nasync def card(): pass\n",
    })  # fmt: skip

    status, out, _ = check("check", "studio.toml", "--import")

    assert status == 1
    assert "is async and engine_d:render is not" in out


def test_functions_that_hold_the_raw_one_are_told(check):
    """
    With --import somebody who has taken a function before is a warning of its own, without a line.
    """
    check.write({
        "studio.toml": '[functions]\n"engine_e:render" = { circuit = true }\n"user_e:*" = { circuit = true }\n',
        "engine_e.py": "def render(): pass\nimport user_e\n",
        "user_e.py": "from engine_e import render\ndef f(): pass\n",
    })  # fmt: skip

    status, out, _ = check("check", "studio.toml", "--import")

    assert status == 0
    assert "studio.toml: warning: 1 reference was taken before weaving" in out
    assert "engine_e:render in user_e as 'render'" in out


def test_who_takes_a_function_from_its_module_is_not_told(check):
    """
    With --import modules get what they get in a program that is run: a re-export is the guarded function.
    """
    check.write({
        "studio.toml": '[functions]\n"package_f.core:render" = { circuit = true }\n',
        "package_f/__init__.py": "from package_f.core import render\nTABLE = {'render': render}\n",
        "package_f/core.py": "def render(): pass\n",
    })  # fmt: skip

    assert check("check", "studio.toml", "--import", "--strict") == (
        0,
        "studio.toml: 0 policies, 1 pattern, no problems\n",
        "",
    )


def test_a_pattern_for_a_re_export_is_told_what_to_write(check):
    """
    With --import a warning has the name that the function itself has, as weaving says it.
    """
    check.write({
        "studio.toml": '[functions]\n"package_g:render" = { circuit = true }\n"package_g*:make" = { circuit = true }\n',
        "package_g/__init__.py": "from package_g.core import render\n",
        "package_g/core.py": "def render(): pass\n",
    })  # fmt: skip

    lines = check("check", "studio.toml", "--import")[1].splitlines()

    write = "that is 'package_g.core:render', so write that"
    assert lines[:2] == [
        f'studio.toml:2: warning: functions."package_g:render": matches no function: {write}',
        'studio.toml:3: warning: functions."package_g*:make": matches no function',
    ]


def test_a_pattern_may_begin_a_modules_name(check):
    """
    With --import the modules of the working folder that it means are imported, and no others.
    """
    check.write({
        "studio.toml": """\
            [functions]
            "film_*:make" = { circuit = true }
            "film_*.core:render" = { circuit = true }
            "*:nowhere_to_be_found" = { circuit = true }
        """,
        "film_a.py": "def make(): pass\n",
        "film_b/__init__.py": "",
        "film_b/core.py": "def render(): pass\n",
        "other_film.py": "raise SystemExit\n",
    })  # fmt: skip

    status, out, _ = check("check", "studio.toml", "--import")

    assert status == 0
    text = "matches no function of the modules that are imported; it names none to look in"
    assert [line for line in out.splitlines() if "functions." in line] == [
        f'studio.toml:4: warning: functions."*:nowhere_to_be_found": {text}'
    ]
    assert "other_film" not in sys.modules


def test_policies_for_a_module_that_is_there_already_are_problems(check):
    """
    With --import what weaving raises at once is told as what it finds later.
    """
    check.write({
        "studio.toml": '[functions]\n"engine_h:render" = { fallback_chain = ["engine_h:card"] }\n',
        "engine_h.py": "def render(): pass\nasync def card(): pass\n",
    })  # fmt: skip
    check.monkeypatch.syspath_prepend(check.folder)
    importlib.import_module("engine_h")

    status, out, _ = check("check", "studio.toml", "--import")

    assert status == 1
    assert out.startswith("studio.toml: policies of engine_h:render: ")
    assert "is async and engine_h:render is not" in out
    assert out.endswith("1 pattern, 1 problem\n")


def test_an_error_is_taken_apart():
    """
    Of a file's problem the place, the key and the sentence are known; of anything else only the sentence.
    """
    error = PolicyError(
        "a.toml", ['a.toml:3: policies."a b".retry: is wrong: so', "a.toml: cannot be read: no", "else"]
    )

    assert problems_of(error) == [
        Problem("a.toml:3", 'policies."a b".retry', "is wrong: so"),
        Problem("a.toml", "", "cannot be read: no"),
        Problem("a.toml", "", "else"),
    ]
    assert problems_of(PolicyError("nothing more")) == [Problem("", "", "nothing more")]


def test_the_command_explains_itself(check, capsys):
    """
    Without a command there is help and status 2; each command has examples; the version is that of the package.
    """
    status, out, err = check()
    assert (status, out) == (2, "")
    assert "resilient run --help" in err
    for command in ("run", "check", "explain"):
        with pytest.raises(SystemExit) as stop:
            check(command, "--help")
        assert stop.value.code == 0
        assert "examples:" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        check("chekc")
    assert stop.value.code == 2
    assert check("--version")[1].startswith("resilient 0.")


def test_a_reader_that_is_gone_is_no_error(monkeypatch):
    """
    What is left to print goes nowhere.
    """
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        show("an answer")
        show("another")


def test_a_reader_may_stop_early(tmp_path):
    """
    ``resilient check | head`` ends without a traceback.
    """
    script = "import sys; from resilient.command.main import main; input(); sys.exit(main(['check', sys.argv[1]]))"
    path = tmp_path / "a.toml"
    path.write_text(GOOD, encoding="utf-8")
    root = Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.close()
        process.stdin.write("go on\n")
        process.stdin.close()
        err = process.stderr.read()

    assert (process.returncode, err) == (0, "")
