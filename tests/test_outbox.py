"""
The outbox: what follows from a change is done in order, by one thread, and not for ever.
"""

from __future__ import annotations

import logging
import threading

import pytest

from resilient.classify import Classifier
from resilient.control.degradation import GracefulDegradation
from resilient.events import CircuitEvent, LevelChanged
from resilient.hub import Hub
from resilient.outbox import LIMIT, Outbox
from tests.harness import run_threads


def endless(outbox, done):
    """
    Return an action that puts itself in again, as a listener does that answers each change by another one.
    """

    def action():
        done.append(len(done))
        outbox.put(action)

    return action


def test_actions_that_cause_others_for_ever_let_their_thread_go():
    """
    After a thousand caused ones the drain ends and says so; what is left is done by the next, and nothing is lost.
    """
    outbox, done = Outbox(), []
    outbox.put(endless(outbox, done))
    outbox.put(lambda: done.append("other"))

    assert isinstance(outbox.drain(), RecursionError)
    assert len(done) == LIMIT + 1
    assert done.count("other") == 1
    assert len(outbox.waiting) == 1
    assert isinstance(outbox.drain(), RecursionError)
    assert len(done) == 2 * LIMIT + 1


def test_any_number_of_actions_is_done_at_once():
    """
    Only what the actions put in themselves is counted: what was there before, or comes from other threads, is done.
    """
    outbox, done = Outbox(), []

    def from_elsewhere():
        # One that waits for another thread while that puts in more than the limit.
        run_threads(lambda: [outbox.put(lambda: done.append(1)) for _ in range(LIMIT + 1)])

    for _ in range(2 * LIMIT):
        outbox.put(lambda: done.append(0))
    outbox.put(from_elsewhere)

    assert outbox.drain() is None
    assert (done.count(0), done.count(1)) == (2 * LIMIT, LIMIT + 1)


def test_what_ends_is_not_reported():
    """
    As many caused actions as are allowed are no problem, nor as many in the next drain.
    """
    outbox, done = Outbox(), []

    def action():
        done.append(1)
        if len(done) % LIMIT:
            outbox.put(action)

    for turn in (1, 2):
        outbox.put(action)
        assert outbox.drain() is None
        assert len(done) == turn * LIMIT


def test_an_interrupted_drain_leaves_the_rest_to_the_next():
    """
    What passes through an action ends the drain; the next one goes on behind it.
    """
    outbox, done = Outbox(), []

    def interrupted():
        raise KeyboardInterrupt

    outbox.put(interrupted)
    outbox.put(lambda: done.append(1))
    with pytest.raises(KeyboardInterrupt):
        outbox.drain()

    assert done == []
    assert outbox.drain() is None
    assert done == [1]


def test_who_puts_in_meanwhile_is_served_by_who_drains():
    """
    A thread that finds another one draining does not wait for it, and its action is done.
    """
    outbox, done = Outbox(), []
    inside, go_on = threading.Event(), threading.Event()

    def slow():
        inside.set()
        go_on.wait(10)

    def other():
        inside.wait(10)
        outbox.put(lambda: done.append(threading.get_ident()))
        assert outbox.drain() is None
        go_on.set()

    outbox.put(slow)
    thread = threading.Thread(target=other)
    thread.start()
    outbox.drain()
    thread.join()

    assert done == [threading.get_ident()]


def test_a_listener_that_answers_each_transition_by_another_holds_up_no_call_for_ever(registry, caplog):
    """
    A circuit that a listener opens and closes in turns is reported once, and its calls go on.
    """
    breaker = registry.circuit("api")
    told = []

    def toggle(event):
        told.append(event.name)
        breaker.state = "closed" if event.name == "circuit.opened" else "open"

    registry.on(toggle, CircuitEvent)
    with caplog.at_level(logging.ERROR, "resilient"):
        breaker.state = "open"
        first = len(told)
        breaker.record_success()

    assert first == LIMIT
    assert ["circuit.opened", "circuit.closed"] * (len(told) // 2) == told
    assert len(told) > first
    assert [record.getMessage() for record in caplog.records if "listeners of circuits" in record.getMessage()] == [
        caplog.records[0].getMessage()
    ]


def test_a_listener_that_answers_each_level_by_another_is_let_go():
    """
    The same holds for levels, with or without a registry.
    """
    told, reports = [], []

    def answer(event):
        told.append(event)
        (degradation.degrade if event.level.label == "full" else degradation.restore)()

    degradation = GracefulDegradation(emit=answer, report=lambda what, error: reports.append((what, error)))
    degradation.degrade()
    degradation.degrade()

    assert all(type(event) is LevelChanged for event in told)
    assert [(what, type(error)) for what, error in reports] == [("listeners of level changes", RecursionError)]
    assert len(told) >= 2 * LIMIT


def test_a_hub_where_nothing_waits_has_nothing_to_drain(clock):
    """
    Draining an empty hub is nothing.
    """
    hub = Hub(clock=clock, classifier=Classifier())
    hub.drain()

    assert not hub.waiting
