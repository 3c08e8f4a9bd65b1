"""
What functions share - circuits and chains with a name - as it is to be after a change of declarations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilient.policies.options import same
from resilient.shelves import contradictions, put_over
from resilient.specs import CircuitSpec, FallbackSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from resilient.breaker import CircuitBreaker
    from resilient.policies.fallback import Fallback
    from resilient.policies.spec import Spec
    from resilient.registry import Registry
    from resilient.resilience import Resilience

__all__ = ["chains_after", "circuits_after"]


def circuits_after(
    registry: Registry, functions: Iterable[tuple[str, tuple[Spec, ...]]], *, whole: bool
) -> tuple[list[tuple[CircuitBreaker, Mapping[str, tuple[int, Any]]]], list[tuple[str, str]]]:
    """
    Return what is to be declared for each circuit for which that changes, and what contradicts itself.

    Args:
        registry: Whose circuits they are.
        functions: The names of functions, and what is to be in force on them.
        whole: Whether these are all; if not, what was declared before goes on.

    Returns:
        The circuits with their options, each of those with the rank of its layer, and the problems, each with the
        function that has it.
    """
    circuits = registry.circuits
    declared: dict[str, Mapping[str, tuple[int, Any]]] = {}
    first: dict[str, Mapping[str, Any]] = {}
    problems: list[tuple[str, str]] = []
    for function, name, spec in _named_circuits(functions):
        breaker = circuits.get(name)
        if name not in declared:
            declared[name] = {} if whole or breaker is None else breaker.declared
        found: list[str] = []
        if breaker is not None and breaker.given:
            found = contradictions(breaker, spec.decorated)
        elif spec.decorated and not same(first.setdefault(name, spec.decorated), spec.decorated):
            found = [f"circuit {name!r} is given different options by several decorators; give the same"]
        declared[name], more = put_over(name, declared[name], spec.over())
        problems += [(function, problem) for problem in (*found, *more)]
    if whole:
        # Those that nothing is declared for any more.
        declared |= {name: {} for name, one in circuits.items() if one.declared and name not in declared}
    known = ((circuits.get(name), over) for name, over in declared.items())
    return [(one, over) for one, over in known if one is not None and not same(over, one.declared)], problems


def _named_circuits(functions: Iterable[tuple[str, tuple[Spec, ...]]]) -> Iterator[tuple[str, str, CircuitSpec]]:
    for function, specs in functions:
        for spec in specs:
            if isinstance(spec, CircuitSpec) and spec.name is not None:
                yield function, spec.name, spec


def chains_after(
    registry: Registry, changes: Sequence[tuple[Resilience[..., Any], tuple[Spec, ...]]]
) -> dict[str, tuple[Fallback, ...]]:
    """
    Return the entries of each chain with a name that changes: those of code and of other functions, and the new ones.

    Args:
        registry: Whose chains they are.
        changes: Functions, and what is to be in force on them.
    """
    old: dict[str, list[Fallback]] = {}
    new: dict[str, list[Fallback]] = {}
    for function, specs in changes:
        for name, entries in _named_chains(function.in_force):
            old.setdefault(name, []).extend(entries)
        for name, entries in _named_chains(specs):
            new.setdefault(name, []).extend(entries)
    stays: dict[str, list[Fallback]] = {}
    if old:
        changed = {id(function) for function, _ in changes}
        for one in registry.functions.values():
            for name, entries in () if id(one) in changed else _named_chains(one.in_force):
                stays.setdefault(name, []).extend(entries)
    return {name: _entries(registry, name, old, new, stays) for name in {**old, **new}}


def _entries(
    registry: Registry,
    name: str,
    old: Mapping[str, list[Fallback]],
    new: Mapping[str, list[Fallback]],
    stays: Mapping[str, list[Fallback]],
) -> tuple[Fallback, ...]:
    chain = registry.chains.get(name)
    gone = [entry for entry in old.get(name, ()) if not _within(entry, stays.get(name, ()))]
    found = [] if chain is None else [entry for entry in chain.given if not _within(entry, gone)]
    for entry in new.get(name, ()):
        if not _within(entry, found):
            found.append(entry)
    return tuple(found)


def _named_chains(specs: Iterable[Spec]) -> list[tuple[str, tuple[Fallback, ...]]]:
    named = [spec for spec in specs if isinstance(spec, FallbackSpec) and spec.given.get("name")]
    return [(spec.given["name"], spec.entries) for spec in named]


def _within(entry: Fallback, entries: Iterable[Fallback]) -> bool:
    return any(same(entry, one) for one in entries)
