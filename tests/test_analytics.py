"""
What went wrong, how often, and whether it was put right.
"""

from __future__ import annotations

import gc
import json
import logging
import threading
import time
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from resilient.analytics.patterns import Burst, CommonCause
from resilient.analytics.recorder import ErrorAnalytics
from resilient.errorinfo import ErrorCategory, ErrorInfo, ErrorSeverity
from resilient.errors import PolicyError
from tests.harness import error_info, held, in_fork, may_fork, needs_fork


@pytest.fixture
def analytics(clock):
    """
    Return analytics on that clock.
    """
    return ErrorAnalytics(clock=clock)


def fail(
    analytics,
    times=1,
    *,
    function="engine:render",
    kind="ConnectionError",
    message="refused",
    category=ErrorCategory.NETWORK,
    severity=ErrorSeverity.MEDIUM,
):
    """
    Record *times* failed attempts.
    """
    for _ in range(times):
        analytics.record(function, kind, message, category, severity)


# -- History --------------------------------------------------------------------


def test_history_tells_what_was_recorded(analytics, clock):
    """
    A recorded failure is read as an ErrorInfo, with the time of day at which it happened.
    """
    start = clock.now()
    clock.advance(90)
    fail(analytics, message="refused")
    clock.advance(0.5)
    fail(analytics, kind="Timeout")
    clock.advance(3600)

    first, second = analytics.error_history

    assert first == ErrorInfo(
        timestamp=start + timedelta(seconds=90),
        error_type="ConnectionError",
        error_message="refused",
        category=ErrorCategory.NETWORK,
        severity=ErrorSeverity.MEDIUM,
        context={"function": "engine:render"},
    )
    assert second.timestamp == start + timedelta(seconds=90.5)


def test_a_wall_clock_that_jumps_changes_neither_rates_nor_old_times(analytics, clock):
    """
    Setting the clock moves only the times of day of later errors.
    """
    start = clock.now()
    fail(analytics)
    clock.advance(2)
    clock.jump_wall(-3602)
    fail(analytics)

    assert [error.timestamp for error in analytics.error_history] == [start, start - timedelta(hours=1)]
    assert analytics.get_error_rate() == 2.0


def test_history_keeps_the_latest(clock):
    """
    Only so many texts are kept, and all errors counted.
    """
    analytics = ErrorAnalytics(clock=clock, history=3)
    for number in range(5):
        fail(analytics, message=str(number))

    assert [error.error_message for error in analytics.error_history] == ["2", "3", "4"]
    assert analytics.total_errors == 5


def test_history_is_a_list_of_ones_own(analytics):
    """
    Changing what was read changes nothing.
    """
    fail(analytics)
    analytics.error_history.clear()

    assert len(analytics.error_history) == 1


def test_texts_are_redacted_and_escaped_on_reading(analytics):
    """
    Neither secrets nor control characters are read from any view.
    """
    fail(
        analytics,
        kind="Bad\x1b",
        function="f\n",
        message="password=hunter2\n",
        severity=ErrorSeverity.CRITICAL,
    )
    text = json.dumps(analytics.generate_report()) + repr(analytics.error_history) + repr(analytics)

    assert "hunter2" not in text
    assert "Bad\\x1b" in analytics.error_history[0].error_type
    assert analytics.get_most_common_errors() == [(r"Bad\x1b", 1)]
    assert analytics.generate_report()["errors_by_function"] == {r"f\n": 1}


@pytest.mark.parametrize(
    ("redact", "expected"),
    [
        (None, r"password=abc\n"),
        (lambda text: text.replace("abc", "\n"), r"password=\n\n"),
        (lambda text: text[99], "[redacted]"),
        (lambda text: None, "[redacted]"),
    ],
    ids=["none", "own", "raising", "returning nothing"],
)
def test_redaction_is_exchangeable(clock, redact, expected):
    """
    Whatever redacts, texts are escaped; where it fails, nothing is shown.
    """
    analytics = ErrorAnalytics(clock=clock, redact=redact)
    fail(analytics, message="password=abc\n")

    assert analytics.error_history[0].error_message == expected


def test_errors_by_category_and_severity(analytics):
    """
    The history can be read by category and by severity, named or as members.
    """
    fail(analytics, message="a")
    fail(analytics, message="b", category=ErrorCategory.MEMORY, severity=ErrorSeverity.CRITICAL)

    found = [
        analytics.get_errors_by_category(ErrorCategory.MEMORY),
        analytics.get_errors_by_category("network"),
        analytics.get_errors_by_severity(ErrorSeverity.CRITICAL),
        analytics.get_errors_by_severity("low"),
    ]

    assert [[error.error_message for error in errors] for errors in found] == [["b"], ["a"], ["b"], []]


def test_clear_history_keeps_the_counts(analytics):
    """
    Clearing the history forgets texts only.
    """
    fail(analytics, 2)
    analytics.clear_history()

    assert analytics.error_history == []
    assert (analytics.total_errors, analytics.get_error_rate()) == (2, 2.0)


def test_reset_forgets_everything(analytics, clock):
    """
    After a reset all is as at the start, the time since then too.
    """
    fresh = {**ErrorAnalytics(clock=clock).generate_report()}
    clock.advance(600)
    fail(analytics, 20, severity=ErrorSeverity.CRITICAL)
    analytics.incident("a", resolved=False, final=True)
    analytics.reset()
    report = analytics.generate_report()
    fail(analytics, 7)

    assert report == fresh
    assert analytics.get_error_rate() == 7.0


# -- Counts and rates -----------------------------------------------------------


def test_rates(analytics, clock):
    """
    The rate is errors per minute over the window or the time since the start.
    """
    fail(analytics, 10)
    rates = [analytics.get_error_rate()]
    clock.advance(120)
    rates.append(analytics.get_error_rate())
    clock.advance(480)
    rates += [analytics.get_error_rate(window) for window in (timedelta(minutes=5), timedelta(hours=1), 600, 1e9)]

    assert rates == [10.0, 5.0, 0.0, 1.0, 1.0, 1.0]


def test_rate_outlives_the_history(analytics, clock):
    """
    A rate comes from counts, not from the texts that are still kept.
    """
    clock.advance(60)
    fail(analytics, 30_000)

    assert analytics.get_error_rate(timedelta(minutes=1)) == 30_000.0


def test_most_common_errors(analytics):
    """
    Types are ranked by how often they occurred since the start.
    """
    fail(analytics, 2, kind="A")
    fail(analytics, 3, kind="B")
    fail(analytics, 1, kind="C")

    assert analytics.get_most_common_errors() == [("B", 3), ("A", 2), ("C", 1)]
    assert analytics.get_most_common_errors(limit=1) == [("B", 3)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: a.get_error_rate(0), r"window must be seconds as a number above 0, .*, got 0 \(int\)"),
        (lambda a: a.get_error_rate(timedelta(seconds=-1)), "window must be"),
        (lambda a: a.get_error_rate(None), "window must be"),
        (lambda a: a.get_error_rate(float("nan")), "window must be"),
        (lambda a: a.get_most_common_errors(0), "limit must be a whole number from 1"),
        (lambda a: a.get_errors_by_category("net"), "ErrorCategory: got 'net'"),
        (lambda _: ErrorAnalytics(history=0), "history must be a whole number from 1"),
    ],
)
def test_wrong_arguments_are_refused(analytics, call, message):
    """
    One clear error names the argument, the value and the remedy.
    """
    with pytest.raises(PolicyError, match=message):
        call(analytics)


def test_counts_by_name_are_bounded(clock, caplog):
    """
    A hundred thousand types and functions cost bounded memory, and one warning.
    """
    told = []
    analytics = ErrorAnalytics(clock=clock, report=told.append)
    for number in range(5_000):
        fail(analytics, kind=f"T{number}", function=f"f{number}")
    report = analytics.generate_report()

    assert len(told) == 1
    assert "1024" in told[0]
    assert len(report["errors_by_function"]) == 1025
    assert report["errors_by_function"]["__other__"] == 5_000 - 1024
    assert analytics.get_most_common_errors()[0] == ("__other__", 5_000 - 1024)
    assert caplog.records == []


def test_too_many_names_are_logged_by_default(analytics, caplog):
    """
    Without a callback the one warning goes to the logger of the library.
    """
    with caplog.at_level(logging.WARNING, "resilient"):
        for number in range(1_100):
            fail(analytics, kind=f"T{number}")

    assert [(record.name, "1024" in record.getMessage()) for record in caplog.records] == [("resilient", True)]


def test_a_callback_that_raises_harms_nothing(clock):
    """
    Recording goes on when the warning cannot be given.
    """

    def complain(_sentence):
        raise ValueError

    analytics = ErrorAnalytics(clock=clock, report=complain)
    for number in range(1_100):
        fail(analytics, kind=f"T{number}")

    assert analytics.total_errors == 1_100


def test_only_one_thread_warns(clock):
    """
    A second thread that finds the counts full at the same moment says nothing.
    """
    told = []
    analytics = ErrorAnalytics(clock=clock, report=told.append)
    analytics._tell_overflow()  # noqa: SLF001 - the race itself cannot be staged from outside
    analytics._tell_overflow()  # noqa: SLF001 - as above

    assert len(told) == 1


def test_counts_are_exact_over_threads(analytics):
    """
    No error is lost however many threads record.
    """
    threads = [threading.Thread(target=fail, args=(analytics, 5_000)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = analytics.generate_report()

    assert analytics.total_errors == 40_000
    assert report["most_common_errors"] == [["ConnectionError", 40_000]]
    assert report["errors_by_category"]["network"] == 40_000
    assert report["error_rate_per_minute"] == 40_000.0


def test_reading_while_others_write(analytics):
    """
    A report made during a storm of errors is whole.
    """
    stop = threading.Event()

    def storm():
        while not stop.is_set():
            fail(analytics, 100)

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        reports = [analytics.generate_report() for _ in range(20)]
    finally:
        stop.set()
        thread.join()

    assert all(report["errors_by_category"]["network"] == report["total_errors"] for report in reports)


def test_a_renewed_lock_is_free(analytics):
    """
    A child forked while another thread held the lock can record.
    """
    held, release = threading.Event(), threading.Event()

    def hold():
        with analytics._lock:  # noqa: SLF001 - stands for the thread that the fork left behind
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    analytics._renew_locks()  # noqa: SLF001 - what a fork calls
    fail(analytics)
    release.set()
    thread.join()

    assert analytics.total_errors == 1


@needs_fork
@may_fork
def test_analytics_that_stand_alone_survive_a_fork(analytics):
    """
    A child forked while another thread held the lock of analytics without a registry can record.
    """

    def child():
        fail(analytics)
        return analytics.total_errors

    with held(analytics._lock):  # noqa: SLF001 - stands for the thread that the fork left behind
        told = in_fork(child)

    assert told == "1"


# -- By hand --------------------------------------------------------------------


def test_record_error_feeds_the_same_counts(analytics):
    """
    An error recorded by hand counts like one of a decorated function.
    """
    error = error_info(context={"function": "mine"})
    analytics.record_error(error)
    analytics.record_error(error_info(context={"function": 3}))
    report = analytics.generate_report()

    assert analytics.error_history[0] == error
    assert analytics.get_errors_by_severity("low")[0] == error
    assert (report["total_errors"], report["errors_by_function"]) == (2, {"mine": 1})
    assert report["most_common_errors"] == [["Timeout", 2]]


@pytest.mark.parametrize(("successful", "rate"), [(True, 1.0), (False, 0.0)])
def test_a_recovery_by_hand_is_an_incident(analytics, successful, rate):
    """
    Only an error whose recovery was tried is an incident.
    """
    analytics.record_error(error_info())
    before = analytics.generate_report()["incidents"]
    analytics.record_error(error_info(recovery_attempted=True, recovery_successful=successful))

    assert (before, analytics.generate_report()["incidents"]) == (0, 1)
    assert analytics.get_recovery_rate() == rate


def test_record_error_refuses_anything_else(analytics):
    """
    An exception is not an ErrorInfo, and says so.
    """
    with pytest.raises(TypeError, match="expected an ErrorInfo, got ValueError"):
        analytics.record_error(ValueError("x"))

    assert analytics.total_errors == 0


def test_incidents(analytics):
    """
    The recovery rate is the share of incidents that were resolved, 1.0 without any.
    """
    before = analytics.get_recovery_rate()
    analytics.incident(1, resolved=True, final=False)
    analytics.incident(1, resolved=True, final=True)
    analytics.incident(2, resolved=False, final=True)
    analytics.expect(2)
    report = analytics.generate_report()

    assert (before, analytics.get_recovery_rate()) == (1.0, 0.5)
    assert (report["incidents"], report["resolved_incidents"], report["recovery_rate"]) == (2, 1, 0.5)


# -- Patterns and report --------------------------------------------------------


def test_patterns(analytics, clock):
    """
    A minute far above the usual and one error in several functions are found.
    """
    for _ in range(5):
        fail(analytics, 2, kind="Usual")
        clock.advance(60)
    for function in "abc":
        fail(analytics, 10, kind="Timeout", function=function)
    clock.advance(1)
    fail(analytics, kind="Timeout", function="")

    assert analytics.detect_patterns() == [
        Burst(errors=31, minutes=1, ended=0.0, usual=2),
        CommonCause(error_type="Timeout", functions=("a", "b", "c"), errors=30),
    ]


def test_patterns_pass(analytics, clock):
    """
    A common cause is one of the last five minutes, a burst of the last hour.
    """
    for function in "abc":
        fail(analytics, 10, function=function)
    clock.advance(301)
    later = [type(pattern) for pattern in analytics.detect_patterns()]
    clock.advance(3600)

    assert later == [Burst]
    assert analytics.detect_patterns() == []


def test_report_is_json(analytics, clock):
    """
    The report has everything, as values that survive JSON.
    """
    for number in range(12):
        fail(analytics, message=f"oom {number}", severity=ErrorSeverity.CRITICAL, category=ErrorCategory.MEMORY)
    clock.advance(1)
    report = analytics.generate_report()
    critical = report.pop("recent_critical_errors")
    patterns = report.pop("patterns")

    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report == {
        "total_errors": 12,
        "error_rate_per_minute": 12.0,
        "most_common_errors": [["ConnectionError", 12]],
        "errors_by_category": {c.value: 12 if c is ErrorCategory.MEMORY else 0 for c in ErrorCategory},
        "errors_by_severity": {"low": 0, "medium": 0, "high": 0, "critical": 12},
        "errors_by_function": {"engine:render": 12},
        "incidents": 0,
        "resolved_incidents": 0,
        "recovery_rate": 1.0,
    }
    assert [error["error_message"] for error in critical] == [f"oom {number}" for number in range(2, 12)]
    assert patterns == [
        {
            "kind": "burst",
            "summary": "burst: 12 errors in 1 min, up to now (usual: 0 a minute)",
            "errors": 12,
            "minutes": 1,
            "ended": 0.0,
            "usual": 0,
        }
    ]


def test_repr(analytics):
    """
    A repr tells how many, how fast and how it ended.
    """
    fail(analytics, 2)
    analytics.incident(1, resolved=True, final=True)

    assert repr(analytics) == "<ErrorAnalytics: 2 errors, 2 a minute, <Incidents: 1 of 1 resolved>>"


# -- Cost -----------------------------------------------------------------------


@pytest.mark.parametrize("hand", [False, True])
def test_a_thousand_errors_fit_in_half_a_megabyte(hand):
    """
    1,000 errors of 100 characters, with everything around them, take at most 500 KiB.
    """
    gc.collect()
    tracemalloc.start()
    try:
        analytics = ErrorAnalytics()
        for number in range(1_000):
            message = f"{number:0100}"
            if hand:
                analytics.record_error(error_info(timestamp=datetime.now(UTC), error_message=message))
            else:
                fail(analytics, message=message)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert len(analytics.error_history) == 1_000
    assert taken <= 500 * 1024


def test_recording_is_cheap():
    """
    A failure is recorded in a few microseconds at worst, so that a slow machine passes too.
    """
    record = ErrorAnalytics().record

    def seconds():
        before = time.thread_time()
        for _ in range(2_000):
            record("f", "E", "m", ErrorCategory.NETWORK, ErrorSeverity.LOW)
        return (time.thread_time() - before) / 2_000

    assert min(seconds() for _ in range(5)) < 5e-6
