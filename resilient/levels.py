"""
The five service levels that quality steps through.
"""

from __future__ import annotations

from enum import Enum
from functools import total_ordering

__all__ = ["DegradationLevel"]


@total_ordering
class DegradationLevel(Enum):
    """
    A service level; its value is the factor that quality is multiplied by.

    Levels are ordered: ``MINIMAL < LOW < MEDIUM < HIGH < FULL``.
    """

    FULL = 1.0
    HIGH = 0.8
    MEDIUM = 0.6
    LOW = 0.4
    MINIMAL = 0.2

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, DegradationLevel):
            return NotImplemented
        return self.value < other.value

    @property
    def factor(self) -> float:
        """
        What quality is multiplied by at this level, 0.2 to 1.0.
        """
        return self.value

    @property
    def label(self) -> str:
        """
        The lower-case name: ``"full"``, ``"high"``, ``"medium"``, ``"low"`` or ``"minimal"``.
        """
        return self.name.lower()

    @property
    def steps_down(self) -> int:
        """
        How many levels below FULL this is, 0 to 4.
        """
        return _ORDER.index(self)

    def lower(self) -> DegradationLevel:
        """
        Return the next level down; MINIMAL's is MINIMAL.
        """
        return _ORDER[min(self.steps_down + 1, len(_ORDER) - 1)]

    def higher(self) -> DegradationLevel:
        """
        Return the next level up; FULL's is FULL.
        """
        return _ORDER[max(self.steps_down - 1, 0)]

    @classmethod
    def of(cls, value: DegradationLevel | str) -> DegradationLevel:
        """
        Return the level that *value* names.

        Raises:
            ValueError: *value* is neither a level nor a level's name.
        """
        if isinstance(value, cls):
            return value
        for level in _ORDER:
            if isinstance(value, str) and value.lower() == level.label:
                return level
        names = ", ".join(repr(level.label) for level in _ORDER)
        msg = f"{value!r} is no service level; use a DegradationLevel or one of {names}"
        raise ValueError(msg)


_ORDER = tuple(DegradationLevel)
