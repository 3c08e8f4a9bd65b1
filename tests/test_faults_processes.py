"""
Faults 29 and 30: forks while locks are held (29), functions and errors that travel to other processes (30).
"""

from __future__ import annotations

import copy
import functools
import gc
import multiprocessing
import os
import pickle
import select
import signal
import threading

import pytest

from resilient import (
    CircuitBreakerOpenError,
    CircuitState,
    DecorationError,
    FallbackChainExhaustedError,
    PolicyError,
    Registry,
    ResilientError,
    circuit,
    fallback_chain,
    forks,
    resilience_of,
    retry,
)
from resilient.events import CircuitOpened, LevelChanged
from resilient.testing import isolated_registry
from tests.harness import PATIENCE, caught, in_fork, may_fork, needs_fork, python, script
from tests.workshop import EXPECTED, Workshop, locks

# -- row 29: forks ------------------------------------------------------------------------------------------


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
    assert workshop.work() == EXPECTED


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
    trips = circuit("trips", failure_threshold=1, registry=registry)(colour.of(script(ConnectionError())))
    told = []
    for act in (lambda: type(colour.outcome(trips).error).__name__, lambda: registry.degradation.degrade("hot")):
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
        ready, _, _ = select.select([reader], [], [], PATIENCE)
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
    opened = circuit("opened", failure_threshold=1, registry=registry)(colour.of(script(ConnectionError())))
    other = circuit("other", failure_threshold=1, registry=registry)(colour.of(script(ConnectionError())))
    colour.outcome(opened)
    told = in_fork(lambda: [colour.outcome(opened).route, colour.outcome(other).route, colour.outcome(other).route])

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
    told = receiver.recv() if receiver.poll(PATIENCE) else "deadlock"
    process.join(PATIENCE)

    assert told == EXPECTED
    assert process.exitcode == 0


def test_row_29_whoever_has_locks_gets_fresh_ones_in_a_child():
    """
    What is told of a fork is told once, and who is gone is not asked.
    """
    renewed = []

    class Owner:
        def _renew_locks(self):
            renewed.append(self)

    owner, gone = Owner(), Owner()
    forks.survives_fork(owner)
    forks.survives_fork(gone)
    del gone
    gc.collect()
    forks._renew()  # noqa: SLF001 - what a fork calls

    assert renewed == [owner]


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
        fallback_chain(script(TimeoutError("two")), registry=registry),
    ]
    for guard in guards:
        fn = guard(colour.of(script(ConnectionError("one"))))
        for _ in range(2):
            outcome = colour.outcome(fn)
            there = pickle.loads(pickle.dumps(outcome))
            error = outcome.error

            assert (str(there), there.events, there.route) == (str(outcome), outcome.events, outcome.route)
            assert (type(there.error), str(there.error)) == (type(error), str(error))
            assert getattr(there.error, "__notes__", None) == getattr(error, "__notes__", None)


WORKERS = """
import asyncio
import concurrent.futures
import functools
import multiprocessing
import sys

import cloudpickle

from resilient import CircuitBreakerOpenError, circuit, default_registry, fallback_chain, resilience_of, retry

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

@retry(max_attempts=2, initial_delay=0.0)
@circuit("down")
def down():
    raise ConnectionError("from " + __name__)

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

def shown(pickled):
    fn = cloudpickle.loads(pickled)
    options = default_registry().circuits["made"].options
    return fn(), repr(resilience_of(fn)).splitlines()[1:3], options["failure_threshold"]

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
        made = retry(initial_delay=0.0)(circuit("made", failure_threshold=7)(lambda: "made"))
        policies = ["  @retry(initial_delay=0.0)", "    @circuit('made', failure_threshold=7)"]
        assert there(shown, cloudpickle.dumps(made)) == ("made", policies, 7)
        try:
            there(down)
        except ConnectionError as error:
            assert len(error.__notes__) == 1, error.__notes__
        else:
            raise AssertionError
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
    # What happened there does not come back.
    for fn in (in_main, async_in_main, never, down, shut):
        assert told_here(fn) == "first try"
    print(method, "good")

def told_here(fn):
    return "first try" if resilience_of(fn).stats().calls == 0 else "called"

if __name__ == "__main__":
    main(sys.argv[1])
"""


@pytest.mark.parametrize("method", ["spawn", pytest.param("forkserver", marks=pytest.mark.slow)])
def test_row_30_functions_keep_their_policies_in_worker_processes(method, tmp_path):
    """
    Functions of the main module, nested ones, lambdas, partials and callable objects act in a worker as at home.
    """
    pytest.importorskip("cloudpickle")
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this platform")
    program = tmp_path / "program.py"
    program.write_text(WORKERS)

    assert python(program, method) == (f"{method} good\n", "")


@retry(max_attempts=2, initial_delay=0)
def of_this_module(fails):
    """
    Fail, or tell where it runs.
    """
    if fails:
        raise ConnectionError(os.getpid())
    return os.getpid()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_row_30_functions_of_a_module_pickle_by_reference(protocol):
    """
    What arrives in this process is the function itself, with its policies, used or not.
    """
    with isolated_registry():
        assert of_this_module(fails=False) == os.getpid()
        assert type(caught(of_this_module, fails=True)) is ConnectionError
    twin = pickle.loads(pickle.dumps(of_this_module, protocol))

    assert twin is of_this_module
    assert len(resilience_of(twin).policies) == 1


def test_row_30_an_error_that_was_recorded_in_another_process_is_recorded_here_too(registry):
    """
    What a worker has recorded in its registry is new to this one.
    """
    other = Registry("worker")
    error = caught(circuit(registry=other)(script(ConnectionError("from afar"))))
    came = pickle.loads(pickle.dumps(error))
    again = caught(circuit(registry=registry)(script(came)))

    assert type(error) is type(again) is ConnectionError
    assert (other.analytics.total_errors, registry.analytics.total_errors) == (1, 1)


def test_row_30_a_function_sent_by_value_begins_afresh(colour):
    """
    State does not travel: a copy by value has a closed circuit and zero counts, and its own policies.
    """
    cloudpickle = pytest.importorskip("cloudpickle")
    fn = circuit(failure_threshold=1)(colour.of(lambda: {}["no such thing"]))
    colour.outcome(fn)
    there = cloudpickle.loads(cloudpickle.dumps(fn))

    assert resilience_of(there).stats().calls == 0
    assert [colour.outcome(one).route for one in (fn, there, there)] == ["rejected", "failed", "rejected"]
