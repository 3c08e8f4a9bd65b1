"""
``fn.resilience``: the policies of one decorated function, and what they have counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from resilient.errors import PolicyError
from resilient.outcome import Outcome
from resilient.pipeline import Pipeline, Stats
from resilient.policies.options import describe
from resilient.specs import Site

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from resilient.operation import Operation
    from resilient.pipeline import Bound
    from resilient.registry import Registry
    from resilient.specs import Spec

__all__ = ["AsyncResilience", "Resilience", "resilience_of"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Resilience(Generic[P, R]):
    """
    A decorated function's policies, registry, counts and outcomes.

    Args:
        fn: The raw function.
        name: Its name, ``module:qualname``.
        specs: What its decorators were given, outermost first.
        is_async: Whether it is async.

    Attributes:
        registry: Its registry.
        chosen: The registry that a decorator named, or None.
        guard: The wrapper: what carries this object as ``resilience``.
    """

    registry: Registry
    guard: Callable[..., Any]

    def __init__(self, fn: Callable[..., Any], name: str, specs: tuple[Spec, ...], *, is_async: bool) -> None:
        self.specs = specs
        self.is_async = is_async
        self.chosen: Registry | None = None
        # A notebook cell or a reload that is run again means the same function.
        self.replaces = "<locals>" not in name and "<lambda>" not in name
        self.name = name
        self.pipeline = Pipeline(fn, name)

    @property
    def policies(self) -> tuple[Bound, ...]:
        """
        The policies in force, outermost first.
        """
        return self.pipeline.policies

    def bind(self, registry: Registry, reuse: Mapping[Spec, Bound] | None = None) -> None:
        """
        Put the function on *registry*.

        Args:
            registry: The registry.
            reuse: Policies that are bound there already, by spec.
        """
        fn = self.pipeline.fn
        assert fn is not None  # noqa: S101 - a decorated function's pipeline has its function
        functions = registry.functions
        name = self.name if self.replaces else functions.free_name(self.name)
        site = Site(fn, name, registry, is_async=self.is_async, replaces=self.replaces)
        reuse = reuse or {}
        policies = [reuse[spec] if spec in reuse else spec.bind(site) for spec in self.specs]
        self.registry = registry
        self.pipeline.name = name
        self.pipeline.install(policies, registry.hub)
        functions.weak[name] = self

    def give_up_name(self) -> None:
        """
        Let another function have this one's name in the registry.
        """
        if self.registry.functions.weak.get(self.pipeline.name) is self:
            del self.registry.functions.weak[self.pipeline.name]

    def unbind(self) -> None:
        """
        Take the function off its registry, with the circuits that only it has named.
        """
        self.give_up_name()
        policies = self.pipeline.policies
        self.pipeline.install((), self.registry.hub)
        self.registry.hub.detach(self.pipeline)
        for policy in policies:
            breaker = getattr(policy, "breaker", None)
            if breaker is not None:
                breaker.detach(self.pipeline)
                self.registry.drop_circuit(breaker)

    def stats(self) -> Stats:
        """
        Return what has been counted: calls, attempts, retries, failures, rejected, recovered, fallbacks.
        """
        return self.pipeline.stats()

    def reset(self) -> None:
        """
        Zero the counts.
        """
        self.pipeline.reset_stats()

    def outcome(self, *args: P.args, **kwargs: P.kwargs) -> Outcome[R]:
        """
        Call the function, and return what came of it; an `Exception` is not raised.
        """
        op, began = self._begin()
        value, error = None, None
        try:
            value = self.pipeline.enter(op.number, args, kwargs, op=op)
        except Exception as raised:  # noqa: BLE001 - the outcome tells of it
            error = raised
        return self._told(op, began, value, error)

    def _begin(self) -> tuple[Operation, float]:
        pipeline = self.pipeline
        op = pipeline.operation(pipeline.ticks.__next__())
        op.trace = []
        return op, op.clock.monotonic()

    def _told(self, op: Operation, began: float, value: Any, error: Exception | None) -> Outcome[Any]:
        return Outcome(
            value=value,
            error=error,
            route=op.route,
            attempts=op.attempts,
            level=op.level,
            changes=op.changes,
            elapsed=op.clock.monotonic() - began,
            events=tuple(op.trace or ()),
        )

    def __repr__(self) -> str:
        lines = [f"{self.pipeline.name} on registry {self.registry.name!r}"]
        lines += [f"{'  ' * depth}{policy!r}" for depth, policy in enumerate(self.policies, 1)]
        lines.append(f"{'  ' * (len(self.policies) + 1)}{self.name.partition(':')[2]}()")
        return "\n".join(lines)


class AsyncResilience(Resilience[P, R]):
    """
    The same for an async function: outcomes are awaited.
    """

    async def outcome(self, *args: P.args, **kwargs: P.kwargs) -> Outcome[R]:  # type: ignore[override]
        """
        Call the function, and return what came of it; an `Exception` is not raised.
        """
        op, began = self._begin()
        value, error = None, None
        try:
            value = await self.pipeline.aenter(op.number, args, kwargs, op=op)
        except Exception as raised:  # noqa: BLE001 - the outcome tells of it
            error = raised
        return self._told(op, began, value, error)


@overload
def resilience_of(fn: Callable[P, Coroutine[Any, Any, T]], /) -> AsyncResilience[P, T]: ...


@overload
def resilience_of(fn: Callable[P, Awaitable[T]], /) -> AsyncResilience[P, T]: ...


@overload
def resilience_of(fn: Callable[P, R], /) -> Resilience[P, R]: ...


def resilience_of(fn: Callable[..., Any], /) -> Resilience[..., Any]:
    """
    Return ``fn.resilience``, typed.

    Raises:
        PolicyError: *fn* carries no policies.
    """
    resilience = getattr(fn, "resilience", None)
    if not isinstance(resilience, Resilience):
        msg = f"{describe(fn)} carries no policies; decorate it, for example with @retry"
        raise PolicyError(msg)
    return resilience


