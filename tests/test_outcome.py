"""
An outcome's text: the incident as a story, attempt by attempt.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from resilient import (
    CircuitBreakerOpenError,
    DegradationLevel,
    ErrorCategory,
    ErrorInfo,
    ErrorSeverity,
    Outcome,
    circuit,
    degradable,
    events,
    fallback_chain,
    resilience_of,
    retry,
)
from resilient.events import (
    AttemptFailed,
    CallRejected,
    CallSucceeded,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    CircuitWouldOpen,
    FallbackUsed,
    LevelChanged,
    OperationFailed,
    OperationRecovered,
    RecoveryRun,
    RetriesExhausted,
    RetryScheduled,
)

NOW = datetime(2025, 1, 1, tzinfo=UTC)
ERROR = ErrorInfo(NOW, "MemoryError", "full", ErrorCategory.MEMORY, ErrorSeverity.HIGH)


def made(**fields):
    """
    Return an outcome with these fields, and the others of a call that returned at once.
    """
    defaults = {
        "value": None,
        "error": None,
        "route": "first try",
        "attempts": 1,
        "level": DegradationLevel.FULL,
        "changes": {},
        "elapsed": 0.25,
        "events": (),
    }
    return Outcome(**defaults | fields)


def test_a_first_try_is_one_line():
    """
    Nothing happened, and that is what it says.
    """
    assert str(made()) == "returned by first try after 1 attempt, 0.25 s"


def test_the_story_of_a_bad_day(registry):
    """
    Attempts, waits, circuits, fallbacks and the end, in order.
    """

    def stand_in(*_, **__):
        msg = "no\nstand-in"
        raise LookupError(msg)

    @degradable(registry=registry)
    @fallback_chain(stand_in, registry=registry)
    @retry(max_attempts=2, initial_delay=2, jitter=False, registry=registry)
    @circuit("api", failure_threshold=2, registry=registry)
    def work(steps=50):
        msg = "refused"
        raise ConnectionError(msg)

    registry.degradation.degrade()
    first = str(resilience_of(work).outcome())
    second = str(resilience_of(work).outcome())

    assert first.splitlines()[:-1] == [
        "level high: steps 50 -> 40",
        "attempt 1 raised ConnectionError: refused",
        "  next attempt in 2 s",
        "attempt 2 raised ConnectionError: refused",
        "circuit api: opened",
        "  gave up after 2",
        "fallback stand_in failed",
    ]
    assert first.splitlines()[-1].startswith("failed after 2 attempts, 2 s: FallbackChainExhaustedError: ")
    assert second.splitlines()[1] == "circuit api did not admit the call (open)"
    assert "\n" not in second.splitlines()[-1]


@pytest.mark.parametrize(("success", "expected"), [(True, "helped"), (False, "did not help"), (None, "does not apply")])
def test_recovery_steps_are_told(success, expected):
    """
    What a step came to, in words.
    """
    event = RecoveryRun(at=NOW, step="eat", applied=success is not None, success=success, error=ERROR)

    assert f"recovery step eat {expected}" == str(made(events=(event,))).splitlines()[0]


TOLD = {
    AttemptFailed: ({"attempt": 2, "error": ERROR}, "attempt 2 raised MemoryError: full"),
    RetryScheduled: ({"attempt": 2, "delay": 1.23456, "error": ERROR}, "  next attempt in 1.23 s"),
    RetriesExhausted: ({"attempts": 3, "elapsed": 4.0, "error": None}, "  gave up after 3"),
    CircuitOpened: ({"circuit": "api", "reason": "failures", "previous": "closed"}, "circuit api: opened"),
    CircuitHalfOpened: ({"circuit": "api", "previous": "open"}, "circuit api: half opened"),
    CircuitClosed: ({"circuit": "api", "reason": "probes", "previous": "half_open"}, "circuit api: closed"),
    CircuitWouldOpen: ({"circuit": "api", "reason": "failures"}, "circuit api: would open"),
    CallRejected: (
        {"circuit": "api", "reason": "isolated", "retry_after": None},
        "circuit api did not admit the call (isolated)",
    ),
    FallbackUsed: ({"entry": "card", "success": True, "error": None}, "fallback card returned"),
    RecoveryRun: ({"step": "eat", "applied": True, "success": True, "error": ERROR}, "recovery step eat helped"),
    LevelChanged: (
        {
            "scope": "default",
            "previous": DegradationLevel.FULL,
            "level": DegradationLevel.LOW,
            "reason": "",
            "by": "hand",
        },
        None,
    ),
    OperationRecovered: ({"by": "retry", "attempts": 2}, None),
    OperationFailed: ({"attempts": 2, "error": ERROR}, None),
    CallSucceeded: ({"attempts": 1}, None),
}


@pytest.mark.parametrize("kind", TOLD, ids=lambda kind: kind.__name__)
def test_each_kind_of_event_has_its_line(kind):
    """
    What led to the end is told; the end itself has a line of its own, and the level stands at the top.
    """
    fields, line = TOLD[kind]
    told = str(made(events=(kind(at=NOW, **fields),))).splitlines()[:-1]

    assert told == ([] if line is None else [line])


def test_no_kind_of_event_is_forgotten():
    """
    Every event that policies report is either told or left out on purpose.
    """
    assert {kind.__name__ for kind in TOLD} == set(events.__all__) - {"Event"}


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "returned by first try after 1 attempt, 0.25 s"),
        ({"attempts": 0, "route": "fallback:card"}, "returned by fallback:card after 0 attempts, 0.25 s"),
        ({"error": ValueError("odd"), "route": "failed"}, "failed after 1 attempt, 0.25 s: ValueError: odd"),
        (
            {"error": CircuitBreakerOpenError("api", 5.0), "route": "rejected", "attempts": 0, "elapsed": 0.0},
            f"rejected after 0 attempts, 0 s: CircuitBreakerOpenError: {CircuitBreakerOpenError('api', 5.0)}",
        ),
    ],
    ids=str,
)
def test_the_last_line_is_the_end(fields, line):
    """
    The route, the attempts, the seconds, and the error where there is one.
    """
    outcome = made(**fields)

    assert str(outcome) == line
    assert outcome.ok is ("error" not in fields)


def test_changes_are_told_first():
    """
    A level's changes are one line, with names that cannot fake another.
    """
    outcome = made(level=DegradationLevel.LOW, changes={"steps": (50, 20), "hdr\n": (True, False)})

    assert str(outcome).splitlines()[0].startswith("level low: steps 50 -> 20, hdr")
    assert len(str(outcome).splitlines()) == 2


def test_an_error_that_has_no_text_is_told_all_the_same():
    """
    An exception whose own ``__str__`` raises harms nobody.
    """

    class BrokenError(Exception):
        def __str__(self):
            raise RuntimeError

    assert "BrokenError" in str(made(error=BrokenError(), route="failed"))


def test_text_from_elsewhere_is_escaped(registry):
    """
    Control characters in messages cannot fake a line.
    """

    @circuit(registry=registry)
    def work():
        raise ValueError("a\nb\x1b[31m")

    text = str(work.resilience.outcome())

    assert len(text.splitlines()) == 2
    assert "\x1b" not in text


def test_the_fields_of_an_outcome():
    """
    These, in this order: outcomes can be matched and unpacked by name.
    """
    names = [field.name for field in dataclasses.fields(Outcome)]

    assert names == ["value", "error", "route", "attempts", "level", "changes", "elapsed", "events"]
    assert made() == made()
    assert made() != made(attempts=2)


def test_an_outcome_is_frozen():
    """
    What happened has happened.
    """
    with pytest.raises(dataclasses.FrozenInstanceError):
        made().value = 3


def test_repr_is_one_line_about_how_it_ended():
    """
    A value is shown as far as fits on a line, an error with its text.
    """
    error = ConnectionError("refused")

    assert repr(made(value=[1, 2])) == "<Outcome: returned by first try after 1 attempt, 0.25 s: [1, 2]>"
    assert repr(made(error=error, route="failed", attempts=3)) == (
        "<Outcome: failed after 3 attempts, 0.25 s: ConnectionError: refused>"
    )
    assert len(repr(made(value="x" * 100_000))) < 300


def test_repr_tells_no_secrets():
    """
    Neither the value nor the error nor what happened shows a secret or more than one line, and both stay as they are.
    """
    secret = "password=hUnt3r2\nnext"
    info = dataclasses.replace(ERROR, error_message=secret)
    attempt = AttemptFailed(at=NOW, attempt=1, error=info)
    shown = [
        repr(made(value=secret)),
        repr(made(value={"password": "hUnt3r2"}, route=f"fallback:{secret}", events=(attempt,))),
        repr(made(error=ValueError(secret), changes={"token": ("hUnt3r2", None)}, events=(attempt,))),
    ]

    assert [text for text in shown if "hUnt3r2" in text or "\n" in text] == []
    assert all("[redacted]" in text for text in shown)
    assert made(value=secret).value is secret


def test_a_value_that_cannot_be_shown_harms_no_repr():
    """
    What a value's own code raises is no problem of who prints the outcome.
    """

    class Broken:
        def __repr__(self):
            raise ValueError

    assert repr(made(value=Broken())).endswith(": <unprintable Broken>>")
