"""
What can be meant, and is worth a second look: the advice on a document.
"""

from __future__ import annotations

import inspect
import itertools
import types
from typing import TYPE_CHECKING, Any

from resilient.declared.effective import ordered
from resilient.declared.model import Problem
from resilient.declared.references import resolve
from resilient.declared.vocabulary import missing, outline, references_in
from resilient.declared.wording import dotted
from resilient.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resilient.declared.model import Declaration, Document, Value
    from resilient.policies.spec import Spec

__all__ = ["advise", "advise_imported", "unused"]

_BROAD = frozenset({"builtins:Exception", "builtins:BaseException"})


def advise(document: Document) -> tuple[Problem, ...]:
    """
    Return the advice that the declarations themselves give reason for; nothing is imported.

    It is about a retry of everything, a retry of network errors without a circuit, an order that cannot work as it is
    meant, a policy that lacks what somebody has to give, and one that nothing uses.
    """
    kinds = (_broad, _without_circuit, _misordered, _lacking, _unused)
    return tuple(itertools.chain.from_iterable(advice(document) for advice in kinds))


def advise_imported(document: Document) -> tuple[Problem, ...]:
    """
    Return the advice that takes a look at functions: on fallbacks that only return None.

    Their modules are imported; a reference that leads nowhere gives no advice, for it is a mistake.
    """
    problems: list[Problem] = []
    for path, value in _values(document, "fallback_chain", "entries"):
        for key, reference in references_in("fallback_chain", {"entries": value.raw}):
            last = key.rpartition(".")[2]
            if (last == "call" or last.isdigit()) and _returns_nothing(reference):
                text = "only returns None, so a failure looks like a result; return something that can be used instead"
                problems.append(Problem(value.origin.where, f"{path}.{key}", text))
    return tuple(problems)


def unused(document: Document) -> list[str]:
    """
    Return the policies that no function has, and that no other policy extends.
    """
    used = {name for rule in document.rules for name in rule.declaration.names}
    for name, declaration in document.policies.items():
        used |= set(declaration.names) - {name}
    return [name for name in document.policies if name not in used]


# -- Declarations -----------------------------------------------------------------


def _declarations(document: Document) -> Iterator[tuple[str, Declaration]]:
    """
    Yield each declaration with its key path; what is inherited comes after what it is inherited from.
    """
    for name, declaration in sorted(document.policies.items(), key=lambda item: len(item[1].names)):
        yield dotted(("policies", name)), declaration
    for rule in document.rules:
        yield dotted(("functions", rule.pattern)), rule.declaration


def _values(document: Document, kind: str, option: str) -> Iterator[tuple[str, Value]]:
    """
    Yield each value of an option where it was written, with the key path of its kind, and not where it is inherited.
    """
    seen: set[int] = set()
    for path, declaration in _declarations(document):
        value = (declaration.kinds.get(kind) or {}).get(option)
        if value is not None and id(value) not in seen:
            seen.add(id(value))
            yield f"{path}.{kind}", value


def _each(raw: object) -> list[Any]:
    return list(raw) if isinstance(raw, list | tuple) else [raw]


def _broad(document: Document) -> Iterator[Problem]:
    for option in ("on", "retryable_exceptions"):
        for path, value in _values(document, "retry", option):
            if any(one is Exception or (isinstance(one, str) and one in _BROAD) for one in _each(value.raw)):
                text = (
                    "retries every error, those too that another attempt cannot mend; name the types or categories"
                    " that may pass, or leave it out for those that are known to"
                )
                yield Problem(value.origin.where, f"{path}.{option}", text)


def _without_circuit(document: Document) -> Iterator[Problem]:
    seen: set[int] = set()
    for rule in document.rules:
        kinds = rule.declaration.kinds
        retry = kinds.get("retry") or {}
        on = retry.get("on") or retry.get("retryable_exceptions")
        if on is None or "network" not in _each(on.raw) or kinds.get("circuit") is not None or id(on) in seen:
            continue
        # Once for all functions that have it from the same line.
        seen.add(id(on))
        text = (
            "retries network errors without a circuit, so that every call keeps trying what is down; add circuit = {}"
            " to it, or to what it extends"
        )
        yield Problem(rule.origin.where, f"{dotted(('functions', rule.pattern))}.retry", text)


def _misordered(document: Document) -> Iterator[Problem]:
    places = {dotted(("policies", name)): _place(document, name) for name in document.policies}
    places |= {dotted(("functions", rule.pattern)): rule.origin.where for rule in document.rules}
    told: set[tuple[int, str]] = set()
    for path, declaration in _declarations(document):
        tables = {kind: table for kind, table in declaration.kinds.items() if table is not None}
        below: list[Spec] = []
        # Without an order of its own it is the one that works.
        for kind in reversed([] if declaration.order is None else ordered((), tables, declaration.order)):
            spec = outline(kind, {name: value.raw for name, value in tables[kind].items()})
            if spec is None:
                continue
            why = spec.misplaced(below)
            below.insert(0, spec)
            # Once for all that inherit it: they have the very same order.
            once = (id(declaration.order), why or "")
            if why is not None and once not in told:
                told.add(once)
                yield Problem(places[path], f"{path}.order", why)


def _lacking(document: Document) -> Iterator[Problem]:
    for rule in document.rules:
        for kind, table in rule.declaration.kinds.items():
            for sentence in () if table is None else missing(kind, table):
                text = f"{sentence}; here it is not, so each function's decorator has to"
                yield Problem(rule.origin.where, f"{dotted(('functions', rule.pattern))}.{kind}", text)


def _unused(document: Document) -> Iterator[Problem]:
    for name in unused(document):
        text = "is used by no function, and no policy extends it; name it under [functions], or take it out"
        yield Problem(_place(document, name), dotted(("policies", name)), text)


def _place(document: Document, name: str) -> str:
    """
    Return where the policy says something that it has from no other.
    """
    declaration = document.policies[name]
    above = {id(value) for other in declaration.names if other != name for value in _all(document.policies[other])}
    return next((value.origin.where for value in _all(declaration) if id(value) not in above), document.label)


def _all(declaration: Declaration) -> Iterator[Value]:
    for table in declaration.kinds.values():
        yield from (table or {}).values()


# -- Functions ----------------------------------------------------------------------


def _sync() -> None: ...


def _documented() -> None:
    """
    Have a docstring, which is a constant as None is.
    """


async def _async() -> None: ...


async def _async_documented() -> None:
    """
    Have a docstring, which is a constant as None is.
    """


_NOTHING: tuple[Callable[..., Any], ...] = (_sync, _documented, _async, _async_documented)


def _returns_nothing(reference: str) -> bool:
    """
    Tell whether *reference* names a function that does nothing and returns None.
    """
    try:
        function = inspect.unwrap(resolve(reference))
    except (PolicyError, ValueError):
        return False
    if not isinstance(function, types.FunctionType):
        return False
    code = function.__code__
    constants = set(code.co_consts) - {function.__doc__}
    return constants <= {None} and any(code.co_code == one.__code__.co_code for one in _NOTHING)
