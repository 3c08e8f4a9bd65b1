"""
The fault script: what each server does wrong, decided by a seed and the request's number.

Nothing here depends on time: the n-th request to a server meets the same fault
in every run with the same seed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DRAMA", "Episode", "Fault", "fault_script"]


class Fault(Enum):
    """
    A way in which a server fails one request.
    """

    BUSY = "busy"
    """Answers 503 with ``Retry-After``."""
    HANG = "hang"
    """Takes the request and never answers."""
    BROKEN = "broken"
    """Answers with pictures that are cut off in the middle."""
    MEMORY = "memory"
    """Has memory for one frame only: a larger batch gets 507 "out of memory"."""
    REFUSE = "refuse"
    """Drops the request and keeps its door shut for a while: connections are refused."""
    DIE = "die"
    """Is killed by SIGKILL in the middle of the request, and started again later."""


@dataclass(frozen=True, slots=True)
class Episode:
    """
    Some requests in a row that meet one fault, after some that meet none.

    Args:
        fault: What happens.
        calm: The fewest and the most healthy requests before it.
        length: The fewest and the most requests that it hits.
    """

    fault: Fault
    calm: tuple[int, int]
    length: tuple[int, int]


# The acts of the play, by server. After its last act a server is healthy.
DRAMA: Mapping[str, tuple[Episode, ...]] = {
    "atlas": (
        # Small troubles, one at a time.
        Episode(Fault.BUSY, (1, 2), (1, 1)),
        Episode(Fault.BROKEN, (1, 2), (1, 1)),
        Episode(Fault.MEMORY, (1, 1), (1, 1)),
        Episode(Fault.HANG, (1, 2), (1, 1)),
        # The server dies; the other renderer has to stand in.
        Episode(Fault.DIE, (3, 3), (1, 1)),
        # It comes back overloaded, and the other one fails as well: a real outage.
        Episode(Fault.BUSY, (3, 4), (11, 12)),
        Episode(Fault.BROKEN, (4, 5), (1, 1)),
    ),
    "borealis": (
        Episode(Fault.BUSY, (3, 4), (4, 5)),
        Episode(Fault.DIE, (0, 0), (1, 1)),
    ),
    "sketchpad": (
        Episode(Fault.BUSY, (1, 1), (1, 1)),
        Episode(Fault.REFUSE, (3, 4), (1, 1)),
        Episode(Fault.BROKEN, (2, 3), (1, 1)),
    ),
    "library": (
        Episode(Fault.BUSY, (1, 1), (1, 1)),
        Episode(Fault.HANG, (1, 1), (1, 1)),
        Episode(Fault.DIE, (1, 1), (1, 1)),
    ),
}


def fault_script(server: str, seed: int, drama: Mapping[str, tuple[Episode, ...]] = DRAMA) -> dict[int, Fault]:
    """
    Return the faults of *server* by request number, which counts from 1.

    Args:
        server: Its name; one without a part in *drama* never fails.
        seed: Another seed moves and stretches the acts, it does not reorder them.
        drama: The acts by server.
    """
    rng = random.Random(f"{seed}:{server}")
    script: dict[int, Fault] = {}
    request = 0
    for episode in drama.get(server, ()):
        request += rng.randint(*episode.calm)
        for _ in range(rng.randint(*episode.length)):
            request += 1
            script[request] = episode.fault
    return script
