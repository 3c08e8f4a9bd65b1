"""
What type checkers see of the decorators: checked by mypy and pyright, never run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_type

import tenacity

from resilient import (
    AsyncResilience,
    CircuitBreaker,
    CircuitBreakerConfig,
    Fallback,
    Outcome,
    Registry,
    Resilience,
    RetryConfig,
    circuit,
    degradable,
    fallback_chain,
    recoverable,
    resilience_of,
    retry,
    scale,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


@dataclass
class Video:
    """
    What the sample functions make.
    """

    seconds: float


def preview(prompt: str, *, steps: int = 50) -> Video:
    """
    Stand in for a render.
    """
    return Video(steps / len(prompt))


async def apreview(prompt: str, *, steps: int = 50) -> Video:
    """
    Stand in for an async render.
    """
    return preview(prompt, steps=steps)


# -- bare ------------------------------------------------------------------


@retry
def bare_retry(prompt: str, *, steps: int = 50) -> Video:
    """
    Carry a bare decorator.
    """
    return preview(prompt, steps=steps)


@circuit
def bare_circuit(prompt: str) -> Video:
    """
    Carry a bare decorator.
    """
    return preview(prompt)


@degradable
def bare_degradable(prompt: str, *, steps: int = 50) -> Video:
    """
    Carry a bare decorator.
    """
    return preview(prompt, steps=steps)


@recoverable
def bare_recoverable(prompt: str) -> Video:
    """
    Carry a bare decorator.
    """
    return preview(prompt)


@retry
async def bare_async(prompt: str) -> Video:
    """
    Carry a bare decorator.
    """
    return await apreview(prompt)


assert_type(bare_retry("sunrise", steps=3), Video)
assert_type(bare_circuit("sunrise"), Video)
assert_type(bare_degradable("sunrise", steps=3), Video)
assert_type(bare_recoverable("sunrise"), Video)


# -- with options ------------------------------------------------------------


@retry(max_attempts=5, initial_delay="500ms", on=(ConnectionError, TimeoutError), jitter="full")
def retry_options(prompt: str) -> Video:
    """
    Carry options.
    """
    return preview(prompt)


@retry(RetryConfig(max_attempts=2), wait=tenacity.wait_fixed(1))
def retry_config(prompt: str) -> Video:
    """
    Carry a config.
    """
    return preview(prompt)


@retry(tenacity.Retrying(stop=tenacity.stop_after_attempt(2)))
def retry_tenacity(prompt: str) -> Video:
    """
    Carry a tenacity object.
    """
    return preview(prompt)


@circuit("renderer", CircuitBreakerConfig(failure_threshold=2), window="30s", failure_rate=0.5, ignore="validation")
def circuit_options(prompt: str) -> Video:
    """
    Carry options.
    """
    return preview(prompt)


@fallback_chain(preview, Fallback(preview, name="again", on=MemoryError), name="chain", on="network")
def chain_options(prompt: str, *, steps: int = 50) -> Video:
    """
    Carry fallbacks.
    """
    return preview(prompt, steps=steps)


@degradable(steps=scale(minimum=8), quality=False, scope="video", registry=Registry())
def degradable_options(prompt: str, *, steps: int = 50, quality: float = 1.0) -> Video:
    """
    Carry rules.
    """
    return preview(prompt, steps=int(steps * quality))


@recoverable(playbook="memory", max_runs=1)
def recoverable_options(prompt: str) -> Video:
    """
    Carry options.
    """
    return preview(prompt)


assert_type(retry_options("sunrise"), Video)
assert_type(retry_config("sunrise"), Video)
assert_type(retry_tenacity("sunrise"), Video)
assert_type(circuit_options("sunrise"), Video)
assert_type(chain_options("sunrise", steps=3), Video)
assert_type(degradable_options("sunrise", quality=0.5), Video)
assert_type(recoverable_options("sunrise"), Video)


# -- stacked -------------------------------------------------------------------


@degradable
@fallback_chain(preview)
@recoverable
@retry(max_attempts=3)
@circuit("video")
def stacked(prompt: str, *, steps: int = 50) -> Video:
    """
    Carry all five.
    """
    return preview(prompt, steps=steps)


@degradable
@fallback_chain(apreview, preview)
@recoverable
@retry(max_attempts=3)
@circuit("video")
async def astacked(prompt: str, *, steps: int = 50) -> Video:
    """
    Carry all five.
    """
    return await apreview(prompt, steps=steps)


assert_type(stacked("sunrise", steps=3), Video)


# -- methods -------------------------------------------------------------------


class Engine:
    """
    Has decorated methods of every kind.
    """

    @retry
    @circuit
    def render(self, prompt: str) -> Video:
        """
        Be a method.
        """
        return preview(prompt)

    @retry(max_attempts=2)
    async def arender(self, prompt: str) -> Video:
        """
        Be an async method.
        """
        return await apreview(prompt)

    @classmethod
    @retry
    def make(cls, prompt: str) -> Video:
        """
        Be a classmethod, decorated below it.
        """
        return preview(prompt)

    @staticmethod
    @retry(max_attempts=2)
    def draft(prompt: str) -> Video:
        """
        Be a staticmethod, decorated below it.
        """
        return preview(prompt)

    @property
    @retry
    def last(self) -> Video:
        """
        Be a property whose getter is decorated.
        """
        return Video(1.0)


engine = Engine()
assert_type(engine.render("sunrise"), Video)
assert_type(Engine.make("sunrise"), Video)
assert_type(Engine.draft("sunrise"), Video)
assert_type(engine.last, Video)


# -- what a decorated function carries -------------------------------------------


def typed(prompt: str, /) -> Video:
    """
    Be decorated by hand.
    """
    return preview(prompt)


async def atyped(prompt: str, /) -> Video:
    """
    Be decorated by hand.
    """
    return await apreview(prompt)


assert_type(resilience_of(typed), Resilience[[str], Video])
assert_type(resilience_of(typed).outcome("sunrise"), Outcome[Video])
assert_type(resilience_of(typed).outcome("sunrise").value, Video | None)
assert_type(resilience_of(atyped), AsyncResilience[[str], Video])


async def check_async() -> None:
    """
    Await what is awaited.
    """
    coroutine: Coroutine[Any, Any, Video] = bare_async("sunrise")
    assert_type(await coroutine, Video)
    assert_type(await astacked("sunrise", steps=3), Video)
    assert_type(await engine.arender("sunrise"), Video)
    assert_type(await resilience_of(atyped).outcome("sunrise"), Outcome[Video])
    breaker = CircuitBreaker("direct")
    assert_type(await breaker.execute(apreview, "sunrise", steps=2), Video)
    assert_type(await breaker.execute(preview, "sunrise"), Video)
    assert_type(breaker.call(preview, "sunrise"), Video)


as_callable: Callable[[str], Video] = retry_options
