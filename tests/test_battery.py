"""
The battery of checks for any policy: ours and a user's own keep all promises, and each that is broken is found.
"""

from __future__ import annotations

import enum
import gc
import operator
import threading

import pytest

from resilient import (
    DegradationLevel,
    Fallback,
    PolicyError,
    Registry,
    at_level,
    circuit,
    degradable,
    delivery,
    fallback_chain,
    kinds,
    recoverable,
    retry,
    scale,
    timeout,
)
from resilient.policy import Option, OptionTable, decorator
from resilient.testing.battery import calls as battery_calls
from resilient.testing.battery import check as battery_check
from resilient.testing.battery import policy_battery
from tests.broken_policies import BROKEN, Audit, Broken, Bulkhead, Closed
from tests.harness import python


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """
    Forget the kinds and events of these policies again.
    """
    monkeypatch.setattr(kinds, "_order", kinds.in_order())
    monkeypatch.setattr(delivery, "_known", delivery._known)  # noqa: SLF001 - there is no way to take one back
    before = dict(kinds.ADDED)
    yield
    kinds._added.clear()  # noqa: SLF001 - as above
    kinds._added.update(before)  # noqa: SLF001 - as above


def failures(checks):
    """
    Run *checks*, and return what those that fail say, by name.
    """
    found = {}
    for check in checks:
        try:
            check()
        except AssertionError as error:
            found[check.__name__] = str(error)
    return found


def stand_in(*args, **kwargs):
    """
    Stand in for a function.
    """
    return "stand-in"


def is_lost(error):
    """
    Tell whether an error is one of a connection.
    """
    return isinstance(error, ConnectionError)


# One of each in the quick run; the others are slow together.
FIRST = (
    "retry, by predicate",
    "retry, patient",
    "circuit, named",
    "circuit, window",
    "fallback_chain",
    "degradable, rules",
    "recoverable",
    "timeout",
    "timeout, in a thread",
)

OURS = {
    "retry": (retry, {}),
    "retry, quick": (retry(max_attempts=2, initial_delay=0), {}),
    "retry, of all": (retry(max_attempts=5, on=Exception, jitter="full", max_duration="20s"), {}),
    "retry, by predicate": (retry(on=is_lost, on_result=lambda value: value == "again"), {}),
    "retry, patient": (retry(max_attempts=20, on=ConnectionError, on_result=operator.not_), {}),
    "circuit": (circuit, {}),
    "circuit, named": (circuit("c", failure_threshold=2, open_for=5.0, success_threshold=1, ignore=ValueError), {}),
    "circuit, window": (circuit(failure_threshold=3, window="8s", open_for=4.0), {}),
    "circuit, rate": (circuit(failure_rate=0.5, window=6, min_calls=4, open_for=float("inf")), {}),
    "circuit, slow": (circuit(failure_rate=0.5, window="9s", slow_call=2.0, slow_call_rate=0.6), {}),
    "circuit, metrics": (circuit(failure_threshold=2, mode="metrics_only"), {}),
    "fallback_chain": (fallback_chain(stand_in), {}),
    "fallback_chain, named": (fallback_chain(Fallback(stand_in, on=OSError), name="chain"), {}),
    "degradable": (degradable, {}),
    "degradable, rules": (degradable(steps=scale(minimum=8), floor="low", scope="video"), {}),
    "recoverable": (recoverable, {}),
    "recoverable, once": (recoverable(playbook="memory", max_runs=1), {}),
    "timeout": (timeout(5), {"sync": False}),
    "timeout, in a thread": (timeout("5s", in_thread=True, max_threads=4), {"asynchronous": False}),
}


@pytest.mark.parametrize(
    ("policy", "check"),
    [
        pytest.param(name, check, marks=() if name in FIRST else pytest.mark.slow)
        for name, (policy, colours) in OURS.items()
        for check in policy_battery(policy, **colours)
    ],
)
def test_our_policies_keep_all_promises(policy, check):
    """
    All six, in several configurations.
    """
    check()


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["degradable", "degradable, rules", "retry"])
def test_our_policies_keep_all_promises_at_a_lowered_level(policy):
    """
    The level of whoever runs a check holds for the calls that it makes on its own thread.
    """
    decorate, colours = OURS[policy]
    with at_level(DegradationLevel.LOW):
        assert failures(policy_battery(decorate, **colours)) == {}


@pytest.mark.parametrize(
    ("policy", "options"),
    [
        pytest.param(Bulkhead, {}, marks=pytest.mark.slow),
        pytest.param(Bulkhead, {"limit": 5}, marks=pytest.mark.slow),
        (Bulkhead, {"limit": 1, "waits": True}),
        pytest.param(Bulkhead, {"limit": 2, "waits": True}, marks=pytest.mark.slow),
        (Audit, {"purpose": "law"}),
        pytest.param(Audit, {}, marks=pytest.mark.slow),
        (Closed, {}),
    ],
)
def test_policies_of_a_users_own_keep_all_promises(policy, options):
    """
    One that waits by `Await`, one that learns of failures only, and one that refuses everything.
    """
    assert failures(policy_battery(decorator(policy)(**options) if options else decorator(policy))) == {}


def plain(check):
    """
    Return the name of a check, without its colour.
    """
    return check.__name__.removesuffix("_sync").removesuffix("_async")


@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
@pytest.mark.parametrize("among", ["its own", pytest.param("all", marks=pytest.mark.slow)])
@pytest.mark.parametrize("broken", [one[1:] for one in BROKEN], ids=[one[0] for one in BROKEN])
def test_a_broken_policy_fails_in_the_check_that_names_its_promise(broken, among, monkeypatch):
    """
    In this one and in no other, and what was seen is told.
    """
    make, check, seen, also = broken
    monkeypatch.setattr(battery_calls, "_GRACE", 0.3)
    checks = {one.__name__: one for one in policy_battery(make()) if among == "all" or plain(one) == check}
    found = failures(checks.values())

    assert {plain(checks[name]) for name in found} == {check} | (also if among == "all" else set())
    assert all(text.startswith(checks[name].promise) for name, text in found.items())
    assert any(seen in text for text in found.values()), found


class Tint(enum.Enum):
    """
    What only code can give.
    """

    RED = 1


def tint(value):
    """
    Check for a `Tint`.
    """
    if not isinstance(value, Tint):
        msg = "must be a Tint"
        raise ValueError(msg)
    return value


class Painted(Closed):
    """
    A policy with such an option.
    """

    table = OptionTable("painted", Option("tint", tint, Tint.RED, "the colour"))


def test_what_no_file_can_give_is_not_looked_for_in_one():
    """
    An option that takes no text, number or switch is left out of the check of files.
    """
    painted = decorator(Painted)

    assert failures(policy_battery(painted(tint=Tint.RED))) == {}


def test_each_promise_has_a_policy_that_breaks_it():
    """
    No check passes whatever happens.
    """
    names = {plain(check) for check in policy_battery(retry)}

    assert {check for _, _, check, _, _ in BROKEN} == names


# -- what hangs, and what cannot be checked ------------------------------------------------


@pytest.fixture
def impatient(monkeypatch):
    """
    Give up on what hangs soon.
    """
    monkeypatch.setattr(battery_check, "PATIENCE", 0.3)


class HoldsOneLock(Broken):
    table = OptionTable("broken")

    def __init__(self, options, site):
        super().__init__(options, site)
        self.lock = threading.Lock()

    def plan(self, op, args, kwargs, inner):
        with self.lock:
            return (yield from inner(op, args, kwargs))


class Stumbles(Broken):
    table = OptionTable("broken")

    def plan(self, op, args, kwargs, inner):
        raise RuntimeError
        yield


def one(checks, name):
    """
    Return the check of that name.
    """
    return next(check for check in checks if check.__name__ == name)


@pytest.mark.usefixtures("impatient")
def test_what_hangs_is_told_and_not_waited_for():
    """
    A lock that is held while the plan stands still keeps the next call out for ever.
    """
    check = one(policy_battery(decorator(HoldsOneLock)), "permits_are_given_back_sync")
    with pytest.raises(AssertionError, match=r"the check had not ended after 0\.3 s: something waits for ever"):
        check()


def test_what_comes_out_of_a_plan_is_told():
    """
    With the promise, the policy, and the error as its cause.
    """
    check = one(policy_battery(decorator(Stumbles)), "refusals_are_counted_sync")
    with pytest.raises(AssertionError, match="under @broken, RuntimeError came out of its plan") as raised:
        check()

    assert isinstance(raised.value.__cause__, RuntimeError)


def test_checks_have_names_and_say_what_they_promise():
    """
    A report of tests shows the name; its promise is the check's docstring and in its repr.
    """
    checks = policy_battery(retry)
    names = [check.__name__ for check in checks]

    assert len(set(names)) == len(names)
    assert {"results_arrive_sync", "results_arrive_async", "cancellation_leaves_at_once", "options_have_help"} <= {
        *names
    }
    assert checks[0].__doc__ == "a result arrives as the very object that the function returned."
    assert repr(checks[0]) == f"<check results_arrive_sync: {checks[0].promise}>"


@pytest.mark.parametrize(
    ("colours", "missing"), [({"sync": False}, "_sync"), ({"asynchronous": False}, "_async")], ids=["async", "sync"]
)
def test_a_colour_may_be_left_out(colours, missing):
    """
    Then its checks are, and those that need no colour stay.
    """
    names = {check.__name__ for check in policy_battery(retry, **colours)}

    assert not any(name.endswith(missing) for name in names)
    assert "options_have_help" in names
    assert ("cancellation_leaves_at_once" in names) == (missing == "_sync")


@pytest.mark.parametrize(
    ("policy", "colours", "told"),
    [
        (retry, {"sync": False, "asynchronous": False}, "leaves nothing to check"),
        (timeout(5), {}, "it refuses sync functions; mend that, or give sync=False"),
        (timeout(5, in_thread=True), {"sync": False}, "refuses async functions; mend that, or give asynchronous=False"),
        (3, {}, "ready to be put on a function, got 3"),
        (lambda fn: fn, {}, r"takes what resilient\.policy\.decorator makes, got"),
        (retry(registry=Registry("mine")), {}, "leave registry=.* out"),
    ],
)
def test_what_cannot_be_checked_is_refused(policy, colours, told):
    """
    With what to do about it, when the checks are made.
    """
    with pytest.raises(PolicyError, match=told):
        policy_battery(policy, **colours)


def test_checks_leave_the_process_as_it_was():
    """
    The default registry, the garbage collector and the log are as they were.
    """
    code = (
        "import gc, logging, resilient; from resilient.testing import policy_battery;"
        "before = resilient.default_registry();"
        "gc.disable();"
        "[check() for check in policy_battery(resilient.retry)];"
        "assert not gc.isenabled() and before is resilient.default_registry();"
        "assert logging.getLogger('resilient').level == 0; import sys; print('pytest' in sys.modules)"
    )

    assert python("-c", code) == ("False\n", "")


@pytest.mark.usefixtures("no_gc")
def test_the_garbage_collector_stays_off():
    """
    Where it was off before.
    """
    one(policy_battery(retry), "calls_keep_nothing_sync")()

    assert not gc.isenabled()


def test_the_battery_is_loaded_when_it_is_asked_for():
    """
    Nor does the rest of `resilient.testing` have a use for it; and there is nothing else that it has.
    """
    code = (
        "import sys, resilient.testing as testing; print('resilient.testing.battery' in sys.modules);"
        "print(testing.policy_battery is testing.policy_battery, hasattr(testing, 'nothing'))"
    )

    assert python("-c", code) == ("False\nTrue False\n", "")
