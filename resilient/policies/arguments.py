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
    NO_FIELDS,
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
        return None if parameter.name.lower().rpartition("_")[2] in _REQUEST_WORDS else NO_FIELDS
    return None if isinstance(default, Mapping) else frozenset(field_names(type(default))) or NO_FIELDS


@functools.lru_cache
def _shared(fields: tuple[frozenset[str] | None, ...]) -> tuple[frozenset[str] | None, ...]:
    """
    Return one tuple for all equal ones: of most functions, no argument has fields.
    """
    return fields


class Parameters:
    """
    What a function's signature takes; made by `Parameters.of`, once per function.

    Args:
        signature: The signature; None where it cannot be read, which counts as
            ``(*args, **kwargs)``.
        namespace: Where the names in annotations are looked up.

    Attributes:
        names: The named parameters in order, without a method's receiver.
        takes_any: Whether further keyword arguments may be given.
        has_self: Whether the first parameter is a method's receiver.
    """

    # Tuples beside each other: a dict for each would be a quarter of what a function takes.
    __slots__ = (
        "_defaults",
        "_fields",
        "_positional",
        "_positional_only",
        "_unknown",
        "has_self",
        "names",
        "takes_any",
    )

    def __init__(self, signature: inspect.Signature | None, namespace: dict[str, Any]) -> None:
        each = [] if signature is None else list(signature.parameters.values())
        self.takes_any: bool = signature is None or any(one.kind is one.VAR_KEYWORD for one in each)
        each = [one for one in each if one.kind not in {one.VAR_KEYWORD, one.VAR_POSITIONAL}]
        self.has_self: bool = bool(each) and each[0].kind in _POSITIONAL and each[0].name in _RECEIVERS
        positional = [one for one in each if one.kind in _POSITIONAL]
        named = each[1:] if self.has_self else each
        self.names: tuple[str, ...] = tuple(one.name for one in named)
        names = tuple(one.name for one in positional)
        # Of most functions the same.
        self._positional = self.names if names == self.names else names
        self._positional_only = tuple(one.name for one in positional if one.kind is one.POSITIONAL_ONLY)
        # Of each of `names`: its default or `MISSING`, and the fields that its argument can have.
        self._defaults = tuple(MISSING if one.default is _EMPTY else one.default for one in named)
        self._fields = _shared(tuple(_possible_fields(one, namespace) for one in named))
        self._unknown = tuple(
            one.name for one in named if one.annotation is _EMPTY and (one.default is _EMPTY or one.default is None)
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
            if root not in self.names:
                return self.takes_any
            fields = self._fields[self.names.index(root)]
            return fields is None or field in fields or root in self._unknown
        return root in self.names or self.takes_any or any(fields is None or root in fields for fields in self._fields)

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
            yield from (name for name in kwargs if name not in self.names)

    def _argument(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if name not in self.names:
            return kwargs.get(name, MISSING) if self.takes_any else MISSING
        at = self._position(name)
        if at is not None and at < len(args):
            return args[at]
        if name in kwargs and name not in self._positional_only:
            return kwargs[name]
        return self._default(name)

    def _position(self, name: str) -> int | None:
        return self._positional.index(name) if name in self._positional else None

    def _default(self, name: str) -> Any:
        return self._defaults[self.names.index(name)] if name in self.names else MISSING

    def _with_argument(
        self, name: str, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if name not in self.names and not self.takes_any:
            raise KeyError(f"there is no parameter {name!r}; there are: {', '.join(self.names) or 'none'}")
        at = self._position(name)
        if at is not None and at < len(args):
            return (*args[:at], value, *args[at + 1 :]), kwargs
        if name in self._positional_only:
            # It can only be given together with those before it.
            before = [self._default(one) for one in self._positional_only[len(args) : at]]
            if any(value is MISSING for value in before):
                raise KeyError(f"the call has no argument for each parameter before {name!r}")
            return (*args, *before, value), kwargs
        return args, {**kwargs, name: value}
