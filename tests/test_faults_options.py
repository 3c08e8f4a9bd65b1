"""
Fault 38: options that cannot be meant.
"""

from __future__ import annotations

import functools
import math
from datetime import timedelta

import pytest

from resilient import PolicyError, circuit, degradable, fallback_chain, recoverable, retry
from tests.harness import script

WRONG = [
    (retry, {"max_attempts": 0}, ["max_attempts must be a whole number from 1 to 1000000, got 0 (int)"]),
    (retry, {"max_attempts": -1}, ["max_attempts", "got -1"]),
    (retry, {"max_attempts": 10**9}, ["max_attempts", "to 1000000", "got 1000000000"]),
    (retry, {"max_attempts": 3.0}, ["max_attempts", "whole number", "got 3.0 (float)"]),
    (retry, {"max_attempts": True}, ["max_attempts", "got True (bool)"]),
    (retry, {"max_attempts": "3"}, ["max_attempts", "got '3' (str)"]),
    (retry, {"max_attempts": None}, ["max_attempts", "got None"]),
    (retry, {"initial_delay": math.inf}, ["initial_delay must be seconds", "got inf"]),
    (retry, {"initial_delay": math.nan}, ["initial_delay must be seconds", "got nan"]),
    (retry, {"initial_delay": -0.1}, ["initial_delay", "at least 0", "got -0.1"]),
    (retry, {"initial_delay": 10**400}, ["initial_delay"]),
    (retry, {"initial_delay": "soon"}, ["initial_delay", "'30s'", "got 'soon'"]),
    (retry, {"initial_delay": timedelta(seconds=-1)}, ["initial_delay", "timedelta"]),
    (retry, {"initial_delay": 90.0}, ["max_delay", "at least initial_delay (90 s)", "got 60"]),
    (retry, {"initial_delay": 9, "max_delay": 1}, ["max_delay must be at least initial_delay (9 s)", "got 1"]),
    (retry, {"max_delay": math.inf}, ["max_delay", "got inf"]),
    (retry, {"max_delay": -1}, ["max_delay", "got -1"]),
    (retry, {"exponential_base": 0.5}, ["exponential_base", "at least 1", "got 0.5"]),
    (retry, {"exponential_base": math.nan}, ["exponential_base", "got nan"]),
    (retry, {"jitter": 5.0}, ["jitter", "'full'", "got 5.0"]),
    (retry, {"jitter": 1}, ["jitter", "True, False", "got 1 (int)"]),
    (retry, {"jitter": "ful"}, ["jitter", "got 'ful'"]),
    (retry, {"max_duration": 0}, ["max_duration must be", "above 0", "got 0"]),
    (retry, {"max_duration": math.nan}, ["max_duration", "got nan"]),
    (retry, {"on": "netwrok"}, ["on", "'network'", "got 'netwrok'"]),
    (retry, {"on": KeyboardInterrupt}, ["on", "KeyboardInterrupt is not one"]),
    (retry, {"on": int}, ["on", "int is none of them"]),
    (retry, {"on": 5}, ["on", "got 5"]),
    (retry, {"wait": 3}, ["wait", "callable", "got 3"]),
    (retry, {"stop": lambda state: True, "max_attempts": 2}, ["max_attempts and stop=", "leave max_attempts out"]),
    (retry, {"max_atempts": 3}, ["unknown option 'max_atempts'", "did you mean 'max_attempts'?"]),
    (retry, {"attempts": 3}, ["unknown option 'attempts'", "did you mean 'max_attempts'?"]),
    (retry, {"tries": 3}, ["unknown option 'tries'"]),
    (retry, {"registry": "default"}, ["registry", "'default'"]),
    (circuit, {"failure_threshold": 0}, ["failure_threshold", "got 0"]),
    (circuit, {"failure_treshold": 1}, ["unknown option 'failure_treshold'", "did you mean 'failure_threshold'?"]),
    (circuit, {"success_threshold": 0}, ["success_threshold", "got 0"]),
    (circuit, {"open_for": -1}, ["open_for", "got -1"]),
    (circuit, {"open_for": math.nan}, ["open_for", "got nan"]),
    (circuit, {"open_for": 1.0, "timeout": 2.0}, ["open_for", "timeout", "give one of them"]),
    (circuit, {"window": 0}, ["window must", "got 0"]),
    (circuit, {"window": 3.5}, ["window must", "got 3.5 (float)"]),
    (circuit, {"window": 5.0}, ["window must", "'30s'", "got 5.0 (float)"]),
    (circuit, {"window": timedelta(0)}, ["window"]),
    (circuit, {"window": 10, "failure_rate": 0}, ["failure_rate must be", "above 0", "got 0"]),
    (circuit, {"window": 10, "failure_rate": 1.5}, ["failure_rate", "at most 1", "got 1.5"]),
    (circuit, {"failure_rate": 0.5}, ["failure_rate", "window"]),
    (circuit, {"window": 10, "failure_rate": 0.5, "failure_threshold": 3}, ["failure_rate", "failure_threshold"]),
    (circuit, {"slow_call": 1.0}, ["slow_call", "window"]),
    (circuit, {"half_open_max_calls": 0}, ["half_open_max_calls", "got 0"]),
    (circuit, {"reopen_factor": 0.5}, ["reopen_factor", "got 0.5"]),
    (circuit, {"probe_lease": -1}, ["probe_lease", "got -1"]),
    (circuit, {"mode": "off"}, ["mode", "'metrics_only'", "got 'off'"]),
    (circuit, {"critical": 1}, ["critical", "True or False", "got 1"]),
    (circuit, {"listeners": 7}, ["listeners", "7"]),
    (recoverable, {"max_runs": 0}, ["max_runs", "got 0"]),
    (recoverable, {"playbook": "memroy"}, ["playbook", "memory", "got 'memroy'"]),
    (recoverable, {"max_run": 1}, ["unknown option 'max_run'", "did you mean 'max_runs'?"]),
    (degradable, {"floor": "lowest"}, ["floor", "minimal", "'lowest'"]),
    (degradable, {"stepz": False, "quality": lambda value, level: value}, ["stepz"]),
    (degradable, {"scope": ""}, ["scope", "''"]),
    (functools.partial(fallback_chain, script(1)), {"nmae": "x"}, ["unknown option 'nmae'", "'name'"]),
    (functools.partial(fallback_chain, 5), {}, ["fallback must be a function", "got 5"]),
    (functools.partial(fallback_chain, script(1)), {"on": "netwrok"}, ["on", "'network'"]),
    (functools.partial(fallback_chain, script(1)), {"name": " "}, ["name", "not empty"]),
]


def _case(value):
    if isinstance(value, dict):
        return ",".join(
            f"{key}={one if isinstance(one, str | int | float) else type(one).__name__}" for key, one in value.items()
        )[:60]
    return getattr(value, "__name__", "") if callable(value) else " "


@pytest.mark.parametrize(("decorator", "options", "told"), WRONG, ids=_case)
def test_row_38_a_wrong_option_is_refused_at_decoration(colour, decorator, options, told):
    """
    The error is there before the first call, and says where, which option, what was received, and the remedy.
    """

    @colour.of
    def render(quality=1.0, steps=50):
        raise AssertionError

    with pytest.raises(PolicyError) as caught:
        decorator(**options)(render)
    text = str(caught.value)

    assert isinstance(caught.value, ValueError)
    assert render.__qualname__ in text
    assert [one for one in told if one not in text] == []
    assert not hasattr(render, "resilience")


def test_row_38_all_problems_of_one_call_at_once(colour):
    """
    Four wrong options are one error with four problems, in the order of the call.
    """
    with pytest.raises(PolicyError) as caught:
        retry(max_attempts=0, initial_delay=math.nan, jiter=False, exponential_base=-2)(colour.of(script(1)))

    assert [one.split()[0] for one in caught.value.problems] == [
        "max_attempts",
        "initial_delay",
        "unknown",
        "exponential_base",
    ]
