"""
The time that ``import resilient`` takes.
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

_BASE = "wrapt, tenacity, pybreaker"

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
    modules = {"resilient": OURS, _BASE: _BASE, "asyncio": "asyncio"}
    if with_peers:
        modules |= {"structlog": "structlog"} | {code: name for name, code in peers.installed().items()}
    with TemporaryDirectory() as bytecode:
        starts = _starter(bytecode)
        cases = [Case(name, starts(f"import {name}"), count=1, samples=2) for name in modules]
        race = watch.race("imports", [Case("nothing", starts(""), count=1, samples=2), *cases])
    taken = {name: race.seconds[name] - race.seconds["nothing"] for name in modules}
    base = taken[_BASE]
    return [
        Result(f"import {name}", taken[name] / base, "x", taken[name], "import" if who == OURS else None, who)
        for name, who in modules.items()
    ]
