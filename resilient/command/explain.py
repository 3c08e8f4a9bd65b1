"""
``resilient explain``: a function's policies as they are in force, and where each value comes from.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import math
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from resilient import modes
from resilient.command.check import problems_of
from resilient.command.main import PROBLEMS, USAGE, declared_in, importing, kept_apart, say, show
from resilient.declared.declarations import Declarations
from resilient.declared.document import build
from resilient.declared.effective import Effective, best, effective, specs, spellings
from resilient.declared.model import Origin, Value
from resilient.declared.patterns import Patterns
from resilient.declared.reading import find, read
from resilient.declared.rebinding import put_in_force
from resilient.declared.references import parse
from resilient.declared.reloading import laid_over
from resilient.declared.vocabulary import table_of
from resilient.declared.wording import did_you_mean
from resilient.errors import PolicyError
from resilient.policies.fallback import Fallback
from resilient.redaction import readable
from resilient.registry import default_registry
from resilient.resilience import Resilience
from resilient.text import cut, safe_repr, safe_str

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from resilient.declared.model import Document, Rule
    from resilient.policies.spec import Spec
    from resilient.registry import Registry

__all__ = ["act"]

_PROGRAM = "__main__"
_WIDEST = 60
_DEFAULT = Origin("default")


class _Question(NamedTuple):
    """
    What is asked about.

    Attributes:
        name: The function's name, by which its policies are found.
        documents: What is declared, the strongest last.
        notes: What there is to say beside the values.
        function: The function; None where it is not known.
    """

    name: str
    documents: tuple[tuple[Patterns, Document, str], ...]
    notes: tuple[str, ...]
    function: Any = None

    @property
    def decorated(self) -> tuple[Spec, ...]:
        """
        What the function's decorators have left, outermost first.
        """
        resilience = getattr(self.function, "resilience", None)
        return resilience.specs if isinstance(resilience, Resilience) else ()


def act(arguments: argparse.Namespace) -> int:
    """
    Explain the function that ``resilient explain`` was given.

    Returns:
        0 for an answer, 1 where the file has problems or there is no such function, 2 for a wrong question.
    """
    try:
        module, path = parse(arguments.function)
    except ValueError:
        say(f"{readable(arguments.function)!r} names no function; write it as module:function or module:Class.method")
        return USAGE
    file = declared_in(arguments.policies) if arguments.policies or find() else None
    if file is None and arguments.policies:
        return USAGE
    try:
        documents = _declared(file)
    except PolicyError as error:
        for problem in problems_of(error):
            say(str(problem))
        return PROBLEMS
    question = _Question(arguments.function, documents, () if documents else ("no file of policies was found",))
    if arguments.imports and module == _PROGRAM:
        question = _noted(question, "decorators are not looked at: a program's own functions are there when it runs")
    elif arguments.imports:
        looked = _looked_at(question, module, path)
        if looked is None:
            return PROBLEMS
        question = looked
    else:
        question = _noted(question, "decorators are not looked at: the module is not imported")
    found = effective(question.name, question.decorated, question.documents)
    question = _noted(question, *_in_force(question, found))
    if modes.disabled:
        question = _noted(
            question, "nothing is in force while RESILIENT_DISABLED is set: functions are called as they are"
        )
    show(_json(question, found) if arguments.json else _text(question, found))
    return 0


def _declared(file: Path | None) -> tuple[tuple[Patterns, Document, str], ...]:
    if file is None:
        return ()
    with kept_apart():
        document = build(read(file), os.environ)
    return ((Patterns(document.rules), document, "file"),)


def _noted(question: _Question, *notes: str) -> _Question:
    return question._replace(notes=(*question.notes, *notes))


def _looked_at(question: _Question, module: str, path: tuple[str, ...]) -> _Question | None:
    """
    Look at the function itself; return None, having said so, where there is none.
    """
    _tell_names(question)
    try:
        with importing():
            found: Any = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a module may raise anything
        message = f": {safe_str(error)}" if isinstance(error, Exception) else ""
        why = f"importing {module!r} raised {type(error).__name__}{message}"
        if _rules(question):
            return _noted(question, f"decorators are not known: {why}")
        say(readable(f"{why}; and no pattern means {question.name!r}"))
        return None
    holder, at = found, module
    for part in path:
        known: list[str] = []
        try:
            known = [one for one in dir(found) if not one.startswith("__")]
            holder, found = found, getattr(found, part)
        except Exception:  # noqa: BLE001 - a module or class may answer in its own way
            say(f"{at!r} has no {part!r}{did_you_mean(part, known)}")
            return None
        at += ("." if ":" in at else ":") + part
    if not callable(found):
        instead = "; decorate its getter" * isinstance(found, property)
        say(f"{at!r} is no function, but of the type {type(found).__name__}{instead}")
        return None
    resilience = getattr(found, "resilience", None)
    if not isinstance(resilience, Resilience):
        question = _with_runtime(question, default_registry())
        return _undecorated(question, found, holder, path[-1])
    question = _with_runtime(question, resilience.registry)
    if resilience.registry is not default_registry():
        other = f"it is on registry {resilience.registry.name!r}: the file is in force there once that has loaded it"
        question = _noted(question, other)
    return _named(question._replace(function=found), resilience.name)


def _tell_names(question: _Question) -> None:
    """
    Let the module name the file's policies when it configures something; none of the file's rules are in force yet.
    """
    for _, document, _ in question.documents:
        put_in_force(default_registry(), functools.partial(laid_over, document._replace(rules=())))


def _with_runtime(question: _Question, registry: Registry) -> _Question:
    """
    Return *question* with what the module has given ``configure`` of *registry*.
    """
    declared = registry.declarations
    runtime = () if declared is None else (one for one in declared.documents if one[2] == "runtime")
    return question._replace(documents=(*question.documents, *runtime))


def _named(question: _Question, name: str) -> _Question:
    other = f"{question.name} is {name}: that is the name that patterns have to match"
    return question if name == question.name else _noted(question._replace(name=name), other)


def _undecorated(question: _Question, found: Any, holder: Any, key: str) -> _Question:
    """
    Look at a function as weaving would; what it would not guard has its policies only on paper.
    """
    # Only where it is needed, this loads what weaving needs.
    from resilient.weaving.prospects import prospect
    from resilient.weaving.reach import Reach

    documents = {layer: document for _, document, layer in question.documents}
    name, why_not = prospect(found, holder, key, Reach(Declarations(documents.get("file"), documents.get("runtime"))))
    asked = bool(_rules(question))
    question = _named(question, name or question.name)
    if why_not is None:
        return question._replace(function=found)
    # Where nothing is declared, nobody would think so.
    return _noted(question, f"would not be guarded: {why_not}") if asked or _rules(question) else question


def _in_force(question: _Question, found: Effective) -> list[str]:
    """
    Return why some of the policies cannot be put on the function, or have nothing to do there.
    """
    if question.function is None:
        return []
    raw = inspect.unwrap(question.function)
    try:
        kinds = {spec.kind for spec in specs(found, question.decorated, raw, question.name)}
    except PolicyError as error:
        return [f"cannot be put in force: {problem}" for problem in error.problems or [error.where]]
    return [f"{kind} has nothing to do for this function" for kind in found.order if kind not in kinds]


# -- The answer -------------------------------------------------------------------


def _rules(question: _Question) -> list[Rule]:
    names = spellings(question.name)
    found = (best(patterns, names) for patterns, _, _ in question.documents)
    return [rule for rule in found if rule is not None]


def _complete(kind: str, found: Effective) -> dict[str, Value]:
    """
    Return all options of one kind: those that are given first, then those that nobody gives.
    """
    given = dict(found.tables[kind])
    rest = {name: Value(row.default, _DEFAULT) for name, row in table_of(kind).options.items() if name not in given}
    aliases = {
        alias
        for row in table_of(kind).options.values()
        if given.keys() & {row.name, *row.aliases}
        for alias in (row.name, *row.aliases)
    }
    return given | {name: value for name, value in rest.items() if name not in aliases}


def _json(question: _Question, found: Effective) -> str:
    told = {
        "function": question.name,
        "order": list(found.order),
        "policies": {
            kind: {
                name: {"value": _plain(value.raw), "from": value.origin.layer, "where": value.origin.where or None}
                for name, value in _complete(kind, found).items()
            }
            for kind in found.order
        },
        "patterns": [
            {"pattern": rule.pattern, "where": rule.origin.where, "policies": list(rule.declaration.names)}
            for rule in _rules(question)
        ],
        "removed": sorted(found.dropped),
        "notes": list(question.notes),
    }
    return json.dumps(told, indent=2 if sys.stdout.isatty() else None)


def _plain(raw: Any) -> Any:
    """
    Return *raw* as JSON has it; what JSON does not have, as text.
    """
    if isinstance(raw, str):
        return readable(raw)
    if raw is None or isinstance(raw, bool | int) or (isinstance(raw, float) and math.isfinite(raw)):
        return raw
    if isinstance(raw, dict):
        return {str(key): _plain(value) for key, value in raw.items()}
    if isinstance(raw, list | tuple):
        return [_plain(value) for value in raw]
    return _shown(raw)


def _text(question: _Question, found: Effective) -> str:
    lines = [question.name]
    lines += [f"  {_chosen(rule)}" for rule in _rules(question)]
    lines += [f"  note: {readable(note)}" for note in question.notes]
    for kind in found.order:
        rows = [
            (f"  {name}", _shown(value.raw), value.origin.layer, value.origin.where)
            for name, value in _complete(kind, found).items()
        ]
        lines += ["", kind, *_columns(rows)]
    lines += [f"\n{kind}: removed" for kind in sorted(found.dropped - set(found.order))]
    return "\n".join([*lines, *([] if found.order else ["", "no policies"])])


def _chosen(rule: Rule) -> str:
    policies = rule.declaration.names
    said = f" is {' < '.join(policies)}" if policies else " has a table of its own"
    return f"{rule.origin.where}: {rule.pattern!r}{said}"


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max((len(row[at]) for row in rows), default=0) for at in range(3)]
    return [
        "   ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in rows
    ]


def _shown(raw: Any) -> str:
    """
    Return *raw* on one line, short and without secrets.
    """
    if callable(raw) and hasattr(raw, "__qualname__"):
        return f"{getattr(raw, '__module__', '?')}:{raw.__qualname__}"
    if isinstance(raw, Fallback):
        return _shown(raw.func)
    if isinstance(raw, tuple) and raw:
        return cut(", ".join(_shown(one) for one in raw), _WIDEST)
    return readable(safe_repr(raw, _WIDEST))
