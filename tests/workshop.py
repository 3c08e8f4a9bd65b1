"""
A registry with something of everything that has state, its locks, and a call of each: for forks, interrupts and logs.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from contextlib import suppress

from resilient import (
    CircuitBreaker,
    CircuitBreakerConfig,
    FallbackChain,
    circuit,
    degradable,
    fallback_chain,
    recoverable,
    retry,
)
from tests.harness import script

_LOCKS = (type(threading.Lock()), type(threading.RLock()))


class Workshop:
    """
    A registry with something of everything, and a call of each.
    """

    def __init__(self, colour, registry):
        self.colour = colour
        self.registry = registry
        self.breaker = CircuitBreaker("alone", CircuitBreakerConfig(failure_threshold=1_000_000))
        self.named = FallbackChain("alone", [script(ValueError("entry")), script("alone")])
        registry.playbooks.provide(caches=[{}])
        registry.chain("named").add_fallback(script("named"))

        @degradable(registry=registry)
        @fallback_chain(script("unnamed"))
        @recoverable
        @retry(max_attempts=2, initial_delay=0.0, jitter=False)
        @circuit("api", failure_threshold=50)
        @colour.of
        def call(fails=True, quality=1.0):
            if fails:
                raise ConnectionError
            return quality

        @recoverable(registry=registry)
        @circuit(failure_threshold=100)
        @colour.of
        def hungry():
            raise MemoryError

        @fallback_chain(script("named"), name="named", registry=registry)
        @colour.of
        def chained():
            raise ConnectionError

        self.functions = call, hungry, chained

    def work(self):
        """
        Use everything once, and tell what came of it.
        """
        registry, colour = self.registry, self.colour
        call, hungry, chained = self.functions
        told = [colour.call(call, False), colour.call(call, True), colour.call(chained), colour.outcome(hungry).route]
        told.append(asyncio.run(self.named.execute()))
        with suppress(ValueError):
            self.breaker.call(script(ValueError()))
        told.append(self.breaker.failure_count > 0)
        heard = []
        unsubscribe = registry.on(heard.append)
        fresh = circuit(registry=registry)(colour.of(script("fresh")))
        told.append(colour.call(fresh))
        told.append(colour.call(call))
        told.append(len(heard) > 0)
        unsubscribe()
        registry.degradation.degrade("too hot")
        told.append(registry.degradation.current_level)
        registry.degradation.restore()
        registry.circuit("api").isolate().release()
        registry.circuit("new")
        registry.chain("new").get_stats()
        registry.playbooks.provide(caches=[{}])
        registry.health().to_dict()
        registry.analytics.generate_report()
        registry.degradation.scope("video").degrade("busy")
        told.append(call.resilience.stats().calls > 0)
        registry.reset()
        return told


EXPECTED = [1.0, "unnamed", "named", "failed", "alone", True, "fresh", "unnamed", True, "high", True]
"""
What `Workshop.work` tells.
"""


def locks():
    """
    Find every lock that an object of the library has: (owner, attribute, lock).
    """
    found = []
    # What was frozen after collection, the library's own modules among it, is not shown. What earlier tests have
    # left for the collector nobody uses any more: its locks are nobody's to renew.
    gc.unfreeze()
    gc.collect()
    everything = gc.get_objects()
    gc.freeze()
    for owner in everything:
        kind = type(owner)
        # By a look at the type: proxies and mocks answer for what they wrap.
        if not str(getattr(kind, "__module__", "")).startswith("resilient.") or issubclass(kind, type):
            continue
        names = {*getattr(owner, "__dict__", {})}
        names.update(name for base in kind.__mro__ for name in _slots(base))
        for name in sorted(names):
            lock = getattr(owner, name, None) if not name.startswith("__") else None
            if isinstance(lock, _LOCKS):
                found.append((owner, name, lock))
    return found


def _slots(kind):
    slots = kind.__dict__.get("__slots__", ())
    return [slots] if isinstance(slots, str) else list(slots)
