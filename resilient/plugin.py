"""
Fixtures for pytest: a registry, a clock and a list of events for each test.

pytest loads this module in every run, in projects too that never use it: so
nothing is imported before a fixture is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resilient.events import Event
    from resilient.registry import Registry
    from resilient.testing import FakeClock

__all__ = ["fake_clock", "resilient_events", "resilient_registry"]


@pytest.fixture
def fake_clock() -> FakeClock:
    """
    Give a clock that waits move by themselves; `resilient_registry` uses it where a test asks for both.
    """
    from resilient.testing import FakeClock

    return FakeClock()


@pytest.fixture
def resilient_registry(request: pytest.FixtureRequest) -> Iterator[Registry]:
    """
    Give a fresh default registry for this test; functions decorated before use it too.
    """
    from resilient.testing import isolated_registry

    clock = request.getfixturevalue("fake_clock") if "fake_clock" in request.fixturenames else None
    with isolated_registry(clock, name=request.node.name) as registry:
        yield registry


@pytest.fixture
def resilient_events(resilient_registry: Registry) -> Iterator[list[Event]]:
    """
    Collect what happens on `resilient_registry` during this test, `CallSucceeded` left out.
    """
    from resilient.testing import capture_events

    with capture_events(resilient_registry) as events:
        yield events
