"""
`RetryMechanism`: retries to hold in one's hands, and what they have counted by function.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from resilient.analytics.counts import OTHER
from resilient.classify import Classifier
from resilient.clock import SYSTEM_CLOCK
from resilient.configs import RetryConfig
from resilient.decorating import name_of
from resilient.errors import PolicyError
from resilient.forks import survives_fork
from resilient.hub import Hub
from resilient.pipeline import Pipeline
from resilient.policies.base import Plan, Returned
from resilient.policies.checks import integer
from resilient.policies.options import describe
from resilient.policies.retry import RETRY_OPTIONS, RetryPolicy
from resilient.redaction import readable
from resilient.text import cut

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from resilient.clock import Clock
    from resilient.operation import Operation
    from resilient.registry import Registry

__all__ = ["CountedRetry", "RetryCounts", "RetryMechanism"]

P = ParamSpec("P")
T = TypeVar("T")

# Functions that are counted apart; all others are counted together.
_FUNCTIONS = 1024
_NAME_LIMIT = 200

_attempt_number = integer(minimum=0)


class RetryCounts:
    """
    What retries have counted, by function; bounded.
    """

    def __init__(self) -> None:
        self._renew_locks()
        self.reset()
        survives_fork(self)

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()

    def reset(self) -> None:
        """
        Forget everything.
        """
        self._by_function: dict[str, list[int]] = {}

    def add(self, function: str, attempts: int, retries: int, *, returned: bool | None) -> None:
        """
        Count one call: its attempts, its retries, and whether it returned; None: it was broken off.
        """
        function = cut(function, _NAME_LIMIT)
        with self._lock:
            table = self._by_function
            if function not in table and len(table) - (OTHER in table) >= _FUNCTIONS:
                function = OTHER
            counts = table.setdefault(function, [0, 0, 0, 0])
            counts[0] += attempts
            counts[1] += returned is True
            counts[2] += returned is False
            counts[3] += retries

    def to_dict(self) -> dict[str, dict[str, int]]:
        """
        Return the counts by function, its name redacted and escaped.
        """
        names = ("attempts", "successes", "failures", "retries")
        with self._lock:
            table = {name: list(counts) for name, counts in self._by_function.items()}
        return {readable(name): dict(zip(names, counts, strict=True)) for name, counts in table.items()}


class CountedRetry(RetryPolicy):
    """
    A retry that counts by function, in pipelines that call many.

    Args:
        options: A value for every row of `RETRY_OPTIONS`.
        hub: Where time, chance and the classifier come from.
        counts: Where it counts.
    """

    def __init__(self, options: Mapping[str, Any], hub: Hub, counts: RetryCounts) -> None:
        super().__init__(options, hub)
        self.counts = counts

    def plan(self, op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], inner: Callable[..., Plan]) -> Plan:
        """
        Do what a retry does, and count it.
        """
        attempts, retries = op.attempts, op.retries
        returned: bool | None = None
        try:
            outcome = yield from super().plan(op, args, kwargs, inner)
            returned = type(outcome) is Returned
        finally:
            # Ctrl-C and cancellation are neither success nor failure.
            self.counts.add(op.function, op.attempts - attempts, op.retries - retries, returned=returned)
        return outcome


class RetryMechanism:
    """
    A retry for code that prefers calls to decorators.

    Args:
        config: What is retried, how often and when; None: the defaults of `retry`.
        registry: Whose clock, classifier, analytics and listeners it uses; None:
            it stands alone. As ``system.retry_mechanism`` it uses the system's.
        clock: Where time comes from, where it stands alone.

    Raises:
        PolicyError: *config* is something else.
    """

    def __init__(
        self, config: RetryConfig | None = None, registry: Registry | None = None, clock: Clock | None = None
    ) -> None:
        if config is not None and not isinstance(config, RetryConfig):
            msg = f"RetryMechanism(): config must be a RetryConfig or None, got {describe(config)}"
            raise PolicyError(msg)
        #: Its options.
        self.config: RetryConfig = RetryConfig() if config is None else config
        self._counts = RetryCounts()
        if registry is None:
            hub = Hub(clock=clock or SYSTEM_CLOCK, classifier=Classifier())
        else:
            hub = registry.hub
            registry.reset_with(self._counts)
        self._policy = self.policy(hub)
        self._pipeline = Pipeline(None, "RetryMechanism")
        self._pipeline.install((self._policy,), hub)

    def __repr__(self) -> str:
        return f"<RetryMechanism: {self._policy!r}>"

    @property
    def counts(self) -> RetryCounts:
        """
        Where it counts.
        """
        return self._counts

    def policy(self, hub: Hub, config: RetryConfig | None = None) -> CountedRetry:
        """
        Return a retry on *hub* that counts here.

        Args:
            hub: Where time, chance and the classifier come from.
            config: Its options; None: the mechanism's.
        """
        given = (self.config if config is None else config).given
        return CountedRetry({**RETRY_OPTIONS.defaults(), **given}, hub, self._counts)

    def calculate_delay(self, attempt: int) -> float:
        """
        Return the seconds before the next attempt, jitter included.

        Args:
            attempt: How many waits there were before: 0 is the first wait.

        Raises:
            PolicyError: *attempt* is not a whole number from 0 on.
        """
        try:
            return self._policy.calculate_delay(_attempt_number(attempt))
        except ValueError as error:
            msg = f"calculate_delay(): attempt {error}, got {describe(attempt)}"
            raise PolicyError(msg) from None

    def is_retryable(self, error: BaseException) -> bool:
        """
        Tell whether *error* asks for another attempt, as long as there are attempts left.

        False for Ctrl-C, cancellation and everything else that is no `Exception`.
        """
        return isinstance(error, Exception) and self._policy.is_retryable(error)

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Call *fn*, and again while its errors are retryable and attempts are left.

        Raises:
            PolicyError: *fn* is not callable.
        """
        op = self._operation(fn, "call")
        return self._pipeline.enter(op.number, args, kwargs, op=op)  # type: ignore[no-any-return]

    @overload
    async def execute_with_retry(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

    @overload
    async def execute_with_retry(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...

    async def execute_with_retry(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """
        Do what `call` does, and await what *fn* returns if that can be awaited.

        Raises:
            PolicyError: *fn* is not callable.
        """
        op = self._operation(fn, "execute_with_retry")
        return await self._pipeline.aenter(op.number, args, kwargs, op=op)

    def _operation(self, fn: Callable[..., Any], where: str) -> Operation:
        if not callable(fn):
            msg = f"{where}() takes a function and its arguments, as in {where}(fetch, url); got {describe(fn)}"
            raise PolicyError(msg)
        return self._pipeline.operation_of(self._pipeline.ticks.__next__(), fn, name_of(fn))

    def get_stats(self) -> dict[str, dict[str, int]]:
        """
        Return what has been counted, by function.

        ``attempts`` are calls of the function, ``retries`` those that a failure
        or a result asked for; ``successes`` and ``failures`` count whole series
        of attempts: those that returned, and those that raised in the end.
        """
        return self._counts.to_dict()
