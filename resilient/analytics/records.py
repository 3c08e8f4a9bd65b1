"""
Errors as they are remembered: fit to be kept, to be shown and to become JSON.

An `ErrorInfo` made by hand may carry anything: a text of a gigabyte, or a
context with exceptions and tensors in it. What is kept is text and plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from enum import Enum
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from resilient.errorinfo import ErrorCategory, ErrorInfo, ErrorSeverity
from resilient.errors import PolicyError
from resilient.policies.options import describe
from resilient.redaction import REDACTED
from resilient.text import LIMIT, cut, escape, safe_repr

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Entry", "jsonable", "kept", "member", "never_failing", "told"]

_NAME_LIMIT = 200
_VALUE_LIMIT = 200
_ITEMS = 32
_LARGEST = 2**63

_E = TypeVar("_E", bound=Enum)

_TYPES: dict[str, type] = {
    "timestamp": datetime,
    "error_type": str,
    "error_message": str,
    "category": ErrorCategory,
    "severity": ErrorSeverity,
    "traceback": str,
    "context": Mapping,
}
_OPTIONAL = {"traceback", "context"}


# One remembered error, as cheap as can be: monotonic time; the (monotonic, wall)
# time of one moment at most a second before; function, type, message, category
# and severity; and the ErrorInfo itself where one was recorded by hand.
Entry: TypeAlias = tuple[float, tuple[float, datetime], str, str, str, ErrorCategory, ErrorSeverity, ErrorInfo | None]


def kept(info: ErrorInfo) -> ErrorInfo:
    """
    Return *info* with its texts cut and its context as text and plain values.

    Raises:
        TypeError: *info* is no ErrorInfo, or has fields of wrong types.
    """
    if not isinstance(info, ErrorInfo):
        msg = f"expected an ErrorInfo, got {describe(info)}; `registry.classifier` makes one of an exception"
        raise TypeError(msg)
    problems = [
        f"{name} must be a {expected.__name__}, got {describe(value)}"
        for name, expected in _TYPES.items()
        if not isinstance(value := getattr(info, name), expected) and (value is not None or name not in _OPTIONAL)
    ]
    if problems:
        msg = f"ErrorInfo: {'; '.join(problems)}"
        raise TypeError(msg)
    return replace(
        info,
        error_type=_plain_text(info.error_type, _NAME_LIMIT),
        error_message=_plain_text(info.error_message, LIMIT),
        # The end of a traceback tells what was raised, and where.
        traceback=None if info.traceback is None else str.__str__(info.traceback)[-LIMIT:],
        context=None if info.context is None else _plain_context(info.context),
    )


def told(entry: Entry, redact: Callable[[str], str]) -> ErrorInfo:
    """
    Return what is remembered as an ErrorInfo whose texts are redacted and escaped.

    The lines of a traceback stay lines, and the value under a key that *redact*
    takes for a secret's name is hidden, whatever it is.
    """
    now, (then, wall), function, error_type, message, category, severity, info = entry
    if info is None:
        return ErrorInfo(
            timestamp=wall + timedelta(seconds=now - then),
            error_type=escape(error_type),
            error_message=escape(redact(message)),
            category=category,
            severity=severity,
            context={"function": escape(function)},
        )
    traceback, context = info.traceback, info.context
    return replace(
        info,
        error_type=escape(redact(info.error_type)),
        error_message=escape(redact(info.error_message)),
        traceback=None if traceback is None else "\n".join(map(escape, redact(traceback).split("\n"))),
        context=None if context is None else {escape(k): _told_value(k, v, redact) for k, v in context.items()},
    )


def jsonable(info: ErrorInfo) -> dict[str, Any]:
    """
    Return *info*, as `told` returns it, as values that JSON has.
    """
    values = asdict(info)
    values["timestamp"] = info.timestamp.isoformat()
    return {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}


def member(kind: type[_E], value: _E | str) -> _E:
    """
    Return the member of *kind* that *value* is or names.

    Raises:
        PolicyError: There is none.
    """
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(repr(one.value) for one in kind)
        problem = f"got {describe(value)}; use a member or one of {names}"
        raise PolicyError(kind.__name__, [problem]) from None


def never_failing(redact: Callable[[str], str]) -> Callable[[str], str]:
    """
    Return *redact*, with all of the text hidden where it raises or returns no text.
    """

    def hide(text: str) -> str:
        try:
            hidden: object = redact(text)
        except Exception:  # noqa: BLE001 - better no text than a secret, and reading never fails
            return REDACTED
        return hidden if isinstance(hidden, str) else REDACTED

    return hide


def _plain_text(text: str, limit: int) -> str:
    # A subclass of str may have methods of its own; what is kept has none.
    return cut(text if type(text) is str else str.__getitem__(text, slice(limit + 1)), limit)


def _plain_context(context: Mapping[str, Any]) -> dict[str, Any]:
    return {_key(key): _plain_value(value) for key, value in list(islice(context.items(), _ITEMS))}


def _key(key: object) -> str:
    return _plain_text(key, _NAME_LIMIT) if isinstance(key, str) else safe_repr(key, _NAME_LIMIT)


def _plain_value(value: Any) -> str | float | None:
    if isinstance(value, str):
        return _plain_text(value, LIMIT)
    kind = type(value)
    if value is None or kind is bool or (kind is int and -_LARGEST < value < _LARGEST):
        return value  # type: ignore[no-any-return]
    if kind is float and isfinite(value):
        return value  # type: ignore[no-any-return]
    return safe_repr(value, _VALUE_LIMIT)


def _told_value(key: str, value: Any, redact: Callable[[str], str]) -> Any:
    probe = f"{key}=x"
    if value is not None and redact(probe) != probe:
        return REDACTED
    return escape(redact(value)) if isinstance(value, str) else value
