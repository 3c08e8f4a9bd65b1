"""
The modules of this command and those of the program, kept apart where both have one of the same name.

Python looks into the program's folder first. So a program may have a ``random.py``
of its own, and is to find that one, whatever the command has loaded by then; and
the command is to find Python's, whatever lies in the program's folder.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import FrozenImporter, PathFinder

import resilient
from resilient.command import BEFORE
from resilient.logs import load_structlog

__all__ = ["make_way"]

# What the library loads when it is first needed, and by then the program's folder is the first to be searched.
_LATER = ("difflib", "email.utils", "json")


def make_way(folder: str) -> None:
    """
    Let the program import what *folder* has, in place of modules of the same name that only the command has loaded.

    What the command itself may still need is loaded before; where no names clash, nothing is.

    Args:
        folder: Where the program's modules are to be looked for first, from now on.
    """
    if not _clashes(folder, {*sys.stdlib_module_names, *sys.modules, "structlog"}):
        return
    for name in resilient.__all__:
        getattr(resilient, name)
    for name in _LATER:
        importlib.import_module(name)
    load_structlog()
    for clash in _clashes(folder, set(sys.modules) - BEFORE):
        for name in [name for name in sys.modules if name == clash or name.startswith(f"{clash}.")]:
            del sys.modules[name]


def _clashes(folder: str, names: set[str]) -> list[str]:
    """
    Return those of *names* by which Python would import a module of *folder*, and not the one that is loaded.
    """
    found = []
    for name in names:
        # What is built into the interpreter comes before any folder.
        if "." in name or name in sys.builtin_module_names or FrozenImporter.find_spec(name) is not None:
            continue
        spec = PathFinder.find_spec(name, [folder])
        # Without a file it is a mere folder of this name: a module from anywhere comes before that.
        if spec is None or spec.origin is None:
            continue
        if spec.origin != getattr(sys.modules.get(name), "__file__", None):
            found.append(name)
    return found
