"""
``fn.resilience``: the policies of one decorated function, and what they have counted.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from resilient import modes
from resilient.drivers import stripped
from resilient.errors import PolicyError
from resilient.policies.options import describe
from resilient.policies.spec import Site
from resilient.registry import default_registry
from resilient.surroundings import carries

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from resilient.breaker import CircuitBreaker
    from resilient.counting import Stats
    from resilient.declared.declarations import Declarations
    from resilient.operation import Operation
    from resilient.outcome import Outcome
    from resilient.pipeline import Pipeline
    from resilient.policies.policy import Policy
    from resilient.policies.spec import Spec
    from resilient.registry import Registry

__all__ = ["AsyncResilience", "Resilience", "resilience_of"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Resilience(Generic[P, R]):
    """
    A decorated function's policies, registry, counts and outcomes.

    Args:
        pipeline: What its calls go through, around the raw function.
        name: Its name, ``module:qualname``.
        specs: What its decorators were given, outermost first.

    Attributes:
        is_async: Whether it is async.
        registry: Its registry.
        chosen: The registry that a decorator named, or None.
        linted: Whether the order of its decorators was found fault with.
        replaces: Whether it takes the place of an earlier function of its name.
        governed: Whether it is one that declarations speak of.
        in_force: The specs of its policies, outermost first: those of its decorators, and what is declared over them.
        declared: The declarations that they follow; None: none, or none yet.
        aside: Circuits that declarations have taken away while they were not closed, the latest last, each with the
            name that its spec gives.
    """

    __slots__ = (
        "__weakref__",
        "_guard",
        "aside",
        "chosen",
        "declared",
        "governed",
        "in_force",
        "linted",
        "name",
        "pipeline",
        "registry",
        "replaces",
        "specs",
    )

    is_async = False

    registry: Registry

    def __init__(self, pipeline: Pipeline, name: str, specs: tuple[Spec, ...]) -> None:
        self.specs: tuple[Spec, ...] = specs
        self.in_force: tuple[Spec, ...] = specs
        # Whether declarations speak of it, and those that it follows.
        self.governed: bool = True
        self.declared: Declarations | None = None
        self.aside: tuple[tuple[str | None, CircuitBreaker], ...] = ()
        self.chosen: Registry | None = None
        self.linted: bool = False
        # A notebook cell or a reload that is run again means the same function.
        self.replaces: bool = "<locals>" not in name and "<lambda>" not in name
        self.name: str = name
        self.pipeline: Pipeline = pipeline
        # Weakly: the wrapper holds this object, and what nobody calls any more is to be free at once.
        self._guard: Callable[[], Any] = _nothing

    def __reduce__(self) -> tuple[Any, ...]:
        # With a wrapper that is pickled by value: its policies are made anew
        # there, in that process' registry. State does not travel.
        state = {"chosen": None, "linted": True, "replaces": False, "governed": self.governed}
        return type(self), (self.pipeline, self.name, self.specs), (state, self.guard)

    def __setstate__(self, state: tuple[dict[str, Any], Any]) -> None:
        fields, guard = state
        for field, value in fields.items():
            setattr(self, field, value)
        # None where nobody held the wrapper any more.
        if guard is not None:
            self.guard = guard
            if hasattr(guard, "__code__"):
                carries(guard)
        self.bind(default_registry())

    @property
    def guard(self) -> Any:
        """
        The wrapper: what carries this object as ``resilience``; None where it is gone.
        """
        return self._guard()

    @guard.setter
    def guard(self, guard: Any) -> None:
        self._guard = weakref.ref(guard)

    @property
    def policies(self) -> tuple[Policy, ...]:
        """
        The policies in force, outermost first.
        """
        return self.pipeline.policies

    def bind(self, registry: Registry, below: Resilience[..., Any] | None = None, name: str | None = None) -> None:
        """
        Put the function on *registry*.

        Args:
            registry: The registry.
            below: What was on the function before; its policies go on, where they are the same.
            name: Its name there; None: its own, with a number where that is taken.

        Raises:
            PolicyError: The registry knows something else by a name that a policy uses, or what is declared for
                the function cannot be meant; nothing has changed.
        """
        fn = self.pipeline.fn
        assert fn is not None  # noqa: S101 - a decorated function's pipeline has its function
        now = registry.declarations_now() if self.governed else None
        specs, declared = self.specs if now is None else now.specs_when_decorated(self), now
        functions = registry.functions
        replaced = None
        # Two functions of one name must not find the same number free.
        with functions._lock:  # noqa: SLF001 - the registry's own shelf
            if name is None:
                name, replaced = self.name, functions.weak.get(self.name)
                if not self.replaces or (replaced is not None and not replaced.replaces):
                    name, replaced = functions.free_name(self.name), None
            before = functions.weak.get(name)
            functions.weak[name] = self
        replaces = self.replaces and name == self.name
        site = Site(fn, name, registry, is_async=self.is_async, replaces=replaces, replaced=replaced)
        try:
            if specs is None:
                # What it refers to is not there yet.
                policies, specs, declared = [now.deferred(self)], (), None  # type: ignore[union-attr]
            else:
                policies = _bound(specs, site, below)
        except BaseException:
            del functions.weak[name]
            if before is not None:
                functions.weak[name] = before
            raise
        self.registry = registry
        # What lies aside is the other registry's.
        self.aside = ()
        self.pipeline.name = name
        self.in_force, self.declared = specs, declared
        self.pipeline.install(policies, registry.hub)
        if registry.declarations is not now:
            self.follow()

    def follow(self) -> None:
        """
        Put in force what the registry declares by now.

        Raises:
            PolicyError: It cannot be meant for this function; nothing has changed.
        """
        now = self.registry.declarations
        if now is not None and now is not self.declared and self.governed:
            now.put_on(self)

    def give_up_name(self) -> None:
        """
        Let another function have this one's name in the registry.
        """
        if self.has_name:
            del self.registry.functions.weak[self.pipeline.name]

    @property
    def has_name(self) -> bool:
        """
        Whether the registry knows this function by its name.
        """
        return self.registry.functions.weak.get(self.pipeline.name) is self

    def leave(self) -> None:
        """
        Take the function out of its registry's sight, with the circuits that only it has named.

        Who still calls it goes on under the same policies.
        """
        self.give_up_name()
        for policy in self.pipeline.policies:
            breaker = getattr(policy, "breaker", None)
            if breaker is not None:
                breaker.detach(self.pipeline)
                self.registry.drop_circuit(breaker)
                breaker.attach(self.pipeline)

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

    def outcome(self, /, *args: P.args, **kwargs: P.kwargs) -> Outcome[R]:
        """
        Call the function, and return what came of it; an `Exception` is not raised.
        """
        op, began = self._begin()
        value, error = None, None
        try:
            value = self.pipeline.enter(op.number, args, kwargs, op=op)
        except Exception as raised:  # noqa: BLE001 - the outcome tells of it
            error = stripped(raised)
        try:
            return self._told(op, began, value, error)
        finally:
            # The failed call's frame has this one as its caller: an error kept here would keep itself.
            del error

    def _begin(self) -> tuple[Operation, float]:
        pipeline = self.pipeline
        op = pipeline.operation(pipeline.ticks.__next__())
        op.trace = []
        return op, op.clock.monotonic()

    def _told(self, op: Operation, began: float, value: Any, error: Exception | None) -> Outcome[Any]:
        if modes.disabled:
            # The raw function was called, past the plan that would have counted.
            op.attempts = op.attempts or 1
            op.route = op.route if error is None else "failed"
        from resilient.outcome import Outcome

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

    __slots__ = ()

    is_async = True

    async def outcome(self, /, *args: P.args, **kwargs: P.kwargs) -> Outcome[R]:  # type: ignore[override]
        """
        Call the function, and return what came of it; an `Exception` is not raised.
        """
        op, began = self._begin()
        value, error = None, None
        try:
            value = await self.pipeline.aenter(op.number, args, kwargs, op=op)
        except Exception as raised:  # noqa: BLE001 - the outcome tells of it
            error = stripped(raised)
        try:
            return self._told(op, began, value, error)
        finally:
            # The failed call's frame has this one as its caller: an error kept here would keep itself.
            del error


def _bound(specs: tuple[Spec, ...], site: Site, below: Resilience[..., Any] | None) -> list[Policy]:
    """
    Return the policies of *specs* at *site*; those that are *below* already go on.
    """
    pool = [] if below is None else list(zip(below.in_force, below.policies, strict=False))
    found: list[Policy | None] = []
    # From the innermost: of two that are the same, a new one stands outside.
    for spec in reversed(specs):
        at = next((at for at in reversed(range(len(pool))) if pool[at][0] == spec), None)
        found.append(None if at is None else pool.pop(at)[1])
    return [spec.bind(site) if policy is None else policy for spec, policy in zip(specs, reversed(found), strict=True)]


def _nothing() -> None:
    """
    Stand for a wrapper that does not exist yet.
    """


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
