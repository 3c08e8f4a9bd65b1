"""
Fallback chains: what is tried, in order, when what is below has failed.
"""

from __future__ import annotations

import functools
from dataclasses import field
from typing import TYPE_CHECKING, Any

from resilient.errorinfo import ErrorCategory
from resilient.errors import FallbackChainExhaustedError, PolicyError
from resilient.events import FallbackUsed
from resilient.light import dataclass
from resilient.policies.base import Call, Command, Outcome, Plan, Raised, Returned, free_frames
from resilient.policies.checks import callable_or_none, number, text
from resilient.policies.matching import ANY, Errors, Matcher, matcher
from resilient.policies.options import Option, OptionTable, describe, is_async
from resilient.policies.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from resilient.chain import FallbackChain
    from resilient.operation import Operation

__all__ = ["FALLBACK_OPTIONS", "Fallback", "FallbackPolicy", "as_fallback", "as_fallbacks", "offer", "offered"]


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
    Option("on", matcher, ANY, "which errors it stands in for: types, a predicate or category names"),
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
    kwargs: Mapping[str, Any] | None = field(repr=False, hash=False)
    #: Whether the function or ``when`` has to be awaited.
    is_async: bool = field(repr=False, compare=False)

    def __init__(  # noqa: PLR0917 - an entry reads `Fallback(render_480p, "480p", MemoryError)`
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
        values["func"] = func
        values["name"] = values["name"] or _name_of(func)
        values["is_async"] = is_async(func) or is_async(when)
        for key, value in values.items():
            object.__setattr__(self, key, value)

    def adds(self, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """
        Return a call's keyword arguments with this entry's own over them.
        """
        return kwargs if self.kwargs is None else {**kwargs, **self.kwargs}

    def renamed(self, name: str) -> Fallback:
        """
        Return the same entry under another name.
        """
        return Fallback(self.func, name, self.on, self.when, self.quality, self.kwargs)


def _name_of(func: Callable[..., Any]) -> str:
    while isinstance(func, functools.partial):
        func = func.func
    return getattr(func, "__name__", None) or type(func).__name__


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


def as_fallbacks(entries: Iterable[object]) -> tuple[tuple[Fallback, ...], list[str]]:
    """
    Return *entries* as `Fallback` objects, and one sentence for each that cannot be one.
    """
    if type(entries) is tuple and all(type(entry) is Fallback for entry in entries):
        return entries, []
    fallbacks: list[Fallback] = []
    problems: list[str] = []
    for entry in entries:
        try:
            fallbacks.append(as_fallback(entry))
        except PolicyError as error:
            problems.append(str(error))
    return tuple(fallbacks), problems


class FallbackPolicy(Policy):
    """
    A fallback chain, at its place in one pipeline.

    Args:
        chain: The entries and their counts.
        on: Which errors of what is below the chain stands in for.
    """

    __slots__ = ("chain", "on")

    table = FALLBACK_OPTIONS

    def __init__(self, chain: FallbackChain, on: Matcher = ANY) -> None:
        self.chain: FallbackChain = chain
        self.on: Matcher = on

    def __repr__(self) -> str:
        names = ", ".join(entry.name for entry in self.chain.entries)
        return f"@fallback_chain({names})"

    def plan(self, op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], inner: Callable[..., Plan]) -> Plan:
        """
        Call what is below; when it fails, offer each entry in order.
        """
        outcome = yield from inner(op, args, kwargs)
        chain = self.chain
        if type(outcome) is Returned:
            chain.count_primary(succeeded=True)
            return outcome
        chain.count_primary(succeeded=False)
        if not _matches(self.on, outcome, op, f"on= of fallback chain {chain.name!r}"):  # type: ignore[arg-type]  # it has raised
            chain.count_run(None)
            return outcome
        return (yield from offer(chain, chain.entries, outcome, op, args, kwargs))  # type: ignore[arg-type]


def offer(  # noqa: PLR0917 - a plan's arguments
    chain: FallbackChain,
    entries: Iterable[Fallback],
    primary: Raised,
    op: Operation,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Plan:
    """
    Call each of *entries* that stands in, until one returns.

    Args:
        chain: Whose entries they are; it counts.
        entries: What is left of them.
        primary: What is to be stood in for.
        op: The operation.
        args: The call's positional arguments.
        kwargs: The call's keyword arguments.
    """
    latest: Raised = primary
    errors = [primary.error]
    _free_frames(primary, op)
    for entry in entries:
        if not (yield from offered(entry, latest, op)):
            continue
        op.fallbacks += 1
        outcome = yield Call(entry.func, args, entry.adds(kwargs))
        chain.count_entry(entry.name, succeeded=type(outcome) is Returned)
        if type(outcome) is Returned:
            op.emit(FallbackUsed, entry=entry.name, success=True, error=None)
            chain.count_run(entry.name)
            op.route = f"fallback:{entry.name}"
            return outcome
        latest = outcome  # type: ignore[assignment]  # it has raised
        op.record(latest)
        if op.told(FallbackUsed):
            op.emit(FallbackUsed, entry=entry.name, success=False, error=op.info(latest))
        errors.append(latest.error)
        _free_frames(latest, op)
    chain.count_run(None)
    # Where nothing was offered, the primary's error is raised as itself.
    return primary if latest is primary else Raised(FallbackChainExhaustedError(chain.name, errors))


def offered(entry: Fallback, latest: Raised | None, op: Operation) -> Generator[Command, Outcome, bool]:
    """
    Tell whether *entry* is to be called now, after *latest*; None: nothing was called yet.
    """
    what = f"fallback {entry.name!r}"
    if entry.is_async and not op.is_async:
        problem = PolicyError(f"{what} is async, and {op.function} is not, so nobody would await it; it is passed over")
        op.hub.report(what, problem)
        return False
    if latest is not None and not _matches(entry.on, latest, op, f"on= of {what}"):
        return False
    if not _admits(entry.func):
        return False
    if entry.when is None:
        return True
    asked = yield Call(entry.when)
    if type(asked) is Raised:
        op.hub.report(f"when= of {what}", asked.error)
        return False
    return bool(asked.value)  # type: ignore[union-attr]  # there are two kinds


def _matches(on: Matcher, outcome: Raised, op: Operation, what: str) -> bool:
    try:
        return on.matches(outcome.error, functools.partial(op.verdict, outcome))
    except Exception as problem:  # noqa: BLE001 - a predicate that raises must not replace the error
        op.hub.report(what, problem)
        return False


def _admits(func: Callable[..., Any]) -> bool:
    """
    Tell whether the circuits of a decorated entry would let a call pass.
    """
    for policy in getattr(getattr(func, "resilience", None), "policies", ()):
        if policy.kind == "fallback_chain":
            # It has fallbacks of its own for what is below.
            return True
        if policy.kind == "circuit" and not policy.breaker.has_room():
            return False
    return True


def _free_frames(outcome: Raised, op: Operation) -> None:
    """
    Drop the variables of the frames behind a memory error: the chain keeps the error, not the tensors.
    """
    if op.verdict(outcome).category is ErrorCategory.MEMORY:
        free_frames(outcome.error)
