"""
Options as objects: `RetryConfig` and `CircuitBreakerConfig`.

A field that nobody sets reads as its default, but only given fields count where
several sources of options merge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from resilient.errors import PolicyError
from resilient.policies import circuit, retry_options
from resilient.policies.options import UNSET, OptionTable, Unset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from resilient.policies.matching import Errors

__all__ = ["CircuitBreakerConfig", "Config", "RetryConfig"]


class Config:
    """
    The base of option objects.

    ``given`` maps the options that were set, by the decorator's names, to their
    normalised values.
    """

    table: ClassVar[OptionTable]
    check_together: ClassVar[staticmethod[[Mapping[str, Any]], list[str]]]
    # Field names that differ from the decorator's.
    renamed: ClassVar[dict[str, str]] = {}

    given: dict[str, Any]

    def _take(self, fields: dict[str, Any]) -> None:
        where = f"{type(self).__name__}()"
        given, problems = self.table.check(fields)
        problems = problems or type(self).check_together(given)
        if problems:
            raise PolicyError(where, problems)
        object.__setattr__(self, "given", given)

    def __getattr__(self, name: str) -> Any:
        if name == "given" or name.startswith("__"):
            raise AttributeError(name)
        option = self.table.options.get(self.renamed.get(name, name))
        if option is None:
            msg = f"{type(self).__name__} has no field {name!r}; it has {', '.join(self._fields())}"
            raise AttributeError(msg)
        return self.given.get(option.name, option.default)

    def __setattr__(self, name: str, value: object) -> None:
        msg = f"{type(self).__name__} is frozen; make a new one with {name}={value!r}"
        raise AttributeError(msg)

    def _fields(self) -> list[str]:
        back = {new: old for old, new in self.renamed.items()}
        return [back.get(name, name) for name in self.table.options]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and type(self) is type(other) and self.given == other.given

    def __hash__(self) -> int:
        return hash((type(self), tuple(sorted(self.given))))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.given)

    def __repr__(self) -> str:
        back = {new: old for old, new in self.renamed.items()}
        return f"{type(self).__name__}({', '.join(f'{back.get(n, n)}={v!r}' for n, v in self.given.items())})"


def _rebuild(kind: type[Config], given: dict[str, Any]) -> Config:
    config = kind.__new__(kind)
    object.__setattr__(config, "given", given)
    return config


class RetryConfig(Config):
    """
    The options of `retry`, with ``retryable_exceptions`` for ``on``.

    Args:
        retryable_exceptions: What is retried: exception types, a predicate or
            category names. Default: what the classifier calls transient.
        max_attempts: Calls in all, the first included. Default 3.
        initial_delay: Seconds before the first retry. Default 1.0.
        max_delay: Seconds that no delay exceeds. Default 60.0.
        exponential_base: What each delay is multiplied by. Default 2.0.
        jitter: ``True`` (by up to 25 % either way, the default), ``"full"``,
            ``"decorrelated"`` or ``False``.
        max_duration: Seconds for all attempts and waits. Default None: no limit.
        on_result: Predicate on the returned value that asks for another attempt.
        wait: A tenacity wait strategy, for delays, jitter and ``Retry-After``.
        stop: A tenacity stop strategy, for ``max_attempts`` and ``max_duration``.
        retry: A tenacity retry strategy, for ``retryable_exceptions`` and ``on_result``.
        before_sleep: A tenacity callback before each wait.

    Raises:
        PolicyError: With everything that cannot be meant, at once.
    """

    table: ClassVar[OptionTable] = retry_options.RETRY_OPTIONS
    check_together: ClassVar[staticmethod[[Mapping[str, Any]], list[str]]] = staticmethod(retry_options.check_together)
    renamed: ClassVar[dict[str, str]] = {"retryable_exceptions": "on"}

    if TYPE_CHECKING:
        retryable_exceptions: Errors | None
        max_attempts: int
        initial_delay: float
        max_delay: float
        exponential_base: float
        jitter: bool | str
        max_duration: float | None
        on_result: Callable[[Any], object] | None
        wait: Callable[..., Any] | None
        stop: Callable[..., Any] | None
        retry: Callable[..., Any] | None
        before_sleep: Callable[..., Any] | None

    def __init__(
        self,
        *,
        retryable_exceptions: Errors | Unset | None = UNSET,
        max_attempts: int | Unset = UNSET,
        initial_delay: float | timedelta | str | Unset = UNSET,
        max_delay: float | timedelta | str | Unset = UNSET,
        exponential_base: float | Unset = UNSET,
        jitter: bool | str | Unset = UNSET,
        max_duration: float | timedelta | str | Unset | None = UNSET,
        on_result: Callable[[Any], object] | Unset | None = UNSET,
        wait: Callable[..., Any] | Unset | None = UNSET,
        stop: Callable[..., Any] | Unset | None = UNSET,
        retry: Callable[..., Any] | Unset | None = UNSET,
        before_sleep: Callable[..., Any] | Unset | None = UNSET,
    ) -> None:
        fields = dict(locals())
        del fields["self"]
        self._take(fields)


class CircuitBreakerConfig(Config):
    """
    The options of `circuit`, with ``timeout`` for ``open_for``.

    Args:
        failure_threshold: Consecutive failures that open; with a time window,
            failures within it. Default 5.
        success_threshold: Successful probes that close. Default 2.
        timeout: Seconds open before probing, ``inf``: never by itself. Default 60.0.
        open_for: Another name of *timeout*.
        reopen_factor: What each consecutive reopening multiplies the open time by. Default 1.0.
        max_timeout: Seconds that reopenings stretch the open time to. Default 300.0.
        half_open_max_calls: Probes in flight at once. Default 1.
        probe_lease: Seconds after which a silent probe gives its permit back.
            Default None: the open time, at least 30 s.
        window: The last N calls (int), or a time (timedelta, ``"30s"``). Default None.
        failure_rate: With a window: the fraction of failures that opens.
        min_calls: Calls in the window below which no rate is defined. Default 10.
        slow_call: With a window: seconds from which a call is slow.
        slow_call_rate: The fraction of slow calls that opens. Default 1.0.
        critical: While it is open, health is ``"fail"``. Default False.
        mode: ``"on"``, ``"disabled"`` or ``"metrics_only"``.
        counts: What is a failure: types, a predicate or category names. Default `Exception`.
        ignore: What is neither failure nor success; wins over *counts*.
        listeners: pybreaker listener objects.

    Raises:
        PolicyError: With everything that cannot be meant, at once.
    """

    table: ClassVar[OptionTable] = circuit.CIRCUIT_OPTIONS
    check_together: ClassVar[staticmethod[[Mapping[str, Any]], list[str]]] = staticmethod(circuit.check_together)
    renamed: ClassVar[dict[str, str]] = {"timeout": "open_for"}

    if TYPE_CHECKING:
        failure_threshold: int
        success_threshold: int
        timeout: float
        open_for: float
        reopen_factor: float
        max_timeout: float
        half_open_max_calls: int
        probe_lease: float | None
        window: int | timedelta | None
        failure_rate: float | None
        min_calls: int
        slow_call: float | None
        slow_call_rate: float
        critical: bool
        mode: str
        counts: Errors
        ignore: Errors
        listeners: tuple[object, ...]

    def __init__(
        self,
        *,
        failure_threshold: int | Unset = UNSET,
        success_threshold: int | Unset = UNSET,
        timeout: float | timedelta | str | Unset = UNSET,
        open_for: float | timedelta | str | Unset = UNSET,
        reopen_factor: float | Unset = UNSET,
        max_timeout: float | timedelta | str | Unset = UNSET,
        half_open_max_calls: int | Unset = UNSET,
        probe_lease: float | timedelta | str | Unset | None = UNSET,
        window: int | timedelta | str | Unset | None = UNSET,
        failure_rate: float | Unset | None = UNSET,
        min_calls: int | Unset = UNSET,
        slow_call: float | timedelta | str | Unset | None = UNSET,
        slow_call_rate: float | Unset = UNSET,
        critical: bool | Unset = UNSET,
        mode: str | Unset = UNSET,
        counts: Errors | Unset = UNSET,
        ignore: Errors | Unset = UNSET,
        listeners: object | Unset = UNSET,
    ) -> None:
        fields = dict(locals())
        del fields["self"]
        self._take(fields)
