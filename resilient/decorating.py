"""
How a policy gets onto a function: one wrapper for the whole stack.

==============================  ==========================  ====================
what is decorated               what comes of it            cost of a quiet call
==============================  ==========================  ====================
function, lambda, ``async def``  a closure                   about 1.6 units
``classmethod``, ``staticmethod``  the same, around a closure  the same
callable object, partial,       a wrapt object proxy        about 6 units
builtin, foreign wrapper
==============================  ==========================  ====================

A unit is the cost of one plain `functools.wraps` closure.
"""

from __future__ import annotations

import functools
import inspect
import types
import warnings
from typing import TYPE_CHECKING, Any

import wrapt

from resilient.errors import DecorationError, PolicyError, PolicyOrderWarning
from resilient.policies.options import describe
from resilient.registry import default_registry
from resilient.resilience import AsyncResilience, Resilience

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilient.registry import Registry
    from resilient.specs import Spec

__all__ = ["GuardedCallable", "decorate", "name_of"]


class GuardedCallable(wrapt.ObjectProxy):  # type: ignore[misc]  # wrapt's C class has no stub to subclass
    """
    A callable object under policies; in all else it is the object itself.
    """

    def __init__(self, wrapped: Callable[..., Any], resilience: Resilience[..., Any]) -> None:
        super().__init__(wrapped)
        self._self_resilience = resilience
        self._self_guard = resilience.pipeline.aguard() if resilience.is_async else resilience.pipeline.guard()

    @property
    def resilience(self) -> Resilience[..., Any]:
        """
        The object's policies and counts.
        """
        return self._self_resilience  # type: ignore[no-any-return]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._self_guard(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None or not hasattr(type(self.__wrapped__), "__get__"):
            return self
        return types.MethodType(self, instance)

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return _rebuild, (self.__wrapped__, self._self_resilience.specs)


def _rebuild(fn: Callable[..., Any], specs: tuple[Spec, ...]) -> Any:
    return _build(fn, specs, default_registry())


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
    _refuse(target, spec.kind)
    below = getattr(target, "resilience", None)
    # functools.wraps of a foreign decorator copies the attribute: then the
    # stack below is that decorator's, and fusing would put it in the wrong place.
    fused = isinstance(below, Resilience) and below.guard is target
    fn = below.pipeline.fn if fused else target
    name = name_of(fn)
    spec.check(fn, name, is_async=_is_async(fn))
    if not fused:
        return _build(fn, (spec,), registry or default_registry(), chosen=registry)
    _lint(spec, below.specs, name)
    if registry is not None and below.chosen is not None and registry is not below.chosen:
        where = f"@{spec.kind} on {name}"
        problem = f"registry={registry!r} differs from the {below.chosen!r} of the decorators below; give one of them"
        raise PolicyError(where, [problem])
    home = registry or below.registry
    reuse = dict(zip(below.specs, below.policies, strict=True)) if home is below.registry else {}
    below.give_up_name()
    result = _build(fn, (spec, *below.specs), home, reuse=reuse, chosen=registry or below.chosen)
    # Only now: a circuit that nobody goes through any more is forgotten.
    below.unbind()
    return result


def _build(
    fn: Callable[..., Any],
    specs: tuple[Spec, ...],
    registry: Registry,
    *,
    reuse: dict[Spec, Any] | None = None,
    chosen: Registry | None = None,
) -> Any:
    is_async = _is_async(fn)
    kind = AsyncResilience if is_async else Resilience
    resilience: Resilience[..., Any] = kind(fn, name_of(fn), specs, is_async=is_async)
    resilience.chosen = chosen
    resilience.bind(registry, reuse)
    if isinstance(fn, types.FunctionType):
        pipeline = resilience.pipeline
        guard: Any = functools.update_wrapper(pipeline.aguard() if is_async else pipeline.guard(), fn)
        guard.resilience = resilience
    else:
        guard = GuardedCallable(fn, resilience)
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
    return f"{getattr(fn, '__module__', None) or 'builtins'}:{fn.__qualname__}"


def _is_async(fn: Any) -> bool:
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004 - the method itself is looked at


def _refuse(target: Any, kind: str) -> None:
    """
    Raise for what cannot carry policies, with what to write instead.
    """
    if isinstance(target, property):
        getter = getattr(target.fget, "__qualname__", "the getter")
        msg = f"@{kind} cannot be put on the property {getter}; decorate the getter: write @property above @{kind}"
    elif isinstance(target, type):
        msg = f"@{kind} cannot be put on the class {target.__qualname__}; decorate its methods, or a function that makes it"
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


_OUTER = "@degradable, @fallback_chain, @recoverable, @retry, @circuit"


def _lint(spec: Spec, below: tuple[Spec, ...], name: str) -> None:
    """
    Warn once about an order that cannot work as it is meant.
    """
    kinds = [one.kind for one in below]
    why = None
    if spec.kind in {"retry", "recoverable"} and "fallback_chain" in kinds:
        why = f"@{spec.kind} above @fallback_chain sees only what all fallbacks have failed at; put @fallback_chain on top"
    elif spec.kind == "retry" and "recoverable" in kinds:
        why = "@recoverable below @retry recovers at every attempt; put @recoverable above @retry"
    elif spec.kind in {"circuit", "retry"} and "degradable" in kinds:
        why = f"@degradable below @{spec.kind} adjusts each attempt anew; put @degradable on top"
    elif kinds[0] == spec.kind:
        why = f"@{spec.kind} twice in a row multiplies what each does; keep one"
    if why is not None:
        msg = f"{name}: {why} (from the top: {_OUTER})"
        warnings.warn(msg, PolicyOrderWarning, stacklevel=_outside())


def _outside() -> int:
    """
    Return the stack level of the first frame that is not of this package.
    """
    frame = inspect.currentframe()
    level = 0
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "resilient":
        frame = frame.f_back
        level += 1
    return level
