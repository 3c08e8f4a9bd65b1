"""
The forms that quality and picture sizes come in, and how each gets smaller.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from resilient.levels import DegradationLevel
from resilient.text import compiled

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["QUALITIES", "RESOLUTIONS", "Names", "is_number", "is_side", "resized", "shorter"]

# Encoders and diffusion models want sides that are multiples of this.
_GRID = 8
_LEVELS = len(DegradationLevel)
# Nine digits at most: a longer number is no side, and costs time to read.
_LONGEST = 10**9 - 1
_SIDES = r"([1-9][0-9]{0,8})(\s*[xX×]\s*)([1-9][0-9]{0,8})"  # noqa: RUF001 - people do write it


def is_number(value: object) -> TypeGuard[int | float]:
    """
    Tell whether *value* is a number and means one: flags and members of an enumeration do not.
    """
    return isinstance(value, int | float) and not isinstance(value, bool | Enum)


def is_side(value: object) -> TypeGuard[int]:
    """
    Tell whether *value* can be a side in pixels.
    """
    return isinstance(value, int) and is_number(value) and value <= _LONGEST


class Names:
    """
    A ladder of names, in lower case, UPPER CASE and Title Case.
    """

    __slots__ = ("_places",)

    def __init__(self, *names: str) -> None:
        self._places: dict[str, tuple[tuple[str, ...], int]] = {}
        for style in (str.title, str.upper, str.lower):
            rungs = tuple(style(name) for name in names)
            self._places.update((rung, (rungs, at)) for at, rung in enumerate(rungs))

    def down(self, value: str, steps: int) -> str:
        """
        Return the name *steps* below *value*, of *value*'s own type; *value* if there is none.
        """
        place = self._places.get(value)
        if place is None:
            return value
        rungs, at = place
        name = rungs[min(at + steps, len(rungs) - 1)]
        if type(value) is str:
            return name
        try:
            return type(value)(name)
        except Exception:  # noqa: BLE001 - a foreign type: an enumeration may have no such member
            return value


QUALITIES = Names("ultra", "high", "medium", "low", "draft")
RESOLUTIONS = Names("2160p", "1440p", "1080p", "720p", "480p", "360p", "240p", "144p")


def shorter(side: int, factor: float) -> int:
    """
    Return *side* times *factor* on the grid, never above *side*.
    """
    if side < _GRID:
        return side
    return _GRID * max(1, min(round(side * factor / _GRID), side // _GRID))


def resized(value: Any, factor: float) -> Any:
    """
    Return a resolution made smaller.

    Args:
        value: ``"1080p"``, ``"1920x1080"`` or a pair of whole numbers;
            anything else comes back as it is.
        factor: What each side is multiplied by, 0 to 1. A named resolution
            goes down one rung for each 0.2 (begun) below 1.
    """
    if factor >= 1:
        return value
    if isinstance(value, str):
        sides = compiled(_SIDES).fullmatch(value) if type(value) is str else None
        if sides is None:
            # The small number: 1 - 0.8 is not exactly 0.2.
            return RESOLUTIONS.down(value, math.ceil((1 - factor) * _LEVELS - 1e-9))
        return f"{shorter(int(sides[1]), factor)}{sides[2]}{shorter(int(sides[3]), factor)}"
    # A named tuple is made by its `_make`; other tuples of a class of their own
    # may be made in any way, and stay as they are.
    cls = cast("Any", type(value))
    make = cls if cls in {tuple, list} else getattr(cls, "_make", None)
    if make is None or not _is_pair(value):
        return value
    return make([shorter(side, factor) for side in value])


def _is_pair(value: Any) -> TypeGuard[Sequence[int]]:
    return isinstance(value, tuple | list) and len(value) == 2 and is_side(value[0]) and is_side(value[1])  # noqa: PLR2004 - width and height
