"""
What tenacity's own objects say: which errors and values a strategy looks at, and what a ``Retrying`` was told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tenacity

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["looks_at_values", "named_types", "retrying_options", "without_counterpart"]


def _leaves(strategy: object) -> Iterator[object]:
    """
    Yield *strategy*, or the strategies that ``|`` and ``&`` have put together in it.
    """
    if isinstance(strategy, tenacity.retry_any | tenacity.retry_all):
        for one in strategy.retries:
            yield from _leaves(one)
    else:
        yield strategy


def looks_at_values(strategy: object) -> bool:
    """
    Tell whether a retry strategy may ask for another attempt after a value.

    Those that test the exception alone say no to every value, so calls that
    return need not be shown to them.
    """
    of_errors = tenacity.retry_if_exception.__call__
    return any(type(one).__call__ is not of_errors for one in _leaves(strategy))


def named_types(strategy: object) -> tuple[type[BaseException], ...]:
    """
    Return the exception types that a retry strategy names.
    """
    named: list[object] = []
    for one in _leaves(strategy):
        if isinstance(one, tenacity.retry_if_exception_type):
            types = one.exception_types
            named += types if isinstance(types, tuple) else [types]
    return tuple(one for one in named if isinstance(one, type))


# What a Retrying object can be told that has no place in a policy, and what to
# do instead.
_ELSEWHERE = {
    "sleep": "give the registry a clock: Registry(clock=...)",
    "before": "listen with registry.on(...)",
    "after": "listen with registry.on(...)",
    "retry_error_cls": "the last error is raised as itself",
    "retry_error_callback": "write @fallback_chain above @retry",
    "enabled": "leave @retry out",
}


def retrying_options(retrying: tenacity.BaseRetrying) -> dict[str, Any]:
    """
    Return the options that a `tenacity.Retrying` or `AsyncRetrying` object stands for.
    """
    options: dict[str, Any] = {"wait": retrying.wait, "stop": retrying.stop, "retry": retrying.retry}
    if not callable(options["wait"]):
        # None and 0 mean no wait to tenacity, and our backoff to us.
        options["wait"] = tenacity.wait_none()
    if retrying.before_sleep is not None:
        options["before_sleep"] = retrying.before_sleep
    return options


def without_counterpart(retrying: tenacity.BaseRetrying) -> list[str]:
    """
    Return one sentence for each thing that *retrying* was told and that would be ignored.
    """
    plain = tenacity.AsyncRetrying() if isinstance(retrying, tenacity.AsyncRetrying) else tenacity.Retrying()
    return [
        f"{name}= of a {type(retrying).__name__} has no place here; {instead}"
        for name, instead in _ELSEWHERE.items()
        # Older tenacities do not know all of them.
        if getattr(retrying, name, None) is not getattr(plain, name, None)
    ]
