"""
`recoverable`: the playbook for an error's category, walked around the calls below it.
"""

from __future__ import annotations

import asyncio
import itertools
import warnings

import pytest

from resilient import (
    CircuitBreakerOpenError,
    DegradationLevel,
    ErrorCategory,
    FallbackChainExhaustedError,
    PolicyError,
    PolicyOrderWarning,
    Registry,
    circuit,
    degradable,
    enabled_from,
    fallback_chain,
    recoverable,
    resilience_of,
    retry,
)
from resilient.events import RecoveryRun
from resilient.testing import FakeClock

both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


class StuckError(Exception):
    """
    What a workflow gets stuck with.
    """


@pytest.fixture
def registry():
    """
    A registry whose workflow category includes `StuckError`.
    """
    registry = Registry(clock=FakeClock())
    registry.classifier.add(StuckError, "workflow")
    return registry


def failing(*errors, result="done", is_async=False):
    """
    Return a function that raises *errors* in order, then returns; and the list of its calls' arguments.
    """
    script, seen = list(errors), []

    def work(steps=50, *, hdr=True):
        seen.append((steps, hdr))
        if script:
            raise script.pop(0)
        return result

    async def awork(steps=50, *, hdr=True):
        return work(steps, hdr=hdr)

    return (awork if is_async else work), seen


def outcome(fn, *args, **kwargs):
    """
    Return the outcome of a call, sync or async.
    """
    result = resilience_of(fn).outcome(*args, **kwargs)
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


def add_steps(registry, category, *names):
    """
    Put steps that always apply before the others of a playbook, in this order.
    """
    first = registry.playbooks.steps(category)[0]
    for name in names:
        registry.playbooks.step(category, name=name, before=first)(lambda _: True)


# -- options ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"playbook": "gpu"}, "playbook must be a category, one of memory, model, network, "),
        ({"playbook": 3}, "playbook must be a category, one of "),
        ({"playbook": []}, "playbook must be a category, one of "),
        ({"max_runs": 0}, "max_runs must be a whole number from 1 to 1000000, got 0 (int)"),
        ({"max_runs": 1.0}, "max_runs must be a whole number"),
        ({"max_runs": None}, "max_runs must be a whole number"),
        ({"max_run": 2}, "unknown option 'max_run'; did you mean 'max_runs'?"),
    ],
    ids=str,
)
def test_options_that_cannot_be_meant_are_refused(given, problem):
    """
    Each wrong value is told with the option's name and what to write.
    """
    with pytest.raises(PolicyError) as caught:
        recoverable(**given)(failing()[0])

    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, "@recoverable"),
        ({"playbook": ErrorCategory.MEMORY, "max_runs": 1}, "@recoverable(playbook='memory', max_runs=1)"),
        ({"playbook": None, "max_runs": 3}, "@recoverable"),
    ],
    ids=str,
)
def test_a_policy_shows_what_differs_from_the_defaults(registry, given, shown):
    """
    A category may be given by name or as a member.
    """
    fn = recoverable(registry=registry, **given)(failing()[0])

    assert [shown] == [repr(one) for one in fn.resilience.policies]


# -- walking ----------------------------------------------------------------------


@both
def test_each_step_that_applies_is_followed_by_one_call(registry, is_async):
    """
    Steps run in order, each once; the one after which the call returned is the route.
    """
    add_steps(registry, "workflow", "one", "two", "three")
    work, seen = failing(StuckError(), StuckError(), is_async=is_async)
    told = outcome(recoverable(registry=registry)(work))
    runs = [(one.step, one.applied, one.success) for one in told.events if isinstance(one, RecoveryRun)]

    assert (told.value, told.route, told.attempts) == ("done", "recovery:two", 3)
    assert runs == [("one", True, False), ("two", True, True)]
    assert len(seen) == 3


@both
@pytest.mark.parametrize("max_runs", [1, 2, 3])
def test_there_are_max_runs_further_calls_at_most(registry, max_runs, is_async):
    """
    When they are used up the last error is raised as itself, whatever steps there would be.
    """
    add_steps(registry, "workflow", *"abcde")
    errors = [StuckError(number) for number in range(10)]
    work, seen = failing(*errors, is_async=is_async)
    told = outcome(recoverable(max_runs=max_runs, registry=registry)(work))

    assert told.error is errors[max_runs]
    assert ("failed", max_runs + 1) == (told.route, len(seen))
    assert list("abcde")[:max_runs] == [one["step"] for one in registry.playbooks.get_recovery_history()]


@both
def test_steps_that_do_not_apply_use_up_nothing(registry, is_async):
    """
    No call follows them, and with none left the error is raised.
    """
    registry.playbooks.step("workflow", name="no", before="restart_workflow")(lambda _: False)
    error = StuckError()
    work, seen = failing(error, is_async=is_async)
    told = outcome(recoverable(max_runs=1, registry=registry)(work))

    assert told.error is error
    assert seen == [(50, True)]
    assert {None} == {one.success for one in told.events if isinstance(one, RecoveryRun)}


@both
def test_another_error_is_met_with_its_own_playbook(registry, is_async):
    """
    The category is asked anew after each call; steps that were taken are not taken again.
    """
    add_steps(registry, "workflow", "untangle")
    add_steps(registry, "memory", "eat")
    work, _ = failing(StuckError(), MemoryError(), StuckError(), is_async=is_async)
    told = outcome(recoverable(registry=registry)(work))
    taken = [one.step for one in told.events if isinstance(one, RecoveryRun) and one.applied]

    assert taken[:2] == ["untangle", "eat"]
    assert "untangle" not in taken[2:]


@both
def test_a_named_playbook_is_walked_for_any_error(registry, is_async):
    """
    With `playbook` the error's own category is not asked, not even of later errors.
    """
    add_steps(registry, "model", "one", "two")
    work, _ = failing(ConnectionError(), StuckError(), is_async=is_async)
    told = outcome(recoverable(playbook="model", registry=registry)(work))
    runs = [(one.step, one.error.error_type) for one in told.events if isinstance(one, RecoveryRun)]

    assert told.route == "recovery:two"
    assert runs == [("one", "ConnectionError"), ("two", "ConnectionError")]


def test_our_own_errors_start_no_recovery(registry):
    """
    A rejection is not recovered from, at once or after a step.
    """
    add_steps(registry, "workflow", "one", "two")
    work, seen = failing(StuckError(), StuckError())
    fn = recoverable(registry=registry)(circuit("c", failure_threshold=1, registry=registry)(work))
    after_a_step, at_once = outcome(fn), outcome(fn)

    assert isinstance(after_a_step.error, CircuitBreakerOpenError)
    assert [one.step for one in after_a_step.events if isinstance(one, RecoveryRun)] == ["one"]
    assert isinstance(at_once.error, CircuitBreakerOpenError)
    assert at_once.route == "rejected"
    assert len(seen) == 1


def test_an_exhausted_chain_is_recovered_from(registry):
    """
    A chain that has failed is no refusal of ours: it is as its primary's error.
    """
    add_steps(registry, "workflow", "untangle")
    work, seen = failing(StuckError())
    numbers = itertools.count()

    def instead(**_):
        raise StuckError(next(numbers))

    registry.classifier.add(FallbackChainExhaustedError, "workflow")
    with pytest.warns(PolicyOrderWarning):
        fn = recoverable(registry=registry)(fallback_chain(instead, registry=registry)(work))

    assert fn() == "done"
    assert len(seen) == 2


# -- one level lower -----------------------------------------------------------------


@both
@pytest.mark.parametrize("above", [True, False], ids=["recoverable above", "recoverable below"])
@pytest.mark.parametrize(
    ("level", "expected"),
    [("full", [(50, True), (40, True)]), ("medium", [(30, False), (20, False)])],
)
def test_a_simpler_workflow_is_one_level_lower_wherever_the_policy_stands(registry, level, expected, above, is_async):
    """
    The caller's arguments are adjusted once, to the lower level: above `degradable` as below it.
    """
    work, seen = failing(StuckError(), is_async=is_async)
    level_of, recovery = degradable(hdr=enabled_from("high"), registry=registry), recoverable(registry=registry)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PolicyOrderWarning)
        fn = recovery(level_of(work)) if above else level_of(recovery(work))
    registry.degradation.set_level(level)
    told = outcome(fn)

    assert expected == seen
    assert told.route == "recovery:use_simpler_workflow"
    assert DegradationLevel[level.upper()].lower() is told.level
    assert (50, expected[1][0]) == told.changes["steps"]


def test_a_simpler_workflow_is_adjusted_once_in_each_attempt(registry):
    """
    A recovery that is called a second time, by a retry above it, still knows what stands below it.
    """
    add_steps(registry, "network", "reconnect")
    work, seen = failing(ConnectionError(), ConnectionError(), StuckError())
    fn = recoverable(max_runs=1, registry=registry)(degradable(registry=registry)(work))
    with pytest.warns(PolicyOrderWarning):
        fn = retry(on=ConnectionError, max_attempts=2, registry=registry)(fn)

    assert fn() == "done"
    assert [steps for steps, _ in seen] == [50, 50, 50, 40]


@both
def test_a_steps_change_and_a_level_below_it_are_one_change(registry, is_async):
    """
    The change goes from what the caller gave to what the function got.
    """
    registry.degradation.set_level("medium")

    @registry.playbooks.step("workflow", before="restart_workflow")
    def fewer(ctx):
        ctx.kwargs["steps"] = 20
        return True

    work, seen = failing(StuckError(), is_async=is_async)
    told = outcome(recoverable(registry=registry)(degradable(registry=registry)(work)))

    assert [steps for steps, _ in seen] == [30, 12]
    assert told.changes == {"steps": (50, 12)}


@both
def test_a_simpler_workflow_does_not_apply_without_levels(registry, is_async):
    """
    A function that follows no service level cannot be called at a lower one.
    """
    work, seen = failing(StuckError(), is_async=is_async)
    told = outcome(recoverable(registry=registry)(work))
    applied = {one.step: one.applied for one in told.events if isinstance(one, RecoveryRun)}

    assert applied["use_simpler_workflow"] is False
    assert seen == [(50, True)]


@both
def test_a_step_may_ask_a_function_without_levels_for_a_lower_one(registry, is_async):
    """
    There is nothing to adjust: the call is made with the arguments as they are.
    """

    @registry.playbooks.step("workflow", before="restart_workflow")
    def lower(ctx):
        ctx.level_override = DegradationLevel.LOW
        return True

    work, seen = failing(StuckError(), is_async=is_async)
    told = outcome(recoverable(registry=registry)(work))

    assert (told.value, told.route) == ("done", "recovery:lower")
    assert [steps for steps, _ in seen] == [50, 50]


@both
def test_the_lower_level_is_this_calls_alone(registry, is_async):
    """
    The scope's level, and the next call, are as before.
    """
    work, seen = failing(StuckError(), is_async=is_async)
    fn = degradable(registry=registry)(recoverable(registry=registry)(work))
    first, second = outcome(fn), outcome(fn)

    assert seen == [(50, True), (40, True), (50, True)]
    assert (first.level, second.level) == (DegradationLevel.HIGH, DegradationLevel.FULL)
    assert registry.degradation.current_level == "full"
