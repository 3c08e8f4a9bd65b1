"""
What many errors have in common: bursts, and one error in several functions.

Pure functions over counts; `resilient.analytics.recorder` keeps the counts.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from resilient.light import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Burst", "CommonCause", "Pattern", "find_bursts", "find_common_causes"]

_BURST_ERRORS = 10
_BURST_FACTOR = 3
_SEVERAL = 3


@dataclass(frozen=True, slots=True)
class Burst:
    """
    One or more minutes in a row with far more errors than usual.

    Args:
        errors: How many errors it had in all.
        minutes: How many minutes it lasted.
        ended: Seconds since its last minute ended; 0.0 while it goes on.
        usual: Errors in a usual minute of the last hour.
    """

    kind: ClassVar[str] = "burst"

    errors: int
    minutes: int
    ended: float
    usual: int

    def __str__(self) -> str:
        when = f"ended {self.ended / 60:.0f} min ago" if self.ended else "up to now"
        return f"burst: {self.errors} errors in {self.minutes} min, {when} (usual: {self.usual} a minute)"


@dataclass(frozen=True, slots=True)
class CommonCause:
    """
    One type of error that came from several functions within minutes.

    Args:
        error_type: The exception's class name.
        functions: The functions, sorted by name.
        errors: How many errors of the type they had.
    """

    kind: ClassVar[str] = "common_cause"

    error_type: str
    functions: tuple[str, ...]
    errors: int

    def __str__(self) -> str:
        where = ", ".join(self.functions[:5]) + (", ..." if len(self.functions) > 5 else "")  # noqa: PLR2004 - enough to recognise
        return f"common cause: {self.errors} x {self.error_type} in {len(self.functions)} functions ({where})"


Pattern: TypeAlias = Burst | CommonCause


def find_bursts(minutes: Sequence[int]) -> list[Burst]:
    """
    Return the bursts in *minutes*, the latest first.

    A minute belongs to a burst if it has at least ten errors, and more than
    three times as many as the usual minute: the median of all the others than
    the worst one.

    Args:
        minutes: Errors by minute, the latest first.
    """
    others = sorted(minutes)[:-1]
    usual = others[(len(others) - 1) // 2] if others else 0
    threshold = max(_BURST_ERRORS, _BURST_FACTOR * usual + 1)
    bursts = []
    for burning, run in groupby(enumerate(minutes), key=lambda minute: minute[1] >= threshold):
        if burning:
            ages, counts = zip(*run, strict=True)
            bursts.append(Burst(errors=sum(counts), minutes=len(counts), ended=ages[0] * 60.0, usual=usual))
    return bursts


def find_common_causes(errors: Iterable[tuple[str, str]]) -> list[CommonCause]:
    """
    Return the types of error that at least three functions have had, the most frequent first.

    Args:
        errors: The error's type and the function's name, for each error.
    """
    functions: dict[str, list[str]] = {}
    for error_type, function in errors:
        functions.setdefault(error_type, []).append(function)
    causes = [
        CommonCause(error_type=error_type, functions=tuple(sorted(set(names))), errors=len(names))
        for error_type, names in functions.items()
    ]
    return sorted(
        (cause for cause in causes if len(cause.functions) >= _SEVERAL),
        key=lambda cause: (-cause.errors, cause.error_type),
    )
