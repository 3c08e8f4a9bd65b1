"""
Frozen dataclasses that are made in a tenth of the time.

`dataclasses.dataclass` writes and compiles six methods for each class; for forty
classes that was half of this library's import. Here they share one text of each
method, which reads the fields of its class when it is first called. In all else
they are dataclasses: `fields`, `replace` and `asdict` know them, and for type
checkers there is no difference.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from inspect import Parameter, Signature
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["dataclass"]

_set = object.__setattr__
_NONE = dataclasses.MISSING


class _Layout:
    """
    What the shared methods ask of a class.
    """

    __slots__ = ("compared", "defaults", "factories", "has_post", "hashed", "kind", "names", "positional", "shown")

    def __init__(self, kind: type[Any]) -> None:
        each = dataclasses.fields(kind)
        self.kind = kind
        self.names = tuple(one.name for one in each)
        self.positional = tuple(one.name for one in each if not one.kw_only)
        self.defaults = {one.name: one.default for one in each if one.default is not _NONE}
        self.factories = {one.name: one.default_factory for one in each if one.default_factory is not _NONE}
        self.shown = tuple(one.name for one in each if one.repr)
        self.compared = tuple(one.name for one in each if one.compare)
        self.hashed = tuple(one.name for one in each if (one.compare if one.hash is None else one.hash))
        self.has_post = hasattr(kind, "__post_init__")

    def arranged(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Sequence[Any]:
        """
        Return the values of all fields, in order, of an object made with these arguments.

        Raises:
            TypeError: No object is made so.
        """
        made = {name: factory() for name, factory in self.factories.items() if name not in kwargs}
        values = {**self.defaults, **made, **dict(zip(self.positional, args, strict=False)), **kwargs}
        right = len(args) <= len(self.positional) and len(values) == len(self.names)
        if right and kwargs.keys().isdisjoint(self.positional[: len(args)]):
            try:
                return [values[name] for name in self.names]
            except KeyError:
                pass
        # It tells what is wrong as a call of a function would.
        self.kind.__signature__.bind(*args, **kwargs)
        raise AssertionError  # pragma: no cover - it has raised


# A class is looked at when its first object is made, and not at import.
_layout = cast("Callable[[type[Any]], _Layout]", functools.cache(_Layout))


class _Signed:
    """
    The ``__signature__`` of a class, for `inspect` and ``help``.
    """

    def __get__(self, instance: object, kind: type[Any]) -> Signature:
        if instance is not None:
            # That of its `__call__` is looked for.
            raise AttributeError("__signature__")
        return Signature([_parameter(one) for one in dataclasses.fields(kind)])


def _parameter(field: dataclasses.Field[Any]) -> Parameter:
    if field.default_factory is not _NONE:
        default: Any = field.default_factory()
    else:
        default = Parameter.empty if field.default is _NONE else field.default
    kind = Parameter.KEYWORD_ONLY if field.kw_only else Parameter.POSITIONAL_OR_KEYWORD
    return Parameter(field.name, kind, default=default, annotation=field.type)


def _init(self: Any, /, *args: Any, **kwargs: Any) -> None:
    layout = _layout(type(self))
    values: Sequence[Any] = args
    if kwargs or len(args) != len(layout.names) or len(layout.positional) != len(args):
        values = layout.arranged(args, kwargs)
    for name, value in zip(layout.names, values, strict=True):
        _set(self, name, value)
    if layout.has_post:
        self.__post_init__()


@recursive_repr()
def _repr(self: Any) -> str:
    kind = type(self)
    return f"{kind.__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in _layout(kind).shown)})"


def _eq(self: Any, other: Any) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    names = _layout(type(self)).compared
    return tuple(getattr(self, name) for name in names) == tuple(getattr(other, name) for name in names)


def _hash(self: Any) -> int:
    return hash(tuple(getattr(self, name) for name in _layout(type(self)).hashed))


def _setattr(self: Any, name: str, value: object) -> None:  # noqa: ARG001 - the signature of __setattr__
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(self: Any, name: str) -> None:  # noqa: ARG001 - the signature of __delattr__
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, name) for name in _layout(type(self)).names]


def _setstate(self: Any, state: list[Any]) -> None:
    for name, value in zip(_layout(type(self)).names, state, strict=True):
        _set(self, name, value)


_METHODS: Mapping[str, Any] = {
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _setattr,
    "__delattr__": _delattr,
    "__getstate__": _getstate,
    "__setstate__": _setstate,
}
_SIGNED = _Signed()
_making = threading.local()


class _Frozen:
    """
    What `dataclasses` is told when it asks whether a base is frozen: it is, but for the classes that are made here.

    A plain dataclass may then derive from one of these. One made here is not frozen to `dataclasses`, which would
    compile methods of its own for it, and refuse it below a base that is.
    """

    def __bool__(self) -> bool:
        return not getattr(_making, "now", False)


_FROZEN = _Frozen()

if TYPE_CHECKING:
    # To them it is the real one: its options have to be given, and are then true.
    from dataclasses import dataclass
else:

    def dataclass(*, kw_only: bool = False, **_always: bool) -> Callable[[type], type]:
        """
        Make a class a dataclass with ``frozen=True, slots=True``; a method that it has already stays.
        """

        def make(kind: type) -> type:
            for name, method in _METHODS.items():
                if getattr(kind, name, None) is getattr(object, name, None):
                    setattr(kind, name, method)
            if kind.__init__ is _init:
                kind.__signature__ = _SIGNED
            _making.now = True
            try:
                made = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)(kind)
            finally:
                _making.now = False
            made.__dataclass_params__.frozen = _FROZEN
            return made

        return make
