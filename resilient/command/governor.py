"""
Who governs the functions of the program itself: each as it is defined.
"""

from __future__ import annotations

import builtins
import functools
import warnings
from typing import TYPE_CHECKING, Any

from resilient.command.rewriting import GOVERNOR
from resilient.declared.effective import best, spellings
from resilient.errors import DecorationError, PolicyError, ResilientWarning
from resilient.governing import governed
from resilient.resilience import Resilience
from resilient.weaving.finding import own_name, raw_of
from resilient.weaving.reach import Reach

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilient.declared.model import Rule
    from resilient.registry import Registry

__all__ = ["Governor"]

_INSIDE = "<locals>"


class Governor:
    """
    Governs what a program defines.

    Args:
        registry: Whose declarations hold.

    Attributes:
        functions: The names of those governed.
        skipped: What a pattern matches and cannot be governed, by name, each with the reason.
        problems: What is declared and cannot be meant, each with the function.
        defined: The qualified names of all functions that the program's text defines.
    """

    def __init__(self, registry: Registry) -> None:
        self.functions: set[str] = set()
        self.skipped: dict[str, str] = {}
        self.problems: list[str] = []
        self.defined: set[str] = set()
        self._registry = registry
        self._reach = Reach(registry.declarations)

    def __repr__(self) -> str:
        return f"<Governor of {len(self.functions)} functions on registry {self._registry.name!r}>"

    def install(self) -> None:
        """
        Let the rewritten program find it.
        """
        setattr(builtins, GOVERNOR, self._decorator)

    def wanted(self, qualname: str) -> bool:
        """
        Tell whether the program's function *qualname* is one that a pattern means.

        A function that each call of another makes anew is meant only where the pattern says so: ``main:f.<locals>.g``.
        """
        self.defined.add(qualname)
        name = f"__main__:{qualname}"
        if not self._reach.function(name):
            return False
        return _INSIDE not in qualname or any(_INSIDE in rule.pattern for rule in self._closest(name) if rule)

    def _closest(self, name: str) -> list[Rule | None]:
        declarations = self._registry.declarations
        documents = () if declarations is None else declarations.documents
        return [best(patterns, spellings(name)) for patterns, _, _ in documents]

    def _decorator(self, qualname: str) -> Callable[[Any], Any]:
        return functools.partial(self._govern, qualname)

    def _govern(self, qualname: str, value: Any) -> Any:
        name = f"__main__:{qualname}"
        raw = raw_of(value) if isinstance(value, classmethod | staticmethod) else value
        if not isinstance(getattr(raw, "resilience", None), Resilience):
            # A decorator of the program may have put something else in the function's place.
            other = own_name(raw)
            if other is None or other.partition(":")[2] != qualname:
                self.skipped[name] = f"its decorators make it {other or f'a {type(raw).__name__}'}"
                return value
        try:
            guarded = governed(registry=self._registry)(value)
            self._rename(raw_of(guarded).resilience, name)
        except DecorationError as error:
            self.skipped[name] = str(error)
            return value
        except PolicyError as error:
            # As weaving does for a module that is imported: the program goes on.
            self.problems.append(str(error))
            warnings.warn(f"{name} is not governed: {error}", ResilientWarning, stacklevel=2)
            return value
        self.functions.add(name)
        return guarded

    def _rename(self, resilience: Resilience[..., Any], name: str) -> None:
        """
        Call the function what the first process calls it; a spawned one loads the program under another name.
        """
        if resilience.name != name and resilience.name.startswith("__mp_main__:"):
            resilience.leave()
            resilience.name = name
            resilience.bind(self._registry)
