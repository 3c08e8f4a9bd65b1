"""
The decorators as type checkers see them: bare, or with options.

The functions in `resilient.decorators` take whatever comes, to tell what is
wrong with it; these say what may come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    import tenacity

    from resilient.configs import CircuitBreakerConfig, RetryConfig
    from resilient.levels import DegradationLevel
    from resilient.policies.fallback import Fallback
    from resilient.policies.matching import Errors
    from resilient.policies.rules import Rule
    from resilient.registry import Registry

__all__ = [
    "CircuitDecorator",
    "DegradeDecorator",
    "FallbackDecorator",
    "PolicyDecorator",
    "RecoverDecorator",
    "RetryDecorator",
]

F = TypeVar("F", bound="Callable[..., Any] | classmethod[Any, Any, Any] | staticmethod[Any, Any]")


class RetryDecorator(Protocol):
    """
    What `resilient.retry` takes, and what it makes of a function.
    """

    @overload
    def __call__(
        self,
        config: RetryConfig | tenacity.BaseRetrying | None = None,
        /,
        *,
        on: Errors | None = ...,
        max_attempts: int = ...,
        initial_delay: float | timedelta | str = ...,
        max_delay: float | timedelta | str = ...,
        exponential_base: float = ...,
        jitter: bool | str = ...,
        max_duration: float | timedelta | str | None = ...,
        on_result: Callable[[Any], object] | None = ...,
        wait: Callable[..., Any] | None = ...,
        stop: Callable[..., Any] | None = ...,
        retry: Callable[..., Any] | None = ...,
        before_sleep: Callable[..., Any] | None = ...,
        registry: Registry | None = ...,
    ) -> Callable[[F], F]: ...

    # Second: a `tenacity.Retrying` can be called too, and is still no target.
    @overload
    def __call__(self, target: F, /) -> F: ...


class CircuitDecorator(Protocol):
    """
    What `resilient.circuit` takes, and what it makes of a function.
    """

    @overload
    def __call__(self, target: F, /) -> F: ...

    @overload
    def __call__(
        self,
        name: str | CircuitBreakerConfig | None = None,
        config: CircuitBreakerConfig | None = None,
        /,
        *,
        failure_threshold: int = ...,
        success_threshold: int = ...,
        open_for: float | timedelta | str = ...,
        timeout: float | timedelta | str = ...,
        reopen_factor: float = ...,
        max_timeout: float | timedelta | str = ...,
        half_open_max_calls: int = ...,
        probe_lease: float | timedelta | str | None = ...,
        window: int | timedelta | str | None = ...,
        failure_rate: float | None = ...,
        min_calls: int = ...,
        slow_call: float | timedelta | str | None = ...,
        slow_call_rate: float = ...,
        critical: bool = ...,
        mode: str = ...,
        counts: Errors = ...,
        ignore: Errors = ...,
        listeners: object = ...,
        registry: Registry | None = ...,
    ) -> Callable[[F], F]: ...


class FallbackDecorator(Protocol):
    """
    What `resilient.fallback_chain` takes, and what it makes of a function.
    """

    def __call__(
        self,
        *entries: Callable[..., Any] | Fallback,
        name: str | None = None,
        on: Errors = Exception,
        registry: Registry | None = None,
        **unknown: Any,
    ) -> Callable[[F], F]:
        """
        Return the decorator.
        """
        ...


class DegradeDecorator(Protocol):
    """
    What `resilient.degradable` takes, and what it makes of a function.
    """

    @overload
    def __call__(self, target: F, /) -> F: ...

    @overload
    def __call__(
        self,
        *,
        scope: str | None = ...,
        only_below: DegradationLevel | str | None = ...,
        floor: DegradationLevel | str | None = ...,
        rules: Mapping[str, Rule | bool] | None = ...,
        registry: Registry | None = ...,
        **own: Rule | bool,
    ) -> Callable[[F], F]: ...


class RecoverDecorator(Protocol):
    """
    What `resilient.recoverable` takes, and what it makes of a function.
    """

    @overload
    def __call__(self, target: F, /) -> F: ...

    @overload
    def __call__(
        self, *, playbook: str | None = ..., max_runs: int = ..., registry: Registry | None = ...
    ) -> Callable[[F], F]: ...


class PolicyDecorator(Protocol):
    """
    What the decorator of a policy of a user's own takes, and what it makes of a function.
    """

    @overload
    def __call__(self, target: F, /) -> F: ...

    @overload
    def __call__(self, *positional: Any, registry: Registry | None = ..., **options: Any) -> Callable[[F], F]: ...
