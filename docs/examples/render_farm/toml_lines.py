"""
Tell on which line of a TOML text a table or a key stands, which `tomllib` does not.
"""

from __future__ import annotations

import re
from typing import TypeAlias

__all__ = ["TomlLines"]

Path: TypeAlias = "tuple[str | int, ...]"

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*([A-Za-z0-9_-]+|"[^"]*"|'[^']*')\s*(?:\.[^=]*)?=""")
_QUOTES = ('"""', "'''")


class TomlLines:
    """
    The lines of tables and keys in a text that is known to be TOML.

    Inline tables and dotted keys are found as far as their first name.

    Args:
        text: The whole file.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {(): 1}
        counts: dict[Path, int] = {}
        table: Path = ()
        closing = ""
        for number, line in enumerate(text.splitlines(), start=1):
            if closing:
                # Inside a text of several lines nothing is a key.
                closing = "" if closing in line else closing
                continue
            header, key = _HEADER.match(line), _KEY.match(line)
            if header:
                table = self._table(header[2], is_array=header[1] == "[[", counts=counts)
                self._lines.setdefault(table, number)
                if header[1] == "[[":
                    # The array itself stands where its first table does.
                    self._lines.setdefault(table[:-1], number)
            elif key:
                self._lines.setdefault((*table, key[1].strip("\"'")), number)
            closing = next((quotes for quotes in _QUOTES if line.count(quotes) % 2), "")

    @staticmethod
    def _table(name: str, *, is_array: bool, counts: dict[Path, int]) -> Path:
        """
        Return the path of the table that a header opens, with the index of each array in it.
        """
        path: Path = ()
        parts = [part.strip().strip("\"'") for part in name.split(".")]
        for at, part in enumerate(parts):
            path = (*path, part)
            if at == len(parts) - 1 and is_array:
                counts[path] = counts.get(path, -1) + 1
            if path in counts:
                path = (*path, counts[path])
        return path

    def of(self, path: Path) -> int:
        """
        Return the line of *path*, or of the nearest thing around it that has one.
        """
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def __repr__(self) -> str:
        return f"TomlLines({len(self._lines)} places)"
