"""
`governed`: a function whose policies come from a file, or from `Registry.configure`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from resilient.decorating import govern
from resilient.errors import DecorationError
from resilient.policies.options import describe
from resilient.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilient.faces import F

__all__ = ["governed"]


@overload
def governed(target: F, /) -> F: ...


@overload
def governed(*, registry: Registry | None = None) -> Callable[[F], F]: ...


def governed(*targets: Any, **options: Any) -> Any:
    """
    Put a function under the policies that are declared for it, now or later; without any it is called as it is.

    Bare (``@governed``) or with ``registry=``. Above and below other decorators of this library it changes nothing:
    what is declared is over those anyway.

    Args:
        targets: What is decorated, where it is used bare.
        options: ``registry``, the function's registry; None: the default one.

    Raises:
        PolicyError: At decoration: what is declared for the function cannot be meant.
        DecorationError: At decoration: the target cannot carry policies.
    """
    registry = options.pop("registry", None)
    wrong = [f"unknown option {name!r}" for name in options]
    if registry is not None and not isinstance(registry, Registry):
        wrong.append(f"registry must be a Registry or None, got {describe(registry)}")
    if len(targets) > 1 or (targets and registry is not None):
        wrong.append("it takes one function, or registry=, and not both at once")
    if wrong:
        msg = f"governed(): {'; '.join(wrong)}; write @governed, or @governed(registry=...)"
        raise DecorationError(msg)
    if targets:
        return govern(targets[0], registry)

    def decorator(target: F) -> F:
        return govern(target, registry)  # type: ignore[no-any-return]

    return decorator
