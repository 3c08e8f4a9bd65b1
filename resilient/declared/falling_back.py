"""
How a file writes a fallback chain: its entries by reference, with options of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from resilient.declared.forms import (
    Problems,
    accepts,
    form,
    got,
    join,
    reference,
    references_of,
    rows,
)
from resilient.declared.making import followed, made
from resilient.errors import PolicyError
from resilient.policies.fallback import ENTRY_OPTIONS, FALLBACK_OPTIONS, Fallback
from resilient.policies.options import Option, OptionTable
from resilient.specs import FallbackSpec

if TYPE_CHECKING:
    from resilient.policies.spec import Spec

__all__ = ["ENTRY", "OPTIONS", "check", "check_together", "references_in", "to_spec"]


def _entries(value: object) -> list[Any]:
    if not isinstance(value, list | tuple) or not value:
        msg = "must be a list of at least one fallback, as in ['module:attribute', ...]"
        raise ValueError(msg)
    return list(value)


OPTIONS = OptionTable(
    "fallback_chain",
    Option("entries", _entries, None, "what is tried, in order: references, or tables with options of their own"),
    *FALLBACK_OPTIONS.options.values(),
)

# The options of one entry.
ENTRY = OptionTable(
    "Fallback",
    Option("call", reference, None, "the function that is called, with exactly the call's arguments"),
    *ENTRY_OPTIONS.options.values(),
)


def check(table: Mapping[str, Any]) -> Problems:
    """
    Return what is wrong with each option of *table*, the entries' own included.
    """
    entries = table.get("entries")
    problems = rows(OPTIONS, table)
    if isinstance(entries, list | tuple):
        problems += [
            (join("entries", at, key), sentence)
            for at, entry in enumerate(entries)
            for key, sentence in _entry_problems(entry)
        ]
    return problems


def _entry_problems(entry: object) -> Problems:
    if isinstance(entry, Mapping):
        missing = [] if "call" in entry else [("", "must say what is called: { call = 'module:attribute' }")]
        return rows(ENTRY, entry) + missing
    if callable(entry) or isinstance(entry, Fallback) or accepts(ENTRY.options["call"], entry):
        return []
    return [("", f"must be a reference like 'module:attribute' or a table {{ call = ... }}, {got(entry)}")]


def check_together(table: Mapping[str, Any]) -> Problems:
    """
    Return a problem where the chain is the bare decorator, which has nothing to fall back to.
    """
    # With a name or an `on` alone it may change what a decorator has said.
    return [] if table else [("", "has nothing to fall back to; list the fallbacks: ['module:attribute', ...]")]


def references_in(entries: object) -> Iterator[tuple[str, str]]:
    """
    Yield the references in *entries*, each with its key path.
    """
    several: list[Any] = list(entries) if isinstance(entries, list | tuple) else []
    for at, entry in enumerate(several):
        if not isinstance(entry, Mapping):
            yield from references_of(join("entries", at), entry)
            continue
        for name, value in entry.items():
            if name == "call" or (name in ENTRY.options and form(ENTRY.options[name]).objects):
                yield from references_of(join("entries", at, name), value)


def to_spec(table: Mapping[str, Any], base: Spec | None, where: str) -> FallbackSpec:
    """
    Return the spec of the chain; *table* has been checked.

    Raises:
        PolicyError: A reference leads nowhere or to what cannot be called, or there is no entry.
    """
    problems: list[str] = []
    entries: tuple[Fallback, ...] = base.entries if isinstance(base, FallbackSpec) else ()
    given = {} if base is None else dict(base.given)
    if "entries" in table:
        found = [_entry(entry, f"fallback_chain.entries.{at}", problems) for at, entry in enumerate(table["entries"])]
        entries = tuple(entry for entry in found if entry is not None)
    for name in FALLBACK_OPTIONS.options.keys() & table.keys():
        given.update(_made(FALLBACK_OPTIONS.options[name], table[name], f"fallback_chain.{name}", problems))
    if not entries and not problems:
        problems.append("fallback_chain has nothing to fall back to; list the fallbacks: ['module:attribute', ...]")
    if problems:
        raise PolicyError(where, problems)
    return FallbackSpec(entries, given)


def _entry(entry: Any, at: str, problems: list[str]) -> Fallback | None:
    if isinstance(entry, Fallback):
        return entry
    options = entry if isinstance(entry, Mapping) else {"call": entry}
    values: dict[str, Any] = {}
    for name, value in options.items():
        if name == "call":
            values.update(_function(value, at, problems))
        else:
            values.update(_made(ENTRY.options[name], value, f"{at}.{name}", problems))
    func = values.pop("call", None)
    return None if func is None else Fallback(func, **values)


def _function(value: object, at: str, problems: list[str]) -> dict[str, Any]:
    try:
        func = followed(value)
    except PolicyError as error:
        problems.append(f"{at}: {error}")
        return {}
    if not callable(func):
        problems.append(f"{at}: {value!r} must be a function, {got(func)}")
        return {}
    return {"call": func}


def _made(option: Option, value: object, at: str, problems: list[str]) -> dict[str, Any]:
    try:
        return {option.name: made(option, value)}
    except ValueError as error:
        problems.append(f"{at}: {error}")
        return {}
