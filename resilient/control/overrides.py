"""
One call at a level of its own: `at_level`.

A context variable holds the blocks around a call. Pipelines that never look at
it while nothing is lowered are told when the first block in the process opens
and when the last one closes.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

from resilient.errors import PolicyError
from resilient.forks import survives_fork
from resilient.levels import DegradationLevel

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Affected", "Owner", "any_open", "at_level", "join", "level_of", "overriding"]


class Owner(Protocol):
    """
    What works at some level and is told when it has to look again.
    """

    def refresh(self) -> None:
        """
        Look again at the levels, and whether any block is open.

        Called outside every lock, maybe by several threads at once: looking
        and keeping what follows from it has to be one step, under a lock that
        the same thread may take again.
        """


class Affected(Owner, Protocol):
    """
    What joins for as long as it lives.
    """

    def _renew_locks(self) -> None:
        """
        Take fresh locks, in a forked child.
        """


class at_level:  # noqa: N801 - used as a function, like contextlib.suppress
    """
    Run the calls made within at *level*, whatever the levels of their scopes.

    A context variable: it holds for this thread or task, and for tasks begun
    within, until the block ends. The innermost one counts.

    Args:
        level: A level or its name.

    Raises:
        PolicyError: *level* is no level.
    """

    __slots__ = ("level", "outer", "used")

    def __init__(self, level: DegradationLevel | str) -> None:
        self.level: DegradationLevel = level_of("at_level", level)
        self.outer: at_level | None = None
        self.used: bool = False

    def __enter__(self) -> DegradationLevel:
        if self.used:
            msg = "an at_level block is entered once; write at_level(...) again for the next one"
            raise RuntimeError(msg)
        self.used = True
        # Only what still holds: blocks left elsewhere must not pile up behind this one.
        self.outer = _innermost()
        _current.set(self)
        try:
            _active.enter(self)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self.level

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Not by a token: a block may be left in another context than it was
        # entered in, as fixtures and async generators do.
        if _current.get() is self:
            _current.set(self.outer)
        _active.leave(self)

    def __repr__(self) -> str:
        return f"at_level({self.level})"


class _Active:
    """
    The `at_level` blocks that are open in this process, and all levels that have to know.
    """

    def __init__(self) -> None:
        self.frames: set[at_level] = set()
        self.everyone: WeakSet[Affected] = WeakSet()
        # Whether everyone has been told that there are open blocks.
        self.told = False
        self.lock = threading.RLock()

    def enter(self, frame: at_level) -> None:
        with self.lock:
            self.frames.add(frame)
            told = self.told
        # Nobody waits for another thread that is still telling, and nobody goes
        # on before all were told: who comes in between tells them as well.
        if not told:
            self.tell()
            with self.lock:
                self.told = bool(self.frames)

    def leave(self, frame: at_level) -> None:
        with self.lock:
            self.frames.discard(frame)
            if self.frames:
                return
            self.told = False
        self.tell()

    def tell(self) -> None:
        with self.lock:
            everyone = list(self.everyone)
        for levels in everyone:
            levels.refresh()

    def _renew_locks(self) -> None:
        self.lock = threading.RLock()
        for levels in self.everyone:
            levels._renew_locks()  # noqa: SLF001 - one convention, all the way down


_active = _Active()
_current: ContextVar[at_level | None] = ContextVar("resilient.at_level", default=None)

survives_fork(_active)


def _innermost() -> at_level | None:
    """
    Return the innermost block around this call that is still open.
    """
    frame = _current.get()
    while frame is not None and frame not in _active.frames:
        frame = frame.outer
    return frame


def join(affected: Affected) -> None:
    """
    Tell *affected*, held weakly, when the first block opens and the last one closes, and when the process forked.
    """
    with _active.lock:
        _active.everyone.add(affected)


def any_open() -> bool:
    """
    Tell whether any block is open in this process.
    """
    return bool(_active.frames)


def overriding() -> DegradationLevel | None:
    """
    Return the level of the innermost block around this call, None without any.
    """
    frame = _innermost() if _active.frames else None
    return None if frame is None else frame.level


def level_of(where: str, level: DegradationLevel | str) -> DegradationLevel:
    """
    Return the level that *level* is or names.

    Raises:
        PolicyError: It is no level; *where* says what it was given to.
    """
    try:
        return DegradationLevel.of(level)
    except ValueError as error:
        raise PolicyError(where, [str(error)]) from None
