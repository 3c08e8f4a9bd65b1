"""
Faults 33, 34 and 46: users' code beside a call that fails (33), fallbacks that fail (34), logs that do (46).
"""

from __future__ import annotations

import errno
import functools
import logging
import subprocess
import warnings
from pathlib import Path

import pytest
import structlog

from resilient import (
    CircuitBreakerOpenError,
    Fallback,
    FallbackChainExhaustedError,
    ResilientWarning,
    circuit,
    degradable,
    fallback_chain,
    recoverable,
    retry,
)
from resilient.events import AttemptFailed, CircuitOpened
from tests.harness import caught, python, script
from tests.workshop import EXPECTED, Workshop

# -- row 33: broken and slow listeners ---------------------------------------------------------------------


def reported(caplog):
    """
    Return what was logged of user code that raised.
    """
    told = [record.getMessage() for record in caplog.records]
    return [one for one in told if "hook.failed" in one or "does not apply" in one]


def _broken(*args, **kwargs):
    msg = "broken"
    raise ZeroDivisionError(msg)


BROKEN = {
    "on": lambda registry, colour: retry(on=_broken, initial_delay=0.0, registry=registry),
    "on_result": lambda registry, colour: retry(on_result=_broken, initial_delay=0.0, registry=registry),
    "wait": lambda registry, colour: retry(wait=_broken, registry=registry),
    "stop": lambda registry, colour: retry(stop=_broken, initial_delay=0.0, registry=registry),
    "retry": lambda registry, colour: retry(retry=_broken, initial_delay=0.0, registry=registry),
    "before_sleep": lambda registry, colour: retry(before_sleep=_broken, initial_delay=0.0, registry=registry),
    "counts": lambda registry, colour: circuit("c", counts=_broken, registry=registry),
    "ignore": lambda registry, colour: circuit("c", ignore=_broken, registry=registry),
    "listeners": lambda registry, colour: circuit("c", failure_threshold=1, listeners=[Loud()], registry=registry),
    "chain on": lambda registry, colour: fallback_chain(script(1), on=_broken, registry=registry),
    "entry on": lambda registry, colour: fallback_chain(Fallback(script(1), on=_broken), registry=registry),
    "when": lambda registry, colour: fallback_chain(Fallback(script(1), when=_broken), registry=registry),
    "rule": lambda registry, colour: degradable(quality=_broken, registry=registry),
}


class Loud:
    """
    A pybreaker listener that raises whatever it is told.
    """

    before_call = success = failure = state_change = _broken


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("fails", [True, False])
def test_row_33_a_broken_option_leaves_the_call_as_it_is(colour, registry, caplog, name, fails):
    """
    A predicate, strategy, listener, condition or rule that raises is logged once; value and error arrive as themselves.
    """
    error = ConnectionError("mine")
    registry.degradation.degrade("all is rules")

    @BROKEN[name](registry, colour)
    @colour.of
    def call(quality=1.0):
        if fails:
            raise error
        return quality

    for _ in range(3):
        registry.circuit("c").close()
        outcome = colour.outcome(call)

        assert outcome.error is (error if fails else None)
        assert outcome.value == (None if fails else 1.0)
    kinds = 4 if name == "listeners" else 1

    assert len(reported(caplog)) == len(set(reported(caplog))) <= kinds
    assert all("ZeroDivisionError" in one and "broken" in one for one in reported(caplog))
    heard = {"on_result", "retry", "rule", "listeners"} if not fails else BROKEN.keys() - {"on_result"}
    assert bool(reported(caplog)) is (name in heard)


def test_row_33_a_listener_that_raises_is_logged_once(colour, registry, caplog):
    """
    Listeners after a broken one are told all the same, and the call ends as it would have.
    """
    told = []
    registry.on(_broken)
    registry.on(told.append)
    call = retry(max_attempts=2, initial_delay=0.0, registry=registry)(colour.of(script(ConnectionError())))
    errors = [type(colour.outcome(call).error) for _ in range(3)]

    assert errors == [ConnectionError] * 3
    assert [type(event) for event in told].count(AttemptFailed) == 6
    assert [one for one in reported(caplog) if "_broken" in one] == reported(caplog)
    assert len(reported(caplog)) == 1


def test_row_33_a_listener_that_raises_what_is_no_exception_passes(colour, registry):
    """
    Ctrl-C within a listener leaves at once, and deliveries go on with the next call.
    """
    strikes = [KeyboardInterrupt()]

    def strike(event):
        if strikes:
            raise strikes.pop()
        told.append(type(event))

    told = []
    registry.on(strike, events=(CircuitOpened, AttemptFailed))
    call = circuit("api", failure_threshold=1, registry=registry)(colour.of(script(ConnectionError())))
    with pytest.raises(KeyboardInterrupt):
        colour.call(call)
    registry.circuit("api").close()
    colour.outcome(call)

    assert CircuitOpened in told


def test_row_33_a_slow_listener_is_warned_about_once(colour, clock, registry):
    """
    A listener that takes its time delays the calls that it is told of, and is named in one warning.
    """
    registry.on(lambda event: clock.advance(5.0), events=AttemptFailed)
    call = circuit("api", failure_threshold=9, registry=registry)(colour.of(script(ConnectionError())))
    steady = retry(initial_delay=0, registry=registry)(colour.of(script(ConnectionError(), ConnectionError(), "done")))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        told = [type(colour.outcome(call).error) for _ in range(3)]
        value = colour.call(steady)

    assert (told, value) == ([ConnectionError] * 3, "done")
    assert [one.category for one in warned] == [ResilientWarning]
    assert "took 5 s" in str(warned[0].message)
    assert "delayed the call" in str(warned[0].message)


def test_row_33_a_slow_listener_where_warnings_are_errors(colour, clock, registry, caplog):
    """
    A warning that is turned into an error does not reach the call either: it is logged.
    """
    registry.on(lambda event: clock.advance(5.0), events=AttemptFailed)
    call = circuit("api", failure_threshold=9, registry=registry)(colour.of(script(ConnectionError())))
    told = [type(colour.outcome(call).error) for _ in range(3)]

    assert told == [ConnectionError] * 3
    assert len(reported(caplog)) == 1


def test_row_33_classifier_rules_that_raise(colour, registry, caplog):
    """
    A predicate of the classifier that raises is logged once; the error is of unknown kind, and arrives as itself.
    """
    registry.classifier.add(_broken, "model", transient=True)
    call = retry(max_attempts=2, initial_delay=0.0, registry=registry)(colour.of(script(ConnectionError())))
    outcomes = [colour.outcome(call) for _ in range(3)]

    assert {(type(one.error), one.attempts) for one in outcomes} == {(ConnectionError, 1)}
    assert [one.category.value for one in registry.analytics.error_history] == ["unknown"] * 3
    assert len(reported(caplog)) == 1


def test_row_33_playbook_steps_that_raise(colour, registry, caplog):
    """
    A step that raises is logged once and does not apply; the next one does.
    """
    registry.playbooks.step("memory", name="broken", before="clear_cache")(_broken)
    cache = {}
    registry.playbooks.provide(caches=[cache])
    left = []

    @recoverable(registry=registry)
    @colour.of
    def call():
        if left.pop():
            raise MemoryError
        return "well"

    routes = []
    for _ in range(3):
        left[:] = [False, True]
        cache[1] = 1
        routes.append(colour.outcome(call).route)

    assert routes == ["recovery:clear_cache"] * 3
    assert len(reported(caplog)) == 1


def test_row_33_signals_of_the_service_level_that_raise(colour, registry, caplog):
    """
    A user's signal that raises leaves level and call alone, and is logged once.
    """
    registry.degradation.add_signal("queue", _broken, 10)
    call = circuit("api", failure_threshold=99, registry=registry)(colour.of(script(ConnectionError())))
    told = []
    for _ in range(4):
        told.append(type(colour.outcome(call).error))
        registry.degradation.evaluate()

    assert told == [ConnectionError] * 4
    assert registry.degradation.current_level == "full"
    assert len([one for one in reported(caplog) if "ZeroDivisionError" in one]) == 1


def test_row_33_everything_that_can_break_is_broken(colour, registry, caplog):
    """
    Listeners, predicates, conditions, rules, classifiers and playbook steps at once: each logged once, and ignored.
    """
    registry.on(_broken)
    registry.classifier.add(_broken, "network")
    registry.playbooks.step("network", name="broken", before="retry_connection")(_broken)
    registry.degradation.set_level("low")

    def stand_in(steps=1):
        return "instead"

    @colour.of
    def work(steps=1):
        raise ConnectionError("mine")

    entries = [Fallback(stand_in, "first", when=_broken), Fallback(stand_in, "second", on=_broken), stand_in]
    fn = circuit("c", ignore=_broken, registry=registry)(work)
    fn = retry(max_attempts=2, before_sleep=_broken, on=_broken, registry=registry)(fn)
    fn = recoverable(registry=registry)(fn)
    fn = fallback_chain(*entries, registry=registry)(fn)
    fn = degradable(steps=_broken, registry=registry)(fn)
    for _ in range(3):
        assert colour.call(fn) == "instead"

    messages = [record.getMessage() for record in caplog.records if "ZeroDivisionError" in record.getMessage()]
    assert len(messages) >= 6
    assert len(messages) == len(set(messages))


# -- row 34: fallback chains ----------------------------------------------------------------------------------


def test_row_34_an_exhausted_chain_tells_all(colour, registry):
    """
    When all fail, the error comes from the primary's, has all errors in order, and both tracebacks can be read.
    """
    errors = [ConnectionError("one"), ValueError("two"), KeyError("three")]
    entries = [colour.of(script(one)) for one in errors[1:]]
    call = fallback_chain(*entries, registry=registry)(colour.of(script(errors[0])))
    with pytest.raises(FallbackChainExhaustedError) as raised:
        colour.call(call)

    assert raised.value.errors == tuple(errors)
    assert raised.value.__cause__ is errors[0]
    assert all(one.__traceback__ is not None for one in errors)
    assert "3 offers failed (ConnectionError, ValueError, KeyError)" in str(raised.value)
    assert registry.analytics.total_errors == 3


@pytest.mark.parametrize("value", [None, False, 0, "", NotImplemented])
def test_row_34_any_value_of_a_fallback_is_a_result(colour, registry, value):
    """
    What a fallback returns is the result, None and its kind too; the entries after it are not called.
    """
    never = script(ValueError("never"))
    primary = script(ConnectionError())
    call = fallback_chain(script(value), never, registry=registry)(colour.of(primary))

    assert colour.call(call) is value
    assert (primary.calls, never.calls) == (1, 0)
    assert call.resilience.stats().recovered == 1


def test_row_34_what_is_no_exception_leaves_a_chain_at_once(colour, registry):
    """
    Ctrl-C in the primary or in a fallback is not stood in for.
    """
    second = script(ValueError("second"))
    for entries, primary in (
        ((second,), script(KeyboardInterrupt())),
        ((script(KeyboardInterrupt()), second), script(ConnectionError())),
    ):
        call = fallback_chain(*entries, registry=registry)(colour.of(primary))
        with pytest.raises(KeyboardInterrupt):
            colour.call(call)

    assert second.calls == 0


def test_row_34_an_entry_that_raises_the_primarys_own_error(colour, registry):
    """
    One instance raised by all makes no circle of causes.
    """
    error = ConnectionError("the same")
    call = fallback_chain(script(error), script(error), registry=registry)(colour.of(script(error)))
    for _ in range(3):
        with pytest.raises(FallbackChainExhaustedError) as raised:
            colour.call(call)

        assert raised.value.errors == (error, error, error)
        assert raised.value.__cause__ is error
        assert error.__cause__ is None


def test_row_34_an_exhausted_chain_within_a_chain(colour, registry):
    """
    An inner chain's exhaustion is stood in for as any error is, and kept with its own errors.
    """
    inner = fallback_chain(script(ValueError("b")), registry=registry)(colour.of(script(ConnectionError("a"))))
    outer = fallback_chain(script(KeyError("c")), registry=registry)(functools.partial(inner))
    error = colour.outcome(outer).error

    assert [type(one) for one in error.errors] == [FallbackChainExhaustedError, KeyError]
    assert [type(one) for one in error.errors[0].errors] == [ConnectionError, ValueError]


# -- row 46: logs that cannot be written --------------------------------------------------------------------------


def _full_disk(record):
    raise OSError(errno.ENOSPC, "No space left on device")


class _Full:
    """
    A stream on a disk that is full.
    """

    def write(self, text):
        _full_disk(None)

    flush = close = lambda self: None


def _handlers():
    raises, level = logging.Handler(), logging.Handler(level=logging.DEBUG)
    raises.emit = _full_disk
    level.handle = _full_disk
    breaks = logging.StreamHandler(_Full())
    # Also what logging itself does about an error raises here.
    breaks.handleError = _full_disk
    return [raises, level, breaks]


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("level", [logging.DEBUG, logging.WARNING])
def test_row_46_a_log_handler_that_raises_harms_no_call(colour, registry, number, level):
    """
    A full disk below the log changes neither results, nor errors, nor what the circuit and the playbook do.
    """
    handler = _handlers()[number]
    logger = logging.getLogger("resilient")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    registry.playbooks.step("network", name="broken", before="retry_connection")(_broken)
    registry.on(_broken)
    error = KeyError("mine")
    opens = circuit("opens", failure_threshold=1, registry=registry)(colour.of(script(error)))
    try:
        workshop = Workshop(colour, registry)
        told = [workshop.work(), workshop.work()]
        errors = [caught(colour.call, opens), caught(colour.call, opens)]
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)

    assert told == [EXPECTED, EXPECTED]
    assert errors[0] is error
    assert type(errors[1]) is CircuitBreakerOpenError


def test_row_46_a_structlog_processor_that_raises_harms_no_call(colour, registry):
    """
    The same holds where the application configured structlog.
    """

    def process(logger, name, entry):
        told.append(entry["event"])
        _full_disk(entry)

    told = []
    structlog.configure(processors=[process])
    try:
        workshop = Workshop(colour, registry)

        assert workshop.work() == EXPECTED
    finally:
        structlog.reset_defaults()

    assert "resilient.fallback.used" in told


NO_STREAMS = """
import logging, os, sys
from resilient import Registry, circuit, fallback_chain, recoverable, retry
from resilient.testing import FakeClock

result = os.dup(1)
logging.basicConfig(level=logging.DEBUG)
clock = FakeClock()
registry = Registry(clock=clock)

@fallback_chain(lambda: "stand-in", registry=registry)
@recoverable
@retry(max_attempts=2, initial_delay=0.0)
@circuit("api", failure_threshold=3)
def call():
    raise ConnectionError("down")

def broken(event):
    raise ValueError("broken")

def slow(event):
    clock.advance(0.11)
    unsubscribe()

registry.on(broken)
unsubscribe = registry.on(slow)
told = [call()]
{harm}
told += [call(), call(), registry.health().status]
os.write(result, " ".join(told).encode())
{end}
"""


@pytest.mark.parametrize(
    ("harm", "end"),
    [
        ("sys.stderr.close()", "sys.exit()"),
        ("sys.stderr.close(); sys.stdout.close()", "os._exit(0)"),
        ("sys.stderr = sys.stdout = None", "os._exit(0)"),
        ("os.close(2); os.close(1)", "os._exit(0)"),
        ("sys.stderr = open('/dev/full', 'w')" if Path("/dev/full").exists() else "sys.stderr = None", "os._exit(0)"),
    ],
)
def test_row_46_a_closed_stderr_harms_no_call(harm, end):
    """
    Without stderr, calls, listeners that raise and the warning of a slow one go on.
    """
    program = NO_STREAMS.replace("{harm}", harm).replace("{end}", end)
    told, _ = python("-c", program, stderr=subprocess.DEVNULL)

    assert told == "stand-in stand-in stand-in warn"
