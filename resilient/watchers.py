"""
Who has to be told of a change, held weakly, at the price of one reference for all who tell it.
"""

from __future__ import annotations

import weakref
from typing import Generic, TypeVar

__all__ = ["Watchers"]

W = TypeVar("W")

# How many dead references are kept at least before they are looked for.
_SPARE = 16


class Watchers(Generic[W]):
    """
    Watchers, each once and in order, for as long as they live.

    A `weakref.WeakSet` is told of deaths, and so needs a reference of its own
    for each. Plain references are shared by all who ask for one: each pipeline
    is told by circuits, a scope and a hub. The price is that dead ones stay for
    a while, up to a fourth of all that live.

    Safe over threads, signal handlers and the garbage collector: whatever
    touches the references is one step.
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
