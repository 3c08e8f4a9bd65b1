"""
The process-wide switches, and the environment variable that sets one of them for good.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest

from resilient import modes
from resilient.modes import switched

PROGRAM = """
from resilient import modes, retry, circuit, Registry, CircuitBreakerConfig

calls = []

@retry(initial_delay=0.0)
@circuit
def render():
    calls.append(1)
    raise ConnectionError

def fail():
    raise ConnectionError

try:
    render()
except ConnectionError:
    pass
try:
    retry(max_attempts=0)(print)
except ValueError as error:
    print(type(error).__name__)
print(modes.disabled, len(calls))
breaker = Registry().circuit("alone", CircuitBreakerConfig(failure_threshold=1))
try:
    breaker.call(fail)
except ConnectionError:
    print(breaker.state.value)
"""


def test_switches_are_off_at_first():
    """
    Nothing is switched unless somebody asks for it.
    """
    assert (modes.disabled, modes.no_waits, modes.attempts) == (False, False, None)


@pytest.mark.parametrize(("name", "value"), [("disabled", True), ("no_waits", True), ("attempts", 2)])
def test_a_switch_is_set_within_the_block_only(name, value):
    """
    Within the block the switch has its value; afterwards it is as before, after an error too.
    """
    seen = [getattr(modes, name)]
    with contextlib.suppress(OSError), switched(name, value):
        seen.append(getattr(modes, name))
        raise OSError("left")
    seen.append(getattr(modes, name))

    assert seen == [seen[0], value, seen[0]]


def test_blocks_of_one_switch_nest():
    """
    The innermost block decides, and the one around it again when that is left.
    """
    with switched("attempts", 2):
        with switched("attempts", 5):
            inner = modes.attempts
        outer = modes.attempts

    assert (inner, outer, modes.attempts) == (5, 2, None)


def test_blocks_may_be_left_in_any_order():
    """
    Blocks of two threads or tasks that overlap leave the switch as it was.
    """
    first, second = switched("no_waits", True), switched("no_waits", True)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    while_one_is_left = modes.no_waits
    second.__exit__(None, None, None)

    assert (while_one_is_left, modes.no_waits) == (True, False)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1", ["PolicyError", "True 1", "open"]),
        (" Yes ", ["PolicyError", "True 1", "open"]),
        ("0", ["PolicyError", "False 3", "open"]),
        ("", ["PolicyError", "False 3", "open"]),
    ],
)
def test_the_environment_switches_policies_off(value, expected):
    """
    Under ``RESILIENT_DISABLED=1`` raw functions are called, options are checked all the same, and the facade works.
    """
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "RESILIENT_DISABLED": value},
        capture_output=True,
        text=True,
        check=True,
    )

    assert expected == result.stdout.splitlines()
