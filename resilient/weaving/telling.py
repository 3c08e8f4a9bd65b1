"""
What weaving tells people: what it has not reached, and why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilient.callers import warn_caller
from resilient.declared.patterns import matches
from resilient.declared.wording import counted, did_you_mean
from resilient.weaving.finding import Found, References, at, own_name, things_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import ModuleType

    from resilient.weaving.reach import Reach
    from resilient.weaving.woven import Woven

__all__ = ["Told", "instead", "listed", "references"]

_SHOWN = 10


def listed(texts: Sequence[str]) -> str:
    """
    Return the first of *texts*, and how many more there are.
    """
    more = f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more


def references(woven: Iterable[Woven], modules: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, str, str]]:
    """
    Return who in *modules* holds a woven function as it was: the holder, the key there, and the function's name.
    """
    living = [(one.resilience, one.name) for one in woven]
    names = {id(resilience.pipeline.fn): name for resilience, name in living if resilience is not None}
    return References(names).among(modules) if names else ()


def instead(module: ModuleType, pattern: str) -> str:
    """
    Return the end of a sentence that says what to write instead of *pattern*, which matches nothing in *module*.
    """
    home, _, path = pattern.partition(":")
    if "*" in path:
        return ""
    other = own_name(at(module, path))
    if other not in {None, pattern}:
        return f": that is {other!r}, so write that"
    known = [one.name.partition(":")[2] for one in things_of(module, home) if isinstance(one, Found)]
    return did_you_mean(path, known)


class Told:
    """
    What was warned about: each thing once.
    """

    def __init__(self) -> None:
        self._references: set[tuple[str, str]] = set()
        self._patterns: set[str] = set()

    def missed(self, woven: Iterable[Woven], modules: Iterable[tuple[str, Any]]) -> None:
        """
        Warn about references in *modules* that go past the policies.
        """
        texts = []
        for where, key, name in references(woven, modules):
            if (where, key) not in self._references:
                self._references.add((where, key))
                texts.append(f"{name} in {where} as {key!r}")
        if texts:
            what = counted(len(texts), "reference")
            verbs = ("was", "goes") if len(texts) == 1 else ("were", "go")
            warn_caller(
                f"{what} {verbs[0]} taken before weaving, and {verbs[1]} past the policies: {listed(texts)}."
                " Weave before these modules are imported, or name the function through its module there"
            )

    @staticmethod
    def refused(module: str, problems: Sequence[str]) -> None:
        """
        Warn about functions of *module*, which has just been imported, that go without their policies.

        Args:
            module: Its name; empty: they are of any module, and the declarations are new.
            problems: What is wrong, each with the function.
        """
        cause = f"importing {module!r}" if module else "declarations have changed"
        what = f"{counted(len(problems), 'function')} {'is' if len(problems) == 1 else 'are'}"
        warn_caller(f"{cause}: {what} not woven: {listed(problems)}")

    def unmatched(
        self,
        reach: Reach,
        modules: Mapping[str, ModuleType],
        names: Mapping[str, set[str]],
        skipped: Mapping[str, str],
    ) -> None:
        """
        Warn about patterns for one of *modules* itself that match nothing in it.

        Args:
            reach: The patterns.
            modules: Modules that have run, by name.
            names: What was matched, by module.
            skipped: What cannot be woven, each with the reason.
        """
        texts = []
        for name, module in modules.items():
            known = names.get(name, set()).difference(skipped)
            for rule in reach.of_module(name):
                pattern = rule.pattern
                if pattern not in self._patterns and not any(matches(pattern, one) for one in known):
                    self._patterns.add(pattern)
                    why = f": {skipped[pattern]}" if pattern in skipped else instead(module, pattern)
                    texts.append(f"{pattern!r} ({rule.origin.where}){why}")
        if texts:
            warn_caller(f"patterns that match no function: {listed(texts)}")
