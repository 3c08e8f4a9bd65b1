"""
What a decorator leaves on a function: options, and how they become a policy at their place.

A spec is what the user wrote, checked. It holds no state, pickles, and binds to
any registry: to another one, to the same one in another process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from resilient.errors import PolicyError
from resilient.policies.options import same

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from resilient.policies.policy import Policy
    from resilient.registry import Registry
    from resilient.resilience import Resilience

__all__ = ["NOTHING", "PolicySpec", "Site", "Spec", "above_fallbacks", "adjusted_anew"]

NOTHING: Mapping[str, Any] = {}
"""What most decorators are given; never changed. Plain, so that specs can be pickled."""


class Site:
    """
    Where a policy is put.

    Args:
        fn: The raw function.
        name: Its name in the registry.
        registry: The function's registry.
        is_async: Whether it is async.
        replaces: Whether it takes the place of an earlier function of that name.
        replaced: That function, where there is one.
    """

    __slots__ = ("fn", "is_async", "name", "registry", "replaced", "replaces")

    def __init__(
        self,
        fn: Callable[..., Any],
        name: str,
        registry: Registry,
        *,
        is_async: bool,
        replaces: bool = False,
        replaced: Resilience[..., Any] | None = None,
    ) -> None:
        self.fn: Callable[..., Any] = fn
        self.name: str = name
        self.registry: Registry = registry
        self.is_async: bool = is_async
        self.replaces: bool = replaces
        self.replaced: Resilience[..., Any] | None = replaced


class Spec:
    """
    The base of specs: a kind, and the checked options that were given.

    Two are equal where they say the same; what cannot be compared is the same where it is one object.
    """

    __slots__ = ("given",)

    kind: str

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given: Mapping[str, Any] = dict(given) if given else NOTHING

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other):
            return False
        names = [name for kind in type(self).__mro__ for name in getattr(kind, "__slots__", ())]
        return all(same(getattr(self, name), getattr(other, name)) for name in names)

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # what they hold may have none

    def giving(self, given: Mapping[str, Any]) -> Self:
        """
        Return the same with these checked options instead.
        """
        return type(self)(given)

    def check(self, fn: Callable[..., Any], name: str, *, is_async: bool) -> None:
        """
        Look for what this function cannot carry.

        Raises:
            PolicyError: With everything that cannot be meant.
        """

    def bind(self, site: Site) -> Policy:
        """
        Return the policy at *site*.
        """
        raise NotImplementedError  # pragma: no cover - each kind has its own

    def misplaced(self, below: Sequence[Spec]) -> str | None:  # noqa: ARG002 - for those that need it
        """
        Return why it cannot work as it is meant above what is *below*, outermost first; None: it can.
        """
        return None


class PolicySpec(Spec):
    """
    What a decorator was given whose policy says all that there is to know of its kind.

    Args:
        policy: The policy's class.
        given: The checked options.
    """

    __slots__ = ("policy",)

    def __init__(self, policy: type[Policy], given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self.policy: type[Policy] = policy

    @property
    def kind(self) -> str:  # type: ignore[override]  # of others it is their class's
        """
        The policy's name.
        """
        return self.policy.kind

    def giving(self, given: Mapping[str, Any]) -> PolicySpec:
        """
        Return the same with these checked options instead.
        """
        return PolicySpec(self.policy, given)

    def check(self, fn: Callable[..., Any], name: str, *, is_async: bool) -> None:  # noqa: ARG002 - Spec's signature
        """
        Ask the policy what this function cannot carry.
        """
        problems = self.policy.check_function(self.given, name, is_async=is_async)
        if problems:
            raise PolicyError(f"@{self.kind} on {name}", problems)

    def bind(self, site: Site) -> Policy:
        """
        Return the policy at *site*.
        """
        return self.policy.bind(self.given, site)

    def misplaced(self, below: Sequence[Spec]) -> str | None:
        """
        Ask the policy.
        """
        return self.policy.misplaced(self.given, below)


# Sentences that several kinds have in common.


def above_fallbacks(kind: str, below: Sequence[Spec]) -> str | None:
    """
    Say what is wrong with *kind* above a fallback chain, if there is one *below*.
    """
    if not any(one.kind == "fallback_chain" for one in below):
        return None
    return f"@{kind} above @fallback_chain sees only what all fallbacks failed at; put @fallback_chain on top"


def adjusted_anew(kind: str, below: Sequence[Spec]) -> str | None:
    """
    Say what is wrong with *kind* above a degradation, if there is one *below*.
    """
    if not any(one.kind == "degradable" for one in below):
        return None
    return f"@degradable below @{kind} adjusts each attempt anew; put @degradable on top"
