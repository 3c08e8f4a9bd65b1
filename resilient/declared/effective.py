"""
What is in force on one function: what its decorators say, and what is declared over that, layer by layer.
"""

from __future__ import annotations

import operator
import sys
from collections import deque
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from resilient.declared.degrading import suits
from resilient.declared.model import LAYERS, Declaration, Origin, Table, Value
from resilient.declared.vocabulary import merge, to_spec
from resilient.errors import PolicyError
from resilient.kinds import in_order
from resilient.policies.circuit import CIRCUIT_OPTIONS
from resilient.specs import CircuitSpec, DegradeSpec, FallbackSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from resilient.declared.model import Document, Rule
    from resilient.declared.patterns import Patterns
    from resilient.policies.spec import Spec

__all__ = ["Effective", "best", "effective", "fitted", "made", "ordered", "specs", "spellings"]

_DECORATOR = "decorator"
_NONE: frozenset[str] = frozenset()
_PLAIN = {alias: option.name for option in CIRCUIT_OPTIONS.options.values() for alias in option.aliases}


class Effective(NamedTuple):
    """
    What is in force on one function.

    Attributes:
        order: The kinds, outermost first; one that stands there twice was put there by two decorators.
        tables: The options by kind, each with where it comes from; what nobody gives is not there.
        dropped: The kinds whose decorators a declaration has removed.
    """

    order: tuple[str, ...]
    tables: Mapping[str, Table]
    dropped: frozenset[str] = _NONE


def spellings(name: str) -> tuple[str, ...]:
    """
    Return the names that a pattern may have for the function *name*: in the main program its module has two.
    """
    module, colon, qualname = name.partition(":")
    if module != "__main__":
        return (name,)
    main = sys.modules.get(module)
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    other = spec.name.removesuffix(".__main__") if spec is not None else PurePath(file).stem if file else None
    return (name,) if other is None else (name, f"{other}{colon}{qualname}")


def best(patterns: Patterns, names: Sequence[str]) -> Rule | None:
    """
    Return the closest rule for the first of *names* that has one.
    """
    return next((rule for name in names if (rule := patterns.best(name)) is not None), None)


def effective(name: str, decorated: Sequence[Spec], documents: Sequence[tuple[Patterns, Document, str]]) -> Effective:
    """
    Return what is in force on the function *name*.

    Args:
        name: ``module:qualname``.
        decorated: What its decorators have left, outermost first.
        documents: What is declared, the strongest last.
    """
    tables: dict[str, Table] = {}
    for spec in decorated:
        # Of two decorators of a kind the outer one is shown.
        tables.setdefault(spec.kind, _table_of(spec))
    dropped: set[str] = set()
    order: tuple[str, ...] | None = None
    for declaration in _declarations(name, documents):
        order = declaration.order or order
        for kind, table in declaration.kinds.items():
            if table is None:
                dropped.add(kind)
                tables.pop(kind, None)
            else:
                tables[kind] = merge(kind, tables.get(kind, {}), table)
    kept = [spec.kind for spec in decorated if spec.kind not in dropped]
    return Effective(ordered(kept, tables, order), tables, frozenset(dropped))


def _declarations(name: str, documents: Sequence[tuple[Patterns, Document, str]]) -> Iterable[Declaration]:
    """
    Yield what is declared for the function *name*, the strongest last.
    """
    names = spellings(name)
    used: list[str] = []
    for patterns, document, _ in documents:
        # What a stronger layer says of a policy holds where a weaker one gives that policy; of the parents first.
        yield from (document.policies[one] for one in reversed(used) if one in document.policies)
        rule = best(patterns, names)
        if rule is not None:
            yield rule.declaration
            used += [one for one in rule.declaration.names if one not in used]


def _table_of(spec: Spec) -> Table:
    origin = Origin(_DECORATOR, f"@{spec.kind}")
    options: dict[str, Any] = {}
    if isinstance(spec, CircuitSpec) and spec.name is not None:
        options["name"] = spec.name
    elif isinstance(spec, FallbackSpec):
        options["entries"] = spec.entries
    elif isinstance(spec, DegradeSpec):
        options.update(spec.rules)
    return {option: Value(value, origin) for option, value in {**options, **spec.given}.items()}


def ordered(kept: Sequence[str], tables: Mapping[str, Table], order: tuple[str, ...] | None) -> tuple[str, ...]:
    """
    Return all kinds of *tables*: those of decorators as they stand, the others above the first that belongs below.
    """
    found = list(kept)
    if order is not None:
        found = [kind for kind in order if kind in tables for _ in range(max(kept.count(kind), 1))]
    kinds = in_order()
    for rank, kind in enumerate(kinds):
        missing = max(kept.count(kind), 1) if kind in tables and kind not in found else 0
        at = next((at for at, other in enumerate(found) if kinds.index(other) > rank), len(found))
        found[at:at] = [kind] * missing
    return tuple(found)


# -- from tables to specs ------------------------------------------------------------


def specs(effective: Effective, decorated: Sequence[Spec], fn: Callable[..., Any], where: str) -> tuple[Spec, ...]:
    """
    Return the specs of what is in force, outermost first; a decorator's own where nothing is declared over it.

    Args:
        effective: What `effective` has returned.
        decorated: What the decorators have left, outermost first.
        fn: The raw function.
        where: What the policies are put on, for error messages.

    Raises:
        PolicyError: With everything that cannot be meant.
    """
    return fitted(made(effective, decorated, where), decorated, fn)


def made(effective: Effective, decorated: Sequence[Spec], where: str) -> tuple[Spec, ...]:
    """
    Do what `specs` does, for any function; references are followed.
    """
    own = {kind: deque(spec for spec in decorated if spec.kind == kind) for kind in in_order()}
    problems: list[str] = []
    found: list[Spec] = []
    for kind in effective.order:
        table = effective.tables[kind]
        spec = own[kind].popleft() if own[kind] and kind not in effective.dropped else None
        declared = {name: value for name, value in table.items() if value.origin.layer != _DECORATOR}
        if spec is not None and not declared:
            found.append(spec)
            continue
        try:
            found.append(_made(kind, declared, None if spec is None else _rest(spec, table), where))
        except PolicyError as error:
            problems += _placed(error, declared)
    if problems:
        raise PolicyError(where, problems)
    return tuple(found)


def _made(kind: str, declared: Table, base: Spec | None, where: str) -> Spec:
    spec = to_spec(kind, {name: value.raw for name, value in declared.items()}, base, where)
    if isinstance(spec, CircuitSpec) and spec.name is not None:
        # Who shares it has to know whose word is stronger.
        ranks = {name: LAYERS.index(value.origin.layer) for name, value in declared.items()}
        ranks = {_PLAIN.get(name, name): rank for name, rank in ranks.items()}
        return CircuitSpec(spec.name, spec.given, {name: ranks[name] for name in spec.given if name in ranks})
    return spec


def _rest(spec: Spec, table: Table) -> Spec:
    """
    Return what declarations have left of a decorator's *spec*.
    """

    def left(options: Mapping[str, Any]) -> dict[str, Any]:
        return {name: one for name, one in options.items() if name in table and table[name].origin.layer == _DECORATOR}

    given = left(spec.given)
    return DegradeSpec(left(spec.rules), given) if isinstance(spec, DegradeSpec) else spec.giving(given)


def _placed(error: PolicyError, declared: Table) -> list[str]:
    """
    Return the problems of *error*, with the places of the options that they may be about.
    """
    places = ", ".join(dict.fromkeys(value.origin.where for value in declared.values()))
    return [f"{places}: {problem}" if places else problem for problem in error.problems or [str(error)]]


def fitted(specs: tuple[Spec, ...], decorated: Sequence[Spec], fn: Callable[..., Any]) -> tuple[Spec, ...]:
    """
    Return those of *specs* that there is something to do for on *fn*.

    A declaration speaks of many functions: rules for parameters that this one lacks are passed over, and so is a
    fallback that is this very function.
    """
    found = []
    for spec in specs:
        own = any(spec is one for one in decorated)
        one = spec if own or not isinstance(spec, FallbackSpec) else _without(spec, fn)
        if own or (one is not None and suits(one, fn)):
            found.append(one)
    return specs if len(found) == len(specs) and all(map(operator.is_, found, specs)) else tuple(found)  # type: ignore[arg-type]


def _without(spec: FallbackSpec, fn: Callable[..., Any]) -> FallbackSpec | None:
    entries = tuple(entry for entry in spec.entries if _raw(entry.func) is not fn)
    if len(entries) == len(spec.entries):
        return spec
    return FallbackSpec(entries, spec.given) if entries else None


def _raw(func: Any) -> Any:
    resilience: Any = getattr(func, "resilience", None)
    # What functools.wraps has copied is another function's.
    return resilience.pipeline.fn if getattr(resilience, "guard", None) is func else func
