"""
What type checkers see of the facade: checked by mypy and pyright, never run.
"""

from __future__ import annotations

from typing import assert_type

from resilient import CircuitBreaker, ErrorHandlingSystem, FallbackChain, RetryConfig, RetryMechanism

system = ErrorHandlingSystem()
mechanism = RetryMechanism(RetryConfig(max_attempts=2))


@system.fallback_chain(str)
@system.retry(max_attempts=3)
def name(number: int) -> str:
    """
    Stand for a sync function.
    """
    return str(number)


@system.circuit("names", failure_threshold=2)
@system.retry
async def aname(number: int) -> str:
    """
    Stand for an async function.
    """
    return str(number)


@system.recoverable
@system.degradable
def quality(quality: float = 1.0) -> float:
    """
    Stand for a function that follows the service level.
    """
    return quality


async def use() -> None:
    """
    Call through everything, both ways.
    """
    assert_type(name(1), str)
    assert_type(await aname(1), str)
    assert_type(quality(), float)
    assert_type(await system.execute_with_resilience(aname, 1, circuit_breaker_name="names"), str)
    assert_type(await system.execute_with_resilience(name, 1), str)
    assert_type(system.execute_with_resilience_sync(name, 1, enable_retry=False), str)
    assert_type(await mechanism.execute_with_retry(aname, 1), str)
    assert_type(await mechanism.execute_with_retry(name, 1), str)
    assert_type(mechanism.call(name, 1), str)
    assert_type(system.circuit_breakers["names"], CircuitBreaker)
    assert_type(system.get_fallback_chain("names"), FallbackChain)
