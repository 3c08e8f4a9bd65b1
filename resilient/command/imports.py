"""
What only the modules themselves can tell about a file of policies: it is woven, and they are imported.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from resilient.command.main import importing
from resilient.declared.advice import advise_imported
from resilient.declared.model import Problem
from resilient.declared.patterns import matches
from resilient.declared.references import resolve
from resilient.declared.vocabulary import references_in
from resilient.declared.wording import dotted
from resilient.errors import PolicyError, ResilientWarning
from resilient.redaction import readable
from resilient.text import safe_str
from resilient.weaving import weave
from resilient.weaving.hooks import is_plain
from resilient.weaving.telling import instead

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from resilient.declared.model import Declaration, Document, Rule
    from resilient.weaving import Weaving

__all__ = ["look"]

_PROGRAM = "__main__"

# Warnings of weaving: what matches nothing is told with its line, and what is not woven is a problem.
_TOLD = ("match no function", "not woven:")
_MISSED = "taken before weaving"


def look(path: Path, document: Document) -> tuple[list[Problem], list[Problem]]:
    """
    Import what *document* names, and put its policies where they belong; return the problems and the warnings.

    Weaving comes first, as in ``resilient run``: what a module takes from another one is what it gets there.

    Args:
        path: The file.
        document: What it says, free of problems.
    """
    told: list[Problem] = []
    with importing(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        weaving, refused = _weave(path)
        problems = [*_modules(document), *_references(document)]
        if weaving is not None:
            refused = weaving.problems
        problems = problems or [Problem(document.label, "", one) for one in refused]
        if not problems and weaving is not None:
            told += [*advise_imported(document), *_unmatched(weaving, document)]
    # Who holds what in modules of which some cannot be used follows from a mistake, and is no advice.
    quiet = (*_TOLD, _MISSED) if problems else _TOLD
    told += [Problem(document.label, "", str(one.message)) for one in caught if _is_ours(one, quiet)]
    return problems, told


def _is_ours(warning: warnings.WarningMessage, quiet: tuple[str, ...]) -> bool:
    # What Python itself warns about is not about policies.
    return issubclass(warning.category, ResilientWarning) and not any(one in str(warning.message) for one in quiet)


def _weave(path: Path) -> tuple[Weaving | None, Sequence[str]]:
    try:
        return weave(path), ()
    except PolicyError as error:
        return None, error.problems or [str(error)]


def _unmatched(weaving: Weaving, document: Document) -> Iterator[Problem]:
    unmatched = set(weaving.unmatched)
    skipped = weaving.skipped
    for rule in document.rules:
        # A program's own functions are there when it runs.
        if rule.pattern in unmatched and not rule.pattern.startswith(f"{_PROGRAM}:"):
            yield _about(rule, skipped.get(rule.pattern) or f"matches no function{_hint(rule.pattern)}")


def _hint(pattern: str) -> str:
    if pattern.startswith("*"):
        return " of the modules that are imported; it names none to look in"
    module = sys.modules.get(pattern.partition(":")[0])
    return instead(module, pattern) if is_plain(module) else ""


def _about(rule: Rule, text: str) -> Problem:
    return Problem(rule.origin.where, dotted(("functions", rule.pattern)), text)


def _modules(document: Document) -> Iterator[Problem]:
    """
    Import the modules of all patterns; yield those that cannot be.
    """
    tried: dict[str, str | None] = {}
    for rule in document.rules:
        part = rule.pattern.partition(":")[0]
        reason = None
        for package in _first(part):
            if package not in tried:
                tried[package] = _failure(package)
            reason = reason or tried[package]
            if tried[package] is None and package != part:
                for name in _below(package, part):
                    tried.setdefault(name, _failure(name))
                    reason = reason or tried[name]
        if reason is not None:
            yield _about(rule, reason)


def _first(pattern: str) -> list[str]:
    """
    Return the names of the modules that *pattern*, of modules, begins with: of ``film*``, those in the working folder.
    """
    if "*" not in pattern:
        return [] if pattern == _PROGRAM else [pattern]
    start = pattern.partition("*")[0]
    package = start.rpartition(".")[0]
    if package:
        return [package]
    # A star alone means everything there, and not all of that is meant to be imported.
    folders = [path for path in sys.path if path == str(Path.cwd())] if start else []
    found = [one for one in pkgutil.iter_modules(folders) if one.name.startswith(start)]
    return [one.name for one in found if one.ispkg or matches(pattern, one.name)]


def _below(package: str, pattern: str) -> list[str]:
    """
    Return the names of the modules in *package* that *pattern* means; that of a program would run it.
    """
    path = getattr(sys.modules[package], "__path__", None)
    if path is None:
        return []
    found = pkgutil.walk_packages(path, f"{package}.", onerror=lambda _: None)
    return [one.name for one in found if matches(pattern, one.name) and not one.name.endswith(f".{_PROGRAM}")]


def _failure(module: str) -> str | None:
    """
    Import *module*; return why that is not possible.
    """
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        return f"there is no module {error.name or module!r}"
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a module may raise anything
        told = safe_str(error) if isinstance(error, Exception) else ""
        return f"importing {module!r} raised {type(error).__name__}{': ' if told else ''}{readable(told)}"
    return None


def _references(document: Document) -> Iterator[Problem]:
    """
    Yield the references that lead nowhere, each place once.
    """
    seen = set()
    for path, declaration in _declarations(document):
        for kind, table in declaration.kinds.items():
            raw = {name: value.raw for name, value in (table or {}).items()}
            for key, reference in references_in(kind, raw):
                value = (table or {}).get(key.partition(".")[0])
                where = value.origin.where if value else document.label
                if (where, reference) in seen or reference.startswith(f"{_PROGRAM}:"):
                    continue
                seen.add((where, reference))
                try:
                    resolve(reference)
                except PolicyError as error:
                    yield Problem(where, f"{path}.{kind}.{key}", str(error))


def _declarations(document: Document) -> Iterator[tuple[str, Declaration]]:
    for name, declaration in document.policies.items():
        yield dotted(("policies", name)), declaration
    for rule in document.rules:
        yield dotted(("functions", rule.pattern)), rule.declaration
