"""
The JSON Schema of declarations, made from the option tables: editors complete and check files by it.

``python -m resilient.declared.schema`` prints it; ``resilient/resilient.schema.json`` is what it printed.
"""

from __future__ import annotations

import inspect
import json
import sys
from typing import TYPE_CHECKING, Any

from resilient.declared import falling_back
from resilient.declared.forms import CALL, accepts, form
from resilient.declared.rule_tables import REQUIRED, RULES
from resilient.declared.vocabulary import first_of, table_of
from resilient.kinds import ADDED, in_order
from resilient.policies import checks
from resilient.policies.rules import DEFAULT_RULES

if TYPE_CHECKING:
    from resilient.policies.options import Option, OptionTable
    from resilient.policies.policy import Policy

__all__ = ["render", "schema"]

_Schema = dict[str, Any]

_NAME = r"[^\W\d]\w*"
_REFERENCE = rf"^{_NAME}(\.{_NAME})*:{_NAME}(\.{_NAME})*$"

_ABOUT = {
    "degradable": "Let a call's arguments follow the service level: options, and rules by parameter name.",
    "fallback_chain": "Call other functions, in order, when what is below has failed.",
    "recoverable": "Walk the recovery playbook for an error's category, and call again after each step that applies.",
    "retry": "Call again what fails in a way that another attempt may mend.",
    "circuit": "Stop calling what keeps failing, and probe it after a while.",
}
_SWITCH = " true or {}: as the bare decorator; false: none, whatever a parent or a decorator says."
# A chain is nothing by itself.
_REMOVE = " false: none, whatever a parent or a decorator says."


def schema() -> _Schema:
    """
    Return the schema (draft 2020-12) of a file, and of ``[tool.resilient]``.

    That of a whole ``pyproject.toml`` is at ``#/$defs/pyproject``.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "resilient: declared policies",
        "description": "Named policies, and the functions that they apply to.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "import": {
                "description": "Modules that define policies of your own; imported before the file is checked.",
                "type": "array",
                "items": {"type": "string", "pattern": rf"^{_NAME}(\.{_NAME})*$"},
            },
            "policies": {
                "description": "Policies by name; one may extend others.",
                "type": "object",
                "additionalProperties": _ref("policy"),
            },
            "functions": {
                "description": "What applies to which functions: module:qualname, * allowed; the most specific wins.",
                "type": "object",
                "additionalProperties": {"anyOf": [{"description": "a policy's name", **_text()}, _ref("policy")]},
            },
        },
        "$defs": {
            "policy": _policy(),
            **{kind: _kind(kind) for kind in in_order()},
            "reference": {"description": "module:attribute", "type": "string", "pattern": _REFERENCE},
            "call": {"description": "An object that is made by a call.", **_table(CALL, "call")},
            "duration": {
                "description": "A time: '500ms', '30s', '2m', '1h'.",
                "type": "string",
                "pattern": f"^{checks._DURATION}$",  # noqa: SLF001 - the one place that says what a duration is
            },
            "entry": {"description": "A fallback.", "anyOf": [_ref("reference"), _table(falling_back.ENTRY, "call")]},
            "rule": _rule(),
            "pyproject": {
                "description": "A pyproject.toml with [tool.resilient].",
                "type": "object",
                "properties": {"tool": {"type": "object", "properties": {"resilient": {"$ref": "#"}}}},
            },
        },
    }


def _ref(name: str) -> _Schema:
    return {"$ref": f"#/$defs/{name}"}


def _text() -> _Schema:
    return {"type": "string", "pattern": r"\S"}


def _policy() -> _Schema:
    names = {"type": "array", "items": _text(), "minItems": 1}
    order = {"type": "array", "items": {"enum": list(in_order())}, "uniqueItems": True}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "extends": {
                "description": "The policy, or policies, whose options hold where this one gives none.",
                "anyOf": [_text(), names],
            },
            "order": {"description": f"The kinds, outermost first. Default: {', '.join(in_order())}.", **order},
            **{kind: _ref(kind) for kind in in_order()},
        },
    }


def _kind(kind: str) -> _Schema:
    table = _table(table_of(kind))
    if kind == "degradable":
        # By name, so that editors complete them; there may be others.
        table["properties"] |= {name: {"description": f"the rule for {name}", **_ref("rule")} for name in DEFAULT_RULES}
        table["properties"]["rules"] |= {"additionalProperties": _ref("rule")}
        table["additionalProperties"] = _ref("rule")
    if kind != "fallback_chain":
        first = first_of(kind)
        alone = [] if first is None else [_option(table_of(kind).options[first])]
        about = _ABOUT[kind] if kind in _ABOUT else _about(ADDED[kind])
        return {"description": about + _SWITCH, "anyOf": [{"type": "boolean"}, *alone, table]}
    entries = {"type": "array", "items": _ref("entry"), "minItems": 1}
    table["properties"]["entries"] |= entries
    table["minProperties"] = 1
    return {"description": _ABOUT[kind] + _REMOVE, "anyOf": [{"const": False}, _ref("reference"), entries, table]}


def _about(policy: type[Policy]) -> str:
    # Its own: `inspect.getdoc` would give that of `Policy` to a class without one.
    return inspect.cleandoc(policy.__doc__ or f"The policy {policy.kind}.").partition("\n")[0]


def _table(options: OptionTable, *required: str) -> _Schema:
    properties: _Schema = {}
    for option in options.options.values():
        properties[option.name] = {"description": option.help, **_option(option)}
        for alias in option.aliases:
            properties[alias] = {"description": f"another name of {option.name}: {option.help}", **_option(option)}
    found = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**found, "required": list(required)} if required else found


def _rule() -> _Schema:
    made = [_rule_table(name, arguments) for name, arguments in RULES.items()]
    switch = {"description": "switched off", "const": False}
    default = {"description": "the default rule of that name", "type": "object", "maxProperties": 0}
    return {"description": "What a level does to a value.", "anyOf": [switch, default, _ref("reference"), *made]}


def _rule_table(name: str, arguments: OptionTable) -> _Schema:
    # A table without a name is for the first.
    named = [] if name == next(iter(RULES)) else ["rule"]
    table = _table(arguments, *named, *REQUIRED[name])
    table["properties"] = {"rule": {"description": "what makes the rule", "const": name}, **table["properties"]}
    return table


# -- One option --------------------------------------------------------------------


def _option(option: Option) -> _Schema:
    """
    Return the schema of *option*'s values, found out by asking its own check.
    """
    shape = form(option)
    ways: list[_Schema] = []
    if accepts(option, True) and accepts(option, False):  # noqa: FBT003 - values to try
        ways.append({"type": "boolean"})
    if not shape.objects:
        ways += _numbers(option)
    ways += _texts(option)
    if shape.words:
        ways.append({"enum": list(shape.words)})
    if shape.objects:
        ways += [_ref("reference"), _ref("call")]
        if shape.several:
            ways.append({"type": "array", "items": {"anyOf": list(ways)}})
    else:
        ways += _containers(option)
    found: _Schema = dict(ways[0]) if len(ways) == 1 else {"anyOf": ways}
    if isinstance(option.default, bool | int | float | str):
        found["default"] = option.default
    return found


def _texts(option: Option) -> list[_Schema]:
    if accepts(option, "1ms") and accepts(option, "any text"):
        return [_text()]
    if accepts(option, "1ms"):
        return [_ref("duration")]
    return [_ref("reference")] if accepts(option, "module:attribute") else []


def _containers(option: Option) -> list[_Schema]:
    found: list[_Schema] = [{"type": "object"}] if accepts(option, {}) else []
    if accepts(option, []):
        found.append({"type": "array"})
    elif accepts(option, ["one", "two"]):
        # Of one: a list of at least one; else of two.
        found.append({"type": "array", "minItems": 1 if accepts(option, ["one"]) else 2})
    return found


def _numbers(option: Option) -> list[_Schema]:
    numbers = [one for one in (2, 1, 0.5) if accepts(option, one)]
    if not numbers:
        return []
    broken = any(accepts(option, one) for one in (0.5, 1.5))
    found: _Schema = {"type": "number" if broken else "integer"}
    least = next((one for one in (-1, 0, 1) if accepts(option, one)), None)
    if broken and least == 1 and accepts(option, 1e-6):
        found["exclusiveMinimum"] = 0
    elif least in {0, 1}:
        found["minimum"] = least
    if not accepts(option, 10**12):
        found["maximum"] = _greatest(option, 10**12)
    return [found]


def _greatest(option: Option, beyond: int) -> int:
    """
    Return the greatest whole number that *option* takes, below *beyond*.
    """
    low, high = 1, beyond
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if accepts(option, middle) else (low, middle)
    return low


def render() -> str:
    """
    Return the schema as the text of its file.
    """
    return json.dumps(schema(), indent=2, allow_nan=False) + "\n"


if __name__ == "__main__":  # pragma: no cover - a test runs it in a process of its own
    sys.stdout.write(render())
