"""
The rules of a service level: what one value becomes when quality steps down.

A rule is any callable ``(value, level) -> value``. Those made here are pure,
pickle, compare equal when they say the same, and keep four promises: FULL leaves
the value as it is, a value they do not understand stays as it is, a whole number
stays a whole number, and no level ever raises a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeAlias

from resilient.errors import PolicyError
from resilient.levels import DegradationLevel
from resilient.light import dataclass
from resilient.policies.options import describe
from resilient.policies.sizes import QUALITIES, is_number, is_side, resized, shorter

__all__ = ["DEFAULT_RULES", "Rule", "cap", "enabled_from", "equal", "is_feature", "ladder", "scale"]

Rule: TypeAlias = Callable[[Any, DegradationLevel], Any]


def equal(one: object, other: object) -> bool:
    """
    Tell whether two values are the same to a rule.

    True is not 1, and values that cannot be compared (arrays) are not equal.
    """
    if one is other:
        return True
    if isinstance(one, bool) is not isinstance(other, bool):
        return False
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001 - a foreign __eq__ may raise anything, and a call must not fail by it
        return False


def _check_limits(where: str, limits: Mapping[str, object]) -> None:
    problems = [
        f"{name} must be a finite number or left out, got {describe(limit)}"
        for name, limit in limits.items()
        if limit is not None and not (is_number(limit) and -math.inf < limit < math.inf)
    ]
    if problems:
        raise PolicyError(where, problems)


class _Named:
    """
    Gives a rule the repr that makes it: ``scale(minimum=8)``.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        given = ((field.name, getattr(self, field.name)) for field in fields(self))  # type: ignore[arg-type] # a dataclass
        return f"{type(self).__name__.strip('_').lower()}({', '.join(f'{k}={v!r}' for k, v in given if v is not None)})"


@dataclass(frozen=True, slots=True, repr=False)
class _Scale(_Named):
    minimum: float | None = None
    maximum: float | None = None

    def __post_init__(self) -> None:
        _check_limits("scale", {"minimum": self.minimum, "maximum": self.maximum})
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            problem = f"minimum {self.minimum!r} is above maximum {self.maximum!r}; swap them"
            raise PolicyError("scale", [problem])

    def __call__(self, value: Any, level: DegradationLevel) -> Any:
        if level is DegradationLevel.FULL or not is_number(value) or value != value:  # noqa: PLR0124 - NaN
            return value
        whole = isinstance(value, int)
        # Whole numbers in whole tenths: exact at any size, where a float would
        # lose digits or overflow.
        scaled = value * round(level.factor * 10) // 10 if isinstance(value, int) else value * level.factor
        if self.minimum is not None:
            scaled = max(scaled, math.ceil(self.minimum) if whole else float(self.minimum))
        if self.maximum is not None:
            scaled = min(scaled, math.floor(self.maximum) if whole else float(self.maximum))
        # Neither a minimum nor a negative value is a reason to do more work
        # at a lower level.
        return min(value, scaled)


@dataclass(frozen=True, slots=True)
class _Ladder:
    rungs: tuple[object, ...]

    def __post_init__(self) -> None:
        problems: list[str] = []
        if len(self.rungs) < 2:  # noqa: PLR2004 - the first and the next
            problems.append(f"needs at least two rungs, the highest first, got {describe(self.rungs)}")
        for at, rung in enumerate(self.rungs):
            if any(equal(rung, above) for above in self.rungs[:at]):
                problems.append(f"has the rung {describe(rung)} twice; leave one out")
        if problems:
            raise PolicyError("ladder", problems)

    def __repr__(self) -> str:
        return f"ladder({', '.join(repr(rung) for rung in self.rungs)})"

    def __call__(self, value: Any, level: DegradationLevel) -> Any:
        if level is DegradationLevel.FULL:
            return value
        for at, rung in enumerate(self.rungs):
            if equal(rung, value):
                return self.rungs[min(at + level.steps_down, len(self.rungs) - 1)]
        return value


@dataclass(frozen=True, slots=True, repr=False)
class _Cap(_Named):
    high: float | None = None
    medium: float | None = None
    low: float | None = None
    minimal: float | None = None

    def __post_init__(self) -> None:
        limits = {"high": self.high, "medium": self.medium, "low": self.low, "minimal": self.minimal}
        _check_limits("cap", limits)
        given = [(name, limit) for name, limit in limits.items() if limit is not None]
        if not given:
            raise PolicyError("cap", ["needs a limit for at least one level, for example cap(medium=30)"])
        problems = [
            f"{name}={limit!r} is above {above}={higher!r}; a lower level needs a limit that is not higher"
            for (above, higher), (name, limit) in pairwise(given)
            if limit > higher
        ]
        if problems:
            raise PolicyError("cap", problems)

    def __call__(self, value: Any, level: DegradationLevel) -> Any:
        if not is_number(value):
            return value
        limits = (self.high, self.medium, self.low, self.minimal)[: level.steps_down]
        limit = next((one for one in reversed(limits) if one is not None), None)
        if limit is None or not value > limit:
            return value
        return math.floor(limit) if isinstance(value, int) else float(limit)


@dataclass(frozen=True, slots=True)
class _EnabledFrom:
    level: DegradationLevel

    def __post_init__(self) -> None:
        try:
            level = DegradationLevel.of(self.level)
        except ValueError as error:
            raise PolicyError("enabled_from", [str(error)]) from None
        object.__setattr__(self, "level", level)

    def __repr__(self) -> str:
        return f"enabled_from({self.level.label!r})"

    def __call__(self, value: Any, level: DegradationLevel) -> Any:
        # None, False and 0 are off already, each in its own way.
        if level >= self.level or value is None or value is False or equal(value, 0):
            return value
        return False


class _Default:
    """
    Gives a default rule the repr that finds it: ``DEFAULT_RULES['quality']``.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"DEFAULT_RULES[{next(name for name, rule in DEFAULT_RULES.items() if equal(rule, self))!r}]"


@dataclass(frozen=True, slots=True, repr=False)
class _Quality(_Default):
    # Scale a number, or go one name down a level from "ultra" to "draft".
    def __call__(self, value: Any, level: DegradationLevel) -> Any:
        if isinstance(value, str):
            return QUALITIES.down(value, level.steps_down)
        return (_WHOLE if isinstance(value, int) else _ANY)(value, level)


@dataclass(frozen=True, slots=True, repr=False)
class _Resolution(_Default):
    # One rung a level, or each side times the factor.
    def __call__(self, value: Any, level: DegradationLevel) -> Any:
        return resized(value, level.factor)


@dataclass(frozen=True, slots=True, repr=False)
class _Side(_Default):
    # One side of a picture, on its own.
    def __call__(self, value: Any, level: DegradationLevel) -> Any:
        if level is DegradationLevel.FULL or not is_side(value):
            return value
        return shorter(value, level.factor)


def scale(*, minimum: float | None = None, maximum: float | None = None) -> Rule:
    """
    Return a rule that multiplies a number by the level's factor.

    Args:
        minimum: Never below this, unless the value was already.
        maximum: Never above this while the level is below FULL.

    Raises:
        PolicyError: A limit is no finite number, or the two are the wrong way round.
    """
    return _Scale(minimum, maximum)


def ladder(*rungs: object) -> Rule:
    """
    Return a rule that steps a value down *rungs*, one a level from where it is.

    Args:
        rungs: At least two values, the highest first. A value that is not one
            of them stays as it is.

    Raises:
        PolicyError: Fewer than two rungs, or one of them twice.
    """
    return _Ladder(rungs)


def cap(
    *,
    high: float | None = None,
    medium: float | None = None,
    low: float | None = None,
    minimal: float | None = None,
) -> Rule:
    """
    Return a rule that keeps a number at or below a limit for each level.

    Args:
        high: The limit at HIGH; None: no limit yet.
        medium: The limit at MEDIUM; None: the one above holds.
        low: The limit at LOW; None: the one above holds.
        minimal: The limit at MINIMAL; None: the one above holds.

    Raises:
        PolicyError: No limit is given, one is no finite number, or one is
            higher than the one above it.
    """
    return _Cap(high, medium, low, minimal)


def enabled_from(level: DegradationLevel | str) -> Rule:
    """
    Return a rule for a feature flag: at levels below *level* it is False.

    Raises:
        PolicyError: *level* is no service level.
    """
    return _EnabledFrom(level)  # type: ignore[arg-type] # a name becomes the level it names


def is_feature(rule: Rule) -> bool:
    """
    Tell whether *rule* was made by `enabled_from`.
    """
    return isinstance(rule, _EnabledFrom)


_ANY = _Scale()
_WHOLE = _Scale(minimum=1)

# Width and height hold as a pair: who applies them changes both or neither.
DEFAULT_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "quality": _Quality(),
        "steps": _WHOLE,
        "num_inference_steps": _WHOLE,
        "resolution": _Resolution(),
        "size": _Resolution(),
        "width": _Side(),
        "height": _Side(),
    }
)
