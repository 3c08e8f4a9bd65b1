"""
How a file writes rules for a service level: tables that make them, by the name of a parameter.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from resilient.declared.forms import Problems, accepts, got, join, reference, references_of, rows
from resilient.declared.making import followed
from resilient.declared.rule_tables import rule_of, table_problems
from resilient.errors import PolicyError
from resilient.policies.degradation_options import DEGRADE_OPTIONS
from resilient.policies.options import Option, OptionTable
from resilient.policies.rules import DEFAULT_RULES
from resilient.specs import DegradeSpec

if TYPE_CHECKING:
    from resilient.policies.adjusting import Adjuster
    from resilient.policies.spec import Spec

__all__ = ["OPTIONS", "DeclaredDegradeSpec", "check", "check_together", "references_in", "suits", "to_spec"]


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        msg = "must be a table of rules by parameter, as in { steps = { minimum = 8 } }"
        raise ValueError(msg)
    return dict(value)


OPTIONS = OptionTable(
    "degradable",
    *DEGRADE_OPTIONS.options.values(),
    Option("rules", _table, None, "rules by parameter, for those whose names are options, and for 'request.steps'"),
)


class DeclaredDegradeSpec(DegradeSpec):
    """
    What a file says of a degradation: a rule for a parameter that a function lacks is passed over.

    Args:
        rules: By parameter name or path, those of the decorator included.
        given: ``scope``, ``only_below`` and ``floor``, where given.
        declared: The rules that are passed over where they do not fit.
    """

    __slots__ = ("declared",)

    def __init__(self, rules: Mapping[str, Any], given: Mapping[str, Any], declared: frozenset[str]) -> None:
        super().__init__(rules, given)
        self.declared: frozenset[str] = declared

    def _adjuster(self, fn: Callable[..., Any], name: str) -> Adjuster:
        from resilient.policies.arguments import Parameters

        takes = Parameters.of(fn).takes
        fitting = {path: rule for path, rule in self.rules.items() if path not in self.declared or takes(path)}
        return DegradeSpec(fitting, self.given)._adjuster(fn, name)  # noqa: SLF001 - its own class's


def suits(spec: Spec, fn: Callable[..., Any]) -> bool:
    """
    Tell whether there is anything for *spec* to do on *fn*; not so a declared degradation that finds no parameter.
    """
    if not isinstance(spec, DeclaredDegradeSpec):
        return True
    from resilient.policies.arguments import Parameters

    takes = Parameters.of(fn).takes
    if any(rule is not False and takes(path) for path, rule in spec.rules.items()):
        return True
    # The decorator's own rules are checked as the decorator checks them.
    if spec.rules.keys() - spec.declared:
        return True
    off = {path for path, rule in spec.rules.items() if rule is False}
    names = {path for path in DEFAULT_RULES if path not in off and takes(path)}
    return bool(names - {"width", "height"}) or {"width", "height"} <= names


# -- What is wrong ----------------------------------------------------------------


def _split(table: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, tuple[str, Any]]]:
    """
    Return the options of *table*, and its rules by parameter, each with its key path.
    """
    options = {name: value for name, value in table.items() if name in OPTIONS.options}
    found = {name: (name, value) for name, value in table.items() if name not in OPTIONS.options}
    if isinstance(options.get("rules"), Mapping):
        found |= {name: (join("rules", name), value) for name, value in options["rules"].items()}
    return options, found


def check(table: Mapping[str, Any]) -> Problems:
    """
    Return what is wrong with each option and each rule of *table*.
    """
    options, found = _split(table)
    problems = rows(OPTIONS, options)
    for name, (key, value) in found.items():
        problems += [(join(key, at), sentence) for at, sentence in _rule_problems(name, value)]
    return problems


def _rule_problems(name: str, value: object) -> Problems:
    if value is False:
        return []
    if isinstance(value, Mapping):
        return table_problems(name, value) or _faults({name: _static(name, value)})
    if not isinstance(value, str) and not isinstance(value, bool) and callable(value):
        return _faults({name: value})
    if isinstance(value, str) and accepts(_REFERENCE, value):
        return _faults({name: _unchanged})
    close = difflib.get_close_matches(name[:80], OPTIONS.options, n=1)
    meant = f"; did you mean the option {close[0]!r}?" if close else ""
    return [("", f"{_EXPECTED}, {got(value)}{meant}")]


_EXPECTED = (
    "must be a rule: {} for the default one, { minimum = 8 }, { rule = 'ladder', rungs = [...] }, a reference like"
    " 'module:attribute', or false to switch it off"
)
_REFERENCE = Option("reference", reference, None, "a reference")


def _unchanged(value: Any, level: Any) -> Any:
    """
    Stand for a rule that is not looked up yet; never called.
    """


def _anything(**_parameters: object) -> None:
    """
    Stand for a function that takes every parameter; never called.
    """


def _static(name: str, value: object) -> Any:
    """
    Return the rule that *value* makes, without following a reference.
    """
    if isinstance(value, Mapping):
        return rule_of(name, value)
    return _unchanged if isinstance(value, str) else value


def _faults(found: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> Problems:
    """
    Return what no function could carry: paths that are none, rules that exclude each other, levels.
    """
    try:
        DegradeSpec(found or DEFAULT_RULES, options or {}).check(_anything, "any function", is_async=False)
    except PolicyError as error:
        return [("", sentence) for sentence in error.problems]
    return []


def check_together(table: Mapping[str, Any]) -> Problems:
    """
    Return which rules exclude each other, and levels that leave nothing to follow.
    """
    options, found = _split(table)
    if check(table):
        return []
    levels = {name: option.check(options[name]) for name, option in DEGRADE_OPTIONS.options.items() if name in options}
    problems = _faults({name: _static(name, value) for name, (_, value) in found.items()}, levels)
    keys = {**{name: name for name in levels}, **{repr(name): key for name, (key, _) in found.items()}}
    return [
        (next((key for start, key in keys.items() if sentence.startswith(start)), ""), sentence)
        for _, sentence in problems
    ]


def references_in(name: str, value: object) -> Iterator[tuple[str, str]]:
    """
    Yield the references in the rule *value* at *name*, or in all of ``rules``, each with its key path.
    """
    if name != "rules":
        if isinstance(value, str):
            yield from references_of(name, value)
        return
    for one, rule in value.items() if isinstance(value, Mapping) else ():
        if isinstance(rule, str):
            yield from references_of(join("rules", one), rule)


# -- What it stands for ------------------------------------------------------------


def to_spec(table: Mapping[str, Any], base: Spec | None, where: str) -> DegradeSpec:
    """
    Return the spec of the degradation; *table* has been checked.

    Raises:
        PolicyError: A reference leads nowhere, or to what is no rule.
    """
    options, found = _split(table)
    given = {} if base is None else dict(base.given)
    given |= {name: option.check(options[name]) for name, option in DEGRADE_OPTIONS.options.items() if name in options}
    below = dict(base.rules) if isinstance(base, DegradeSpec) else {}
    own: dict[str, Any] = {}
    problems: list[str] = []
    for name, (key, value) in found.items():
        below.pop(name, None)
        if value == {} and name in DEFAULT_RULES:
            continue
        try:
            own[name] = _rule(name, value)
        except PolicyError as error:
            problems.append(f"degradable.{key}: {error}")
    if problems:
        raise PolicyError(where, problems)
    return DeclaredDegradeSpec({**below, **own}, given, frozenset(own))


def _rule(name: str, value: object) -> Any:
    if not isinstance(value, str):
        return _static(name, value)
    rule = followed(value)
    where = f"reference {value!r}"
    if not callable(rule):
        raise PolicyError(where, [f"must be a rule, (value, level) -> value, {got(rule)}"])
    problems = _faults({name: rule})
    if problems:
        raise PolicyError(where, [sentence for _, sentence in problems])
    return rule
