"""
What an outcome tells about arguments that recovery steps have changed.
"""

from __future__ import annotations

import pytest

from resilient import degradable, recoverable


@pytest.fixture
def registry(registry):
    """
    Return a registry with a cache to clear.
    """
    # Has entries, so that `clear_cache` applies whether or not there is garbage.
    registry.playbooks.provide(caches=[{"old": 1}])
    return registry


def test_two_steps_on_one_argument_are_told_from_what_the_caller_gave(registry):
    """
    The change goes from the caller's value to the last one, whatever lay between.
    """

    @registry.playbooks.step("memory")
    def one_at_a_time(ctx):
        ctx.kwargs["batch_size"] = 1
        return True

    @recoverable(registry=registry)
    def generate(batch_size=8):
        if batch_size > 1:
            raise MemoryError

    outcome = generate.resilience.outcome()

    assert outcome.route == "recovery:one_at_a_time"
    assert outcome.changes == {"batch_size": (8, 1)}


def test_a_level_and_a_step_on_one_argument_are_one_change(registry):
    """
    What a service level has lowered and a step lowers further began at the caller's value.
    """
    registry.degradation.set_level("high")
    registry.classifier.add(KeyError, "workflow")

    @degradable(registry=registry)
    @recoverable
    def render(steps=50):
        if steps > 30:
            raise KeyError(steps)

    assert render.resilience.outcome().changes == {"steps": (50, 30)}


def test_an_argument_that_is_what_it_was_has_not_changed(registry):
    """
    A restart gives back what an earlier step took, and there is nothing left to tell.
    """
    registry.playbooks.provide(restart=lambda: None)
    registry.classifier.add(KeyError, "workflow")

    @registry.playbooks.step("workflow", before="restart_workflow")
    def fewer(ctx):
        ctx.kwargs["batch_size"] = 4
        return True

    tried = []

    @recoverable(registry=registry)
    def generate(batch_size=8):
        tried.append(batch_size)
        if len(tried) < 3:
            raise KeyError(batch_size)

    outcome = generate.resilience.outcome()

    assert tried == [8, 4, 8]
    assert outcome.changes == {}
