"""
Returned values that ask for another attempt.
"""

from __future__ import annotations

import pytest
import tenacity

from resilient import circuit, retry
from tests.harness import script


@pytest.mark.parametrize(
    "options",
    [
        {"on_result": lambda state: state != "done"},
        {"on_result": lambda state: state != "done", "max_duration": 60.0},
        {"retry": tenacity.retry_if_result(lambda state: state != "done")},
    ],
    ids=["on_result", "on_result and a clock", "retry strategy"],
)
def test_the_first_returned_value_is_asked_about_too(colour, registry, options):
    """
    A function that nothing else keeps from its fast path is called until its result will do.
    """
    poll = script("queued", "running", "done")
    fn = circuit("queue", registry=registry)(colour.of(poll))
    fn = retry(max_attempts=5, registry=registry, **options)(fn)

    assert colour.call(fn) == "done"
    assert poll.calls == 3


def test_the_last_value_is_returned_when_attempts_run_out(colour, registry):
    """
    A result that never satisfies is returned as it is.
    """
    poll = script("queued", "running")
    fn = retry(on_result=lambda _: True, max_attempts=2, registry=registry)(colour.of(poll))

    assert colour.call(fn) == "running"
    assert poll.calls == 2
