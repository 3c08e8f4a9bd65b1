"""
Incidents: each outermost operation counts once.
"""

from __future__ import annotations

import pytest

from resilient.analytics.incidents import Incidents

UP, DOWN = True, False


@pytest.mark.parametrize(
    ("reports", "resolved"),
    [
        ([(UP, False)], 1),
        ([(DOWN, False)], 0),
        ([(UP, False), (UP, False)], 1),
        ([(UP, False), (DOWN, False)], 0),
        ([(DOWN, False), (UP, False)], 0),
        ([(DOWN, False), (UP, True)], 1),
        ([(UP, False), (DOWN, True)], 0),
        ([(UP, True), (DOWN, False)], 1),
        ([(DOWN, True), (UP, False)], 0),
        ([(DOWN, True), (UP, True)], 1),
    ],
)
def test_reports_of_one_root(reports, resolved):
    """
    All reports of a root are one incident; the root's own report decides, else all have to be resolved.
    """
    incidents = Incidents()
    for outcome, final in reports:
        incidents.report("root", resolved=outcome, final=final)

    assert (incidents.total, incidents.resolved) == (1, resolved)
    assert incidents.rate == float(resolved)


def test_rate():
    """
    The rate is the resolved ones' share, and 1.0 when there is none.
    """
    incidents = Incidents()
    before = incidents.rate
    for root, outcome in enumerate([UP, UP, DOWN]):
        incidents.report(root, resolved=outcome, final=True)
    next(incidents.mended)

    assert (before, incidents.rate) == (1.0, 0.75)
    assert repr(incidents) == "<Incidents: 3 of 4 resolved>"


def test_roots_are_bounded_and_busy_ones_stay():
    """
    Of a million roots the latest are remembered, and one that keeps reporting among them.
    """
    incidents = Incidents()
    for root in range(10_000):
        incidents.report(root, resolved=UP, final=True)
        incidents.report("busy", resolved=UP, final=False)

    assert incidents.total == 10_001
    assert len(incidents.roots) == 4096


@pytest.mark.parametrize(("inner", "resolved"), [(UP, 0), (DOWN, 0)])
def test_a_root_that_is_expected_to_be_reported_about_counts_once(inner, resolved):
    """
    What is expected counts when it is reported, and the root's own report decides, whoever is first.
    """
    incidents = Incidents()
    incidents.expect("root")
    before = incidents.total
    incidents.report("root", resolved=DOWN, final=True)
    incidents.report("root", resolved=inner, final=False)
    incidents.expect("root")

    assert before == 0
    assert (incidents.total, incidents.resolved) == (1, resolved)


def test_expected_roots_are_bounded():
    """
    Of a million expected roots the latest are remembered.
    """
    incidents = Incidents()
    for root in range(10_000):
        incidents.expect(root)

    assert incidents.total == 0
    assert len(incidents.roots) == 4096
