from __future__ import annotations

import math
import pickle
from enum import Enum, IntEnum
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient.errors import PolicyError
from resilient.levels import DegradationLevel
from resilient.policies.rules import DEFAULT_RULES, cap, enabled_from, equal, is_feature, ladder, scale
from resilient.policies.sizes import resized
from tests.harness import shown

FULL, HIGH, MEDIUM, LOW, MINIMAL = DegradationLevel
LEVELS = tuple(DegradationLevel)


class Style(str, Enum):  # noqa: UP042 - how it was written before 3.11
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Mode(IntEnum):
    FAST = 50


class Size(NamedTuple):
    width: int
    height: int


class Pair(tuple):
    __slots__ = ()


class Unequal:
    __hash__ = None

    def __eq__(self, other):
        raise RuntimeError


def over_levels(rule, value):
    """
    Return what *rule* makes of *value* at each level, FULL first.
    """
    return [rule(value, level) for level in LEVELS]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("quality", 1.0, [1.0, 0.8, 0.6, 0.4, 0.2]),
        ("quality", 90, [90, 72, 54, 36, 18]),
        ("quality", 1, [1, 1, 1, 1, 1]),
        ("quality", "ultra", ["ultra", "high", "medium", "low", "draft"]),
        ("quality", "medium", ["medium", "low", "draft", "draft", "draft"]),
        ("quality", "HIGH", ["HIGH", "MEDIUM", "LOW", "DRAFT", "DRAFT"]),
        ("quality", "High", ["High", "Medium", "Low", "Draft", "Draft"]),
        ("steps", 50, [50, 40, 30, 20, 10]),
        ("steps", 3, [3, 2, 1, 1, 1]),
        ("num_inference_steps", 1, [1, 1, 1, 1, 1]),
        ("resolution", "1080p", ["1080p", "720p", "480p", "360p", "240p"]),
        ("resolution", "1080P", ["1080P", "720P", "480P", "360P", "240P"]),
        ("resolution", "240p", ["240p", "144p", "144p", "144p", "144p"]),
        ("size", "1920x1080", ["1920x1080", "1536x864", "1152x648", "768x432", "384x216"]),
        ("size", "1024 X 512", ["1024 X 512", "816 X 408", "616 X 304", "408 X 208", "208 X 104"]),
        ("size", "1024×512", ["1024×512", "816×408", "616×304", "408×208", "208×104"]),  # noqa: RUF001 - people write it
        ("resolution", (1024, 10), [(1024, 10), (816, 8), (616, 8), (408, 8), (208, 8)]),
        ("resolution", [1024, 512], [[1024, 512], [816, 408], [616, 304], [408, 208], [208, 104]]),
        ("width", 1000, [1000, 800, 600, 400, 200]),
        ("height", 15, [15, 8, 8, 8, 8]),
        ("height", 4, [4, 4, 4, 4, 4]),
    ],
)
def test_default_rules(name, value, expected):
    """
    The default rules make of each known form what the levels ask for.
    """
    assert expected == over_levels(DEFAULT_RULES[name], value)


@pytest.mark.parametrize("name", DEFAULT_RULES)
@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        Mode.FAST,
        "auto",
        " 1080p ",
        "1080i",
        "0x0",
        "99999999999x8",
        (1, 2, 3),
        (1024, 512.0),
        (10**12, 8),
        Pair((1024, 512)),
        np.int64(50),
        [],
        object(),
        -5,
        0,
    ],
    ids=shown,
)
def test_unknown_forms_stay(name, value):
    """
    What a default rule does not understand stays the very same object.
    """
    assert all(after is value for after in over_levels(DEFAULT_RULES[name], value))


def test_nan_stays():
    """
    A value that is not a number stays as it is.
    """
    value = math.nan

    assert all(after is value for after in over_levels(scale(), value))


def test_named_tuple_stays_a_named_tuple():
    """
    A named pair of sides keeps its type.
    """
    after = DEFAULT_RULES["size"](Size(1920, 1080), MEDIUM)

    assert Size(1152, 648) == after
    assert type(after) is Size


def test_enumeration_keeps_its_type():
    """
    A member of a string enumeration becomes another member, and stays where there is none.
    """
    rule = DEFAULT_RULES["quality"]

    assert rule(Style.HIGH, HIGH) is Style.MEDIUM
    assert rule(Style.HIGH, LOW) is Style.HIGH


def test_scale_clamps():
    """
    A scaled value is kept between minimum and maximum, and stays whole or real as it was.
    """
    rule = scale(minimum=8.5, maximum=30.5)

    assert over_levels(rule, 50) == [50, 30, 30, 20, 10]
    assert over_levels(rule, 20) == [20, 16, 12, 9, 9]
    assert over_levels(rule, 50.0) == [50.0, 30.5, 30.0, 20.0, 10.0]
    assert type(scale(minimum=8)(9.0, LOW)) is float


def test_scale_never_raises_a_value():
    """
    A value below the minimum stays, and so does a negative one.
    """
    assert over_levels(scale(minimum=8), 5) == [5] * 5
    assert over_levels(scale(), -10.0) == [-10.0] * 5


def test_scale_of_a_huge_number_is_exact():
    """
    A whole number beyond what a float can hold is scaled exactly.
    """
    assert scale()(10**400, LOW) == 4 * 10**399


def test_ladder_starts_where_the_value_is():
    """
    A value goes down one rung a level from its own rung, and stops at the last.
    """
    rule = ladder("xl", "l", "m", None)

    assert over_levels(rule, "xl") == ["xl", "l", "m", None, None]
    assert over_levels(rule, "m") == ["m", None, None, None, None]
    assert over_levels(rule, "s") == ["s"] * 5


def test_ladder_does_not_take_flags_for_numbers():
    """
    True is not the rung 1.
    """
    assert over_levels(ladder(2, 1, 0), True) == [True] * 5


def test_cap_holds_further_down():
    """
    The last limit given holds at the levels below, and there is none above the first.
    """
    assert over_levels(cap(medium=30, minimal=10), 50) == [50, 50, 30, 30, 10]
    assert over_levels(cap(medium=30, minimal=10), 20) == [20, 20, 20, 20, 10]
    assert over_levels(cap(high=1), None) == [None] * 5


def test_cap_keeps_the_kind_of_number():
    """
    A limit takes the kind of the number that it limits.
    """
    whole, real = cap(high=2.5)(3, HIGH), cap(high=2)(3.0, HIGH)

    assert (2, int) == (whole, type(whole))
    assert (2.0, float) == (real, type(real))


@pytest.mark.parametrize("level", [MEDIUM, "medium", "MEDIUM"])
def test_enabled_from_switches_off_below(level):
    """
    A feature is on down to its level, and False below.
    """
    assert over_levels(enabled_from(level), True) == [True, True, True, False, False]
    assert over_levels(enabled_from(level), "4x") == ["4x", "4x", "4x", False, False]


@pytest.mark.parametrize("value", [None, False, 0])
def test_enabled_from_leaves_what_is_off(value):
    """
    What is off already stays as it is.
    """
    assert all(after is value for after in over_levels(enabled_from("full"), value))


def test_features_are_told_from_other_rules():
    """
    Only what `enabled_from` makes is a feature flag.
    """
    assert is_feature(enabled_from("low"))
    assert not is_feature(scale())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: scale(minimum="8"), "minimum must be a finite number"),
        (lambda: scale(minimum=True), "minimum must be a finite number"),
        (lambda: scale(maximum=math.nan), "maximum must be a finite number"),
        (lambda: scale(maximum=math.inf), "maximum must be a finite number"),
        (lambda: scale(minimum=9, maximum=8), "swap them"),
        (ladder, "at least two rungs"),
        (lambda: ladder(["a", "b"]), "at least two rungs"),
        (lambda: ladder("a", "b", "a"), "'a' \\(str\\) twice"),
        (cap, "at least one level"),
        (lambda: cap(high="1"), "high must be a finite number"),
        (lambda: cap(high=1, low=2), "low=2 is above high=1"),
        (lambda: enabled_from("best"), "no service level"),
        (lambda: enabled_from(0.6), "no service level"),
    ],
)
def test_nonsense_is_refused(make, message):
    """
    A rule that cannot be meant is a PolicyError that says why.
    """
    with pytest.raises(PolicyError, match=message):
        make()


def test_all_problems_at_once():
    """
    One error tells every limit that is wrong.
    """
    with pytest.raises(PolicyError) as caught:
        scale(minimum="8", maximum=[])

    assert len(caught.value.problems) == 2


RULES = {
    "scale()": scale(),
    "scale(minimum=8)": scale(minimum=8),
    "ladder('a', 2)": ladder("a", 2),
    "cap(high=30, low=1.5)": cap(high=30, low=1.5),
    "enabled_from('medium')": enabled_from("medium"),
    "DEFAULT_RULES['quality']": DEFAULT_RULES["quality"],
    "DEFAULT_RULES['resolution']": DEFAULT_RULES["size"],
    "DEFAULT_RULES['width']": DEFAULT_RULES["height"],
}


@pytest.mark.parametrize("text", RULES)
def test_rules_are_values(text):
    """
    A rule's repr makes it again, and it pickles, hashes and compares as what it says.
    """
    rule = RULES[text]
    namespace = {"scale": scale, "ladder": ladder, "cap": cap, "enabled_from": enabled_from}

    assert text == repr(rule)
    assert rule == pickle.loads(pickle.dumps(rule))
    assert hash(rule) == hash(pickle.loads(pickle.dumps(rule)))
    assert rule == eval(text, {**namespace, "DEFAULT_RULES": DEFAULT_RULES})  # noqa: S307 - a repr of ours
    assert [other for other in RULES.values() if other == rule] == [rule]


def test_equal_never_raises():
    """
    Values that cannot be compared are not equal, and a flag is not a number.
    """
    same = Unequal()

    assert equal(same, same)
    assert not equal(Unequal(), Unequal())
    assert not equal(np.zeros(2), np.zeros(2))
    assert not equal(1, True)
    assert equal(1, 1.0)


@pytest.mark.parametrize(
    ("factor", "expected"), [(1.0, "1080p"), (0.9, "720p"), (0.8, "720p"), (0.6, "480p"), (0.5, "360p"), (0.01, "144p")]
)
def test_named_resolutions_follow_any_factor(factor, expected):
    """
    A factor between two levels counts as the lower one.
    """
    assert expected == resized("1080p", factor)


numbers = st.integers() | st.floats(allow_nan=False)
sides = st.integers(min_value=-5, max_value=10**9)
limits = st.none() | st.integers(0, 100) | st.floats(0, 100)


@given(numbers, limits, limits)
def test_scale_is_monotone(value, minimum, maximum):
    """
    A lower level never gives a higher number, and FULL gives the value itself.
    """
    if minimum is not None and maximum is not None and minimum > maximum:
        minimum, maximum = maximum, minimum
    values = over_levels(scale(minimum=minimum, maximum=maximum), value)

    assert values[0] is value
    assert sorted(values, reverse=True) == values
    assert {type(value)} == {type(one) for one in values}


@given(numbers, st.lists(st.integers(0, 100) | st.floats(0, 100), min_size=1, max_size=4))
def test_cap_is_monotone(value, given_limits):
    """
    A lower level never gives a higher number, and FULL gives the value itself.
    """
    names = ("high", "medium", "low", "minimal")
    values = over_levels(cap(**dict(zip(names, sorted(given_limits, reverse=True), strict=False))), value)

    assert values[0] is value
    assert sorted(values, reverse=True) == values


@given(sides, sides)
def test_resolution_is_monotone_and_on_the_grid(width, height):
    """
    A lower level never gives a longer side, and what changes is a multiple of 8 and at least 8.
    """
    pairs = over_levels(DEFAULT_RULES["size"], (width, height))

    for before, column in zip((width, height), zip(*pairs, strict=True), strict=True):
        assert sorted(column, reverse=True) == list(column)
        assert all(side == before or (side % 8 == 0 and side >= 8) for side in column)
