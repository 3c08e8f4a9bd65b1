"""
``resilient check``: everything that is wrong with a file of policies, and what is worth a second look.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from resilient.command.main import PROBLEMS, USAGE, declared_in, kept_apart, show
from resilient.declared.advice import advise
from resilient.declared.document import examine
from resilient.declared.model import Problem
from resilient.declared.reading import read
from resilient.declared.wording import counted, dotted
from resilient.errors import PolicyError
from resilient.text import escape

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from resilient.declared.model import Document
    from resilient.declared.reading import Text

__all__ = ["act", "problems_of"]

# A key path as `Problem` shows it; a sentence has blanks between its words.
_KEY = r"""(?:(?:[\w-]+|"(?:[^"\\]|\\.)*"|'[^']*')\.?)+"""


def act(arguments: argparse.Namespace) -> int:
    """
    Check the file that ``resilient check`` was given, or the one that would be found.

    Returns:
        0 where it is good, 1 where there is a problem, 2 where there is no such file.
    """
    path = declared_in(arguments.file)
    if path is None:
        return USAGE
    problems: list[Problem] = []
    warnings: list[Problem] = []
    document = None
    try:
        text = read(path)
    except PolicyError as error:
        problems += problems_of(error)
    else:
        with kept_apart():
            document, found = examine(text, os.environ)
        problems += found
        # What follows from a mistake is no advice.
        warnings += [] if problems else [_placed(one, text) for one in advise(document)]
    if arguments.imports and document is not None and not problems:
        # Only where it is asked for, this loads what weaving needs.
        from resilient.command.imports import look

        more, noticed = look(path, document)
        problems += more
        warnings += noticed
    show(_json(path, document, problems, warnings) if arguments.json else _text(path, document, problems, warnings))
    return PROBLEMS if problems or (warnings and arguments.strict) else 0


def problems_of(error: PolicyError) -> list[Problem]:
    """
    Return the problems of an error that was raised for a file, each with its parts.
    """
    return [_parted(error.where, problem) for problem in error.problems] or [Problem("", "", error.where)]


def _parted(label: str, text: str) -> Problem:
    found = re.fullmatch(rf"(?s)({re.escape(label)}(?::\d+)?): (?:({_KEY}): )?(.*)", text)
    return Problem(found[1], found[2] or "", found[3]) if found else Problem(label, "", text)


def _placed(advice: Problem, text: Text) -> Problem:
    """
    Return *advice* with the line of its key, where it has none of its own.
    """
    line = next((line for key, line in text.lines.items() if dotted(key) == advice.key), None)
    return advice if line is None or advice.where != text.label else advice._replace(where=f"{text.label}:{line}")


def _text(path: Path, document: Document | None, problems: list[Problem], warnings: list[Problem]) -> str:
    lines = [str(problem) for problem in problems]
    lines += [": ".join(part for part in (one.where, "warning", one.key, one.text) if part) for one in warnings]
    told = [counted(len(problems), "problem") if problems else "no problems"]
    told += [counted(len(warnings), "warning")] if warnings else []
    if document is not None:
        told = [counted(len(document.policies), "policy"), counted(len(document.rules), "pattern"), *told]
    return "\n".join([*lines, f"{escape(str(path))}: {', '.join(told)}"])


def _json(path: Path, document: Document | None, problems: list[Problem], warnings: list[Problem]) -> str:
    told: dict[str, Any] = {
        "file": str(path),
        "ok": not problems,
        "policies": [] if document is None else sorted(document.policies),
        "patterns": [] if document is None else [rule.pattern for rule in document.rules],
        "problems": [_parts(one) for one in problems],
        "warnings": [_parts(one) for one in warnings],
    }
    return json.dumps(told, indent=None if not sys.stdout.isatty() else 2)


def _parts(problem: Problem) -> dict[str, Any]:
    """
    Return *problem* for a program: its file and line apart.
    """
    file, colon, line = problem.where.rpartition(":")
    if not colon or not line.isdigit():
        file, line = problem.where, ""
    return {"file": file, "line": int(line) if line else None, "key": problem.key, "text": problem.text}
