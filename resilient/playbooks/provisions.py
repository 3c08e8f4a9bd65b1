"""
Provisions: what the built-in recovery steps work with, as users registered it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from typing import Any

from resilient.errors import PolicyError
from resilient.light import dataclass
from resilient.playbooks.endpoints import place
from resilient.policies.checks import boolean, text
from resilient.policies.options import describe

__all__ = ["USUAL", "Provided", "Provisions"]

# The parameters that a step looks for unless `argument` names another one.
USUAL: dict[str, tuple[str, ...]] = {
    "endpoint": ("endpoint", "base_url", "url", "host"),
    "model": ("model", "model_name", "model_id"),
    "batch": ("batch_size", "batch", "num_images"),
}


@dataclass(frozen=True, slots=True)
class Provided:
    """
    What is registered for one function, or for all.

    Args:
        caches: What `clear_cache` empties.
        endpoints: Endpoints, and callables that probe one.
        models: Models, the preferred one first.
        loader: Loads a model again.
        fetcher: Downloads a model.
        restart: Restarts the workflow.
        optional: Parameters that a call can do without.
        offline: Whether `is_offline` is heeded.
        arguments: Parameters to change beside the usual ones, by kind.
    """

    caches: tuple[Any, ...] = ()
    endpoints: tuple[Any, ...] = ()
    models: tuple[Any, ...] = ()
    loader: Callable[..., Any] | None = None
    fetcher: Callable[..., Any] | None = None
    restart: Callable[..., Any] | None = None
    optional: tuple[str, ...] = ()
    offline: bool = False
    arguments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def and_then(self, more: Provided) -> Provided:
        """
        Return both together: lists one after the other, of single things the first there is.
        """
        return Provided(
            caches=_joined(self.caches, more.caches),
            endpoints=_joined(self.endpoints, more.endpoints),
            models=_joined(self.models, more.models),
            loader=more.loader if self.loader is None else self.loader,
            fetcher=more.fetcher if self.fetcher is None else self.fetcher,
            restart=more.restart if self.restart is None else self.restart,
            optional=_joined(self.optional, more.optional),
            offline=self.offline or more.offline,
            arguments={
                kind: _joined(self.arguments.get(kind, ()), more.arguments.get(kind, ()))
                for kind in {*self.arguments, *more.arguments}
            },
        )

    def names(self, kind: str) -> tuple[str, ...]:
        """
        Return the parameters to look for, the one of `argument` first.
        """
        return _joined(self.arguments.get(kind, ()), USUAL[kind])


class Provisions:
    """
    All that is registered, by function.
    """

    def __init__(self) -> None:
        # The key "" holds what is registered for all functions.
        self._by_function: dict[str, Provided] = {}
        self._renew_locks()

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()

    def add(self, function: object, argument: object, given: Mapping[str, Any]) -> None:
        """
        Check what `RecoveryProcedure.provide` was given, and add it.

        Raises:
            PolicyError: With every problem at once.
        """
        problems: list[str] = []
        values = {name: _CHECKS[name](name, value, problems) for name, value in given.items() if value is not None}
        key = "" if function is None else _name_of(function, problems)
        if argument is not None:
            values["arguments"] = _argument(argument, values, problems)
        if problems:
            raise PolicyError("playbooks.provide()", problems)
        with self._lock:
            known = self._by_function.get(key, Provided())
            both = known.and_then(Provided(**values))
            # Of single things the latest one counts.
            latest = {name: values[name] for name in _SINGLE if name in values}
            self._by_function[key] = replace(both, **latest)

    def of(self, function: str) -> Provided:
        """
        Return what is registered for *function*, its own before what is for all.
        """
        general = self._by_function.get("", Provided())
        own = self._by_function.get(function) if function else None
        return general if own is None else own.and_then(general)

    def __repr__(self) -> str:
        return f"Provisions({', '.join(name or 'all functions' for name in self._by_function) or 'none'})"


def _joined(first: tuple[Any, ...], second: tuple[Any, ...]) -> tuple[Any, ...]:
    result = list(first)
    for one in second:
        # Text and pairs are the same when they say the same; of two equal
        # caches both have to be cleared, and models may be arrays.
        if not any(one is other or (isinstance(one, str | tuple) and one == other) for other in result):
            result.append(one)
    return tuple(result)


# -- checks: each returns the value in its normal form, and notes what is wrong ------


def _items(name: str, value: object, problems: list[str]) -> tuple[Any, ...]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        problems.append(f"{name} must be a list, for example {name}=[...], got {describe(value)}")
        return ()
    return tuple(value)


def _caches(name: str, value: object, problems: list[str]) -> tuple[Any, ...]:
    caches = _items(name, value, problems)
    problems += [
        f"a cache must have clear() or cache_clear(), got {describe(one)}"
        for one in caches
        if not callable(getattr(one, "cache_clear", None)) and not callable(getattr(one, "clear", None))
    ]
    return caches


def _endpoints(name: str, value: object, problems: list[str]) -> tuple[Any, ...]:
    endpoints = _items(name, value, problems)
    problems += [
        # Not the value itself: a URL may carry a password.
        f"an endpoint must be a URL, 'host:port', (host, port) or a callable that probes it,"
        f" got a {type(one).__name__} that names no host (entry {index})"
        for index, one in enumerate(endpoints, 1)
        if not callable(one) and place(one) is None
    ]
    return endpoints


def _models(name: str, value: object, problems: list[str]) -> tuple[Any, ...]:
    models = _items(name, value, problems)
    if any(one is None for one in models):
        problems.append("a model must not be None; give names or objects that the function takes")
    return models


def _optional(name: str, value: object, problems: list[str]) -> tuple[str, ...]:
    names = _items(name, value, problems)
    problems += [
        f"optional takes names of parameters, got {describe(one)}"
        for one in names
        if not isinstance(one, str) or not one.strip()
    ]
    return names


def _callable(name: str, value: object, problems: list[str]) -> object:
    if not callable(value):
        problems.append(f"{name} must be callable, sync or async, got {describe(value)}")
    return value


def _flag(name: str, value: object, problems: list[str]) -> bool:
    try:
        return boolean(value)
    except ValueError as error:
        problems.append(f"{name} {error}, got {describe(value)}")
        return False


_SINGLE = ("loader", "fetcher", "restart")
_CHECKS: dict[str, Callable[[str, object, list[str]], Any]] = {
    "caches": _caches,
    "endpoints": _endpoints,
    "models": _models,
    **dict.fromkeys(_SINGLE, _callable),
    "optional": _optional,
    "offline": _flag,
}


def _argument(argument: object, values: Mapping[str, Any], problems: list[str]) -> dict[str, tuple[str, ...]]:
    """
    Return the kind of parameter that *argument* names: it follows from what is registered with it.
    """
    try:
        name = text(argument)
    except ValueError as error:
        problems.append(f"argument {error}, got {describe(argument)}")
        return {}
    of_model = any(values.get(one) for one in ("models", "loader", "fetcher"))
    if of_model and values.get("endpoints"):
        problems.append(
            f"argument={name!r} could be the endpoint's or the model's; register endpoints and models in two calls"
        )
    kind = "endpoint" if values.get("endpoints") else "model" if of_model else "batch"
    return {kind: (name,)}


def _name_of(function: object, problems: list[str]) -> str:
    if isinstance(function, str) and ":" in function:
        return function
    if not callable(function):
        problems.append(f"function must be the function or its 'module:qualname', got {describe(function)}")
        return ""
    # The name that operations go by: of what a partial wraps, of what an object is made by.
    while isinstance(function, functools.partial):
        function = function.func
    named: Any = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', None) or 'builtins'}:{named.__qualname__}"
