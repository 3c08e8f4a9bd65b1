"""
The program ``-`` is read from standard input, as by Python.
"""

from __future__ import annotations

import io
import sys

import pytest

from tests.command_line import command_line
from tests.programs import start

POLICIES = '[functions]\n"__main__:*" = { circuit = true }\n'

FACTS = """
import sys

def f():
    raise ValueError("no film")

print(sys.argv, repr(sys.path[0]), __file__, __spec__, __package__, __loader__, __cached__, repr(sys.stdin.read()))
f()
"""


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """
    A command line with a file of policies.
    """
    with command_line(tmp_path, capsys, monkeypatch) as line:
        line.write({"resilient.toml": POLICIES})
        yield line


class Input(io.TextIOWrapper):
    """
    Standard input with a program.
    """

    def __init__(self, text, *, terminal=False):
        super().__init__(io.BytesIO(text.encode()))
        self._terminal = terminal

    def isatty(self):
        return self._terminal


@pytest.mark.parametrize("program", [FACTS, "def f(): pass\nx = (\n", "def f(): pass\n\0\n"])
def test_a_program_from_standard_input_ends_as_it_does_without(run, program):
    """
    Status, output, tracebacks and what it knows of itself are Python's.
    """
    how = {"input": program.encode(), "text": False}

    expected = start(run.folder, "-", "one", "--two", **how)
    assert start(run.folder, "-m", "resilient", "run", "-", "one", "--two", **how) == expected


def test_its_functions_are_governed(run, monkeypatch):
    """
    They are those of ``__main__``.
    """
    monkeypatch.setattr(sys, "stdin", Input("def f(): pass\nprint(f.resilience.name, __file__)\n"))

    assert run("run", "-", "--report") == (0, "__main__:f <stdin>\n", "")
    assert sys.path[0] == ""


def test_a_closed_input_is_an_empty_program(run, monkeypatch):
    """
    As it is to Python.
    """
    monkeypatch.setattr(sys, "stdin", None)

    assert run("run", "-") == (0, "", "")


def test_a_terminal_is_refused(run, monkeypatch):
    """
    There is no prompt under policies, and the message says so.
    """
    monkeypatch.setattr(sys, "stdin", Input("", terminal=True))

    status, out, err = run("run", "-")

    assert (status, out) == (2, "")
    assert "no prompt" in err
