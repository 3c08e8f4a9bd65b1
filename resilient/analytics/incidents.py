"""
Incidents: outermost operations in which something failed, and whether it was put right.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from resilient.ticks import Ticks

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

    Attributes:
        mended: Counts resolved incidents that no further report can be about; safe without a lock.
        lost: The same for unresolved ones.
        roots: What is known of each root that may be reported about again.
    """

    __slots__ = ("_resolved", "_total", "lost", "mended", "roots")

    def __init__(self) -> None:
        self._total = 0
        self._resolved = 0
        # (resolved, whether the root itself has said so); None: nothing was reported yet.
        self.roots: OrderedDict[Hashable, tuple[bool, bool] | None] = OrderedDict()
        self.mended: Ticks = Ticks()
        self.lost: Ticks = Ticks()

    @property
    def total(self) -> int:
        """
        How many there were.
        """
        return self._total + self.mended.taken + self.lost.taken

    @property
    def resolved(self) -> int:
        """
        How many of them were put right.
        """
        return self._resolved + self.mended.taken

    def expect(self, root: Hashable) -> None:
        """
        Remember that an operation within *root* is going to report.
        """
        if root not in self.roots:
            self._keep(root, None)

    def _keep(self, root: Hashable, status: tuple[bool, bool] | None) -> None:
        roots = self.roots
        roots[root] = status
        if len(roots) > _ROOTS:
            roots.popitem(last=False)

    def report(self, root: Hashable, *, resolved: bool, final: bool) -> None:
        """
        Take the report of an operation within *root*, or of *root* itself if *final*.
        """
        roots = self.roots
        before = roots.get(root)
        if before is None:
            self._total += 1
            self._resolved += resolved
            self._keep(root, (resolved, final))
            return
        was, decided = before
        if final or not decided:
            resolved = resolved if final else was and resolved
            self._resolved += resolved - was
            roots[root] = resolved, final
        roots.move_to_end(root)

    @property
    def rate(self) -> float:
        """
        The fraction of incidents that were resolved, 1.0 when there was none.
        """
        total = self.total
        return self.resolved / total if total else 1.0

    def __repr__(self) -> str:
        return f"<Incidents: {self.resolved} of {self.total} resolved>"
