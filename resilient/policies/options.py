"""
Option tables: one way to state, check and explain the options of every policy.

A table is data. Decorators check keywords against it, and everything else that
accepts options (config objects, mappings, files) goes through the same rows.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from resilient.errors import PolicyError
from resilient.light import dataclass
from resilient.text import safe_repr

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resilient.policies.checks import Check

__all__ = ["UNSET", "Option", "OptionTable", "Unset", "describe", "is_async", "same"]


class Unset:
    """
    The type of `UNSET`: an option that nobody gave.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNSET"

    def __reduce__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET = Unset()


@dataclass(frozen=True, slots=True)
class Option:
    """
    One row of an option table.

    Args:
        name: The keyword.
        check: Normalises a value or raises ValueError with the remedy.
        default: What holds when nobody gives the option; `UNSET`: somebody has to.
        help: One line on what it means, with its unit.
        aliases: Other keywords for the same option.
    """

    name: str
    check: Check
    default: Any
    help: str
    aliases: tuple[str, ...] = ()


class OptionTable:
    """
    All options of one policy.

    Args:
        kind: The policy's name, as the decorator is called.
        options: The rows.
    """

    def __init__(self, kind: str, *options: Option) -> None:
        self.kind = kind
        self.options: dict[str, Option] = {option.name: option for option in options}
        self._names = {alias: option.name for option in options for alias in (option.name, *option.aliases)}

    def defaults(self) -> dict[str, Any]:
        """
        Return the value of each option when nobody gives any.
        """
        return {name: option.default for name, option in self.options.items()}

    @functools.cached_property
    def _defaults(self) -> Mapping[str, Any]:
        # Plain, for it is read at each failure; whoever gets it may not change it.
        return self.defaults()

    def filled(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """
        Return a value for each option, of *given* or its default; one and the same table where nothing is given.
        """
        return {**self._defaults, **given} if given else self._defaults

    def missing(self, given: Mapping[str, Any]) -> list[str]:
        """
        Return one sentence for each option that has to be given, and is not.
        """
        required = (option for option in self.options.values() if isinstance(option.default, Unset))
        return [f"{option.name} must be given: {option.help}" for option in required if option.name not in given]

    def check(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """
        Return the normalised values of *given* and one sentence for each problem.

        Values that are `UNSET` count as not given.
        """
        values: dict[str, Any] = {}
        problems: list[str] = []
        for keyword, value in given.items():
            if isinstance(value, Unset):
                continue
            name = self._names.get(keyword)
            if name is None:
                problems.append(f"unknown option {keyword!r}{self._did_you_mean(keyword)}")
                continue
            if name in values:
                problems.append(f"{keyword!r} is another name for {name!r}, which is given too; give one of them")
                continue
            try:
                values[name] = self.options[name].check(value)
            except ValueError as error:
                problems.append(f"{keyword} {error}, got {describe(value)}")
        return values, problems

    def validate(self, where: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return the normalised values of *given*.

        Raises:
            PolicyError: With every problem at once.
        """
        values, problems = self.check(given)
        if problems:
            raise PolicyError(where, problems)
        return values

    def show(self, options: Mapping[str, Any], *leading: str) -> str:
        """
        Return the decorator with those of *options* that differ from their defaults.
        """
        shown = list(leading)
        shown += [
            f"{name}={options[name]!r}"
            for name, option in self.options.items()
            if name in options and not same(options[name], option.default)
        ]
        return f"@{self.kind}({', '.join(shown)})" if shown else f"@{self.kind}"

    def _did_you_mean(self, keyword: str) -> str:
        import difflib

        close = difflib.get_close_matches(keyword, self._names, n=1)
        if close:
            return f"; did you mean {close[0]!r}?"
        return f"; @{self.kind} takes {', '.join(self.options)}"


def same(one: object, other: object) -> bool:
    """
    Tell whether two option values are equal; values that cannot be compared are not.
    """
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001 - a user's object may raise from __eq__
        return one is other


def describe(value: object) -> str:
    """
    Return *value* and its type for an error message, at most 80 characters of it.
    """
    return f"{safe_repr(value, 80)} ({type(value).__name__})"


def is_async(value: object) -> bool:
    """
    Tell whether what calling *value* returns has to be awaited.
    """
    while isinstance(value, functools.partial):
        value = value.func
    # By `__class__`: a proxy tells that of what it stands for.
    method = getattr(value.__class__, "__call__", None)  # noqa: B004 - the method itself is looked at
    return inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(method)
