"""
Tests of code under policies: no waits, a registry of one's own, failures on demand.

Everything here but the clock is a block: ``with no_waits():``, ``async with
no_waits():``, or ``@no_waits()`` above a test function. The fixtures for pytest
are in `resilient.plugin`.
"""

from __future__ import annotations

from resilient.testing.blocks import Block, attempts, disabled, no_waits
from resilient.testing.fake_clock import FakeClock
from resilient.testing.injection import inject, ok, returns
from resilient.testing.isolation import capture_events, isolated_registry

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
    "returns",
]
