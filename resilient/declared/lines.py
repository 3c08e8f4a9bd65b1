"""
On which line of a TOML text each key stands: what `tomllib` does not tell.

This reads structure and no values: comments, strings, keys, brackets. Whether a
text is TOML at all is for `tomllib` to say, so nothing is refused here but depth:
there the parser would recurse without end, or take minutes over one long key.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from resilient.text import compiled

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DEPTH", "Key", "TooDeepError", "last_key", "locate"]

DEPTH = 64
"""How many parts a key's path may have; arrays count one for each element's number."""

_Path: TypeAlias = "tuple[str, ...]"

# Strings that do not end are the rest of the text: who looks for the end again
# and again takes quadratic time.
_PIECE = r"""(?x)
    (?P<line> \n )
  | (?P<mark> [\[\]{},=.] )
  | (?P<space> [ \t\r]++ | \#[^\n]*+ )
  | (?P<text> \"{3} (?: \\(?s:.) | [^\\"] | "{1,2}(?!") )*+ (?: "{3,5} | \Z )
            | '{3} (?: [^'] | '{1,2}(?!') )*+ (?: '{3,5} | \Z )
            | " (?: \\. | [^"\\\n] )*+ "
            | ' [^'\n]*+ ' )
  | (?P<bare> [^\s\[\]{},=."'\#]++ )
  | (?P<other> (?s:.) )
"""


class TooDeepError(ValueError):
    """
    A key whose path has more than `DEPTH` parts.
    """

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class Key(NamedTuple):
    """
    A key as it was met.

    Attributes:
        path: From the text's root; elements of arrays have their number as a part.
        line: From 1.
        earlier: The line on which it, or what it would be a part of, stands already; None for a new one.
    """

    path: tuple[str, ...]
    line: int
    earlier: int | None


class _Open:
    """
    An array or inline table that has not ended; the index is that of the array's element, None for a table.
    """

    __slots__ = ("index", "path")

    def __init__(self, path: _Path, index: int | None) -> None:
        self.path = path
        self.index = index


class _Scanner:
    """
    Takes piece by piece; `take` is the method for where it is: at a key, in a header, at a value.
    """

    def __init__(self) -> None:
        self.found: dict[_Path, int] = {}
        self.last: Key | None = None
        self.line = 1
        self.take: Callable[[str, str], None] = self._at_key
        self._implied: set[_Path] = set()  # found as a part of another key, not by themselves
        self._elements: dict[_Path, int] = {}  # of each array of tables
        self._table: _Path = ()
        self._parts: list[str] = []
        self._dot = False  # whether the next part belongs to those before it
        self._doubled = False
        self._open: list[_Open] = []
        self._at: _Path = ()
        self._fresh = False  # whether the next value is a new element of an array

    def scan(self, text: str) -> None:
        for match in compiled(_PIECE).finditer(text):
            kind = match.lastgroup or ""
            if kind != "space":
                self.take(kind, match[0])
                self.line += match[0].count("\n")

    def finish(self) -> None:
        if self.take == self._in_header:
            self._header()

    def _at_key(self, kind: str, piece: str) -> None:
        if kind in {"text", "bare"}:
            self._part(piece)
        elif piece == ".":
            self._dot = True
        elif piece == "=":
            self._key()
            self.take = self._at_value
        elif piece == "}":
            self._close()
        elif piece == "[" and not self._open and not self._parts:
            self._doubled = False
            self.take = self._in_header
        elif piece in {",", "\n"}:
            self._parts.clear()

    def _in_header(self, kind: str, piece: str) -> None:
        if kind in {"text", "bare"}:
            self._part(piece)
        elif piece == ".":
            self._dot = True
        elif piece == "[":
            self._doubled = True
        elif piece in {"]", "\n"}:
            self._header()
            # A second bracket is left: at a value it closes nothing.
            self.take = self._at_key if piece == "\n" else self._at_value

    def _at_value(self, kind: str, piece: str) -> None:
        top = self._open[-1] if self._open else None
        if piece in {"]", "}"}:
            self._close()
        elif piece == ",":
            self._fresh = True
            if top and top.index is not None:
                top.index += 1
            else:
                self.take = self._at_key
        elif kind != "line":
            if top and top.index is not None and self._fresh:
                self._at = (*top.path, str(top.index))
                self._imply(self._at)
                self._fresh = False
            if piece in {"[", "{"}:
                self._open.append(_Open(self._at, 0 if piece == "[" else None))
                self._fresh = True
                self.take = self._at_value if piece == "[" else self._at_key
        elif not self._open:
            self.take = self._at_key

    def _close(self) -> None:
        if self._open:
            self._open.pop()
        self._parts.clear()
        self._fresh = False
        self.take = self._at_value

    def _part(self, piece: str) -> None:
        if not self._dot:
            self._parts.clear()  # words side by side are no TOML, and no key
        self._parts.append(_unquoted(piece))
        self._dot = False
        if len(self._base()) + len(self._parts) > DEPTH:
            raise TooDeepError(self.line)

    def _base(self) -> _Path:
        if self.take == self._in_header:
            return ()
        return self._open[-1].path if self._open else self._table

    def _key(self) -> None:
        path = self._base()
        for part in self._parts:
            self._imply(path)
            path = (*path, part)
        self._name(path)
        self._at = path
        self._parts.clear()

    def _header(self) -> None:
        if not self._parts:
            return
        path: _Path = ()
        for part in self._parts[:-1]:
            path = (*path, part)
            self._imply(path)
            # Below an array of tables, its latest element is meant.
            if path in self._elements:
                path = (*path, str(self._elements[path] - 1))
        path = (*path, self._parts[-1])
        if self._doubled:
            self._imply(path)
            number = self._elements.get(path, 0)
            self._elements[path] = number + 1
            path = (*path, str(number))
        self._name(path)
        self._table = path
        self._parts.clear()

    def _imply(self, path: _Path) -> None:
        if len(path) > DEPTH:
            raise TooDeepError(self.line)
        if path and path not in self.found:
            self.found[path] = self.line
            self._implied.add(path)

    def _name(self, path: _Path) -> None:
        known = (self.found[path[:size]] for size in range(len(path), 0, -1) if path[:size] in self.found)
        self.last = Key(path, self.line, next(known, None))
        if path not in self.found or path in self._implied:
            self.found[path] = self.line
            self._implied.discard(path)


def _unquoted(piece: str) -> str:
    if piece[0] not in "\"'":
        return piece
    if "\\" in piece and piece[0] == '"':
        try:
            return str(tomllib.loads(f"key = {piece}")["key"])
        except tomllib.TOMLDecodeError:
            return piece
    return piece[1:-1]


def locate(text: str) -> dict[tuple[str, ...], int]:
    """
    Return the line of each key path of *text*, from 1.

    Elements of arrays have their number as a part of the path: ``("policies", "gpu", "extends", "0")``. What is
    only implied by a longer key has the line of the first such key.

    Raises:
        TooDeepError: Something is nested more than `DEPTH` deep.
    """
    scanner = _Scanner()
    scanner.scan(text)
    return scanner.found


def last_key(text: str) -> Key | None:
    """
    Return the last key that *text*, the beginning of some TOML, gives a value or a table to.
    """
    scanner = _Scanner()
    scanner.scan(text)
    scanner.finish()
    return scanner.last
