"""
How a file writes an option's value: durations as texts, objects as references.

What an option takes is found out by asking its own check, so that the option
tables stay the only list of options.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from resilient.declared.references import EXAMPLE, exception_named, is_reference, parse
from resilient.policies.fallback import ENTRY_OPTIONS
from resilient.policies.options import Option, OptionTable, describe

__all__ = [
    "CALL",
    "Form",
    "Problems",
    "accepts",
    "call_problems",
    "form",
    "got",
    "join",
    "problems_of",
    "reference",
    "references_of",
    "row_names",
    "rows",
]

# Where in a table, and what is wrong there.
Problems = list[tuple[str, str]]


def reference(value: object) -> object:
    """
    Check for a text of the form of a reference.
    """
    if not isinstance(value, str):
        raise ValueError(EXAMPLE)
    parse(value)
    return value


def _arguments(value: object) -> list[Any]:
    if not isinstance(value, list | tuple):
        msg = "must be a list of arguments"
        raise ValueError(msg)
    return list(value)


# A table that stands for what a call of something returns.
CALL = OptionTable(
    "call",
    Option("call", reference, None, "what is called to make it: 'module:attribute'"),
    Option("args", _arguments, None, "its positional arguments"),
    Option("kwargs", ENTRY_OPTIONS.options["kwargs"].check, None, "its keyword arguments"),
)


class _Anything:
    """
    An object that is callable, and a listener: what only a reference can give.
    """

    def __call__(self, *_args: object) -> None: ...

    before_call = failure = success = state_change = __call__


class Form(NamedTuple):
    """
    What an option takes, beside plain values.

    Attributes:
        objects: Whether it takes objects, which a file gives by reference.
        several: Whether it takes a list of them.
        words: The texts that have a meaning of their own, such as categories.
    """

    objects: bool
    several: bool
    words: tuple[str, ...]


# No option means this text, and the sentence that refuses it lists what is meant.
_NONSENSE = "\0"


def accepts(option: Option, value: object) -> bool:
    """
    Tell whether the option's own check takes *value*.
    """
    try:
        option.check(value)
    except ValueError:
        return False
    return True


@functools.cache
def form(option: Option) -> Form:
    """
    Return what *option* takes.
    """
    thing = _Anything()
    return Form(accepts(option, thing), accepts(option, [thing, thing]), _words(option))


def _words(option: Option) -> tuple[str, ...]:
    try:
        option.check(_NONSENSE)
    except ValueError as error:
        found = dict.fromkeys(re.findall(r"[a-z_]+", str(error)))
        return tuple(word for word in found if accepts(option, word))
    return ()


def got(value: object) -> str:
    """
    Return what came, for an error message: a number as it is, and of anything else only its type.
    """
    return f"got {describe(value) if isinstance(value, bool | int | float) else type(value).__name__}"


# -- What is wrong ----------------------------------------------------------------


def row_names(table: OptionTable) -> dict[str, Option]:
    """
    Return the rows of *table* by each of their names.
    """
    return {name: option for option in table.options.values() for name in (option.name, *option.aliases)}


def rows(table: OptionTable, given: Mapping[str, Any]) -> Problems:
    """
    Return what is wrong with each of the options *given*: unknown names, names given twice, values.
    """
    known = row_names(table)
    problems: Problems = []
    seen: dict[str, str] = {}
    for name, value in given.items():
        option = known.get(name)
        if option is None:
            # By its own sentence, which has the suggestion; of a name without end only the beginning.
            problems += [(name, sentence) for sentence in table.check({name[:80]: None})[1]]
        elif option.name in seen:
            problems.append((name, f"is another name for {seen[option.name]!r}, which is given too; give one of them"))
        else:
            seen[option.name] = name
            problems += [(join(name, at), sentence) for at, sentence in problems_of(option, value)]
    return problems


def join(*parts: object) -> str:
    """
    Return the key path made of those *parts* that are not empty.
    """
    return ".".join(str(part) for part in parts if part != "")


def problems_of(option: Option, value: object) -> Problems:
    """
    Return what is wrong with *value* for *option*; references are looked at, and not followed.
    """
    shape = form(option)
    if not shape.objects:
        return _refused(option, value)
    if not (shape.several and isinstance(value, list | tuple)):
        return _object_problems(option, shape, value)
    return [
        (join(at, inner), sentence)
        for at, one in enumerate(value)
        for inner, sentence in _object_problems(option, shape, one)
    ]


def _refused(option: Option, value: object) -> Problems:
    try:
        option.check(value)
    except ValueError as error:
        return [("", f"{error}, {got(value)}")]
    return []


def _object_problems(option: Option, shape: Form, value: object) -> Problems:
    if isinstance(value, Mapping):
        return call_problems(value)
    if isinstance(value, str):
        if value in shape.words or accepts(CALL.options["call"], value):
            return []
    elif accepts(option, value):
        return []
    return [("", f"{_expected(shape)}, {got(value)}{_hint(shape, value)}")]


def call_problems(table: Mapping[str, Any]) -> Problems:
    """
    Return what is wrong with a ``{ call = ... }`` table.
    """
    missing = [] if "call" in table else [("", "must say what is called to make it: { call = 'module:attribute' }")]
    return rows(CALL, table) + missing


def _expected(shape: Form) -> str:
    if shape.words:
        words = ", ".join(repr(word) for word in shape.words)
        return f"must be a category ({words}) or a reference like 'builtins:ConnectionError', one or several"
    several = ", one or several" if shape.several else ""
    return f"{EXAMPLE} or a table {{ call = 'module:attribute', args = [...] }}{several}"


def _hint(shape: Form, value: object) -> str:
    if not isinstance(value, str) or len(value) > 80 or not shape.words:  # noqa: PLR2004 - no name is longer
        return ""
    close = difflib.get_close_matches(value.lower(), shape.words, n=1)
    meant = close[0] if close else exception_named(value)
    return f"; did you mean {meant!r}?" if meant else ""


def references_of(key: str, value: object) -> Iterator[tuple[str, str]]:
    """
    Yield the references in *value*, which is one, makes a call of one, or is a list of such, each with its key path.
    """
    if is_reference(value):
        yield key, str(value)
    elif isinstance(value, Mapping):
        yield from references_of(join(key, "call"), value.get("call"))
    elif isinstance(value, list | tuple):
        for at, one in enumerate(value):
            yield from references_of(join(key, at), one)
