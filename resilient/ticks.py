"""
Counters whose step is one atomic C call: no lock, no lost count.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Self, TypeAlias

if TYPE_CHECKING:
    # Only type checkers know it by its parameter.
    _Count: TypeAlias = itertools.count[int]
else:
    _Count = itertools.count

__all__ = ["Ticks"]


class Ticks(_Count):
    """
    A counter whose step, ``next(ticks)``, is one atomic C call, from 1 on.

    Copies and pickles start afresh: state does not travel.
    """

    __slots__ = ()

    def __new__(cls) -> Self:
        """
        Make one that begins with 1.
        """
        return super().__new__(cls, 1)  # type: ignore[return-value]  # typeshed promises less than there is

    @property
    def taken(self) -> int:
        """
        How many numbers have been given out.
        """
        return int(repr(self)[len("Ticks(") : -1]) - 1

    def __reduce__(self) -> tuple[type[Ticks], tuple[()]]:
        return Ticks, ()
