"""
The options of degradation.

Beside the policy, for that is loaded only where a function degrades.
"""

from __future__ import annotations

from resilient.levels import DegradationLevel
from resilient.policies.checks import text
from resilient.policies.options import Option, OptionTable

__all__ = ["DEGRADE_OPTIONS"]


def _level(value: object) -> DegradationLevel | None:
    if value is None:
        return None
    try:
        return DegradationLevel.of(value)  # type: ignore[arg-type]  # what is neither raises
    except ValueError:
        names = ", ".join(repr(level.label) for level in DegradationLevel)
        msg = f"must be a DegradationLevel or one of {names}"
        raise ValueError(msg) from None


def _scope(value: object) -> str | None:
    return None if value is None else text(value)


DEGRADE_OPTIONS = OptionTable(
    "degradable",
    Option("scope", _scope, None, "whose level is followed; None: the registry's"),
    Option("only_below", _level, None, "the level from which on the function is left alone"),
    Option("floor", _level, None, "the lowest level that the function follows"),
)
