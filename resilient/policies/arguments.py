"""
The parameters of a function: find, read and change one argument of a call.

A path names an argument (``"steps"``) or a field one level into it
(``"request.steps"``).
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from resilient.policies.request_objects import (
    MISSING,
    Missing,
    field_names,
    names_of_annotation,
    read,
    with_fields,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MISSING", "Missing", "Parameters"]

_EMPTY = inspect.Parameter.empty
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_RECEIVERS = frozenset({"self", "cls", "mcs"})

# What people call a request object that they did not annotate. Any other
# parameter without annotation would make every misspelt rule look possible; its
# fields can be named by a path.
_REQUEST_WORDS = frozenset(
    (
        "arguments",
        "body",
        "cfg",
        "config",
        "data",
        "input",
        "inputs",
        "job",
        "options",
        "opts",
        "params",
        "parameters",
        "payload",
        "req",
        "request",
        "settings",
        "spec",
        "task",
    )
)


def _signature(fn: Callable[..., Any]) -> inspect.Signature | None:
    try:
        if sys.version_info >= (3, 14):  # pragma: no cover - names that only type checkers import stay unread there
            import annotationlib

            return inspect.signature(fn, annotation_format=annotationlib.Format.FORWARDREF)
        return inspect.signature(fn)
    except (TypeError, ValueError):
        return None


def _namespace(fn: Callable[..., Any]) -> dict[str, Any]:
    # Where the names in annotations are looked up.
    fn = inspect.unwrap(fn)
    while isinstance(fn, functools.partial):
        fn = inspect.unwrap(fn.func)
    if hasattr(fn, "__globals__"):
        return fn.__globals__
    owner = fn if isinstance(fn, type) else type(fn)
    return getattr(sys.modules.get(owner.__module__), "__dict__", {})


def _annotation(parameter: inspect.Parameter, namespace: dict[str, Any]) -> Any:
    # One at a time: a name that cannot be resolved must not hide the others.
    holder = types.SimpleNamespace(__annotations__={"it": parameter.annotation})
    try:
        return typing.get_type_hints(holder, globalns=namespace)["it"]
    except Exception:  # noqa: BLE001 - annotations are code, and may raise anything
        return Any


def _possible_fields(parameter: inspect.Parameter, namespace: dict[str, Any]) -> frozenset[str] | None:
    """
    Return the fields that the parameter's argument can have; None where only the call tells.
    """
    if parameter.annotation is not _EMPTY:
        return names_of_annotation(_annotation(parameter, namespace))
    default = parameter.default
    if default is _EMPTY or default is None:
        return None if parameter.name.lower().rpartition("_")[2] in _REQUEST_WORDS else frozenset()
    return None if isinstance(default, Mapping) else frozenset(field_names(type(default)))


class Parameters:
    """
    What a function's signature takes; made by `Parameters.of`, once per function.

    Args:
        signature: The signature; None where it cannot be read, which counts as
            ``(*args, **kwargs)``.
        namespace: Where the names in annotations are looked up.

    Attributes:
        names: The named parameters in order, without a method's receiver.
        defaults: The default of each parameter that has one.
        takes_any: Whether further keyword arguments may be given.
        has_self: Whether the first parameter is a method's receiver.
    """

    __slots__ = ("_fields", "_positional_only", "_positions", "_unknown", "defaults", "has_self", "names", "takes_any")

    def __init__(self, signature: inspect.Signature | None, namespace: dict[str, Any]) -> None:
        each = [] if signature is None else list(signature.parameters.values())
        self.takes_any: bool = signature is None or any(one.kind is one.VAR_KEYWORD for one in each)
        each = [one for one in each if one.kind not in {one.VAR_KEYWORD, one.VAR_POSITIONAL}]
        self.has_self: bool = bool(each) and each[0].kind in _POSITIONAL and each[0].name in _RECEIVERS
        positional = [one for one in each if one.kind in _POSITIONAL]
        self._positions = {one.name: at for at, one in enumerate(positional)}
        self._positional_only = tuple(one.name for one in positional if one.kind is one.POSITIONAL_ONLY)
        self.defaults: dict[str, Any] = {one.name: one.default for one in each if one.default is not _EMPTY}
        named = each[1:] if self.has_self else each
        self.names: tuple[str, ...] = tuple(one.name for one in named)
        self._fields = {one.name: _possible_fields(one, namespace) for one in named}
        self._unknown = frozenset(
            one.name for one in named if one.annotation is _EMPTY and self.defaults.get(one.name) is None
        )

    @classmethod
    def of(cls, fn: Callable[..., Any]) -> Parameters:
        """
        Return what *fn* takes.
        """
        signature = _signature(fn)
        return cls(signature, {} if signature is None else _namespace(fn))

    def __repr__(self) -> str:
        return f"Parameters({', '.join((*self.names, *(['**'] if self.takes_any else [])))})"

    def takes(self, path: str) -> bool:
        """
        Tell whether a call may have *path*; where only the call can tell, it may.
        """
        root, dot, field = path.partition(".")
        if dot:
            fields = self._fields.get(root, None if self.takes_any else frozenset())
            return fields is None or field in fields or root in self._unknown
        return (
            root in self._fields
            or self.takes_any
            or any(fields is None or root in fields for fields in self._fields.values())
        )

    def get(self, path: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """
        Return the value of *path* in a call - given or default - or `MISSING`.
        """
        root, dot, field = path.partition(".")
        value = self._argument(root, args, kwargs)
        return read(value, field) if dot and value is not MISSING else value

    def find(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
        """
        Return the path of what a call has by *name*, or None.

        That is the argument of this name or path, else this field of the first
        argument that has it.
        """
        if self.get(name, args, kwargs) is not MISSING:
            return name
        if "." in name:
            return None
        for root in self._roots(kwargs):
            if read(self._argument(root, args, kwargs), name) is not MISSING:
                return f"{root}.{name}"
        return None

    def replace(
        self, path: str, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """
        Return the arguments of a call with *value* at *path*, which the call has.

        Raises:
            Exception: A request object refuses to be copied; what it raises.
            KeyError: The call has no such argument.
        """
        return self.replace_all({path: value}, args, kwargs)

    def replace_all(
        self, values: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """
        Return the arguments of a call with *values* at their paths.

        Several fields of one request object make one changed copy.

        Raises:
            Exception: A request object refuses to be copied; what it raises.
            KeyError: The call has no such argument.
        """
        whole: dict[str, Any] = {}
        fields: dict[str, dict[str, Any]] = {}
        for path, value in values.items():
            root, dot, field = path.partition(".")
            if dot:
                fields.setdefault(root, {})[field] = value
            else:
                whole[root] = value
        for root, changed in fields.items():
            request = self._argument(root, args, kwargs)
            if request is MISSING:
                raise KeyError(f"the call has no argument {root!r}; look with find() first")
            whole[root] = with_fields(request, changed)
        for root, value in whole.items():
            args, kwargs = self._with_argument(root, value, args, kwargs)
        return args, kwargs

    def _roots(self, kwargs: Mapping[str, Any]) -> Iterator[str]:
        yield from self.names
        if self.takes_any:
            yield from (name for name in kwargs if name not in self._fields)

    def _argument(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if name not in self._fields:
            return kwargs.get(name, MISSING) if self.takes_any else MISSING
        at = self._positions.get(name)
        if at is not None and at < len(args):
            return args[at]
        if name in kwargs and name not in self._positional_only:
            return kwargs[name]
        return self.defaults.get(name, MISSING)

    def _with_argument(
        self, name: str, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if name not in self._fields and not self.takes_any:
            raise KeyError(f"there is no parameter {name!r}; there are: {', '.join(self.names) or 'none'}")
        at = self._positions.get(name)
        if at is not None and at < len(args):
            return (*args[:at], value, *args[at + 1 :]), kwargs
        if name in self._positional_only:
            # It can only be given together with those before it.
            before = (self.defaults[one] for one in self._positional_only[len(args) : at])
            return (*args, *before, value), kwargs
        return args, {**kwargs, name: value}
