"""
From a file to its tables: which file, how much of it, and where its text is broken.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from resilient.declared.lines import DEPTH, TooDeepError, last_key, locate
from resilient.declared.model import Problem
from resilient.declared.wording import dotted, type_of
from resilient.errors import PolicyError
from resilient.text import compiled, cut, escape

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LIMIT", "BrokenError", "Text", "find", "parse", "read"]

LIMIT = 1024 * 1024
"""The number of bytes that a file of policies may have."""

_VARIABLE = "RESILIENT_CONFIG"
_FILE = "resilient.toml"
_PROJECT = "pyproject.toml"
_PLACE = r" ?\(at (?:line (\d+), column (\d+)|end of document)\)$"
# How tomllib begins to say that a key has a value or a table already.
_TWICE = ("Cannot ", "Duplicate ")


class Text(NamedTuple):
    """
    A file's tables, or a mapping of their shape, before anything is checked.

    Attributes:
        label: The file's path, or ``configure()``.
        tables: What it says; of a ``pyproject.toml`` only what ``[tool.resilient]`` does.
        lines: The line of each key path; empty for a mapping.
        layer: Where its values come from, one of `LAYERS`.
        folder: The file's folder, where the modules that it imports may be; None for a mapping.
    """

    label: str
    tables: dict[str, Any]
    lines: Mapping[tuple[str, ...], int]
    layer: str = "file"
    folder: str | None = None


class BrokenError(ValueError):
    """
    A text that is no TOML, or more of it than is read.

    Args:
        line: Where, from 1; 0: all of it.
        problem: What is wrong, without the text itself.
        key: The key's path, where it is about one.
    """

    def __init__(self, line: int, problem: str, key: str = "") -> None:
        super().__init__(line, problem, key)
        self.line = line
        self.problem = problem
        self.key = key


# -- Which file -----------------------------------------------------------------


def find(start: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """
    Return the file that holds the policies, or None.

    It is what ``RESILIENT_CONFIG`` names, whether that exists or not; else the nearest ``resilient.toml``; else the
    nearest ``pyproject.toml`` where it has a table ``[tool.resilient]``, or is too broken to tell.

    Args:
        start: The folder to begin in; None: the working folder.
        environ: The environment.
    """
    named = environ.get(_VARIABLE)
    if named:
        return Path(named)
    start = (start or Path.cwd()).absolute()
    folders = (start, *start.parents)
    own = _first(folders, _FILE)
    if own:
        return own
    project = _first(folders, _PROJECT)
    return project if project and _declares(project) else None


def _first(folders: tuple[Path, ...], name: str) -> Path | None:
    for folder in folders:
        # Not Path.is_file: that raises where a folder may not be searched.
        if os.path.isfile(folder / name):  # noqa: PTH113 - see above
            return folder / name
    return None


def _declares(path: Path) -> bool:
    try:
        tables, _ = _parsed(path, str(path))
    except PolicyError:
        return True  # Whoever reads it hears what is wrong; "there is no file" would be a riddle.
    tool = tables.get("tool")
    return isinstance(tool, dict) and "resilient" in tool


# -- Reading it -----------------------------------------------------------------


def read(path: Path) -> Text:
    """
    Return what the file at *path* says.

    The file is opened once: what is measured is what is read, also while somebody puts another in its place.

    Raises:
        PolicyError: It cannot be read, has more than `LIMIT` bytes, is no UTF-8 or no TOML.
    """
    label, folder = escape(str(path)), str(path.absolute().parent)
    tables, lines = _parsed(path, label)
    if path.name != _PROJECT:
        return Text(label, tables, lines, folder=folder)
    for depth, key in enumerate(("tool", "resilient"), 1):
        if key not in tables:
            raise _error(label, None, "has no table [tool.resilient]; add one, or name another file")
        tables = tables[key]
        if not isinstance(tables, dict):
            where = ("tool", "resilient")[:depth]
            raise _error(label, lines[where], f"must be a table, got {type_of(tables)}", dotted(where))
    ours = {key[2:]: line for key, line in lines.items() if key[:2] == ("tool", "resilient") and key[2:]}
    return Text(label, tables, ours, folder=folder)


def parse(text: str) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """
    Return the tables of *text*, and the line of each key path.

    Raises:
        BrokenError: It is no TOML, gives a key twice, or is nested too deep.
    """
    text = text.replace("\r\n", "\n")
    try:
        # First, for it is what keeps tomllib from endless work.
        lines = locate(text)
        return tomllib.loads(text), lines
    except TooDeepError as error:
        raise BrokenError(error.line, f"is nested more than {DEPTH} deep") from None
    except tomllib.TOMLDecodeError as error:
        raise _broken(text, str(error)) from None
    except ValueError:
        # The one thing that tomllib leaves to int().
        digits = compiled(r"[0-9][0-9_]{4000,}").search(text)
        at = digits.start() if digits else 0
        raise BrokenError(text.count("\n", 0, at) + 1, "a number has more digits than Python reads") from None


def _parsed(path: Path, label: str) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    try:
        return parse(_decoded(_bytes(path)))
    except BrokenError as error:
        raise _error(label, error.line or None, error.problem, error.key) from None
    except OSError as error:
        raise _error(label, None, f"cannot be read: {error.strerror or type(error).__name__}") from None
    except ValueError:
        raise _error(label, None, "cannot be read: no file can have this name") from None


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        # What is no plain file has no size to ask for: a pipe, a device.
        size = os.fstat(file.fileno()).st_size
        raw = b"" if size > LIMIT else file.read(LIMIT + 1)
    if max(size, len(raw)) > LIMIT:
        raise BrokenError(0, f"has more than {LIMIT:,} bytes; a file of policies is shorter, so this may be another")
    return raw


def _decoded(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw[:4]:
        raise BrokenError(1, "is UTF-16 or UTF-32, or no text at all; save it as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BrokenError(line, "is not UTF-8 here; save the file as UTF-8") from None


def _broken(text: str, message: str) -> BrokenError:
    place = compiled(_PLACE).search(message)
    end = len(text.rstrip())
    if place and place[1]:
        before = text.split("\n")[: int(place[1]) - 1]
        end = sum(len(line) + 1 for line in before) + int(place[2]) - 1
    problem = message[: place.start()] if place else message
    key = last_key(text[:end]) if problem.startswith(_TWICE) else None
    if key:
        earlier = f"; line {key.earlier} has it, or what it is in, already" if key.earlier else ""
        return BrokenError(key.line, f"is given twice{earlier}", dotted(key.path))
    return BrokenError(text.count("\n", 0, end) + 1, f"is no TOML: {escape(cut(problem, 200))}")


def _error(label: str, line: int | None, text: str, key: str = "") -> PolicyError:
    return PolicyError(label, [str(Problem(f"{label}:{line}" if line else label, key, text))])
