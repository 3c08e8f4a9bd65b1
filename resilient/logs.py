"""
Events as log entries, through structlog, as a library should: never configured here.

Where structlog is configured, that decides everything. Where it is not, entries
go to the standard library's logger ``resilient``, which is silent until the
application gives it, or the root logger, a handler. Nothing is built, and
structlog is not even imported, while an entry would reach nobody.

Values are plain and ready for JSON; texts are redacted and escaped; arguments
of calls are never logged, of those that a recovery has changed only the names.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import sys
import threading
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from resilient.errorinfo import ErrorInfo
from resilient.events import (
    AttemptFailed,
    CallRejected,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    CircuitWouldOpen,
    Event,
    FallbackUsed,
    LevelChanged,
    OperationFailed,
    OperationRecovered,
    RecoveryRun,
    RetriesExhausted,
    RetryScheduled,
)
from resilient.levels import DegradationLevel
from resilient.light import dataclass
from resilient.redaction import readable
from resilient.text import cut, safe_repr, safe_str, type_name

if TYPE_CHECKING:
    from datetime import datetime
    from types import ModuleType

__all__ = [
    "LEVELS",
    "DeclarationsChanged",
    "DeclarationsRefused",
    "HookFailed",
    "hook_failed",
    "keys",
    "know",
    "load_structlog",
    "log_event",
    "plain",
    "wanted",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class HookFailed(Event):
    """
    User code beside the guarded function raised where it must not harm a call.

    Told once for each ``hook``, to the log alone: a listener, a predicate, a
    strategy, a signal. ``where`` is the line that raised.
    """

    name: ClassVar[str] = "hook.failed"

    hook: str
    error_type: str
    error_message: str
    where: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclarationsChanged(Event):
    """
    A file of policies was put in force; ``changed`` counts the functions that it made a difference to.
    """

    name: ClassVar[str] = "declarations.changed"

    file: str
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclarationsRefused(Event):
    """
    A file of policies cannot be meant, for all these ``problems``; what was in force stays so.
    """

    name: ClassVar[str] = "declarations.refused"

    file: str
    problems: tuple[str, ...]


# What is logged, and how loud: DEBUG for each single call, INFO for what put itself right or may do so,
# WARNING for what somebody should know of, ERROR for what reached a caller.
LEVELS: Mapping[type[Event], str] = {
    AttemptFailed: "debug",
    RetryScheduled: "info",
    RetriesExhausted: "warning",
    CircuitOpened: "warning",
    CircuitWouldOpen: "warning",
    CircuitHalfOpened: "info",
    CircuitClosed: "info",
    CallRejected: "debug",
    FallbackUsed: "warning",
    LevelChanged: "warning",
    RecoveryRun: "info",
    OperationFailed: "error",
    OperationRecovered: "info",
    HookFailed: "error",
    DeclarationsChanged: "info",
    DeclarationsRefused: "warning",
}

_levels = dict(LEVELS)
_NUMBERS = {kind: getattr(logging, level.upper()) for kind, level in LEVELS.items()}

_logger = logging.getLogger("resilient")
# Without a handler the standard library prints warnings to stderr.
_silence = logging.NullHandler()
_logger.addHandler(_silence)
_SILENT = [_silence]
_root = logging.root
_modules = sys.modules

_RENAMED = {
    # structlog's own key for how loud an entry is.
    "level": "service_level",
}
_ERROR_KEYS = ("error_type", "error_message", "error_category", "error_severity")


# -- whether -------------------------------------------------------------------


def wanted(kind: type[Event]) -> bool:
    """
    Tell whether an event of *kind* would reach a log now.

    Asked on failure paths, several times a call, and the answer may change at
    any time: so a few dictionary reads, and no call of structlog's or logging's
    before it is certain that somebody listens.
    """
    # Another thread may be half way through importing it.
    if "structlog" in _modules and getattr(_modules.get("structlog"), "is_configured", _no)():
        return kind in _levels
    if not (_root.handlers and _logger.propagate):
        handlers = _logger.handlers
        if handlers == _SILENT or not handlers:
            return False
    number = _NUMBERS.get(kind)
    return number is not None and _logger.isEnabledFor(number)


def _no() -> bool:
    return False


# -- what ----------------------------------------------------------------------


def _names(kind: type[Event]) -> tuple[str, ...]:
    # Not `at`: a log has times of its own.
    return tuple(field.name for field in dataclasses.fields(kind) if field.name != "at")


_NAMES = {kind: _names(kind) for kind in LEVELS}


def know(kind: type[Event]) -> None:
    """
    Let *kind*, an event of a policy of a user's own, be logged.
    """
    _NAMES[kind] = _names(kind)
    _NUMBERS[kind] = getattr(logging, kind.log_level.upper())
    _levels[kind] = kind.log_level


def keys(kind: type[Event]) -> tuple[str, ...]:
    """
    Return the keys of a log entry about an event of *kind*; what is not known is left out of an entry.
    """
    result: list[str] = []
    for name in _NAMES[kind]:
        if name == "error":
            result += _ERROR_KEYS
        elif name == "changes" and kind is RecoveryRun:
            result.append("changed")
        else:
            result.append(_RENAMED.get(name, name))
    return tuple(result)


def _values(event: Event) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in _NAMES[type(event)]:
        value = getattr(event, name)
        if value is None:
            continue
        if isinstance(value, ErrorInfo):
            told = (value.error_type, value.error_message, value.category, value.severity)
            values.update(zip(_ERROR_KEYS, map(plain, told), strict=True))
        elif name == "changes" and isinstance(event, RecoveryRun):
            # The values before and after are arguments of the user's call.
            values["changed"] = plain(sorted(value))
        else:
            values[_RENAMED.get(name, name)] = plain(value)
    return values


def plain(value: object) -> Any:
    """
    Return *value* as JSON has it, with safe texts.
    """
    if isinstance(value, Enum):
        value = value.label if isinstance(value, DegradationLevel) else value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        # JSON knows neither infinity nor NaN.
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return readable(cut(value) if isinstance(value, str) else safe_repr(value))


# -- where to ------------------------------------------------------------------

_writing = threading.local()


def log_event(event: Event) -> None:
    """
    Log *event*: a listener like any other.

    What a log handler itself does under policies is not logged again: it would
    never end.
    """
    if getattr(_writing, "now", False):
        return
    _writing.now = True
    try:
        kind = type(event)
        getattr(_structlogger(), _levels[kind])(f"resilient.{kind.name}", **_values(event))
    finally:
        _writing.now = False


def hook_failed(hook: str, error: Exception, at: datetime) -> None:
    """
    Log that user code raised where it must not harm a call, if that would reach anybody.
    """
    if wanted(HookFailed):
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        where = None if frame is None else f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
        log_event(HookFailed(at=at, hook=hook, error_type=type_name(error), error_message=safe_str(error), where=where))


@functools.cache
def load_structlog() -> ModuleType:
    """
    Import structlog, once: what a program calls structlog later may be a module of its own.
    """
    import structlog

    return structlog


def _structlogger() -> Any:
    structlog = load_structlog()
    if not structlog.is_configured():
        # By default structlog prints to stdout, where no library has any business.
        return _standard_logger()
    # Asked for each time: a configuration is followed as soon as it changes.
    logger = structlog.get_logger("resilient").bind()
    # Its methods would return coroutines, which nobody here awaits.
    return logger.sync_bl if isinstance(logger, structlog.stdlib.AsyncBoundLogger) else logger


@functools.cache
def _standard_logger() -> Any:
    structlog = load_structlog()
    render_line = structlog.processors.LogfmtRenderer(bool_as_flag=False)

    def render(logger: Any, method: str, entry: Any) -> tuple[tuple[str], dict[str, Any]]:
        name = entry.pop("event")
        line = f"{name} {render_line(logger, method, entry)}"
        # For formatters that write more than the message: everything, as it was, in one attribute.
        return (line,), {"extra": {"resilient": {"event": name, **entry}}}

    return structlog.wrap_logger(
        _logger, processors=[render], wrapper_class=structlog.stdlib.BoundLogger, context_class=dict
    )
