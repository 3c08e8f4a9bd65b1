"""
Log entries: when, how loud, with which keys, and that they never harm a call.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import json
import logging
import re
import subprocess
import sys
import threading
import warnings
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
import structlog

from resilient import DegradationLevel, Registry, circuit, events, logs, retry
from resilient.errorinfo import ErrorCategory, ErrorInfo, ErrorSeverity
from resilient.errors import ResilientWarning

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "logging.md"
AT = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def unconfigured(monkeypatch):
    """
    Give logging as in a program that has configured nothing: pytest's own handlers are out of the way.
    """
    logger = logging.getLogger("resilient")
    root = logging.RootLogger(logging.WARNING)
    monkeypatch.setattr(logger, "parent", root)
    monkeypatch.setattr(logs, "_root", root)
    monkeypatch.setattr(logger, "handlers", list(logger.handlers))
    yield root
    structlog.reset_defaults()
    logger.setLevel(logging.NOTSET)
    logger.propagate, logger.disabled = True, False


@pytest.fixture
def registry(clock):
    """
    Give a registry whose clock stands still.
    """
    return Registry("mine", clock=clock)


@pytest.fixture
def entries():
    """
    What a configured structlog writes, parsed.
    """
    written = []

    def write(logger, method, entry):
        written.append(json.loads(json.dumps(entry)))
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.processors.add_log_level, write])
    return written


class Kept(logging.Handler):
    """
    A handler that keeps records.
    """

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


def failing(registry, error=None, **options):
    """
    Return a function on *registry* that fails twice at every call.
    """

    @retry(registry=registry, **{"max_attempts": 2, "jitter": False, **options})
    def render(*args, **kwargs):
        raise error or ConnectionError("down")

    return render


def call(fn, *args, **kwargs):
    """
    Call *fn*, whatever it raises.
    """
    with contextlib.suppress(Exception):
        fn(*args, **kwargs)


def of(entries, name):
    """
    Return the entries of one event.
    """
    return [entry for entry in entries if entry["event"] == name]


# -- silence -----------------------------------------------------------------------


def test_an_unconfigured_program_hears_nothing():
    """
    Without any configuration nothing is printed, and structlog is not imported.
    """
    program = """
import sys
from resilient import Registry, retry

registry = Registry()
registry.on(lambda event: 1 / 0)

@retry(initial_delay=0.0, registry=registry)
def render():
    raise ConnectionError("down")

try:
    render()
except ConnectionError:
    pass
assert "structlog" not in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert (result.stdout, result.stderr) == ("", "")


def test_structlog_that_is_only_imported_prints_nothing(registry, capsys):
    """
    Structlog's defaults, which print to stdout, are not used.
    """
    call(failing(registry))
    out, err = capsys.readouterr()

    assert (out, err) == ("", "")


def test_no_event_is_built_for_a_silent_log(registry, monkeypatch):
    """
    While nobody logs and nobody listens, no event object is made.
    """

    def build(*args, **kwargs):
        raise AssertionError("built")

    monkeypatch.setattr(events.AttemptFailed, "__init__", build)
    monkeypatch.setattr(events.OperationFailed, "__init__", build)
    with pytest.raises(ConnectionError):
        failing(registry)()

    assert not any(logs.wanted(kind) for kind in logs.LEVELS)


def test_handlers_that_were_taken_away_leave_silence(registry, capsys):
    """
    The standard library's handler of last resort does not speak for us.
    """
    logging.getLogger("resilient").handlers.clear()
    call(failing(registry))

    assert tuple(capsys.readouterr()) == ("", "")


def test_a_half_imported_structlog_is_not_asked(registry, monkeypatch):
    """
    While another thread imports structlog, calls fail as themselves.
    """
    monkeypatch.setitem(sys.modules, "structlog", ModuleType("structlog"))
    with pytest.raises(ConnectionError):
        failing(registry)()

    assert not logs.wanted(events.OperationFailed)


# -- the standard library --------------------------------------------------------------


@pytest.mark.parametrize("where", ["resilient", "root"])
def test_a_handler_gets_a_line_and_the_data(registry, where):
    """
    A record has a readable message, the event's level, and everything as data in its attribute ``resilient``.
    """
    handler = Kept()
    logger = logging.getLogger("resilient")
    (logger if where == "resilient" else logger.parent).addHandler(handler)
    call(failing(registry, OSError("disk full")))
    record = handler.records[-1]

    assert ["WARNING", "ERROR"][-len(handler.records) :] == [one.levelname for one in handler.records]
    assert record.getMessage().startswith("resilient.operation.failed operation=")
    assert ' error_message="disk full" ' in record.getMessage()
    assert (
        record.name,
        record.resilient["event"],
        record.resilient["error_type"],
        record.resilient["attempts"],
    ) == ("resilient", "resilient.operation.failed", "OSError", 1)


def test_levels_of_the_logger_hold(registry):
    """
    What the logger's level keeps out is not built, and a changed level holds at once.
    """
    logger = logging.getLogger("resilient")
    logger.addHandler(Kept())
    heard = []
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        logger.setLevel(level)
        heard.append(sum(logs.wanted(kind) for kind in logs.LEVELS))
    logger.setLevel(logging.DEBUG)
    logger.disabled = True
    heard.append(sum(logs.wanted(kind) for kind in logs.LEVELS))

    assert heard == [16, 14, 8, 2, 0, 0]


def test_a_logger_that_does_not_propagate_leaves_the_root_alone(unconfigured):
    """
    Root handlers count only while the logger hands records up.
    """
    unconfigured.addHandler(Kept())
    heard = [logs.wanted(events.OperationFailed)]
    logging.getLogger("resilient").propagate = False
    heard.append(logs.wanted(events.OperationFailed))

    assert heard == [True, False]


def test_successes_are_never_logged(entries):
    """
    A log does not make every call a planned one.
    """
    logging.getLogger("resilient").addHandler(Kept())
    logging.getLogger("resilient").setLevel(logging.DEBUG)
    with_structlog = logs.wanted(events.CallSucceeded)
    structlog.reset_defaults()

    assert (with_structlog, logs.wanted(events.CallSucceeded)) == (False, False)


# -- structlog -----------------------------------------------------------------------------


def test_a_configured_structlog_gets_every_event(registry, entries):
    """
    Entries have stable dotted names, levels, and the event's values.
    """
    call(failing(registry))

    assert [(entry["level"], entry["event"]) for entry in entries] == [
        ("debug", "resilient.attempt.failed"),
        ("info", "resilient.retry.scheduled"),
        ("debug", "resilient.attempt.failed"),
        ("warning", "resilient.retry.exhausted"),
        ("error", "resilient.operation.failed"),
    ]
    scheduled = entries[1]
    del scheduled["operation"], scheduled["function"]
    assert scheduled == {
        "event": "resilient.retry.scheduled",
        "level": "info",
        "attempt": 1,
        "delay": 1.0,
        "error_type": "ConnectionError",
        "error_message": "down",
        "error_category": "network",
        "error_severity": "high",
    }


def test_capture_logs_captures(registry):
    """
    Structlog's own help for tests sees our entries.
    """
    with structlog.testing.capture_logs() as captured:
        call(failing(registry))

    assert "resilient.operation.failed" in [entry["event"] for entry in captured]


def test_a_configuration_is_followed_as_it_changes(registry, entries):
    """
    An application may configure structlog, and take that back, at any time.
    """
    render = failing(registry, max_attempts=1)
    call(render)
    before = len(entries)
    structlog.reset_defaults()
    call(render)

    assert (before, len(entries)) == (3, 3)


async def test_an_async_logger_is_used_through_its_sync_one(registry, entries):
    """
    With structlog's async wrapper nothing is left unawaited.
    """
    structlog.configure(wrapper_class=structlog.stdlib.AsyncBoundLogger)
    call(failing(registry, max_attempts=1))

    assert len(entries) == 3


def test_circuits_and_levels_are_logged(registry, entries):
    """
    What happens outside of calls is logged as well; a service level is told by its name.
    """
    registry.circuit("gpu").isolate()
    registry.degradation.degrade("too hot")
    opened, changed = entries

    assert (opened["event"], opened["circuit"], opened["reason"]) == ("resilient.circuit.opened", "gpu", "isolated")
    assert (
        changed["event"],
        changed["level"],
        changed["service_level"],
        changed["previous"],
        changed["reason"],
    ) == ("resilient.level.changed", "warning", "high", "full", "too hot")


def test_a_breaker_that_stands_alone_is_logged(entries):
    """
    Circuits without a registry report to the log, too.
    """
    from resilient import CircuitBreaker

    CircuitBreaker("alone").isolate()

    assert [entry["circuit"] for entry in entries] == ["alone"]


# -- what is in an entry -------------------------------------------------------------------


def test_secrets_and_escapes_do_not_reach_a_log(registry, entries):
    """
    Messages and names are redacted and escaped, and cut.
    """
    message = "https://bob:hunter2@host/ Bearer abcdef123456 \x1b[31m\n\x00\u202e\ud800 " + "x" * 5000
    call(failing(registry, ConnectionError(message)))
    registry.circuit("sk-abcdefghij\x1b[2J").isolate()
    text = json.dumps(entries, ensure_ascii=False)

    assert not [one for one in ("hunter2", "abcdef123456", "sk-abc", "\x1b", "\x00", "\u202e", "\ud800") if one in text]
    assert r"\\x1b[31m\\n\\x00\\u202e\\ud800" in text
    assert max(len(entry.get("error_message", "")) for entry in entries) <= 2100


def test_arguments_are_not_logged(registry, entries):
    """
    Neither a call's arguments nor what a recovery step changed them to is in any entry.
    """
    call(failing(registry), "hidden 1", password="hidden 2")
    logs.log_event(
        events.RecoveryRun(
            at=AT, step="use_backup", applied=True, success=None, error=None, changes={"url": ("hidden 3", "hidden 4")}
        )
    )

    assert "hidden" not in json.dumps(entries)
    assert entries[-1] == {
        "event": "resilient.recovery.run",
        "level": "info",
        "step": "use_backup",
        "applied": True,
    } | {"changed": ["url"]}


def test_values_are_ready_for_json(entries):
    """
    Enumerations, errors, mappings and odd numbers become plain values; None is left out.
    """
    changes = {"queue": float("inf"), "ratio": 0.5, "nested": {"a": (1, None)}, "odd": object}
    logs.log_event(
        events.LevelChanged(
            at=AT,
            scope="video",
            previous=DegradationLevel.FULL,
            level=DegradationLevel.LOW,
            reason="load",
            by="trigger",
            changes=changes,
        )
    )

    assert entries == [
        {
            "event": "resilient.level.changed",
            "level": "warning",
            "scope": "video",
            "previous": "full",
            "service_level": "low",
            "reason": "load",
            "by": "trigger",
            "changes": {"queue": "inf", "ratio": 0.5, "nested": {"a": [1, None]}, "odd": "<class 'object'>"},
        }
    ]


def sample(kind):
    """
    Return an event of *kind* in which everything is known.
    """
    names = [field.name for field in dataclasses.fields(kind)]
    error = ErrorInfo(AT, "OSError", "no", ErrorCategory.SYSTEM, ErrorSeverity.LOW)
    special = {"error": error, "changes": {"a": 1.0}, "level": DegradationLevel.LOW, "previous": DegradationLevel.FULL}
    return kind(**{name: special.get(name, name) for name in names if name != "at"}, at=AT)


def test_the_page_tells_what_is_logged(entries):
    """
    The table of the page has each event with the level and the keys that the code writes.
    """
    rows = re.findall(
        r"^\| `(resilient\.[a-z_.]+)` \| (\w+) \| (.*?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    for kind in logs.LEVELS:
        logs.log_event(sample(kind))
    written = [
        (entry["event"], entry["level"], [key for key in entry if key not in {"event", "level"}]) for entry in entries
    ]

    assert written == [(name, level, re.findall(r"`(\w+)`", listed)) for name, level, listed in rows]
    assert [list(logs.keys(kind)) for kind in logs.LEVELS] == [listed for _, _, listed in written]


def test_every_event_but_success_is_logged():
    """
    No class of events is forgotten.
    """
    bases = {events.Event, events.CircuitEvent}
    kinds = {one for one in vars(events).values() if isinstance(one, type) and issubclass(one, events.Event)}

    assert kinds - bases - {events.CallSucceeded} == set(logs.LEVELS) - {
        logs.HookFailed,
        logs.DeclarationsChanged,
        logs.DeclarationsRefused,
    }


# -- harm ------------------------------------------------------------------------------------


class Broken(logging.Handler):
    def emit(self, record):
        raise OSError("disk full")


def test_a_broken_handler_does_not_harm_a_call(registry):
    """
    A handler that raises changes nothing about the call.
    """
    logging.getLogger("resilient").addHandler(Broken())
    with pytest.raises(ConnectionError, match="down"):
        failing(registry)()

    assert registry.analytics.total_errors == 2


def test_a_broken_structlog_does_not_harm_a_call(registry):
    """
    A closed output and a processor that raises change nothing about the call.
    """
    stream = io.StringIO()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(stream))
    stream.close()
    with pytest.raises(ConnectionError, match="down"):
        failing(registry)()

    assert registry.analytics.total_errors == 2


def test_a_slow_log_is_warned_about_once(registry):
    """
    Whoever logs slowly delays calls, and hears of it.
    """
    clock = registry.hub.clock

    def slow(logger, method, entry):
        clock.advance(1.0)
        raise structlog.DropEvent

    structlog.configure(processors=[slow])
    render = failing(registry)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(render)
        call(render)

    assert [(one.category, "log_event took 1 s" in str(one.message)) for one in caught] == [(ResilientWarning, True)]


def test_a_handler_under_policies_does_not_log_itself(registry):
    """
    A log handler that calls decorated functions which fail ends, and other threads go on logging.
    """
    heard = []
    send = failing(registry, max_attempts=1)

    def ship(logger, method, entry):
        heard.append(entry["event"])
        call(send)
        thread = threading.Thread(target=lambda: heard.append(logs.wanted(events.OperationFailed)))
        thread.start()
        thread.join()
        raise structlog.DropEvent

    structlog.configure(processors=[ship])
    call(send)

    names = ["resilient.attempt.failed", "resilient.retry.exhausted", "resilient.operation.failed"]
    assert [one for name in names for one in (name, True)] == heard


def test_a_failing_listener_is_logged_once(registry, entries):
    """
    What a listener raises is told once, with the line that raised and without secrets.
    """

    def listen(event):
        raise ValueError("token=hunter2")

    registry.on(listen)
    call(failing(registry))
    (entry,) = of(entries, "resilient.hook.failed")

    assert (entry["level"], entry["error_type"], entry["error_message"]) == ("error", "ValueError", "token=[redacted]")
    assert "listen" in entry["hook"]
    assert re.fullmatch(rf"{re.escape(__file__)}:\d+", entry["where"])


def test_a_hook_that_failed_without_a_traceback_is_logged(entries):
    """
    An error that was never raised has no line to tell.
    """
    logs.hook_failed("signal", ValueError("odd"), AT)
    structlog.reset_defaults()
    logs.hook_failed("nobody hears", ValueError("odd"), AT)

    assert [(one["hook"], one["error_message"], "where" in one) for one in entries] == [("signal", "odd", False)]


def test_circuit_transitions_in_calls_name_the_function(registry, entries):
    """
    An entry about a circuit that a call has opened tells which call that was.
    """

    @circuit("gpu", failure_threshold=1, registry=registry)
    def render():
        raise ConnectionError("down")

    call(render)
    (opened,) = of(entries, "resilient.circuit.opened")

    assert (render.resilience.pipeline.name, "down") == (opened["function"], opened["error_message"])


def test_structlog_is_imported_by_no_module_at_its_top():
    """
    The import of structlog stands inside the functions that need it.
    """
    tree = ast.parse(Path(logs.__file__).read_text(encoding="utf-8"))
    imported = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]

    assert "structlog" not in imported
