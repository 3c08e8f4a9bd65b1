"""
What a module defines, and who else holds it: looked up in dictionaries, without running anybody's code.

Modules are full of objects that do something when they are asked for an
attribute: proxies that connect, lazy modules that load. So classes are told by
``type()``, and dictionaries are taken from modules and classes directly.
"""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING, Any, NamedTuple

import wrapt

from resilient.weaving.hooks import namespace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import MappingProxyType, ModuleType

__all__ = ["AROUND", "IN_C", "Found", "References", "Thing", "at", "contents", "own_name", "raw_of", "things_of"]

# What can be woven, by type: all of these tell their module and qualified name without running anything.
_FUNCTIONS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    type(functools.lru_cache(len)),
    wrapt.FunctionWrapper,
)
AROUND = (classmethod, staticmethod)

IN_C = "it is written in C; name it without a star"
"""Why a function that is `Found.native` is passed over."""

_dict_of = type.__dict__["__dict__"].__get__
_bases_of = type.__dict__["__mro__"].__get__
_qualname_of = type.__dict__["__qualname__"].__get__

# A table of handlers has fewer entries; a table of words is not looked through.
_TABLE = 1000


def contents(holder: ModuleType | type) -> dict[str, Any] | MappingProxyType[str, Any]:
    """
    Return the dictionary of a module or class.
    """
    return _dict_of(holder) if issubclass(type(holder), type) else namespace(holder)  # type: ignore[arg-type]  # mypy does not know `issubclass` of `type()`


def raw_of(value: Any) -> Any:
    """
    Return the function in a classmethod, staticmethod, bound method or partial; anything else as it is.
    """
    kind = type(value)
    if issubclass(kind, (*AROUND, types.MethodType)):
        return value.__func__
    return value.func if issubclass(kind, functools.partial) else value


def own_name(fn: Any) -> str | None:
    """
    Return ``module:qualname`` of a function that can be woven; None for anything else.
    """
    if not issubclass(type(fn), _FUNCTIONS):
        return None
    module, qualname = fn.__module__, fn.__qualname__
    return f"{module}:{qualname}" if isinstance(module, str) and isinstance(qualname, str) else None


class Found(NamedTuple):
    """
    A function in its place.

    Attributes:
        name: ``module:qualname``.
        holder: The module or class whose dictionary has it.
        key: Its name there.
        value: What is there: the function, or a classmethod or staticmethod around it.
    """

    name: str
    holder: Any
    key: str
    value: Any

    @property
    def native(self) -> bool:
        """
        Whether it is written in C: its module may look at such a function's insides, which a guard has not.
        """
        return issubclass(type(raw_of(self.value)), types.BuiltinFunctionType)

    @property
    def place(self) -> tuple[int, str]:
        """
        What tells this place from all others, as long as its holder is there.
        """
        return id(self.holder), self.key

    @property
    def stands(self) -> bool:
        """
        Whether it is still there.
        """
        return contents(self.holder).get(self.key) is self.value


class Thing(NamedTuple):
    """
    Something that a pattern may name, and that is no function.

    Attributes:
        name: ``module:path``.
        what: What it is, for people.
    """

    name: str
    what: str


def things_of(module: ModuleType, home: str) -> Iterator[Found | Thing]:
    """
    Yield what *module* defines: each function once, in the place that it is named for, and what is no function.

    What a module has from elsewhere is not its own. A function that stands
    under several names has its place where its own name says; one whose name
    says nothing, such as what a factory made, where it comes first.

    Args:
        module: The module.
        home: The name that it goes by, which its functions give as theirs.
    """
    found: dict[int, Found] = {}
    holders: list[Any] = [module]
    seen = set()
    for holder in holders:
        path = "" if holder is module else f"{_qualname_of(holder)}."
        # Copied in one step, which a list of its items is not: another thread may be defining more.
        for key, value in contents(holder).copy().items():
            raw = raw_of(value) if issubclass(type(value), AROUND) else value
            name = own_name(raw)
            if name is not None:
                before = found.get(id(raw))
                if raw.__module__ == home and (before is None or raw.__qualname__ == f"{path}{key}"):
                    found[id(raw)] = Found(name, holder, key, value)
            elif issubclass(type(value), type):
                if _dict_of(value).get("__module__") == home and id(value) not in seen:
                    seen.add(id(value))
                    holders.append(value)
                    yield Thing(f"{home}:{_qualname_of(value)}", "a class; name its methods")
            elif issubclass(type(value), property | functools.cached_property):
                yield Thing(f"{home}:{path}{key}", "a property; decorate its getter")
    yield from found.values()


def at(module: ModuleType, path: str) -> Any:
    """
    Return what stands at *path* in *module*, bases of classes included; None where there is nothing.
    """
    found: Any = module
    for key in path.split("."):
        is_class = issubclass(type(found), type)
        if not is_class and found is not module:
            return None
        holders = _bases_of(found) if is_class else (found,)
        found = next((contents(one)[key] for one in holders if key in contents(one)), None)
    return raw_of(found)


class References:
    """
    Who holds functions beside the places that they are named for: modules, classes, and tables in either.

    Args:
        names: The functions' names by their ``id``; they are alive.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = names
        self._seen: set[int] = set()

    def among(self, modules: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, str, str]]:
        """
        Yield the holder, the key there, and the function's name for each reference in *modules*.
        """
        holders: list[tuple[str, Any]] = [
            (name, module) for name, module in modules if issubclass(type(module), types.ModuleType)
        ]
        while holders:
            where, holder = holders.pop()
            if id(holder) in self._seen:
                continue
            self._seen.add(id(holder))
            dot = "." if ":" in where else ":"
            for key, value in contents(holder).copy().items():
                held = self._names.get(id(raw_of(value)))
                if held is not None:
                    yield where, str(key), held
                elif issubclass(type(value), type):
                    holders.append((f"{_dict_of(value).get('__module__')}:{_qualname_of(value)}", value))
                elif type(value) is dict and len(value) <= _TABLE and key != "__builtins__":
                    yield from self._table(f"{where}{dot}{key}", value)

    def _table(self, where: str, table: dict[Any, Any]) -> Iterator[tuple[str, str, str]]:
        for key, value in table.copy().items():
            held = self._names.get(id(raw_of(value)))
            if held is not None:
                yield where, key if type(key) is str else type(key).__name__, held
