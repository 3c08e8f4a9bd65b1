"""
What a benchmark found, and how it stands to its bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.bounds import BOUNDS

if TYPE_CHECKING:
    from benchmarks.bounds import Bound
    from benchmarks.stopwatch import Case, Race

__all__ = ["HELD", "MET", "MISSED", "OURS", "Result", "duration", "number", "overhead", "whole"]

OURS = "resilient"

MET = "met"
HELD = "target missed, held"
MISSED = "MISSED"


@dataclass(frozen=True, slots=True)
class Result:
    """
    One number.

    Args:
        subject: What was measured, within its question.
        value: The number.
        measure: What it counts: ``"units"``, ``"x"``, ``"KiB"``.
        seconds: What it comes to on this machine, where it is a time.
        bound: The name of its bound in `BOUNDS`; None: it has none.
        who: The library that was measured.
        detail: What else a reader wants to see, instead of the seconds.
    """

    subject: str
    value: float
    measure: str = "units"
    seconds: float | None = None
    bound: str | None = None
    who: str = OURS
    detail: str = ""

    @property
    def limit(self) -> Bound | None:
        """
        The bound that it is held against.
        """
        return None if self.bound is None else BOUNDS[self.bound]

    @property
    def verdict(self) -> str:
        """
        How it stands to its bound; empty where it has none.
        """
        limit = self.limit
        if limit is None:
            return ""
        if self.value <= limit.at_most:
            return MET
        return HELD if limit.held is not None and self.value <= limit.held else MISSED

    @property
    def shown(self) -> str:
        """
        The number, for people.
        """
        return f"{number(self.value)} {self.measure}"

    @property
    def time(self) -> str:
        """
        The time on this machine, for people, or the detail that stands for it.
        """
        return self.detail or ("" if self.seconds is None else duration(self.seconds))


def overhead(race: Race, case: Case, *, bound: str | None = None, who: str = OURS) -> Result:
    """
    Return what *case* costs over the bare call.
    """
    taken = race.seconds[case.name] - race.bare[case.is_async]
    return Result(case.name, taken / race.unit[case.is_async], seconds=taken, bound=bound, who=who)


def whole(race: Race, case: Case, *, bound: str | None = None, who: str = OURS) -> Result:
    """
    Return what *case* costs, the call itself included.
    """
    taken = race.seconds[case.name]
    return Result(case.name, taken / race.unit[case.is_async], seconds=taken, bound=bound, who=who)


def number(value: float) -> str:
    """
    Return *value* with three digits that matter.
    """
    if abs(value) >= 100:
        return f"{value:,.0f}"
    # Adding 0.0 makes a 0 of what was rounded to -0.
    return f"{value:.1f}" if abs(value) >= 10 else f"{round(value, 2) + 0.0:.2f}"


def duration(seconds: float) -> str:
    """
    Return a time in the unit that suits it.
    """
    for factor, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if abs(seconds) >= factor:
            return f"{number(seconds / factor)} {name}"
    return f"{round(seconds * 1e9)} ns"
