"""
The switches that change every call in the process: off, no waits, fewer attempts.

``RESILIENT_DISABLED=1`` in the environment, read once at import, sets the first
for good; `resilient.testing` sets all of them for a while.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from resilient.forks import survives_fork

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["attempts", "disabled", "no_waits", "switched"]

# Raw functions are called; policies are validated and otherwise ignored.
disabled: bool = os.environ.get("RESILIENT_DISABLED", "").strip().lower() in {"1", "true", "yes", "on"}

# Retries follow at once.
no_waits: bool = False

# Stands for every retry's ``max_attempts``.
attempts: int | None = None


class _Held:
    """
    The values that blocks hold a switch at, in the order in which they were entered.
    """

    def __init__(self) -> None:
        # By switch: a box with the value that no block has set, then one box a block.
        self.boxes: dict[str, list[list[Any]]] = {}
        self._renew_locks()
        survives_fork(self)

    def _renew_locks(self) -> None:
        self.lock = threading.RLock()


_held = _Held()


@contextmanager
def switched(name: Literal["attempts", "disabled", "no_waits"], value: int | bool) -> Generator[None]:  # noqa: FBT001 - a switch's value
    """
    Set the switch *name* to *value* within the block.

    Blocks may overlap in any way (threads, tasks): the one entered last of those
    not left yet decides, and when all are left the switch is as it was.
    """
    box: list[Any] = [value]
    with _held.lock:
        boxes = _held.boxes.setdefault(name, [[globals()[name]]])
        boxes.append(box)
        globals()[name] = value
    try:
        yield
    finally:
        with _held.lock:
            boxes[:] = [one for one in boxes if one is not box]
            globals()[name] = boxes[-1][0]
            if len(boxes) == 1:
                del _held.boxes[name]
