"""
Counts with bounded memory: over a sliding hour, and by name.
"""

from __future__ import annotations

import random

import pytest

from resilient.analytics.counts import OTHER, NamedCounts, SlidingCount

ORIGIN = 123_456.789


def counted(*moments: float) -> SlidingCount:
    """
    Return a count of things that happened *moments* seconds after the origin.
    """
    count = SlidingCount(ORIGIN)
    for moment in moments:
        count.add(ORIGIN + moment)
    return count


@pytest.mark.parametrize(
    ("moments", "window", "now", "rate"),
    [
        ((), 300, 0, 0.0),
        ((0.0, 0.1), 300, 0.1, 2.0),
        ((0.0,) * 10, 300, 30.0, 10.0),
        ((0.0,) * 10, 300, 120.0, 5.0),
        ((0.0,) * 10, 300, 300.0, 2.0),
        ((0.0,) * 10, 300, 301.0, 0.0),
        ((0.0,) * 10, 300, 100_000.0, 0.0),
        ((0.0, 299.0, 300.0), 300, 598.0, 0.4),
        ((0.0, 299.0, 300.0), 300, 600.0, 0.2),
        ((0.0, 10.0), 1, 61.0, 1.0),
        ((0.0,) * 60, 86_400, 3600.0, 1.0),
        ((0.0,) * 60, 86_400, 3601.0, 0.0),
        ((5000.0,) * 60, 3600, 8600.0, 1.0),
        ((5000.0, 9000.0), 3600, 8999.0, 1 / 60),
    ],
)
def test_rate_per_minute(moments, window, now, rate):
    """
    The rate is over the window, the time since the start or an hour, whichever is shorter, but at least a minute.
    """
    assert counted(*moments).per_minute(window, ORIGIN + now) == pytest.approx(rate)


def test_rate_is_exact_at_a_million_a_minute():
    """
    Every one of a million errors a minute counts, for every window.
    """
    count = SlidingCount(ORIGIN)
    for step in range(200_000):
        count.add(ORIGIN + 100.0 + step * 60e-6)

    assert count.total == 200_000
    assert count.per_minute(60, ORIGIN + 112.0) == 200_000.0
    assert count.per_minute(300, ORIGIN + 300.0) == 40_000.0


def test_rate_agrees_with_a_list_of_moments():
    """
    To the second, any window over any history gives what a list of all moments gives.
    """
    chance = random.Random(7)
    for _ in range(50):
        now, moments, count = 0.0, [], SlidingCount(ORIGIN)
        for _ in range(chance.randrange(1, 60)):
            now += chance.choice([0.0, 0.3, 1.0, 59.7, 300.0, 2000.0, 4000.0])
            moments.append(now)
            count.add(ORIGIN + now)
        now += chance.choice([0.0, 0.5, 100.0])
        window = chance.choice([60.0, 61.0, 300.0, 3600.0])
        period = max(min(window, now), 60.0)
        expected = sum(int(moment + 1e-6) >= int(now - period + 1e-6) for moment in moments) * 60.0 / period

        assert count.per_minute(window, ORIGIN + now) == pytest.approx(expected)


def test_time_that_goes_back_counts_as_the_latest():
    """
    Threads that read the clock early and count late lose nothing.
    """
    count = counted(100.0, 99.0, -5.0)

    assert count.total == 3
    assert count.per_minute(60, ORIGIN + 100.5) == 3.0


@pytest.mark.parametrize(
    ("moments", "now", "minutes"),
    [
        ((), 0.0, [0]),
        ((0.0, 1.0), 1.0, [2]),
        ((0.0, 1.0), 60.0, [2]),
        ((0.0, 1.0, 70.0), 90.0, [1, 2]),
        ((1.0, 1.0, 130.0), 180.0, [1, 0, 2]),
    ],
)
def test_by_minute(moments, now, minutes):
    """
    Whole minutes are counted back from now, the latest first, as far as the start.
    """
    assert counted(*moments).by_minute(ORIGIN + now) == minutes


def test_by_minute_ends_after_an_hour():
    """
    No more than sixty minutes are told.
    """
    count = counted(*(60.0 * minute for minute in range(200)))

    assert count.by_minute(ORIGIN + 60.0 * 199 + 30.0) == [1] * 60


def test_names_are_bounded():
    """
    Names beyond the limit are counted together, known ones still apart.
    """
    counts = NamedCounts(limit=2)
    full = [counts.add(name) for name in ("a", "b", "c", "a", "d", "b")]

    assert full == [False, False, True, False, True, False]
    assert counts == {"a": 2, "b": 2, OTHER: 2}


def test_long_names_are_cut():
    """
    A name of any length takes bounded memory, and equal ones stay one.
    """
    counts = NamedCounts()
    counts.add("x" * 1_000_000)
    counts.add("x" * 1_000_000)

    assert [(len(name), count) for name, count in counts.items()] == [(200, 2)]


def test_ranked():
    """
    The most frequent come first, equals by name, and names are escaped.
    """
    counts = NamedCounts()
    for name in ("b", "a\n", "b", "c"):
        counts.add(name)

    assert counts.ranked() == [("b", 2), (r"a\n", 1), ("c", 1)]


def test_repr():
    """
    A repr tells the total.
    """
    assert repr(counted(1.0)) == "<SlidingCount: 1 in all>"
