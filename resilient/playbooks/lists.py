"""
The lists of recovery steps: which steps a category has, in which order.
"""

from __future__ import annotations

import inspect
import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resilient.errorinfo import ErrorCategory
from resilient.errors import PolicyError
from resilient.playbooks.steps import BUILT_IN, SHARED
from resilient.policies.checks import choice, seconds, text
from resilient.policies.options import UNSET, Option, OptionTable, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["PlaybookStep", "StepLists"]

# Seconds that a step has unless its registration says otherwise.
TIMEOUT = 30.0

_OPTIONS = OptionTable(
    "step",
    Option("name", text, UNSET, "what the step is called; the function's own name unless given"),
    Option("before", text, UNSET, "the step that it comes before; without it, it comes last"),
    Option("scope", choice("call", "shared"), "call", "shared: one runs, others wait for its result"),
    Option("timeout", seconds(zero=False, infinite=True), TIMEOUT, "seconds after which it no longer applies"),
)


@dataclass(slots=True, eq=False)
class PlaybookStep:
    """
    One step of a playbook.

    Args:
        name: What it is called.
        category: The playbook it belongs to.
        function: What it does.
        scope: ``"call"``, or ``"shared"``: one runs, others wait for its result.
        timeout: Seconds; None: no limit.
        built_in: Whether it came with this library, and takes a `Kit` too.
        reported: Whether an error of it has been logged already.
    """

    name: str
    category: str
    function: Callable[..., Any]
    scope: str = "call"
    timeout: float | None = TIMEOUT
    built_in: bool = False
    reported: bool = False

    @property
    def origin(self) -> str:
        """
        Where the function is from, ``module:qualname``.
        """
        function = self.function
        kind = type(function)
        name = getattr(function, "__qualname__", f"<{kind.__qualname__}>")
        return f"{getattr(function, '__module__', kind.__module__)}:{name}"

    def __repr__(self) -> str:
        return f"<step {self.category}/{self.name}, {self.scope}, {self.origin}>"


class StepLists:
    """
    The steps of each category, the built-in ones to begin with.
    """

    def __init__(self) -> None:
        # Replaced whole, never changed: read without the lock.
        self._lists = {one.value: _built_in(one.value) for one in ErrorCategory}
        self._renew_locks()

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()

    def of(self, category: str | ErrorCategory) -> tuple[PlaybookStep, ...]:
        """
        Return the category's steps, in order.

        Raises:
            PolicyError: There is no such category.
        """
        return self._lists[_named(category, "playbooks.playbook()")]

    def all(self) -> tuple[PlaybookStep, ...]:
        """
        Return the steps of all categories.
        """
        return tuple(step for steps in self._lists.values() for step in steps)

    def registration(
        self, category: str | ErrorCategory, options: Mapping[str, Any]
    ) -> Callable[[Callable[..., Any]], None]:
        """
        Check where a step is to go, and return how to put it there.

        Raises:
            PolicyError: With every problem at once.
        """
        where = "playbooks.step()"
        if callable(category):
            raise PolicyError(where, ['the category comes first; write @playbooks.step("network") above the function'])
        key = _named(category, where)
        where = f"playbooks.step({key!r})"
        values, problems = _OPTIONS.check(options)
        before = values.get("before")
        if before is not None and before not in self._names(key):
            problems.append(f"before={before!r} is no step; {self._existing(key)}")
        if problems:
            raise PolicyError(where, problems)
        timeout = None if values["timeout"] == math.inf else values["timeout"]

        def register(function: Callable[..., Any]) -> None:
            _check_function(function, where)
            name = str(values.get("name") or getattr(function, "__name__", type(function).__name__))
            self._insert(PlaybookStep(name, key, function, values["scope"], timeout), before, where)

        return register

    def _insert(self, new: PlaybookStep, before: str | None, where: str) -> None:
        with self._lock:
            steps = list(self._lists[new.category])
            names = [one.name for one in steps]
            index = len(steps)
            if new.name in names:
                index = names.index(new.name)
                known = steps.pop(index)
                # Only what is defined again at its place in a module (a notebook
                # cell, a reload) is the same step; lambdas share one name.
                if known.origin != new.origin or "<" in new.origin:
                    problem = f"there is a step {new.name!r} already, {known.origin}; give this one another name="
                    raise PolicyError(where, [f"{problem}; {self._existing(new.category)}"])
            if before is not None and before != new.name:
                index = next(i for i, one in enumerate(steps) if one.name == before)
            steps.insert(index, new)
            self._lists = {**self._lists, new.category: tuple(steps)}

    def _names(self, category: str) -> list[str]:
        return [step.name for step in self._lists[category]]

    def _existing(self, category: str) -> str:
        return f"the steps of {category!r} are: {', '.join(self._names(category)) or 'none'}"

    def __repr__(self) -> str:
        return f"StepLists({', '.join(f'{len(steps)} {category}' for category, steps in self._lists.items() if steps)})"


def _built_in(category: str) -> tuple[PlaybookStep, ...]:
    return tuple(
        PlaybookStep(one.__name__, category, one, "shared" if one in SHARED else "call", built_in=True)
        for one in BUILT_IN.get(category, ())
    )


def _named(category: object, where: str) -> str:
    value = category.value if isinstance(category, ErrorCategory) else category
    known = [one.value for one in ErrorCategory]
    if value not in known:
        raise PolicyError(where, [f"there is no category {describe(value)}; there are {', '.join(known)}"])
    return str(value)


def _check_function(function: object, where: str) -> None:
    if not callable(function):
        raise PolicyError(where, [f"a step must be a function (ctx) -> bool, sync or async, got {describe(function)}"])
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise PolicyError(where, [f"a step must return True or False, and {describe(function)} is a generator"])
