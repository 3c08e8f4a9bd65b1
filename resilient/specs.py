"""
The specs of those kinds that are given more than options: a name, entries, rules; and of recovery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilient.chain import FallbackChain
from resilient.errors import PolicyError
from resilient.levels import DegradationLevel
from resilient.policies.circuit import CircuitPolicy
from resilient.policies.fallback import FALLBACK_OPTIONS, Fallback, FallbackPolicy
from resilient.policies.recovery_options import RECOVERY_OPTIONS
from resilient.policies.spec import NOTHING, Spec, above_fallbacks, adjusted_anew

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from resilient.breaker import CircuitBreaker
    from resilient.policies.adjusting import Adjuster
    from resilient.policies.policy import Policy
    from resilient.policies.rules import Rule
    from resilient.policies.spec import Site
    from resilient.resilience import Resilience

__all__ = ["CircuitSpec", "DegradeSpec", "FallbackSpec", "RecoverSpec"]


class CircuitSpec(Spec):
    """
    What ``@circuit`` was given.

    Args:
        name: The circuit's name; None: the function's own.
        given: The checked options.
        declared: Those options of a circuit with a name that a declaration gives, each with the rank of its layer.
    """

    __slots__ = ("declared", "name")

    kind = "circuit"

    def __init__(self, name: str | None, given: Mapping[str, Any], declared: Mapping[str, int] = NOTHING) -> None:
        super().__init__(given)
        self.name: str | None = name
        self.declared: Mapping[str, int] = declared

    def giving(self, given: Mapping[str, Any]) -> CircuitSpec:
        """
        Return the same circuit with these options instead, none of them declared.
        """
        return CircuitSpec(self.name, given)

    def misplaced(self, below: Sequence[Spec]) -> str | None:
        """
        Return why it is misplaced above what is *below*.
        """
        return adjusted_anew(self.kind, below)

    @property
    def decorated(self) -> Mapping[str, Any]:
        """
        The options that no declaration gives.
        """
        if not self.declared:
            return self.given
        return {option: value for option, value in self.given.items() if option not in self.declared}

    def over(self) -> dict[str, tuple[int, Any]]:
        """
        Return the options that a declaration gives, each with the rank of its layer.
        """
        return {option: (rank, self.given[option]) for option, rank in self.declared.items()}

    def bind(self, site: Site) -> Policy:
        """
        Return the circuit policy at *site*.
        """
        if self.name is None:
            breaker = site.registry.own_circuit(site.name, self.given, replace=site.replaces)
        else:
            self._take_over(site)
            where = f"@circuit({self.name!r}) on {site.name}"
            breaker = site.registry.claim_circuit(self.name, self.decorated, where, declared=self.over())
        return CircuitPolicy(breaker)

    def _take_over(self, site: Site) -> None:
        """
        Change the options of a circuit that only the replaced function has named: it is the same line, edited.
        """
        old = site.replaced
        breaker = site.registry.circuits.get(self.name or "")
        if old is None or breaker is None:
            return
        users = [one for one in site.registry.functions.values() if _names(one, breaker, None)]
        if not users and _names(old, breaker, breaker.given):
            breaker.adopt(self.decorated)


def _names(function: Resilience[..., Any], breaker: CircuitBreaker, given: Mapping[str, Any] | None) -> bool:
    """
    Tell whether *function* goes through *breaker*, and, where *given* is not None, has given it these options.
    """
    bound = zip(function.in_force, function.policies, strict=False)
    return any(
        isinstance(spec, CircuitSpec)
        and getattr(policy, "breaker", None) is breaker
        and (given is None or spec.decorated == given)
        for spec, policy in bound
    )


class FallbackSpec(Spec):
    """
    What ``@fallback_chain`` was given.

    Args:
        entries: What is tried, in order.
        given: The checked options.
    """

    __slots__ = ("entries",)

    kind = "fallback_chain"

    def __init__(self, entries: tuple[Fallback, ...], given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self.entries: tuple[Fallback, ...] = entries

    def giving(self, given: Mapping[str, Any]) -> FallbackSpec:
        """
        Return the same entries with these options instead.
        """
        return FallbackSpec(self.entries, given)

    def check(self, fn: Callable[..., Any], name: str, *, is_async: bool) -> None:  # noqa: ARG002 - Spec's signature
        """
        Refuse async entries behind a sync function.
        """
        if not is_async:
            _refuse_async(self.entries, name)

    def bind(self, site: Site) -> Policy:
        """
        Return the fallback policy at *site*; a chain with a name is the registry's.
        """
        name = self.given.get("name")
        if name is None:
            chain = FallbackChain(site.name, self.entries, site.registry)
        else:
            chain = site.registry.chain(name)
            if not site.is_async:
                _refuse_async(chain.entries, site.name)
            for entry in self.entries:
                chain.add_fallback(entry)
        return FallbackPolicy(chain, self.given.get("on", FALLBACK_OPTIONS.options["on"].default))


def _refuse_async(entries: tuple[Fallback, ...], name: str) -> None:
    problems = [
        f"{entry.name!r} is async and {name} is not, so nobody would await it; make {name} async, or give a sync entry"
        for entry in entries
        if entry.is_async
    ]
    if problems:
        raise PolicyError(f"@fallback_chain on {name}", problems)


class DegradeSpec(Spec):
    """
    What ``@degradable`` was given.

    Args:
        rules: By parameter name or path.
        given: ``scope``, ``only_below`` and ``floor``, where given.
    """

    __slots__ = ("rules",)

    kind = "degradable"

    def __init__(self, rules: Mapping[str, Rule | bool], given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self.rules: Mapping[str, Rule | bool] = dict(rules) if rules else NOTHING

    def giving(self, given: Mapping[str, Any]) -> DegradeSpec:
        """
        Return the same rules with these options instead.
        """
        return DegradeSpec(self.rules, given)

    def _adjuster(self, fn: Callable[..., Any], name: str) -> Adjuster:
        from resilient.policies.adjusting import Adjuster

        return Adjuster(
            fn,
            self.rules,  # type: ignore[arg-type]  # True is refused there, with the remedy
            where=f"@degradable on {name}",
            only_below=self.given.get("only_below"),
            floor=self.given.get("floor"),
        )

    def check(self, fn: Callable[..., Any], name: str, *, is_async: bool) -> None:  # noqa: ARG002 - Spec's signature
        """
        Refuse rules that the function has no parameter for.
        """
        self._adjuster(fn, name)

    def bind(self, site: Site) -> Policy:
        """
        Return the degradation policy at *site*.
        """
        from resilient.policies.degradation import DegradePolicy

        registry = site.registry
        adjuster = self._adjuster(site.fn, site.name)
        for feature in adjuster.features():
            level = getattr(adjuster.rules[feature], "level", DegradationLevel.FULL)
            registry.degradation.register_feature(feature, level)
        return DegradePolicy(adjuster, registry.degradation.scope(self.given.get("scope")))


class RecoverSpec(Spec):
    """
    What ``@recoverable`` was given.
    """

    __slots__ = ()

    kind = "recoverable"

    def misplaced(self, below: Sequence[Spec]) -> str | None:
        """
        Return why it is misplaced above what is *below*.
        """
        return above_fallbacks(self.kind, below)

    def bind(self, site: Site) -> Policy:
        """
        Return the recovery policy at *site*.
        """
        from resilient.policies.recovery import RecoverPolicy

        # Now, at decoration: a failing call is no time to load anything.
        _ = site.registry.playbooks
        return RecoverPolicy(RECOVERY_OPTIONS.filled(self.given), site.registry, is_async=site.is_async)
