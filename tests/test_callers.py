"""
Warnings point at the line of whoever called the library.
"""

from __future__ import annotations

import asyncio
import warnings

import pytest

from resilient import GracefulDegradation, Registry, circuit, fallback_chain, retry, shelves
from resilient.callers import warn_caller
from resilient.delivery import SLOW_LISTENER
from resilient.errors import BlockingWaitWarning, ResilientWarning
from tests.harness import script


def lines_of(caught):
    """
    Return where each warning points: in this file, the text of the line.
    """
    with open(__file__, encoding="utf-8") as file:  # noqa: PTH123 - the name that the warning has, as it is
        lines = file.readlines()
    return [lines[one.lineno - 1].split("#")[-1].strip() for one in caught if one.filename == __file__]


def test_a_warning_points_at_its_caller():
    """
    Who calls the helper from outside is the caller, and the category is the library's own.
    """
    with pytest.warns(ResilientWarning, match="beware") as caught:
        warn_caller("beware")  # here

    assert lines_of(caught) == ["here"]


async def test_a_wait_that_blocks_points_at_the_call(registry):
    """
    The warning about a sync wait on an event loop names the line that made the call, through plans and other policies.
    """
    play = circuit(failure_threshold=100)(retry(registry=registry)(script(ConnectionError())))
    await asyncio.sleep(0)
    with pytest.warns(BlockingWaitWarning) as caught, pytest.raises(ConnectionError):
        play()  # the call

    assert lines_of(caught) == ["the call"]


def test_many_entries_point_at_who_adds_them():
    """
    The warning names the line that adds entries, whether by the method or by the decorator.
    """
    entries = [lambda number=number: number for number in range(40)]
    chain = Registry().chain("images")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for entry in entries:
            chain.add_fallback(entry)  # added
        fallback_chain(*entries, registry=Registry())(lambda: 0)  # decorated

    assert lines_of(caught) == ["added", "decorated"]


def test_too_many_names_point_at_who_makes_them(monkeypatch):
    """
    The warning about circuits made for each call names the line that makes them.
    """
    monkeypatch.setattr(shelves, "LIMIT", 2)
    registry = Registry()
    registry.circuit("user 0")
    registry.circuit("user 1")
    with pytest.warns(ResilientWarning, match="lets older ones go") as caught:
        registry.circuit("user 2")  # made

    assert lines_of(caught) == ["made"]


def test_a_slow_listener_points_at_the_call_that_it_delayed(registry, clock):
    """
    The warning about a slow listener names the line of the call that waited for it.
    """
    fn = retry(registry=registry)(script(ValueError()))
    registry.on(lambda _: clock.advance(2 * SLOW_LISTENER))
    with pytest.warns(ResilientWarning, match="delayed the call") as caught, pytest.raises(ValueError):  # noqa: PT011 - any
        fn()  # delayed

    assert lines_of(caught) == ["delayed"]


def test_rare_errors_point_at_who_sets_the_threshold(clock):
    """
    The warning about a threshold that means something else names the line that sets it.
    """
    degradation = GracefulDegradation(clock=clock)
    with pytest.warns(ResilientWarning, match="errors per minute") as caught:
        degradation.configure_triggers({"error_rate_threshold": 0.5})  # set

    assert lines_of(caught) == ["set"]
