"""
The circuit's machine against a naive model of it, over random histories of overlapping calls.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient import CircuitBreaker, CircuitBreakerConfig, CircuitBreakerOpenError, Registry, circuit
from resilient.events import CircuitClosed, CircuitHalfOpened, CircuitOpened
from resilient.testing import FakeClock

TRANSITIONS = [CircuitOpened, CircuitHalfOpened, CircuitClosed]


class Model:
    """
    What a circuit does, in as few words as possible: a list of results, and a list of permits.
    """

    def __init__(self, *, threshold, successes, probes, open_for, lease, window=None, rate=None):
        self.threshold, self.successes, self.probes = threshold, successes, probes
        self.open_for, self.lease, self.window, self.rate = open_for, lease, window, rate
        self.state, self.generation, self.holds, self.now = "closed", 0, 0, 0.0
        self.rejected = self.late = 0
        self.results, self.leases, self.told, self.opened = [], {}, [], 0.0

    def move(self, state):
        self.state, self.generation = state, self.generation + 1
        self.results, self.leases, self.opened = [], {}, self.now
        self.told.append(state)
        self.holds = self.holds if state == "open" else 0

    def begin(self, call):
        if self.state == "open" and not self.holds and self.now - self.opened >= self.open_for - 1e-6:
            self.move("half_open")
        self.leases = {one: until for one, until in self.leases.items() if until > self.now}
        if self.state == "open" or (self.state == "half_open" and len(self.leases) >= self.probes):
            self.rejected += 1
            return None
        if self.state == "half_open":
            self.leases[call] = self.now + self.lease
        return call, self.generation

    def finish(self, permit, result):
        call, generation = permit
        self.leases.pop(call, None)
        if result is not None and generation != self.generation:
            self.late += 1
        elif result is not None and self.state != "open":
            self.results.append(result)
            if self.trips() if self.state == "closed" else not result:
                self.move("open")
            elif self.state == "half_open" and len(self.results) == self.successes:
                self.move("closed")

    def trips(self):
        seen = self.results[-self.window :] if self.window else self.results
        if self.rate is None:
            return len(seen) >= self.threshold and not any(seen[-self.threshold :])
        return len(seen) >= self.window and seen.count(False) / len(seen) >= self.rate


class Real:
    """
    The same operations on a real breaker, by permits.
    """

    def __init__(self, config, *, decorated):
        self.clock = FakeClock()
        self.registry = Registry(clock=self.clock)
        self.told = []
        self.registry.on(lambda event: self.told.append(event.name), TRANSITIONS)
        self.breaker = self.registry.circuit("c", config)
        self.begin = self.begin_decorated if decorated else self.begin_permit
        self.finish = self.finish_decorated if decorated else self.finish_permit

        @circuit("c", registry=self.registry)
        async def fn():
            result = await Pause()
            if result is None:
                raise KeyboardInterrupt
            if not result:
                raise OSError

        self.fn = fn

    def begin_permit(self):
        try:
            return self.breaker.acquire()
        except CircuitBreakerOpenError:
            return None

    def finish_permit(self, permit, result):
        if result is None:
            permit.release()
        elif result:
            permit.success()
        else:
            permit.failure(OSError())

    def begin_decorated(self):
        call = self.fn()
        try:
            call.send(None)
        except CircuitBreakerOpenError:
            return None
        return call

    def finish_decorated(self, call, result):
        try:
            call.send(result)
        except (StopIteration, OSError, KeyboardInterrupt):
            return
        pytest.fail("the call did not end")


class Pause:
    """
    An awaitable that gives control back to the test once, and returns what it is sent.
    """

    def __await__(self):
        return (yield)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.sampled_from([True, False, False])),
        st.tuples(st.just("call"), st.sampled_from([True, False, False])),
        st.just(("begin",)),
        st.tuples(st.just("finish"), st.integers(0, 5), st.sampled_from([True, False, None])),
        st.tuples(st.just("advance"), st.sampled_from([1.0, 10.0])),
        st.sampled_from([("reset",), ("isolate",), ("release",), ("close",), ("ask",)]),
    ),
    min_size=15,
    max_size=60,
)


class Both:
    """
    A model and a real breaker, to which the same things are done.
    """

    def __init__(self, model, real):
        self.model, self.real, self.breaker = model, real, real.breaker
        self.calls, self.holds = [], []

    def begin(self):
        self.calls.append((self.model.begin(object()), self.real.begin()))

    def call(self, result):
        self.begin()
        self.finish(-1, result)

    def finish(self, which, result):
        if not self.calls:
            return
        ours, theirs = self.calls.pop(which % len(self.calls))
        assert (ours is None) == (theirs is None)
        if ours is not None:
            self.model.finish(ours, result)
            self.real.finish(theirs, result)

    def advance(self, seconds):
        self.model.now += seconds
        self.real.clock.advance(seconds)

    def ask(self):
        admitted = self.model.begin(asked := object())
        self.model.rejected -= admitted is None
        self.model.leases.pop(asked, None)
        assert self.breaker.can_execute() == (admitted is not None)

    def isolate(self):
        self.holds.append(self.breaker.isolate())
        self.model.holds += 1
        if self.model.state != "open":
            self.model.move("open")

    def release(self):
        if self.holds:
            self.holds.pop().release()
            self.model.holds -= 1
            if not self.model.holds:
                self.model.move("closed")

    def close(self):
        self.breaker.close()
        self.holds.clear()
        if self.model.state != "closed":
            self.model.move("closed")

    def reset(self):
        self.breaker.reset()
        self.holds.clear()
        self.model.rejected = self.model.late = 0
        if self.model.state != "closed":
            self.model.move("closed")
        else:
            self.model.generation += 1
            self.model.results = []


RULES = {
    "failures": ({"failure_threshold": 3}, {"threshold": 3}),
    "rate": ({"window": 4, "failure_rate": 0.5}, {"threshold": 0, "window": 4, "rate": 0.5}),
}


@pytest.mark.parametrize("decorated", [False, True], ids=["permits", "decorated"])
@pytest.mark.parametrize("rule", RULES)
@given(history=steps)
@settings(max_examples=60, deadline=None)
def test_machine_does_what_the_model_does(rule, decorated, history):
    """
    After every step of every history, state, counts, generation and transitions told are those of the model.
    """
    options, modelled = RULES[rule]
    limits = {"successes": 2, "probes": 2, "open_for": 10.0, "lease": 15.0}
    model = Model(**modelled, **limits)
    config = CircuitBreakerConfig(
        success_threshold=2, half_open_max_calls=2, open_for=10.0, probe_lease=15.0, **options
    )
    real = Real(config, decorated=decorated)
    both = Both(model, real)
    for name, *arguments in history:
        getattr(both, name)(*arguments)
        state = real.breaker.get_state()

        assert state["state"] == model.state
        assert (state["generation"], state["rejected"], state["late"]) == (
            model.generation,
            model.rejected,
            model.late,
        )
        assert state["isolated"] == (model.holds > 0)
    for ours, theirs in both.calls:
        if ours is not None:
            real.finish(theirs, None)

    named = {"open": CircuitOpened.name, "half_open": CircuitHalfOpened.name, "closed": CircuitClosed.name}
    assert real.told == [named[state] for state in model.told]


def test_model_can_tell_a_difference():
    """
    The comparison notices a circuit that opens one failure too late.
    """
    model = Model(threshold=3, successes=2, probes=2, open_for=10.0, lease=15.0)
    breaker = CircuitBreaker("late", CircuitBreakerConfig(failure_threshold=4))
    for _ in range(3):
        model.finish(model.begin(object()), result=False)
        breaker.record_failure()

    assert model.state != breaker.state.value
