"""
Which errors an option means: exception types, category names, or a predicate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from resilient.errorinfo import ErrorCategory
from resilient.errors import ResilientError

if TYPE_CHECKING:
    from resilient.classify import Classification

__all__ = ["Errors", "Matcher", "matcher"]

_One: TypeAlias = type[BaseException] | str | ErrorCategory | Callable[[Exception], object]

# What users may write.
Errors: TypeAlias = _One | Iterable[_One]

_CATEGORIES = {category.value: category for category in ErrorCategory}


@dataclass(frozen=True, slots=True)
class Matcher:
    """
    A set of errors.

    Args:
        types: Exception types, subclasses included.
        categories: What the classifier may say.
        predicates: Called with the error; a true answer includes it.
    """

    types: tuple[type[BaseException], ...] = ()
    categories: frozenset[ErrorCategory] = frozenset()
    predicates: tuple[Callable[[Exception], object], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.types or self.categories or self.predicates)

    def matches(self, error: Exception, verdict: Callable[[], Classification]) -> bool:
        """
        Tell whether *error* is meant; *verdict* is asked only where a category decides.

        Whatever a predicate raises passes through.
        """
        if isinstance(error, self.types):
            return True
        if self.categories and verdict().category in self.categories:
            return True
        return any(predicate(error) for predicate in self.predicates)

    def names(self, error: Exception) -> bool:
        """
        Tell whether *error*'s very type is named, and not just a base that all errors share.
        """
        return any(issubclass(one, ResilientError) and isinstance(error, one) for one in self.types)

    def __repr__(self) -> str:
        parts = [one.__name__ for one in self.types]
        parts += sorted(repr(one.value) for one in self.categories)
        parts += [getattr(one, "__name__", repr(one)) for one in self.predicates]
        return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"


def matcher(value: object) -> Matcher:
    """
    Check for exception types, category names or a predicate, one or several.

    Raises:
        ValueError: *value* is something else.
    """
    if isinstance(value, Matcher):
        return value
    several = isinstance(value, Iterable) and not isinstance(value, str | type)
    types: list[type[BaseException]] = []
    categories: set[ErrorCategory] = set()
    predicates: list[Callable[[Exception], object]] = []
    for one in value if several else (value,):  # type: ignore[attr-defined]
        if isinstance(one, type):
            if not issubclass(one, Exception):
                msg = (
                    f"must be Exception types, and {one.__name__} is not one (Ctrl-C, SystemExit and cancellation"
                    " always pass through)"
                    if issubclass(one, BaseException)
                    else "must be exception types, category names or a predicate"
                )
                raise ValueError(msg)
            types.append(one)
        elif isinstance(one, ErrorCategory):
            categories.add(one)
        elif isinstance(one, str):
            if one not in _CATEGORIES:
                msg = f"must be a category, one of {', '.join(repr(name) for name in _CATEGORIES)}"
                raise ValueError(msg)
            categories.add(_CATEGORIES[one])
        elif callable(one):
            predicates.append(one)
        else:
            msg = "must be exception types, category names or a predicate, one or several"
            raise ValueError(msg)
    return Matcher(tuple(types), frozenset(categories), tuple(predicates))
