"""
Service levels, scope by scope, set by hand.

A registry has one level, and each named scope may be lowered below it: what
counts in a scope is the lower of the two, unless an `at_level` block says
otherwise for the calls made within it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from resilient.clock import SYSTEM_CLOCK
from resilient.control.overrides import any_open, join, level_of, overriding
from resilient.errors import PolicyError
from resilient.events import LevelChanged
from resilient.levels import DegradationLevel
from resilient.outbox import Outbox
from resilient.policies.checks import text
from resilient.policies.options import describe
from resilient.redaction import readable
from resilient.text import cut, safe_str, type_name
from resilient.watchers import Watchers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from resilient.clock import Clock
    from resilient.control.overrides import Owner

__all__ = ["DEFAULT_SCOPE", "Levels", "Scope"]

DEFAULT_SCOPE = "default"
"""The name of a registry's own scope."""

_FULL = DegradationLevel.FULL
_log = logging.getLogger("resilient")

# Events that wait while a listener does not return; the oldest go first.
_MAX_QUEUED = 1000


class Scope:
    """
    One named part of the work, that can be lowered alone; made by `Levels.scope`.

    Args:
        levels: The levels that it belongs to.
        name: Its name.
        root: The scope that it follows; None: it is that one.
    """

    __slots__ = ("__weakref__", "_levels", "_root", "ceiling", "level", "name", "owners", "set_at")

    def __init__(self, levels: Levels, name: str, root: Scope | None = None) -> None:
        self._levels = levels
        self.name: str = name
        self._root = self if root is None else root
        # Written under the lock of `levels` only. `ceiling` is the level that
        # was set by hand at `set_at`: no automatic step goes above it.
        self.level: DegradationLevel = _FULL
        self.ceiling: DegradationLevel = _FULL
        self.set_at: float = float("-inf")
        self.owners: Watchers[Owner] = Watchers()

    @property
    def is_full(self) -> bool:
        """
        Whether calls are untouched: FULL here and in the registry, and no `at_level` in the process.
        """
        return self.level is _FULL and self._root.level is _FULL and not any_open()

    # -- as a gate between a call and its fast path ---------------------------

    timed = False

    @property
    def generation(self) -> int | None:
        """
        0 while `is_full`, else None: calls have to look at the level.
        """
        return 0 if self.is_full else None

    def attach(self, owner: Owner) -> None:
        """
        Call ``owner.refresh()`` after whatever may have changed `is_full`; held weakly.
        """
        with self._levels.lock:
            self.owners.add(owner)

    def succeeded(self, generation: int, elapsed: float | None) -> None:
        """
        Ignore a quiet success: levels do not follow single calls.
        """

    # -- reading and setting ---------------------------------------------------

    def effective(self) -> DegradationLevel:
        """
        Return the level that a call made here and now has to follow.
        """
        override = overriding()
        if override is not None:
            return override
        self._levels.evaluate()
        own, root = self.level, self._root.level
        if own is _FULL or own is root:
            return root
        return own if root is _FULL else min(own, root)

    def degrade(self, reason: str = "") -> str:
        """
        Lower this scope by one level until it is set again, and return the new one's name.
        """
        return self._levels.set_by_hand(self, DegradationLevel.lower, reason)

    def restore(self, reason: str = "") -> str:
        """
        Raise this scope by one level, and return the new one's name.
        """
        return self._levels.set_by_hand(self, DegradationLevel.higher, reason)

    def set_level(self, level: DegradationLevel | str, reason: str = "") -> str:
        """
        Set this scope's own level, until it is set again, and return its name.

        Raises:
            PolicyError: *level* is no level.
        """
        wanted = level_of("set_level", level)
        return self._levels.set_by_hand(self, lambda _: wanted, reason)

    def __repr__(self) -> str:
        return f"<Scope {self.name!r} at {self.level.label}, registry at {self._root.level.label}>"


class Levels:
    """
    The levels of one registry, set by hand.

    Args:
        clock: Where time comes from.
        emit: Takes each `LevelChanged`, in order, outside every lock.
        wants: Tells whether anybody listens for such events; None: always.
        report: Is told once what raised, a listener or a signal, and the error;
            None: it is logged.
    """

    def __init__(
        self,
        *,
        clock: Clock = SYSTEM_CLOCK,
        emit: Callable[[LevelChanged], None] | None = None,
        wants: Callable[[], bool] | None = None,
        report: Callable[[str, Exception], None] | None = None,
    ) -> None:
        self._clock = clock
        self._emit = emit
        self._wants = wants
        self._report = _log_error if report is None else report
        self._reported: set[str] = set()
        self._changes = Outbox(_MAX_QUEUED)
        self._root = Scope(self, DEFAULT_SCOPE)
        # A scope that nobody holds is forgotten, but not while it is lowered.
        self._scopes: WeakValueDictionary[str, Scope] = WeakValueDictionary()
        self._lowered: dict[str, Scope] = {}
        self._renew_locks()
        join(self)

    def _renew_locks(self) -> None:
        """
        Take fresh locks: in a forked child the old ones may be held for ever.
        """
        self.lock: AbstractContextManager[object] = threading.RLock()
        self._changes.renew_lock()

    def scope(self, name: str | None = None) -> Scope:
        """
        Return the scope *name*, always the same one; None: the registry's own.

        Raises:
            PolicyError: *name* is no name.
        """
        if name is None or name == DEFAULT_SCOPE:
            return self._root
        try:
            text(name)
        except ValueError as error:
            raise PolicyError("scope", [f"name {error}, got {describe(name)}"]) from None
        with self.lock:
            scope = self._scopes.get(name)
            if scope is None:
                scope = self._scopes[name] = Scope(self, name, self._root)
            return scope

    def lowered_scopes(self) -> dict[str, DegradationLevel]:
        """
        Return the own level of each named scope that is below FULL.
        """
        with self.lock:
            return {name: scope.level for name, scope in self._lowered.items()}

    def evaluate(self) -> None:
        """
        Take what automatic steps are due; levels that only hands set have none.
        """

    def set_by_hand(self, scope: Scope, change: Callable[[DegradationLevel], DegradationLevel], reason: str) -> str:
        """
        Set *scope* to what *change* makes of its level; return the new level's name.
        """
        # Before the lock: `str` may run code of the user's.
        reason = cut(str(reason))
        self.evaluate()
        with self.lock:
            level = change(scope.level)
            # A step up lifts what automatic steps may rise to, and never lowers
            # it: it takes back, it does not pin.
            scope.ceiling = max(scope.ceiling, level) if change is DegradationLevel.higher else level
            scope.set_at = self._clock.monotonic()
            changed = self._change_locked(scope, level, reason, "hand")
        if changed:
            self._announce(scope)
        return level.label

    def refresh(self, scope: Scope | None = None) -> None:
        """
        Tell the owners of *scope*, and of all that follow it, to look again; None: everyone.
        """
        with self.lock:
            scopes = [self._root, *self._scopes.values()] if scope is None or scope is self._root else [scope]
            owners = [owner for one in scopes for owner in one.owners.living()]
        for owner in owners:
            owner.refresh()

    def _change_locked(
        self,
        scope: Scope,
        level: DegradationLevel,
        reason: str,
        by: str,
        changes: Mapping[str, float] | None = None,
    ) -> bool:
        previous = scope.level
        if level is previous:
            return False
        scope.level = level
        if scope is not self._root:
            if level is _FULL:
                self._lowered.pop(scope.name, None)
            else:
                self._lowered[scope.name] = scope
        if self._emit is not None:
            event = partial(
                LevelChanged,
                at=self._clock.now(),
                scope=scope.name,
                previous=previous,
                level=level,
                reason=reason,
                by=by,
                changes=changes,
            )
            self._changes.put(partial(self._deliver, event))
        return True

    def _announce(self, scope: Scope) -> None:
        # Owners first: a listener that makes a call makes it at the new level.
        self.refresh(scope)
        endless = self._changes.drain()
        if endless is not None:
            self._tell("listeners of level changes", endless)

    def _deliver(self, event: Callable[[], LevelChanged]) -> None:
        if self._emit is None or (self._wants is not None and not self._wants()):
            return
        try:
            self._emit(event())
        except Exception as error:  # noqa: BLE001 - a listener never harms what it is told of
            self._tell("listener of level changes", error)

    def _tell(self, what: str, error: Exception) -> None:
        if what not in self._reported:
            self._reported.add(what)
            self._report(what, error)


def _log_error(what: str, error: Exception) -> None:
    # A broken log handler must not harm the call either.
    with contextlib.suppress(Exception):
        said = safe_str(error)
        told = f"{type_name(error)}: {said}" if said else type_name(error)
        _log.error("%s raised %s; told once", what, readable(told))
