"""
Windows: what they hold, what they forget, and how they are saved.
"""

from __future__ import annotations

import json
import math
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient.policies.window import MAX_CALLS, CountWindow, TimeWindow, contents

BUCKETS = 50


def held(window, now=0.0):
    """
    Return what a window holds at *now*.
    """
    window.expire(now)
    return window.calls, window.failures, window.slow


results = st.tuples(st.booleans(), st.booleans())


# -- calls ---------------------------------------------------------------------


@given(size=st.integers(1, 8), calls=st.lists(results, max_size=40))
def test_count_window_is_a_deque(size, calls):
    """
    A window of N calls holds what a deque of length N would hold.
    """
    window, model = CountWindow(size), deque(maxlen=size)
    for failed, slow in calls:
        window.record(0.0, failed=failed, slow=slow)
        model.append((failed, slow))

        assert held(window) == (len(model), sum(one[0] for one in model), sum(one[1] for one in model))
    assert window.dump(0.0) == [failed + 2 * slow for failed, slow in model]


@given(size=st.integers(1, 8), smaller=st.integers(1, 8), calls=st.lists(results, max_size=20))
def test_count_window_loads_the_latest_that_fit(size, smaller, calls):
    """
    A window that is loaded with another one's contents holds the latest of them, in their order.
    """
    window, other = CountWindow(size), CountWindow(smaller)
    for failed, slow in calls:
        window.record(0.0, failed=failed, slow=slow)
    saved = contents(json.loads(json.dumps(window.dump(0.0))))
    other.load(saved, 0.0)

    assert other.dump(0.0) == saved[-smaller:]
    other.record(0.0, failed=True, slow=False)
    assert other.dump(0.0) == [*saved, 1][-smaller:]


def test_full_count_window_takes_a_byte_a_call():
    """
    The largest window holds a byte for each call, and says what is in it.
    """
    window = CountWindow(3)
    for failed in (True, True, False, False):
        window.record(0.0, failed=failed, slow=True)

    assert repr(window) == "<CountWindow of 3 calls: 3 in it, 1 failed, 3 slow>"
    window.clear()
    assert held(window) == (0, 0, 0)
    assert window.dump(0.0) == []


# -- time ----------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0.0, 30.0), results), max_size=60))
def test_time_window_forgets_early_by_one_bucket_at_most(calls):
    """
    A result is in a window of 10 s for at least 9.8 s and at most 10 s, and leaves it once.
    """
    window, model, now = TimeWindow(10.0), [], 1000.0
    for wait, (failed, slow) in calls:
        now += wait
        window.record(now, failed=failed, slow=slow)
        model.append((now, failed, slow))
        ages = [(now - at, *rest) for at, *rest in model]
        surely = [one for one in ages if one[0] < 9.8 - 1e-6]
        perhaps = [one for one in ages if one[0] <= 10.0 + 1e-6]

        for index, number in enumerate(held(window, now)):
            # The age of each counts one, what failed and was slow as much as it is true.
            low, high = ([bool(index == 0 or one[index]) for one in some].count(True) for some in (surely, perhaps))
            assert low <= number <= high


def test_idle_time_empties_the_window():
    """
    After a time longer than the window, however long, nothing is left, and counting begins anew.
    """
    window = TimeWindow(10.0)
    seen = []
    for idle in (9.99, 10.0, 10.2, 1e9):
        window.clear()
        window.record(5.0, failed=True, slow=True)
        seen.append(held(window, 5.0 + idle))
    window.record(2e9, failed=True, slow=False)

    assert seen == [(1, 1, 1), (0, 0, 0), (0, 0, 0), (0, 0, 0)]
    assert held(window, 2e9 + 9.0) == (1, 1, 0)


def test_clock_that_stands_still_changes_nothing():
    """
    A time that does not move on, or comes late from another thread, drops nothing.
    """
    window = TimeWindow(10.0)
    window.record(100.0, failed=True, slow=False)
    window.record(99.0, failed=True, slow=False)

    assert held(window, 98.0) == (2, 2, 0)
    assert repr(window) == "<TimeWindow of 10 s: 2 in it, 2 failed, 0 slow>"


@given(st.lists(st.tuples(st.floats(0.0, 5.0), results), max_size=30), st.floats(0.0, 12.0))
def test_saved_time_window_expires_like_the_original(calls, wait):
    """
    What was saved and loaded at another time leaves the window when the original leaves its own, a bucket apart.
    """
    window, other, now = TimeWindow(10.0), TimeWindow(10.0), 1000.0
    for pause, (failed, slow) in calls:
        now += pause
        window.record(now, failed=failed, slow=slow)
    other.load(contents(json.loads(json.dumps(window.dump(now)))), 5.0)

    assert held(other, 5.0) == held(window, now)
    assert held(other, 5.0 + wait)[0] >= held(window, now + wait + 0.2 + 1e-6)[0]
    assert held(other, 5.0 + wait + 0.2 + 1e-6)[0] <= held(window, now + wait)[0]


def test_load_leaves_out_what_is_too_old():
    """
    A shorter window takes the latest of a longer one's contents.
    """
    window, shorter = TimeWindow(100.0), TimeWindow(10.0)
    for at in (0.0, 50.0, 95.0, 99.0):
        window.record(at, failed=at < 99.0, slow=False)
    shorter.load(window.dump(99.0), 99.0)

    assert held(window, 99.0) == (4, 3, 0)
    assert held(shorter, 99.0) == (2, 1, 0)


def test_windows_take_nothing_of_the_other_kind():
    """
    A window that is given the contents of the other kind is empty.
    """
    calls, time = CountWindow(5), TimeWindow(5.0)
    calls.record(0.0, failed=True, slow=False)
    time.record(0.0, failed=True, slow=False)
    calls_saved, time_saved = calls.dump(0.0), time.dump(0.0)
    calls.load(time_saved, 0.0)
    time.load(calls_saved, 0.0)

    assert held(calls) == held(time) == (0, 0, 0)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "12",
        {"calls": 1},
        [4],
        [-1],
        [True],
        [1.0],
        [[1.0, 1, 1]],
        [[1.0, 1, 1, 1, 1]],
        [["1", 1, 1, 1]],
        [[-1.0, 1, 1, 1]],
        [[math.nan, 1, 1, 1]],
        [[math.inf, 1, 1, 1]],
        [[1.0, 1.0, 1, 1]],
        [[1.0, 1, 2, 0]],
        [[1.0, 1, 0, 2]],
        [[1.0, 1, -1, 0]],
        [0] * (MAX_CALLS + 1),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_contents_refuses_what_no_window_has_saved(value):
    """
    Anything but a window's contents is refused.
    """
    with pytest.raises(ValueError, match="must be the list that a window's contents were saved as"):
        contents(value)


def test_contents_sorts_buckets_by_age():
    """
    Buckets come out the oldest first, whatever their order; calls stay in theirs.
    """
    assert contents([[1, 2, 0, 0], [3.0, 1, 1, 1]]) == [[3.0, 1, 1, 1], [1, 2, 0, 0]]
    assert contents([3, 0, 1, 2]) == [3, 0, 1, 2]
