"""
The hub: who listens, how events reach them, and who is told to look again.
"""

from __future__ import annotations

import gc
import threading
import warnings
from datetime import UTC, datetime
from functools import partial

import pytest

from resilient import PolicyError, circuit, retry
from resilient.classify import Classifier
from resilient.delivery import SLOW_LISTENER
from resilient.errors import ResilientWarning
from resilient.events import (
    AttemptFailed,
    CallRejected,
    CallSucceeded,
    CircuitClosed,
    CircuitEvent,
    CircuitOpened,
    Event,
    OperationFailed,
)
from resilient.hub import Hub
from tests.harness import run_threads

NOW = datetime(2025, 1, 1, tzinfo=UTC)
OPENED = CircuitOpened(at=NOW, circuit="c", reason="manual", previous="closed")
CLOSED = CircuitClosed(at=NOW, circuit="c", reason="manual", previous="open")


@pytest.fixture
def hub(clock):
    """
    Give a hub that nobody listens to.
    """
    return Hub(clock=clock, classifier=Classifier())


# -- listening ---------------------------------------------------------------


def test_a_listener_hears_all_but_successes(hub):
    """
    Without ``events`` a listener gets every event but ``CallSucceeded``.
    """
    told = []
    hub.on(told.append)

    assert hub.wants(AttemptFailed)
    assert not hub.wants(CallSucceeded)
    hub.deliver(OPENED)
    hub.deliver(CallSucceeded(at=NOW, attempts=1))
    assert told == [OPENED]


@pytest.mark.parametrize("events", [CircuitOpened, [CircuitOpened], (CircuitOpened, OperationFailed), {CircuitEvent}])
def test_a_listener_hears_what_it_asks_for(hub, events):
    """
    ``events`` takes a class or several, and a base stands for all of its kind.
    """
    told = []
    hub.on(told.append, events)
    hub.deliver(OPENED)
    hub.deliver(CLOSED)

    assert told[0] == OPENED
    assert (CLOSED in told) is (events == {CircuitEvent})


def test_unsubscribing_stops_one_subscription(hub):
    """
    The same callable may listen twice; each subscription ends for itself, and ending it again does nothing.
    """
    told = []
    first, second = hub.on(told.append), hub.on(told.append)
    hub.deliver(OPENED)
    first()
    first()
    hub.deliver(CLOSED)
    second()
    hub.deliver(OPENED)

    assert told == [OPENED, OPENED, CLOSED]


@pytest.mark.parametrize("listener", [None, "print", 3])
def test_a_listener_has_to_be_callable(hub, listener):
    """
    The error shows what was given.
    """
    with pytest.raises(PolicyError, match="a listener must be callable"):
        hub.on(listener)


def test_a_listener_has_to_be_a_plain_function(hub):
    """
    Nobody would await an async one.
    """

    async def listener(event):
        """
        Never run.
        """

    with pytest.raises(PolicyError, match="nobody would await"):
        hub.on(listener)


@pytest.mark.parametrize("events", [int, [int], ["CircuitOpened"], [OPENED]])
def test_events_have_to_be_event_classes(hub, events):
    """
    The error shows what was given instead.
    """
    with pytest.raises(PolicyError, match=r"takes classes from resilient\.events"):
        hub.on(print, events)


def test_all_events_are_the_base_of_all(hub):
    """
    ``events=Event`` means every event, successes included.
    """
    hub.on(lambda _: None, Event)

    assert hub.wants(CallSucceeded)
    assert hub.generation is None


# -- delivery -------------------------------------------------------------------


@pytest.mark.usefixtures("quiet_log")
def test_an_event_is_built_only_for_somebody(hub):
    """
    Without listeners and logs nothing is built.
    """
    built = []

    class Counted(CircuitOpened):
        def __init__(self, **fields):
            built.append(fields)

    hub.emit(Counted, circuit="c", reason="x", previous="y")
    assert built == []

    told = []
    hub.on(told.append)
    hub.emit(CircuitOpened, circuit="c", reason="x", previous="y")
    assert [hub.clock.now()] == [event.at for event in told]


def test_a_listener_that_raises_is_logged_once_and_harms_nobody(hub, caplog):
    """
    The others still hear, and so does this one the next time.
    """
    told = []

    def broken(event):
        told.append("broken")
        msg = "cannot listen"
        raise RuntimeError(msg)

    hub.on(broken)
    hub.on(told.append)
    hub.deliver(OPENED)
    hub.deliver(OPENED)

    assert told == ["broken", OPENED, "broken", OPENED]
    assert caplog.text.count("cannot listen") == 1


def test_a_listener_may_stop_the_program(hub):
    """
    Ctrl-C within a listener is no error of the listener's.
    """

    def interrupted(event):
        raise KeyboardInterrupt

    hub.on(interrupted)
    with pytest.raises(KeyboardInterrupt):
        hub.deliver(OPENED)
    hub.queue(lambda: hub.deliver(OPENED))
    with pytest.raises(KeyboardInterrupt):
        hub.drain()
    told = []
    hub.queue(lambda: told.append(1))
    hub.drain()
    assert told == [1]


def test_a_broken_log_handler_harms_nobody(hub, monkeypatch):
    """
    What cannot even be logged is dropped.
    """

    def broken(*_):
        raise OSError

    monkeypatch.setattr("resilient.delivery.hook_failed", broken)
    hub.report("something", ValueError())


def test_a_slow_listener_is_warned_about_once(hub, clock):
    """
    It delays the call that it was told of, and its name is in the warning.
    """

    def sleepy(event):
        clock.advance(2 * SLOW_LISTENER)

    hub.on(sleepy)
    with pytest.warns(ResilientWarning, match="sleepy took 0.2 s"):
        hub.deliver(OPENED)
    # Another warning would be an error here.
    hub.deliver(OPENED)


def test_a_slow_listener_harms_no_call_where_warnings_are_errors(hub, clock, caplog):
    """
    Then the warning is logged.
    """
    hub.on(lambda _: clock.advance(1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hub.deliver(OPENED)

    assert "hand work to a thread" in caplog.text


def test_reports_are_bounded(hub, caplog):
    """
    Different things are reported, but not without end, and not by name for ever.
    """
    for number in range(1100):
        hub.report(f"thing {number}", ValueError("x"))

    assert len(caplog.records) == 1024


# -- the queue -------------------------------------------------------------------


def test_what_is_queued_while_somebody_drains_is_done_by_that_one(hub):
    """
    Actions run one after the other in the order in which they were queued, whoever asks.
    """
    order = []

    def first():
        hub.queue(lambda: order.append("second"))
        hub.drain()
        order.append("first")

    hub.queue(first)
    hub.drain()

    assert order == ["first", "second"]


def test_threads_that_drain_lose_nothing(hub):
    """
    However threads meet, every action is done once, and each thread's in its order.
    """
    done = []

    def work(number):
        for step in range(300):
            hub.queue(lambda step=step: done.append((number, step)))
            hub.drain()

    run_threads(*(partial(work, number) for number in range(8)))

    assert len(done) == 2400
    for number in range(8):
        assert list(range(300)) == [step for who, step in done if who == number]


def test_a_listener_may_change_what_it_is_told_of(registry):
    """
    Transitions made by a listener are told after the one it is hearing of.
    """
    told = []
    breaker = registry.circuit("c")

    def listener(event):
        told.append(type(event))
        breaker.close()
        told.append("listener is done")

    registry.on(listener, CircuitEvent)
    breaker.state = "open"

    assert [CircuitOpened, "listener is done", CircuitClosed, "listener is done"] == told


# -- the gate ----------------------------------------------------------------------


class Owner:
    def __init__(self):
        self.refreshed = 0

    def refresh(self):
        self.refreshed += 1


def test_who_listens_for_successes_ends_quiet(hub):
    """
    The first such listener and the end of the last one are told to all pipelines; others are not.
    """
    owner = Owner()
    hub.attach(owner)
    hub.on(print)
    assert (hub.generation, owner.refreshed) == (0, 0)

    first = hub.on(lambda _: None, CallSucceeded)
    second = hub.on(lambda _: None, CallSucceeded)
    assert (hub.generation, owner.refreshed) == (None, 1)

    first()
    assert owner.refreshed == 1
    second()
    assert (hub.generation, owner.refreshed) == (0, 2)


def test_who_watches_latencies_is_told(hub):
    """
    Seconds go to the one observer, and pipelines hear when one comes or goes.
    """
    owner, seconds = Owner(), []
    hub.attach(owner)
    hub.succeeded(0, 1.0)
    hub.watch_latency(seconds.append)
    hub.watch_latency(hub.observe)
    hub.succeeded(0, 2.0)
    hub.succeeded(0, None)

    assert (hub.timed, seconds, owner.refreshed) == (True, [2.0], 1)
    hub.watch_latency(None)
    assert (hub.timed, owner.refreshed) == (False, 2)


def test_owners_are_held_weakly(hub):
    """
    Who is gone or has detached is not told any more.
    """
    owner, other = Owner(), Owner()
    hub.attach(owner)
    hub.attach(other)
    hub.detach(other)
    hub.detach(other)
    assert [owner] == hub.pipelines()
    del owner
    gc.collect()

    assert hub.pipelines() == []


def test_pipelines_may_come_while_others_are_listed(hub):
    """
    Reading all pipelines is safe while threads add some.
    """
    owners = []
    stop = threading.Event()

    def add():
        while not stop.is_set():
            owners.append(Owner())
            hub.attach(owners[-1])
            del owners[:-50]

    thread = threading.Thread(target=add)
    thread.start()
    try:
        for _ in range(300):
            hub.pipelines()
    finally:
        stop.set()
        thread.join()

    assert len(hub.pipelines()) <= 51


@pytest.mark.parametrize(
    ("kind", "hears"), [(CallRejected, True), (OperationFailed, True), (AttemptFailed, False), (CallSucceeded, False)]
)
@pytest.mark.usefixtures("quiet_log")
def test_who_hears_of_rejections(hub, monkeypatch, kind, hears):
    """
    A rejection is told to listeners for rejections and failures, and to the log.
    """
    hub.on(lambda _: None, kind)
    assert hears is hub.hears_rejections()

    monkeypatch.setattr("resilient.delivery.wanted", lambda kind: kind is OperationFailed)
    assert hub.hears_rejections()


def test_the_hub_does_not_keep_what_listens_to_nothing(registry):
    """
    A decorated function that is gone leaves nothing in its hub.
    """
    for _ in range(10):
        retry(registry=registry)(circuit(registry=registry)(lambda: 1))()

    assert registry.hub.pipelines() == []
    assert list(registry.functions) == []
