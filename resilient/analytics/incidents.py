"""
Incidents: outermost operations in which something failed, and whether it was put right.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["Incidents"]

_ROOTS = 4096


class Incidents:
    """
    Counts each outermost operation that reports a failure once, whoever in it reports.

    It has no lock: whoever holds it lets one thread at a time in.

    ====================  =========================  =========================
    report                a root not seen before     a root seen before
    ====================  =========================  =========================
    of an inner           an incident, with its      resolved only if all are;
    operation             status                     nothing once the root spoke
    of the root itself    an incident, with its      its status, whatever
    (``final``)           status                     inner operations said
    ====================  =========================  =========================

    Only the latest 4,096 roots are remembered: one that reports again after as
    many others is counted again.
    """

    __slots__ = ("_roots", "resolved", "total")

    def __init__(self) -> None:
        self.total: int = 0
        self.resolved: int = 0
        self._roots: OrderedDict[Hashable, tuple[bool, bool]] = OrderedDict()

    def report(self, root: Hashable, *, resolved: bool, final: bool) -> None:
        """
        Take the report of an operation within *root*, or of *root* itself if *final*.
        """
        before = self._roots.get(root)
        if before is None:
            self.count(resolved=resolved)
            self._roots[root] = (resolved, final)
            if len(self._roots) > _ROOTS:
                self._roots.popitem(last=False)
            return
        was, decided = before
        if final or not decided:
            resolved = resolved if final else was and resolved
            self.resolved += resolved - was
            self._roots[root] = (resolved, final)
        self._roots.move_to_end(root)

    def count(self, *, resolved: bool) -> None:
        """
        Count an incident that no further report can be about.
        """
        self.total += 1
        self.resolved += resolved

    @property
    def rate(self) -> float:
        """
        The fraction of incidents that were resolved, 1.0 when there was none.
        """
        return self.resolved / self.total if self.total else 1.0

    def __repr__(self) -> str:
        return f"<Incidents: {self.resolved} of {self.total} resolved>"
