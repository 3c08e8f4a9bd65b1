"""
Faults 10 and 45: names without end, that memory stays bounded (10), and memory that has run out (45).
"""

from __future__ import annotations

import functools
import gc
import logging
import time
import weakref
from contextlib import suppress

import pytest

from resilient import (
    ErrorHandlingSystem,
    FallbackChainExhaustedError,
    Registry,
    RetryConfig,
    RetryMechanism,
    circuit,
    degradable,
    fallback_chain,
    recoverable,
    retry,
)
from resilient.events import OperationFailed
from resilient.testing import FakeClock, capture_events
from tests.harness import script, stack

# -- row 10: bounded memory --------------------------------------------------


def named(name, error=ConnectionError):
    """
    Return a function called *name* that fails.
    """

    def work(**kwargs):
        raise error

    work.__name__ = work.__qualname__ = name
    return work


def fails_by_function(registry):
    """
    Return what fails under a function name of its own each time, and what reads the counts.
    """
    system = ErrorHandlingSystem(registry)
    system.retry_mechanism = RetryMechanism(RetryConfig(max_attempts=1), registry)
    system.get_fallback_chain("chain").add_fallback(named("entry"))

    def fail(number):
        with suppress(FallbackChainExhaustedError):
            system.execute_with_resilience_sync(
                named(f"work_{number}"), circuit_breaker_name="c", fallback_chain_name="chain"
            )

    return fail, system.retry_mechanism.get_stats


def fails_by_class(registry):
    """
    Return what fails with a class of its own each time, and what reads the counts.
    """

    def fail(number):
        with suppress(Exception):
            fn(type(f"Error{number}", (ConnectionError,), {})())

    def work(error, **kwargs):
        raise error

    fn = stack(work, registry, attempts=1, degraded="error")
    return fail, lambda: dict(registry.analytics.get_most_common_errors(10_000))


def fails_by_key(registry):
    """
    Each call has a message and a listener of its own, and each thousandth a closure that is decorated and dropped.
    """

    def work(key, **kwargs):
        raise ConnectionError(key)

    fn = stack(work, registry, attempts=1, degraded="key")

    def fail(number):
        if number % 1000 == 0:
            with suppress(ConnectionError):
                stack(named(f"closure_{number}"), registry, attempts=1, degraded=None)()
        stop = registry.on(lambda event: event.error.error_message, OperationFailed)
        with suppress(ConnectionError):
            fn(f"key {number} " * 10)
        stop()

    return fail, registry.analytics.get_most_common_errors


def grown_by(fail, numbers):
    """
    Return by how many bytes this process' resident memory grows while *fail* is called with *numbers*.
    """

    def resident():
        gc.collect()
        with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - read twice, and no file of ours
            return int(statm.read().split()[1]) * 4096

    before = resident()
    for number in numbers:
        fail(number)
    return resident() - before


KINDS = [fails_by_function, fails_by_class, fails_by_key]


@pytest.fixture
def no_log():
    """
    Keep all entries from pytest's handlers, which remember them.
    """
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("kind", KINDS)
def test_row_10_names_beyond_the_limit_are_counted_together(kind, caplog, no_log, registry):
    """
    As ``__other__``, with one warning, and none is lost; what is dropped is forgotten.
    """
    fail, read = kind(registry)
    for number in range(1020):
        fail(number)
    logging.disable(logging.NOTSET)
    for number in range(1020, 1040):
        fail(number)
    # Beside one each: five functions until their circuit is open, with the chain's entry; two closures.
    failed = 1040 + {fails_by_function: 5, fails_by_class: 0, fails_by_key: 2}[kind]
    read = read()
    warned = sum("the rest counts as '__other__'" in record.getMessage() for record in caplog.records)

    assert (kind is not fails_by_key) == warned
    assert (len(registry.analytics.error_history), registry.analytics.total_errors) == (1000, failed)
    if kind is fails_by_class:
        assert (len(read), sum(read.values()), read["__other__"]) == (1025, 1040, 16)
    elif kind is fails_by_function:
        assert (len(read), sum(one["failures"] for one in read.values())) == (1025, 1040)
        assert len(registry.analytics.generate_report()["errors_by_function"]) == 1025
    assert len(registry.functions) <= 1


@pytest.mark.slow
def test_row_10_error_classes_are_not_kept_for_ever(no_log, registry):
    """
    What is cached by class is dropped again: of 3,000 classes at most 1,024 stay.
    """
    fail, _ = fails_by_class(registry)
    classes = []
    for number in range(3000):
        fail(number)
        classes.append(weakref.ref(ConnectionError.__subclasses__()[-1]))
    gc.collect()

    assert sum(ref() is not None for ref in classes) <= 1024 + 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_row_10_a_million_names(kind, no_log, registry):
    """
    A million functions, error classes or keys leave memory as it was: it grows by at most 20 MB.
    """
    fail, _ = kind(registry)
    began = time.perf_counter()
    for number in range(3000):
        fail(number)
    # On a machine too slow for a million in half a minute, as many as it makes.
    count = min(1_000_000, int(3000 * 20 / (time.perf_counter() - began)))

    assert grown_by(fail, range(3000, 3000 + count)) <= 20_000_000


# -- row 45: out of memory ---------------------------------------------------------------------------------------


class Tensor:
    """
    Something big that frames hold on to.
    """


class Watching(FakeClock):
    """
    A clock that looks, at each wait, what is still alive.
    """

    def __init__(self, look):
        super().__init__()
        self.look = look

    def sleep(self, seconds, /):
        self.look("wait")
        super().sleep(seconds)

    async def asleep(self, seconds, /):
        self.look("wait")
        await super().asleep(seconds)


OUT_OF_MEMORY = [MemoryError, lambda: RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")]


class Engine:
    """
    A function that fails with memory in its frames, and watches what is left of it.
    """

    def __init__(self, make_error, failures):
        self.make_error = make_error
        self.failures = failures
        self.refs = []
        self.seen = []
        self.asked = []
        self.clock = Watching(self.look)
        self.registry = Registry(clock=self.clock)

    def look(self, where):
        self.seen.append((where, [ref() for ref in self.refs].count(None) == len(self.refs)))

    def allocate(self, depth=3):
        tensor = Tensor()
        self.refs.append(weakref.ref(tensor))
        if depth:
            self.allocate(depth - 1)
        raise self.make_error()

    def run(self, prompt="", batch_size=8, low_vram=False):
        self.look("attempt")
        self.asked.append((batch_size, low_vram))
        if len(self.refs) < 4 * self.failures:
            work = Tensor()
            self.refs.append(weakref.ref(work))
            try:
                self.allocate(2)
            finally:
                self.refs = self.refs[-4 * self.failures :]
        return batch_size, low_vram


STACKS = {
    "retry, windowed circuit": lambda one: [
        circuit("gpu", window=50, failure_rate=1.0, min_calls=50, slow_call=9.0, registry=one),
        retry(max_attempts=4, on=Exception),
    ],
    "retry, retry": lambda one: [
        retry(max_attempts=2, on=Exception, registry=one),
        # Not fused: two operations, one around the other.
        functools.partial,
        retry(max_attempts=2, on=Exception, registry=one),
    ],
    "degradable, recoverable, retry": lambda one: [
        retry(max_attempts=4, on=Exception, registry=one),
        recoverable,
        degradable(batch_size=lambda value, level: value),
    ],
    "retry": lambda one: [retry(max_attempts=4, on=Exception, initial_delay=1.0, registry=one)],
    "retry, circuit": lambda one: [circuit("gpu", registry=one), retry(max_attempts=4, on=Exception)],
    "circuit, retry": lambda one: [retry(max_attempts=4, on=Exception, registry=one), circuit("gpu")],
    "retry, fallback": lambda one: [
        retry(max_attempts=4, on=Exception, registry=one),
        fallback_chain(script("never")),
    ],
    "before_sleep": lambda one: [
        retry(max_attempts=4, on=Exception, before_sleep=lambda state: None, max_duration=900.0, registry=one)
    ],
}


@pytest.mark.parametrize("make_error", OUT_OF_MEMORY, ids=["host", "cuda"])
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("listens", [False, True])
def test_row_45_a_failed_attempts_frames_are_free_before_the_wait_and_the_next(
    colour, no_gc, stack, make_error, listens
):
    """
    What a failed attempt held is free during the wait and when the next attempt begins, without the collector.
    """
    engine = Engine(make_error, failures=3)
    if listens:
        engine.registry.on(lambda event: None)
    fn = colour.of(engine.run)
    for guard in STACKS[stack](engine.registry):
        fn = guard(fn)

    assert colour.call(fn) == (8, False)
    assert [where for where, _ in engine.seen].count("attempt") == 4
    assert [where for where, _ in engine.seen].count("wait") == 3
    assert [where for where, free in engine.seen if not free] == []


@pytest.mark.parametrize("tells_its_size", [True, False])
@pytest.mark.parametrize("make_error", OUT_OF_MEMORY, ids=["host", "cuda"])
def test_row_45_the_memory_playbook_runs_in_order_on_freed_memory(colour, no_gc, make_error, tells_its_size):
    """
    Cache, batch size, memory flags: in this order, each step after the failed attempt's memory is free.
    """
    engine = Engine(make_error, failures=3)

    class Cache:
        def clear(self):
            engine.look("clear_cache")
            engine.asked.append("clear_cache")

    class SizedCache(Cache):
        def __len__(self):
            return 1

    engine.registry.playbooks.provide(caches=[SizedCache() if tells_its_size else Cache()])
    fn = recoverable(registry=engine.registry)(retry(max_attempts=3)(colour.of(engine.run)))
    with capture_events(engine.registry) as events:
        # Of garbage found, the step would say that it has helped, whatever the cache is taken for.
        gc.collect()
        outcome = colour.outcome(fn, "a cat")
    steps = [event.step for event in events if hasattr(event, "step")]

    assert outcome.error is None
    assert outcome.route == "recovery:enable_memory_optimization"
    assert steps == ["clear_cache", "reduce_batch_size", "enable_memory_optimization"]
    assert outcome.value == (4, True)
    assert engine.asked == [(8, False), "clear_cache", (8, False), (4, False), (4, True)]
    assert [where for where, free in engine.seen if not free] == []


@pytest.mark.parametrize("make_error", OUT_OF_MEMORY, ids=["host", "cuda"])
def test_row_45_a_fallback_begins_on_freed_memory(colour, no_gc, make_error):
    """
    What the primary held is free when its stand-in begins, though the chain keeps the primary's error.
    """
    engine = Engine(make_error, failures=1)

    def small(*args, **kwargs):
        engine.look("fallback")
        return "small"

    fn = fallback_chain(small, registry=engine.registry)(colour.of(engine.run))

    assert colour.call(fn) == "small"
    assert engine.seen == [("attempt", True), ("fallback", True)]


@pytest.mark.parametrize(
    "text",
    ["CUDA error: device-side assert triggered", "CUDA error: an illegal memory access was encountered"],
)
def test_row_45_a_sticky_cuda_error_is_not_retried(colour, registry, text):
    """
    After an error that leaves the GPU's context dead there is neither another attempt nor a recovery.
    """
    primary = script(RuntimeError(text))
    fn = recoverable(registry=registry)(retry(max_attempts=5, on=("memory", "system"))(colour.of(primary)))
    outcome = colour.outcome(fn)

    assert str(outcome.error) == text
    assert (primary.calls, outcome.attempts, outcome.route) == (1, 1, "failed")
    with pytest.raises(RuntimeError, match=text):
        colour.call(retry(registry=registry)(colour.of(primary)))
    assert primary.calls == 2


def test_row_45_without_recovery_memory_errors_are_not_retried(colour, registry):
    """
    The default `on` does not repeat an allocation that nothing has made room for.
    """
    primary = script(RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"))
    colour.outcome(retry(max_attempts=5, registry=registry)(colour.of(primary)))

    assert primary.calls == 1
