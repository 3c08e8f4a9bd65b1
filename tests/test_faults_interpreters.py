"""
Faults 31 and 50: interpreters that end in the midst of calls (31), and every way to run one (50).
"""

from __future__ import annotations

import sys
import time

import pytest

from tests.harness import python

# -- row 31: the interpreter's end ------------------------------------------------------------------------

ENDING = """
import asyncio, atexit, logging, sys, threading
from resilient import circuit, default_registry, fallback_chain, recoverable, retry
from resilient.events import CircuitOpened, RetryScheduled

logging.basicConfig(stream=sys.stdout, level=logging.CRITICAL)

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

# When the program ends, each of the four is in the midst of its calls, and the circuit opens and closes.
under_way, all_under_way = set(), threading.Event()
def note(event):
    under_way.add((event.name, event.function))
    if len(under_way) == 5:
        all_under_way.set()
default_registry().on(lambda event: None)
default_registry().on(note, events=(CircuitOpened, RetryScheduled))

def forever(work):
    def run():
        while True:
            work()
    threading.Thread(target=run, daemon=True).start()

class Last:
    def __del__(self, resilience=call.resilience):
        resilience.stats()
        call()

last = Last()
last.me = last
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
print("main ends", all_under_way.wait(15))
"""


@pytest.mark.parametrize("options", [(), ("-X", "dev"), ("-X", "importtime")], ids=["plain", "dev", "importtime"])
def test_row_31_an_interpreter_that_ends_makes_no_noise(options):
    """
    Daemon threads in mid-call and mid-wait, `atexit` and `__del__` end with the program: no traceback, no hang.
    """
    began = time.monotonic()
    told, noise = python(*options, "-c", ENDING)
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
    told, noise = python("-X", "dev", "-c", TEARDOWN.replace("{rest}", rest))

    assert noise == ""
    assert sorted(set(told.splitlines()) - {"weakref stand-in"}) == [f"{name} stand-in" for name in names]


# -- row 50: ways to run ---------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, gc, logging, pickle, sys, threading, tracemalloc, warnings

logging.basicConfig(level=logging.CRITICAL)
import resilient
from resilient import (CircuitBreakerOpenError, ErrorHandlingSystem, PolicyError, Registry, circuit, degradable,
    default_registry, fallback_chain, recoverable, resilience_of, retry)

if {memory!r}:
    tracemalloc.start()
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
own = Registry()
own.on(events.append)

@retry(max_attempts=2, initial_delay=0.001, registry=own)
@circuit("a", failure_threshold=1, registry=own)
async def cancelled():
    await asyncio.sleep(0)
    raise ConnectionError

async def cancels():
    try:
        await cancelled()
    except (ConnectionError, CircuitBreakerOpenError):
        own.circuits["a"].close()
    task = asyncio.create_task(cancelled())
    await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        told.append("cancelled")

asyncio.run(cancels())
str(own.health()), own.analytics.generate_report(), own.reset()
del cancelled
str(resilience_of(call).outcome()); repr(resilience_of(call)); str(registry.health())
thread = threading.Thread(target=call)
thread.start()
thread.join()
gc.collect()
sys.settrace(None)
threading.settrace(None)
print(told, len(events) > 20, registry.analytics.total_errors > 0)
"""

TOLD = [1.0, *["stand-in"] * 5, 1.0, "MemoryError", True, "stand-in", "cancelled"]

WAYS = {
    "-O": ["-O"],
    "-OO": ["-OO"],
    "-W error": ["-W", "error"],
    "-X dev": ["-X", "dev", "-W", "error"],
    "tracemalloc": ["-W", "error::ResourceWarning"],
    "-X tracemalloc": ["-X", "tracemalloc", "-W", "error::ResourceWarning"],
    "-I": ["-I", "-W", "error"],
    "-b": ["-bb"],
    "settrace": ["-X", "dev"],
}
SLOW = {"-X tracemalloc", "-I", "-b", "settrace"}


def program(way):
    """
    Return the program to run in *way*.
    """
    return PROGRAM.replace("{trace!r}", str(way == "settrace")).replace("{memory!r}", str(way == "tracemalloc"))


@pytest.mark.parametrize("way", [pytest.param(way, marks=pytest.mark.slow) if way in SLOW else way for way in WAYS])
def test_row_50_every_way_to_run_python(way):
    """
    The same program says the same, and nothing on stderr, optimised, strict, in development mode, and traced.
    """
    told, noise = python(*WAYS[way], "-c", program(way))

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
    file = tmp_path / "program.py"
    file.write_text(program("coverage"))
    told, noise = python(
        *("-W", "error", "-m", "coverage", "run", "--branch", "--source=resilient", file),
        env={"COVERAGE_CORE": core, "COVERAGE_FILE": str(tmp_path / "data")},
        cwd=tmp_path,
    )

    assert told == f"{TOLD} True True\n"
    assert noise == ""
