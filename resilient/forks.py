"""
Fresh locks in a forked child: the parent's may be held there for ever.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["survives_fork"]


class _Owner(Protocol):
    def _renew_locks(self) -> None: ...


_owners: WeakSet[_Owner] = WeakSet()


def survives_fork(owner: _Owner) -> None:
    """
    Call ``owner._renew_locks()`` in each forked child; *owner* is held weakly.
    """
    _owners.add(owner)


def _renew() -> None:
    for owner in list(_owners):
        owner._renew_locks()  # noqa: SLF001 - one convention, all the way down


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=_renew)
