"""
Returned values that ask for another attempt.
"""

from __future__ import annotations

import asyncio

import pytest
import tenacity

from resilient import Registry, circuit, retry
from resilient.testing import FakeClock


def call(fn, *, is_async):
    """
    Call *fn*, whatever its colour.
    """
    return asyncio.run(fn()) if is_async else fn()


def guarded(states, decorators, *, is_async):
    """
    Return a function that gives *states* away, under *decorators*, innermost first.
    """

    def poll():
        return states.pop(0)

    async def apoll():
        return states.pop(0)

    fn = apoll if is_async else poll
    for decorator in decorators:
        fn = decorator(fn)
    return fn


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"on_result": lambda state: state != "done"},
        {"on_result": lambda state: state != "done", "max_duration": 60.0},
        {"retry": tenacity.retry_if_result(lambda state: state != "done")},
    ],
    ids=["on_result", "on_result and a clock", "retry strategy"],
)
def test_the_first_returned_value_is_asked_about_too(is_async, options):
    """
    A function that nothing else keeps from its fast path is called until its result will do.
    """
    registry = Registry(clock=FakeClock())
    states = ["queued", "running", "done"]
    stack = [circuit("queue", registry=registry), retry(max_attempts=5, registry=registry, **options)]
    poll = guarded(states, stack, is_async=is_async)

    assert call(poll, is_async=is_async) == "done"
    assert states == []


@pytest.mark.parametrize("is_async", [False, True])
def test_the_last_value_is_returned_when_attempts_run_out(is_async):
    """
    A result that never satisfies is returned as it is.
    """
    registry = Registry(clock=FakeClock())
    poll = guarded(
        ["queued", "running"],
        [retry(on_result=lambda _: True, max_attempts=2, registry=registry)],
        is_async=is_async,
    )

    assert call(poll, is_async=is_async) == "running"
