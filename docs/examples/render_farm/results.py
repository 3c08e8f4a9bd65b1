"""
What came of a run: plain records that the report and the pictures are made from.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LOST", "Mark", "Report", "RunResult", "ShotResult"]

LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShotResult:
    """
    What came of one shot.

    Args:
        number: The shot's, from 1.
        title: The shot's.
        scene: The scene's title.
        ordered: What was asked for, for example ``"720p, 36 steps, 2 frames"``.
        delivered: What came, in the same words; empty for a lost shot.
        as_ordered: Whether that is the same.
        route: How it was made: ``"first try"``, ``"retry"``, ``"fallback:sketch"``, ... or ``"lost"``.
        level: The service level that it was made at, by name.
        attempts: Calls of the render function.
        seconds: How long it took.
        error: Type and text of the error that is the reason for anything but a first try.
        picture: The first frame as PNG; None for a lost shot.
    """

    number: int
    title: str
    scene: str
    ordered: str
    delivered: str
    as_ordered: bool
    route: str
    level: str
    attempts: int
    seconds: float
    error: str | None = None
    picture: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """
    What came of one run over the whole storyboard.

    Args:
        seconds: From the first order to the last answer.
        shots: In the storyboard's order.
        errors: The text of each kind of error and how often it was met, the most frequent first.
    """

    seconds: float
    shots: tuple[ShotResult, ...]
    errors: tuple[tuple[str, int], ...]

    @property
    def lost(self) -> int:
        """
        How many shots were not delivered at all.
        """
        return sum(shot.route == LOST for shot in self.shots)

    @property
    def as_ordered(self) -> int:
        """
        How many shots came exactly as they were ordered.
        """
        return sum(shot.as_ordered for shot in self.shots)

    @property
    def routes(self) -> Counter[str]:
        """
        How many shots came by each route.
        """
        return Counter(shot.route for shot in self.shots)


@dataclass(frozen=True, slots=True)
class Mark:
    """
    One thing that happened, for the timeline.

    Args:
        at: Seconds since the run began.
        kind: ``"circuit"``, ``"level"``, ``"error"``, ``"recovery"``, ``"fallback"``, ``"down"`` or ``"up"``.
        name: Of the circuit, the function, the step or the server.
        value: The new state, the new level, or the error's category.
        text: More, for people.
    """

    at: float
    kind: str
    name: str
    value: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    Both runs, and what the registry saw of the resilient one.

    Args:
        title: The film's.
        seed: The storyboard's, which chose the faults.
        bare: The run of the undecorated functions.
        resilient: The run of the decorated ones.
        circuits: The names of all circuits, as lanes of the timeline.
        marks: What happened in the resilient run, in order of time.
        health: The registry's health snapshot as a mapping.
        health_text: The same as a table.
    """

    title: str
    seed: int
    bare: RunResult
    resilient: RunResult
    circuits: tuple[str, ...]
    marks: tuple[Mark, ...]
    health: Mapping[str, Any]
    health_text: str
