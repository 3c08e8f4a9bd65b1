"""
How problems name things: keys as a file writes them, types, and the name that may have been meant.
"""

from __future__ import annotations

from datetime import date, time
from typing import TYPE_CHECKING

from resilient.text import compiled, cut, escape

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["counted", "did_you_mean", "dotted", "type_of"]

_TYPES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a boolean"),  # before int, which it is too
    (int, "an integer"),
    (float, "a float"),
    (str, "a string"),
    (list, "an array"),
    (dict, "a table"),
    ((date, time), "a date or time"),
)

# A longer name is nobody's slip, and comparing it with all others takes time.
_LONGEST = 80
_MOST = 1_000
_FEW = 8


def type_of(value: object) -> str:
    """
    Return the type of *value* as people who write TOML call it.
    """
    return next((name for kind, name in _TYPES if isinstance(value, kind)), type(value).__name__)


def dotted(path: Sequence[str]) -> str:
    """
    Return the key *path* as TOML writes it: parts that are no bare keys in quotes.
    """
    return ".".join(part if compiled(r"[A-Za-z0-9_-]{1,80}").fullmatch(part) else f'"{_short(part)}"' for part in path)


def counted(number: int, what: str) -> str:
    """
    Return *number* and *what* there are, in the plural unless there is one.
    """
    if number != 1:
        what = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{number} {what}"


def did_you_mean(name: str, known: Collection[str]) -> str:
    """
    Return the end of a sentence that suggests what *name*, which is not *known*, should have been.

    The name itself is not repeated: where it was expected to be one, it may be anything.
    """
    import difflib

    if not known:
        return "; there is none yet"
    if len(known) > _MOST:
        return ""
    names = sorted(known)
    by_lower = {one.lower(): one for one in names}
    close = difflib.get_close_matches(name[:_LONGEST].lower(), by_lower, n=1)
    if close:
        return f"; did you mean '{_short(by_lower[close[0]])}'?"
    more = ", ..." if len(names) > _FEW else ""
    return "; known are " + ", ".join(f"'{_short(one)}'" for one in names[:_FEW]) + more


def _short(name: str) -> str:
    return escape(cut(name, _LONGEST))
