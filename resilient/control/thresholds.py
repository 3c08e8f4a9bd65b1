"""
The options of the triggers: which thresholds there are, and how patient they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from resilient.errors import PolicyError
from resilient.light import dataclass
from resilient.policies.checks import fraction, number, seconds, text
from resilient.policies.options import Option, OptionTable, describe

__all__ = ["BUILT_IN", "Timing", "check_signal", "check_triggers"]


@dataclass(frozen=True, slots=True)
class Timing:
    """
    How patient the triggers are.

    Args:
        hold_down: Seconds above a threshold before a step down.
        hold_up: Seconds below all recovery marks before a step up.
        recover_at: The recovery mark, as a fraction of the threshold.
        dwell: Seconds between two steps at least.
        restore_after: Seconds without cause before a step up; inf: never for that alone.
    """

    hold_down: float = 30.0
    hold_up: float = 120.0
    recover_at: float = 0.7
    dwell: float = 60.0
    restore_after: float = 300.0


_TIMING = OptionTable(
    "configure_triggers",
    Option("hold_down", seconds(), 30.0, "seconds above a threshold before a step down"),
    Option("hold_up", seconds(), 120.0, "seconds below all recovery marks before a step up"),
    Option("recover_at", fraction(), 0.7, "the recovery mark, as a fraction of the threshold"),
    Option("dwell", seconds(), 60.0, "seconds between two steps at least"),
    Option("restore_after", seconds(zero=False, infinite=True), 300.0, "seconds without cause before a step up"),
)

_THRESHOLDS = OptionTable(
    "configure_triggers",
    Option("error_rate_threshold", number(above=True), None, "errors per minute"),
    Option("failure_ratio_threshold", fraction(), None, "operations that failed / operations, over five minutes"),
    Option("response_time_threshold", seconds(zero=False), None, "95th percentile of what calls take, in seconds"),
    Option("memory_usage_threshold", fraction(), None, "part of the machine's memory in use"),
    Option("cpu_usage_threshold", fraction(), None, "part of the machine's CPU time in use"),
)

BUILT_IN = tuple(name.removesuffix("_threshold") for name in _THRESHOLDS.options)
"""The names of the built-in signals."""


def check_triggers(thresholds: Mapping[str, object], timing: Mapping[str, object]) -> tuple[dict[str, float], Timing]:
    """
    Return the thresholds by the built-in signals' names, and the timing.

    Raises:
        PolicyError: With every problem of both at once.
    """
    times, problems = _TIMING.check(timing)
    known = {}
    if isinstance(thresholds, Mapping):
        known = {key: value for key, value in thresholds.items() if key in _THRESHOLDS.options}
        problems += [_unknown(key) for key in thresholds if key not in known]
    else:
        problems.append(
            f"thresholds must be a mapping such as {{'error_rate_threshold': 10}}, got {describe(thresholds)}"
        )
    given, wrong = _THRESHOLDS.check(known)
    problems += wrong
    if problems:
        raise PolicyError("configure_triggers", problems)
    return {name.removesuffix("_threshold"): value for name, value in given.items()}, Timing(**times)


def _unknown(key: object) -> str:
    import difflib

    close = difflib.get_close_matches(str(key), _THRESHOLDS.options, n=1, cutoff=0.75)
    remedy = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(_THRESHOLDS.options)}."
    return (
        f"unknown threshold {describe(key)}; {remedy} A signal of your own comes with add_signal(name, fn, threshold)"
    )


def _free_name(value: object) -> str:
    name = text(value)
    if name in BUILT_IN:
        msg = f"must not be a built-in signal's; for that one use configure_triggers({{'{name}_threshold': ...}})"
        raise ValueError(msg)
    return name


def _plain_function(value: object) -> object:
    if not callable(value) or inspect.iscoroutinefunction(value):
        msg = "must be a plain function that takes nothing and returns a number"
        raise ValueError(msg)
    return value


def _own_mark(value: object) -> object:
    return None if value is None else fraction()(value)


_SIGNAL = OptionTable(
    "add_signal",
    Option("name", _free_name, None, "the signal's name"),
    Option("fn", _plain_function, None, "returns its value"),
    Option("threshold", number(above=True), None, "above this it asks for a step down"),
    Option("recover_at", _own_mark, None, "its own recovery mark, as a fraction of the threshold"),
)


def check_signal(name: object, fn: object, threshold: object, recover_at: object) -> dict[str, Any]:
    """
    Return the options of a signal in their normal form.

    Raises:
        PolicyError: With every problem at once.
    """
    return _SIGNAL.validate("add_signal", {"name": name, "fn": fn, "threshold": threshold, "recover_at": recover_at})
