"""
Who has to be told of a change, held weakly, at the price of one reference for all who tell it.
"""

from __future__ import annotations

import weakref
from typing import Generic, Protocol, TypeVar

__all__ = ["Watcher", "Watchers"]


class Watcher(Protocol):
    """
    What looks again when it is told to.
    """

    def refresh(self) -> None:
        """
        Look again.
        """


W = TypeVar("W", bound=Watcher)

# How many dead references are kept at least before they are looked for.
_SPARE = 16


class Watchers(Generic[W]):
    """
    Watchers, each once and in order, for as long as they live.

    A `weakref.WeakSet` would need a reference of its own for each, for it is
    told of deaths. Plain references are shared by all who ask for one, which
    matters where thousands of pipelines are told by a circuit, a scope and a
    hub. So dead ones stay for a while: until a fourth is dead.

    Each method is safe over threads, signal handlers and the garbage collector:
    whatever touches the references is one step.
    """

    __slots__ = ("_refs", "_room")

    def __init__(self) -> None:
        self._refs: dict[weakref.ref[W], None] = {}
        self._room = _SPARE

    def add(self, watcher: W) -> None:
        """
        Tell *watcher* from now on.
        """
        self._refs[weakref.ref(watcher)] = None
        if len(self._refs) > self._room:
            for ref in list(self._refs):
                if ref() is None:
                    self._refs.pop(ref, None)
            self._room = len(self._refs) * 5 // 4 + _SPARE

    def discard(self, watcher: W) -> None:
        """
        Tell *watcher* no longer.
        """
        self._refs.pop(weakref.ref(watcher), None)

    def living(self) -> list[W]:
        """
        Return all that are alive.
        """
        return [watcher for ref in list(self._refs) if (watcher := ref()) is not None]

    def __repr__(self) -> str:
        return f"<Watchers: {len(self.living())}>"
