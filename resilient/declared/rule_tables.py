"""
How a file writes one rule for a service level: a table of the arguments of what makes it.
"""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

from resilient.declared.forms import Problems, got, rows
from resilient.errors import PolicyError
from resilient.policies import rules
from resilient.policies.degradation_options import DEGRADE_OPTIONS
from resilient.policies.options import Option, OptionTable
from resilient.policies.rules import DEFAULT_RULES, Rule
from resilient.policies.sizes import is_number

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["REQUIRED", "RULES", "rule_of", "table_problems"]


def _limit(value: object) -> object:
    if not (is_number(value) and -math.inf < value < math.inf):
        msg = "must be a finite number"
        raise ValueError(msg)
    return value


def _rungs(value: object) -> list[Any]:
    if not isinstance(value, list | tuple) or len(value) < 2:  # noqa: PLR2004 - the first and the next
        msg = "must be a list of at least two values, the highest first"
        raise ValueError(msg)
    return list(value)


def _arguments(name: str) -> OptionTable:
    """
    Return the arguments of the rule that is made by `resilient.policies.rules` under this name.
    """
    options: list[Option] = []
    for one in inspect.signature(getattr(rules, name)).parameters.values():
        if one.kind is one.VAR_POSITIONAL:
            options.append(Option(one.name, _rungs, None, "the values to step down, the highest first"))
        elif "float" in str(one.annotation):
            options.append(Option(one.name, _limit, None, f"the {one.name}" if name == "scale" else "the limit there"))
        else:
            options.append(Option(one.name, DEGRADE_OPTIONS.options["floor"].check, None, "the level it is on from"))
    return OptionTable(name, *options)


# What makes a rule, by the name that a file gives it; the first where it gives none.
RULES: Mapping[str, OptionTable] = {name: _arguments(name) for name in ("scale", "ladder", "cap", "enabled_from")}

# Those arguments of each that have to be given.
REQUIRED: Mapping[str, list[str]] = {
    name: [one.name for one in inspect.signature(getattr(rules, name)).parameters.values() if one.default is one.empty]
    for name in RULES
}


class _Veiled(str):
    """
    A text that shows nothing of itself in a message.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "a text"


# What messages call its type.
_Veiled.__name__ = "str"


# -- What is wrong ----------------------------------------------------------------


def table_problems(name: str, table: Mapping[str, Any]) -> Problems:
    """
    Return what is wrong with the *table* that makes a rule for the parameter *name*.
    """
    arguments = {key: value for key, value in table.items() if key != "rule"}
    if not table:
        default = name.rpartition(".")[2]
        if default in DEFAULT_RULES:
            return []
        known = ", ".join(DEFAULT_RULES)
        return [("", f"there is no default rule of this name, only for {known}; write {{ rule = 'scale' }}")]
    kind = table.get("rule", "scale")
    if not isinstance(kind, str) or kind not in RULES:
        listed = ", ".join(repr(one) for one in RULES)
        return [("rule", f"must be one of {listed}, {got(kind)}")]
    problems = rows(RULES[kind], arguments)
    if "rule" not in table and any(key not in RULES[kind].options for key in arguments):
        problems.append(("", "is taken for the arguments of scale, as it has no 'rule'; name the rule that it is for"))
    missing = [one for one in REQUIRED[kind] if one not in arguments]
    problems += [("", f"{kind} needs {one}: {RULES[kind].options[one].help}") for one in missing]
    return problems or _make_problems(kind, arguments)


def _make_problems(kind: str, arguments: Mapping[str, Any]) -> Problems:
    veiled = {key: _veil(value) for key, value in arguments.items()}
    try:
        _make(kind, veiled)
    except PolicyError as error:
        return [("", sentence) for sentence in error.problems]
    return []


def _veil(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_veil(one) for one in value]
    return _Veiled(value) if isinstance(value, str) else value


def _make(kind: str, arguments: Mapping[str, Any]) -> Rule:
    positional: list[Any] = []
    named = dict(arguments)
    if kind == "ladder":
        positional = named.pop("rungs")
    rule: Rule = getattr(rules, kind)(*positional, **named)
    return rule


# -- What it stands for ------------------------------------------------------------


def rule_of(name: str, table: Mapping[str, Any]) -> Rule:
    """
    Return the rule that *table*, which has been checked, makes for the parameter *name*.
    """
    if not table:
        return DEFAULT_RULES[name.rpartition(".")[2]]
    arguments = {key: value for key, value in table.items() if key != "rule"}
    return _make(table.get("rule", "scale"), arguments)
