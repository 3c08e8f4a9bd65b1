"""
Each pair of policies, in both orders, sync and async.
"""

from __future__ import annotations

import asyncio
import functools
import warnings

import pytest

from resilient import (
    CircuitBreakerOpenError,
    Fallback,
    FallbackChainExhaustedError,
    PolicyOrderWarning,
    Registry,
    at_level,
    circuit,
    degradable,
    enabled_from,
    fallback_chain,
    recoverable,
    retry,
)
from resilient.testing import FakeClock

DOWN = ConnectionError


class Bench:
    """
    One function under two policies, with its outcomes and what it was called with.
    """

    def __init__(self, outer, inner, colour):
        self.registry = Registry(clock=FakeClock())
        self.registry.playbooks.step("network", name="reconnect", before="retry_connection")(self.reconnect)
        self.colour = colour
        self.script = []
        self.seen = []
        self.stand_in = True
        with warnings.catch_warnings(record=True) as self.warned:
            warnings.simplefilter("always")
            self.fn = self.policy(outer)(self.policy(inner)(self.awork if colour.is_async else self.work))

    def policy(self, kind):
        here = {"registry": self.registry}
        return {
            "retry": retry(max_attempts=3, initial_delay=1, jitter=False, **here),
            "circuit": circuit("c", failure_threshold=2, **here),
            "fallback_chain": fallback_chain(Fallback(self.instead, name="instead"), **here),
            "degradable": degradable(**here),
            "recoverable": recoverable(**here),
        }[kind]

    @property
    def work(self):
        def work(steps=50):
            self.seen.append(steps)
            outcome = self.script.pop(0) if self.script else "done"
            if isinstance(outcome, type):
                raise outcome
            return outcome

        return work

    @property
    def awork(self):
        work = self.work

        async def awork(steps=50):
            await asyncio.sleep(0)
            return work(steps)

        return awork

    def instead(self, steps=50):
        self.seen.append(f"instead {steps}")
        if not self.stand_in:
            raise LookupError
        return "instead"

    def reconnect(self, _):
        self.seen.append("reconnect")
        return True

    def run(self, *script):
        self.script = list(script)
        try:
            return self.colour.call(self.fn)
        except Exception as error:
            return type(error)

    @property
    def breaker(self):
        return self.registry.circuits["c"]


class Model:
    """
    What two policies make of a function that fails a number of times: written down as plainly as can be.
    """

    def __init__(self, outer, inner, *, level, failures, stand_in):
        self.factor = {"full": 1.0, "low": 0.4}[level]
        self.failures = failures
        self.stand_in = stand_in
        self.counted = 0
        self.seen = []
        self.call = functools.partial(getattr(self, outer), functools.partial(getattr(self, inner), self.work))

    def run(self):
        try:
            return self.call(50)
        except Exception as error:
            return type(error)

    def work(self, steps):
        self.seen.append(steps)
        if self.failures:
            self.failures -= 1
            raise DOWN
        return "done"

    def retry(self, inner, steps):
        for _ in range(2):
            try:
                return inner(steps)
            except (DOWN, FallbackChainExhaustedError):
                pass
        return inner(steps)

    def circuit(self, inner, steps):
        if self.counted == 2:
            name = "c"
            raise CircuitBreakerOpenError(name)
        try:
            value = inner(steps)
        except Exception:
            self.counted += 1
            raise
        self.counted = 0
        return value

    def fallback_chain(self, inner, steps):
        try:
            return inner(steps)
        except Exception:
            self.seen.append(f"instead {steps}")
            if self.stand_in:
                return "instead"
            name = "chain"
            raise FallbackChainExhaustedError(name) from None

    def degradable(self, inner, steps):
        return inner(int(steps * self.factor))

    def recoverable(self, inner, steps):
        try:
            return inner(steps)
        except (DOWN, FallbackChainExhaustedError):
            self.seen.append("reconnect")
        return inner(steps)


# Outer and inner policy, level, outcomes of the function, expected result, and what happened in order.
PAIRS = [
    ("retry", "circuit", "full", [DOWN, DOWN], CircuitBreakerOpenError, [50, 50]),
    ("circuit", "retry", "full", [DOWN, DOWN, "late"], "late", [50, 50, 50]),
    ("retry", "fallback_chain", "full", [DOWN], "instead", [50, "instead 50"]),
    ("fallback_chain", "retry", "full", [DOWN, DOWN, DOWN], "instead", [50, 50, 50, "instead 50"]),
    ("retry", "degradable", "low", [DOWN, "late"], "late", [20, 20]),
    ("degradable", "retry", "low", [DOWN, "late"], "late", [20, 20]),
    ("retry", "recoverable", "full", [DOWN, DOWN, "late"], "late", [50, "reconnect", 50, 50]),
    ("recoverable", "retry", "full", [DOWN, DOWN, DOWN, "late"], "late", [50, 50, 50, "reconnect", 50]),
    ("circuit", "fallback_chain", "full", [DOWN], "instead", [50, "instead 50"]),
    ("fallback_chain", "circuit", "full", [DOWN], "instead", [50, "instead 50"]),
    ("circuit", "degradable", "low", [DOWN], DOWN, [20]),
    ("degradable", "circuit", "low", [DOWN], DOWN, [20]),
    ("circuit", "recoverable", "full", [DOWN, "late"], "late", [50, "reconnect", 50]),
    ("recoverable", "circuit", "full", [DOWN, "late"], "late", [50, "reconnect", 50]),
    ("fallback_chain", "degradable", "low", [DOWN], "instead", [20, "instead 50"]),
    ("degradable", "fallback_chain", "low", [DOWN], "instead", [20, "instead 20"]),
    ("fallback_chain", "recoverable", "full", [DOWN, DOWN], "instead", [50, "reconnect", 50, "instead 50"]),
    ("recoverable", "fallback_chain", "full", [DOWN], "instead", [50, "instead 50"]),
    ("degradable", "recoverable", "low", [DOWN, "late"], "late", [20, "reconnect", 20]),
    ("recoverable", "degradable", "low", [DOWN, "late"], "late", [20, "reconnect", 20]),
]
WARNED = {
    ("retry", "fallback_chain"),
    ("recoverable", "fallback_chain"),
    ("retry", "recoverable"),
    ("circuit", "degradable"),
    ("retry", "degradable"),
}
pairs = pytest.mark.parametrize(
    ("outer", "inner", "level", "script", "expected", "seen"),
    PAIRS,
    ids=[f"{outer} above {inner}" for outer, inner, *_ in PAIRS],
)


@pairs
def test_a_pair_of_policies_works_in_the_order_written(outer, inner, level, script, expected, seen, colour):  # noqa: PLR0917 - one row of the table
    """
    The upper policy sees what the lower one makes of the function's outcomes.
    """
    bench = Bench(outer, inner, colour)
    bench.registry.degradation.set_level(level)

    assert expected == bench.run(*script)
    assert seen == bench.seen


@pairs
def test_a_pair_of_policies_warns_only_where_it_cannot_work_as_meant(  # noqa: PLR0917 - one row of the table
    outer, inner, level, script, expected, seen, colour
):
    """
    Five orders of two are warned about, once.
    """
    warned = [warning.category for warning in Bench(outer, inner, colour).warned]

    assert warned == ([PolicyOrderWarning] if (outer, inner) in WARNED else [])


@pytest.mark.parametrize("level", ["full", "low"])
@pytest.mark.parametrize("stand_in", [True, False], ids=["stand-in works", "stand-in fails"])
@pytest.mark.parametrize(("outer", "inner"), [pair[:2] for pair in PAIRS])
def test_a_pair_of_policies_does_what_each_alone_would_do(outer, inner, stand_in, level, colour):
    """
    From a success over failures that the inner or the outer policy resolves to those that nobody does.
    """
    results = set()
    for failures in range(8):
        bench = Bench(outer, inner, colour)
        bench.stand_in = stand_in
        bench.registry.degradation.set_level(level)
        model = Model(outer, inner, level=level, failures=failures, stand_in=stand_in)
        result = bench.run(*[DOWN] * failures)

        assert (result, bench.seen) == (model.run(), model.seen)
        results.add(result)
    # Both ends were reached: the function's own value, and what comes of one that never works.
    assert len(results) >= 2


@pairs
def test_a_pair_of_policies_leaves_a_success_alone(outer, inner, level, script, expected, seen, colour):  # noqa: PLR0917 - one row of the table
    """
    A call that returns is one call, with its own arguments.
    """
    bench = Bench(outer, inner, colour)

    assert [bench.run("first"), bench.run("second")] == ["first", "second"]
    assert bench.seen == [50, 50]
    assert tuple(getattr(bench.fn.resilience.stats(), name) for name in ("calls", "attempts", "failures")) == (2, 2, 0)


@pairs
def test_a_pair_of_policies_is_one_incident(outer, inner, level, script, expected, seen, colour):  # noqa: PLR0917 - one row of the table
    """
    However often the function failed within one call, it is one incident, resolved if the call returned.
    """
    bench = Bench(outer, inner, colour)
    bench.registry.degradation.set_level(level)
    bench.run(*script)
    report = bench.registry.analytics.generate_report()

    assert script.count(DOWN) == report["total_errors"]
    assert (1, float(isinstance(expected, str))) == (report["incidents"], report["recovery_rate"])


@pytest.mark.parametrize(
    ("outer", "inner", "failures"),
    [
        ("retry", "circuit", 2),
        ("circuit", "retry", 1),
        ("circuit", "fallback_chain", 0),
        ("fallback_chain", "circuit", 2),
        ("circuit", "recoverable", 1),
        ("recoverable", "circuit", 2),
        ("circuit", "degradable", 1),
        ("degradable", "circuit", 1),
    ],
)
def test_a_circuit_counts_what_comes_out_of_what_is_below_it(outer, inner, failures, colour):
    """
    Above another policy it sees whole series, below it sees each attempt.
    """
    bench = Bench(outer, inner, colour)
    bench.run(DOWN, DOWN, DOWN, DOWN)
    if (outer, inner) == ("fallback_chain", "circuit"):
        bench.run(DOWN)

    assert failures == bench.breaker.failure_count


@pytest.mark.parametrize("other", ["retry", "fallback_chain", "degradable", "recoverable"])
@pytest.mark.parametrize("above", [True, False])
def test_an_open_circuit_rejects_whatever_stands_beside_it(other, above, colour):
    """
    The function is not called; only a fallback above the circuit may stand in.
    """
    bench = Bench(*((other, "circuit") if above else ("circuit", other)), colour)
    bench.registry.degradation.set_level("low")
    bench.breaker.isolate()
    served = above and other == "fallback_chain"

    assert ("instead" if served else CircuitBreakerOpenError) == bench.run()
    assert (["instead 50"] if served else []) == bench.seen
    assert bench.registry.analytics.total_errors == 0


def test_five_policies_together(colour, registry):
    """
    The whole stack: level, then attempts, then recovery, then fallback, then the circuit's rejection.
    """
    seen = []

    def render(shot, steps=50, *, hdr=True):
        seen.append((shot, steps, hdr))
        raise DOWN

    def placeholder(shot, **_):
        return f"[{shot}]"

    registry.playbooks.step("network", name="reconnect", before="retry_connection")(lambda _: True)
    fn = circuit("renderer", failure_threshold=4, registry=registry)(colour.of(render))
    fn = retry(max_attempts=2, initial_delay=1, registry=registry)(fn)
    fn = recoverable(registry=registry)(fn)
    fn = fallback_chain(placeholder, name="titles", registry=registry)(fn)
    fn = degradable(hdr=enabled_from("high"), registry=registry)(fn)

    with at_level("medium"):
        assert colour.call(fn, "x") == "[x]"
    assert seen == [("x", 30, False)] * 4
    assert colour.call(fn, "x") == "[x]"
    assert len(seen) == 4
    assert registry.chains["titles"].get_statistics()["last_successful_fallback"] == "placeholder"
    stats = fn.resilience.stats()
    assert (stats.calls, stats.attempts, stats.retries, stats.rejected, stats.fallbacks) == (2, 4, 2, 1, 2)
