"""
What went wrong, how often, and whether it was put right: counts and text, no exceptions.

Recording is on the failure path of every decorated call, so it does no more
than count and keep a tuple. Whatever people get to see - `ErrorInfo` objects,
redacted and escaped text, reports - is made on reading.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from resilient.analytics.counts import OTHER, NamedCounts, SlidingCount
from resilient.analytics.incidents import Incidents
from resilient.analytics.patterns import Pattern, find_bursts, find_common_causes
from resilient.analytics.records import Entry, jsonable, kept, member, never_failing, told
from resilient.clock import SYSTEM_CLOCK
from resilient.errorinfo import ErrorCategory, ErrorInfo, ErrorSeverity
from resilient.errors import PolicyError
from resilient.forks import survives_fork
from resilient.policies.checks import integer, seconds
from resilient.policies.options import describe
from resilient.redaction import redact as hide_secrets
from resilient.text import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from resilient.clock import Clock
    from resilient.policies.checks import Check

__all__ = ["ErrorAnalytics"]

_FEW = 10
_FIVE_MINUTES = 300.0
_WINDOW = timedelta(seconds=_FIVE_MINUTES)
_SECONDS = seconds(zero=False, infinite=True)
_MAX_LIMIT = 1_000_000


class ErrorAnalytics:
    """
    The errors of one registry, or of a program of your own; safe for any number of threads.

    Args:
        clock: Where time comes from.
        history: How many of the latest errors are kept as text.
        redact: What hides secrets in texts that are read; None shows them.
            Texts are escaped in any case.
        report: Called once, with a sentence, when there are more types or
            functions than are counted by name; default: a warning to the
            logger ``resilient``.
    """

    def __init__(
        self,
        *,
        clock: Clock = SYSTEM_CLOCK,
        history: int = 1000,
        redact: Callable[[str], str] | None = hide_secrets,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self._clock = clock
        self._monotonic = clock.monotonic
        self._hide = never_failing(redact) if redact else str
        self._report = report
        self._lock = threading.RLock()
        self._history: deque[Entry] = deque(maxlen=_checked("history", integer(maximum=_MAX_LIMIT), history))
        self.reset()
        survives_fork(self)

    def reset(self) -> None:
        """
        Forget everything, as if the start were now.
        """
        now = self._monotonic()
        self._look_at_the_wall(now)
        with self._lock:
            self._history.clear()
            self._rates = SlidingCount(now)
            self._types = NamedCounts()
            self._functions = NamedCounts()
            self._categories = {category.value: 0 for category in ErrorCategory}
            self._severities = {severity.value: 0 for severity in ErrorSeverity}
            self._incidents = Incidents()
            self._overflowed = False
            self._overflow_told = False

    def clear_history(self) -> None:
        """
        Forget the texts; counts, rates and incidents stay.
        """
        with self._lock:
            self._history.clear()

    # -- Recording --------------------------------------------------------------

    def record(
        self,
        function: str,
        exc_type: str,
        message: str,
        category: ErrorCategory,
        severity: ErrorSeverity,
        *,
        by_hand: ErrorInfo | None = None,
    ) -> None:
        """
        Count a failed attempt and remember its text.

        Args:
            function: The function's name.
            exc_type: The exception's class name.
            message: Its text, already cut.
            category: What kind of thing has failed.
            severity: How bad it is.
            by_hand: The record itself, where somebody has made one.
        """
        now = self._monotonic()
        moment = self._moment
        if now - moment[0] >= 1.0:
            moment = self._look_at_the_wall(now)
        rates = self._rates
        with self._lock:
            self._history.append((now, moment, function, exc_type, message, category, severity, by_hand))
            if now < rates.until:
                rates.total += 1
            else:
                rates.add(now)
            try:
                self._types[exc_type] += 1
            except KeyError:
                self._overflowed |= self._types.add(exc_type)
            if function:
                try:
                    self._functions[function] += 1
                except KeyError:
                    self._overflowed |= self._functions.add(function)
            # `_value_`: hashing a member, or asking for its `value`, runs Python code.
            self._categories[category._value_] += 1
            self._severities[severity._value_] += 1
        if self._overflowed and not self._overflow_told:
            self._tell_overflow()

    def record_error(self, error: ErrorInfo) -> None:
        """
        Record an error by hand; one with ``recovery_attempted`` is an incident of its own.

        Its texts are cut, and what is no plain value in its context is kept as text.

        Raises:
            TypeError: *error* is no ErrorInfo, or has fields of wrong types.
        """
        info = kept(error)
        named = (info.context or {}).get("function")
        function = named if isinstance(named, str) else ""
        self.record(function, info.error_type, "", info.category, info.severity, by_hand=info)
        if info.recovery_attempted:
            incidents = self._incidents
            next(incidents.mended if info.recovery_successful else incidents.lost)

    def incident(self, root: Hashable, *, resolved: bool, final: bool) -> None:
        """
        Count an outermost operation in which an attempt failed, once, and keep its status.

        Args:
            root: The outermost operation's id.
            resolved: The operation that reports returned all the same.
            final: It is the outermost one and decides; else all that report have to be resolved.
        """
        incidents = self._incidents
        if final and root not in incidents.roots:
            # Nothing within it has failed, or will: nearly all are such.
            next(incidents.mended if resolved else incidents.lost)
            return
        with self._lock:
            self._incidents.report(root, resolved=resolved, final=final)

    def expect(self, root: Hashable) -> None:
        """
        Note that an operation within *root* is going to report, maybe after *root* itself.
        """
        with self._lock:
            self._incidents.expect(root)

    def _tell_overflow(self) -> None:
        with self._lock:
            told, self._overflow_told = self._overflow_told, True
        if told:
            return
        sentence = (
            f"more than {self._types.limit} types of errors, or functions with them: the rest counts as {OTHER!r}"
        )
        with suppress(Exception):
            (self._report or logging.getLogger("resilient").warning)(sentence)

    def _look_at_the_wall(self, now: float) -> tuple[float, datetime]:
        # At most once a second: an error's time of day is what the wall clock
        # showed then, however it has been set since.
        self._moment = moment = (now, self._clock.now())
        return moment

    # -- Reading ----------------------------------------------------------------

    @property
    def total_errors(self) -> int:
        """
        How many attempts have failed since the start.
        """
        return self._rates.total

    @property
    def error_history(self) -> list[ErrorInfo]:
        """
        The latest errors, oldest first: a new list, with texts redacted and escaped.
        """
        return [told(entry, self._hide) for entry in self._entries()]

    def get_errors_by_category(self, category: ErrorCategory | str) -> list[ErrorInfo]:
        """
        Return the errors of *category* in the history, oldest first.
        """
        wanted = member(ErrorCategory, category)
        return [told(entry, self._hide) for entry in self._entries() if entry[5] is wanted]

    def get_errors_by_severity(self, severity: ErrorSeverity | str) -> list[ErrorInfo]:
        """
        Return the errors of *severity* in the history, oldest first.
        """
        wanted = member(ErrorSeverity, severity)
        return [told(entry, self._hide) for entry in self._entries() if entry[6] is wanted]

    def get_error_rate(self, window: timedelta | float = _WINDOW) -> float:
        """
        Return the errors per minute, to the second.

        Args:
            window: How far to look back, as a timedelta or in seconds: *window*,
                the time since the start or an hour, whichever is shorter, but
                at least a minute.
        """
        # The default is asked for on every failure, by what lowers service levels.
        period = _FIVE_MINUTES if window is _WINDOW else _checked("window", _SECONDS, window)
        now = self._monotonic()
        with self._lock:
            return self._rates.per_minute(period, now)

    def get_most_common_errors(self, limit: int = _FEW) -> list[tuple[str, int]]:
        """
        Return the *limit* most frequent types since the start, each with its count.
        """
        limit = _checked("limit", integer(maximum=_MAX_LIMIT), limit)
        with self._lock:
            return self._types.ranked()[:limit]

    def get_recovery_rate(self) -> float:
        """
        Return the fraction of incidents that were resolved, 1.0 when there was none.
        """
        with self._lock:
            return self._incidents.rate

    def detect_patterns(self) -> list[Pattern]:
        """
        Return the bursts of the last hour, and the common causes of the last five minutes.

        Common causes are looked for among the errors that the history still holds.
        """
        now = self._monotonic()
        with self._lock:
            minutes = self._rates.by_minute(now)
        recent = ((escape(e[3]), escape(e[2])) for e in self._entries() if e[2] and now - e[0] <= _FIVE_MINUTES)
        return [*find_bursts(minutes), *find_common_causes(recent)]

    def generate_report(self) -> dict[str, Any]:
        """
        Return all of this, JSON-ready: counts since the start, the rate over five minutes.
        """
        critical = [entry for entry in self._entries() if entry[6] is ErrorSeverity.CRITICAL][-_FEW:]
        with self._lock:
            counted = {
                "total_errors": self._rates.total,
                "most_common_errors": [list(one) for one in self._types.ranked()[:_FEW]],
                "errors_by_category": dict(self._categories),
                "errors_by_severity": dict(self._severities),
                "errors_by_function": dict(self._functions.ranked()),
                "incidents": self._incidents.total,
                "resolved_incidents": self._incidents.resolved,
                "recovery_rate": self._incidents.rate,
            }
        # Outside the lock: the clock and what redacts are other people's code.
        return counted | {
            "error_rate_per_minute": self.get_error_rate(),
            "patterns": [{"kind": one.kind, "summary": str(one), **asdict(one)} for one in self.detect_patterns()],
            "recent_critical_errors": [jsonable(told(entry, self._hide)) for entry in critical],
        }

    def _entries(self) -> list[Entry]:
        with self._lock:
            return list(self._history)

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"<ErrorAnalytics: {self.total_errors} errors, {self.get_error_rate():.3g} a minute, {self._incidents}>"


def _checked(name: str, check: Check, value: object) -> Any:
    try:
        return check(value)
    except ValueError as problem:
        raise PolicyError("ErrorAnalytics", [f"{name} {problem}, got {describe(value)}"]) from None
