"""
A quiet call that fails: what is learnt from it without a plan is what the plan would have learnt.
"""

from __future__ import annotations

import asyncio
import traceback
from contextlib import suppress

import pytest

from resilient import CircuitState, circuit, degradable, recoverable, resilience_of, retry
from resilient.events import AttemptFailed, CallRejected, OperationFailed
from resilient.testing import FakeClock
from tests.harness import caught


def refuse(*_, **__):
    """
    Fail as a network does.
    """
    raise ConnectionRefusedError("no render server")


@pytest.mark.parametrize(
    "decorate",
    [
        lambda fn, registry: circuit("c", failure_threshold=3, window="60s", registry=registry)(fn),
        lambda fn, registry: degradable(rules={"quality": lambda value, _: value}, registry=registry)(
            circuit("c", failure_threshold=3, window="60s", registry=registry)(fn)
        ),
    ],
    ids=["circuit", "degradable over circuit"],
)
@pytest.mark.parametrize("listens", [False, True], ids=["quiet", "heard"])
def test_everybody_hears_of_a_failure_that_needed_no_plan(registry, colour, decorate, listens):
    """
    The circuit, the counts, the analytics and the listeners come to the same, whether or not a plan was made.
    """
    events = []
    if listens:
        registry.on(events.append)
    fn = decorate(colour.of(refuse), registry)
    errors = [caught(colour.call, fn) for _ in range(4)]

    assert [type(error).__name__ for error in errors] == ["ConnectionRefusedError"] * 3 + ["CircuitBreakerOpenError"]
    stats = resilience_of(fn).stats()
    assert (stats.calls, stats.attempts, stats.failures, stats.rejected, stats.retries) == (4, 3, 4, 1, 0)
    assert registry.analytics.total_errors == 3
    report = registry.analytics.generate_report()
    assert (report["incidents"], report["resolved_incidents"]) == (3, 0)
    assert registry.circuit("c").state is CircuitState.OPEN
    if listens:
        told = [type(event) for event in events]
        assert told.count(AttemptFailed) == 3
        assert told.count(OperationFailed) == 4
        assert told.count(CallRejected) == 1


def test_the_traceback_has_no_more_of_us_than_the_guard(registry, colour):
    """
    What reaches the caller begins with the caller, the wrapper and its entry, and ends in the function.
    """
    fn = circuit("c", registry=registry)(colour.of(refuse))
    error = caught(colour.call, fn)
    codes = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]

    assert codes[-1].co_name == "refuse"
    ours = [code.co_name for code in codes if code.co_filename.endswith(("pipeline.py", "drivers.py", "operation.py"))]
    assert ours in (["guard", "enter"], ["guard", "aenter"])


def test_an_interrupt_while_learning_counts_no_failure(registry, colour, monkeypatch):
    """
    Ctrl-C that arrives while the circuit learns of a failure leaves the call neither failed nor lost.
    """
    fn = circuit("c", registry=registry)(colour.of(refuse))
    policy = resilience_of(fn).policies[0]

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(policy.breaker, "failed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        colour.call(fn)

    stats = resilience_of(fn).stats()
    assert (stats.calls, stats.attempts, stats.failures) == (1, 1, 0)


def test_a_failure_inside_another_operation_is_one_incident(registry, colour):
    """
    An inner failure that the outer operation puts right is one incident, resolved.
    """
    inner = circuit("c", registry=registry)(colour.of(refuse))

    def work():
        if registry.analytics.total_errors < 2:
            inner()
        return "done"

    async def awork():
        if registry.analytics.total_errors < 2:
            await inner()
        return "done"

    outer = retry(max_attempts=3, initial_delay=0, registry=registry)(awork if colour.is_async else work)
    result = colour.call(outer)
    report = registry.analytics.generate_report()

    assert result == "done"
    assert (report["incidents"], report["resolved_incidents"], report["total_errors"]) == (1, 1, 2)


def test_an_eager_task_that_outlives_what_it_failed_in_is_no_incident_of_its_own(registry):
    """
    An operation that failed within another one, and ends after it, belongs to the other one's incident.
    """

    @retry(max_attempts=3, initial_delay=1, registry=registry)
    async def inner():
        raise ConnectionRefusedError("inner")

    @circuit("outer", registry=registry)
    async def outer():
        # As an eager task does: begin on this stack, and go on after it is gone.
        work = inner()
        suspended.append(work)
        work.send(None)
        raise ConnectionRefusedError("outer")

    suspended = []

    async def main():
        with pytest.raises(ConnectionRefusedError, match="outer"):
            await outer()
        suspended[0].close()

    class Waits(FakeClock):
        async def asleep(self, seconds):
            await asyncio.sleep(0)

    registry.hub.clock = Waits()
    asyncio.run(main())
    report = registry.analytics.generate_report()

    assert (report["incidents"], report["total_errors"]) == (1, 2)


def test_a_reset_in_the_middle_of_a_failing_call_forgets_it(registry, colour):
    """
    A call that began before the counts were zeroed is not counted when it fails.
    """

    def work():
        resilience_of(fn).pipeline.reset_stats()
        refuse()

    fn = circuit("c", registry=registry)(colour.of(work))
    caught(colour.call, fn)

    assert resilience_of(fn).stats().failures == 0


def test_counts_that_are_laid_aside_come_back_with_their_failures(registry):
    """
    Failures counted meanwhile are forgotten, and the earlier ones are there again.
    """
    fn = recoverable(registry=registry)(circuit("c", window="60s", registry=registry)(refuse))
    only = circuit("d", window="60s", registry=registry)(refuse)
    for one in (fn, only):
        caught(one)
        bring_back = resilience_of(one).pipeline.lay_stats_aside()
        caught(one)
        during = resilience_of(one).stats().failures
        bring_back()

        assert (during, resilience_of(one).stats().failures) == (1, 1)


def test_counts_of_pipelines_that_are_gone_are_added_up(registry):
    """
    Calls and failures of functions that nobody holds any more stay in the sums, however many there are.
    """
    for _ in range(200):
        caught(circuit("c", window="60s", failure_threshold=1000, registry=registry)(lambda: 1 / 0))

    assert registry.hub.retired() == (200, 200)
    assert len(registry.hub.departed) == 0
    registry.hub.forget_retired()
    assert registry.hub.retired() == (0, 0)


def test_a_disabled_circuit_asks_no_predicate(registry, colour):
    """
    What counts as a failure is not asked about where nothing is counted.
    """
    asked = []
    fn = circuit("c", counts=lambda error: asked.append(error) or True, mode="disabled", registry=registry)(
        colour.of(refuse)
    )
    caught(colour.call, fn)

    assert asked == []
    assert registry.circuit("c").failure_count == 0


def test_a_row_of_failures_needs_no_plan_and_a_success_ends_it(registry, colour):
    """
    After a failure calls go on without a plan; the first success begins a new row.
    """
    outcomes = iter([False, False, True, False, False, False])

    def work():
        if not next(outcomes):
            refuse()

    fn = circuit("c", failure_threshold=3, registry=registry)(colour.of(work))
    told = []
    for _ in range(6):
        with suppress(ConnectionRefusedError):
            colour.call(fn)
        told.append((registry.circuit("c").failure_count, registry.circuit("c").state.value))

    assert told == [(1, "closed"), (2, "closed"), (0, "closed"), (1, "closed"), (2, "closed"), (3, "open")]
