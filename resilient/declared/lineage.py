"""
What each policy is made of: those that it extends, and those that they extend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["MOST", "Lineages", "joined", "lineages"]

MOST = 100
"""How many policies one may be made of."""

_SHOWN = 8


class Lineages(NamedTuple):
    """
    What each policy is made of.

    Attributes:
        of: By name: the policy and all that it extends, each once and before what it extends itself.
        circles: The policies that extend themselves, each with the way that leads back to it.
        long: The policies that are made of more than `MOST`; they stand alone in `of`.
    """

    of: Mapping[str, tuple[str, ...]]
    circles: Sequence[tuple[str, ...]]
    long: Sequence[str]


def lineages(extends: Mapping[str, Iterable[str]]) -> Lineages:
    """
    Return what each policy is made of; of each circle the step that closes it is left out.

    Args:
        extends: By name, the names of policies that there are; a later one wins over an earlier one.
    """
    of: dict[str, tuple[str, ...]] = {}
    circles: list[tuple[str, ...]] = []
    long: list[str] = []
    for root in extends:
        # By hand: a file may chain more policies than Python's stack is deep.
        trail: list[str] = [] if root in of else [root]
        rest: dict[str, Iterator[str]] = {name: iter(extends[name]) for name in trail}
        kept: dict[str, list[str]] = {name: [] for name in trail}
        at: dict[str, int] = dict.fromkeys(trail, 0)
        while trail:
            name = trail[-1]
            parent = next(rest[name], None)
            if parent is None:
                trail.pop()
                del at[name]
                line = joined(name, [of[one] for one in kept[name]])
                if len(line) > MOST:
                    long.append(name)
                of[name] = line if len(line) <= MOST else (name,)
            elif parent in at:
                circle = trail[at[parent] :][:_SHOWN]
                more = ["..."] if len(trail) - at[parent] > _SHOWN else []
                circles.append((*circle, *more, parent))
            else:
                kept[name].append(parent)
                if parent not in of:
                    rest[parent], kept[parent], at[parent] = iter(extends[parent]), [], len(trail)
                    trail.append(parent)
    return Lineages(of, circles, long)


def joined(name: str, parents: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """
    Return *name* and the lineages of its *parents*, the last one first, each policy where it is last met.

    So a policy that two others extend stands behind both, and what either says wins over it.
    """
    met = [name, *(one for parent in reversed(parents) for one in parent)]
    return tuple(reversed(dict.fromkeys(reversed(met))))
