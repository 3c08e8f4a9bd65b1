"""
One function in its place with a guard around it, and its way back; and all that are woven in this process.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from resilient.forks import survives_fork
from resilient.weaving.finding import AROUND, contents, raw_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from resilient.registry import Registry
    from resilient.resilience import Resilience
    from resilient.weaving.finding import Found
    from resilient.weaving.loom import Weaving

__all__ = ["LOOM", "Woven", "restore"]

# Where a classmethod or staticmethod of ours keeps the one that it stands for.
_ORIGINAL = "_resilient_original"

# Past what a class' own class says about assignments: enums and frozen classes forbid them.
_set = type.__setattr__


class _Loom:
    """
    What is woven in this process.
    """

    def __init__(self) -> None:
        self.weavings: dict[Registry, Weaving] = {}
        self._renew_locks()
        survives_fork(self)

    def _renew_locks(self) -> None:
        self.lock: AbstractContextManager[Any] = threading.RLock()
        # Places that a thread is about to fill. It does so outside of the lock: a policy's references may
        # be imported for it, and who imports them may be waiting for the lock.
        self.busy: set[tuple[int, str]] = set()


LOOM = _Loom()
"""
What is woven in this process.
"""


class Woven:
    """
    A function that a guard has taken the place of.

    Nothing is held: what nobody uses any more goes with its module, as it would have done without us.

    Args:
        found: The function in its place.
        value: What is to stand there instead.
        gone: Called when its module or class is no more.
    """

    __slots__ = ("_guard", "_holder", "_raw", "name", "place")

    def __init__(self, found: Found, value: Any, gone: Callable[[], object]) -> None:
        guard = value
        if issubclass(type(value), AROUND):
            value.__dict__[_ORIGINAL] = found.value
            guard = value.__func__
        self.name: str = found.name
        self.place: tuple[int, str] = found.place
        self._holder = weakref.ref(found.holder, lambda _: gone())
        self._guard = weakref.ref(guard)
        self._raw = weakref.ref(raw_of(found.value))
        _put(found.holder, found.key, value)

    def __repr__(self) -> str:
        return f"<Woven {self.name}: {'in place' if self.resilience else 'gone'}>"

    @property
    def resilience(self) -> Resilience[..., Any] | None:
        """
        The guard's policies while it is in its place, else None.
        """
        guard: Any = self._guard()
        return None if self._standing() is None else guard.resilience

    @property
    def replaced(self) -> bool:
        """
        Whether its holder is there, and has neither the guard nor the function itself in its place.
        """
        holder = self._holder()
        if holder is None or self._standing() is not None:
            return False
        # Never the same where both are gone: then there is something else.
        return raw_of(contents(holder).get(self.place[1])) is not (self._raw() or self)

    def _standing(self) -> Any:
        holder, guard = self._holder(), self._guard()
        if holder is None or guard is None:
            return None
        value: Any = contents(holder).get(self.place[1])
        if issubclass(type(value), AROUND):
            return value if _ORIGINAL in value.__dict__ and value.__func__ is guard else None
        return value if value is guard else None

    def restore_locked(self) -> Resilience[..., Any] | None:
        """
        Put back what was there before; return the policies of what has gone, or None: it was gone already.
        """
        value, resilience = self._standing(), self.resilience
        if resilience is None:
            return None
        original = value.__dict__[_ORIGINAL] if issubclass(type(value), AROUND) else resilience.pipeline.fn
        _put(self._holder(), self.place[1], original)
        return resilience


def _put(holder: Any, key: str, value: Any) -> None:
    if issubclass(type(holder), type):
        _set(holder, key, value)
    else:
        contents(holder)[key] = value  # type: ignore[index]  # a module's can be written to


def restore(woven: Iterable[Woven]) -> list[str]:
    """
    Put back what was there before; return the names of what somebody else has replaced.
    """
    left = []
    for one in woven:
        with LOOM.lock:
            replaced = one.replaced
            resilience = one.restore_locked()
        if resilience is not None:
            resilience.leave()
        elif replaced:
            left.append(one.name)
    return left
