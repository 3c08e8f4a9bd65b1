"""
A program that cannot be read is told of as Python tells of it, with its file.
"""

from __future__ import annotations

import sys

import pytest

from tests.command_line import command_line
from tests.programs import governed, start

POLICIES = '[functions]\n"film.scene:*" = { circuit = true }\n'

# Told by Python in the very same words.
SAME = {
    "null byte": b"x = 1\ny = \0 2\n",
    "null byte first": b"\0x = 1\n",
    "null byte in a text": b'x = 1\ny = "a\0b"\n',
    "null byte before what is no UTF-8": b"x = 1\n\0\n# \xe4\n",
    "no UTF-8": b'x = 1\ny = "\xe4"\n',
    "no UTF-8 in a comment": b"x = 1\n# \xe4\n",
    "no UTF-8 before a null byte": b"x = 1\n# \xe4\n\0",
    "UTF-8 that is cut": b"x = 1\n# \xe2\x82",
    "UTF-16": "print(1)\n".encode("utf-16"),
    "UTF-8 as declared": b'# coding: utf-8\nx = "\xe4"\n',
    "declared on the second line": b'#!/usr/bin/python\n# -*- coding: utf-8 -*-\nx = "\xe4"\n',
    "declared too late": b'x = 1\n# coding: latin-1\ny = "\xe4"\n',
    "no Latin-1": b'# coding: latin-1\nx = "\xe4" +\n',
    "too deep": b"x = " + b"-" * 100_000 + b"1\n",
}

# Python says here only what, and not where.
NAMED = {
    "unknown encoding": b"# coding: nonsense\nx = 1\n",
    "no text encoding": b"# coding: hex\nx = 1\n",
    "not as declared": b'# coding: ascii\nx = "\xe4"\n',
    "twice declared": b"\xef\xbb\xbf# coding: latin-1\nx = 1\n",
}


@pytest.fixture(autouse=True)
def _policies(tmp_path):
    (tmp_path / "policies.toml").write_text(POLICIES)


@pytest.mark.parametrize("source", SAME.values(), ids=SAME)
def test_a_broken_program_is_told_of_as_without(tmp_path, source):
    """
    Its file, its line and the reason are Python's.
    """
    (tmp_path / "program.py").write_bytes(source)

    expected = start(tmp_path, "program.py")
    assert expected[0] == 1
    assert governed(tmp_path, "program.py") == expected


@pytest.mark.parametrize("source", NAMED.values(), ids=NAMED)
def test_a_program_in_a_wrong_encoding_is_named(tmp_path, source):
    """
    Where Python names no file, the command does.
    """
    program = tmp_path / "program.py"
    program.write_bytes(source)

    status, out, err = governed(tmp_path, "program.py")

    assert (status, out) == start(tmp_path, "program.py")[:2] == (1, "")
    assert err.startswith(f'  File "{program}", line ')
    assert "\nSyntaxError: " in err


@pytest.mark.parametrize("source", [b"# coding: latin-1\nprint(ascii('\xe4'))", b"\xef\xbb\xbfprint(1)\n", b""])
def test_a_program_in_an_encoding_of_its_own_runs(tmp_path, source):
    """
    What it declares is what it is read in.
    """
    (tmp_path / "program.py").write_bytes(source)

    expected = start(tmp_path, "program.py")
    assert expected[0] == 0
    status, out, _ = governed(tmp_path, "program.py")
    assert (status, out) == expected[:2]


@pytest.mark.parametrize("source", ["x = (\n", "# coding: nonsense\n", "raise ValueError('no film')\n"])
def test_a_module_that_cannot_be_loaded_is_told_of_without_our_frames(tmp_path, source):
    """
    Nor are there any where a package around it fails.
    """
    (tmp_path / "film").mkdir()
    (tmp_path / "film" / "__init__.py").write_text(source)
    (tmp_path / "film" / "scene.py").write_text("")

    status, out, err = governed(tmp_path, "-m", "film.scene")
    expected = start(tmp_path, "-m", "film.scene")

    # The interpreter's own first step stands above that.
    first, _, rest = expected[2].partition("in _run_module_as_main\n")
    assert rest
    assert (status, out, err) == (*expected[:2], first.splitlines(keepends=True)[0] + rest)


# -- Within this process ----------------------------------------------------------


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """
    A command line with a file of policies.
    """
    with command_line(tmp_path, capsys, monkeypatch) as line:
        line.write({"resilient.toml": POLICIES})
        yield line


@pytest.mark.parametrize("source", [SAME["null byte"], SAME["no UTF-8 in a comment"], SAME["UTF-8 as declared"]])
def test_what_cannot_be_read_is_a_syntax_error(run, source):
    """
    It ends the program before its first line.
    """
    (run.folder / "film.py").write_bytes(b"print('begun')\n" * source.startswith(b"x") + source)

    with pytest.raises(SyntaxError):
        run("run", "film.py")
    assert run.capsys.readouterr().out == ""


def test_a_package_that_fails_ends_the_command(run):
    """
    As it would end Python.
    """
    run.write({"film/__init__.py": "raise ValueError('no film')\n", "film/scene.py": ""})

    with pytest.raises(ValueError, match="no film"):
        run("run", "-m", "film.scene")
    assert sys.excepthook is not sys.__excepthook__
