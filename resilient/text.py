r"""
Text from strangers, made harmless: bounded, and on one line.

Messages of exceptions are written by other people's code. What is kept of them
is cut at 2,048 characters (`safe_str`, `safe_repr`, `cut`); what of them could
steer a terminal or break a log is made visible (`escape`). Secrets in them are
`resilient.redaction`'s.
"""

from __future__ import annotations

import functools
import re
from types import WrapperDescriptorType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "LIMIT",
    "compiled",
    "cut",
    "escape",
    "safe_repr",
    "safe_str",
    "type_name",
]

LIMIT = 2048
"""The number of characters kept of a text."""

_CUT = "...[cut]"
_NAME_LIMIT = 200
_DEPTH = 8
_FEW = 8
_LATIN_1 = 0xFF
_PLANE_0 = 0xFFFF

# C getters that no subclass, metaclass or property can stand in front of.
_args_of: Callable[[BaseException], tuple[Any, ...]] = BaseException.__dict__["args"].__get__
_name_of: Callable[[type], str] = type.__dict__["__name__"].__get__
_DEFAULT_STR = BaseException.__str__
# Those that are as the default one where there is one argument.
_SHOW_ONE = frozenset({OSError.__str__, ImportError.__str__})


@functools.cache
def compiled(expression: str) -> re.Pattern[str]:
    """
    Return *expression*, one of this library's own, compiled when it is first needed and not at import.
    """
    return re.compile(expression)


# -- Bounded text ---------------------------------------------------------------


def cut(text: str, limit: int = LIMIT) -> str:
    """
    Return *text*, or as much of it as fits into *limit* characters with a marker at its end.
    """
    if len(text) <= limit:
        return text
    return text[: max(limit - len(_CUT), 0)] + _CUT[:limit]


def type_name(exc: BaseException) -> str:
    """
    Return the name of *exc*'s real class, whatever its ``__class__`` claims.
    """
    name = _name_of(type(exc))
    return name if len(name) <= _NAME_LIMIT else cut(name, _NAME_LIMIT)


def safe_str(exc: BaseException, limit: int = LIMIT) -> str:
    """
    Return the message of *exc*, never more than *limit* characters of it.

    An `Exception` raised by the exception's own code is swallowed, and the text
    of an exception without a ``__str__`` of its own is built only as far as it
    is kept: a message of a gigabyte or a million arguments cost nothing.

    Args:
        exc: The exception.
        limit: Characters to keep, the marker for a cut included.

    Returns:
        The message, or ``<unprintable Name>`` where it has none to give.
    """
    try:
        method, args = type(exc).__str__, _args_of(exc)
        if len(args) == 1 and type(args[0]) is str and len(args[0]) <= limit and type(method) is WrapperDescriptorType:
            text = method(exc)  # Nearly all errors are such.
        else:
            text = _message(exc, limit)
        if type(text) is not str:  # A subclass may have methods of its own.
            text = str.__getitem__(text, slice(limit + 1))
    except Exception:  # noqa: BLE001 - whatever the exception's own code raises, its text is only decoration
        return f"<unprintable {type_name(exc)}>"
    return text if len(text) <= limit else cut(text, limit)


def safe_repr(value: object, limit: int = LIMIT) -> str:
    """
    Return ``repr(value)``, at most *limit* characters; built-in containers are rendered only so far.

    Returns:
        The text, or ``<unprintable Name>`` where the value's own code raises.
    """
    try:
        text = _rendered(value, limit)
    except Exception:  # noqa: BLE001 - see safe_str
        return f"<unprintable {cut(_name_of(type(value)), _NAME_LIMIT)}>"
    return cut(text, limit)


def _message(exc: BaseException, limit: int) -> str:
    method = type(exc).__str__
    if type(method) is not WrapperDescriptorType:
        return str(exc)  # Written in Python: it has to run.
    args = _args_of(exc)
    if method is _DEFAULT_STR or (len(args) == 1 and method in _SHOW_ONE and type(args[0]) is not str):
        if len(args) == 1:
            return _shown(args[0], limit)
        return _rendered(args, limit) if args else ""
    if method is KeyError.__str__ and len(args) == 1:
        return _rendered(args[0], limit)
    # The other built-in ones join a few arguments; with a long one or many of
    # them, the arguments say the same without being joined first.
    if len(args) > _FEW or any(isinstance(arg, str | bytes) and len(arg) > limit for arg in args):
        return _rendered(args, limit)
    return str(exc)


def _shown(arg: object, limit: int) -> str:
    if type(arg) is str:
        return arg
    if isinstance(arg, str) and type(arg).__str__ is str.__str__:
        return str.__getitem__(arg, slice(limit + 1))
    if type(arg) in _BRACKETS or type(arg) in _BYTES:
        return _rendered(arg, limit)
    if issubclass(type(arg), BaseException):
        return _message(arg, limit)  # type: ignore[arg-type]  # by its real type it is one
    return str(arg)


def _rendered(value: object, limit: int) -> str:
    # repr(value), broken off soon after *limit* characters.
    pieces: list[str] = []
    size = 0
    for piece in _pieces(value, limit, 0):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            break
    return "".join(pieces)


_BYTES = frozenset({bytes, bytearray})
_BRACKETS: dict[type, tuple[str, str]] = {
    dict: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    list: ("[", "]"),
    set: ("{", "}"),
    tuple: ("(", ")"),
}


def _pieces(value: Any, limit: int, depth: int) -> Iterator[str]:
    kind = type(value)
    if kind is str or kind in _BYTES:
        yield repr(value[: limit + 1])
    elif kind not in _BRACKETS or not value:
        yield repr(value)
    elif depth == _DEPTH:
        yield "..."
    else:
        opening, closing = _BRACKETS[kind]
        yield opening
        for index, item in enumerate(value):
            if index:
                yield ", "
            yield from _pieces(item, limit, depth + 1)
            if kind is dict:
                yield ": "
                yield from _pieces(value[item], limit, depth + 1)
        yield f",{closing}" if kind is tuple and len(value) == 1 else closing


# -- One line -------------------------------------------------------------------

# Controls, DEL and C1; bidi marks, overrides and isolates; line and paragraph
# separators; invisible spaces, fillers and tags; lone surrogates. Joiners
# (U+200C, U+200D) stay: scripts and emoji need them.
_UNSAFE = (
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def escape(text: str) -> str:
    r"""
    Return *text* as one line that neither steers a terminal nor breaks UTF-8 or JSON.

    Unsafe characters become visible: ``\n``, ``\r``, ``\t``, ``\x1b``,
    ``\u202e``. Backslashes stay as they are, so this is not reversible.
    """
    return text if text.isprintable() else compiled(_UNSAFE).sub(_visible, text)


def _visible(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    if code <= _LATIN_1:
        return _SHORT.get(char) or f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= _PLANE_0 else f"\\U{code:08x}"
