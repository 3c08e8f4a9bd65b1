"""
The pytest plugin, as projects see it: fixtures in a run of their own.
"""

from __future__ import annotations

import subprocess
import sys

pytest_plugins = ["pytester"]

# What these runs have no use for. Hypothesis would be imported at the end of the first one, and asks the collector
# who refers to trio's generator: it is told of nobody, for conftest.py keeps what was there before from its sight.
WITHOUT = [part for name in ("cacheprovider", "asyncio", "hypothesispytest") for part in ("-p", f"no:{name}")]


def run(pytester, source, *options):
    """
    Run *source* as a test module in this process; the plugin is loaded through its entry point.
    """
    pytester.makepyfile(source)
    return pytester.runpytest_inprocess(*WITHOUT, *options)


def test_the_registry_fixture_isolates_each_test(pytester):
    """
    Tests that ask for the registry share no counts and no circuits, with functions of the program too.
    """
    pytester.makepyfile(
        program="""
        from resilient import circuit

        @circuit("renderer", failure_threshold=1)
        def render():
            raise ConnectionError("down")
        """
    )
    result = run(
        pytester,
        """
        import pytest
        from resilient import default_registry
        from program import render

        @pytest.mark.parametrize("number", [1, 2])
        def test_opens(resilient_registry, number):
            assert default_registry() is resilient_registry
            assert f"test_opens[{number}]" == resilient_registry.name
            with pytest.raises(ConnectionError):
                render()
            assert "open" == resilient_registry.circuits["renderer"].state.value

        def test_is_closed_elsewhere():
            assert "closed" == default_registry().circuits["renderer"].state.value
        """,
    )

    result.assert_outcomes(passed=3)


def test_the_registry_runs_on_the_fake_clock_where_both_are_asked_for(pytester):
    """
    With `fake_clock` waits take no time, sync and async; without it the registry keeps the machine's clock.
    """
    result = run(
        pytester,
        """
        import asyncio
        import pytest
        from resilient import retry
        from resilient.clock import SYSTEM_CLOCK

        @retry(max_attempts=3, initial_delay=100.0, max_delay=1000.0, jitter=False)
        def render():
            raise ConnectionError("down")

        @retry(max_attempts=3, initial_delay=100.0, max_delay=1000.0, jitter=False)
        async def arender():
            raise ConnectionError("down")

        def test_sync(fake_clock, resilient_registry):
            with pytest.raises(ConnectionError):
                render()
            assert 300.0 == fake_clock.monotonic()

        def test_async(resilient_registry, fake_clock):
            with pytest.raises(ConnectionError):
                asyncio.run(arender())
            assert 300.0 == fake_clock.monotonic()

        def test_without(resilient_registry):
            assert resilient_registry.hub.clock is SYSTEM_CLOCK

        def test_clock_alone(fake_clock):
            assert 0.0 == fake_clock.monotonic()
        """,
    )

    result.assert_outcomes(passed=4)


def test_the_events_fixture_collects_what_happens(pytester):
    """
    The list has the events of the test's own registry, and of that test only.
    """
    result = run(
        pytester,
        """
        import pytest
        from resilient import retry

        @retry
        def render():
            raise ValueError("no")

        @pytest.mark.parametrize("number", [1, 2])
        def test_events(resilient_events, resilient_registry, number):
            with pytest.raises(ValueError):
                render()
            assert ["attempt.failed", "operation.failed"] == [one.name for one in resilient_events]
            assert 1 == resilient_registry.analytics.total_errors
        """,
    )

    result.assert_outcomes(passed=2)


def test_fixtures_are_listed_with_their_sentence(pytester):
    """
    ``pytest --fixtures`` tells what each fixture is.
    """
    result = run(pytester, "", "--fixtures")

    result.stdout.fnmatch_lines(
        ["fake_clock*", "*Give a clock*", "resilient_registry*", "*fresh default registry*", "resilient_events*"]
    )


def test_loading_the_plugin_imports_nothing_of_its_own():
    """
    Before a fixture is asked for, the plugin has loaded pytest, and nothing else of the library or of others.
    """
    program = """
import sys, pytest, typing
before = set(sys.modules)
import resilient.plugin
print(sorted(set(sys.modules) - before))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "['resilient', 'resilient.plugin']"
