"""
Which errors an option means: exception types, category names, or a predicate.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

from resilient.classification.rules import Transient
from resilient.errorinfo import ErrorCategory
from resilient.light import dataclass
from resilient.policies.options import is_async

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resilient.classification.rules import Classification

__all__ = ["ANY", "Errors", "Matcher", "matcher"]

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

    types: tuple[type[Exception], ...] = ()
    categories: frozenset[ErrorCategory] = frozenset()
    predicates: tuple[Callable[[Exception], object], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.types or self.categories or self.predicates)

    def __iter__(self) -> Iterator[type[Exception] | ErrorCategory | Callable[[Exception], object]]:
        """
        Iterate over what was given: types, categories, predicates.
        """
        return itertools.chain(self.types, self.categories, self.predicates)

    def matches(self, error: Exception, verdict: Callable[[], Classification], *, permanent: bool = True) -> bool:
        """
        Tell whether *error* is meant.

        Whatever a predicate raises passes through.

        Args:
            error: What was raised.
            verdict: How it is classified; asked only where a category decides.
            permanent: Whether a category includes those of its errors that
                another try cannot mend.
        """
        # By its real type: `isinstance` would ask `__class__`, which may raise.
        if issubclass(type(error), self.types):
            return True
        if self.categories:
            found = verdict()
            if found.category in self.categories and (permanent or found.transient is not Transient.NO):
                return True
        return bool(self.predicates) and any(predicate(error) for predicate in self.predicates)

    def __repr__(self) -> str:
        parts = [one.__name__ for one in self.types]
        parts += sorted(repr(one.value) for one in self.categories)
        parts += [getattr(one, "__name__", repr(one)) for one in self.predicates]
        return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"


_NONE: frozenset[ErrorCategory] = frozenset()

# What nearly everybody means, once for all.
ANY = Matcher((Exception,))


def matcher(value: object) -> Matcher:
    """
    Check for exception types, category names or a predicate, one or several.

    Raises:
        ValueError: *value* is something else.
    """
    if value is Exception:
        return ANY
    if isinstance(value, Matcher):
        return value
    several = isinstance(value, Iterable) and not isinstance(value, str | type)
    types: set[type[Exception]] = set()
    categories: set[ErrorCategory] = set()
    predicates: list[Callable[[Exception], object]] = []
    for one in value if several else (value,):  # type: ignore[attr-defined]
        if isinstance(one, type):
            types.add(_exception_type(one))
        elif isinstance(one, ErrorCategory):
            categories.add(one)
        elif isinstance(one, str):
            if one not in _CATEGORIES:
                msg = f"must be a category, one of {', '.join(repr(name) for name in _CATEGORIES)}"
                raise ValueError(msg)
            categories.add(_CATEGORIES[one])
        elif not callable(one):
            msg = "must be exception types, category names or a predicate, one or several"
            raise ValueError(msg)
        elif is_async(one):
            msg = "must be decided at once: a predicate cannot be async"
            raise ValueError(msg)
        else:
            predicates.append(one)
    # In an order that does not depend on a set's: matchers are compared.
    ordered = sorted(types, key=lambda one: (one.__module__, one.__qualname__))
    return Matcher(tuple(ordered), frozenset(categories) if categories else _NONE, tuple(predicates))


def _exception_type(one: type) -> type[Exception]:
    if issubclass(one, Exception):
        return one
    if issubclass(one, BaseException):
        msg = (
            f"must be Exception types, and {one.__name__} is not one (Ctrl-C, SystemExit and cancellation always pass"
            " through)"
        )
    else:
        msg = f"must be exception types, category names or a predicate, and {one.__name__} is none of them"
    raise ValueError(msg)
