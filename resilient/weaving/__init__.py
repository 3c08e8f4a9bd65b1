"""
Policies around functions that nobody decorated: what patterns of a file match, in modules imported now or later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resilient.declared.reloading import reload_for_now
from resilient.errors import PolicyError
from resilient.policies.options import describe
from resilient.registry import Registry, default_registry
from resilient.weaving.loom import Weaving
from resilient.weaving.woven import LOOM

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Weaving", "unweave", "weave"]


def weave(path: str | Path | None = None, *, registry: Registry | None = None) -> Weaving:
    """
    Put declared policies around the functions that their patterns match, now and when their modules are imported.

    Functions are replaced in place, in their module or class; whoever has taken one before goes past its policies,
    and is named in a warning. Weaving again weaves what is new; nothing is woven twice.

    Args:
        path: The file. Default: the one that is loaded already; where none is, the one that is found.
        registry: The functions' registry. Default: the default one.

    Raises:
        PolicyError: The file cannot be meant, or a policy cannot be put on a function that it is for: with all
            problems. What was woven before stays as it was. Or *registry* is none.
    """
    if registry is not None and not isinstance(registry, Registry):
        where = "weave()"
        raise PolicyError(where, [f"registry must be a Registry or None, got {describe(registry)}"])
    home = default_registry() if registry is None else registry
    take_back: Callable[[], None] | None = None
    if path is not None or home.declarations is None:
        take_back = reload_for_now(home, path)
    with LOOM.lock:
        before = LOOM.weavings.get(home)
        weaving = LOOM.weavings[home] = Weaving(home) if before is None else before
    try:
        weaving.look()
        home.follower = weaving.follow
    except BaseException:
        if before is None:
            weaving.undo()
        if take_back is not None:
            take_back()
        raise
    return weaving


def unweave() -> None:
    """
    Undo all that was woven, on every registry; see `Weaving.undo`.
    """
    for weaving in list(LOOM.weavings.values()):
        weaving.undo()
