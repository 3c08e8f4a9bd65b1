"""
What a single option may be: each check returns the value in its normal form, or says what it must be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from resilient.text import compiled

__all__ = [
    "Check",
    "boolean",
    "callable_or_none",
    "choice",
    "fraction",
    "integer",
    "number",
    "parse_duration",
    "seconds",
    "text",
]

# A check returns the value in its normal form, or raises ValueError with the
# remedy: "must be ..., for example ...".
Check = Callable[[Any], Any]


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
