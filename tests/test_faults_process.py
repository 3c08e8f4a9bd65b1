"""
Faults of the process around a call: clocks, forks, signals, exits, broken listeners, wrong options, memory.

Each test is named after its row in the table of faults that the library is held to.
"""

from __future__ import annotations

import asyncio
import copy
import errno
import functools
import gc
import logging
import math
import multiprocessing
import os
import pickle
import random
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
import weakref
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog

from resilient import (
    CircuitBreakerOpenError,
    CircuitState,
    DecorationError,
    Fallback,
    FallbackChain,
    FallbackChainExhaustedError,
    PolicyError,
    Registry,
    ResilientError,
    ResilientWarning,
    circuit,
    degradable,
    fallback_chain,
    recoverable,
    resilience_of,
    retry,
)
from resilient.events import AttemptFailed, CircuitOpened, LevelChanged
from resilient.testing import FakeClock, capture_events

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
may_fork = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
needs_timers = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers on this platform")


class Colour:
    """
    Sync or async: makes functions of one colour, and calls them.
    """

    def __init__(self, name):
        self.is_async = name == "async"

    def of(self, fn):
        if not self.is_async:
            return fn

        @functools.wraps(fn)
        async def same(*args, **kwargs):
            return fn(*args, **kwargs)

        return same

    def call(self, fn, *args, **kwargs):
        return asyncio.run(fn(*args, **kwargs)) if self.is_async else fn(*args, **kwargs)


@pytest.fixture(params=["sync", "async"])
def colour(request):
    """
    Return the colour of the functions in a test.
    """
    return Colour(request.param)


@pytest.fixture
def clock():
    """
    Return a clock that waits move by themselves.
    """
    return FakeClock()


@pytest.fixture
def registry(clock):
    """
    Return a registry on that clock, with seeded chance.
    """
    return Registry(clock=clock, rng=random.Random(1))


def returning(value):
    """
    Return a function that returns *value*, whatever it is called with.
    """

    def give(*args, **kwargs):
        return value

    return give


def raising(error):
    """
    Return a function that raises *error*, and counts its calls.
    """

    def fail(*args, **kwargs):
        fail.calls += 1
        raise error

    fail.calls = 0
    return fail


def route_of(colour, fn, *args):
    """
    Return what came of a call: its route.
    """
    return colour.call(resilience_of(fn).outcome, *args).route


def error_of(colour, fn, *args):
    """
    Return what came of a call that fails: its error's type.
    """
    return type(colour.call(resilience_of(fn).outcome, *args).error).__name__


# -- row 25: a late result --------------------------------------------------------------------------------


def _open(registry):
    registry.circuit("api").state = "open"


def _half_open(registry):
    breaker = registry.circuit("api")
    breaker.state = "open"
    breaker.state = "half_open"


def _closed_again(registry):
    _half_open(registry)
    registry.circuit("api").state = "closed"


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("meanwhile", [_open, _half_open, _closed_again])
def test_row_25_a_late_result_is_dropped(colour, registry, meanwhile, fails):
    """
    A call from before a circuit's change of state returns or raises as itself, and changes neither state nor counts.
    """

    @circuit("api", failure_threshold=1, success_threshold=1, registry=registry)
    @colour.of
    def slow():
        meanwhile(registry)
        slow.seen = breaker.snapshot()
        if fails:
            raise ConnectionError
        return "late"

    breaker = registry.circuit("api")
    outcome = colour.call(resilience_of(slow).outcome)

    assert breaker.snapshot() == {**slow.seen, "late": 1}
    assert (outcome.value, type(outcome.error)) == ((None, ConnectionError) if fails else ("late", type(None)))


@pytest.mark.parametrize("fails", [False, True])
def test_row_25_a_quiet_call_that_ends_late_is_dropped(colour, registry, fails):
    """
    The same holds for a call on the fast path, while another call of the function trips the circuit.
    """

    @circuit("api", failure_threshold=1, registry=registry)
    @colour.of
    def call(inner=None):
        if inner is not None:
            inner()
            if not fails:
                return "late"
        raise ConnectionError

    def trip():
        with pytest.raises(ConnectionError):
            # In a thread: the outer call may be running an event loop.
            in_thread(lambda: colour.call(call))

    breaker = registry.circuit("api")
    with capture_events(registry) as events:
        outcome = "raised"
        try:
            outcome = colour.call(call, trip)
        except ConnectionError:
            pass

    assert outcome == ("raised" if fails else "late")
    assert (breaker.state, breaker.late) == (CircuitState.OPEN, 1)
    assert [type(event) for event in events].count(CircuitOpened) == 1


def in_thread(work, seconds=20.0):
    """
    Run *work* in a thread, and return what it returns; fail where it does not end.
    """
    box = []

    def run():
        try:
            box.append((work(), None))
        except BaseException as error:
            box.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "deadlock"
    value, error = box.pop()
    if error is not None:
        raise error
    return value


# -- row 26: the wall clock -------------------------------------------------------------------------------


def _day_with_jumps(colour, jumps):
    """
    Live through a day of failures, with the wall clock jumping at every turn; return all that was decided.
    """
    clock = FakeClock()
    registry = Registry(clock=clock, rng=random.Random(1))
    jumps = iter(jumps)
    decided = []

    def jump():
        clock.jump_wall(next(jumps, 0.0))

    @fallback_chain(returning("stand-in"), registry=registry)
    @retry(max_attempts=4, max_duration=30.0)
    @circuit("api", failure_threshold=5, open_for=60.0)
    @colour.of
    def call(quality=1.0):
        jump()
        raise ConnectionError

    @circuit("rated", window=timedelta(seconds=60), failure_rate=0.5, min_calls=4, slow_call=1.0, registry=registry)
    @colour.of
    def rated(fails):
        jump()
        if fails:
            raise ConnectionError

    registry.degradation.configure_triggers({"error_rate_threshold": 5})
    for step in range(12):
        for fn, args in ((call, ()), (rated, (step % 2,))):
            outcome = colour.call(resilience_of(fn).outcome, *args)
            delays = [getattr(event, "delay", None) for event in outcome.events]
            decided.append((outcome.route, outcome.attempts, outcome.elapsed, outcome.level, delays))
        jump()
        for breaker in registry.circuits.values():
            state = breaker.get_state()
            decided.append((breaker.state, breaker.can_execute(), state["probe_due"], state["failure_count"]))
        jump()
        registry.degradation.evaluate()
        decided.append((registry.degradation.current_level, registry.analytics.get_error_rate()))
        decided.append((registry.analytics.get_recovery_rate(), registry.health().status, registry.failure_ratio()))
        clock.advance(17.0)
    return decided


@pytest.mark.parametrize(
    "jumps",
    [[3600.0], [-3600.0], [1.0, -1.0], [3600.0, -7200.0] * 100, [-1.0] * 200, [86_400.0 * 3650]],
    ids=["forward", "back", "leap", "to and fro", "ntp", "ten years"],
)
def test_row_26_a_wall_clock_that_jumps_changes_nothing(colour, jumps):
    """
    Retries, circuits, windows, rates and levels decide the same, whatever the wall clock does.
    """
    expected = _day_with_jumps(colour, [])

    assert len({repr(one) for one in expected}) > 10
    assert _day_with_jumps(colour, jumps) == expected


def test_row_26_a_circuit_says_the_same_before_and_after_a_jump(colour, clock, registry):
    """
    An open circuit's `retry_after` follows monotonic time alone.
    """
    call = circuit("api", failure_threshold=1, open_for=60.0, registry=registry)(colour.of(raising(ConnectionError())))
    route_of(colour, call)
    told = []
    for seconds in (0.0, 3600.0, -7200.0):
        clock.jump_wall(seconds)
        clock.advance(10.0)
        told.append(colour.call(resilience_of(call).outcome).error.retry_after)

    assert told == [50.0, 40.0, 30.0]


def test_row_26_after_a_suspension_everything_that_was_due_is_due(colour, clock, registry):
    """
    A machine that wakes after a day probes its open circuit at the next call, once.
    """
    answers = iter([ConnectionError(), None, None])

    @circuit("api", failure_threshold=1, success_threshold=2, open_for=60.0, registry=registry)
    @colour.of
    def call():
        answer = next(answers)
        if answer is not None:
            raise answer

    routes = [route_of(colour, call), route_of(colour, call)]
    clock.advance(86_400.0)
    routes += [route_of(colour, call), route_of(colour, call)]

    assert routes == ["failed", "rejected", "first try", "first try"]
    assert registry.circuit("api").state is CircuitState.CLOSED


# -- row 29: forks ------------------------------------------------------------------------------------------

_LOCKS = (type(threading.Lock()), type(threading.RLock()))


def locks():
    """
    Find every lock that an object of the library has: (owner, attribute, lock).
    """
    found = []
    for owner in gc.get_objects():
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


def in_fork(work, seconds=20.0):
    """
    Run *work* in a forked child, and return the text that it returns; kill a child that hangs.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        text = "?"
        try:
            text = str(work())
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        finally:
            os.write(writer, text.encode()[:4096])
            os._exit(0)
    os.close(writer)
    try:
        ready, _, _ = select.select([reader], [], [], seconds)
        text = os.read(reader, 4096).decode() if ready else "deadlock"
        if not ready:
            os.kill(child, signal.SIGKILL)
    finally:
        os.waitpid(child, 0)
        os.close(reader)
    return text


class Workshop:
    """
    A registry with something of everything, and a call of each.
    """

    def __init__(self, colour, registry):
        self.colour = colour
        self.registry = registry
        self.answers = []
        self.named = FallbackChain("alone", [raising(ValueError("entry")), returning("alone")])
        registry.playbooks.provide(caches=[{}])
        registry.chain("named").add_fallback(returning("named"))

        @degradable(registry=registry)
        @fallback_chain(returning("unnamed"))
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

        @fallback_chain(returning("named"), name="named", registry=registry)
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
        told = [colour.call(call, False), colour.call(call, True), colour.call(chained), route_of(colour, hungry)]
        told.append(asyncio.run(self.named.execute()))
        unsubscribe = registry.on(lambda event: None)
        fresh = circuit(registry=registry)(colour.of(returning("fresh")))
        told.append(colour.call(fresh))
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
        told.append(resilience_of(call).stats().calls > 0)
        registry.reset()
        return told


EXPECTED = [1.0, "unnamed", "named", "failed", "alone", "fresh", "high", True]


@needs_fork
@may_fork
def test_row_29_a_child_forked_while_every_lock_is_held_works(colour, registry):
    """
    Whatever lock another thread holds when a process forks, the child has a free one in its place.
    """
    workshop = Workshop(colour, registry)
    workshop.work()
    everything = locks()
    held, done = threading.Event(), threading.Event()

    def hold():
        taken = [lock for _, _, lock in everything if lock.acquire(blocking=False)]
        held.set()
        done.wait()
        for lock in reversed(taken):
            lock.release()

    def child():
        stuck = sorted({f"{type(owner).__name__}.{name}" for owner, name, _ in everything if _is_held(owner, name)})
        return f"held: {stuck}" if stuck else workshop.work()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    held.wait()
    try:
        told = in_fork(child)
    finally:
        done.set()
        thread.join()

    assert len(everything) > 15
    assert told == str(EXPECTED)


def _is_held(owner, name):
    lock = getattr(owner, name)
    if not lock.acquire(blocking=False):
        return True
    lock.release()
    return False


@needs_fork
@may_fork
def test_row_29_a_child_forked_by_a_listener_goes_on_where_it_was(colour, registry):
    """
    A fork in the midst of a delivery leaves the child with a call that ends, and deliveries that go on.
    """
    workshop = Workshop(colour, registry)
    forked = []
    pid = os.getpid()

    def fork(event):
        if os.getpid() == pid and not forked:
            forked.append(in_fork_here())

    def in_fork_here():
        # The child leaves this function as the parent does, and ends below.
        reader, writer = os.pipe()
        child = os.fork()
        return child, reader, writer

    registry.on(fork, events=(CircuitOpened, LevelChanged))
    trips = circuit("trips", failure_threshold=1, registry=registry)(colour.of(raising(ConnectionError())))
    told = []
    for act in (lambda: error_of(colour, trips), lambda: registry.degradation.degrade("hot")):
        forked.clear()
        text = "?"
        try:
            text = f"{act()} "
            registry.reset()
            text += str(workshop.work() == EXPECTED)
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
            if os.getpid() == pid:
                raise
        finally:
            if os.getpid() != pid:
                os.write(forked[0][2], text.encode())
                os._exit(0)
        child, reader, writer = forked[0]
        ready, _, _ = select.select([reader], [], [], 20.0)
        told.append(os.read(reader, 4096).decode() if ready else "deadlock")
        if not ready:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)

    assert told == ["ConnectionError True", "high True"]


@needs_fork
@may_fork
def test_row_29_a_child_keeps_the_state_and_keeps_its_own_to_itself(colour, registry):
    """
    An open circuit is open in the child; what happens there does not come back.
    """
    opened = circuit("opened", failure_threshold=1, registry=registry)(colour.of(raising(ConnectionError())))
    other = circuit("other", failure_threshold=1, registry=registry)(colour.of(raising(ConnectionError())))
    route_of(colour, opened)
    told = in_fork(lambda: [route_of(colour, opened), route_of(colour, other), route_of(colour, other)])

    assert told == str(["rejected", "failed", "rejected"])
    assert registry.circuit("other").state is CircuitState.CLOSED
    assert registry.analytics.total_errors == 1


@needs_fork
@may_fork
def test_row_29_multiprocessing_by_fork(colour, registry):
    """
    A forked worker process calls a decorated closure under its policies.
    """
    workshop = Workshop(colour, registry)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(workshop.work()))
    process.start()
    told = receiver.recv() if receiver.poll(20.0) else "deadlock"
    process.join(20.0)

    assert told == EXPECTED
    assert process.exitcode == 0


# -- row 30: other processes ------------------------------------------------------------------------------


ERRORS = [
    ResilientError("plain"),
    PolicyError("@retry on m:f", ["max_attempts must be 1", "jitter must be True"]),
    PolicyError("whole"),
    DecorationError("not like this"),
    CircuitBreakerOpenError("api"),
    CircuitBreakerOpenError("api", 12.5, "ConnectionError: gone"),
    # Not ConnectionError: Python's old pickle protocols make an OSError of it.
    FallbackChainExhaustedError("images", [ValueError("a"), KeyError("b")]),
    FallbackChainExhaustedError("empty"),
]


@pytest.mark.parametrize(
    "travel",
    [
        copy.copy,
        copy.deepcopy,
        *(functools.partial(lambda p, e: pickle.loads(pickle.dumps(e, p)), p) for p in range(6)),
    ],
    ids=["copy", "deepcopy", *(f"pickle{protocol}" for protocol in range(6))],
)
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_row_30_errors_of_the_library_round_trip(error, travel):
    """
    An error that was copied or pickled says the same, has the same attributes, and the same cause.
    """
    there = travel(error)

    def plain(one):
        return {name: repr(value) for name, value in vars(one).items()}

    assert type(there) is type(error)
    assert (str(there), plain(there)) == (str(error), plain(error))
    assert there.args[: len(error.args)] == error.args or there.args[0] == "images"
    assert repr(there.__cause__) == repr(error.__cause__)


def test_row_30_errors_and_outcomes_of_calls_round_trip(colour, registry):
    """
    What a guarded call raises, and the outcome that tells of it, can be sent to another process.
    """
    guards = [
        retry(max_attempts=2, registry=registry),
        circuit("round", failure_threshold=1, registry=registry),
        fallback_chain(raising(TimeoutError("two")), registry=registry),
    ]
    for guard in guards:
        fn = guard(colour.of(raising(ConnectionError("one"))))
        for _ in range(2):
            outcome = colour.call(resilience_of(fn).outcome)
            there = pickle.loads(pickle.dumps(outcome))
            error = outcome.error

            assert (str(there), there.events, there.route) == (str(outcome), outcome.events, outcome.route)
            assert (type(there.error), str(there.error)) == (type(error), str(error))
            assert getattr(there.error, "__notes__", None) == getattr(error, "__notes__", None)


def start(program, *options, seconds=60.0, env=None, **how):
    """
    Run *program* in an interpreter of its own, and return what it printed, twice: stdout and stderr.
    """
    how.setdefault("stderr", subprocess.PIPE)
    done = subprocess.run(
        [sys.executable, *options, *([] if "-m" in options else ["-c", textwrap.dedent(program)])],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
        timeout=seconds,
        env={**os.environ, **(env or {})},
        **how,
    )
    assert done.returncode == 0, f"exit {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout, done.stderr or ""


WORKERS = """
import asyncio
import concurrent.futures
import functools
import multiprocessing
import sys

import cloudpickle

from resilient import CircuitBreakerOpenError, circuit, fallback_chain, resilience_of, retry

def steady(count=1):
    return "stand-in"

class Flaky:
    def __init__(self):
        self.left = 1

    def __call__(self, *args, **kwargs):
        self.left -= 1
        if self.left >= 0:
            raise ConnectionError("once")
        return args, kwargs

FLAKY = Flaky()

@retry(max_attempts=2, initial_delay=0.0)
@circuit("main", failure_threshold=5)
def in_main(*args, **kwargs):
    return FLAKY(*args, **kwargs)

@retry(max_attempts=2, initial_delay=0.0)
@circuit("main", failure_threshold=5)
async def async_in_main(*args, **kwargs):
    return FLAKY(*args, **kwargs)

@fallback_chain(steady)
def never():
    raise ConnectionError("never")

@circuit("shut", failure_threshold=1)
def shut():
    raise ConnectionError("shut")

def nested(asynchronous):
    left = [1]

    def work(*args, **kwargs):
        left[0] -= 1
        if left[0] >= 0:
            raise ConnectionError("once")
        return args, kwargs

    if not asynchronous:
        return retry(max_attempts=2, initial_delay=0.0)(circuit(failure_threshold=3)(work))

    async def awork(*args, **kwargs):
        return work(*args, **kwargs)

    return retry(max_attempts=2, initial_delay=0.0)(circuit(failure_threshold=3)(awork))

def told(fn, *args, **kwargs):
    FLAKY.left = 1
    outcome = resilience_of(fn).outcome(*args, **kwargs)
    if hasattr(outcome, "__await__"):
        outcome = asyncio.run(awaited(outcome))
    kinds = [policy.kind for policy in resilience_of(fn).policies]
    return outcome.route, outcome.attempts, outcome.value, kinds, resilience_of(fn).stats().retries

async def awaited(outcome):
    return await outcome

def by_value(pickled, *args, **kwargs):
    return told(cloudpickle.loads(pickled), *args, **kwargs)

def rejected():
    try:
        shut()
    except ConnectionError:
        pass
    shut()

def exhausted():
    @fallback_chain(shut)
    def primary():
        raise TimeoutError("primary")
    primary()

def main(method):
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        def there(fn, *args, **kwargs):
            return pool.submit(fn, *args, **kwargs).result(60)

        # The decorated functions themselves are sent, by reference.
        assert there(in_main, 1, key=2) == ((1,), {"key": 2})
        assert there(never) == "stand-in"
        for fn in (in_main, async_in_main):
            got = there(told, fn, 1, key=2)
            assert got[:4] == ("retry", 2, ((1,), {"key": 2}), ["retry", "circuit"]), got
        # What has no name there goes by value.
        local = retry(max_attempts=2, initial_delay=0.0)(functools.partial(Flaky(), 0))
        objects = retry(max_attempts=2, initial_delay=0.0)(Flaky())
        flaky = Flaky()
        lambdas = retry(max_attempts=2, initial_delay=0.0)(lambda *args, **kwargs: flaky(*args, **kwargs))
        cases = [(nested(False), (1,)), (nested(True), (1,)), (local, (0, 1)), (objects, (1,)), (lambdas, (1,))]
        for fn, args in cases:
            assert told_here(fn) == "first try"
            got = there(by_value, cloudpickle.dumps(fn), 1, key=2)
            assert got[:3] == ("retry", 2, (args, {"key": 2})), got
            assert got[3][0] == "retry" and got[4] == 1, got
        for fn, args in ((objects, (1,)), (local, (0, 1))):
            got = there(told, fn, 1)
            assert got[:3] == ("retry", 2, (args, {})), got
        try:
            there(rejected)
        except CircuitBreakerOpenError as error:
            assert (error.name, error.last_error) == ("shut", "ConnectionError: shut"), error
            assert 59.0 < error.retry_after <= 60.0
        else:
            raise AssertionError
        # The circuit is open there by now, and passed over; so the chain has nothing to offer.
        try:
            there(exhausted)
        except TimeoutError as error:
            assert str(error) == "primary"
        else:
            raise AssertionError
    print(method, "good")

def told_here(fn):
    return "first try" if resilience_of(fn).stats().calls == 0 else "called"

if __name__ == "__main__":
    main(sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_row_30_functions_keep_their_policies_in_worker_processes(method, tmp_path):
    """
    Functions of the main module, nested ones, lambdas, partials and callable objects act in a worker as at home.
    """
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this platform")
    program = tmp_path / "program.py"
    program.write_text(WORKERS)
    done = subprocess.run(
        [sys.executable, str(program), method], check=False, capture_output=True, text=True, timeout=100
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{method} good\n", "")


def test_row_30_a_function_sent_by_value_begins_afresh(colour):
    """
    State does not travel: a copy by value has a closed circuit and zero counts, and its own policies.
    """
    cloudpickle = pytest.importorskip("cloudpickle")
    fn = circuit(failure_threshold=1)(colour.of(lambda: {}["no such thing"]))
    route_of(colour, fn)
    there = cloudpickle.loads(cloudpickle.dumps(fn))

    assert resilience_of(there).stats().calls == 0
    assert [route_of(colour, one) for one in (fn, there, there)] == ["rejected", "failed", "rejected"]


# -- row 31: the interpreter's end ------------------------------------------------------------------------

ENDING = """
import asyncio, atexit, gc, logging, sys, threading, time, weakref
from resilient import Registry, circuit, default_registry, degradable, fallback_chain, recoverable, retry

logging.basicConfig(stream=sys.stdout, level=logging.CRITICAL)
events = []
default_registry().on(events.append)

@fallback_chain(lambda *args, **kwargs: "stand-in")
@recoverable
@retry(max_attempts=3, initial_delay=0.001, jitter=False)
@circuit("api", failure_threshold=4, open_for=0.002)
def call(quality=1.0):
    raise ConnectionError("down")

@retry(max_attempts=10_000, initial_delay=0.001, max_delay=0.001)
def waits():
    raise ConnectionError("down")

@retry(max_attempts=10_000, initial_delay=30.0, max_delay=30.0)
def sleeps():
    raise ConnectionError("down")

@retry(max_attempts=3, initial_delay=0.0)
async def acall():
    raise ConnectionError("down")

def forever(work):
    def run():
        while True:
            work()
    threading.Thread(target=run, daemon=True).start()

forever(call)
forever(waits)
forever(sleeps)
def in_loop():
    try:
        asyncio.run(acall())
    except ConnectionError:
        pass
forever(in_loop)

atexit.register(lambda: print("atexit", call(), default_registry().health().status != ""))
time.sleep(0.05)
print("main ends", len(events) > 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-X", "dev"),
        (
            "-X",
            "importtime",
        ),
    ],
    ids=["plain", "dev", "importtime"],
)
def test_row_31_an_interpreter_that_ends_makes_no_noise(options):
    """
    Daemon threads in mid-call and mid-wait, `atexit` and `__del__` end with the program: no traceback, no hang.
    """
    began = time.monotonic()
    told, noise = start(ENDING, *options)
    took = time.monotonic() - began
    if "importtime" in options:
        noise = "".join(line for line in noise.splitlines() if not line.startswith("import time:"))
    lines = told.splitlines()

    assert noise == ""
    assert lines[0] == "main ends True"
    assert lines[1:] == ["atexit stand-in True"]
    assert took < 20.0


TEARDOWN = """
import atexit, threading, weakref
from resilient import circuit, default_registry, fallback_chain, retry

@fallback_chain(lambda: "stand-in")
@retry(max_attempts=2, initial_delay=0.0)
@circuit("api", failure_threshold=100)
def call():
    raise ConnectionError("down")

{rest}
"""

HOOKS = """
weakref.finalize(default_registry().circuit("api"), lambda: print("finalizer", call()))
threading._register_atexit(lambda: print("threads", call()))
atexit.register(lambda: print("atexit", call()))
"""

OBJECTS = """
class Last:
    def __init__(self, name):
        self.name = name
    def __del__(self, call=call, print=print):
        print(self.name, call())

kept = Last("kept")
cycle = Last("cycle")
cycle.me = cycle
watched = Last("watched")
watcher = weakref.ref(watched, lambda _, call=call, print=print: print("weakref", call()))
watched.me = watched
"""


# Apart: what a hook refers to outlives the interpreter, its module included.
@pytest.mark.parametrize(
    ("rest", "names"),
    [(HOOKS, ["atexit", "finalizer", "threads"]), (OBJECTS, ["cycle", "kept", "watched"])],
    ids=["hooks", "objects"],
)
def test_row_31_what_ends_with_the_interpreter_may_call(rest, names):
    """
    Guarded calls from exit hooks, finalizers and `__del__` work to the last one while the modules are taken down.
    """
    told, noise = start(TEARDOWN.replace("{rest}", rest), "-X", "dev")

    assert noise == ""
    assert sorted(set(told.splitlines()) - {"weakref stand-in"}) == [f"{name} stand-in" for name in names]


# -- row 32: code that runs in between -------------------------------------------------------------------


class Tripwire:
    """
    A lock that runs code whenever it was taken, and again before it is given back.
    """

    def __init__(self, lock, code):
        self.lock = lock
        self.code = code

    def acquire(self, blocking=True, timeout=-1):
        # What would block for ever is a deadlock: one thread is all there is.
        taken = self.lock.acquire(blocking=blocking, timeout=5.0 if blocking else -1)
        if blocking and not taken:
            # No `Exception`: that would be swallowed where listeners' errors are.
            pytest.fail("deadlock")
        if taken:
            self.code()
        return taken

    def release(self):
        self.code()
        self.lock.release()

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *error):
        self.release()


def colourless(registry):
    """
    Decorate a function, and call it.
    """
    return circuit(registry=registry)(returning(1))()


def test_row_32_a_call_within_every_locked_section(colour, registry):
    """
    Whatever lock a thread holds when a signal handler, a finalizer or the collector calls: that call ends.
    """
    workshop = Workshop(colour, registry)
    workshop.work()
    interrupts = []
    inside = [False]

    def interrupt():
        if inside[0] or len(interrupts) >= 400:
            return
        inside[0] = True
        try:
            # A handler runs where no event loop does, or in the midst of one; a thread would hide a deadlock.
            interrupts.append(sync.work())
        finally:
            inside[0] = False

    sync = Workshop(Colour("sync"), registry)
    sync.work = lambda: [act() for act in acts]
    acts = [
        functools.partial(sync.functions[0], True),
        registry.health,
        lambda: [stop() for stop in (registry.on(print), registry.on(print, events=AttemptFailed))],
        lambda: registry.circuit("api").isolate().release(),
        lambda: registry.degradation.degrade("now") and registry.degradation.restore(),
        lambda: registry.analytics.total_errors >= 0,
        lambda: colourless(registry),
        lambda: logging.getLogger("resilient").warning("in between"),
    ]
    workshop.work()
    replaced = locks()
    for owner, name, lock in replaced:
        setattr(owner, name, Tripwire(lock, interrupt))
    try:
        told = workshop.work()
    finally:
        for owner, name, lock in replaced:
            setattr(owner, name, lock)

    assert len(interrupts) > 50
    assert told == EXPECTED


@pytest.fixture
def switches():
    """
    Let threads take turns as often as can be.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@needs_timers
def test_row_32_a_signal_handler_that_calls_at_any_time(colour, registry, switches, untraced):
    """
    A handler that makes guarded calls, logs and reads the registry strikes hundreds of times: all calls end.
    """
    workshop = Workshop(Colour("sync"), registry)
    handled = []

    def handler(number, frame):
        # A handler that takes longer than its interval would leave no time for the rest.
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        handled.append(workshop.functions[0](True))
        logging.getLogger("resilient").warning("in a handler")
        handled.append(registry.health().status)
        signal.setitimer(signal.ITIMER_REAL, 0.0005)

    own = Workshop(colour, registry)
    before = signal.signal(signal.SIGALRM, handler)
    stop = threading.Event()
    other = threading.Thread(target=lambda: [workshop.functions[0](True) for _ in iter(stop.is_set, True)], daemon=True)
    other.start()
    told = set()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005)
        ends = time.monotonic() + 0.25
        while time.monotonic() < ends:
            told.add(colour.call(own.functions[0], True))
            told.add(colour.call(own.functions[2]))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        stop.set()
        other.join(20.0)

    assert not other.is_alive()
    assert told == {"unnamed", "named"}
    assert len(handled) > 4


def test_row_32_the_collector_calls_at_any_time(colour, registry):
    """
    `__del__`, weakref callbacks and collector callbacks that make guarded calls strike within guarded calls.
    """
    workshop = Workshop(colour, registry)
    sync = Workshop(Colour("sync"), registry)
    struck = {"del": 0, "weakref": 0, "gc": 0}
    inside = [False]
    refs = []

    def strike(what):
        if not inside[0]:
            inside[0] = True
            try:
                assert sync.functions[0](True) == "unnamed"
                registry.circuit("api").get_state()
                struck[what] += 1
            finally:
                inside[0] = False

    class Cycle:
        def __init__(self):
            self.me = self

        def __del__(self):
            strike("del")

    class Watched:
        def __init__(self):
            self.me = self

    def collected(phase, info):
        strike("gc")
        if len(refs) < 500:
            Cycle()
            refs.append(weakref.ref(Watched(), lambda ref: strike("weakref")))

    thresholds = gc.get_threshold()
    gc.callbacks.append(collected)
    try:
        gc.set_threshold(7, 3, 100_000)
        told = [colour.call(workshop.functions[0], True) for _ in range(10)]
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(collected)

    assert set(told) == {"unnamed"}
    assert min(struck.values()) > 5, struck


def test_row_32_a_log_handler_that_calls_within_a_delivery(colour, registry, caplog):
    """
    A log handler that is under policies itself, and fails, neither recurses nor deadlocks.
    """
    calls = []

    @retry(max_attempts=2, initial_delay=0.0, registry=registry)
    @circuit("log", failure_threshold=1)
    def send(record):
        calls.append(record.getMessage())
        raise ConnectionError

    class Handler(logging.Handler):
        def emit(self, record):
            send(record)

    handler = Handler()
    logger = logging.getLogger("resilient")
    logger.addHandler(handler)
    try:
        call = circuit("api", failure_threshold=1, registry=registry)(colour.of(raising(TimeoutError())))
        told = error_of(colour, call), error_of(colour, call)
    finally:
        logger.removeHandler(handler)

    assert told == ("TimeoutError", "CircuitBreakerOpenError")
    assert len(calls) == 1


# -- row 33: broken and slow listeners ---------------------------------------------------------------------


def reports(caplog):
    """
    Return what was logged of user code that raised.
    """
    told = [record.getMessage() for record in caplog.records]
    return [one for one in told if "hook.failed" in one or "does not apply" in one]


def _broken(*args, **kwargs):
    msg = "broken"
    raise ZeroDivisionError(msg)


BROKEN = {
    "on": lambda registry, colour: retry(on=_broken, initial_delay=0.0, registry=registry),
    "on_result": lambda registry, colour: retry(on_result=_broken, initial_delay=0.0, registry=registry),
    "wait": lambda registry, colour: retry(wait=_broken, registry=registry),
    "stop": lambda registry, colour: retry(stop=_broken, initial_delay=0.0, registry=registry),
    "retry": lambda registry, colour: retry(retry=_broken, initial_delay=0.0, registry=registry),
    "before_sleep": lambda registry, colour: retry(before_sleep=_broken, initial_delay=0.0, registry=registry),
    "counts": lambda registry, colour: circuit("c", counts=_broken, registry=registry),
    "ignore": lambda registry, colour: circuit("c", ignore=_broken, registry=registry),
    "listeners": lambda registry, colour: circuit("c", failure_threshold=1, listeners=[Loud()], registry=registry),
    "chain on": lambda registry, colour: fallback_chain(returning(1), on=_broken, registry=registry),
    "entry on": lambda registry, colour: fallback_chain(Fallback(returning(1), on=_broken), registry=registry),
    "when": lambda registry, colour: fallback_chain(Fallback(returning(1), when=_broken), registry=registry),
    "rule": lambda registry, colour: degradable(quality=_broken, registry=registry),
}


class Loud:
    """
    A pybreaker listener that raises whatever it is told.
    """

    before_call = success = failure = state_change = _broken


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("fails", [True, False])
def test_row_33_a_broken_option_leaves_the_call_as_it_is(colour, registry, caplog, name, fails):
    """
    A predicate, strategy, listener, condition or rule that raises is logged once; value and error arrive as themselves.
    """
    error = ConnectionError("mine")
    registry.degradation.degrade("all is rules")

    @BROKEN[name](registry, colour)
    @colour.of
    def call(quality=1.0):
        if fails:
            raise error
        return quality

    for _ in range(3):
        registry.circuit("c").close()
        outcome = colour.call(resilience_of(call).outcome)

        assert outcome.error is (error if fails else None)
        assert outcome.value == (None if fails else 1.0)
    kinds = 4 if name == "listeners" else 1

    assert len(reports(caplog)) == len(set(reports(caplog))) <= kinds
    assert all("ZeroDivisionError" in one and "broken" in one for one in reports(caplog))
    heard = {"on_result", "retry", "rule", "listeners"} if not fails else BROKEN.keys() - {"on_result"}
    assert bool(reports(caplog)) is (name in heard)


def test_row_33_a_listener_that_raises_is_logged_once(colour, registry, caplog):
    """
    Listeners after a broken one are told all the same, and the call ends as it would have.
    """
    told = []
    registry.on(_broken)
    registry.on(told.append)
    call = retry(max_attempts=2, initial_delay=0.0, registry=registry)(colour.of(raising(ConnectionError())))
    errors = [error_of(colour, call) for _ in range(3)]

    assert errors == ["ConnectionError"] * 3
    assert [type(event) for event in told].count(AttemptFailed) == 6
    assert [one for one in reports(caplog) if "_broken" in one] == reports(caplog)
    assert len(reports(caplog)) == 1


def test_row_33_a_listener_that_raises_what_is_no_exception_passes(colour, registry):
    """
    Ctrl-C within a listener leaves at once, and deliveries go on with the next call.
    """
    strikes = [KeyboardInterrupt()]

    def strike(event):
        if strikes:
            raise strikes.pop()
        told.append(type(event))

    told = []
    registry.on(strike, events=(CircuitOpened, AttemptFailed))
    call = circuit("api", failure_threshold=1, registry=registry)(colour.of(raising(ConnectionError())))
    with pytest.raises(KeyboardInterrupt):
        colour.call(call)
    registry.circuit("api").close()
    error_of(colour, call)

    assert CircuitOpened in told


def test_row_33_a_slow_listener_is_warned_about_once(colour, clock, registry):
    """
    A listener that takes its time delays the calls that it is told of, and is named in one warning.
    """
    registry.on(lambda event: clock.advance(5.0), events=AttemptFailed)
    call = circuit("api", failure_threshold=9, registry=registry)(colour.of(raising(ConnectionError())))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        told = [error_of(colour, call) for _ in range(3)]

    assert told == ["ConnectionError"] * 3
    assert [one.category for one in warned] == [ResilientWarning]
    assert "took 5 s" in str(warned[0].message)


def test_row_33_a_slow_listener_where_warnings_are_errors(colour, clock, registry, caplog):
    """
    A warning that is turned into an error does not reach the call either: it is logged.
    """
    registry.on(lambda event: clock.advance(5.0), events=AttemptFailed)
    call = circuit("api", failure_threshold=9, registry=registry)(colour.of(raising(ConnectionError())))
    told = [error_of(colour, call) for _ in range(3)]

    assert told == ["ConnectionError"] * 3
    assert len(reports(caplog)) == 1


def test_row_33_classifier_rules_that_raise(colour, registry, caplog):
    """
    A predicate of the classifier that raises is logged once; the error is of unknown kind, and arrives as itself.
    """
    registry.classifier.add(_broken, "model", transient=True)
    call = retry(max_attempts=2, initial_delay=0.0, registry=registry)(colour.of(raising(ConnectionError())))
    outcomes = [colour.call(resilience_of(call).outcome) for _ in range(3)]

    assert {(type(one.error), one.attempts) for one in outcomes} == {(ConnectionError, 1)}
    assert [one.category.value for one in registry.analytics.error_history] == ["unknown"] * 3
    assert len(reports(caplog)) == 1


def test_row_33_playbook_steps_that_raise(colour, registry, caplog):
    """
    A step that raises is logged once and does not apply; the next one does.
    """
    registry.playbooks.step("memory", name="broken", before="clear_cache")(_broken)
    cache = {}
    registry.playbooks.provide(caches=[cache])
    left = []

    @recoverable(registry=registry)
    @colour.of
    def call():
        if left.pop():
            raise MemoryError
        return "well"

    routes = []
    for _ in range(3):
        left[:] = [False, True]
        cache[1] = 1
        routes.append(route_of(colour, call))

    assert routes == ["recovery:clear_cache"] * 3
    assert len(reports(caplog)) == 1


def test_row_33_signals_of_the_service_level_that_raise(colour, registry, caplog):
    """
    A user's signal that raises leaves level and call alone, and is logged once.
    """
    registry.degradation.add_signal("queue", _broken, 10)
    call = circuit("api", failure_threshold=99, registry=registry)(colour.of(raising(ConnectionError())))
    told = []
    for _ in range(4):
        told.append(error_of(colour, call))
        registry.degradation.evaluate()

    assert told == ["ConnectionError"] * 4
    assert registry.degradation.current_level == "full"
    assert len([one for one in reports(caplog) if "ZeroDivisionError" in one]) == 1


# -- row 34: fallback chains ----------------------------------------------------------------------------------


def test_row_34_an_exhausted_chain_tells_all(colour, registry):
    """
    When all fail, the error comes from the primary's, has all errors in order, and both tracebacks can be read.
    """
    errors = [ConnectionError("one"), ValueError("two"), KeyError("three")]
    call = fallback_chain(*(raising(one) for one in errors[1:]), registry=registry)(colour.of(raising(errors[0])))
    with pytest.raises(FallbackChainExhaustedError) as caught:
        colour.call(call)

    assert caught.value.errors == tuple(errors)
    assert caught.value.__cause__ is errors[0]
    assert all(one.__traceback__ is not None for one in errors)
    assert "3 offers failed (ConnectionError, ValueError, KeyError)" in str(caught.value)


@pytest.mark.parametrize("value", [None, False, 0, "", NotImplemented])
def test_row_34_any_value_of_a_fallback_is_a_result(colour, registry, value):
    """
    What a fallback returns is the result, None and its kind too; the entries after it are not called.
    """
    never = raising(ValueError("never"))
    primary = raising(ConnectionError())
    call = fallback_chain(returning(value), never, registry=registry)(colour.of(primary))

    assert colour.call(call) is value
    assert (primary.calls, never.calls) == (1, 0)


def test_row_34_what_is_no_exception_leaves_a_chain_at_once(colour, registry):
    """
    Ctrl-C in the primary or in a fallback is not stood in for.
    """
    second = raising(ValueError("second"))
    for entries, primary in (
        ((second,), raising(KeyboardInterrupt())),
        ((raising(KeyboardInterrupt()), second), raising(ConnectionError())),
    ):
        call = fallback_chain(*entries, registry=registry)(colour.of(primary))
        with pytest.raises(KeyboardInterrupt):
            colour.call(call)

    assert second.calls == 0


def test_row_34_an_entry_that_raises_the_primarys_own_error(colour, registry):
    """
    One instance raised by all makes no circle of causes.
    """
    error = ConnectionError("the same")
    call = fallback_chain(raising(error), raising(error), registry=registry)(colour.of(raising(error)))
    for _ in range(3):
        with pytest.raises(FallbackChainExhaustedError) as caught:
            colour.call(call)

        assert caught.value.errors == (error, error, error)
        assert caught.value.__cause__ is error
        assert error.__cause__ is None


def test_row_34_an_exhausted_chain_within_a_chain(colour, registry):
    """
    An inner chain's exhaustion is stood in for as any error is, and kept with its own errors.
    """
    inner = fallback_chain(raising(ValueError("b")), registry=registry)(colour.of(raising(ConnectionError("a"))))
    outer = fallback_chain(raising(KeyError("c")), registry=registry)(functools.partial(inner))
    error = colour.call(resilience_of(outer).outcome).error

    assert [type(one) for one in error.errors] == [FallbackChainExhaustedError, KeyError]
    assert [type(one) for one in error.errors[0].errors] == [ConnectionError, ValueError]


# -- row 37: Retry-After --------------------------------------------------------------------------------------


class WishedError(ConnectionError):
    """
    An error with a response, as HTTP clients raise them.
    """

    def __init__(self, headers=None, **attributes):
        super().__init__("503")
        if headers is not None:
            self.response = SimpleNamespace(headers=headers)
        self.__dict__.update(attributes)


class Hostile:
    """
    A value whose every use raises.
    """

    def __getattr__(self, name):
        raise ZeroDivisionError

    def __float__(self):
        raise ZeroDivisionError

    __str__ = __repr__ = __len__ = __lt__ = __bool__ = __float__


JUNK = [
    -1,
    "-1",
    -0.001,
    math.nan,
    "nan",
    math.inf,
    "inf",
    "-inf",
    1e308,
    "1e308",
    10**400,
    "9" * 1_000_000,
    "x" * 1_000_000,
    b"\xff" * 1_000_000,
    "",
    " ",
    "soon",
    "1,5",
    "0x10",
    "12 s",
    "\x00",
    "\ud800",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Fri, 31 Dec 99999 23:59:59 GMT",
    "Wed, 21 Oct 2015 07:28:00 GMT",
    "Thu, 99 Foo 2025 99:99:99 GMT",
    "Wed, 01 Jan 2025 00:00:30 +9999999999",
    True,
    None,
    [],
    {},
    ["5"],
    object(),
    timedelta(seconds=-5),
    timedelta.max,
    timedelta.min,
    complex(1, 1),
    Hostile(),
    int,
]


def _shown(value):
    return f"{type(value).__name__}{JUNK.index(value) if not isinstance(value, Hostile) else ''}"


@pytest.mark.parametrize("place", ["attribute", "header", "headers"])
@pytest.mark.parametrize("value", JUNK, ids=_shown)
def test_row_37_junk_for_a_wish_is_ignored(colour, clock, registry, place, value):
    """
    A `Retry-After` that cannot be meant changes no delay, and raises nothing.
    """
    error = {
        "attribute": lambda: WishedError(retry_after=value),
        "header": lambda: WishedError({"Retry-After": value}),
        "headers": lambda: WishedError(value),
    }[place]()
    call = retry(max_attempts=3, initial_delay=2.0, max_delay=50.0, jitter=False, registry=registry)(
        colour.of(raising(error))
    )
    began = time.perf_counter()
    outcome = colour.call(resilience_of(call).outcome)

    assert outcome.error is error
    assert clock.monotonic() == 6.0
    assert time.perf_counter() - began < 2.0


@pytest.mark.parametrize(
    ("value", "waited"),
    [
        (0, 2.0),
        ("5", 5.0),
        (b"5", 5.0),
        (" 5 ", 5.0),
        ("7.5", 7.5),
        (timedelta(seconds=9), 9.0),
        (49, 49.0),
        (86_400 * 300, 50.0),
        ("Wed, 01 Jan 2025 00:00:30 GMT", 30.0),
        ("Wed, 01 Jan 2025 06:00:00 GMT", 50.0),
    ],
)
def test_row_37_a_wish_is_waited_for_and_capped(colour, clock, registry, value, waited):
    """
    A wish that can be meant is waited for, at most `max_delay`, never less than the backoff.
    """
    call = retry(max_attempts=2, initial_delay=2.0, max_delay=50.0, jitter=False, registry=registry)(
        colour.of(raising(WishedError({"retry-after": value})))
    )
    error_of(colour, call)

    assert clock.monotonic() == waited


def test_row_37_headers_that_raise(colour, clock, registry):
    """
    Headers and responses whose own code raises carry no wish.
    """
    for error in (
        WishedError(Hostile()),
        WishedError(response=Hostile()),
        WishedError(headers=Hostile(), response=None),
    ):
        call = retry(max_attempts=2, initial_delay=2.0, jitter=False, registry=registry)(colour.of(raising(error)))
        began = clock.monotonic()

        assert error_of(colour, call) == "WishedError"
        assert clock.monotonic() - began == 2.0


# -- row 38: wrong options -----------------------------------------------------------------------------------

WRONG = [
    (retry, {"max_attempts": 0}, ["max_attempts", "from 1", "got 0 (int)"]),
    (retry, {"max_attempts": -1}, ["max_attempts", "got -1"]),
    (retry, {"max_attempts": 10**9}, ["max_attempts", "to 1000000", "got 1000000000"]),
    (retry, {"max_attempts": 3.0}, ["max_attempts", "whole number", "got 3.0 (float)"]),
    (retry, {"max_attempts": True}, ["max_attempts", "got True (bool)"]),
    (retry, {"max_attempts": "3"}, ["max_attempts", "got '3' (str)"]),
    (retry, {"max_attempts": None}, ["max_attempts", "got None"]),
    (retry, {"initial_delay": math.inf}, ["initial_delay", "got inf"]),
    (retry, {"initial_delay": math.nan}, ["initial_delay", "got nan"]),
    (retry, {"initial_delay": -0.1}, ["initial_delay", "at least 0", "got -0.1"]),
    (retry, {"initial_delay": 10**400}, ["initial_delay"]),
    (retry, {"initial_delay": "soon"}, ["initial_delay", "'30s'", "got 'soon'"]),
    (retry, {"initial_delay": timedelta(seconds=-1)}, ["initial_delay", "timedelta"]),
    (retry, {"initial_delay": 90.0}, ["max_delay", "at least initial_delay (90 s)", "got 60"]),
    (retry, {"max_delay": math.inf}, ["max_delay", "got inf"]),
    (retry, {"max_delay": -1}, ["max_delay", "got -1"]),
    (retry, {"exponential_base": 0.5}, ["exponential_base", "at least 1", "got 0.5"]),
    (retry, {"exponential_base": math.nan}, ["exponential_base", "got nan"]),
    (retry, {"jitter": 5.0}, ["jitter", "'full'", "got 5.0"]),
    (retry, {"jitter": 1}, ["jitter", "True, False", "got 1 (int)"]),
    (retry, {"jitter": "ful"}, ["jitter", "got 'ful'"]),
    (retry, {"max_duration": 0}, ["max_duration", "above 0", "got 0"]),
    (retry, {"max_duration": math.nan}, ["max_duration", "got nan"]),
    (retry, {"on": "netwrok"}, ["on", "'network'", "got 'netwrok'"]),
    (retry, {"on": KeyboardInterrupt}, ["on", "KeyboardInterrupt is not one"]),
    (retry, {"on": int}, ["on", "int is none of them"]),
    (retry, {"on": 5}, ["on", "got 5"]),
    (retry, {"wait": 3}, ["wait", "callable", "got 3"]),
    (retry, {"stop": lambda state: True, "max_attempts": 2}, ["max_attempts and stop=", "leave max_attempts out"]),
    (retry, {"max_atempts": 3}, ["unknown option 'max_atempts'", "did you mean 'max_attempts'?"]),
    (retry, {"tries": 3}, ["unknown option 'tries'"]),
    (retry, {"registry": "default"}, ["registry", "'default'"]),
    (circuit, {"failure_threshold": 0}, ["failure_threshold", "got 0"]),
    (circuit, {"failure_treshold": 1}, ["unknown option 'failure_treshold'", "did you mean 'failure_threshold'?"]),
    (circuit, {"success_threshold": 0}, ["success_threshold", "got 0"]),
    (circuit, {"open_for": -1}, ["open_for", "got -1"]),
    (circuit, {"open_for": math.nan}, ["open_for", "got nan"]),
    (circuit, {"open_for": 1.0, "timeout": 2.0}, ["open_for", "timeout", "give one of them"]),
    (circuit, {"window": 0}, ["window", "got 0"]),
    (circuit, {"window": 5.0}, ["window", "'30s'", "got 5.0 (float)"]),
    (circuit, {"window": timedelta(0)}, ["window"]),
    (circuit, {"window": 10, "failure_rate": 0}, ["failure_rate", "above 0", "got 0"]),
    (circuit, {"window": 10, "failure_rate": 1.5}, ["failure_rate", "at most 1", "got 1.5"]),
    (circuit, {"failure_rate": 0.5}, ["failure_rate", "window"]),
    (circuit, {"window": 10, "failure_rate": 0.5, "failure_threshold": 3}, ["failure_rate", "failure_threshold"]),
    (circuit, {"slow_call": 1.0}, ["slow_call", "window"]),
    (circuit, {"half_open_max_calls": 0}, ["half_open_max_calls", "got 0"]),
    (circuit, {"reopen_factor": 0.5}, ["reopen_factor", "got 0.5"]),
    (circuit, {"probe_lease": -1}, ["probe_lease", "got -1"]),
    (circuit, {"mode": "off"}, ["mode", "'metrics_only'", "got 'off'"]),
    (circuit, {"critical": 1}, ["critical", "True or False", "got 1"]),
    (circuit, {"listeners": 7}, ["listeners", "7"]),
    (recoverable, {"max_runs": 0}, ["max_runs", "got 0"]),
    (recoverable, {"playbook": "memroy"}, ["playbook", "memory", "got 'memroy'"]),
    (recoverable, {"max_run": 1}, ["unknown option 'max_run'", "did you mean 'max_runs'?"]),
    (degradable, {"floor": "lowest"}, ["floor", "minimal", "'lowest'"]),
    (degradable, {"stepz": False, "quality": lambda value, level: value}, ["stepz"]),
    (degradable, {"scope": ""}, ["scope", "''"]),
    (functools.partial(fallback_chain, returning(1)), {"nmae": "x"}, ["unknown option 'nmae'", "'name'"]),
    (functools.partial(fallback_chain, 5), {}, ["fallback must be a function", "got 5"]),
    (functools.partial(fallback_chain, returning(1)), {"on": "netwrok"}, ["on", "'network'"]),
    (functools.partial(fallback_chain, returning(1)), {"name": " "}, ["name", "not empty"]),
]


def _case(value):
    if isinstance(value, dict):
        return ",".join(
            f"{key}={one if isinstance(one, str | int | float) else type(one).__name__}" for key, one in value.items()
        )[:60]
    return getattr(value, "__name__", "") if callable(value) else " "


@pytest.mark.parametrize(("decorator", "options", "told"), WRONG, ids=_case)
def test_row_38_a_wrong_option_is_refused_at_decoration(colour, decorator, options, told):
    """
    The error is there before the first call, and says where, which option, what was received, and the remedy.
    """

    @colour.of
    def render(quality=1.0, steps=50):
        raise AssertionError

    with pytest.raises(PolicyError) as caught:
        decorator(**options)(render)
    text = str(caught.value)

    assert isinstance(caught.value, ValueError)
    assert "render" in text
    assert [one for one in told if one not in text] == []
    assert not hasattr(render, "resilience")


def test_row_38_all_problems_of_one_call_at_once(colour):
    """
    Four wrong options are one error with four problems, in the order of the call.
    """
    with pytest.raises(PolicyError) as caught:
        retry(max_attempts=0, initial_delay=math.nan, jiter=False, exponential_base=-2)(colour.of(returning(1)))

    assert [one.split()[0] for one in caught.value.problems] == [
        "max_attempts",
        "initial_delay",
        "unknown",
        "exponential_base",
    ]


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
        self.clock = Watching(self.look)
        self.registry = Registry(clock=self.clock, rng=random.Random(1))

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
        if len(self.refs) < 4 * self.failures:
            work = Tensor()
            self.refs.append(weakref.ref(work))
            try:
                self.allocate(2)
            finally:
                self.refs = self.refs[-4 * self.failures :]
        return batch_size, low_vram


@pytest.fixture
def no_collector():
    """
    Keep the collector from tidying up what reference counts should.
    """
    gc.collect()
    gc.disable()
    yield
    gc.enable()


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
        fallback_chain(returning("never")),
    ],
    "before_sleep": lambda one: [
        retry(max_attempts=4, on=Exception, before_sleep=lambda state: None, max_duration=900.0, registry=one)
    ],
}


@pytest.mark.parametrize("make_error", OUT_OF_MEMORY, ids=["host", "cuda"])
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("listens", [False, True])
def test_row_45_a_failed_attempts_frames_are_free_before_the_wait_and_the_next(
    colour, no_collector, stack, make_error, listens
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


@pytest.mark.parametrize("make_error", OUT_OF_MEMORY, ids=["host", "cuda"])
def test_row_45_the_memory_playbook_runs_in_order_on_freed_memory(colour, no_collector, make_error):
    """
    Cache, batch size, memory flags: in this order, each step after the failed attempt's memory is free.
    """
    engine = Engine(make_error, failures=3)

    class Cache:
        def clear(self):
            engine.look("clear_cache")

        def __len__(self):
            return 1

    engine.registry.playbooks.provide(caches=[Cache()])
    fn = recoverable(registry=engine.registry)(retry(max_attempts=3)(colour.of(engine.run)))
    with capture_events(engine.registry) as events:
        outcome = colour.call(resilience_of(fn).outcome, "a cat")
    steps = [event.step for event in events if hasattr(event, "step")]

    assert outcome.error is None
    assert outcome.route == "recovery:enable_memory_optimization"
    assert steps == ["clear_cache", "reduce_batch_size", "enable_memory_optimization"]
    assert outcome.value == (4, True)
    assert [where for where, free in engine.seen if not free] == []


@pytest.mark.parametrize("make_error", OUT_OF_MEMORY, ids=["host", "cuda"])
def test_row_45_a_fallback_begins_on_freed_memory(colour, no_collector, make_error):
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
    primary = raising(RuntimeError(text))
    fn = recoverable(registry=registry)(retry(max_attempts=5, on=("memory", "system"))(colour.of(primary)))
    outcome = colour.call(resilience_of(fn).outcome)

    assert str(outcome.error) == text
    assert (primary.calls, outcome.attempts, outcome.route) == (1, 1, "failed")


def test_row_45_without_recovery_memory_errors_are_not_retried(colour, registry):
    """
    The default `on` does not repeat an allocation that nothing has made room for.
    """
    primary = raising(RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"))
    error_of(colour, retry(max_attempts=5, registry=registry)(colour.of(primary)))

    assert primary.calls == 1


# -- row 46: logs that cannot be written --------------------------------------------------------------------------


def _full_disk(record):
    raise OSError(errno.ENOSPC, "No space left on device")


class _Full:
    """
    A stream on a disk that is full.
    """

    def write(self, text):
        _full_disk(None)

    flush = close = lambda self: None


def _handlers():
    raises, level = logging.Handler(), logging.Handler(level=logging.DEBUG)
    raises.emit = _full_disk
    level.handle = _full_disk
    breaks = logging.StreamHandler(_Full())
    # Also what logging itself does about an error raises here.
    breaks.handleError = _full_disk
    return [raises, level, breaks]


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("level", [logging.DEBUG, logging.WARNING])
def test_row_46_a_log_handler_that_raises_harms_no_call(colour, registry, number, level):
    """
    A full disk below the log changes neither results, nor errors, nor what the circuit and the playbook do.
    """
    handler = _handlers()[number]
    logger = logging.getLogger("resilient")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    registry.playbooks.step("network", name="broken", before="retry_connection")(_broken)
    registry.on(_broken)
    try:
        workshop = Workshop(colour, registry)
        told = [workshop.work(), workshop.work()]
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)

    assert told == [EXPECTED, EXPECTED]


def test_row_46_a_structlog_processor_that_raises_harms_no_call(colour, registry):
    """
    The same holds where the application configured structlog.
    """

    def process(logger, name, entry):
        told.append(entry["event"])
        _full_disk(entry)

    told = []
    structlog.configure(processors=[process])
    try:
        workshop = Workshop(colour, registry)

        assert workshop.work() == EXPECTED
    finally:
        structlog.reset_defaults()

    assert "resilient.fallback.used" in told


NO_STREAMS = """
import logging, os, sys
from resilient import circuit, default_registry, fallback_chain, recoverable, retry

result = os.dup(1)
logging.basicConfig(level=logging.DEBUG)

@fallback_chain(lambda: "stand-in")
@recoverable
@retry(max_attempts=2, initial_delay=0.0)
@circuit("api", failure_threshold=3)
def call():
    raise ConnectionError("down")

def broken(event):
    raise ValueError("broken")

def slow(event):
    import time
    time.sleep(0.11)
    unsubscribe()

default_registry().on(broken)
unsubscribe = default_registry().on(slow)
told = [call()]
{harm}
told += [call(), call(), default_registry().health().status]
os.write(result, " ".join(told).encode())
os._exit(0)
"""


@pytest.mark.parametrize(
    "harm",
    [
        "sys.stderr.close(); sys.stdout.close()",
        "sys.stderr = sys.stdout = None",
        "os.close(2); os.close(1)",
        "sys.stderr = open('/dev/full', 'w')" if Path("/dev/full").exists() else "sys.stderr = None",
    ],
)
def test_row_46_a_closed_stderr_harms_no_call(harm):
    """
    Without stderr, calls, listeners that raise and the warning of a slow one go on.
    """
    told, _ = start(NO_STREAMS.replace("{harm}", harm), stderr=subprocess.DEVNULL)

    assert told == "stand-in stand-in stand-in warn"


# -- row 47: max_duration ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0.5, 0.999, timedelta(milliseconds=500), "500ms"])
def test_row_47_a_limit_shorter_than_the_first_wait_starts_none(colour, clock, registry, limit):
    """
    There is no wait that would overrun the limit: the error arrives at once, as itself, with the note.
    """
    error = ConnectionError("mine")
    primary = raising(error)
    call = retry(max_attempts=5, initial_delay=1.0, jitter=False, max_duration=limit, registry=registry)(
        colour.of(primary)
    )
    outcome = colour.call(resilience_of(call).outcome)

    assert outcome.error is error
    assert (primary.calls, clock.monotonic(), outcome.elapsed) == (1, 0.0, 0.0)
    assert error.__notes__ == ["resilient: gave up after 1 attempt, 0 s after the first failure"]


def test_row_47_an_attempt_longer_than_the_limit(colour, clock, registry):
    """
    An attempt is not cut off; when it fails too late there is no other one, and when it returns it counts.
    """
    fails = [True]

    @retry(max_attempts=5, initial_delay=0.0, max_duration=10.0, registry=registry)
    @colour.of
    def call():
        clock.advance(11.0)
        if fails[0]:
            raise ConnectionError("late")
        return "late"

    failed = colour.call(resilience_of(call).outcome)
    fails[0] = False
    returned = colour.call(resilience_of(call).outcome)

    assert (failed.route, failed.attempts, str(failed.error)) == ("failed", 1, "late")
    assert len(failed.error.__notes__) == 1
    assert (returned.route, returned.value) == ("first try", "late")


def test_row_47_the_limit_holds_for_all_attempts_and_waits(colour, clock, registry):
    """
    Attempts go on while the next wait still fits, counted from the beginning of the first attempt.
    """

    @retry(max_attempts=50, initial_delay=2.0, exponential_base=1.0, jitter=False, max_duration=10.0, registry=registry)
    @colour.of
    def call():
        clock.advance(1.0)
        raise ConnectionError

    quiet = clock.monotonic()
    with pytest.raises(ConnectionError) as caught:
        colour.call(call)

    assert clock.monotonic() - quiet == 10.0
    assert resilience_of(call).stats().attempts == 4
    assert caught.value.__notes__ == ["resilient: gave up after 4 attempts, 9 s after the first failure"]


def test_row_47_a_wish_longer_than_what_is_left(colour, clock, registry):
    """
    A server's wish that would overrun the limit is not waited for, nor shortened.
    """
    call = retry(max_attempts=5, initial_delay=1.0, max_duration=10.0, registry=registry)(
        colour.of(raising(WishedError({"Retry-After": "30"})))
    )

    assert error_of(colour, call) == "WishedError"
    assert clock.monotonic() == 0.0


# -- row 48: event loops ---------------------------------------------------------------------------------------------


def looping(registry):
    """
    Return an async function that fails now and then, under a stack of all kinds.
    """
    count = iter(range(1_000_000))

    @degradable(registry=registry)
    @fallback_chain(returning("stand-in"))
    @recoverable
    @retry(max_attempts=2, initial_delay=0.0001, jitter=False)
    @circuit("api", failure_threshold=5, success_threshold=1, open_for=0.001, half_open_max_calls=2)
    async def call(quality=1.0):
        await asyncio.sleep(0)
        if next(count) % 3:
            raise ConnectionError
        return "own"

    return call


async def many(call, number=40):
    """
    Make some calls at once.
    """
    return set(await asyncio.gather(*(call() for _ in range(number))))


def test_row_48_event_loops_one_after_the_other():
    """
    Breakers, scopes, playbooks and functions outlive any number of event loops.
    """
    registry = Registry()
    call = looping(registry)
    told = set()
    for _ in range(40):
        told |= asyncio.run(many(call, 5))

    assert told == {"own", "stand-in"}
    assert resilience_of(call).stats().calls == 200


def test_row_48_event_loops_at_once_in_threads():
    """
    Two loops in two threads share one breaker, with sync calls beside them.
    """
    registry = Registry()
    call = looping(registry)
    sync = circuit("api", registry=registry)(returning("sync"))
    told = []

    def sync_calls():
        for _ in range(200):
            try:
                told.append({sync()})
            except CircuitBreakerOpenError:
                told.append({"rejected"})

    works = [lambda: told.append(asyncio.run(many(call, 100)))] * 2 + [sync_calls]
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)

    assert not any(thread.is_alive() for thread in threads)
    assert set().union(*told) <= {"own", "stand-in", "sync", "rejected"}
    assert resilience_of(call).stats().calls == 200
    assert registry.circuit("api").state in CircuitState


def test_row_48_one_shared_recovery_for_two_loops():
    """
    A shared step that runs on one loop is waited for on the other, and serves both.
    """
    registry = Registry()
    runs, told, failed = [], [], set()
    both = threading.Barrier(2)

    def somebody_waits():
        flights = registry.playbooks._flights._flights.values()  # noqa: SLF001 - nobody tells of who waits
        return any(flight.done._done_callbacks for flight in flights)  # noqa: SLF001 - as above

    @registry.playbooks.step("memory", name="once", before="clear_cache", scope="shared", timeout=10.0)
    async def once(ctx):
        runs.append(threading.get_ident())
        while not somebody_waits():  # noqa: ASYNC110 - what it waits for happens on another loop
            await asyncio.sleep(0.001)
        return True

    @recoverable(registry=registry)
    async def call():
        me = threading.get_ident()
        if me not in failed:
            failed.add(me)
            await asyncio.to_thread(both.wait, 10.0)
            raise MemoryError
        return "well"

    threads = [threading.Thread(target=lambda: told.append(asyncio.run(call())), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)

    assert told == ["well", "well"]
    assert len(runs) == 1


def test_row_48_a_loop_within_a_sync_call_within_a_loop():
    """
    A guarded sync function may run an event loop of its own, on a thread beside the loop that awaits it.
    """
    registry = Registry()
    call = looping(registry)

    @retry(max_attempts=2, registry=registry)
    def inner():
        return asyncio.run(many(call, 5))

    @retry(max_attempts=2, registry=registry)
    async def outer():
        return await asyncio.to_thread(inner)

    assert asyncio.run(outer()) <= {"own", "stand-in"}


def test_row_48_uvloop():
    """
    The event loop of uvloop is one like any other.
    """
    uvloop = pytest.importorskip("uvloop")
    registry = Registry()
    call = looping(registry)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        told = runner.run(many(call))
    told |= asyncio.run(many(call))

    assert told == {"own", "stand-in"}


def test_row_48_trio():
    """
    A function that was called under asyncio waits under trio, too.
    """
    trio = pytest.importorskip("trio")
    registry = Registry()
    left = []

    @retry(max_attempts=3, initial_delay=0.0001, registry=registry)
    @circuit("api", success_threshold=1)
    async def call():
        if left.pop():
            raise ConnectionError
        return "well"

    told = []
    for run in (lambda: asyncio.run(call()), lambda: trio.run(call), lambda: asyncio.run(call())):
        left[:] = [False, True, True]
        told.append(run())

    assert told == ["well"] * 3


# -- row 50: ways to run ---------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, gc, logging, pickle, sys, threading, tracemalloc, warnings

logging.basicConfig(level=logging.CRITICAL)
import resilient
from resilient import (CircuitBreakerOpenError, ErrorHandlingSystem, FallbackChainExhaustedError, PolicyError, circuit,
    degradable, default_registry, fallback_chain, recoverable, resilience_of, retry)

if {trace!r}:
    sys.settrace(lambda frame, event, argument: sys.gettrace())
    threading.settrace(sys.gettrace())

def stand_in(fails=True, quality=1.0):
    '''A stand-in.'''
    return "stand-in"

@degradable
@fallback_chain(stand_in)
@recoverable
@retry(max_attempts=3, initial_delay=0.001)
@circuit("api", failure_threshold=6)
def call(fails=True, quality=1.0):
    '''A call.'''
    if fails:
        raise ConnectionError("down")
    return quality

@degradable
@fallback_chain(stand_in)
@recoverable
@retry(max_attempts=3, initial_delay=0.001)
@circuit("api", failure_threshold=6)
async def acall(fails=True, quality=1.0):
    if fails:
        raise ConnectionError("down")
    return quality

@recoverable
@circuit("gpu")
def hungry():
    raise MemoryError("full")

registry = default_registry()
events = []
registry.on(events.append)
told = []
told += [call(False), call(), asyncio.run(acall()), asyncio.run(acall(False))]
told += [call(), call(False)]
registry.degradation.degrade("hot")
registry.reset()
told += [call(False), type(resilience_of(hungry).outcome().error).__name__]
try:
    retry(max_attempts=0)(stand_in)
except PolicyError as error:
    told.append(str(pickle.loads(pickle.dumps(error))) == str(error))
system = ErrorHandlingSystem()
told.append(asyncio.run(system.execute_with_resilience(stand_in)))
str(resilience_of(call).outcome()); repr(resilience_of(call)); str(registry.health())
thread = threading.Thread(target=call)
thread.start()
thread.join()
gc.collect()
sys.settrace(None)
threading.settrace(None)
print(told, len(events) > 20, registry.analytics.total_errors > 0)
"""

TOLD = [1.0, *["stand-in"] * 5, 1.0, "MemoryError", True, "stand-in"]

WAYS = {
    "-O": ["-O"],
    "-OO": ["-OO"],
    "-W error": ["-W", "error"],
    "-X dev": ["-X", "dev", "-W", "error"],
    "-X tracemalloc": ["-X", "tracemalloc", "-W", "error::ResourceWarning"],
    "-I": ["-I", "-W", "error"],
    "-b": ["-bb"],
    "settrace": ["-X", "dev"],
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_row_50_every_way_to_run_python(way):
    """
    The same program says the same, and nothing on stderr, optimised, strict, in development mode, and traced.
    """
    told, noise = start(PROGRAM.replace("{trace!r}", str(way == "settrace")), *WAYS[way])

    assert told == f"{TOLD} True True\n"
    assert noise == ""


@pytest.mark.slow
@pytest.mark.parametrize("core", ["ctrace", "sysmon"])
def test_row_50_under_coverage(core, tmp_path):
    """
    A program that is measured says the same.
    """
    pytest.importorskip("coverage")
    if core == "sysmon" and sys.version_info < (3, 12):
        pytest.skip("sys.monitoring is new in Python 3.12")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("{trace!r}", "False"))
    told, noise = start(
        "",
        "-W",
        "error",
        "-m",
        "coverage",
        "run",
        "--branch",
        "--source=resilient",
        str(program),
        env={"COVERAGE_CORE": core, "COVERAGE_FILE": str(tmp_path / "data")},
        cwd=tmp_path,
    )

    assert told == f"{TOLD} True True\n"
    assert noise == ""
