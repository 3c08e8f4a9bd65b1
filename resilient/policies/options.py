"""
Option tables: one way to state, check and explain the options of every policy.

A table is data. Decorators check keywords against it, and everything else that
accepts options (config objects, mappings, files) goes through the same rows.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from resilient.errors import PolicyError
from resilient.light import dataclass
from resilient.text import compiled, safe_repr

__all__ = [
    "UNSET",
    "Check",
    "Option",
    "OptionTable",
    "Unset",
    "boolean",
    "callable_or_none",
    "choice",
    "describe",
    "fraction",
    "integer",
    "is_async",
    "number",
    "parse_duration",
    "same",
    "seconds",
    "text",
]

# A check returns the value in its normal form, or raises ValueError with the
# remedy: "must be ..., for example ...".
Check = Callable[[Any], Any]


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
        default: What holds when nobody gives the option.
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


def _real(value: object, expected: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"must be {expected}"
        raise ValueError(msg)
    try:
        return float(value)
    except OverflowError:
        msg = f"must be {expected}"
        raise ValueError(msg) from None


def number(*, minimum: float = 0.0, maximum: float = math.inf, above: bool = False, infinite: bool = False) -> Check:
    """
    Return a check for a number from *minimum* to *maximum*.

    Args:
        minimum: The smallest value; not itself allowed where *above* is true.
        maximum: The largest value.
        above: Whether the value has to lie above *minimum*.
        infinite: Whether ``inf`` may be given.
    """
    span = f"{'above' if above else 'of at least'} {minimum:g}"
    if maximum != math.inf:
        span += f" and at most {maximum:g}"
    expected = f"a number {span}" + (" (inf is allowed)" if infinite else "")

    def check(value: object) -> float:
        real = _real(value, expected)
        too_low = real <= minimum if above else real < minimum
        if math.isnan(real) or too_low or real > maximum or (math.isinf(real) and not infinite):
            msg = f"must be {expected}"
            raise ValueError(msg)
        return real

    return check


def fraction(*, zero: bool = False) -> Check:
    """
    Return a check for a fraction of 1, 0 only where *zero* is true.
    """
    return number(minimum=0.0, maximum=1.0, above=not zero)


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)\s*"


def parse_duration(value: object) -> object:
    """
    Return the seconds of a timedelta or of a text like ``"500ms"``, ``"30s"``, ``"2m"``, ``"1h"``.

    Anything else is returned as it is.
    """
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        found = compiled(_DURATION).fullmatch(value)
        if found:
            return float(found[1]) * _UNITS[found[2]]
    return value


def seconds(*, zero: bool = True, infinite: bool = False, optional: bool = False) -> Check:
    """
    Return a check for a duration: seconds as a number, a timedelta, or a text like ``"500ms"``.
    """
    inner = number(above=not zero, infinite=infinite)

    def check(value: object) -> float | None:
        if value is None and optional:
            return None
        try:
            return inner(parse_duration(value))  # type: ignore[no-any-return]
        except ValueError:
            span = "of at least 0" if zero else "above 0"
            tail = (", inf" if infinite else "") + (" or None" if optional else "")
            msg = f"must be seconds as a number {span}, a timedelta, or a text like '30s'{tail}"
            raise ValueError(msg) from None

    return check


def integer(*, minimum: int = 1, maximum: int = 1_000_000, optional: bool = False) -> Check:
    """
    Return a check for a whole number from *minimum* to *maximum*.
    """
    expected = f"a whole number from {minimum} to {maximum}" + (" or None" if optional else "")

    def check(value: object) -> int | None:
        if value is None and optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            msg = f"must be {expected}"
            raise ValueError(msg)
        return value

    return check


def boolean(value: object) -> bool:
    """
    Check for True or False.
    """
    if not isinstance(value, bool):
        msg = "must be True or False"
        raise ValueError(msg)
    return value


def text(value: object) -> str:
    """
    Check for a string with something in it.
    """
    if not isinstance(value, str) or not value.strip():
        msg = "must be a string that is not empty"
        raise ValueError(msg)
    return value


def choice(*allowed: object) -> Check:
    """
    Return a check for one of a few values.
    """
    listed = ", ".join(repr(one) for one in allowed)

    def check(value: object) -> object:
        # By type too: 1 == True, and neither is the other's remedy.
        for one in allowed:
            if type(value) is type(one) and value == one:
                return one
        msg = f"must be one of {listed}"
        raise ValueError(msg)

    return check


def callable_or_none(value: object) -> object:
    """
    Check for a callable or None.
    """
    if value is not None and not callable(value):
        msg = "must be callable or None"
        raise ValueError(msg)
    return value
