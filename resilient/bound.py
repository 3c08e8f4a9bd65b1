"""
The decorators as methods of what has a registry.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import tenacity

from resilient import decorators, timeouts
from resilient.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilient.faces import CircuitDecorator, DegradeDecorator, FallbackDecorator, RecoverDecorator, RetryDecorator
    from resilient.registry import Registry
    from resilient.timeouts import TimeoutDecorator

__all__ = ["BoundDecorators"]


def _method(decorator: Callable[..., Any]) -> Callable[..., Any]:
    """
    Return *decorator* as a method that puts functions on the owner's registry.
    """

    @functools.wraps(decorator, assigned=("__doc__", "__name__"), updated=())
    def method(self: BoundDecorators, *args: Any, **options: Any) -> Any:
        registry = options.setdefault("registry", self.registry)
        if registry is not self.registry:
            where = f"system.{decorator.__name__}"
            problem = f"registry={registry!r} is not the system's, {self.registry!r}; leave it out"
            raise PolicyError(where, [problem])
        bare = len(args) == 1 and len(options) == 1 and decorator is not decorators.fallback_chain
        if bare and _is_target(args[0]):
            return decorator(registry=registry)(args[0])
        return decorator(*args, **options)

    del method.__wrapped__
    return method


def _is_target(value: object) -> bool:
    """
    Tell whether a decorator is used bare: a tenacity object can be called too, and is an option.
    """
    is_function = callable(value) or isinstance(value, classmethod | staticmethod | property)
    return is_function and not isinstance(value, tenacity.BaseRetrying)


class BoundDecorators:
    """
    `retry`, `circuit`, `timeout`, `fallback_chain`, `degradable` and `recoverable`, on one registry.

    Attributes:
        registry: Where they put functions.
    """

    registry: Registry

    if TYPE_CHECKING:
        retry: RetryDecorator
        circuit: CircuitDecorator
        fallback_chain: FallbackDecorator
        degradable: DegradeDecorator
        recoverable: RecoverDecorator
        timeout: TimeoutDecorator

    else:
        retry = _method(decorators.retry)
        circuit = _method(decorators.circuit)
        fallback_chain = _method(decorators.fallback_chain)
        degradable = _method(decorators.degradable)
        recoverable = _method(decorators.recoverable)
        timeout = _method(timeouts.timeout)
