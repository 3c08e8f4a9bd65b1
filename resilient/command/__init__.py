"""
The command line: ``resilient run``, ``resilient check`` and ``resilient explain``.
"""

from __future__ import annotations

import os
import sys

__all__: list[str] = []

BEFORE = frozenset(sys.modules)
"""The names of the modules that were there before the command loaded any."""


def step_aside() -> None:
    """
    Let the command be made of its own modules, where Python would look into the working folder first.

    In place of that folder comes the one that the script ``resilient`` has there. A library that is itself found in the
    working folder stays: what it depends on may lie there too.
    """
    # Of the modules that may lie there, these lines load none: `os` is built in.
    ours = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))  # noqa: PTH120 - pathlib would be loaded
    if not sys.flags.safe_path and os.path.realpath(sys.path[0]) != os.path.realpath(ours):
        sys.path[0] = os.path.dirname(sys.executable)  # noqa: PTH120 - as above
