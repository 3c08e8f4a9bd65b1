"""
The mapping that `ErrorHandlingSystem` may be given: which keys it has, and what they may hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from resilient.configs import CircuitBreakerConfig, Config, RetryConfig
from resilient.control.thresholds import Timing, check_triggers
from resilient.errors import PolicyError
from resilient.policies.options import describe
from resilient.registry import Registry
from resilient.shelves import not_a_text

__all__ = ["Settings"]

C = TypeVar("C", bound=Config)

_KEYS = ("name", "retry", "circuit", "triggers")
_TIMES = tuple(field.name for field in fields(Timing))


class Settings:
    """
    What an own registry is configured with.

    Args:
        value: The mapping; a registry or None sets nothing.
        problems: One sentence is added for each thing that cannot be meant.
    """

    def __init__(self, value: Registry | Mapping[str, Any] | None, problems: list[str]) -> None:
        if value is not None and not isinstance(value, Registry | Mapping):
            problems.append(f"registry must be a Registry, a mapping or None, got {describe(value)}")
        given = dict(value) if isinstance(value, Mapping) else {}
        problems += [_unknown(key) for key in given if key not in _KEYS]
        self.name: str = given.get("name", "own")
        problems += not_a_text("name", self.name)
        self.retry: RetryConfig = _config("retry", RetryConfig, given.get("retry", {}), problems)
        config = _config("circuit", CircuitBreakerConfig, given.get("circuit", {}), problems)
        self.circuit: CircuitBreakerConfig = config
        self.thresholds: dict[str, Any]
        self.times: dict[str, Any]
        self.thresholds, self.times = _triggers(given.get("triggers", {}), problems)


def _unknown(key: object) -> str:
    import difflib

    close = difflib.get_close_matches(str(key), _KEYS, n=1)
    return f"unknown key {key!r}; " + (f"did you mean {close[0]!r}?" if close else f"there are {', '.join(_KEYS)}")


def _config(key: str, kind: type[C], value: object, problems: list[str]) -> C:
    """
    Return *value* as a config object, an empty one after adding to *problems*.
    """
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        problems.append(f"{key} must be a mapping of options or a {kind.__name__}, got {describe(value)}")
        return kind()
    given, wrong = kind.table.check(value)
    wrong = wrong or kind.check_together(given)
    problems += [f"{key}: {one}" for one in wrong]
    if wrong:
        return kind()
    names = {option: field for field, option in kind.renamed.items()}
    return kind(**{names.get(str(option), str(option)): one for option, one in value.items()})


def _triggers(value: object, problems: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """
    Return the thresholds and the times of *value*, after adding to *problems*.
    """
    if not isinstance(value, Mapping):
        problems.append(f"triggers must be a mapping such as {{'error_rate_threshold': 10}}, got {describe(value)}")
        return {}, {}
    times = {key: one for key, one in value.items() if key in _TIMES}
    thresholds = {key: one for key, one in value.items() if key not in times}
    try:
        check_triggers(thresholds, times)
    except PolicyError as error:
        problems += [f"triggers: {one}" for one in error.problems]
    return thresholds, times
