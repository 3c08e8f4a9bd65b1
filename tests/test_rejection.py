"""
Calls that an open circuit turns away at once, where nobody but their caller hears of it.
"""

from __future__ import annotations

import copy
import gc
import os
import pickle
import threading
import weakref
from contextlib import suppress

import pytest

from resilient import (
    CircuitBreakerConfig,
    CircuitBreakerOpenError,
    CircuitState,
    Registry,
    circuit,
    degradable,
    recoverable,
    retry,
)
from resilient.events import CallRejected
from resilient.testing import FakeClock, disabled

PATIENCE = 30.0


class Jumping(FakeClock):
    """
    A clock that goes backwards, too.
    """

    def jump(self, seconds):
        self._time += seconds


@pytest.fixture(autouse=True)
def quiet_log(monkeypatch):
    """
    Keep pytest's own log handlers from being somebody who wants to hear of failures.
    """
    monkeypatch.setattr("resilient.delivery.wanted", lambda _: False)


@pytest.fixture
def fn(colour, registry):
    """
    Return a function behind an open circuit "c" that opens after 60 seconds.
    """
    fn = circuit("c", registry=registry, success_threshold=1)(colour.of(lambda *_: "value"))
    registry.circuits["c"].state = "open"
    return fn


def rejection(colour, fn, *args):
    """
    Return the rejection that a call ends in.
    """
    with pytest.raises(CircuitBreakerOpenError) as caught:
        colour.drive(fn, *args)
    return caught.value


# -- the error ---------------------------------------------------------------------


def test_a_rejection_has_one_frame_of_ours_and_no_context(colour, fn):
    """
    A rejection is a fresh error each time, with nothing hanging on it.
    """
    first, second = rejection(colour, fn), rejection(colour, fn)
    frames, at = [], second.__traceback__
    while at is not None:
        frames.append(at.tb_frame)
        at = at.tb_next
    ours = [one.f_code.co_name for one in frames if one.f_globals["__name__"].startswith("resilient.")]

    assert first is not second
    assert ours == ["guard"]
    assert (second.__cause__, second.__context__) == (None, None)


def test_a_rejection_goes_with_its_caller(colour, fn):
    """
    Neither the error nor the call's arguments are kept alive by a cycle.
    """

    class Tensor:
        """
        Something that one wants to be rid of.
        """

    gc.collect()
    gc.disable()
    try:
        tensor = Tensor()
        alive = [weakref.ref(tensor)]
        try:
            colour.drive(fn, tensor)
        except CircuitBreakerOpenError as error:
            alive.append(weakref.ref(error))
        del tensor
        found = [one() for one in alive]
    finally:
        gc.enable()

    assert found == [None, None]


@pytest.mark.parametrize("isolated", [False, True])
def test_a_rejection_at_once_says_what_a_planned_one_says(colour, isolated):
    """
    Whoever listens, the caller gets the same error, and the same is counted.
    """
    seen = []
    for listens in (False, True):
        registry = Registry(clock=Jumping())
        told = []
        if listens:
            registry.on(told.append, CallRejected)

        def fails(steps=1):
            raise OSError("down")

        stack = circuit("c", registry=registry, failure_threshold=1, open_for=40.0)(colour.of(fails))
        stack = degradable(recoverable(retry(registry=registry, max_attempts=1)(stack)))
        with pytest.raises(OSError, match="down"):
            colour.drive(stack)
        breaker = registry.circuits["c"]
        if isolated:
            breaker.isolate()
        registry.hub.clock.jump(10.0)
        error = rejection(colour, stack)
        stats = stack.resilience.stats()
        seen.append((type(error), str(error), error.args, stats, breaker.get_state(), registry.health().to_dict()))

        assert len(told) == listens

    planned, at_once = seen
    assert planned == at_once
    assert at_once[2] == ("c", None if isolated else 30.0, "OSError: down")


def test_rejections_are_made_by_position_or_by_keyword():
    """
    However it was made, the error has all three arguments, and tells them.
    """
    errors = [
        CircuitBreakerOpenError("api", 5.0, "gone"),
        CircuitBreakerOpenError(name="api", retry_after=5.0, last_error="gone"),
        CircuitBreakerOpenError("api", last_error="gone", retry_after=5.0),
    ]

    assert [(one.name, one.retry_after, one.last_error) for one in errors] == [("api", 5.0, "gone")] * 3
    assert [repr(one) for one in errors] == ["CircuitBreakerOpenError('api', 5.0, 'gone')"] * 3
    assert CircuitBreakerOpenError("api").args == ("api", None, None)
    with pytest.raises(TypeError, match="name"):
        CircuitBreakerOpenError()


def test_raised_rejections_travel(colour, fn):
    """
    A rejection that a circuit has raised can be copied, pickled, and given a note.
    """
    error = rejection(colour, fn)
    error.add_note("while rendering")
    there = [copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))]

    assert [(type(one), one.name, one.retry_after, one.last_error) for one in there] == [
        (CircuitBreakerOpenError, "c", 60.0, None)
    ] * 3
    assert error.__notes__ == ["while rendering"]


def test_rejections_may_be_errors_of_another_kind_too():
    """
    A class may be a rejection and something else of Python's own.
    """

    class AwayError(CircuitBreakerOpenError, ConnectionError):
        """
        Both.
        """

    assert AwayError("api", 5.0).retry_after == 5.0


# -- the right calls at the right time --------------------------------------------------


def test_the_call_after_the_open_time_probes(colour, fn, registry, clock):
    """
    Each rejection says what is left; when nothing is, the call is made, and its success closes.
    """
    waits = []
    for seconds in (20.0, 39.5, 0.499):
        clock.advance(seconds)
        waits.append(rejection(colour, fn).retry_after)
    clock.advance(0.001)

    assert waits == pytest.approx([40.0, 0.5, 0.001])
    assert colour.drive(fn) == "value"
    assert registry.circuits["c"].state is CircuitState.CLOSED


def test_a_clock_that_goes_back_makes_the_wait_longer(colour):
    """
    The wait is what is left by the clock, whichever way it went.
    """
    registry = Registry(clock=Jumping())
    fn = circuit("c", registry=registry)(colour.of(lambda: "value"))
    registry.circuits["c"].state = "open"
    registry.hub.clock.jump(-100.0)

    assert rejection(colour, fn).retry_after == 160.0


def test_a_busy_half_open_circuit_is_asked(colour, fn, registry, clock):
    """
    A circuit whose probe is under way turns calls away too, and counts them.
    """
    breaker = registry.circuits["c"]
    clock.advance(60.0)
    permit = breaker.acquire()

    assert rejection(colour, fn).retry_after == 60.0
    assert (breaker.rejected, fn.resilience.stats().rejected) == (1, 1)
    permit.success()
    assert colour.drive(fn) == "value"


def test_what_is_done_by_hand_holds_for_the_next_call(colour, fn, registry, clock):
    """
    Isolating, releasing, configuring, switching off, restoring and resetting change what the next call meets.
    """
    breaker = registry.circuits["c"]
    clock.advance(20.0)
    waits = [rejection(colour, fn).retry_after]
    saved = breaker.snapshot()
    hold = breaker.isolate()
    waits.append(rejection(colour, fn).retry_after)
    hold.release()
    passed = [colour.drive(fn)]
    breaker.restore(saved)
    clock.advance(10.0)
    waits.append(rejection(colour, fn).retry_after)
    breaker.configure(CircuitBreakerConfig(open_for=1000.0))
    breaker.state = "half_open"
    breaker.state = "open"
    waits.append(rejection(colour, fn).retry_after)
    breaker.configure(CircuitBreakerConfig(mode="disabled"))
    passed.append(colour.drive(fn))
    breaker.configure(CircuitBreakerConfig())
    with disabled():
        passed.append(colour.drive(fn))
    counted = breaker.rejected
    breaker.reset()
    passed.append(colour.drive(fn))

    assert waits == [40.0, None, 30.0, 1000.0]
    assert passed == ["value"] * 4
    assert (counted, breaker.rejected) == (saved["rejected"] + 2, 0)


def test_a_restored_circuit_goes_on_counting_rejections(registry, colour, fn):
    """
    What was saved and what came after are counted together.
    """
    breaker = registry.circuits["c"]
    for _ in range(3):
        rejection(colour, fn)
    breaker.restore(breaker.snapshot())
    for _ in range(2):
        rejection(colour, fn)
    with suppress(CircuitBreakerOpenError):
        breaker.acquire()

    assert breaker.rejected == breaker.get_state()["rejected"] == breaker.snapshot()["rejected"] == 6
    assert fn.resilience.stats().rejected == 5


# -- exact counts ---------------------------------------------------------------------------


@pytest.mark.usefixtures("switches")
def test_rejections_are_exact_under_thirty_two_threads(registry):
    """
    Every call is either made or rejected, and counted as that once, while somebody opens and closes the circuit.
    """
    made, refused = [], []
    fn = circuit("c", registry=registry)(lambda: made.append(1))
    breaker = registry.circuits["c"]
    go = threading.Barrier(33)

    def work():
        go.wait(PATIENCE)
        for _ in range(100):
            try:
                fn()
            except CircuitBreakerOpenError:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(32)]
    for one in threads:
        one.start()
    go.wait(PATIENCE)
    for number in range(60):
        breaker.state = ("open", "closed")[number % 2]
        breaker.get_state()
    breaker.state = "open"
    for one in threads:
        one.join(PATIENCE)
    stats = fn.resilience.stats()

    assert len(made) + len(refused) == 3200
    assert (breaker.rejected, stats.rejected, stats.failures) == (len(refused),) * 3
    assert stats.attempts == len(made)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_counts_on_from_what_there_was(colour, fn, registry):
    """
    The child has the rejections of before the fork and its own, the parent those of before and its own.
    """
    breaker = registry.circuits["c"]
    for _ in range(3):
        rejection(colour, fn)
    child = os.fork()
    if not child:  # pragma: no cover - another process
        rejection(colour, fn)
        os._exit(breaker.rejected * 10 + fn.resilience.stats().rejected)
    _, status = os.waitpid(child, 0)
    rejection(colour, fn)
    rejection(colour, fn)

    assert os.waitstatus_to_exitcode(status) == 44
    assert (breaker.rejected, fn.resilience.stats().rejected) == (5, 5)


def test_a_call_turned_away_before_a_reset_is_not_counted_after_it(registry):
    """
    A rejection that is under way when the circuit is reset belongs to what was reset.
    """
    shut_before = []

    class Resetting(FakeClock):
        def monotonic(self):
            if shut_before:
                shut_before.clear()
                registry.circuits["c"].reset()
            return super().monotonic()

    registry = Registry(clock=Resetting())
    fn = circuit("c", registry=registry)(lambda: "value")
    registry.circuits["c"].state = "open"
    shut_before.append(True)

    with pytest.raises(CircuitBreakerOpenError):
        fn()
    assert registry.circuits["c"].rejected == 0
    assert fn() == "value"
