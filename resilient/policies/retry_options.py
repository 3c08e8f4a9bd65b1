"""
The options of retry: their table, how sources merge, and what contradicts what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilient.policies.checks import callable_or_none, choice, integer, number, seconds
from resilient.policies.matching import matcher
from resilient.policies.options import Option, OptionTable, is_async

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RETRY_OPTIONS", "check_colour", "check_together", "merge"]

RETRY_OPTIONS = OptionTable(
    "retry",
    Option(
        "on",
        lambda value: None if value is None else matcher(value),
        None,
        "what is retried: exception types, a predicate or category names; None: what the classifier calls transient",
        aliases=("retryable_exceptions",),
    ),
    Option("max_attempts", integer(minimum=1), 3, "calls in all, the first included"),
    Option("initial_delay", seconds(), 1.0, "seconds before the first retry"),
    Option("max_delay", seconds(), 60.0, "seconds that no delay exceeds, jitter included"),
    Option("exponential_base", number(minimum=1.0), 2.0, "what each delay is multiplied by"),
    Option("jitter", choice(True, False, "full", "decorrelated"), True, "how delays are spread"),  # noqa: FBT003 - an option's values
    Option("max_duration", seconds(zero=False, optional=True), None, "seconds for all attempts and waits"),
    Option("on_result", callable_or_none, None, "predicate on the returned value that asks for another attempt"),
    Option("wait", callable_or_none, None, "a tenacity wait strategy"),
    Option("stop", callable_or_none, None, "a tenacity stop strategy"),
    Option("retry", callable_or_none, None, "a tenacity retry strategy"),
    Option("before_sleep", callable_or_none, None, "a tenacity callback before each wait"),
)

# What each strategy object stands for, and so cannot be given beside.
_STANDS_FOR = {
    "wait": ("initial_delay", "max_delay", "exponential_base", "jitter"),
    "stop": ("max_attempts", "max_duration"),
    "retry": ("on", "on_result"),
}


def merge(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return *base* with *given* over it: a strategy and what it stands for replace each other.
    """
    replaced: set[str] = set()
    for strategy, names in _STANDS_FOR.items():
        if given.get(strategy) is not None:
            replaced.update(names)
        if any(given.get(name) is not None for name in names):
            replaced.add(strategy)
    return {**{name: value for name, value in base.items() if name not in replaced}, **given}


def check_together(given: Mapping[str, Any]) -> list[str]:
    """
    Return one sentence for each pair of retry options that contradict each other.
    """
    problems = []
    for strategy, names in _STANDS_FOR.items():
        if given.get(strategy) is not None:
            problems += [
                f"{name} and {strategy}= exclude each other, got both; {strategy}= decides alone, so leave {name} out"
                for name in names
                if given.get(name) is not None
            ]
    initial = given.get("initial_delay", 0.0)
    maximum = given.get("max_delay", RETRY_OPTIONS.options["max_delay"].default)
    if maximum < initial:
        problems.append(f"max_delay must be at least initial_delay ({initial:g} s), got {maximum:g}; raise it")
    return problems


def check_colour(given: Mapping[str, Any], function: str) -> list[str]:
    """
    Return one sentence for each async option of the sync function called *function*.
    """
    return [
        f"{name}= is async and {function} is not, so nobody would await it; make {function} async, or give a sync one"
        for name in ("on_result", "wait", "stop", "retry", "before_sleep")
        if is_async(given.get(name))
    ]
