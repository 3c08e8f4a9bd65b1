"""
What a declaration may say, by kind: the decorators' option tables, as a file writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import resilient.timeouts  # noqa: F401  # pyright: ignore[reportUnusedImport] - its kind is one that a file may give
from resilient.declared import degrading, falling_back
from resilient.declared.forms import Problems, form, problems_of, references_of, row_names, rows
from resilient.declared.making import made
from resilient.declared.references import is_reference
from resilient.errors import PolicyError
from resilient.kinds import ADDED
from resilient.policies import circuit, retry_options
from resilient.policies.checks import text
from resilient.policies.circuit import CIRCUIT_OPTIONS
from resilient.policies.options import Option, OptionTable
from resilient.policies.recovery_options import RECOVERY_OPTIONS
from resilient.policies.retry import RetryPolicy
from resilient.policies.retry_options import RETRY_OPTIONS
from resilient.policies.spec import PolicySpec
from resilient.specs import CircuitSpec, DegradeSpec, FallbackSpec, RecoverSpec

if TYPE_CHECKING:
    from resilient.policies.spec import Spec

__all__ = [
    "as_table",
    "check",
    "check_together",
    "expected",
    "first_of",
    "merge",
    "missing",
    "outline",
    "references_in",
    "table_of",
    "to_spec",
]

# The decorator takes it by position, and a file by name.
_CIRCUIT = OptionTable(
    "circuit",
    Option("name", text, None, "the circuit's name, shared with all who give it; without one the function has its own"),
    *CIRCUIT_OPTIONS.options.values(),
)

_TABLES: Mapping[str, OptionTable] = {
    "degradable": degrading.OPTIONS,
    "fallback_chain": falling_back.OPTIONS,
    "recoverable": RECOVERY_OPTIONS,
    "retry": RETRY_OPTIONS,
    "circuit": _CIRCUIT,
}

# What opens a circuit: a later source that gives one of them replaces the other.
_OPENERS = {"failure_rate": "failure_threshold", "failure_threshold": "failure_rate"}


def table_of(kind: str) -> OptionTable:
    """
    Return the options of *kind*, as a file may give them.
    """
    return _TABLES[kind] if kind in _TABLES else ADDED[kind].table


def as_table(kind: str, value: object) -> Mapping[str, Any] | None:
    """
    Return what *value* says as a table; None: it says nothing of the kind.

    ``true`` is the bare decorator, and so is ``{}``; a list, or one reference, is a chain's entries; of a policy
    that takes an option by position, another value is that option.
    """
    if value is True:
        return {}
    if isinstance(value, Mapping):
        return value
    if kind == "fallback_chain" and (isinstance(value, list | tuple) or is_reference(value)):
        return {"entries": [value] if isinstance(value, str) else value}
    first = first_of(kind)
    return None if first is None or value is False else {first: value}


def first_of(kind: str) -> str | None:
    """
    Return the option of *kind* that a file may give alone, where there is one.
    """
    return next(iter(ADDED[kind].positional), None) if kind in ADDED else None


def expected(kind: str) -> str:
    """
    Return what may stand for a policy of *kind*, for error messages.
    """
    return "a table of options, " + ("an array of references, " if kind == "fallback_chain" else "") + "true or false"


def merge(kind: str, base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the options of *base* with those *over* them, key by key; what the values are does not matter.

    An option that *over* gives under another name replaces the one of *base*, and so does one that stands for it:
    a ``wait`` for the delays, a ``failure_rate`` for the ``failure_threshold``.
    """
    known = row_names(table_of(kind))
    given = {_plain(known, name): getattr(value, "raw", value) for name, value in over.items()}
    replaced = set(given)
    if kind == "retry":
        replaced |= RETRY_OPTIONS.options.keys() - retry_options.merge(RETRY_OPTIONS.defaults(), given).keys()
    elif kind == "circuit":
        replaced |= {_OPENERS[name] for name in _OPENERS.keys() & given.keys()}
    kept = {name: value for name, value in base.items() if _plain(known, name) not in replaced}
    return {**kept, **over}


def _plain(known: Mapping[str, Option], name: str) -> str:
    return known[name].name if name in known else name


def check(kind: str, table: Mapping[str, Any]) -> Problems:
    """
    Return what is wrong with each option of *table*: its key path within the table, and a sentence.

    The parts of a key path are joined by dots, places in a list among them: ``wait.args``, ``on.1``. No sentence
    holds a text's contents. References are looked at, and not followed: nothing is imported.

    Args:
        kind: The kind of policy.
        table: The options, as written.
    """
    table = _table(kind, table)
    if kind == "degradable":
        return degrading.check(table)
    if kind == "fallback_chain":
        return falling_back.check(table)
    return rows(table_of(kind), table)


def check_together(kind: str, table: Mapping[str, Any]) -> Problems:
    """
    Return which options of *table*, all that it inherits included, contradict each other.

    Options that cannot be meant by themselves are left to `check`. Where some are given, those that have to be are left
    to `to_spec`: a decorator, or what lies below, may give them.
    """
    table = _table(kind, table)
    if kind == "degradable":
        return degrading.check_together(table)
    if kind == "fallback_chain":
        return falling_back.check_together(table)
    options = table_of(kind)
    known = row_names(options)
    written: dict[str, str] = {}
    values: dict[str, Any] = {}
    wrong = False
    for name, value in table.items():
        option = known.get(name)
        if option is None:
            continue
        if problems_of(option, value):
            wrong = True
            continue
        written[option.name] = name
        values[option.name] = value if form(option).objects else option.check(value)
    lacking = options.missing(values)
    if lacking and (values or wrong):
        return []
    return [(_key(sentence, written), sentence) for sentence in lacking or _together(kind, values)]


def _table(kind: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    table = as_table(kind, value)
    return value if table is None else table


def _together(kind: str, given: Mapping[str, Any]) -> list[str]:
    if kind == "circuit":
        return circuit.check_together(given)
    if kind == "retry":
        return retry_options.check_together(given) + _too_short(given)
    if kind in ADDED:
        return table_of(kind).missing(given) or ADDED[kind].check_together(given)
    return []


def missing(kind: str, given: Mapping[str, Any]) -> list[str]:
    """
    Return one sentence for each option of *kind* that has to be given, and is not.
    """
    table = table_of(kind)
    known = row_names(table)
    return table.missing({_plain(known, name): value for name, value in given.items()})


def _too_short(given: Mapping[str, Any]) -> list[str]:
    values = RETRY_OPTIONS.filled(given)
    longest, first = values["max_duration"], values["initial_delay"]
    if longest is None or values["wait"] is not None or values["max_attempts"] == 1 or longest >= first:
        return []
    problem = (
        f"max_duration must be at least initial_delay ({first:g} s), or nothing is ever tried again, got {longest:g};"
        " raise it, or lower initial_delay"
    )
    return [problem]


def _key(sentence: str, written: Mapping[str, str]) -> str:
    """
    Return the key that *sentence* is about: the first of those in it that somebody wrote.
    """
    return next((written[word] for word in re.findall(r"\w+", sentence) if word in written), "")


def references_in(kind: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """
    Yield the references in *table*, each with its key path: what has to be importable for it to work.
    """
    table = _table(kind, table)
    known = row_names(table_of(kind))
    for name, value in table.items():
        option = known.get(name)
        if kind == "fallback_chain" and name == "entries":
            yield from falling_back.references_in(value)
        elif kind == "degradable" and (option is None or name == "rules"):
            yield from degrading.references_in(name, value)
        elif option is not None and form(option).objects:
            yield from references_of(name, value)


def to_spec(kind: str, table: Mapping[str, Any], base: Spec | None, where: str) -> Spec:
    """
    Return the spec that the decorator *kind* would leave; references are followed, and their modules imported.

    Args:
        kind: The kind of policy.
        table: The options, as written.
        base: What the decorator itself has left: *table* wins over it, key by key.
        where: What the options were given to, for error messages.

    Raises:
        PolicyError: With everything that cannot be meant.
    """
    table = _table(kind, table)
    found = check(kind, table)
    if found:
        raise PolicyError(where, [f"{kind}.{key}: {sentence}" for key, sentence in found])
    if kind == "degradable":
        return degrading.to_spec(table, base, where)
    if kind == "fallback_chain":
        return falling_back.to_spec(table, base, where)
    return _plain_spec(kind, table, base, where)


def outline(kind: str, table: Mapping[str, Any]) -> Spec | None:
    """
    Return a spec of *kind* with those options of *table* that can be told without following a reference.

    None: what has to be given is not there.
    """
    if kind in _OUTLINES:
        return _OUTLINES[kind]
    known = row_names(table_of(kind))
    plain = {known[name]: value for name, value in _table(kind, table).items() if not form(known[name]).objects}
    given = {option.name: option.check(value) for option, value in plain.items()}
    return None if missing(kind, given) else PolicySpec(ADDED.get(kind, RetryPolicy), given)


# What stands where does not depend on their options.
_OUTLINES: Mapping[str, Spec] = {
    "degradable": DegradeSpec({}, {}),
    "fallback_chain": FallbackSpec((), {}),
    "recoverable": RecoverSpec({}),
    "circuit": CircuitSpec(None, {}),
}


def _plain_spec(kind: str, table: Mapping[str, Any], base: Spec | None, where: str) -> Spec:
    known = row_names(table_of(kind))
    below = {} if base is None else base.given
    given: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in table.items():
        try:
            given[known[name].name] = made(known[name], value)
        except ValueError as error:
            problems.append(f"{kind}.{name}: {error}")
    circuit_name = given.pop("name", getattr(base, "name", None)) if kind == "circuit" else None
    given = merge(kind, below, given)
    if not problems:
        # What the decorator said was checked by the decorator.
        old = [] if base is None else _together(kind, below)
        problems = [f"{kind}: {sentence}" for sentence in _together(kind, given) if sentence not in old]
    if problems:
        raise PolicyError(where, problems)
    if kind == "circuit":
        return CircuitSpec(circuit_name, given)
    if kind != "recoverable":
        return PolicySpec(ADDED.get(kind, RetryPolicy), given)
    return RecoverSpec(given)
