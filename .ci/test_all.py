"""
Run the tests on every CPython from 3.11 to 3.13 that runs here, and once at the lowest dependency versions.

The arguments are handed on to pytest. What ran, what was skipped and why is
said at the end; the exit code is 0 when all that ran passed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MINORS = (11, 12, 13)


@dataclass(frozen=True, slots=True)
class Run:
    """
    One run of the tests: its name, its interpreter, and whether dependencies are the lowest admitted.
    """

    name: str
    python: str
    lowest: bool = False


def runs(python: str, minor: int) -> bool:
    """
    Tell whether *python* really starts and is CPython 3.*minor*.

    A file of that name proves little: version managers put stand-ins for
    versions that are not installed.
    """
    probe = f"import sys; sys.exit(sys.version_info[:2] != (3, {minor}) or sys.implementation.name != 'cpython')"
    try:
        return subprocess.run([python, "-c", probe], capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def find(minor: int) -> tuple[str | None, str]:
    """
    Return an interpreter for 3.*minor*, or None and why there is none.
    """
    name = f"python3.{minor}"
    on_path = shutil.which(name)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    kept = sorted(map(str, pyenv.glob(f"versions/3.{minor}.*/bin/{name}")), reverse=True)
    for python in ([on_path] if on_path else []) + kept:
        if runs(python, minor):
            return python, ""
    return None, f"{on_path} does not run" if on_path else f"no {name} on PATH"


def call(*command: str | Path) -> bool:
    """
    Run *command* in the project's root and tell whether it succeeded.
    """
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test(run: Run, pytest_args: list[str]) -> str:
    """
    Set up the environment of *run*, run the tests in it and return how it went.
    """
    print(f"\n=== {run.name}: {run.python}", flush=True)
    venv = ROOT / ".venvs" / run.name.replace(" ", "-")
    python = venv / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--editable", ".[dev]"]
    if run.lowest:
        constraints = ROOT / ".venvs" / "lowest.txt"
        constraints.parent.mkdir(exist_ok=True)
        printed = subprocess.run([sys.executable, ".ci/lowest_versions.py"], cwd=ROOT, check=True, capture_output=True)
        constraints.write_bytes(printed.stdout)
        print("with", ", ".join(printed.stdout.decode().split()), flush=True)
        install += ["--constraint", constraints]
    if not (call(".ci/venv", venv, run.python) and call(*install)):
        return "FAILED to install"
    return "passed" if call(python, "-m", "pytest", *pytest_args) else "FAILED"


def main() -> int:
    """
    Run all there is to run, and print the summary.
    """
    found: list[Run] = []
    skipped: list[str] = []
    for minor in MINORS:
        python, reason = find(minor)
        if python is None:
            skipped.append(f"skipped: Python 3.{minor}: {reason}")
        else:
            found.append(Run(f"Python 3.{minor}", python))
    if found:
        # The oldest Python: for the others the oldest releases may have no builds.
        found.append(Run(f"{found[0].name} lowest", found[0].python, lowest=True))
    else:
        skipped.append("skipped: lowest dependency versions: no Python to run them on")
    results = {run.name: test(run, sys.argv[1:]) for run in found}
    print("\n=== summary")
    for line in (*(f"{result}: {name}" for name, result in results.items()), *skipped):
        print(line)
    return 0 if found and all(result == "passed" for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
