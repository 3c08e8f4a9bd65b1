"""
What a call through `ErrorHandlingSystem` goes through: one pipeline for each way to call.

These pipelines have no function of their own. Each call brings one, and is told
under that function's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from resilient.configs import RetryConfig
from resilient.decorating import name_of
from resilient.errors import PolicyError
from resilient.pipeline import Pipeline
from resilient.policies.base import Returned
from resilient.policies.checks import boolean, text
from resilient.policies.circuit import CircuitPolicy
from resilient.policies.fallback import FallbackPolicy, offer
from resilient.policies.options import describe, is_async, same
from resilient.policies.recovery import RecoverPolicy
from resilient.policies.recovery_options import RECOVERY_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from resilient.breaker import CircuitBreaker
    from resilient.mechanism import RetryMechanism
    from resilient.operation import Operation
    from resilient.policies.base import Plan
    from resilient.policies.fallback import Fallback
    from resilient.policies.policy import Policy
    from resilient.registry import Registry

__all__ = ["Execution", "FirstEntryPolicy", "Way"]

# Pipelines that are kept; with more ways to call than this the oldest is built anew.
_KEPT = 128


class Way(NamedTuple):
    """
    One way to call, as `ErrorHandlingSystem` is asked for it.

    Args:
        circuit: A circuit's name, or None.
        chain: A fallback chain's name, or None.
        retry: Whether the function is retried.
        recover: Whether playbooks are walked.
        config: How it is retried; None: as the mechanism says.
    """

    circuit: str | None
    chain: str | None
    retry: bool
    recover: bool
    config: RetryConfig | None


class Execution:
    """
    The pipelines of one system under one retry mechanism, each built when it is first needed.

    Args:
        registry: Whose chains, playbooks and listeners they use.
        mechanism: How they retry, and where that is counted.
        circuit: Returns the circuit of a name.
    """

    def __init__(self, registry: Registry, mechanism: RetryMechanism, circuit: Callable[[str], CircuitBreaker]) -> None:
        self.mechanism = mechanism
        self._registry = registry
        self._circuit = circuit
        self._pipelines: dict[Way, Pipeline] = {}

    def __repr__(self) -> str:
        return f"<Execution on registry {self._registry.name!r}: {len(self._pipelines)} ways to call>"

    def begin(self, where: str, fn: Callable[..., Any], way: Way) -> Operation:
        """
        Return the operation of a call of *fn*, which is to enter its pipeline with it.

        Args:
            where: The method that was called, for error messages.
            fn: What is called.
            way: How.

        Raises:
            PolicyError: With everything that cannot be meant, at once.
        """
        try:
            pipeline = self._pipelines.get(way)
        except TypeError:
            # What cannot be hashed is neither a name nor a config: the check below tells.
            pipeline = None
        if pipeline is None or not callable(fn):
            _check(where, fn, way)
            pipeline = self._keep(way, self._build(way))
        return pipeline.operation_of(pipeline.ticks.__next__(), fn, name_of(fn))

    def _build(self, way: Way) -> Pipeline:
        registry = self._registry
        policies: list[Policy] = []
        if way.chain is not None:
            policies.append(FirstEntryPolicy(registry.chain(way.chain)))
        if way.recover:
            policies.append(RecoverPolicy(RECOVERY_OPTIONS.defaults(), registry))
        if way.retry:
            policies.append(self.mechanism.policy(registry.hub, way.config))
        if way.circuit is not None:
            policies.append(CircuitPolicy(self._circuit(way.circuit)))
        pipeline = Pipeline(None, "execute_with_resilience")
        pipeline.install(policies, registry.hub)
        return pipeline

    def _keep(self, way: Way, pipeline: Pipeline) -> Pipeline:
        pipelines = self._pipelines
        for oldest in list(pipelines)[: max(0, len(pipelines) + 1 - _KEPT)]:
            pipelines.pop(oldest, None)
        return pipelines.setdefault(way, pipeline)

    def refuse_async(self, where: str, op: Operation) -> None:
        """
        Raise where a sync call would have to await something.
        """
        problems = []
        if is_async(op.fn):
            problems.append(f"{op.function} is async; use `await system.execute_with_resilience(...)`")
        for policy in op.pipeline.policies:
            if isinstance(policy, FirstEntryPolicy):
                problems += [
                    f"entry {entry.name!r} of fallback chain {policy.chain.name!r} is async; use"
                    " `await system.execute_with_resilience(...)`"
                    for entry in policy.chain.entries
                    if entry.is_async
                ]
        if problems:
            raise PolicyError(where, problems)


def _check(where: str, fn: object, way: Way) -> None:
    """
    Raise one error with everything that cannot be meant.
    """
    problems = []
    if not callable(fn):
        remedy = "give the function and its arguments, as in execute_with_resilience(generate, request)"
        problems.append(f"the first argument must be callable, got {describe(fn)}; {remedy}")
    for keyword, value, check in (
        ("circuit_breaker_name", way.circuit, _optional_text),
        ("fallback_chain_name", way.chain, _optional_text),
        ("enable_retry", way.retry, boolean),
        ("enable_recovery", way.recover, boolean),
    ):
        try:
            check(value)
        except ValueError as error:
            problems.append(f"{keyword} {error}, got {describe(value)}")
    if way.config is not None and not isinstance(way.config, RetryConfig):
        problems.append(f"retry_config must be a RetryConfig or None, got {describe(way.config)}")
    if problems:
        raise PolicyError(where, problems)


def _optional_text(value: object) -> str | None:
    return None if value is None else text(value)


class FirstEntryPolicy(FallbackPolicy):
    """
    A fallback chain whose first entry is whatever function is called.

    An entry of the chain that is this very function is not called a second
    time. An empty chain changes nothing.
    """

    def plan(self, op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], inner: Callable[..., Plan]) -> Plan:
        """
        Call what is below; when it fails, offer each entry in order.
        """
        chain, fn = self.chain, op.fn
        entries = chain.entries
        outcome = yield from inner(op, args, kwargs)
        if not entries:
            return outcome
        succeeded = type(outcome) is Returned
        own = next((entry for entry in entries if _is_only(entry, fn)), None)
        if own is None:
            chain.count_primary(succeeded=succeeded)
        else:
            chain.count_entry(own.name, succeeded=succeeded)
            if succeeded:
                chain.count_run(own.name)
        if succeeded:
            return outcome
        rest = [entry for entry in entries if not _is_only(entry, fn)]
        return (yield from offer(chain, rest, outcome, op, args, kwargs))  # type: ignore[arg-type]  # it has raised


def _is_only(entry: Fallback, fn: Callable[..., Any]) -> bool:
    """
    Tell whether *entry* would only call *fn* once more.
    """
    return not entry.kwargs and same(entry.func, fn)
