"""
The options of `circuit`: what is taken, what is refused, and what the rules make of them.
"""

from __future__ import annotations

import asyncio
import copy
import math
import pickle
from datetime import timedelta

import pytest

from resilient import CircuitBreakerConfig, CircuitBreakerOpenError, PolicyError, Registry, RetryConfig, circuit
from resilient.policies.circuit import CIRCUIT_OPTIONS, CircuitPolicy
from resilient.policies.tripping import TripRule, lease_time, open_time
from resilient.testing import FakeClock
from tests.harness import shown


class Deaf:
    """
    Not a listener.
    """


class Listener:
    """
    A pybreaker listener in all but descent.
    """

    def before_call(self, cb, func, *args, **kwargs):
        """
        Hear nothing.
        """

    failure = success = state_change = before_call


def options(**given):
    """
    Return a value for every option.
    """
    return {**CIRCUIT_OPTIONS.defaults(), **CircuitBreakerConfig(**given).given}


# -- what is taken -------------------------------------------------------------


def test_defaults_are_the_documented_ones():
    """
    A config without arguments reads as the documented defaults, and has been given nothing.
    """
    config = CircuitBreakerConfig()
    fields = {
        "failure_threshold": 5,
        "success_threshold": 2,
        "timeout": 60.0,
        "open_for": 60.0,
        "reopen_factor": 1.0,
        "max_timeout": 300.0,
        "half_open_max_calls": 1,
        "probe_lease": None,
        "window": None,
        "failure_rate": None,
        "min_calls": 10,
        "slow_call": None,
        "slow_call_rate": 1.0,
        "critical": False,
        "mode": "on",
        "listeners": (),
    }

    assert {name: getattr(config, name) for name in fields} == fields
    assert config.counts.types == (Exception,)
    assert not config.ignore
    assert config.given == {}
    assert repr(config) == "CircuitBreakerConfig()"


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"window": 20}, "window", 20),
        ({"window": "30s"}, "window", timedelta(seconds=30)),
        ({"window": timedelta(minutes=1)}, "window", timedelta(minutes=1)),
        ({"window": None}, "window", None),
        ({"timeout": 5}, "open_for", 5.0),
        ({"open_for": "2m"}, "timeout", 120.0),
        ({"open_for": math.inf}, "open_for", math.inf),
        ({"open_for": 0}, "open_for", 0.0),
        ({"max_timeout": math.inf}, "max_timeout", math.inf),
        ({"probe_lease": "10s"}, "probe_lease", 10.0),
        ({"window": 10, "failure_rate": 1}, "failure_rate", 1.0),
        ({"window": 10, "failure_rate": 0.2, "failure_threshold": None}, None, None),
        ({"window": 10, "slow_call": timedelta(seconds=2)}, "slow_call", 2.0),
        ({"mode": "metrics_only"}, "mode", "metrics_only"),
    ],
    ids=str,
)
def test_values_are_taken_in_their_normal_form(given, name, value):
    """
    Times may be numbers, timedeltas or texts; they are kept as seconds, a window of time as a timedelta.
    """
    if name is None:
        with pytest.raises(PolicyError, match="failure_threshold must be a whole number"):
            CircuitBreakerConfig(**given)
    else:
        assert getattr(CircuitBreakerConfig(**given), name) == value


def test_listeners_are_one_or_several():
    """
    One listener or several may be given, of any class that has pybreaker's four methods.
    """
    one, other = Listener(), Listener()

    assert CircuitBreakerConfig(listeners=one).listeners == (one,)
    assert CircuitBreakerConfig(listeners=[one, other]).listeners == (one, other)


def test_configs_are_values():
    """
    Configs compare by what was given, are hashable, frozen, and survive copies and pickles.
    """
    one = CircuitBreakerConfig(timeout=5, counts=OSError)
    same = CircuitBreakerConfig(open_for=5.0, counts=(OSError,))

    assert one == same
    assert hash(one) == hash(same)
    assert one != CircuitBreakerConfig(timeout=6, counts=OSError)
    assert one != RetryConfig()
    assert one != "config"
    assert repr(one) == "CircuitBreakerConfig(timeout=5.0, counts=OSError)"
    assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(AttributeError, match="frozen; make a new one with timeout=9"):
        one.timeout = 9
    with pytest.raises(AttributeError, match=r"has no field 'threshold'; it has failure_threshold, success_threshold"):
        one.threshold  # noqa: B018 - reading it is what raises
    assert not hasattr(one, "__array__")


# -- what is refused -----------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"failure_threshold": 0}, "failure_threshold must be a whole number from 1"),
        ({"failure_threshold": True}, "failure_threshold must be a whole number from 1"),
        ({"success_threshold": 1.5}, "success_threshold must be a whole number from 1"),
        ({"open_for": -1}, "open_for must be seconds as a number of at least 0"),
        ({"timeout": math.nan}, "timeout must be seconds as a number of at least 0"),
        ({"timeout": 1, "open_for": 1}, "is another name for 'open_for'"),
        ({"reopen_factor": 0.5}, "reopen_factor must be a number of at least 1"),
        ({"half_open_max_calls": 0}, "half_open_max_calls must be a whole number from 1"),
        ({"probe_lease": 0}, "probe_lease must be seconds as a number above 0"),
        ({"probe_lease": math.inf}, "probe_lease must be seconds as a number above 0"),
        (
            {"window": 30.0},
            "window must be a number of calls (int), a timedelta, or a time like '30s', got 30.0 (float)",
        ),
        ({"window": True}, "window must be a number of calls"),
        ({"window": "soon"}, "window must be a number of calls"),
        ({"window": timedelta(0)}, "window must be a number of calls"),
        ({"window": timedelta(seconds=-1)}, "window must be a number of calls"),
        ({"window": "0.0001ms"}, "window must be a number of calls"),
        ({"window": "99999999999h"}, "window must be a number of calls"),
        ({"window": 0}, "window must hold from 1 to 100000 calls"),
        ({"window": 100_001}, "window must hold from 1 to 100000 calls"),
        ({"window": 10, "failure_rate": 0}, "failure_rate must be a number above 0 and at most 1"),
        ({"window": 10, "failure_rate": 1.1}, "failure_rate must be a number above 0 and at most 1"),
        ({"failure_rate": 0.5}, "failure_rate=0.5 needs a window to be a rate of; add window=100 (calls)"),
        ({"slow_call": 2}, "slow_call=2 needs a window to be a rate of"),
        (
            {"window": 10, "failure_rate": 0.5, "failure_threshold": 5},
            "failure_threshold=5 and failure_rate=0.5 exclude",
        ),
        ({"window": 10, "slow_call_rate": 0.5}, "slow_call_rate=0.5 has nothing to count; add slow_call="),
        ({"window": 10, "failure_rate": 0.5, "min_calls": 11}, "min_calls=11 can never be in a window of 10 calls"),
        ({"reopen_factor": math.inf}, "reopen_factor must be a number of at least 1"),
        ({"max_timeout": -1}, "max_timeout must be seconds as a number of at least 0"),
        ({"max_timeout": None}, "max_timeout must be seconds as a number of at least 0"),
        (
            {"open_for": "60"},
            "open_for must be seconds as a number of at least 0, a timedelta, or a text like '30s', inf",
        ),
        ({"half_open_max_calls": "1"}, "half_open_max_calls must be a whole number from 1"),
        ({"window": 10, "failure_rate": math.nan}, "failure_rate must be a number above 0 and at most 1"),
        ({"window": 10, "failure_rate": "50%"}, "failure_rate must be a number above 0 and at most 1"),
        ({"min_calls": 0}, "min_calls must be a whole number from 1"),
        ({"window": 10, "slow_call": 0}, "slow_call must be seconds as a number above 0"),
        ({"window": 10, "slow_call": math.inf}, "slow_call must be seconds as a number above 0"),
        ({"window": 10, "slow_call": 1, "slow_call_rate": 0}, "slow_call_rate must be a number above 0 and at most 1"),
        ({"slow_call_rate": 0.5}, "slow_call_rate=0.5 has nothing to count; add slow_call="),
        ({"counts": None}, "counts must be exception types, category names or a predicate"),
        ({"counts": [OSError, 3]}, "counts must be exception types, category names or a predicate"),
        ({"ignore": asyncio.sleep}, "ignore must be decided at once: a predicate cannot be async"),
        ({"listeners": None}, "listeners must be pybreaker listeners: objects with before_call"),
        ({"critical": 1}, "critical must be True or False"),
        ({"mode": "off"}, "mode must be one of 'on', 'disabled', 'metrics_only', got 'off' (str)"),
        ({"counts": KeyboardInterrupt}, "counts must be Exception types, and KeyboardInterrupt is not one"),
        ({"ignore": "validatoin"}, "ignore must be a category, one of 'network'"),
        ({"listeners": Deaf()}, "listeners must be pybreaker listeners: objects with before_call"),
        ({"listeners": [Listener(), Deaf()]}, "listeners must be pybreaker listeners: objects with before_call"),
    ],
    ids=shown,
)
@pytest.mark.parametrize("form", ["config", "decorator"])
def test_what_cannot_be_meant_is_refused(given, problem, form):
    """
    Each value that makes no sense is refused, with its name, what it was and what it has to be.
    """
    with pytest.raises(PolicyError) as caught:
        CircuitBreakerConfig(**given) if form == "config" else circuit(**given)(lambda: None)

    assert problem in str(caught.value)


def test_all_problems_are_told_at_once():
    """
    One error tells everything that is wrong, and whom it was given to.
    """
    with pytest.raises(PolicyError) as caught:
        CircuitBreakerConfig(failure_threshold=0, mode="off", window=1.5)

    assert caught.value.where == "CircuitBreakerConfig()"
    assert len(caught.value.problems) == 3


def test_unknown_option_is_refused_with_a_suggestion():
    """
    An option that is spelled wrong is refused with the right spelling.
    """
    with pytest.raises(PolicyError, match=r"unknown option 'failure_treshold'; did you mean 'failure_threshold'\?"):
        circuit(failure_treshold=3)(lambda: None)


# -- what the rules make of them ---------------------------------------------------


@pytest.mark.parametrize(
    ("given", "waits"),
    [
        ({}, [60.0, 60.0, 60.0]),
        ({"reopen_factor": 2}, [60.0, 120.0, 240.0, 300.0, 300.0]),
        ({"reopen_factor": 2, "max_timeout": math.inf, "open_for": 1e308}, [1e308, math.inf]),
        ({"reopen_factor": 10.0, "open_for": 600.0}, [600.0, 600.0]),
        ({"reopen_factor": 2, "open_for": math.inf}, [math.inf, math.inf]),
        ({"reopen_factor": 2, "open_for": 0}, [0.0, 0.0]),
    ],
    ids=str,
)
def test_open_time_grows_up_to_its_maximum(given, waits):
    """
    Each reopening multiplies the open time, up to the larger of `open_for` and `max_timeout`.
    """
    assert [open_time(options(**given), times) for times in range(len(waits))] == waits


def test_open_time_does_not_overflow():
    """
    After any number of reopenings the open time is a number.
    """
    assert open_time(options(reopen_factor=1e300, max_timeout=math.inf), 10**6) == math.inf
    assert open_time(options(reopen_factor=2.0), 10**6) == 300.0


@pytest.mark.parametrize(
    ("lease", "opened_for", "expected"),
    [(None, 5.0, 30.0), (None, 60.0, 60.0), (None, math.inf, 30.0), (7.0, 60.0, 7.0)],
)
def test_lease_defaults_to_the_open_time(lease, opened_for, expected):
    """
    A lease is as long as the circuit was open, at least 30 s, unless it is given.
    """
    assert lease_time(options(probe_lease=lease), opened_for) == expected


def test_small_window_lowers_min_calls():
    """
    A window smaller than the default of `min_calls` opens when it is full.
    """
    rule = TripRule(options(window=3, failure_rate=0.5))
    reasons = [rule.count(0.0, 0, failed, None)[0] for failed in (True, False, True)]

    assert reasons == [None, None, "failure rate"]
    assert (rule.rate(0.0), rule.calls(0.0), rule.failures(0.0, 9)) == (2 / 3, 3, 2)


def test_window_of_calls_without_a_rate_counts_failures_in_a_row():
    """
    A window of calls alone changes nothing about consecutive failures, and defines no rate.
    """
    rule = TripRule(options(window=10, failure_threshold=2))
    reasons = [rule.count(0.0, in_a_row, True, None)[0] for in_a_row in (1, 2)]

    assert reasons == [None, "failures"]
    assert (rule.timed, rule.rate(0.0), rule.calls(0.0), rule.dump(0.0)) == (False, None, None, [])
    assert repr(rule) == "<TripRule over failures in a row>"


def test_window_of_time_defines_no_rate_where_successes_are_not_counted():
    """
    Where only failures are looked at, successes stay quiet: there is no rate to tell.
    """
    rule = TripRule(options(window="10s", failure_threshold=3))
    reasons = [rule.count(at, 1, at != 5.0, None)[0] for at in (0.0, 5.0, 8.0, 11.0, 12.0)]

    assert reasons == [None, None, None, None, "failures"]
    assert (rule.rate(12.0), rule.calls(12.0), rule.failures(12.0, 0)) == (None, None, 3)
    assert repr(rule) == "<TripRule over <TimeWindow of 10 s: 3 in it, 3 failed, 0 slow>>"


def test_slow_calls_come_beside_the_other_rules():
    """
    With `slow_call`, failures in a row open a window of calls as before.
    """
    rule = TripRule(options(window=4, failure_threshold=2, slow_call=1.0))
    reasons = [rule.count(0.0, in_a_row, True, 0.5)[0] for in_a_row in (1, 2)]
    rule.clear()
    slow = [rule.count(0.0, 0, False, elapsed)[0] for elapsed in (2.0, 2.0, 1.1, 9.0)]

    assert reasons == [None, "failures"]
    assert slow == [None, None, None, "slow"]
    assert (rule.rate(0.0), rule.rate(0.0, "slow")) == (0.0, 1.0)


def test_policy_shows_what_differs_from_the_defaults():
    """
    A circuit policy shows itself as the decorator that would make it.
    """
    breaker = Registry().circuit("api", CircuitBreakerConfig(timeout=5, window=10, failure_rate=0.5))

    assert repr(CircuitPolicy(breaker)) == "@circuit('api', open_for=5.0, window=10, failure_rate=0.5)"


def test_waiting_as_told_is_waiting_long_enough():
    """
    Who waits exactly as long as a rejection says is admitted, whatever floats make of the sum.
    """
    clock = FakeClock(start=0.1)
    breaker = Registry(clock=clock).circuit("api", CircuitBreakerConfig(open_for=0.7))
    for _ in range(200):
        breaker.state = "open"
        clock.advance(0.1)
        with pytest.raises(CircuitBreakerOpenError) as caught:
            breaker.acquire()
        clock.advance(caught.value.retry_after)
        breaker.acquire().release()
