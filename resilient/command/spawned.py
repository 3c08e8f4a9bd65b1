"""
Where a process that multiprocessing starts afresh comes in, past the modules that lie in its working folder.
"""

from __future__ import annotations

import sys

from resilient.command import step_aside

__all__ = ["begin"]


def begin(policies: str, folder: str) -> None:
    """
    Put *policies* in force in this process, before its program is loaded.

    Args:
        policies: The file of policies.
        folder: Where the program's modules are looked for first.
    """
    path = list(sys.path)
    step_aside()
    try:
        from resilient.command.children import prepare

        prepare(policies, folder)
    finally:
        sys.path[:] = path
