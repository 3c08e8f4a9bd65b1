"""
Programs in processes of their own: as they are, and by ``resilient run``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
ENVIRON = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


class Ended(NamedTuple):
    """
    What a shell sees of a program.
    """

    returncode: int
    stdout: Any
    stderr: Any


def start(folder, *words, env=ENVIRON, text=True, **more):
    """
    Start an interpreter in *folder*, and return how it ended.
    """
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=env, capture_output=True, text=text, check=False, timeout=60, **more
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def governed(folder, *words, options=(), **more):
    """
    Do the same by ``resilient run``, under the ``policies.toml`` of *folder*.
    """
    return start(folder, "-m", "resilient", "run", "--policies", "policies.toml", *options, *words, **more)
