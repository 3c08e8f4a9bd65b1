"""
The command line within this process, and everything that it changes put back.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import sys
import textwrap
from multiprocessing import spawn

from resilient import unweave
from resilient.command.main import main
from resilient.command.rewriting import GOVERNOR
from resilient.testing import isolated_registry


class CommandLine:
    """
    A folder with files, the working folder of the command; what it prints and returns.

    Args:
        folder: The folder.
        capsys: pytest's.
        monkeypatch: pytest's.
    """

    def __init__(self, folder, capsys, monkeypatch):
        self.folder = folder
        self.capsys = capsys
        self.monkeypatch = monkeypatch
        self.at_exit = []

    def write(self, files):
        """
        Write *files*, texts by name.
        """
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        return self.folder

    def __call__(self, *words):
        """
        Return status, standard output and standard error of ``resilient`` *words*.
        """
        self.capsys.readouterr()
        status = main(words)
        return status, *self.capsys.readouterr()


@contextlib.contextmanager
def command_line(folder, capsys, monkeypatch):
    """
    Give a command line that leaves no trace in this process.
    """
    before = set(sys.modules)
    line = CommandLine(folder, capsys, monkeypatch)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("RESILIENT_CONFIG", raising=False)
    monkeypatch.setattr(sys, "path", ["the command's own folder", *sys.path])
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(builtins, GOVERNOR, None, raising=False)
    monkeypatch.setattr(atexit, "register", line.at_exit.append)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    for name in ("get_preparation_data", "_fixup_main_from_path", "_fixup_main_from_name"):
        monkeypatch.setattr(spawn, name, getattr(spawn, name))
    with isolated_registry():
        yield line
        unweave()
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if name == "__mp_main__" or (file and file.startswith(str(folder))):
            del sys.modules[name]
