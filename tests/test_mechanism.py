"""
`RetryMechanism`: retries to hold in one's hands.
"""

from __future__ import annotations

import asyncio
import random

import pytest
import tenacity

from resilient import CircuitBreakerOpenError, PolicyError, Registry, RetryConfig, RetryMechanism
from resilient.mechanism import RetryCounts
from tests.harness import run_threads


@pytest.fixture(params=["call", "execute_with_retry", "execute_with_retry inline"])
def execute(request):
    """
    Return a function that calls a sync function through a mechanism, in each of the ways there are.
    """

    def call(mechanism, func, /, *args, **kwargs):
        if request.param == "call":
            return mechanism.call(func, *args, **kwargs)
        if request.param.endswith("inline"):
            return asyncio.run(mechanism.execute_with_retry(func, *args, **kwargs))

        async def fetch(*args, **kwargs):
            return func(*args, **kwargs)

        fetch.__qualname__ = func.__qualname__
        return asyncio.run(mechanism.execute_with_retry(fetch, *args, **kwargs))

    return call


def failing(*errors):
    """
    Return a function that raises these errors first, and then returns its arguments.
    """
    left = list(errors)

    def fetch(*args, **kwargs):
        if left:
            raise left.pop(0)
        return args, kwargs

    fetch.__qualname__ = "fetch"
    return fetch


FETCH = f"{__name__}:fetch"


# -- calling -----------------------------------------------------------------


def test_it_calls_again_and_waits(execute, clock):
    """
    What is transient is called again, after the waits that the config states.
    """
    mechanism = RetryMechanism(RetryConfig(jitter=False), clock=clock)

    assert execute(mechanism, failing(ConnectionError(), TimeoutError()), 1, a=2) == ((1,), {"a": 2})
    assert clock.monotonic() == 3.0


def test_the_last_error_is_raised_as_itself(execute, clock):
    """
    When attempts run out, the last error arrives as itself, with a note.
    """
    last = ConnectionError("third")
    mechanism = RetryMechanism(clock=clock)

    with pytest.raises(ConnectionError, match="third") as caught:
        execute(mechanism, failing(ConnectionError(), ConnectionError(), last))
    assert caught.value is last
    assert "gave up after 3 attempts" in last.__notes__[0]


def test_it_counts_by_function(execute, clock):
    """
    Stats have the calls of each function, the retries among them, and how whole series ended.
    """
    mechanism = RetryMechanism(clock=clock)
    execute(mechanism, failing(ConnectionError(), ConnectionError()))
    execute(mechanism, failing())
    with pytest.raises(ValueError, match="wrong"):
        execute(mechanism, failing(ValueError("wrong")))

    assert mechanism.get_stats() == {FETCH: {"attempts": 5, "successes": 2, "failures": 1, "retries": 2}}


def test_a_call_that_is_broken_off_is_neither_success_nor_failure(clock):
    """
    Ctrl-C leaves at once; its attempt is counted, and nothing else.
    """
    mechanism = RetryMechanism(clock=clock)

    with pytest.raises(KeyboardInterrupt):
        mechanism.call(failing(KeyboardInterrupt()))
    assert mechanism.get_stats() == {FETCH: {"attempts": 1, "successes": 0, "failures": 0, "retries": 0}}


def test_strategies_of_tenacity_work(execute, clock):
    """
    A config's strategy objects are used as they are.
    """
    config = RetryConfig(
        wait=tenacity.wait_fixed(7),
        stop=tenacity.stop_after_attempt(2),
        retry=tenacity.retry_if_exception_type(KeyError),
    )
    mechanism = RetryMechanism(config, clock=clock)

    assert execute(mechanism, failing(KeyError()), 1) == ((1,), {})
    assert clock.monotonic() == 7.0


def test_it_uses_the_registry(clock):
    """
    On a registry, it waits on its clock, asks its classifier, and records in its analytics.
    """
    registry = Registry(clock=clock)
    registry.classifier.add(LookupError, "workflow", transient=True)
    mechanism = RetryMechanism(RetryConfig(jitter=False), registry)
    mechanism.call(failing(KeyError()))
    registry.reset()

    assert clock.monotonic() == 1.0
    assert mechanism.is_retryable(KeyError())
    assert mechanism.get_stats() == {}


def test_errors_are_recorded_under_the_functions_name(registry):
    """
    On a registry, errors are recorded under the name of the function that was called.
    """
    RetryMechanism(registry=registry).call(failing(ConnectionError()))
    report = registry.analytics.generate_report()

    assert report["errors_by_function"] == {FETCH: 1}
    assert report["recovery_rate"] == 1.0


@pytest.mark.parametrize("method", ["call", "execute_with_retry"])
def test_something_that_cannot_be_called_is_refused(method):
    """
    What cannot be called is refused, with what to write.
    """
    mechanism = RetryMechanism()

    with pytest.raises(PolicyError, match=rf"{method}\(\) takes a function .* as in {method}\(fetch, url\); got 3"):
        asyncio.run(getattr(mechanism, method)(3))


# -- asking ------------------------------------------------------------------


def test_delays():
    """
    Attempt 0 is the first wait; each is longer than the one before, up to the longest.
    """
    mechanism = RetryMechanism(RetryConfig(initial_delay=0.5, max_delay=3.0, jitter=False))

    assert [mechanism.calculate_delay(attempt) for attempt in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert mechanism.calculate_delay(100_000) == 3.0


def test_delays_are_spread():
    """
    By default a delay is spread by up to a quarter either way, by the registry's chance.
    """
    mechanism = RetryMechanism(registry=Registry(rng=random.Random(1)))
    again = RetryMechanism(registry=Registry(rng=random.Random(1)))
    delays = [mechanism.calculate_delay(0) for _ in range(100)]

    assert 0.75 <= min(delays) < 0.8
    assert 1.2 < max(delays) <= 1.25
    assert delays == [again.calculate_delay(0) for _ in range(100)]


@pytest.mark.parametrize("attempt", [-1, 1.5, "1", True, None])
def test_a_wrong_attempt_is_refused(attempt):
    """
    An attempt that is no whole number from 0 on is refused.
    """
    with pytest.raises(PolicyError, match=r"calculate_delay\(\): attempt must be a whole number from 0"):
        RetryMechanism().calculate_delay(attempt)


@pytest.mark.parametrize(
    ("on", "error", "expected"),
    [
        (None, ConnectionError(), True),
        (None, ValueError(), False),
        (None, MemoryError(), False),
        (None, CircuitBreakerOpenError("api"), False),
        (None, KeyboardInterrupt(), False),
        (None, asyncio.CancelledError(), False),
        ({ConnectionError, TimeoutError}, TimeoutError(), True),
        ({ConnectionError, TimeoutError}, ValueError(), False),
        (Exception, KeyboardInterrupt(), False),
        ("network", ConnectionError(), True),
    ],
)
def test_what_is_retryable(on, error, expected):
    """
    What is retryable is what a retry with that config would call again.
    """
    assert RetryMechanism(RetryConfig(retryable_exceptions=on)).is_retryable(error) is expected


# -- being made --------------------------------------------------------------


def test_its_config_and_its_repr():
    """
    It has its config, and shows the options that differ from the defaults.
    """
    config = RetryConfig(max_attempts=5)

    assert RetryMechanism(config).config is config
    assert RetryMechanism().config == RetryConfig()
    assert repr(RetryMechanism(config)) == "<RetryMechanism: @retry(max_attempts=5)>"


def test_something_else_is_no_config():
    """
    Only a `RetryConfig` is one.
    """
    with pytest.raises(PolicyError, match=r"config must be a RetryConfig or None, got \{'max_attempts': 3\} \(dict\)"):
        RetryMechanism({"max_attempts": 3})


# -- counts ------------------------------------------------------------------


def test_counts_are_bounded():
    """
    Functions beyond a thousand are counted together, under a cut name, and none is lost.
    """
    counts = RetryCounts()
    for number in range(1500):
        counts.add(f"f{number}", 1, 0, returned=True)
    counts.add("f3", 1, 0, returned=True)
    counts.add("x" * 10_000, 1, 0, returned=True)
    table = counts.to_dict()

    assert len(table) == 1025
    assert table["f3"]["attempts"] == 2
    assert table["__other__"]["attempts"] == 1500 - 1024 + 1
    assert sum(one["successes"] for one in table.values()) == 1502


def test_counts_are_exact_in_threads():
    """
    Threads that count at the same time lose nothing.
    """
    counts = RetryCounts()

    def count():
        for _ in range(2000):
            counts.add("f", 1, 1, returned=False)

    run_threads(*[count] * 4)

    assert counts.to_dict() == {"f": {"attempts": 8000, "successes": 0, "failures": 8000, "retries": 8000}}


def test_names_are_readable():
    """
    Names are escaped where they are read.
    """
    counts = RetryCounts()
    counts.add("f\x1b[31m\n", 1, 0, returned=True)

    assert list(counts.to_dict()) == [r"f\x1b[31m\n"]
