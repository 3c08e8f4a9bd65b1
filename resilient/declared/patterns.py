"""
Which rule a function gets: patterns like ``engine.video:render_*``, and which of several is the closest.

`*` stands for any characters, dots included, and all others for themselves. So
a pattern is a beginning, an end and texts between that are looked for from left
to right: the first place is always a right one, and nothing is tried twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from resilient.declared.model import Rule

__all__ = ["Patterns", "matches", "problem_of"]


class _Glob(NamedTuple):
    start: str
    middle: tuple[str, ...]
    end: str

    @classmethod
    def of(cls, pattern: str) -> _Glob:
        start, *middle, end = pattern.split("*")
        return cls(start, tuple(part for part in middle if part), end)

    def fits(self, name: str) -> bool:
        start, middle, end = self
        if not name.startswith(start) or not name.endswith(end):
            return False
        at, last = len(start), len(name) - len(end)
        for part in middle:
            at = name.find(part, at, last)
            if at < 0:
                return False
            at += len(part)
        return at <= last


def matches(pattern: str, name: str) -> bool:
    """
    Tell whether *name*, a function's ``module:qualname``, is one that *pattern* stands for.
    """
    return _Glob.of(pattern).fits(name) if "*" in pattern else pattern == name


def problem_of(pattern: str) -> str | None:
    """
    Return why no function can have a name like *pattern*, or None.
    """
    module, _, qualname = pattern.partition(":")
    if not module or not qualname or ":" in qualname or any(char.isspace() for char in pattern):
        return "must be module:qualname, * allowed, for example 'engine.video:render_*' or 'engine.*:*'"
    return None


class Patterns:
    """
    Rules, arranged so that a name finds the closest one soon.

    Args:
        rules: In the file's order.
    """

    __slots__ = ("_exact", "_lengths", "_starts", "rules")

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules: tuple[Rule, ...] = tuple(rules)
        self._exact: dict[str, Rule] = {}
        # By what stands before the first star; in each group the last in the file is first.
        self._starts: dict[str, list[tuple[str, _Glob, Rule]]] = {}
        for rule in self.rules:
            if "*" in rule.pattern:
                glob = _Glob.of(rule.pattern)
                longest = max(*glob.middle, glob.end, "", key=len)
                self._starts.setdefault(glob.start, []).insert(0, (longest, glob, rule))
            else:
                self._exact[rule.pattern] = rule
        self._lengths = sorted({len(start) for start in self._starts}, reverse=True)

    def __repr__(self) -> str:
        return f"<Patterns: {len(self.rules)} rules>"

    def best(self, name: str) -> Rule | None:
        """
        Return the closest rule for *name*, or None.

        A pattern without a star is closer than any other; then the one with more before its first star; then the
        one that comes later in the file.
        """
        exact = self._exact.get(name)
        if exact is not None:
            return exact
        for length in self._lengths:
            for longest, glob, rule in self._starts.get(name[:length], ()):
                # Most names have nothing of the kind, and that costs less than a call.
                if longest in name and glob.fits(name):
                    return rule
        return None

    def unused(self, names: Iterable[str]) -> list[Rule]:
        """
        Return the rules that match none of *names*, in the file's order.
        """
        known = frozenset(names)
        return [rule for rule in self.rules if not _used(rule.pattern, known)]


def _used(pattern: str, names: frozenset[str]) -> bool:
    if "*" not in pattern:
        return pattern in names
    glob = _Glob.of(pattern)
    return any(glob.fits(name) for name in names)
