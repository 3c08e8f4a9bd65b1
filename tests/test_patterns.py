"""
Bursts, and one error in several functions.
"""

from __future__ import annotations

import pytest

from resilient.analytics.patterns import Burst, CommonCause, find_bursts, find_common_causes


@pytest.mark.parametrize(
    ("minutes", "bursts"),
    [
        ([0], []),
        ([9], []),
        ([10], [Burst(errors=10, minutes=1, ended=0.0, usual=0)]),
        ([100, 100, 100], []),
        ([100, 2, 3], [Burst(errors=100, minutes=1, ended=0.0, usual=2)]),
        ([2, 50, 60, 1, 3, 2], [Burst(errors=110, minutes=2, ended=60.0, usual=2)]),
        ([12, 4, 4, 4], []),
        ([13, 4, 4, 4], [Burst(errors=13, minutes=1, ended=0.0, usual=4)]),
        (
            [20, 0, 0, 30, 0],
            [Burst(errors=20, minutes=1, ended=0.0, usual=0), Burst(errors=30, minutes=1, ended=180.0, usual=0)],
        ),
    ],
)
def test_bursts(minutes, bursts):
    """
    Minutes in a row far above the usual are one burst.
    """
    assert find_bursts(minutes) == bursts


def test_common_causes():
    """
    A type that three functions have had is a common cause, the most frequent first.
    """
    errors = [
        *(("Timeout", name) for name in "abc"),
        *(("Refused", name) for name in "dddcb"),
        *(("ValueError", name) for name in "aaaaaab"),
    ]

    assert find_common_causes(errors) == [
        CommonCause(error_type="Refused", functions=("b", "c", "d"), errors=5),
        CommonCause(error_type="Timeout", functions=("a", "b", "c"), errors=3),
    ]


def test_patterns_read_as_sentences():
    """
    The text of a pattern says all of it.
    """
    texts = [
        str(Burst(errors=50, minutes=2, ended=180.0, usual=3)),
        str(Burst(errors=10, minutes=1, ended=0.0, usual=0)),
        str(CommonCause(error_type="Timeout", functions=("a", "b", "c"), errors=4)),
        str(CommonCause(error_type="Timeout", functions=tuple("abcdef"), errors=6)),
    ]

    assert texts == [
        "burst: 50 errors in 2 min, ended 3 min ago (usual: 3 a minute)",
        "burst: 10 errors in 1 min, up to now (usual: 0 a minute)",
        "common cause: 4 x Timeout in 3 functions (a, b, c)",
        "common cause: 6 x Timeout in 6 functions (a, b, c, d, e, ...)",
    ]
