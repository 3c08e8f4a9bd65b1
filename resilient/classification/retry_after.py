"""
How long a server asked to wait before the next try.
"""

from __future__ import annotations

import math
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, cast

from resilient.classification.attributes import as_dict, get, getter, type_defines
from resilient.clock import SYSTEM_CLOCK
from resilient.errors import FallbackChainExhaustedError, ResilientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilient.clock import Clock

__all__ = ["WISH_ATTRIBUTES", "retry_after"]

# Where wishes are found; an exception with none of these is not looked at.
WISH_ATTRIBUTES = frozenset({"retry_after", "response", "headers"})

_MAX_DEPTH = 8
_MAX_SECONDS = 366 * 86_400.0  # a longer wish is a mistake, and is ignored
_MAX_TEXT = 64  # characters; an RFC date has 29
_MAX_HEADERS = 256
_MAX_TYPES = 1024

# Whether a class itself has one of the attributes; emptied when it is full.
_by_type: dict[type, bool] = {}


def retry_after(exc: BaseException, clock: Clock = SYSTEM_CLOCK) -> float | None:
    """
    Return the seconds that the server asked to wait, None where it did not.

    Looked for on the error and along its ``__cause__`` chain, at most 8 deep: an
    attribute ``retry_after`` (seconds or a timedelta), else the header
    ``Retry-After`` (seconds or a date; ``retry-after-ms`` goes before it) of
    ``.response`` or of the error. Values that cannot be meant are passed over:
    negative, not finite, over 366 days, a date in the past. This library's own
    errors carry no server's wish; an exhausted chain has that of its cause.

    Args:
        exc: The error.
        clock: What tells the time of day that a date is compared with.
    """
    error = exc
    for _ in range(_MAX_DEPTH):
        # By type: `isinstance` would ask `__class__`, which may raise.
        if not issubclass(type(error), ResilientError):
            found = _wish_of(error, clock)
            if found is not None:
                return found
        elif not issubclass(type(error), FallbackChainExhaustedError):
            return None
        cause = get(error, "__cause__")
        if not issubclass(type(cause), BaseException):
            return None
        error = cast("BaseException", cause)
    return None


def _wish_of(exc: BaseException, clock: Clock) -> float | None:
    try:
        by_type = _by_type.get(type(exc))
        if by_type is None:
            if len(_by_type) >= _MAX_TYPES:
                _by_type.clear()
            by_type = _by_type[type(exc)] = type_defines(type(exc), WISH_ATTRIBUTES)
        if not by_type and WISH_ATTRIBUTES.isdisjoint(exc.__dict__):
            return None
        return _wish_in(getter(exc, by_type=by_type), clock)
    except Exception:  # noqa: BLE001 - what a server or a foreign object says may be anything
        return None


def _wish_in(ask: Callable[[str], object], clock: Clock) -> float | None:
    found = _seconds(ask("retry_after"), clock)
    if found is not None:
        return found
    response = ask("response")
    if isinstance(response, dict):
        # botocore has all of it in one dict.
        metadata = as_dict(as_dict(response).get("ResponseMetadata"))
        found = _from_headers(metadata.get("HTTPHeaders"), clock)
    elif response is not None:
        found = _from_headers(get(response, "headers"), clock)
    return _from_headers(ask("headers"), clock) if found is None else found


def _from_headers(headers: object, clock: Clock) -> float | None:
    if headers is None:
        return None
    milliseconds = _seconds(_header(headers, "retry-after-ms"), None)
    if milliseconds is not None:
        return milliseconds / 1000
    return _seconds(_header(headers, "retry-after"), clock)


def _header(headers: object, name: str) -> object:
    plain = as_dict(headers)
    if plain is not headers:
        # The header classes of HTTP libraries ignore case themselves.
        ask = get(headers, "get")
        return ask(name) if callable(ask) else None
    if name in plain or len(plain) > _MAX_HEADERS:
        return plain.get(name)
    for key, value in plain.items():
        if str(key).lower() == name:
            return value
    return None


def _seconds(value: object, clock: Clock | None) -> float | None:
    """
    Return *value* as seconds, None where it is none.

    Args:
        value: A number, a timedelta, or text of a number or a date.
        clock: What a date is compared with; None: dates are not understood.
    """
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, timedelta):
        return _bounded(value.total_seconds())
    if isinstance(value, bytes):
        value = value[: _MAX_TEXT + 1].decode("latin-1")
    if isinstance(value, str):
        return _from_text(value, clock)
    if isinstance(value, int | float):
        try:
            return _bounded(float(value))
        except OverflowError:
            return None
    return None


def _from_text(text: str, clock: Clock | None) -> float | None:
    if len(text) > _MAX_TEXT:
        return None
    try:
        return _bounded(float(text))
    except ValueError:
        pass
    if clock is None:
        return None
    from email.utils import parsedate_to_datetime  # it loads a dozen modules, and dates are rare

    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return _bounded((date - clock.now()).total_seconds())


def _bounded(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) and 0.0 <= seconds <= _MAX_SECONDS else None
