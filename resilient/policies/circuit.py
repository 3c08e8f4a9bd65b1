"""
Circuit: its options, and the plan that asks a breaker before each call.
"""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from resilient.policies.base import Plan, Raised, Returned
from resilient.policies.checks import boolean, choice, fraction, integer, number, parse_duration, seconds
from resilient.policies.matching import ANY, Matcher, matcher
from resilient.policies.options import Option, OptionTable
from resilient.policies.policy import Policy
from resilient.policies.window import MAX_CALLS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from resilient.breaker import CircuitBreaker
    from resilient.operation import Operation
    from resilient.policies.policy import Gate

__all__ = ["CIRCUIT_OPTIONS", "CircuitPolicy", "CircuitState", "check_together"]


# Seconds of a time window.
_SHORTEST = 1e-3
_LONGEST = 1e9


class CircuitState(Enum):
    """
    What a circuit does with calls: admit all, none, or a few probes.
    """

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


def _window(value: object) -> int | timedelta | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MAX_CALLS:
            msg = f"must hold from 1 to {MAX_CALLS} calls"
            raise ValueError(msg)
        return value
    span = parse_duration(value) if isinstance(value, str | timedelta) else None
    # Between what a timedelta tells from nothing, and what it can hold.
    if not isinstance(span, float) or not _SHORTEST <= span <= _LONGEST:
        msg = "must be a number of calls (int), a timedelta, or a time like '30s'"
        raise ValueError(msg)
    return timedelta(seconds=span)


def _listeners(value: object) -> tuple[object, ...]:
    listeners = tuple(value) if isinstance(value, tuple | list) else (value,)
    methods = ("before_call", "failure", "success", "state_change")
    if any(not all(callable(getattr(one, method, None)) for method in methods) for one in listeners):
        msg = "must be pybreaker listeners: objects with before_call, failure, success and state_change"
        raise ValueError(msg)
    return listeners


CIRCUIT_OPTIONS = OptionTable(
    "circuit",
    Option("failure_threshold", integer(minimum=1), 5, "consecutive failures that open; in a time window, failures"),
    Option("success_threshold", integer(minimum=1), 2, "successful probes that close"),
    Option("open_for", seconds(infinite=True), 60.0, "seconds open before probing; inf: never by itself", ("timeout",)),
    Option("reopen_factor", number(minimum=1.0), 1.0, "what each consecutive reopening multiplies the open time by"),
    Option("max_timeout", seconds(infinite=True), 300.0, "seconds that reopenings stretch the open time to"),
    Option("half_open_max_calls", integer(minimum=1), 1, "probes in flight at once"),
    Option(
        "probe_lease",
        seconds(zero=False, optional=True),
        None,
        "seconds after which a silent probe gives its permit back; None: the open time, at least 30 s",
    ),
    Option("window", _window, None, "the last N calls (int), or a time (timedelta, '30s')"),
    Option(
        "failure_rate",
        lambda value: None if value is None else fraction()(value),
        None,
        "with a window: the fraction of failures that opens",
    ),
    Option("min_calls", integer(minimum=1), 10, "calls in the window below which no rate is defined"),
    Option("slow_call", seconds(zero=False, optional=True), None, "with a window: seconds from which a call is slow"),
    Option("slow_call_rate", fraction(), 1.0, "with slow_call: the fraction of slow calls that opens"),
    Option("critical", boolean, False, "while it is open, health is 'fail'"),  # noqa: FBT003 - an option's default
    Option("mode", choice("on", "disabled", "metrics_only"), "on", "whether it rejects, and whether it records"),
    Option("counts", matcher, ANY, "what is a failure: types, a predicate or category names"),
    Option("ignore", matcher, Matcher(), "what is neither failure nor success; wins over counts"),
    Option("listeners", _listeners, (), "pybreaker listener objects"),
)


def check_together(given: Mapping[str, Any]) -> list[str]:
    """
    Return one sentence for each pair of circuit options that contradict each other.
    """
    problems = []
    window = given.get("window")
    rate, threshold, slow = given.get("failure_rate"), given.get("failure_threshold"), given.get("slow_call")
    if rate is not None and threshold is not None:
        problems.append(
            f"failure_threshold={threshold} and failure_rate={rate:g} exclude each other; give the one that should open"
        )
    if window is None:
        problems += [
            f"{name}={value:g} needs a window to be a rate of; add window=100 (calls) or window='30s'"
            for name, value in (("failure_rate", rate), ("slow_call", slow))
            if value is not None
        ]
    if "slow_call_rate" in given and slow is None:
        problems.append(f"slow_call_rate={given['slow_call_rate']:g} has nothing to count; add slow_call= (seconds)")
    if isinstance(window, int) and given.get("min_calls", 0) > window:
        problems.append(f"min_calls={given['min_calls']} can never be in a window of {window} calls; lower it")
    return problems


class CircuitPolicy(Policy):
    """
    A circuit, at its place in one pipeline.

    Args:
        breaker: What decides; shared with everyone who uses the same circuit.
    """

    __slots__ = ("breaker",)

    table = CIRCUIT_OPTIONS

    def __init__(self, breaker: CircuitBreaker) -> None:
        self.breaker: CircuitBreaker = breaker

    @property
    def gate(self) -> Gate:  # type: ignore[override]  # of most policies it is an attribute
        """
        What has to let a call pass before it is quiet.
        """
        return self.breaker

    def __repr__(self) -> str:
        return CIRCUIT_OPTIONS.show(self.breaker.options, repr(self.breaker.name))

    def plan(self, op: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], inner: Callable[..., Plan]) -> Plan:
        """
        Ask for admission, make the call, and report what came of it.
        """
        breaker = self.breaker
        generation = op.admitted(breaker)
        if generation is None:
            permit = breaker.admit(op, args, kwargs)
            if isinstance(permit, Exception):
                return Raised(permit)
        else:
            permit = breaker.quiet_permit(generation, op.started)
        try:
            outcome = yield from inner(op, args, kwargs)
        except BaseException:
            # The plan is being closed: Ctrl-C, cancellation, GeneratorExit.
            permit.release()
            raise
        if type(outcome) is Returned:
            breaker.record(permit, None, op)
        else:
            breaker.record(permit, outcome, op)  # type: ignore[arg-type]
        return outcome

    def failed(self, op: Operation, outcome: Raised) -> None:
        """
        Count the failure of a call that passed quietly.
        """
        self.breaker.failed(op.admitted(self.breaker), outcome, op)  # type: ignore[arg-type]  # it passed
