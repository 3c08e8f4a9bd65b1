"""
What several files of tests need: a colour, a clock, a registry, and a quiet collector.
"""

from __future__ import annotations

import gc
import signal
import sys

import pytest
import structlog

from resilient import Registry
from resilient.testing import FakeClock
from tests.harness import Colour, Hanging, kinds_put_back


def pytest_collection_finish():
    """
    Take what was collected out of the garbage collector's sight: a full collection costs a tenth afterwards.
    """
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    """
    Show it again, for what runs after the tests may ask who refers to what.
    """
    gc.unfreeze()


@pytest.fixture(params=["sync", "async"])
def colour(request):
    """
    Return the colour of the functions in a test.
    """
    return Colour(request.param)


@pytest.fixture
def clock():
    """
    Return a clock that waits move by themselves.
    """
    return FakeClock()


@pytest.fixture
def registry(clock):
    """
    Return a registry on that clock.
    """
    return Registry(clock=clock)


@pytest.fixture
def hanging(colour, clock):
    """
    Return what makes functions whose calls hang; at the end all are let go.
    """
    maker = Hanging(colour, clock)
    yield maker
    maker.let_go.set()


@pytest.fixture
def reports(registry, monkeypatch):
    """
    Return what is reported of user code that raised.
    """
    found = []
    monkeypatch.setattr(registry.hub, "report", lambda what, error: found.append((what, type(error))))
    return found


@pytest.fixture
def own_kinds():
    """
    Take out again what kinds of policies a test adds: they are this process', and other tests know of none.
    """
    with kinds_put_back():
        yield


@pytest.fixture
def entries():
    """
    Return what is logged through a structlog that the application has configured.
    """
    capture = structlog.testing.LogCapture()
    structlog.configure(processors=[capture])
    yield capture.entries
    structlog.reset_defaults()


@pytest.fixture
def no_gc():
    """
    Keep the garbage collector from hiding a leak.
    """
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def switches():
    """
    Let threads take turns as often as can be.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def at_collections():
    """
    Call a function at every collection of garbage, of which there are many.

    Finalizers, and what is in `gc.callbacks`, run in the middle of other code, and let other threads run there.
    """
    thresholds, before = gc.get_threshold(), gc.callbacks[:]

    def start(act):
        gc.callbacks.append(lambda phase, info: act())
        # Young garbage alone, for that is quick.
        gc.set_threshold(100, 1000, 1000)

    yield start
    gc.set_threshold(*thresholds)
    gc.callbacks[:] = before


@pytest.fixture
def quiet_log(monkeypatch):
    """
    Keep pytest's own log handlers from being somebody who wants to hear of failures.
    """
    monkeypatch.setattr("resilient.delivery.wanted", lambda _: False)


@pytest.fixture
def interruptible():
    """
    Let SIGINT raise KeyboardInterrupt, here and in processes that are started.

    A shell starts background jobs with the signal ignored.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def untraced():
    """
    Keep tracers out of this thread, for what is timed and for what interrupts.

    Under coverage each line costs several times as much, and coverage's own
    lock may be held by the very thread that a signal handler interrupts.
    """
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)
