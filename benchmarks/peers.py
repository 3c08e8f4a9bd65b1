"""
The same questions, asked of other libraries: those of them that are installed.

``make bench`` installs them; the quick run needs none. Each is used as its own
documentation shows, with waits of zero where it would wait, and without
listeners and logs.
"""

from __future__ import annotations

import contextlib
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pybreaker
import tenacity

from benchmarks.samples import Refused, failing, flaky, placeholder, sample
from benchmarks.stopwatch import Case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

__all__ = ["failure", "installed", "memory", "no_sleeps", "rejection", "retry_storm", "success", "threads"]

NAMES = ("tenacity", "pybreaker", "stamina", "backoff", "circuitbreaker", "hyx", "pyresilience")

# No benchmark fails that often, and none lasts that long.
_NEVER = 1_000_000
_YEAR = 31_536_000


def installed() -> dict[str, str]:
    """
    Return the peers that can be imported here, each with what is imported to use it.
    """
    found = {name: name for name in NAMES if find_spec(name) is not None}
    if "hyx" in found:
        found["hyx"] = "hyx.retry, hyx.circuitbreaker, hyx.fallback"
    return found


def _have(name: str) -> Any:
    """
    Return the module *name*, or None where it is not installed.
    """
    return import_module(name) if find_spec(name) is not None else None


# -- decorators, by library ---------------------------------------------------------


def _pybreaker(**options: Any) -> Decorator:
    return pybreaker.CircuitBreaker(**options)


def _retries(*, is_async: bool) -> Iterator[tuple[str, str, Decorator]]:
    """
    Yield library, what is shown, and a decorator that makes up to three attempts without waits.
    """
    yield "tenacity", "@retry", tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_none())
    if stamina := _have("stamina"):
        stamina.instrumentation.set_on_retry_hooks(())
        yield "stamina", "@stamina.retry", stamina.retry(on=Refused, attempts=3, wait_initial=0, wait_jitter=0)
    if backoff := _have("backoff"):
        options = {"max_tries": 3, "jitter": None, "interval": 0, "logger": None}
        yield "backoff", "@backoff.on_exception", backoff.on_exception(backoff.constant, Refused, **options)
    if pyresilience := _have("pyresilience"):
        config = pyresilience.RetryConfig(max_attempts=3, delay=0.0, jitter=False)
        yield "pyresilience", "@resilient, retry", pyresilience.resilient(retry=config)
    if is_async and _have("hyx"):
        retry = import_module("hyx.retry").retry
        yield "hyx", "@retry", retry(on=Refused, attempts=3, backoff=0)


def _circuits(threshold: int = 5, *, is_async: bool) -> Iterator[tuple[str, str, Decorator, type[Exception]]]:
    """
    Yield library, what is shown, a circuit decorator, and what it raises when open.
    """
    if not is_async:
        # Its async calls are tornado's.
        yield "pybreaker", "breaker", _pybreaker(fail_max=threshold, reset_timeout=_YEAR), pybreaker.CircuitBreakerError
    if module := _have("circuitbreaker"):
        circuit = module.circuit(failure_threshold=threshold, recovery_timeout=_YEAR, name=f"{threshold} {is_async}")
        yield "circuitbreaker", "@circuit", circuit, module.CircuitBreakerError
    if pyresilience := _have("pyresilience"):
        config = pyresilience.CircuitBreakerConfig(failure_threshold=threshold, recovery_timeout=_YEAR)
        opened = pyresilience.CircuitOpenError
        yield "pyresilience", "@resilient, circuit", pyresilience.resilient(circuit_breaker=config), opened
    if is_async and _have("hyx"):
        breaker = import_module("hyx.circuitbreaker").consecutive_breaker
        opened = import_module("hyx.circuitbreaker.exceptions").BreakerFailing
        yield "hyx", "@consecutive_breaker", breaker(failure_threshold=threshold, recovery_time_secs=_YEAR), opened


def _stacks(*, is_async: bool) -> Iterator[tuple[str, str, Decorator]]:
    """
    Yield library, what is shown, and the most that it stacks of fallback, retry and circuit.
    """
    if not is_async:
        retry, breaker = tenacity.retry(stop=tenacity.stop_after_attempt(3)), _pybreaker()
        yield "tenacity + pybreaker", "@retry over breaker", lambda fn: retry(breaker(fn))
    if pyresilience := _have("pyresilience"):
        everything = pyresilience.resilient(
            retry=pyresilience.RetryConfig(),
            circuit_breaker=pyresilience.CircuitBreakerConfig(),
            fallback=pyresilience.FallbackConfig(handler=placeholder),
        )
        yield "pyresilience", "@resilient, retry, circuit and fallback", everything
    if is_async and _have("hyx"):
        fallback = import_module("hyx.fallback").fallback(placeholder)
        retry = import_module("hyx.retry").retry()
        breaker = import_module("hyx.circuitbreaker").consecutive_breaker()
        yield "hyx", "@fallback, @retry, @consecutive_breaker", lambda fn: fallback(retry(breaker(fn)))


# -- answers, by question --------------------------------------------------------------


def _case(who: str, name: str, call: Any, *, is_async: bool, **options: Any) -> tuple[str, Case]:
    colour = "async" if is_async else "sync"
    return who, Case(f"{who} {name}, {colour}", call, is_async, **options)


def success(*, is_async: bool) -> Iterator[tuple[str, Case]]:
    """
    Yield calls that succeed.
    """
    fn = sample(is_async=is_async)
    for who, name, decorator in _retries(is_async=is_async):
        yield _case(who, name, decorator(fn), is_async=is_async, count=500)
    for who, name, decorator, _ in _circuits(is_async=is_async):
        yield _case(who, name, decorator(fn), is_async=is_async, count=500)
    for who, name, decorator in _stacks(is_async=is_async):
        yield _case(who, name, decorator(fn), is_async=is_async, count=500)


def failure(*, is_async: bool) -> Iterator[tuple[str, Case]]:
    """
    Yield calls that fail through a closed circuit.
    """
    fn = failing(is_async=is_async)
    for who, name, decorator, _ in _circuits(_NEVER, is_async=is_async):
        yield _case(who, name, decorator(fn), is_async=is_async, raises=Refused, count=200)


def rejection(*, is_async: bool) -> Iterator[tuple[str, Case]]:
    """
    Yield calls that an open circuit rejects: one failure has opened it.
    """
    fn = failing(is_async=is_async)
    for who, name, decorator, opened in _circuits(1, is_async=is_async):
        call = decorator(fn)

        def open_it(call: Any = call, opened: type[Exception] = opened) -> None:
            with contextlib.suppress(Refused, opened):
                if is_async:
                    _finish(call(1))
                else:
                    call(1)

        yield _case(who, name, call, is_async=is_async, raises=opened, count=500, prepare=open_it)


def _finish(coroutine: Any) -> None:
    """
    Run a coroutine that never waits.
    """
    with contextlib.suppress(StopIteration):
        coroutine.send(None)
    coroutine.close()


def retry_storm(*, is_async: bool) -> Iterator[tuple[str, Case]]:
    """
    Yield calls whose third attempt succeeds.
    """
    for who, name, decorator in _retries(is_async=is_async):
        yield _case(who, name, decorator(flaky(is_async=is_async)), is_async=is_async, count=50)


@contextlib.contextmanager
def no_sleeps() -> Iterator[None]:
    """
    Leave out the sleeps of libraries that sleep for zero seconds too: they cost more than all the rest.
    """

    async def asleep(_: float) -> None:
        """
        Return at once.
        """

    with patch("time.sleep", lambda _: None), patch("asyncio.sleep", asleep):
        yield


def threads(fn: Callable[[int], None]) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """
    Yield *fn* behind one circuit.
    """
    for who, name, decorator, _ in _circuits(is_async=False):
        yield who, f"{who} {name}, closed", decorator(fn)


def memory(raws: dict[int, Callable[..., Any]]) -> Iterator[tuple[str, str, Callable[[int], Any]]]:
    """
    Yield what makes one function with a circuit of its own.
    """
    yield "pybreaker", "a function with a breaker", lambda number: _pybreaker()(raws[number])
    if module := _have("circuitbreaker"):
        yield "circuitbreaker", "a function with @circuit", lambda number: module.circuit()(raws[number])
    if pyresilience := _have("pyresilience"):

        def guarded(number: int) -> Callable[..., Any]:
            return pyresilience.resilient(  # type: ignore[no-any-return]
                retry=pyresilience.RetryConfig(),
                circuit_breaker=pyresilience.CircuitBreakerConfig(),
                fallback=pyresilience.FallbackConfig(handler=placeholder),
            )(raws[number])

        yield "pyresilience", "a function with retry, circuit and fallback", guarded
