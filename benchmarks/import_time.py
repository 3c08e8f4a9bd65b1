"""
The time that importing the library takes: its decorators, and everything.
"""

from __future__ import annotations

import os
import subprocess
import sys
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks import peers
from benchmarks.results import OURS, Result
from benchmarks.stopwatch import Case

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.stopwatch import Stopwatch

__all__ = ["QUESTION", "ask"]

QUESTION = "import_time"

_BASE = "import wrapt, tenacity, pybreaker"

# A name of `resilient` is loaded when it is asked for: what is bounded is what everybody asks for.
_DECORATORS = "from resilient import circuit, degradable, fallback_chain, recoverable, retry"
_ALL = "from resilient import *"

# pybreaker and tenacity look for these, and would bring them into the sum where
# a developer has them; most users do not.
_HIDDEN = "import sys; sys.modules.update(dict.fromkeys(('redis', 'tornado')));"


def _starter(bytecode: str) -> Callable[[str], Callable[[int], None]]:
    """
    Return what makes fresh interpreters run some code, with compiled modules kept in the folder *bytecode*.

    Installed packages are compiled when they are installed; a checkout may not
    be, and then its import would be measured together with the compiler.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}

    def starts(code: str) -> Callable[[int], None]:
        command = [sys.executable, "-c", _HIDDEN + code]

        def start(_: int) -> None:
            subprocess.run(command, check=True, env=environment)  # noqa: S603 - our own interpreter, our own code

        return start

    return starts


def ask(watch: Stopwatch, *, with_peers: bool) -> list[Result]:
    """
    Measure fresh interpreters that import a library, over ones that import nothing.
    """
    imports = {"import resilient": OURS, _DECORATORS: OURS, _ALL: OURS}
    imports |= {_BASE: "wrapt, tenacity, pybreaker", "import asyncio": "asyncio"}
    if with_peers:
        imports |= {"import structlog": "structlog"}
        imports |= {f"import {modules}": name for name, modules in peers.installed().items()}
    with TemporaryDirectory() as bytecode:
        starts = _starter(bytecode)
        cases = [Case(code, starts(code), count=1, samples=2) for code in imports]
        race = watch.race("imports", [Case("nothing", starts(""), count=1, samples=2), *cases])
    taken = {code: race.seconds[code] - race.seconds["nothing"] for code in imports}
    return [
        Result(code, taken[code] / taken[_BASE], "x", taken[code], "import" if code == _DECORATORS else None, who)
        for code, who in imports.items()
    ]
