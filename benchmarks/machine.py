"""
What the numbers were measured on.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["machine", "versions"]

_PACKAGES = (
    "resilient-aspects",
    "wrapt",
    "tenacity",
    "pybreaker",
    "structlog",
    "stamina",
    "backoff",
    "circuitbreaker",
    "hyx",
    "pyresilience",
)


def machine() -> str:
    """
    Return processor, cores, system and Python in one line.
    """
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, {python}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def versions() -> dict[str, str]:
    """
    Return the versions of the measured packages that are installed.
    """
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
