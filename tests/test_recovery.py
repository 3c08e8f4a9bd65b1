"""
`recoverable`: the playbook for an error's category, walked around the calls below it.
"""

from __future__ import annotations

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
    circuit,
    degradable,
    enabled_from,
    fallback_chain,
    recoverable,
    retry,
)
from resilient.events import RecoveryRun


class StuckError(Exception):
    """
    What a workflow gets stuck with.
    """


@pytest.fixture
def registry(registry):
    """
    Return a registry whose workflow category includes `StuckError`.
    """
    registry.classifier.add(StuckError, "workflow")
    return registry


def failing(*errors, result="done"):
    """
    Return a function that raises *errors* in order, then returns; and the list of its calls' arguments.
    """
    script, seen = list(errors), []

    def work(steps=50, *, hdr=True):
        seen.append((steps, hdr))
        if script:
            raise script.pop(0)
        return result

    return work, seen


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


def test_each_step_that_applies_is_followed_by_one_call(registry, colour):
    """
    Steps run in order, each once; the one after which the call returned is the route.
    """
    add_steps(registry, "workflow", "one", "two", "three")
    work, seen = failing(StuckError(), StuckError())
    told = colour.outcome(recoverable(registry=registry)(colour.of(work)))
    runs = [(one.step, one.applied, one.success) for one in told.events if isinstance(one, RecoveryRun)]

    assert (told.value, told.route, told.attempts) == ("done", "recovery:two", 3)
    assert runs == [("one", True, False), ("two", True, True)]
    assert len(seen) == 3


@pytest.mark.parametrize("max_runs", [1, 2, 3])
def test_there_are_max_runs_further_calls_at_most(registry, max_runs, colour):
    """
    When they are used up the last error is raised as itself, whatever steps there would be.
    """
    add_steps(registry, "workflow", *"abcde")
    errors = [StuckError(number) for number in range(10)]
    work, seen = failing(*errors)
    told = colour.outcome(recoverable(max_runs=max_runs, registry=registry)(colour.of(work)))

    assert told.error is errors[max_runs]
    assert ("failed", max_runs + 1) == (told.route, len(seen))
    assert list("abcde")[:max_runs] == [one["step"] for one in registry.playbooks.get_recovery_history()]


def test_steps_that_do_not_apply_use_up_nothing(registry, colour):
    """
    No call follows them, and with none left the error is raised.
    """
    registry.playbooks.step("workflow", name="no", before="restart_workflow")(lambda _: False)
    error = StuckError()
    work, seen = failing(error)
    told = colour.outcome(recoverable(max_runs=1, registry=registry)(colour.of(work)))

    assert told.error is error
    assert seen == [(50, True)]
    assert {None} == {one.success for one in told.events if isinstance(one, RecoveryRun)}


def test_another_error_is_met_with_its_own_playbook(registry, colour):
    """
    The category is asked anew after each call; steps that were taken are not taken again.
    """
    add_steps(registry, "workflow", "untangle")
    add_steps(registry, "memory", "eat")
    work, _ = failing(StuckError(), MemoryError(), StuckError())
    told = colour.outcome(recoverable(registry=registry)(colour.of(work)))
    taken = [one.step for one in told.events if isinstance(one, RecoveryRun) and one.applied]

    assert taken[:2] == ["untangle", "eat"]
    assert "untangle" not in taken[2:]


def test_a_named_playbook_is_walked_for_any_error(registry, colour):
    """
    With `playbook` the error's own category is not asked, not even of later errors.
    """
    add_steps(registry, "model", "one", "two")
    work, _ = failing(ConnectionError(), StuckError())
    told = colour.outcome(recoverable(playbook="model", registry=registry)(colour.of(work)))
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
    after_a_step, at_once = fn.resilience.outcome(), fn.resilience.outcome()

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


@pytest.mark.parametrize("above", [True, False], ids=["recoverable above", "recoverable below"])
@pytest.mark.parametrize(
    ("level", "expected"),
    [("full", [(50, True), (40, True)]), ("medium", [(30, False), (20, False)])],
)
def test_a_simpler_workflow_is_one_level_lower_wherever_the_policy_stands(registry, level, expected, above, colour):
    """
    The caller's arguments are adjusted once, to the lower level: above `degradable` as below it.
    """
    work, seen = failing(StuckError())
    level_of, recovery = degradable(hdr=enabled_from("high"), registry=registry), recoverable(registry=registry)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PolicyOrderWarning)
        fn = colour.of(work)
        fn = recovery(level_of(fn)) if above else level_of(recovery(fn))
    registry.degradation.set_level(level)
    told = colour.outcome(fn)

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


def test_a_steps_change_and_a_level_below_it_are_one_change(registry, colour):
    """
    The change goes from what the caller gave to what the function got.
    """
    registry.degradation.set_level("medium")

    @registry.playbooks.step("workflow", before="restart_workflow")
    def fewer(ctx):
        ctx.kwargs["steps"] = 20
        return True

    work, seen = failing(StuckError())
    told = colour.outcome(recoverable(registry=registry)(degradable(registry=registry)(colour.of(work))))

    assert [steps for steps, _ in seen] == [30, 12]
    assert told.changes == {"steps": (50, 12)}


def test_a_simpler_workflow_does_not_apply_without_levels(registry, colour):
    """
    A function that follows no service level cannot be called at a lower one.
    """
    work, seen = failing(StuckError())
    told = colour.outcome(recoverable(registry=registry)(colour.of(work)))
    applied = {one.step: one.applied for one in told.events if isinstance(one, RecoveryRun)}

    assert applied["use_simpler_workflow"] is False
    assert seen == [(50, True)]


def test_a_step_may_ask_a_function_without_levels_for_a_lower_one(registry, colour):
    """
    There is nothing to adjust: the call is made with the arguments as they are.
    """

    @registry.playbooks.step("workflow", before="restart_workflow")
    def lower(ctx):
        ctx.level_override = DegradationLevel.LOW
        return True

    work, seen = failing(StuckError())
    told = colour.outcome(recoverable(registry=registry)(colour.of(work)))

    assert (told.value, told.route) == ("done", "recovery:lower")
    assert [steps for steps, _ in seen] == [50, 50]


def test_the_lower_level_is_this_calls_alone(registry, colour):
    """
    The scope's level, and the next call, are as before.
    """
    work, seen = failing(StuckError())
    fn = degradable(registry=registry)(recoverable(registry=registry)(colour.of(work)))
    first, second = colour.outcome(fn), colour.outcome(fn)

    assert seen == [(50, True), (40, True), (50, True)]
    assert (first.level, second.level) == (DegradationLevel.HIGH, DegradationLevel.FULL)
    assert registry.degradation.current_level == "full"
