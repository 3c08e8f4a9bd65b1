"""
Request objects: what a mapping, dataclass, attrs, pydantic or named tuple object holds.

The caller's object is never changed: a new value makes a changed copy. attrs and
pydantic are told by the marks they leave on a class, and never imported.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import sys
import types
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any, Final, Literal, TypeGuard, Union, cast, get_args, get_origin, is_typeddict

__all__ = ["MISSING", "NO_FIELDS", "Missing", "field_names", "names_of_annotation", "read", "with_fields"]


class Missing(Enum):
    """
    The type of `MISSING`: an argument or field that is not there.
    """

    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING

NO_FIELDS: frozenset[str] = frozenset()
"""Those of nearly every parameter: one for all, for Python makes an empty set anew each time."""


def field_names(cls: Any) -> Collection[str]:
    """
    Return the names of the fields that objects of *cls* have; none if they are no requests.

    The keys of a mapping are not known from its class, and not told here.
    """
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    if hasattr(cls, "__attrs_attrs__"):
        return [attribute.name for attribute in cls.__attrs_attrs__]
    if hasattr(cls, "model_fields") and hasattr(cls, "model_copy"):
        return tuple(cls.model_fields)
    return getattr(cls, "_fields", ()) if tuple in cls.__mro__ else ()


def names_of_annotation(annotation: Any) -> frozenset[str] | None:
    """
    Return the fields that a parameter annotated so can have; None where only the call tells.

    Args:
        annotation: As `typing.get_type_hints` gives it.
    """
    origin = get_origin(annotation)
    if origin in {Union, types.UnionType}:
        each = [names_of_annotation(one) for one in get_args(annotation)]
        return None if None in each else frozenset[str]().union(*(names for names in each if names))
    if is_typeddict(annotation):
        return annotation.__required_keys__ | annotation.__optional_keys__  # type: ignore[no-any-return]
    if annotation is None or origin is Literal:
        return NO_FIELDS
    return _names_of_class(origin or annotation)


def _names_of_class(cls: Any) -> frozenset[str] | None:
    if not _is_telling(cls):
        return None
    names = frozenset(field_names(cls)) or NO_FIELDS
    # A protocol or an abstract class of the user's: its implementation may be
    # a request. Those of the standard library are sequences, callables, paths.
    if not names and (inspect.isabstract(cls) or getattr(cls, "_is_protocol", False)):
        return NO_FIELDS if cls.__module__.partition(".")[0] in sys.stdlib_module_names else None
    return names


def _is_telling(cls: Any) -> bool:
    # From 3.11 on Any is a class; type variables and unresolved names are none.
    return isinstance(cls, type) and cls is not Any and cls is not object and not issubclass(cls, Mapping)


def _is_mapping(request: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(request, Mapping)


def read(request: Any, name: str) -> Any:
    """
    Return the field *name* of *request*, or `MISSING`.

    Objects that are no requests, and those that raise when asked, have no fields.
    """
    try:
        if _is_mapping(request):
            return request.get(name, MISSING)
        return getattr(request, name) if name in field_names(type(request)) else MISSING
    except Exception:  # noqa: BLE001 - a foreign object may raise anything, and a call must not fail by it
        return MISSING


def with_fields(request: Any, values: Mapping[str, object]) -> Any:
    """
    Return a copy of *request*, of the same type, that has *values*.

    Raises:
        Exception: The object refuses to be copied so: whatever it raises, or a
            TypeError.
    """
    cls = cast("Any", type(request))
    if _is_mapping(request):
        return _changed_mapping(request, values)
    if dataclasses.is_dataclass(cls):
        return dataclasses.replace(request, **values)
    if hasattr(cls, "__attrs_attrs__"):
        inits = {each.name: getattr(each, "alias", None) or each.name.lstrip("_") for each in cls.__attrs_attrs__}
        return sys.modules["attr"].evolve(request, **{inits[name]: value for name, value in values.items()})
    if hasattr(cls, "model_copy"):
        return request.model_copy(update=dict(values))
    return request._replace(**values)


def _changed_mapping(request: Mapping[str, object], values: Mapping[str, object]) -> Mapping[str, object]:
    cls: Any = type(request)
    merged = {**request, **values}
    if cls is dict:
        return merged
    # A dict that is its own `__dict__` would be torn in two by a copy; and a
    # copy of a mapping that is no dict may share what it wraps.
    if isinstance(request, dict) and getattr(request, "__dict__", None) is not request:
        changed = copy.copy(request)
        if changed is request:
            raise TypeError(f"a copy of {cls.__name__} is the object itself; it cannot be changed for one call")
        for name, value in values.items():
            changed[name] = value
        return changed
    made: Mapping[str, object] = cls(merged)
    if dict(made) != merged:
        raise TypeError(f"{cls.__name__} is not made from a mapping; it cannot be changed for one call")
    return made
