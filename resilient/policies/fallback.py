"""
Fallback chains: what is tried, in order, when what is below has failed.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from resilient.errorinfo import ErrorCategory
from resilient.errors import FallbackChainExhaustedError, PolicyError
from resilient.events import FallbackUsed
from resilient.policies.base import Call, Plan, Raised, Returned
from resilient.policies.matching import Errors, Matcher, matcher
from resilient.policies.options import Option, OptionTable, callable_or_none, describe, number, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resilient.chain import FallbackChain
    from resilient.operation import Operation

__all__ = ["FALLBACK_OPTIONS", "Fallback", "FallbackPolicy", "as_fallback"]

_ANY = Matcher((Exception,))


def _optional_text(value: object) -> str | None:
    return None if value is None else text(value)


def _keywords(value: object) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        msg = "must be a dict of keyword arguments, or None"
        raise ValueError(msg)
    return dict(value)


def _quality(value: object) -> float | None:
    return None if value is None else number(maximum=1.0)(value)


# The options of one entry; a chain has the first two.
FALLBACK_OPTIONS = OptionTable(
    "fallback_chain",
    Option("name", _optional_text, None, "its name; a chain with one is in registry.chains"),
    Option("on", matcher, _ANY, "which errors it stands in for: types, a predicate or category names"),
)

ENTRY_OPTIONS = OptionTable(
    "Fallback",
    *FALLBACK_OPTIONS.options.values(),
    Option("when", callable_or_none, None, "asked at call time whether the entry is offered"),
    Option("quality", _quality, None, "how good its result is, 0 to 1; for reports"),
    Option("kwargs", _keywords, None, "keyword arguments added to the call's"),
)


@dataclass(frozen=True, slots=True, init=False)
class Fallback:
    """
    One entry of a fallback chain.

    Args:
        func: What is called, with exactly the call's arguments.
        name: Its name; None: the function's.
        on: Which errors it stands in for, looked up in the latest one: types, a
            predicate or category names. Default `Exception`.
        when: Asked at call time whether the entry is offered. Default: always.
        quality: How good its result is, from 0 to 1; for reports.
        kwargs: Keyword arguments added to the call's, and winning over them.

    Raises:
        PolicyError: With everything that cannot be meant, at once.
    """

    func: Callable[..., Any]
    name: str
    on: Matcher = field(repr=False)
    when: Callable[[], object] | None = field(repr=False)
    quality: float | None
    kwargs: Mapping[str, Any] | None = field(repr=False)

    def __init__(
        self,
        func: Callable[..., Any],
        name: str | None = None,
        on: Errors = Exception,
        when: Callable[[], object] | None = None,
        quality: float | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        fields = {"name": name, "on": on, "when": when, "quality": quality, "kwargs": kwargs}
        values, problems = ENTRY_OPTIONS.check(fields)
        if not callable(func):
            problems.insert(0, f"func must be callable, got {describe(func)}")
        if problems:
            where = "Fallback()"
            raise PolicyError(where, problems)
        object.__setattr__(self, "func", func)
        if values["name"] is None:
            values["name"] = getattr(func, "__name__", type(func).__name__)
        for key, value in values.items():
            object.__setattr__(self, key, value)

    @property
    def is_async(self) -> bool:
        """
        Whether its result has to be awaited.
        """
        call = getattr(type(self.func), "__call__", None)
        return inspect.iscoroutinefunction(self.func) or inspect.iscoroutinefunction(call)


def as_fallback(entry: object) -> Fallback:
    """
    Return *entry*, a function or a `Fallback`, as a `Fallback`.

    Raises:
        PolicyError: It is neither.
    """
    if isinstance(entry, Fallback):
        return entry
    if not callable(entry):
        msg = f"a fallback must be a function or Fallback(function, ...), got {describe(entry)}"
        raise PolicyError(msg)
    return Fallback(entry)


class FallbackPolicy:
    """
    A fallback chain, at its place in one pipeline.

    Args:
        chain: The entries and their counts.
        on: Which errors of what is below the chain stands in for.
    """

    kind = "fallback_chain"
    gate = None
    timed = False

    def __init__(self, chain: FallbackChain, on: Matcher = _ANY) -> None:
        self.chain = chain
        self.on = on

    def __repr__(self) -> str:
        names = ", ".join(entry.name for entry in self.chain.entries)
        return f"@fallback_chain({names})"

    def plan(self, op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], inner: Callable[..., Plan]) -> Plan:
        """
        Call what is below; when it fails, offer each entry in order.
        """
        outcome = yield from inner(op, args, kwargs)
        if type(outcome) is Returned:
            self.chain.count_primary(succeeded=True)
            return outcome
        primary: Raised = outcome  # type: ignore[assignment]
        self.chain.count_primary(succeeded=False)
        if not self._matches(self.on, primary, op):
            self.chain.count_run(None)
            return primary
        _free_frames(primary, op)
        latest = primary
        errors = [primary.error]
        for entry in self.chain.entries:
            if not (yield from self._offered(entry, latest, op)):
                continue
            op.fallbacks += 1
            added = kwargs if entry.kwargs is None else {**kwargs, **entry.kwargs}
            outcome = yield Call(entry.func, args, added)
            failed = type(outcome) is Raised
            self.chain.count_entry(entry.name, succeeded=not failed)
            if not failed:
                op.emit(FallbackUsed, entry=entry.name, success=True, error=None)
                self.chain.count_run(entry.name)
                op.route = f"fallback:{entry.name}"
                return outcome
            latest = outcome  # type: ignore[assignment]
            op.record(latest)
            if op.told(FallbackUsed):
                op.emit(FallbackUsed, entry=entry.name, success=False, error=op.info(latest))
            _free_frames(latest, op)
            errors.append(latest.error)
        self.chain.count_run(None)
        if latest is primary:
            # Nothing was offered.
            return primary
        exhausted = FallbackChainExhaustedError(self.chain.name, errors)
        exhausted.__cause__ = primary.error
        return Raised(exhausted)

    def _matches(self, on: Matcher, outcome: Raised, op: Operation) -> bool:
        try:
            return on.matches(outcome.error, lambda: op.verdict(outcome))
        except Exception as problem:  # noqa: BLE001 - a predicate that raises must not replace the error
            op.hub.report(f"on= of fallback chain {self.chain.name!r}", problem)
            return False

    def _offered(self, entry: Fallback, latest: Raised, op: Operation) -> Any:
        """
        Tell whether *entry* is to be tried after *latest*.
        """
        if not self._matches(entry.on, latest, op) or not _admits(entry.func):
            return False
        if entry.when is None:
            return True
        asked = yield Call(entry.when)
        if type(asked) is Raised:
            op.hub.report(f"when= of fallback {entry.name!r}", asked.error)
            return False
        return bool(asked.value)  # type: ignore[union-attr]


def _admits(func: Callable[..., Any]) -> bool:
    """
    Tell whether the circuits of a decorated entry would let a call pass.
    """
    resilience = getattr(func, "resilience", None)
    policies = getattr(resilience, "policies", ())
    return all(one.breaker.has_room() for one in policies if getattr(one, "kind", None) == "circuit")


def _free_frames(outcome: Raised, op: Operation) -> None:
    """
    Drop the variables of the frames behind a memory error: the chain keeps the error, not the tensors.
    """
    if op.verdict(outcome).category is ErrorCategory.MEMORY:
        traceback.clear_frames(outcome.error.__traceback__)
