from __future__ import annotations

import copy
import pickle
from datetime import timedelta

import pytest
import tenacity

from resilient import CircuitBreakerConfig, PolicyError, Registry, RetryConfig, circuit, retry
from resilient.testing import FakeClock


def given(fn):
    """
    Return what the policies of *fn* differ in from the defaults.
    """
    return repr(fn.resilience.policies[0])


def on(config, **options):
    """
    Return a function under *config* and *options*.
    """
    return retry(config, registry=Registry(clock=FakeClock()), **options)(lambda: None)


def test_defaults():
    """
    Fields that nobody sets read as the defaults of `retry`, and do not count as given.
    """
    config = RetryConfig()

    assert (
        config.max_attempts,
        config.initial_delay,
        config.max_delay,
        config.exponential_base,
        config.jitter,
    ) == (3, 1.0, 60.0, 2.0, True)
    assert (
        config.retryable_exceptions,
        config.max_duration,
        config.on_result,
        config.wait,
        config.stop,
        config.retry,
        config.before_sleep,
    ) == (None,) * 7
    assert config.given == {}


def test_fields_are_normalised():
    """
    Fields read in their normal form.
    """
    config = RetryConfig(
        initial_delay="500ms", max_delay=timedelta(minutes=1), retryable_exceptions={KeyError, OSError}
    )

    assert (config.initial_delay, config.max_delay) == (0.5, 60.0)
    assert {KeyError, OSError} == set(config.retryable_exceptions)


def test_problems_at_once():
    """
    A config is checked when it is made, all problems at once.
    """
    with pytest.raises(PolicyError) as caught:
        RetryConfig(max_attempts=0, retryable_exceptions=5)

    assert caught.value.where == "RetryConfig()"
    assert len(caught.value.problems) == 2
    assert any(problem.startswith("retryable_exceptions must be exception types") for problem in caught.value.problems)


def test_contradictions():
    """
    Fields that contradict each other are refused.
    """
    with pytest.raises(PolicyError, match="max_attempts and stop= exclude each other"):
        RetryConfig(max_attempts=3, stop=tenacity.stop_never)


def test_unknown_field():
    """
    Unknown fields are a TypeError, as for any function, and reading one names the fields.
    """
    with pytest.raises(TypeError, match="atempts"):
        RetryConfig(atempts=3)
    with pytest.raises(
        AttributeError, match="RetryConfig has no field 'atempts'; it has retryable_exceptions, max_attempts"
    ):
        _ = RetryConfig().atempts


def test_frozen():
    """
    A config does not change.
    """
    with pytest.raises(AttributeError, match="RetryConfig is frozen; make a new one with max_attempts=5"):
        RetryConfig().max_attempts = 5


def test_value():
    """
    Configs with the same given fields are equal, hash alike, and survive copy and pickle.
    """
    config = RetryConfig(max_attempts=5, retryable_exceptions=(KeyError, OSError))

    assert config == RetryConfig(retryable_exceptions=[OSError, KeyError], max_attempts=5)
    assert hash(config) == hash(RetryConfig(retryable_exceptions=[OSError, KeyError], max_attempts=5))
    assert config != RetryConfig(max_attempts=5)
    assert config != 5
    assert [config] * 3 == [pickle.loads(pickle.dumps(config)), copy.copy(config), copy.deepcopy(config)]


def test_repr():
    """
    A config shows what was given, by its own names.
    """
    assert (
        repr(RetryConfig(retryable_exceptions=KeyError, max_attempts=5))
        == "RetryConfig(retryable_exceptions=KeyError, max_attempts=5)"
    )
    assert repr(CircuitBreakerConfig(timeout=5)) == "CircuitBreakerConfig(timeout=5.0)"


def test_retry_takes_it():
    """
    `retry` takes a config; keywords beside it win over its fields.
    """
    config = RetryConfig(max_attempts=5, initial_delay=2, retryable_exceptions=KeyError)

    assert given(on(config)) == "@retry(on=KeyError, max_attempts=5, initial_delay=2.0)"
    assert given(on(config, max_attempts=7, on=OSError)) == "@retry(on=OSError, max_attempts=7, initial_delay=2.0)"
    assert given(on(config, retryable_exceptions=OSError)) == "@retry(on=OSError, max_attempts=5, initial_delay=2.0)"


def test_a_field_given_as_its_default():
    """
    A field given as its default counts as given where sources merge, and a keyword still wins.
    """
    assert RetryConfig(max_attempts=3).given == {"max_attempts": 3}
    assert given(on(RetryConfig(max_attempts=3), max_attempts=4)) == "@retry(max_attempts=4)"


def test_strategies_and_keywords():
    """
    A keyword wins over the strategy that stands for it, and a strategy over the fields that it stands for.
    """
    wait = tenacity.wait_fixed(1)

    assert given(on(RetryConfig(wait=wait), initial_delay=3)) == "@retry(initial_delay=3.0)"
    assert f"@retry(max_attempts=5, wait={wait!r})" == given(
        on(RetryConfig(initial_delay=3, max_attempts=5), wait=wait)
    )


def test_keywords_that_contradict_a_field():
    """
    What is left after merging is checked together.
    """
    with pytest.raises(PolicyError, match="max_delay must be at least initial_delay"):
        on(RetryConfig(initial_delay=5), max_delay=2)


def test_circuit_takes_it():
    """
    `circuit` takes a config, alone or beside the name, and keywords win.
    """
    config = CircuitBreakerConfig(failure_threshold=2, timeout=5)

    def options(decorator):
        policy = decorator(lambda: None).resilience.policies[0]
        return policy.breaker.options["failure_threshold"], policy.breaker.options["open_for"]

    assert options(circuit(config, registry=Registry())) == (2, 5.0)
    assert options(circuit("api", config, registry=Registry())) == (2, 5.0)
    assert options(circuit("api", config, failure_threshold=4, registry=Registry())) == (4, 5.0)
    assert options(circuit("api", config, timeout=9, registry=Registry())) == (2, 9.0)
    assert (config.timeout, config.open_for, CircuitBreakerConfig().failure_threshold) == (5.0, 5.0, 5)
