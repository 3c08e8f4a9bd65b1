"""
How a policy gets onto a function: one wrapper for the whole stack.

==============================  ==========================  ====================
what is decorated               what comes of it            cost of a quiet call
==============================  ==========================  ====================
function, lambda, ``async def``  a closure                   about 1.6 units
``classmethod``, ``staticmethod``  the same, around a closure  the same
callable object, partial,       a wrapt object proxy        about 2 units
builtin, foreign wrapper
==============================  ==========================  ====================

A unit is the cost of one plain `functools.wraps` closure.
"""

from __future__ import annotations

import copy
import functools
import inspect
import sys
import types
from typing import TYPE_CHECKING, Any, Self

import wrapt

from resilient.callers import warn_caller
from resilient.errors import DecorationError, PolicyError, PolicyOrderWarning
from resilient.kinds import in_order
from resilient.pipeline import Pipeline
from resilient.policies.options import describe, is_async
from resilient.registry import default_registry
from resilient.resilience import AsyncResilience, Resilience

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilient.policies.spec import Spec
    from resilient.registry import Registry

if TYPE_CHECKING:
    # Only type checkers know it by its parameter.
    _Proxy = wrapt.ObjectProxy[Callable[..., Any]]
else:
    _Proxy = wrapt.ObjectProxy

__all__ = ["GuardedCallable", "decorate", "govern", "name_of", "refuse"]


class GuardedCallable(_Proxy):
    """
    A callable object under policies; in all else it is the object itself.

    Each is of a subclass of its own, whose ``__call__`` is the guard itself: a
    method that called the guard would be one more frame in each traceback, and
    would not be a coroutine function where the object's is.
    """

    def __init__(self, wrapped: Callable[..., Any], resilience: Resilience[..., Any]) -> None:
        super().__init__(wrapped)
        self._self_resilience = resilience

    @classmethod
    def around(cls, wrapped: Callable[..., Any], resilience: Resilience[..., Any], guard: Callable[..., Any]) -> Self:
        """
        Return *wrapped*, called through *guard*.
        """
        kind: Any = type(cls.__name__, (cls,), {"__call__": staticmethod(guard), "__module__": cls.__module__})
        result: Self = kind(wrapped, resilience)
        return result

    @property
    def resilience(self) -> Resilience[..., Any]:
        """
        The object's policies and counts.
        """
        return self._self_resilience

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        wrapped = self.__wrapped__
        get = getattr(type(wrapped), "__get__", None)
        # What binds to nothing, or is bound already, is not bound here either.
        if instance is None or get is None or get(wrapped, instance, owner) is wrapped:
            return self
        bound: Any = self  # its class has a __call__: see `around`
        return types.MethodType(bound, instance)

    def __copy__(self) -> Any:
        return _rebuild(copy.copy(self.__wrapped__), self._self_resilience.specs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return _rebuild(copy.deepcopy(self.__wrapped__, memo), self._self_resilience.specs)

    def __reduce_ex__(self, protocol: object) -> Any:
        # By reference where it can be found, as functions are.
        name = getattr(self, "__qualname__", "")
        module = getattr(self, "__module__", None) or "__main__"
        if module != "__main__" and _found(module, name) is self:
            return name
        return _rebuild, (self.__wrapped__, self._self_resilience.specs)


def _found(module: str, name: str) -> Any:
    try:
        return functools.reduce(getattr, name.split("."), sys.modules.get(module))
    except AttributeError:
        return None


def _rebuild(fn: Callable[..., Any], specs: tuple[Spec, ...]) -> Any:
    return _build(fn, specs, default_registry(), replaces=False)


def decorate(target: Any, spec: Spec, registry: Registry | None) -> Any:
    """
    Return *target* with the policy of *spec* around it.

    Args:
        target: A function or whatever else can be called.
        spec: The new outermost policy.
        registry: The registry that its decorator was given, or None.

    Raises:
        DecorationError: *target* cannot carry policies.
        PolicyError: *target* cannot carry this policy, or is on another registry.
    """
    if isinstance(target, classmethod | staticmethod):
        return type(target)(decorate(target.__func__, spec, registry))
    refuse(target, spec.kind)
    below = getattr(target, "resilience", None)
    if not isinstance(below, Resilience):
        name = _checked(spec, target)
        return _build(target, (spec,), registry or default_registry(), chosen=registry)
    if below.guard is not target:
        # functools.wraps of a foreign decorator copies the attribute: the stack
        # below is that decorator's, and fusing would put it in the wrong place.
        # It goes on under its name, so this function gets another one.
        name = _checked(spec, target)
        # What is declared for the name is in force there, and once is enough.
        return _build(target, (spec,), registry or default_registry(), chosen=registry, replaces=False, governed=False)
    name = _checked(spec, below.pipeline.fn)
    if registry is not None and below.chosen is not None and registry is not below.chosen:
        where = f"@{spec.kind} on {name}"
        problem = f"registry={registry!r} differs from the {below.chosen!r} of the decorators below; give one of them"
        raise PolicyError(where, [problem])
    return _fused(below, spec, registry, linted=below.linted or _lint(spec, below.specs, name))


def govern(target: Any, registry: Registry | None) -> Any:
    """
    Return *target* as a function that follows what is declared for it; one under policies does so anyway.

    Args:
        target: A function or whatever else can be called.
        registry: The function's registry, or None: the default one.

    Raises:
        DecorationError: *target* cannot carry policies.
        PolicyError: What is declared for it cannot be meant, or it is on another registry.
    """
    if isinstance(target, classmethod | staticmethod):
        return type(target)(govern(target.__func__, registry))
    refuse(target, "governed")
    below = getattr(target, "resilience", None)
    if not isinstance(below, Resilience):
        return _build(target, (), registry or default_registry(), chosen=registry)
    name = below.name
    if below.guard is not target:
        # Below a foreign decorator: what is declared for the name is in force there.
        return target
    if registry is not None and registry is not below.registry:
        problem = f"registry={registry!r} differs from the {below.registry!r} of the decorators below; give one of them"
        where = f"@governed on {name}"
        raise PolicyError(where, [problem])
    return target


def _checked(spec: Spec, fn: Any) -> str:
    name = name_of(fn)
    spec.check(fn, name, is_async=is_async(fn))
    return name


def _fused(below: Resilience[..., Any], spec: Spec, registry: Registry | None, *, linted: bool) -> Any:
    """
    Return one wrapper for *spec* and the stack *below*, around the raw function.
    """
    home = registry or below.registry
    stays = home is below.registry
    result = _build(
        below.pipeline.fn,
        (spec, *below.specs),
        home,
        chosen=registry or below.chosen,
        # Who holds on to the function below, and decorates it twice, has two functions.
        replaces=below.replaces and below.has_name,
        linted=linted,
        governed=below.governed,
        below=below if stays else None,
        name=below.pipeline.name if stays and below.has_name else None,
    )
    # Only now: where that has failed, the function below is as it was.
    below.leave()
    return result


def _build(
    fn: Any,
    specs: tuple[Spec, ...],
    registry: Registry,
    *,
    chosen: Registry | None = None,
    replaces: bool = True,
    linted: bool = False,
    governed: bool = True,
    below: Resilience[..., Any] | None = None,
    name: str | None = None,
) -> Any:
    awaits = is_async(fn)
    kind = AsyncResilience if awaits else Resilience
    pipeline = Pipeline(fn, name_of(fn))
    resilience: Resilience[..., Any] = kind(pipeline, pipeline.name, specs)
    resilience.chosen = chosen
    # Objects of one class, and partials of one function, share a name and are not the same.
    resilience.replaces &= replaces and isinstance(fn, types.FunctionType)
    resilience.linted = linted
    resilience.governed = governed
    resilience.bind(registry, below, name)
    guard: Any = pipeline.aguard() if awaits else pipeline.guard()
    if isinstance(fn, types.FunctionType):
        functools.update_wrapper(guard, fn).resilience = resilience  # type: ignore[attr-defined]
    else:
        guard = GuardedCallable.around(fn, resilience, guard)
    resilience.guard = guard
    return guard


def name_of(fn: Any) -> str:
    """
    Return ``module:qualname`` of *fn*, or of what it wraps or is made by.
    """
    while isinstance(fn, functools.partial):
        fn = fn.func
    if not hasattr(fn, "__qualname__"):
        fn = type(fn)
    # Interned, for each policy keeps it.
    return sys.intern(f"{getattr(fn, '__module__', None) or 'builtins'}:{fn.__qualname__}")


def refuse(target: Any, kind: str) -> None:
    """
    Raise for what cannot carry policies, with what to write instead.

    Args:
        target: What is to be decorated.
        kind: The decorator's name.

    Raises:
        DecorationError: It cannot be.
    """
    if isinstance(target, property):
        getter = getattr(target.fget, "__qualname__", "the getter")
        msg = f"@{kind} cannot be put on the property {getter}; decorate the getter: write @property above @{kind}"
    elif isinstance(target, type):
        name = target.__qualname__
        msg = f"@{kind} cannot be put on the class {name}; decorate its methods, or a function that makes it"
    elif not callable(target):
        msg = f"@{kind} goes on something that can be called, got {describe(target)}"
    else:
        call = getattr(target, "__call__", None)  # noqa: B004 - the method itself is looked at
        if inspect.isasyncgenfunction(target) or inspect.isasyncgenfunction(call):
            what = "an async generator"
        elif inspect.isgeneratorfunction(target) or inspect.isgeneratorfunction(call):
            what = "a generator"
        else:
            return
        msg = (
            f"@{kind} cannot guard {name_of(target)}: it is {what}, and fails while it is iterated, after the call has"
            " returned; decorate the function that produces one item, or one that returns the whole list"
        )
    raise DecorationError(msg)


def _lint(spec: Spec, below: tuple[Spec, ...], name: str) -> bool:
    """
    Warn about an order that cannot work as it is meant; return whether it does not.
    """
    why = spec.misplaced(below)
    if why is None and below and below[0].kind == spec.kind:
        why = f"@{spec.kind} twice in a row multiplies what each does; keep one"
    if why is not None:
        order = ", ".join(f"@{kind}" for kind in in_order())
        msg = f"{name}: {why} (from the top: {order})"
        warn_caller(msg, PolicyOrderWarning)
    return why is not None
