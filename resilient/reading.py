"""
How decorators read what they are given: bare or with options, and everything wrong with these at once.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar, cast

from resilient.decorating import name_of
from resilient.errors import DecorationError, PolicyError
from resilient.policies.options import OptionTable, describe
from resilient.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["checked", "is_target", "no_position", "signed", "where"]

Face = TypeVar("Face")


def signed(
    face: Callable[..., Face], table: OptionTable, *positional: str, rest: str | None = None
) -> Callable[[Callable[..., Any]], Face]:
    """
    Return a decorator that gives a function the type *face* and the signature that *table* describes.

    The functions themselves take whatever comes, to tell what is wrong with it
    and what was given; ``help`` and editors read this instead.
    """
    del face  # it tells type checkers what comes of the function, and nobody else
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY, default=None) for name in positional]
    defaults = {**table.defaults(), "registry": None}
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in defaults.items()
    ]
    if rest is not None:
        parameters.append(inspect.Parameter(rest, inspect.Parameter.VAR_KEYWORD))

    def sign(function: Callable[..., Any]) -> Face:
        function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect looks for it
        return cast("Face", function)

    return sign


def is_target(kind: str, value: object, options: Mapping[str, Any]) -> bool:
    """
    Tell whether a decorator was used bare: on something to decorate, or on something that looks like it.

    Raises:
        DecorationError: There are options beside it, which would be lost.
    """
    if not (callable(value) or isinstance(value, classmethod | staticmethod | property)):
        return False
    if options:
        msg = f"{kind}() takes a function or options, and not both at once; write {kind}(...)(function)"
        raise DecorationError(msg)
    return True


def no_position(kind: str, value: object, example: str) -> list[str]:
    """
    Return what is wrong with *value*, given by position to the decorator *kind*, which takes options by keyword.
    """
    return [] if value is None else [f"options are given by keyword, as in @{kind}({example}), got {describe(value)}"]


def where(kind: str, target: Any) -> str:
    """
    Return what messages call the decorator *kind* on *target*.
    """
    return f"@{kind} on {name_of(target.__func__ if isinstance(target, classmethod | staticmethod) else target)}"


def checked(
    where: str,
    table: OptionTable,
    options: Mapping[str, Any],
    *,
    base: Mapping[str, Any] | None = None,
    merge: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]] = lambda base, given: {**base, **given},
    check_together: Callable[[Mapping[str, Any]], list[str]] = lambda _given: [],
    problems: Iterable[str] = (),
) -> tuple[dict[str, Any], Registry | None]:
    """
    Return the checked options, those of *base* included, and the registry.

    Raises:
        PolicyError: With every problem at once, *problems* included.
    """
    rest = dict(options)
    registry = rest.pop("registry", None)
    given, found = table.check(rest)
    found = [*problems, *found]
    if registry is not None and not isinstance(registry, Registry):
        found.append(f"registry must be a Registry or None, got {describe(registry)}")
    given = merge(base or {}, given)
    found = found or check_together(given)
    if found:
        raise PolicyError(where, found)
    return given, registry
