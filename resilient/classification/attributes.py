"""
Reading the attributes of exceptions that may lie, raise or not have any.
"""

from __future__ import annotations

import builtins
from functools import partial
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["as_dict", "dotted_names", "get", "getter", "type_defines"]

_NOTHING: Mapping[str, object] = {}
_PLAIN = frozenset({object, *(one for one in vars(builtins).values() if isinstance(one, type))})
# A class with one of these answers for names that no look at it can list.
_DYNAMIC = frozenset({"__getattr__", "__getattribute__", "__dict__"})


def get(thing: object, name: str) -> object:
    """
    Return the attribute *name*, None where it is missing or cannot be read.
    """
    try:
        return getattr(thing, name, None)
    except Exception:  # noqa: BLE001 - a property of a foreign exception may raise anything
        return None


def getter(exc: BaseException, *, by_type: bool) -> Callable[[str], object]:
    """
    Return what reads attributes of *exc*, as `get` does.

    Args:
        exc: The exception.
        by_type: What `type_defines` said of its class. Where the class has no
            part in it, its own dict is asked, which is several times faster.
    """
    return partial(get, exc) if by_type else exc.__dict__.get


def as_dict(value: object) -> Mapping[str, object]:
    """
    Return *value*, an empty dict where it is no dict.
    """
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else _NOTHING


def type_defines(cls: type, names: frozenset[str]) -> bool:
    """
    Tell whether instances of *cls* can have one of *names* without it being in their own dict.
    """
    wanted = names | _DYNAMIC
    return any(_overrides(base, wanted) for base in cls.__mro__ if base not in _PLAIN)


def _overrides(base: type, wanted: frozenset[str]) -> bool:
    # Every class made by a `class` statement has a "__dict__" getset of its
    # own; only something else under that name stands in the way.
    found = wanted & base.__dict__.keys()
    return bool(found - {"__dict__"}) or ("__dict__" in found and type(base.__dict__["__dict__"]) is property)


def dotted_names(cls: type) -> tuple[str, ...]:
    """
    Return the names that *cls* goes by, the one of the table first.

    The table's names are short, the top package and the class: packages move
    their exceptions between submodules, and export them at the top. Built-in
    classes go by their bare name.
    """
    module = get(cls, "__module__")
    if not isinstance(module, str):
        return ()
    if module == "builtins":
        return (cls.__name__, f"builtins.{cls.__name__}")
    short = f"{module.partition('.')[0]}.{cls.__name__}"
    return (short, f"{module}.{cls.__qualname__}", f"{module}.{cls.__name__}")
