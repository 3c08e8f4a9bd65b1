"""
The real pybreaker breaker beneath a circuit.
"""

from __future__ import annotations

from datetime import timedelta

import pybreaker
import pytest

from resilient import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerOpenError,
    CircuitState,
    circuit,
    resilience_of,
)
from resilient.events import CircuitClosed, CircuitHalfOpened, CircuitOpened


class Recorder(pybreaker.CircuitBreakerListener):
    """
    A pybreaker listener that notes what it is told.
    """

    def __init__(self):
        self.told = []

    def before_call(self, cb, func, *args, **kwargs):
        self.told.append(("before_call", func.__name__, args, kwargs))

    def failure(self, cb, exc):
        self.told.append(("failure", type(exc)))

    def success(self, cb):
        self.told.append("success")

    def state_change(self, cb, old_state, new_state):
        self.told.append((type(old_state), type(new_state)))


def down():
    """
    Fail.
    """
    raise OSError("down")


def up(*args, **kwargs):
    """
    Succeed.
    """
    return args, kwargs


def breaker_of(clock, **options):
    """
    Return a breaker that stands alone.
    """
    return CircuitBreaker("api", CircuitBreakerConfig(**options), clock=clock)


def test_the_object_beneath_is_pybreakers_own(clock):
    """
    What is beneath is a `pybreaker.CircuitBreaker`, and shows the circuit's name, options, state and counters.
    """
    breaker = breaker_of(clock, failure_threshold=3, success_threshold=2, open_for=10.0)
    foreign = breaker.pybreaker
    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            breaker.call(down)

    assert isinstance(foreign, pybreaker.CircuitBreaker)
    assert foreign.name == "api"
    assert (foreign.fail_max, foreign.success_threshold, foreign.reset_timeout) == (3, 2, 10.0)
    assert (foreign.current_state, foreign.fail_counter) == ("closed", 2)
    breaker.record_failure()
    clock.advance(10.0)
    breaker.call(up)
    assert (foreign.current_state, breaker.get_state()["success_count"]) == ("half-open", 1)
    assert isinstance(foreign.state, pybreaker.CircuitHalfOpenState)
    breaker.configure(CircuitBreakerConfig(failure_threshold=7))
    assert (foreign.fail_max, foreign.success_threshold, foreign.reset_timeout) == (7, 2, 60.0)


def test_fail_counter_shows_what_the_rule_looks_at(clock):
    """
    Where a window decides, pybreaker's counter is the failures in it.
    """
    breaker = breaker_of(clock, window=timedelta(seconds=10), failure_threshold=5)
    breaker.record_failure()
    clock.advance(9.0)
    breaker.record_failure()
    both = breaker.pybreaker.fail_counter
    clock.advance(9.0)
    breaker.record_failure()

    assert both == 2
    assert breaker.pybreaker.fail_counter == 2


def test_its_own_methods_move_the_circuit(registry):
    """
    `open`, `half_open` and `close` of the object beneath work: calls, gates and events follow at once.
    """
    told = []
    registry.on(told.append, [CircuitOpened, CircuitHalfOpened, CircuitClosed])

    @circuit("api", registry=registry)
    def fn():
        return "value"

    pipeline = resilience_of(fn).pipeline
    foreign = registry.circuits["api"].pybreaker
    quiet = [pipeline.quiet is not None]
    returned = [foreign.open()]
    quiet.append(pipeline.quiet is not None)
    after_open = len(told)
    with pytest.raises(CircuitBreakerOpenError) as caught:
        fn()
    returned.append(foreign.half_open())
    quiet.append(pipeline.quiet is not None)
    probed = fn()
    returned.append(foreign.close())
    quiet.append(pipeline.quiet is not None)

    assert quiet == [True, False, False, True]
    assert returned == [False, None, None]
    assert (caught.value.retry_after, probed) == (60.0, "value")
    assert after_open == 1
    assert [(type(event), event.previous) for event in told] == [
        (CircuitOpened, "closed"),
        (CircuitHalfOpened, "open"),
        (CircuitClosed, "half_open"),
    ]
    assert (told[0].reason, told[0].retry_after, told[2].reason) == ("manual", 60.0, "manual")


def test_closing_the_object_beneath_ends_isolations(clock):
    """
    An isolated circuit that is closed by pybreaker's method is isolated no more.
    """
    breaker = breaker_of(clock)
    hold = breaker.isolate()
    breaker.pybreaker.close()
    hold.release()

    assert (breaker.state, breaker.get_state()["isolated"]) == (CircuitState.CLOSED, False)


def test_opened_at_is_told_for_people(clock):
    """
    The time of day of pybreaker is kept, and decides nothing.
    """
    breaker = breaker_of(clock)
    storage = breaker.pybreaker._state_storage  # noqa: SLF001 - pybreaker shows it nowhere else
    before = storage.opened_at
    breaker.pybreaker.open()

    assert before is None
    assert storage.opened_at.tzinfo is not None


@pytest.mark.parametrize("added", ["option", "by hand"])
def test_listeners_are_told_as_pybreaker_tells_them(clock, added):
    """
    Listeners hear of calls, results and transitions in the order in which pybreaker itself would tell them.
    """
    ours, theirs = Recorder(), Recorder()
    options = {"failure_threshold": 2, "success_threshold": 1, "open_for": 0.0}
    breaker = breaker_of(clock, **options, **({"listeners": ours} if added == "option" else {}))
    if added == "by hand":
        breaker.pybreaker.add_listener(ours)
    model = pybreaker.CircuitBreaker(fail_max=2, reset_timeout=0, listeners=[theirs], throw_new_error_on_trip=False)
    for fn, args, kwargs in ((up, (1,), {"a": 2}), (down, (), {}), (down, (), {}), (down, (), {}), (up, (), {})):
        for one in (breaker, model):
            try:
                one.call(fn, *args, **kwargs)
            except OSError:
                pass

    assert ours.told == theirs.told
    assert len(ours.told) == 15


def test_a_listener_by_hand_makes_calls_heard(registry):
    """
    A listener that is added to the object beneath hears of successes that would else be quiet, until it is removed.
    """

    @circuit("api", registry=registry)
    def fn():
        return "value"

    listener = Recorder()
    foreign = registry.circuits["api"].pybreaker
    fn()
    foreign.add_listeners(listener)
    fn()
    foreign.remove_listener(listener)
    fn()

    assert listener.told == [("before_call", "fn", (), {}), "success"]


def test_new_options_keep_listeners_by_hand(clock):
    """
    New options replace the listeners that came with options, and no others.
    """
    option, by_hand, new = Recorder(), Recorder(), Recorder()
    breaker = breaker_of(clock, listeners=[option])
    breaker.pybreaker.add_listener(by_hand)
    breaker.configure(CircuitBreakerConfig(listeners=[new]))
    breaker.pybreaker.open()

    assert breaker.pybreaker.listeners == (new, by_hand)
    assert (len(option.told), len(by_hand.told), len(new.told)) == (0, 1, 1)


def test_a_listener_that_raises_does_not_stop_a_transition(clock):
    """
    A listener on the object beneath that raises keeps nobody else from being told, and the circuit opens.
    """

    class Broken(Recorder):
        def state_change(self, cb, old_state, new_state):
            raise RuntimeError

    good = Recorder()
    breaker = breaker_of(clock)
    breaker.pybreaker.add_listeners(Broken(), good)
    breaker.pybreaker.open()

    assert breaker.state is CircuitState.OPEN
    assert good.told == [(pybreaker.CircuitClosedState, pybreaker.CircuitOpenState)]


def test_a_disabled_circuit_tells_listeners_nothing(clock):
    """
    Listeners of a disabled circuit hear of no call.
    """
    listener = Recorder()
    breaker = breaker_of(clock, listeners=listener, mode="disabled")
    breaker.call(up)
    with pytest.raises(OSError, match="down"):
        breaker.call(down)

    assert listener.told == []


def test_its_own_call_counts_in_the_one_ledger(clock):
    """
    Who calls through the object beneath has pybreaker's rules, and the circuit's state.
    """
    breaker = breaker_of(clock, failure_threshold=2, success_threshold=1, open_for=0.0)
    foreign = breaker.pybreaker
    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            foreign.call(down)
    opened = breaker.state
    foreign.call(up)

    assert opened is CircuitState.OPEN
    assert (breaker.state, foreign.fail_counter) == (CircuitState.CLOSED, 0)


def test_the_storage_has_a_name_as_pybreakers_own_have():
    """
    Pybreaker and those who monitor it ask a breaker's storage what kind it is.
    """
    breaker = CircuitBreaker("renderer")

    assert breaker.pybreaker._state_storage.name == "resilient"  # noqa: SLF001 - pybreaker has no other way to it
