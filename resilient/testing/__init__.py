"""
Tests of code under policies: no waits, a registry of one's own, failures on demand.

Everything here but the clock is a block: ``with no_waits():``, ``async with
no_waits():``, or ``@no_waits()`` above a test function. The fixtures for pytest
are in `resilient.plugin`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilient.testing.blocks import Block, attempts, disabled, no_waits
from resilient.testing.fake_clock import FakeClock
from resilient.testing.injection import inject, ok, returns
from resilient.testing.isolation import capture_events, isolated_registry

if TYPE_CHECKING:
    from resilient.testing.battery import policy_battery

__all__ = [
    "Block",
    "FakeClock",
    "attempts",
    "capture_events",
    "disabled",
    "inject",
    "isolated_registry",
    "no_waits",
    "ok",
    "policy_battery",
    "returns",
]


def __getattr__(name: str) -> Any:
    """
    Load the battery when it is first asked for: few tests are tests of policies.
    """
    if name != "policy_battery":
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from resilient.testing.battery import policy_battery

    globals()[name] = policy_battery
    return policy_battery
