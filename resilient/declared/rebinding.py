"""
Putting declarations in force: everything is made and checked first, and then swapped.

Whatever may run code of the user's - following references, reading signatures, comparing options - is done before,
without a lock. The swap is a few steps for each function under the registry's lock; each pipeline gets its new stack
in one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from resilient.declared.declarations import Declarations, Deferred
from resilient.declared.sharing import chains_after, circuits_after
from resilient.errors import PolicyError
from resilient.policies.circuit import CircuitPolicy
from resilient.policies.fallback import FALLBACK_OPTIONS, FallbackPolicy
from resilient.policies.spec import Site
from resilient.specs import CircuitSpec, FallbackSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resilient.policies.policy import Policy
    from resilient.policies.spec import Spec
    from resilient.registry import Registry
    from resilient.resilience import Resilience

__all__ = ["catch_up", "put_in_force", "rebind"]

# How many functions a problem is told of by name.
_NAMED = 3

# How many circuits that were taken away a function keeps.
_ASIDE = 8


class _Change(NamedTuple):
    """
    What is to be in force on one function.

    Attributes:
        function: The function.
        before: Its policies when this was made.
        specs: The specs, outermost first.
        policies: Their policies; None for what is the registry's, and made or changed when they are put in force.
    """

    function: Resilience[..., Any]
    before: tuple[Policy, ...]
    specs: tuple[Spec, ...]
    policies: tuple[Policy | None, ...]


def put_in_force(
    registry: Registry,
    make: Callable[[Declarations | None], Declarations],
    done: Callable[[], object] | None = None,
) -> int:
    """
    Put other declarations in force on all functions of *registry*.

    Args:
        registry: The registry.
        make: Returns them, given those in force now.
        done: Notes what goes with them, in the same step, under the registry's lock.

    Returns:
        How many functions have changed.

    Raises:
        PolicyError: With everything that cannot be meant, of all functions; nothing has changed.
    """
    while True:
        before = registry.declarations
        plan = _Plan(registry, make(before), _functions(registry), whole=True)
        with registry._lock:  # noqa: SLF001 - the registry's own
            # Of two at once the second has to look again.
            if registry.declarations is not before:
                continue
            registry.declarations = plan.declarations
            plan.commit()
            if done is not None:
                done()
        _look_after(registry)
        _follow(registry)
        return len(plan.changes)


def _follow(registry: Registry) -> None:
    """
    Let weaving look at the modules again.
    """
    if registry.follower is not None:
        try:
            registry.follower()
        except Exception as error:  # noqa: BLE001 - where warnings are errors: what was declared is in force
            registry.hub.report("weaving what has been declared", error)


def _look_after(registry: Registry) -> None:
    """
    See to functions that were decorated or changed while others were looked at.
    """
    for function in _functions(registry):
        try:
            function.follow()
        except PolicyError as error:
            # The others are under their new policies: there is no way back.
            registry.hub.report(f"what is declared for {function.name}", error)


def rebind(registry: Registry, functions: Sequence[Resilience[..., Any]]) -> None:
    """
    Put what *registry* declares in force on *functions* once more: references are followed again.

    Raises:
        PolicyError: With everything that cannot be meant for them; nothing has changed.
    """
    if registry.declarations is not None:
        registry.declarations.follow_again()
    catch_up(registry, functions)


def catch_up(registry: Registry, functions: Sequence[Resilience[..., Any]]) -> None:
    """
    Put what *registry* declares in force on *functions*, where it is not.

    Raises:
        PolicyError: With everything that cannot be meant for them; nothing has changed.
    """
    while functions:
        declarations = registry.declarations
        if declarations is None:
            return
        plan = _Plan(registry, declarations, functions, whole=False)
        with registry._lock:  # noqa: SLF001 - the registry's own
            if registry.declarations is declarations:
                functions = plan.commit()


def _functions(registry: Registry) -> list[Resilience[..., Any]]:
    # What is being decorated has a name before it has a registry, and looks after itself.
    return [one for one in registry.functions.values() if getattr(one, "registry", None) is registry and one.governed]


class _Plan:
    """
    Everything that is to be done, made and checked.

    Args:
        registry: The registry.
        declarations: What is to be in force.
        functions: On which functions.
        whole: Whether these are all, so that what they say of circuits replaces what was declared of those.

    Raises:
        PolicyError: With everything that cannot be meant.
    """

    def __init__(
        self, registry: Registry, declarations: Declarations, functions: Sequence[Resilience[..., Any]], *, whole: bool
    ) -> None:
        self.registry = registry
        self.declarations = declarations
        self.changes: list[_Change] = []
        self.unchanged: list[Resilience[..., Any]] = []
        # By problem, whose it is.
        self._problems: dict[str, list[str]] = {}
        kept: list[tuple[str, tuple[Spec, ...]]] = []
        for function in functions:
            specs = self._look_at(function)
            if specs is not None:
                kept.append((function.pipeline.name, specs))
        self._circuits, problems = circuits_after(registry, kept, whole=whole)
        for name, problem in problems:
            self._problems.setdefault(problem, []).append(name)
        self._chains = chains_after(registry, [(one.function, one.specs) for one in self.changes])
        if self._problems:
            raise PolicyError(_label(declarations), [_told(*one) for one in self._problems.items()])

    # -- making -----------------------------------------------------------------------

    def _look_at(self, function: Resilience[..., Any]) -> tuple[Spec, ...] | None:
        before = function.policies
        waits = any(type(one) is Deferred for one in before)
        try:
            specs = self.declarations.specs_when_decorated(function) if waits else self.declarations.specs_for(function)
            if specs is None or (not waits and specs == function.in_force):
                if specs is not None:
                    self.unchanged.append(function)
                return specs
            self.changes.append(_Change(function, before, specs, self._policies(function, specs)))
        except PolicyError as error:
            for problem in error.problems or [str(error)]:
                self._problems.setdefault(problem, []).append(function.name)
            return None
        return specs

    def _policies(self, function: Resilience[..., Any], specs: tuple[Spec, ...]) -> tuple[Policy | None, ...]:
        pool = list(zip(function.in_force, function.policies, strict=False))
        site = self._site(function)
        found: list[Policy | None] = []
        for spec in reversed(specs):
            at = next((at for at in reversed(range(len(pool))) if pool[at][0] == spec), None)
            if at is not None:
                found.append(pool.pop(at)[1])
            elif isinstance(spec, CircuitSpec) or (isinstance(spec, FallbackSpec) and spec.given.get("name")):
                found.append(None)
            else:
                found.append(spec.bind(site))
        return tuple(reversed(found))

    def _site(self, function: Resilience[..., Any]) -> Site:
        fn: Any = function.pipeline.fn
        return Site(fn, function.pipeline.name, self.registry, is_async=function.is_async, replaces=True)

    # -- putting in force, under the registry's lock -----------------------------------------

    def commit(self) -> list[Resilience[..., Any]]:
        """
        Put everything in force; return the functions that others have changed meanwhile.
        """
        for breaker, declared in self._circuits:
            breaker.adopt(breaker.given, declared)
        for name, entries in self._chains.items():
            self.registry.chain(name).put(entries)
        missed = []
        for change in self.changes:
            function = change.function
            if function.registry is not self.registry:
                continue
            if function.policies is not change.before:
                missed.append(function)
                continue
            self._install(change)
        for function in self.unchanged:
            if function.registry is self.registry:
                function.declared = self.declarations
        return missed

    def _install(self, change: _Change) -> None:
        function = change.function
        before = list(zip(function.in_force, change.before, strict=False))
        made = {id(policy) for policy in change.policies}
        pool = [one for one in zip(function.in_force, function.policies, strict=False) if id(one[1]) not in made]
        site = self._site(function)
        policies = [
            self._shared(spec, pool, site, function) if policy is None else policy
            for spec, policy in zip(change.specs, change.policies, strict=True)
        ]
        function.in_force, function.declared = change.specs, self.declarations
        function.pipeline.install(policies, self.registry.hub)
        stays = {id(getattr(policy, "breaker", None)) for policy in policies}
        for spec, policy in before:
            breaker = getattr(policy, "breaker", None)
            if breaker is not None and id(breaker) not in stays:
                breaker.detach(function.pipeline)
                if self.registry.lay_aside(breaker, own=_name(spec) is None):
                    function.aside = (*function.aside, (_name(spec), breaker))[-_ASIDE:]

    def _shared(
        self, spec: Spec, pool: list[tuple[Spec, Policy]], site: Site, function: Resilience[..., Any]
    ) -> Policy:
        """
        Return the policy of a circuit, which keeps its state where it is the same circuit, or of a chain with a name.
        """
        if isinstance(spec, FallbackSpec):
            on = spec.given.get("on", FALLBACK_OPTIONS.options["on"].default)
            return FallbackPolicy(self.registry.chain(spec.given["name"]), on)
        for at, (old, policy) in enumerate(pool):
            if isinstance(old, CircuitSpec) and isinstance(policy, CircuitPolicy) and old.name == _name(spec):
                if old.name is None:
                    policy.breaker.adopt(spec.given, {})
                del pool[at]
                return policy
        for at, (name, breaker) in enumerate(function.aside if isinstance(spec, CircuitSpec) else ()):
            if name == _name(spec):
                function.aside = (*function.aside[:at], *function.aside[at + 1 :])
                if name is None and self.registry.take_back(breaker, spec.given):
                    return CircuitPolicy(breaker)
                # One with a name, which others may be using again, the registry finds: it is held here until then.
                break
        return spec.bind(site)


def _name(spec: Spec) -> str | None:
    return spec.name if isinstance(spec, CircuitSpec) else None


def _label(declarations: Declarations) -> str:
    return " and ".join(document.label for _, document, _ in declarations.documents) or "declarations"


def _told(problem: str, names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{problem} (for {', '.join(names[:_NAMED])}{more})"
