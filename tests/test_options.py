from __future__ import annotations

import copy
import functools
import math
import pickle
from datetime import timedelta

import pytest

from resilient import PolicyError, circuit, retry
from resilient.policies.checks import (
    boolean,
    callable_or_none,
    choice,
    fraction,
    integer,
    number,
    parse_duration,
    seconds,
    text,
)
from resilient.policies.circuit import CIRCUIT_OPTIONS
from resilient.policies.options import UNSET, Option, OptionTable, describe, is_async, same
from resilient.policies.retry_options import RETRY_OPTIONS, check_together, merge

NAN = float("nan")
INF = float("inf")

TABLE = OptionTable(
    "bake",
    Option("minutes", integer(minimum=1), 30, "how long", aliases=("time",)),
    Option("degrees", number(minimum=20), 180.0, "how hot"),
    Option("name", text, "bread", "what"),
)


def test_defaults():
    """
    A table knows what holds when nobody gives anything.
    """
    assert TABLE.defaults() == {"minutes": 30, "degrees": 180.0, "name": "bread"}


def test_check():
    """
    Given options come back in their normal form, under their own names; what is not given stays away.
    """
    values, problems = TABLE.check({"time": 5, "degrees": 200, "name": UNSET})

    assert values == {"minutes": 5, "degrees": 200.0}
    assert isinstance(values["degrees"], float)
    assert problems == []


def test_all_problems_at_once():
    """
    Every problem is told at once: the option, the value and the remedy of each.
    """
    with pytest.raises(PolicyError) as caught:
        TABLE.validate("@bake on kitchen:f", {"minutes": 0, "degrees": "hot", "names": "x", "unheard": 1})

    assert caught.value.where == "@bake on kitchen:f"
    assert caught.value.problems == (
        "minutes must be a whole number from 1 to 1000000, got 0 (int)",
        "degrees must be a number of at least 20, got 'hot' (str)",
        "unknown option 'names'; did you mean 'name'?",
        "unknown option 'unheard'; @bake takes minutes, degrees, name",
    )
    assert str(caught.value).startswith("@bake on kitchen:f: 4 problems\n  - minutes must")


def test_valid():
    """
    Options without problems are returned.
    """
    assert TABLE.validate("here", {"minutes": 5}) == {"minutes": 5}


def test_alias_beside_its_name():
    """
    An option under both of its names is a problem.
    """
    assert TABLE.check({"minutes": 5, "time": 5})[1] == [
        "'time' is another name for 'minutes', which is given too; give one of them"
    ]


def test_show():
    """
    A table shows what differs from the defaults.
    """
    assert TABLE.show(TABLE.defaults()) == "@bake"
    assert TABLE.show({**TABLE.defaults(), "minutes": 5}, "'oven'") == "@bake('oven', minutes=5)"


def test_unset():
    """
    UNSET is one object, false, and shows its name; copies and pickles of it are it.
    """
    assert repr(UNSET) == "UNSET"
    assert not UNSET
    assert UNSET is pickle.loads(pickle.dumps(UNSET))
    assert UNSET is copy.deepcopy(UNSET)


# -- checks ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "value", "normal"),
    [
        (number(), 3, 3.0),
        (number(infinite=True), INF, INF),
        (number(minimum=1, maximum=2), 2, 2.0),
        (fraction(), 1, 1.0),
        (fraction(zero=True), 0, 0.0),
        (seconds(), 0, 0.0),
        (seconds(), timedelta(minutes=1), 60.0),
        (seconds(), "500ms", 0.5),
        (seconds(), " 2 m ", 120.0),
        (seconds(), "1.5h", 5400.0),
        (seconds(infinite=True), INF, INF),
        (seconds(optional=True), None, None),
        (integer(), 7, 7),
        (integer(minimum=0), 0, 0),
        (integer(optional=True), None, None),
        (boolean, True, True),
        (text, "x", "x"),
        (choice(True, "full"), "full", "full"),
        (callable_or_none, None, None),
        (callable_or_none, len, len),
    ],
)
def test_good_values(check, value, normal):
    """
    A check returns a good value in its normal form.
    """
    assert normal == check(value)
    assert type(normal) is type(check(value))


@pytest.mark.parametrize(
    ("check", "values", "remedy"),
    [
        (number(), [-1, NAN, INF, -INF, True, "1", None, [], 10**400], "must be a number of at least 0"),
        (number(minimum=1, above=True), [1, 0], "must be a number above 1"),
        (number(maximum=5), [6], "must be a number of at least 0 and at most 5"),
        (number(infinite=True), [-1, NAN], r"must be a number of at least 0 \(inf is allowed\)"),
        (fraction(), [0, 1.1, -1, NAN, "50%"], "must be a number above 0 and at most 1"),
        (
            seconds(),
            [-1, NAN, INF, True, "soon", "-1s", "9" * 400 + "s", None, timedelta(seconds=-1), [1]],
            "must be seconds as a number of at least 0, a timedelta, or a text like '30s'$",
        ),
        (seconds(zero=False), [0, "0s", timedelta()], "must be seconds as a number above 0"),
        (seconds(infinite=True, optional=True), ["x"], "like '30s', inf or None"),
        (integer(), [0, -1, 10**9, 1.0, True, "3", None, NAN], "must be a whole number from 1 to 1000000"),
        (integer(optional=True), [0], "must be a whole number from 1 to 1000000 or None"),
        (boolean, [1, 0, "yes", None], "must be True or False"),
        (text, ["", " ", 5, None, b"x"], "must be a string that is not empty"),
        (choice(True, False, "full"), [1, 0, "Full", None], "must be one of True, False, 'full'"),
        (callable_or_none, [5, "f"], "must be callable or None"),
    ],
)
def test_wrong_values(check, values, remedy):
    """
    A check refuses everything else, and says what the value must be.
    """
    for value in values:
        with pytest.raises(ValueError, match=remedy):
            check(value)


def test_parse_duration():
    """
    What is no duration comes back as it is.
    """
    assert (parse_duration(5), parse_duration(None), parse_duration("later")) == (5, None, "later")


def test_describe():
    """
    A value is shown with its type, bounded, whatever its own code does.
    """

    class Broken:
        def __repr__(self):
            raise RuntimeError

    assert describe(5) == "5 (int)"
    assert describe(Broken()) == "<unprintable Broken> (Broken)"
    assert len(describe("x" * 1_000_000)) < 100
    assert len(describe([0] * 1_000_000)) < 100


def test_same():
    """
    Values that cannot be compared are the same only if they are one.
    """

    class Broken:
        def __eq__(self, other):
            raise RuntimeError

        __hash__ = None

    one = Broken()

    assert same(1, 1.0)
    assert not same(1, 2)
    assert same(one, one)
    assert not same(one, Broken())


def test_is_async():
    """
    Coroutine functions, partials of them and objects with an async `__call__` are async.
    """

    async def coro():
        raise NotImplementedError

    class Caller:
        async def __call__(self):
            raise NotImplementedError

    asyncs = (coro, functools.partial(coro), Caller(), retry(coro), retry(functools.partial(coro)), retry(Caller()))

    assert [is_async(one) for one in asyncs] == [True] * 6
    assert [is_async(one) for one in (len, Caller, lambda: None, None)] == [False, False, False, False]


# -- the tables of retry and circuit -------------------------------------------

_OF_NUMBERS = [-1, NAN, INF, "many", None, True, [], 10**400]

WRONG = {
    "on": [5, int, "netwrok", BaseException, [5]],
    "max_attempts": [0, -1, 10**9, 2.5, *_OF_NUMBERS],
    "initial_delay": [*_OF_NUMBERS],
    "max_delay": [*_OF_NUMBERS],
    "exponential_base": [0, 0.5, *_OF_NUMBERS],
    "jitter": [1, 0, 0.3, "Full", None, "none"],
    "max_duration": [0, -1, NAN, INF, "ages", True],
    "on_result": [5, "x"],
    "wait": [5, "2s"],
    "stop": [3],
    "retry": [ConnectionError("x"), "network"],
    "before_sleep": ["x"],
}


def test_wrong_values_of_every_option():
    """
    The table below has a row for every option of retry.
    """
    assert set(RETRY_OPTIONS.options) == set(WRONG)


@pytest.mark.parametrize(("option", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_wrong_retry_options(option, value):
    """
    Every wrong value is refused at decoration, naming the function, the option, the value and the remedy.
    """
    with pytest.raises(PolicyError) as caught:

        @retry(**{option: value})
        def render():
            raise NotImplementedError

    message = str(caught.value)

    assert message.startswith("@retry on ")
    assert "render" in message
    assert f"{option} must be" in message
    assert message.endswith(f"got {describe(value)}")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("max_atempts", "max_attempts"),
        ("attempts", "max_attempts"),
        ("inital_delay", "initial_delay"),
        ("jiter", "jitter"),
    ],
)
def test_did_you_mean(wrong, meant):
    """
    An option that nobody knows gets the one that was probably meant.
    """
    with pytest.raises(PolicyError, match=f"unknown option '{wrong}'; did you mean '{meant}'"):
        retry(**{wrong: 3})(len)


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("wait", {"initial_delay": 1, "max_delay": 2, "exponential_base": 2, "jitter": False}),
        ("stop", {"max_attempts": 3, "max_duration": 5}),
        ("retry", {"on": KeyError, "on_result": bool}),
    ],
)
def test_strategy_beside_what_it_stands_for(strategy, options):
    """
    A strategy and an option that it stands for are refused together, one sentence for each.
    """
    with pytest.raises(PolicyError) as caught:
        retry(**{strategy: len}, **options)(len)

    assert [
        f"{name} and {strategy}= exclude each other, got both; {strategy}= decides alone, so leave {name} out"
        for name in options
    ] == list(caught.value.problems)


def test_max_delay_below_initial_delay():
    """
    A longest delay shorter than the first one cannot be meant; a short one alone can.
    """
    with pytest.raises(PolicyError, match=r"max_delay must be at least initial_delay \(5 s\), got 2; raise it"):
        retry(initial_delay=5, max_delay=2)(len)

    assert check_together({"initial_delay": 90.0}) == [
        "max_delay must be at least initial_delay (90 s), got 60; raise it"
    ]
    assert check_together({"max_delay": 0.1}) == []


@pytest.mark.parametrize(
    ("base", "given", "expected"),
    [
        ({"wait": len}, {"jitter": False}, {"jitter": False}),
        ({"initial_delay": 1.0, "max_attempts": 5}, {"wait": len}, {"max_attempts": 5, "wait": len}),
        ({"wait": len, "stop": len}, {"max_duration": 3.0}, {"wait": len, "max_duration": 3.0}),
        ({"on": 1, "on_result": len}, {"retry": len}, {"retry": len}),
        ({"on": 1, "on_result": len}, {"on": 2}, {"on": 2, "on_result": len}),
        ({"wait": len}, {"wait": None}, {"wait": None}),
        ({"retry": len}, {"on": None}, {"retry": len, "on": None}),
        ({}, {"max_attempts": 2}, {"max_attempts": 2}),
    ],
)
def test_merge(base, given, expected):
    """
    Options that are given win: a strategy over what it stands for, and that over the strategy.
    """
    assert expected == merge(base, given)


@pytest.mark.parametrize("value", [-1, NAN, "soon", True, None])
def test_wrong_circuit_options(value):
    """
    Circuits check by the same kind of table.
    """
    with pytest.raises(PolicyError, match="open_for must be seconds"):
        circuit("x", open_for=value)(len)

    assert math.inf == CIRCUIT_OPTIONS.options["open_for"].check(math.inf)
