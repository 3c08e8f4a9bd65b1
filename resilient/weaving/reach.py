"""
Which modules and functions the patterns of a registry's declarations reach.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from resilient.declared.effective import best, spellings
from resilient.declared.patterns import matches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resilient.declared.declarations import Declarations
    from resilient.declared.model import Rule

__all__ = ["Reach"]

_OWN = __name__.partition(".")[0]

# What a guarded call itself goes through: only a pattern that begins with their names means them.
_BELOW = sys.stdlib_module_names | {"pybreaker", "structlog", "tenacity", "wrapt"}


class Reach:
    """
    What patterns reach.

    A pattern that begins with a star does not mean the standard library, nor
    what this library is made of: a guard around each of their functions would
    call itself. Our own modules are never reached.

    Args:
        declarations: What is in force; None: nothing.
    """

    def __init__(self, declarations: Declarations | None = None) -> None:
        self._layers = () if declarations is None else tuple(patterns for patterns, _, _ in declarations.documents)
        self.rules: tuple[Rule, ...] = tuple(rule for layer in self._layers for rule in layer.rules)
        parts = {rule.pattern.partition(":")[0] for rule in self.rules}
        self._exact = {part for part in parts if "*" not in part}
        self._open = parts - self._exact

    def __repr__(self) -> str:
        return f"<Reach of {len(self.rules)} rules: {len(self._exact)} modules, {len(self._open)} patterns of modules>"

    def module(self, name: str) -> bool:
        """
        Tell whether a function of the module *name* may be meant.
        """
        if name.partition(".")[0] == _OWN:
            return False
        names = [one.partition(":")[0] for one in spellings(f"{name}:")]
        return any(one in self._exact or any(_means(part, one) for part in self._open) for one in names)

    def function(self, name: str, *, named: bool = False) -> bool:
        """
        Tell whether the function *name*, ``module:qualname``, is meant; its module is one that may be.

        What Python itself calls - ``__init__``, ``__getattr__`` - is meant only where a pattern ends with its name.

        Args:
            name: The function's name.
            named: Whether that holds for this one too.
        """
        names = spellings(name)
        key = name[max(name.rfind("."), name.rfind(":")) + 1 :]
        named = named or (key.startswith("__") and key.endswith("__"))
        for layer in self._layers:
            rule = best(layer, names)
            if rule is None or (named and not rule.pattern.endswith((f".{key}", f":{key}"))):
                continue
            part = rule.pattern.partition(":")[0]
            if any(_means(part, one.partition(":")[0]) for one in names):
                return True
        return False

    def why_not(self, name: str) -> str | None:
        """
        Return why the function *name* is not meant; None where it is.
        """
        home, _, path = name.partition(":")
        rules = [rule for layer in self._layers if (rule := best(layer, spellings(name))) is not None]
        if not rules:
            return f"no pattern matches {name!r}"
        if home.partition(".")[0] == _OWN:
            return "this library itself is left alone"
        if self.function(name):
            return None
        key = path.rpartition(".")[2]
        if key.startswith("__") and not any(rule.pattern.endswith(key) for rule in rules):
            return f"Python itself calls it; end the pattern with its name, {key}"
        return f"a star for modules means neither the standard library nor what this library uses; write {name!r}"

    def of_module(self, name: str) -> Iterator[Rule]:
        """
        Yield the rules that name the module *name* itself.
        """
        for rule in self.rules:
            if rule.pattern.partition(":")[0] == name:
                yield rule

    def unused(self, names: set[str]) -> tuple[Rule, ...]:
        """
        Return the rules that match none of *names*.
        """
        known = {spelling for name in names for spelling in spellings(name)}
        return tuple(rule for layer in self._layers for rule in layer.unused(known))


def _means(part: str, module: str) -> bool:
    top = module.partition(".")[0]
    if top in _BELOW and part != module and not part.startswith(f"{top}."):
        return False
    return matches(part, module)
